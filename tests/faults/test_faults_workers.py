"""Workers that are killed, ended, stopped or starved while they train: the study continues unchanged."""

import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import job_of, on_disk, training_workers, workers_of
from injection import Forge, survivors, tables_of, write_study

import netcore
from netcore.data import Dataset
from netcore.question.spec import StudySpec, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.workers.local import LocalEngine

Told = Callable[[str, object], None]
MEMORY = 64 * 2**20


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    """Return what netcore processes are forked from."""
    with Forge() as one:
        yield one


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudySpec, Dataset]:
    """Return a study and its data, for jobs of one's own."""
    spec = load_spec(write_study(tmp_path_factory.mktemp("question")))
    return spec, on_disk(spec)


def the_worker() -> psutil.Process:
    """Return the one worker of this process."""
    (worker,) = workers_of()
    return worker


def trains(worker: psutil.Process) -> bool:
    """Wait until a worker that waited for a job trains; return whether it did. Waiting costs no CPU time."""
    before, patience = worker.cpu_times().user, time.monotonic() + 60
    while worker.cpu_times().user < before + 0.1:
        if time.monotonic() > patience:
            return False
        time.sleep(0.01)
    return True


def test_a_trial_without_memory_fails_alone(question: tuple[StudySpec, Dataset], record_property: Told) -> None:
    """With 64 MB left, a trial that needs more has failed, by a MemoryError with its traceback; the others train."""
    spec, data = question
    with LocalEngine(1, timeout=120) as engine:
        engine.submit(job_of(spec, 0), data).result(120)
        worker = the_worker()
        limit = worker.memory_info().vms + MEMORY
        worker.rlimit(resource.RLIMIT_AS, (limit, limit))
        greedy = engine.submit(job_of(spec, 1, hidden_size=8_000_000), data).result(120)
        assert (greedy.result.state, greedy.result.failure) == (State.FAILED, "error")
        assert "MemoryError" in greedy.result.traceback
        assert greedy.provenance.attempts == 1
        modest = engine.submit(job_of(spec, 2), data).result(120)
        assert (modest.result.state, modest.provenance.attempts) == (State.FINISHED, 1)
        assert the_worker().pid == worker.pid
    record_property("injected", 1)


@pytest.mark.slow
def test_a_worker_that_starves_costs_one_attempt_at_most(
    question: tuple[StudySpec, Dataset], record_property: Told
) -> None:
    """A limit of 64 MB in all, set while it trains, is an error of that trial, or costs it an attempt."""
    spec, data = question
    with LocalEngine(1, timeout=120) as engine:
        engine.submit(job_of(spec, 0), data).result(120)
        worker = the_worker()
        hit = engine.submit(job_of(spec, 1, epochs=20_000), data)
        assert trains(worker)
        worker.rlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        trained = hit.result(300)
        if trained.result.state is State.FAILED:
            assert trained.result.failure == "error"
            assert trained.result.traceback.startswith("Traceback")
        else:
            assert trained.provenance.attempts == 2
    record_property("injected", 1)


@pytest.mark.rounds(1, 5)
def test_a_worker_that_dies_while_it_waits_costs_no_attempt(
    question: tuple[StudySpec, Dataset], rounds: int, record_property: Told
) -> None:
    """Killed between two trials, a worker is replaced, and the trial that comes next is not charged an attempt."""
    spec, data = question
    with LocalEngine(1, timeout=120) as engine:
        for number in range(rounds):
            engine.submit(job_of(spec, number), data).result(120)
            worker = the_worker()
            worker.kill()
            while worker.status() != psutil.STATUS_ZOMBIE or worker.num_threads() > 1:  # its parent alone may reap it
                time.sleep(0.01)
            innocent = engine.submit(job_of(spec, number), data).result(120)
            assert (innocent.result.state, innocent.provenance.attempts) == (State.FINISHED, 1)
    record_property("injected", rounds)


