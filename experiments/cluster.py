"""Question: does a study give the same numbers on a cluster, tracked by a server?

Command: python experiments/cluster.py [STUDY] [--workers N] [--stay]

Starts PostgreSQL, an MLflow server that uses it, a Dask scheduler and its workers on the loopback interface, each a
process of its own as on separate machines. Then runs `netcore run STUDY` here and on the cluster, `netcore verify`, and
compares the tables. PostgreSQL must be installed (`.ci/system-packages` does it). `--stay` leaves everything running
until Ctrl-C, to try things out, and prints the addresses.
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
from functools import partial
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

import pandas as pd
from measure import STUDIES, netcore

from netcore import load_study

TIMES = ["seconds", "started", "ended"]
PATIENCE = 120.0


@contextmanager
def process(command: list[str], folder: Path, ready: Callable[[], bool], **environment: str) -> Iterator[None]:
    """Keep a command running in a folder of its own, its output in a file there; wait until it is ready."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        settings, no_input = {**os.environ, **environment}, subprocess.DEVNULL
        running = subprocess.Popen(
            command, cwd=folder, env=settings, stdin=no_input, stdout=log, stderr=log, start_new_session=True
        )
    try:
        begun = time.monotonic()
        while not ready():
            if running.poll() is not None or time.monotonic() - begun > PATIENCE:
                raise SystemExit(f"{command[2]} does not start:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


def free_port() -> int:
    """Return a port that no process uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: Debian does not put the server's on the path."""
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else Path(found).parent if found else None


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL server with an empty database; yield its address with the password."""
    programs = postgres_programs()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed; `.ci/system-packages` installs it")
    folder.mkdir()
    user = "postgres" if os.geteuid() == 0 else None  # its programs refuse to run as root
    if user:
        shutil.chown(folder, user)
    port, password, data = free_port(), "not-a-secret", folder / "data"
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o644)

    def call(program: str, *arguments: str, check: bool = True) -> None:
        command = [str(programs / program), "-D", str(data), *arguments]
        subprocess.run(command, user=user, check=check, stdout=subprocess.DEVNULL, cwd=folder)

    call("initdb", "-U", "netcore", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
    call("pg_ctl", "-w", "-l", f"{data}/log", "-o", f"-p {port} -k '' -c listen_addresses=127.0.0.1", "start")
    try:
        where = ["-h", "127.0.0.1", "-p", str(port), "-U", "netcore", "mlflow"]
        environment = {**os.environ, "PGPASSWORD": password}
        subprocess.run([programs / "createdb", *where], check=True, env=environment)
        yield f"postgresql://netcore:{password}@127.0.0.1:{port}/mlflow"
    finally:
        call("pg_ctl", "-m", "immediate", "stop", check=False)


@contextmanager
def mlflow_server(database: str, folder: Path) -> Iterator[str]:
    """Run an MLflow server on a database; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def ready() -> bool:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  # OK
        return False

    with process(command, folder, ready, **environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def dask_cluster(workers: int, folder: Path) -> Iterator[str]:
    """Run a Dask scheduler and workers of one thread each; yield the scheduler's address."""
    file = folder / "scheduler.json"
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler += ["--no-dashboard", "--scheduler-file", str(file)]
    with process(scheduler, folder, lambda: file.exists() and file.read_text().endswith("}")):
        address = str(json.loads(file.read_text())["address"])
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard"]
        worker += ["--nworkers", str(workers), "--nthreads", "1"]
        with process(worker, folder / "workers", lambda: True):
            yield address


def same(one: Path, other: Path) -> bool:
    """Check whether the tables of two studies are equal, without their times."""
    ours, theirs = load_study(one), load_study(other)
    pairs = [(getattr(ours, name), getattr(theirs, name)) for name in ("trials", "curves", "weights", "confirmation")]
    timeless = partial(pd.DataFrame.drop, columns=TIMES, errors="ignore")
    return all(timeless(one).equals(timeless(other)) for one, other in pairs)


def main() -> None:
    """Start everything, run the study twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stay", action="store_true")
    asked = parser.parse_args()
    study = Path(asked.study) if Path(asked.study).is_file() else STUDIES / f"{asked.study}.toml"
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        begun = time.perf_counter()
        database = stack.enter_context(postgres(folder / "postgres"))
        server = stack.enter_context(mlflow_server(database, folder / "mlflow"))
        scheduler = stack.enter_context(dask_cluster(asked.workers, folder / "dask"))
        print(f"MLflow on PostgreSQL at {server}, Dask at {scheduler}: {time.perf_counter() - begun:.1f} s")
        if asked.stay:
            print(f"MLFLOW_TRACKING_URI={server} netcore run {asked.study} --dask {scheduler}\nCtrl-C ends it")
            signal.pause()
        here, there = folder / "here", folder / "there"
        here.mkdir()
        there.mkdir()
        local = netcore(here, "run", study.resolve(), database=server)
        cluster = netcore(there, "run", study.resolve(), "--dask", scheduler, database=server)
        print(netcore(there, "verify", study.stem, "--quick", database=server).out)
        equal = same(here / "results" / study.stem, there / "results" / study.stem)
        print(f"here {local.wall:.1f} s, on the cluster {cluster.wall:.1f} s; tables {'equal' if equal else 'DIFFER'}")
        raise SystemExit(not equal)


if __name__ == "__main__":
    main()
