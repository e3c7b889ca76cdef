"""Workers may die, stall or be orphaned; the study's numbers stay the same. Real processes, really killed."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from commands import netcore_command, refused
from conftest import Mixed, fingerprint, submit, trained, training_workers, workers_of

import netcore
from netcore.errors import WorkError
from netcore.records.job import State
from netcore.run import Run
from netcore.workers.local import LocalEngine, usable_cores

FOR_HOURS = 10**7
"""Epochs."""


def test_a_job_that_kills_every_worker_fails_alone() -> None:
    """A trial whose workers keep dying is failed after two attempts; the next trial trains as usual."""
    with LocalEngine(1, timeout=60) as engine:
        doomed = submit(engine, 0, epochs=FOR_HOURS)
        killer = threading.Thread(target=kill_training_workers_until, args=(doomed.done,))
        killer.start()
        lost = doomed.result(240)  # two workers start, perhaps on a slow machine
        killer.join()
        assert (lost.result.state, lost.result.failure) == (State.FAILED, "worker died")
        assert lost.provenance.attempts == 2
        assert "exit code -9" in lost.result.traceback
        innocent = trained(engine, 1)
        assert (innocent.result.state, innocent.provenance.attempts) == (State.FINISHED, 1)


def kill_training_workers_until(done: Callable[[], bool]) -> None:
    """Kill every worker of this process that trains, until `done()` is true; a worker that starts is left alone."""
    while not done():
        for worker in training_workers():
            with suppress(psutil.Error):
                worker.kill()
        time.sleep(0.05)


def test_data_removed_during_a_run_cost_no_trial(mixed: Mixed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker keeps the data that it has mapped; a new one finds none: the run stops, and can be continued."""
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "cache"))
    with Run(mixed[0], results=tmp_path / "results", workers=1) as run:
        steps = run.search()
        next(steps)
        shutil.rmtree(tmp_path / "cache")
        for _ in range(5):
            next(steps)
        workers_of()[0].kill()
        with pytest.raises(WorkError, match="the prepared data are missing or damaged; run the same command again"):
            list(steps)
    assert not workers_of()
    there = len(list((tmp_path / "results" / "mixed" / "trials").glob("*.npz")))
    assert 6 <= there < 40
    tables = netcore.run_study(mixed[0], results=tmp_path / "results", workers=1, confirm=False)
    assert fingerprint(tables) == fingerprint(mixed[2])


def test_a_trial_that_stalls_is_ended() -> None:
    """A worker that is stopped (SIGSTOP) counts as stalled after the time-out; after two of them the trial failed."""
    with LocalEngine(1, timeout=0.5) as engine:
        stalled = trained(engine, 0, epochs=FOR_HOURS).result
        assert (stalled.state, stalled.failure) == (State.FAILED, "timed out")
        assert "longer than trial_timeout = 0.5 s" in stalled.traceback
        trained(engine, 1)
        workers_of()[0].suspend()
        again = trained(engine, 2)
        assert (again.result.state, again.provenance.attempts) == (State.FINISHED, 2)


def test_closing_an_engine_ends_its_workers_at_once() -> None:
    """No worker is left when the engine is closed, busy or not."""
    with LocalEngine(2, timeout=60) as engine:
        trained(engine, 0)
        submit(engine, 1, epochs=FOR_HOURS)
        children = workers_of()
        assert len(children) == 2
    assert not psutil.wait_procs(children, timeout=0)[1]


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so(mixed: Mixed, tmp_path: Path) -> None:
    """A script that runs a study at import gets one line with the remedy, not a hang."""
    (tmp_path / "mixed.toml").write_bytes(mixed[0].text)
    (tmp_path / "naive.py").write_text("import netcore\nnetcore.run_study('mixed.toml', workers=1)\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "naive.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert 'does so under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_the_same_study_cannot_run_twice_at_once(mixed: Mixed, tmp_path: Path) -> None:
    """A second run of a running study is refused with exit code 2 and one line; `netcore list` still works."""
    (tmp_path / "mixed.toml").write_bytes(mixed[0].text)
    with Run(mixed[0], results=tmp_path / "results"):
        second = netcore_command("run", "mixed.toml", cwd=tmp_path)
        listed = netcore_command("list", cwd=tmp_path)
    assert refused(second).startswith("results/mixed: another `netcore run` of this study is under way")
    assert not (tmp_path / "mlflow.db").exists()
    assert (listed.returncode, listed.stdout.split()[0]) == (0, "mixed")


def test_usable_cores_follow_the_affinity_mask() -> None:
    """`--workers` defaults to the cores that this process may use, not to those of the machine."""
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from netcore.workers.local import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert usable_cores() >= 1
