"""Workers may die, stall or be orphaned; a study is none the worse for it. Real processes, really killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import fingerprint, netcore_command, on_disk

import netcore
from netcore.errors import WorkError
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import StudySpec, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob
from netcore.run import Run
from netcore.workers.local import LocalEngine, usable_cores

DIGITS = """
[study]
seed = 5
trials = 24
window = 4
max_failures = 60
[data]
source = "digits"
[training]
epochs = 40
batch_size = 20
[space]
learning_rate = { low = 1e-3, high = 1e4, log = true }
hidden_size = [64, 128, 1_000_000_000_000_000]
reg = { low = 1e-6, high = 1e-1, log = true }
learning_rate_decay = 0.95
[stopping]
rungs = [5, 15]
after = 3
"""
"""Trials of some tenths of a second: long enough to be caught in the middle."""

RUN = """
import sys, netcore
if __name__ == "__main__":
    netcore.run_study("slow.toml", workers=2)
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give the slow study's file and the hash of its uninterrupted tables."""
    folder = tmp_path_factory.mktemp("slow")
    path = folder / "slow.toml"
    path.write_text(DIGITS, encoding="utf-8")
    tables = netcore.run_study(path, results=folder / "results", workers=2)
    assert set(tables.trials["state"]) == set(State)
    return path, fingerprint(tables)


def start(folder: Path, study: Path) -> "subprocess.Popen[str]":
    """Start the slow study in a process of its own, in a folder of its own."""
    (folder / "slow.toml").write_bytes(study.read_bytes())
    (folder / "run.py").write_text(RUN, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "run.py"], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_records(folder: Path, number: int, process: "subprocess.Popen[str]") -> None:
    """Wait until there are so many records, or the process has ended."""
    trials = folder / "results" / "slow" / "trials"
    while process.poll() is None and len(list(trials.glob("*.npz"))) < number:
        time.sleep(0.01)


def gone(processes: list[psutil.Process], seconds: float = 10) -> bool:
    """Say whether all these processes end within some time."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def test_five_kills_at_random_moments_change_nothing(slow: tuple[Path, str], tmp_path: Path) -> None:
    """Killed with SIGKILL five times and resumed, the study ends with the tables of the uninterrupted one."""
    moments = random.Random(0)  # noqa: S311  # moments, not secrets
    kills = 0
    for records in sorted(moments.sample(range(1, 22), 5)):
        process = start(tmp_path, slow[0])
        wait_for_records(tmp_path, records, process)
        time.sleep(moments.uniform(0, 0.3))
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert gone(children), "a worker outlived its killed parent"
    assert kills == 5
    tables = netcore.run_study(tmp_path / "slow.toml", results=tmp_path / "results", workers=2)
    assert fingerprint(tables) == slow[1]


def test_a_killed_worker_costs_nothing_but_its_own_trial_one_attempt(slow: tuple[Path, str], tmp_path: Path) -> None:
    """A worker killed in the middle is replaced, its trial is run again, and the tables are the same."""
    process = start(tmp_path, slow[0])
    wait_for_records(tmp_path, 5, process)
    workers = workers_of(psutil.Process(process.pid))
    assert len(workers) == 2
    workers[0].kill()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    tables = netcore.load_study("slow", results=tmp_path / "results")
    assert fingerprint(tables) == slow[1]


def test_a_job_that_kills_every_worker_fails_alone(slow: tuple[Path, str]) -> None:
    """A trial whose workers keep dying is failed after two attempts; the other trials do not notice."""
    spec = load_spec(slow[0])
    dataset = on_disk(spec)
    with LocalEngine(1, timeout=60) as engine:
        doomed = engine.submit(job(spec, 0, epochs=100_000), dataset)
        killer = threading.Thread(target=kill_children_until, args=(doomed.done,))
        killer.start()
        trained = doomed.result(60)
        killer.join()
        assert (trained.result.state, trained.result.failure) == (State.FAILED, "worker died")
        assert trained.provenance.attempts == 2
        assert "exit code -9" in trained.result.traceback
        innocent = engine.submit(job(spec, 1, epochs=2), dataset).result(60)
        assert (innocent.result.state, innocent.provenance.attempts) == (State.FINISHED, 1)


def test_data_that_go_in_mid_run_cost_no_trial(
    slow: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker keeps the data that it has mapped; a new one finds none: the run stops with one line, and goes on."""
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "cache"))
    with Run(load_spec(slow[0]), results=tmp_path / "results", workers=1) as run:
        steps = run.search()
        next(steps)
        shutil.rmtree(tmp_path / "cache")
        for _ in range(5):
            next(steps)
        workers_of(psutil.Process())[0].kill()
        with pytest.raises(WorkError) as caught:
            list(steps)
    place = tmp_path / "cache" / run.dataset.digest
    remedy = "run the same command again: it makes them anew and goes on where it stopped"
    assert str(caught.value) == f"{place}: the prepared data are gone or damaged; {remedy}"
    assert not workers_of(psutil.Process())
    there = len(list((tmp_path / "results" / "slow" / "trials").glob("*.npz")))
    assert 6 <= there < 24
    tables = netcore.run_study(slow[0], results=tmp_path / "results", workers=2)
    assert fingerprint(tables) == slow[1]


