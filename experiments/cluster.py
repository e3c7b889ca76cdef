"""Does a study give the same numbers on a cluster, tracked by a server? A whole one, on the loopback interface.

PostgreSQL, an MLflow server on it, a Dask scheduler and its workers, each a process of its own as it would be on
machines of their own; then `netcore run STUDY` here and on the cluster, `netcore verify`, and the tables compared.
PostgreSQL must be installed (`.ci/system-packages` does it).

    python experiments/cluster.py [STUDY] [--workers N] [--stay]

`--stay` leaves everything running until Ctrl-C, to try things out: the addresses are printed.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pandas as pd

from netcore import load_study

TIMES = ["seconds", "started", "ended"]
_PATIENCE = 120.0


@contextmanager
def process(command: list[str], folder: Path, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep a command running in a folder of its own, its output in a file there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


def wait_until(done: Callable[[], bool], running: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Wait until something is done by a process that writes its log into this folder."""
    begun = time.monotonic()
    while not done():
        if running.poll() is not None or time.monotonic() - begun > _PATIENCE:
            raise SystemExit(f"it does not start:\n{(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.1)


def free_port() -> int:
    """Give a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_programs() -> Path | None:
    """Give the folder of PostgreSQL's programs: Debian does not put those of the server on the path."""
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else Path(found).parent if found else None


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL server with an empty database; give its address, password included."""
    programs = postgres_programs()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed; `.ci/system-packages` does it")
    folder.mkdir()
    user = "postgres" if os.geteuid() == 0 else None  # its programs refuse to run as root
    if user:
        shutil.chown(folder, user)
    port, password = free_port(), "not-a-secret"
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o644)
    data = folder / "data"
    make: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-U",
        "netcore",
        "-A",
        "scram-sha-256",
        f"--pwfile={folder / 'password'}",
    ]
    subprocess.run([*make, "--no-sync"], user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1"
    control: list[str | Path] = [programs / "pg_ctl", "-D", data, "-w", "-l", data / "log"]
    subprocess.run([*control, "-o", options, "start"], user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        where = ["-h", "127.0.0.1", "-p", str(port), "-U", "netcore", "mlflow"]
        environment = {**os.environ, "PGPASSWORD": password}
        subprocess.run([programs / "createdb", *where], check=True, env=environment)
        yield f"postgresql://netcore:{password}@127.0.0.1:{port}/mlflow"
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        subprocess.run(stop, user=user, check=False, stdout=subprocess.DEVNULL, cwd=folder)


@contextmanager
def mlflow_server(database: str, folder: Path) -> Iterator[str]:
    """Run an MLflow server on a database; give its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with process(command, folder, **environment) as running:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/health"), running, folder)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def dask_cluster(workers: int, folder: Path) -> Iterator[str]:
    """Run a Dask scheduler and workers of one thread each; give the scheduler's address."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with ExitStack() as stack:
        command = [*dask, "--no-dashboard", "--scheduler-file", str(file)]
        scheduler = stack.enter_context(process(command, folder))
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), scheduler, folder)
        address = json.loads(file.read_text())["address"]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address]
        command += ["--nworkers", str(workers), "--nthreads", "1", "--no-dashboard"]
        stack.enter_context(process(command, folder / "workers"))
        yield str(address)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2) as answer:  # noqa: S310  # our own server
            return bool(answer.status == 200)  # noqa: PLR2004  # OK
    except OSError:
        return False


def netcore(*arguments: str, cwd: Path, **environment: str) -> float:
    """Run a netcore command and give its seconds; what it says goes to the terminal."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "netcore", *arguments]
    subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, check=True)
    return time.perf_counter() - begun


def same(one: Path, other: Path) -> bool:
    """Say whether two studies' tables are equal, but for the times."""
    pairs = [
        (getattr(load_study(one), name), getattr(load_study(other), name))
        for name in ("trials", "curves", "weights", "confirmation")
    ]
    return all(_timeless(ours).equals(_timeless(theirs)) for ours, theirs in pairs)


def _timeless(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[name for name in TIMES if name in table])


def main() -> None:
    """Start everything, run the study twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stay", action="store_true")
    asked = parser.parse_args()
    study = next(
        (path for path in (Path(asked.study), Path(f"studies/{asked.study}.toml")) if path.is_file()), Path(asked.study)
    ).resolve()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        begun = time.perf_counter()
        database = stack.enter_context(postgres(folder / "postgres"))
        tracking = stack.enter_context(mlflow_server(database, folder / "mlflow"))
        scheduler = stack.enter_context(dask_cluster(asked.workers, folder / "dask"))
        print(f"MLflow on PostgreSQL at {tracking}, Dask at {scheduler}: {time.perf_counter() - begun:.1f} s")
        if asked.stay:
            print(f"MLFLOW_TRACKING_URI={tracking} netcore run {asked.study} --dask {scheduler}\nCtrl-C ends it")
            signal.pause()
        here, there = folder / "here", folder / "there"
        there.mkdir()
        here.mkdir()
        local = netcore("run", str(study), cwd=here, MLFLOW_TRACKING_URI=tracking)
        shutil.rmtree(there, ignore_errors=True)
        there.mkdir()
        cluster = netcore("run", str(study), "--dask", scheduler, cwd=there, MLFLOW_TRACKING_URI=tracking)
        netcore("verify", study.stem, "--quick", cwd=there, MLFLOW_TRACKING_URI=tracking)
        equal = same(here / "results" / study.stem, there / "results" / study.stem)
        print(f"here {local:.1f} s, on the cluster {cluster:.1f} s; tables {'equal' if equal else 'DIFFER'}")
        raise SystemExit(not equal)


if __name__ == "__main__":
    main()