def test_a_worker_that_dies_while_it_starts_costs_no_attempt(
    question: tuple[StudySpec, Dataset], record_property: Told
) -> None:
    """Killed before they are ready, two in a row, workers are replaced, and no trial is charged an attempt."""
    spec, data = question
    killed: set[int] = set()
    with LocalEngine(1, timeout=120) as engine:
        while len(killed) < 2:
            for child in workers_of():
                child.kill()
                killed.add(child.pid)
        innocent = engine.submit(job_of(spec, 0), data).result(120)
        assert (innocent.result.state, innocent.provenance.attempts) == (State.FINISHED, 1)
    record_property("injected", len(killed))


@pytest.mark.rounds(2, 20)
def test_a_late_answer_is_discarded(question: tuple[StudySpec, Dataset], rounds: int, record_property: Told) -> None:
    """A worker that stalls and answers about when its time is over gives its own answer or none, never another's."""
    spec, data = question
    moments = random.Random(rounds)  # noqa: S311  # moments, not secrets
    expected = {}
    timeout, late = 1.5, 0
    with LocalEngine(1, timeout=60) as engine:
        for number in (0, 1):
            expected[number] = engine.submit(job_of(spec, number), data).result(120).result
    with LocalEngine(1, timeout=timeout) as engine:
        for _ in range(rounds):
            engine.submit(job_of(spec, 0), data).result(120)
            worker = the_worker()
            worker.suspend()
            answers = [engine.submit(job_of(spec, number), data) for number in (0, 1)]
            time.sleep(moments.uniform(timeout - 0.05, timeout + 0.05))
            with suppress(psutil.NoSuchProcess):
                worker.resume()
            stalled, following = (answer.result(120) for answer in answers)
            assert (stalled.result, following.result) == (expected[0], expected[1])
            assert following.provenance.attempts == 1
            late += stalled.provenance.attempts == 2
    record_property("injected", rounds)
    record_property("measured", f"{late} came too late")


@pytest.mark.rounds(1, 10)
def test_a_study_does_not_notice_its_workers_end(
    forge: Forge, tmp_path: Path, rounds: int, record_property: Told
) -> None:
    """Workers that three signals end while they train are replaced; the tables are those of a quiet study."""
    moments = random.Random(0)  # noqa: S311  # moments, not secrets
    calm = tmp_path / "calm"
    longer(calm)
    assert forge.run("search", "tiny.toml", cwd=calm, workers=2).code == 0
    hits = attempts = 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        longer(folder)
        process = forge.start("search", "tiny.toml", cwd=folder, workers=2)
        process.go()
        trials = folder / "results" / "tiny" / "trials"
        # The records are so far apart that no trial is hit twice.
        for least, how in zip((1, 5, 9), (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV), strict=True):
            process.wait_for_records(trials, least)
            time.sleep(moments.uniform(0, 0.1))
            with suppress(psutil.Error, IndexError):
                moments.choice(workers_of(process.pid)).send_signal(how)
                hits += 1
        ended = process.end()
        assert (ended.code, ended.said) == (0, "")
        assert survivors(process.mark) == []
        assert tables_of(folder) == tables_of(calm)
        records = StudyFolder(folder / "results" / "tiny").committed()
        assert max(record.provenance.attempts for record in records) <= 2
        attempts += sum(record.provenance.attempts for record in records) - len(records)
    assert netcore.load_study("tiny", results=calm / "results").trials["state"].nunique() > 1
    record_property("injected", hits)
    record_property("measured", f"{attempts} trials trained twice")


@pytest.mark.rounds(1, 5)
def test_a_worker_goes_with_its_parent(forge: Forge, tmp_path: Path, rounds: int, record_property: Told) -> None:
    """A worker whose parent is killed ends, in the middle of a trial that would take hours."""
    path = write_study(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("epochs = 4", "epochs = 10_000_000"), encoding="utf-8")
    for _ in range(rounds):
        process = forge.start("search", "tiny.toml", cwd=tmp_path)
        process.go()
        process.wait_for(partial(training_workers, process.pid))
        process.signal(signal.SIGKILL)
        assert process.end().code == -signal.SIGKILL
        assert survivors(process.mark) == []
    record_property("injected", rounds)


def longer(folder: Path) -> None:
    """Write a study whose trials take a tenth of a second each."""
    path = write_study(folder, trials=14)
    path.write_text(path.read_text(encoding="utf-8").replace("epochs = 4", "epochs = 150"), encoding="utf-8")