def test_a_trial_that_stalls_is_ended(slow: tuple[Path, str]) -> None:
    """A worker that is stopped (SIGSTOP) counts as stalled after the time-out; after two of them the trial failed."""
    spec = load_spec(slow[0])
    dataset = on_disk(spec)
    with LocalEngine(1, timeout=0.5) as engine:
        trained = engine.submit(job(spec, 0, epochs=100_000), dataset).result(60)
        assert (trained.result.state, trained.result.failure) == (State.FAILED, "timed out")
        assert "longer than trial_timeout = 0.5 s" in trained.result.traceback
        engine.submit(job(spec, 1, epochs=2), dataset).result(60)
        workers_of(psutil.Process())[0].suspend()
        trained = engine.submit(job(spec, 2, epochs=2), dataset).result(60)
        assert trained.result.state is State.FINISHED
        assert trained.provenance.attempts == 2


def test_closing_an_engine_ends_its_workers_at_once(slow: tuple[Path, str]) -> None:
    """No worker is left when the engine is closed, busy or not."""
    spec = load_spec(slow[0])
    dataset = on_disk(spec)
    with LocalEngine(2, timeout=60) as engine:
        engine.submit(job(spec, 0, epochs=1), dataset).result(60)
        engine.submit(job(spec, 1, epochs=100_000), dataset)
        children = workers_of(psutil.Process())
        assert len(children) == 2
    assert gone(children, 0)


def test_a_script_without_a_main_guard_is_told_so(slow: tuple[Path, str], tmp_path: Path) -> None:
    """A script that runs a study at import gets one line that says what to do, not a hang."""
    (tmp_path / "slow.toml").write_bytes(slow[0].read_bytes())
    (tmp_path / "naive.py").write_text("import netcore\nnetcore.run_study('slow.toml', workers=1)\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "naive.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert 'does so under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_command_says_how_to_go_on(
    slow: tuple[Path, str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C or SIGTERM end `netcore run` with exit code 130, no process is left, and the same command goes on."""
    (tmp_path / "slow.toml").write_bytes(slow[0].read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-m", "netcore", "run", "slow.toml"],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_records(tmp_path, 6, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "trials; run the same command again to continue" in errors
    assert "Traceback" not in errors, errors
    assert gone(children)
    tables = netcore.run_study(tmp_path / "slow.toml", results=tmp_path / "results", workers=2)
    assert fingerprint(tables) == slow[1]


@pytest.mark.parametrize("seconds", [1.6, 1.8, 2.0, 2.2, 2.4])
def test_ctrl_c_while_workers_start_is_as_quiet(slow: tuple[Path, str], tmp_path: Path, seconds: float) -> None:
    """A terminal's Ctrl-C reaches every process of the command: no worker says anything, however young it is."""
    (tmp_path / "slow.toml").write_bytes(slow[0].read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-m", "netcore", "run", "slow.toml"],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    # Where Ctrl-C comes in the middle of certain imports, Python itself ends by the signal; a shell says 130 then, too.
    assert process.returncode in {130, -signal.SIGINT}, errors
    assert "Traceback" not in errors, errors


def test_the_same_study_cannot_run_twice_at_once(slow: tuple[Path, str], tmp_path: Path) -> None:
    """A second run of a running study is refused with exit code 2 and one line; looking at it is not."""
    longer = tmp_path / "longer.toml"
    text = slow[0].read_text().replace("slow", "longer").replace("trials = 24", "trials = 2000")
    longer.write_text(text.replace("max_failures = 60", "max_failures = 2000"))
    process = start(tmp_path, longer)
    wait_for_records(tmp_path, 2, process)
    second = netcore_command("run", "slow.toml", cwd=tmp_path)
    listed = netcore_command("list", cwd=tmp_path)
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert second.returncode == 2
    assert second.stderr.startswith("error: results/slow: another `netcore run` of this study is under way")
    assert second.stderr.count("\n") == 1
    assert not (tmp_path / "mlflow.db").exists()
    assert (listed.returncode, listed.stdout.split()[0]) == (0, "slow")


def test_a_worker_says_what_its_numbers_depend_on(slow: tuple[Path, str]) -> None:
    """Every record carries versions, processor and BLAS."""
    folder = slow[0].parent / "results" / "slow"
    record = StudyFolder(folder).read(0)
    environment = record.provenance.environment
    assert {"numpy", "optuna", "netcore", "python", "processor", "blas", "system"} <= environment.keys()
    assert all(environment.values())
    assert json.dumps(environment)


def test_usable_cores_follow_the_affinity_mask() -> None:
    """`--workers` defaults to the cores that this process may use, not to those of the machine."""
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from netcore.workers.local import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert usable_cores() >= 1


def job(spec: StudySpec, number: int, epochs: int) -> TrialJob:
    """Make a job of so many epochs."""
    hyperparameters = Hyperparameters(0.01, 64, 0.0, 1.0)
    made = TrialJob.of(spec, number, hyperparameters, {}, "digest", "")
    return TrialJob(**{**vars(made), "epochs": epochs})


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Give a process's workers: not its helpers, nor one that is gone already."""
    workers = []
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child)
    return workers


def kill_children_until(done: object) -> None:
    """Kill every worker of this process that is past its start, and trains, until told that it is enough."""
    while not done():  # type: ignore[operator]
        for worker in workers_of(psutil.Process()):
            with suppress(psutil.Error):
                if worker.cpu_times().user > 1.5:
                    worker.kill()
        time.sleep(0.05)
