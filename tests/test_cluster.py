"""The same study on a Dask cluster: a real scheduler and real workers, which are killed, join late, or differ."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import netcore_command, refused
from conftest import Mixed, fingerprint, iris_on_disk, submit, trained, write_mixed

import netcore
from netcore.errors import InputError, WorkError
from netcore.records.job import State
from netcore.records.record import Record
from netcore.run import Run
from netcore.workers import cluster
from netcore.workers.cluster import DaskEngine

if TYPE_CHECKING:
    from distributed import Client


ANOTHER_NUMPY = """
import importlib.metadata
real = importlib.metadata.version
importlib.metadata.version = lambda name: "1.0.0" if name == "numpy" else real(name)
"""
WITHOUT_NETCORE = """
import sys
class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "netcore":
            raise ModuleNotFoundError("No module named 'netcore'")
sys.meta_path.insert(0, Missing)
"""
"""What a process runs before anything else, so that it is such a worker."""


@contextmanager
def started(kind: str, folder: Path, *arguments: str, first: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """Start a `scheduler` or a `worker` of Dask as a process of its own, with a folder of its own."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(first)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *arguments]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def a_scheduler(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start a scheduler; yield its address and its process."""
    file = folder / "scheduler.json"
    with started("scheduler", folder, "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)) as process:
        while not (file.exists() and file.read_text().endswith("}")):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], process


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """Return the address of a scheduler that has no workers."""
    with a_scheduler(tmp_path / "scheduler") as (address, _):
        yield address


@contextmanager
def a_worker(scheduler: str, folder: Path, *, first: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """Start a worker, and wait until it has joined: by its name, for one that was killed may still be counted."""
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        arguments = ("--nthreads", "1", "--no-nanny", "--name", folder.name)
        with started("worker", folder, scheduler, *arguments, first=first) as process:
            while folder.name not in names_of_workers(client):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            client.close()
            yield process


def names_of_workers(client: "Client") -> set[str]:
    """Return the names of the workers that the scheduler knows."""
    known: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return {worker["name"] for worker in known.values()}


def test_the_tables_are_those_of_one_machine(mixed: Mixed, scheduler: str, tmp_path: Path) -> None:
    """Trials that finish, are pruned, diverge and fail, and the confirmation: the same bits, though a worker dies."""
    spec, _, tables = mixed
    with a_worker(scheduler, tmp_path / "a") as doomed, a_worker(scheduler, tmp_path / "b"):
        with Run(spec, results=tmp_path / "results", dask=scheduler) as run:
            for number, _step in enumerate(run.search()):
                if number == 10:
                    doomed.kill()
        again = netcore.load_study("mixed", results=tmp_path / "results")
    assert fingerprint(again) == fingerprint(tables)
    columns = ["candidate", "seed", "val_loss", "val_accuracy"]
    assert again.confirmation[columns].equals(tables.confirmation[columns])


@pytest.mark.slow
def test_all_workers_die_and_another_joins(mixed: Mixed, scheduler: str, tmp_path: Path) -> None:
    """When the last worker that had the data is gone, one that joins later gets them again, and no trial is charged."""
    spec, _, tables = mixed
    with ExitStack() as stack:
        doomed = stack.enter_context(a_worker(scheduler, tmp_path / "a"))
        run = stack.enter_context(Run(spec, results=tmp_path / "results", dask=scheduler))
        for number, step in enumerate(run.search(confirm=False)):
            if number == 10:
                doomed.kill()
                stack.enter_context(a_worker(scheduler, tmp_path / "b"))
            assert not isinstance(step, Record) or step.provenance.attempts <= 2
    again = netcore.load_study("mixed", results=tmp_path / "results")
    assert fingerprint(again) == fingerprint(tables)


@pytest.mark.slow
def test_a_job_that_kills_its_workers_fails_alone(scheduler: str, tmp_path: Path) -> None:
    """After two attempts it has failed; the remaining worker trains the next job."""
    with ExitStack() as stack:
        there = {name: stack.enter_context(a_worker(scheduler, tmp_path / name)) for name in "abc"}
        engine = stack.enter_context(DaskEngine(scheduler, iris_on_disk(), timeout=600))
        doomed = submit(engine, 0, epochs=10**7)
        for _ in range(2):
            while (busy := worker_at_work(engine)) not in there:
                time.sleep(0.05)
            there.pop(busy).kill()
        record = doomed.result(60)
        assert (record.result.state, record.result.failure) == (State.FAILED, "worker died")
        assert record.provenance.attempts == 2
        assert trained(engine, 1).result.state is State.FINISHED


def worker_at_work(engine: DaskEngine) -> str:
    """Return the name of a worker that has a trial, if there is one."""
    client: Any = engine._client
    workers = client.scheduler_info(n_workers=-1)["workers"]
    busy = (address for address, trials in client.processing().items() if trials and address in workers)
    return next((workers[address]["name"] for address in busy), "")


@pytest.mark.slow
def test_a_trial_that_takes_too_long_is_stopped(scheduler: str, tmp_path: Path) -> None:
    """Beyond trial_timeout a trial ends between two epochs; after two attempts it has failed; its worker lives."""
    with a_worker(scheduler, tmp_path / "a"), DaskEngine(scheduler, iris_on_disk(), timeout=0.3) as engine:
        late = trained(engine, 0, epochs=10**7)
        assert (late.result.failure, late.provenance.attempts) == ("timed out", 2)
        assert trained(engine, 1, epochs=1).result.state is State.FINISHED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "what"),
    [(ANOTHER_NUMPY, "numpy '1.0.0', not "), (WITHOUT_NETCORE, "No module named 'netcore'")],
    ids=["another NumPy", "no netcore"],
)
def test_a_worker_that_differs_is_named(scheduler: str, tmp_path: Path, first: str, what: str) -> None:
    """Exit code 2 and one line that names the worker, before trial 0."""
    write_mixed(tmp_path, 4)
    with a_worker(scheduler, tmp_path / "good"), a_worker(scheduler, tmp_path / "bad", first=first):
        done = netcore_command("run", "mixed.toml", "--dask", scheduler, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: Dask worker tcp://127.0.0.1:")
    assert what in line
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "results" / "mixed" / "trials").glob("*.npz"))


@pytest.mark.slow
def test_one_that_differs_and_joins_later_is_named_too(scheduler: str, tmp_path: Path) -> None:
    """A worker of other versions that joins during the search trains nothing: the run stops and names it."""
    with ExitStack() as stack:
        good = stack.enter_context(a_worker(scheduler, tmp_path / "good"))
        engine = stack.enter_context(DaskEngine(scheduler, iris_on_disk(), timeout=60))
        assert trained(engine, 0).result.state is State.FINISHED
        stack.enter_context(a_worker(scheduler, tmp_path / "bad", first=ANOTHER_NUMPY))
        good.kill()
        with pytest.raises(
            InputError, match=r"Dask worker tcp://\S+: must have the versions of this process, got numpy"
        ):
            trained(engine, 1)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="names an x86 processor")
def test_a_worker_whose_blas_takes_another_processor_is_named(scheduler: str, tmp_path: Path) -> None:
    """The last bits of its numbers may differ: the search says so once, at the start or when the worker joins."""
    another = "import os; os.environ['OPENBLAS_CORETYPE'] = 'Sandybridge'"
    with ExitStack() as stack:
        alike = stack.enter_context(a_worker(scheduler, tmp_path / "alike"))
        engine = stack.enter_context(DaskEngine(scheduler, iris_on_disk(), timeout=60))
        assert engine.news() == []
        stack.enter_context(a_worker(scheduler, tmp_path / "old", first=another))
        alike.kill()
        notes = []
        for number in range(2):
            assert trained(engine, number).result.state is State.FINISHED
            notes.append([note for note in engine.news() if ": blas is 'openblas " in note])
        (note,) = notes[0]
        assert notes[1] == []
        assert note.startswith("Dask worker tcp://127.0.0.1:")
        assert "Sandybridge" in note
        assert note.endswith("; bits may differ")
        again = stack.enter_context(DaskEngine(scheduler, iris_on_disk(), timeout=60))
        assert note in again.news()


@pytest.mark.slow
def test_the_scheduler_dies(mixed: Mixed, tmp_path: Path) -> None:
    """The run ends with one line; all that was committed is there, and this machine alone continues it."""
    spec, _, tables = mixed
    with ExitStack() as stack:
        address, scheduler = stack.enter_context(a_scheduler(tmp_path / "scheduler"))
        stack.enter_context(a_worker(address, tmp_path / "a"))
        run = stack.enter_context(Run(spec, results=tmp_path / "results", dask=address))
        steps = run.search(confirm=False)
        for _ in range(10):
            next(steps)
        scheduler.kill()
        with pytest.raises(WorkError, match=r"Dask cluster at .*: fails .*; all records are safe"):
            list(steps)
    done = len(list((tmp_path / "results" / "mixed" / "trials").glob("*.npz")))
    assert 10 <= done < len(tables.trials)
    assert fingerprint(netcore.run_study(spec, results=tmp_path / "results", workers=2)) == fingerprint(tables)


def test_no_cluster_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No scheduler is exit code 2, a scheduler without workers exit code 1: one line each, with the remedy."""
    monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
    for address in ("tcp://127.0.0.1:1", "nonsense://", "127.0.0.1:port"):
        with pytest.raises(InputError, match=r"--dask: no scheduler answers .*; give the address of `dask scheduler`"):
            DaskEngine(address, iris_on_disk(), timeout=60)
    with (
        a_scheduler(tmp_path / "scheduler") as (address, _),
        pytest.raises(WorkError, match="has no worker; start some with `dask worker"),
    ):
        DaskEngine(address, iris_on_disk(), timeout=60)


def test_workers_of_a_cluster_are_not_counted_here(tmp_path: Path) -> None:
    """`--workers` beside `--dask` is a mistake, said before anything else."""
    write_mixed(tmp_path, 4)
    done = netcore_command("run", "mixed.toml", "--dask", "tcp://127.0.0.1:1", "--workers", "2", cwd=tmp_path)
    assert "must be left out with a Dask cluster" in refused(done)
