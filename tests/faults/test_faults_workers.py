"""Workers that are killed, ended, stopped or starved while they train: the study continues unchanged."""

import random
import resource
import signal
import time
from contextlib import suppress
from functools import partial

import psutil
import pytest
from conftest import Rounds, submit, trained, training_workers, workers_of
from injection import Forge, tables_of, write_study

import netcore
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.workers.local import LocalEngine

MEMORY = 64 * 2**20


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


def test_a_trial_without_memory_fails_alone() -> None:
    """With 64 MB left, a trial that needs more has failed, by a MemoryError with its traceback; the others train."""
    with LocalEngine(1, timeout=120) as engine:
        trained(engine, 0)
        worker = the_worker()
        limit = worker.memory_info().vms + MEMORY
        worker.rlimit(resource.RLIMIT_AS, (limit, limit))
        greedy = trained(engine, 1, hidden_size=8_000_000)
        assert (greedy.result.state, greedy.result.failure) == (State.FAILED, "error")
        assert "MemoryError" in greedy.result.traceback
        assert greedy.provenance.attempts == 1
        modest = trained(engine, 2)
        assert (modest.result.state, modest.provenance.attempts) == (State.FINISHED, 1)
        assert the_worker().pid == worker.pid


@pytest.mark.slow
def test_a_worker_that_starves_costs_one_attempt_at_most() -> None:
    """A limit of 64 MB in all, set while it trains, is an error of that trial, or costs it an attempt."""
    with LocalEngine(1, timeout=120) as engine:
        trained(engine, 0)
        worker = the_worker()
        hit = submit(engine, 1, epochs=20_000)
        assert trains(worker)
        worker.rlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        starved = hit.result(300)
        if starved.result.state is State.FAILED:
            assert starved.result.failure == "error"
            assert starved.result.traceback.startswith("Traceback")
        else:
            assert starved.provenance.attempts == 2


@pytest.mark.rounds(1, 5)
def test_a_worker_that_dies_while_it_waits_costs_no_attempt(rounds: Rounds) -> None:
    """Killed between two trials, a worker is replaced, and the trial that comes next is not charged an attempt."""
    with LocalEngine(1, timeout=120) as engine:
        for _ in rounds:
            trained(engine, 0)
            worker = the_worker()
            worker.kill()
            while worker.status() != psutil.STATUS_ZOMBIE or worker.num_threads() > 1:  # its parent alone may reap it
                time.sleep(0.01)
            innocent = trained(engine, 0)
            assert (innocent.result.state, innocent.provenance.attempts) == (State.FINISHED, 1)


def test_a_worker_that_dies_while_it_starts_costs_no_attempt() -> None:
    """Killed before they are ready, two in a row, workers are replaced, and no trial is charged an attempt."""
    killed: set[int] = set()
    with LocalEngine(1, timeout=120) as engine:
        while len(killed) < 2:
            for child in workers_of():
                child.kill()
                killed.add(child.pid)
        innocent = trained(engine, 0)
        assert (innocent.result.state, innocent.provenance.attempts) == (State.FINISHED, 1)


@pytest.mark.rounds(2, 20)
def test_a_late_answer_is_discarded(rounds: Rounds) -> None:
    """A worker that stalls and answers about when its time is over gives its own answer or none, never another's."""
    moments = random.Random(rounds.number)  # noqa: S311  # moments, not secrets
    timeout, late = 1.5, 0
    with LocalEngine(1, timeout=60) as engine:
        expected = [trained(engine, number).result for number in (0, 1)]
    with LocalEngine(1, timeout=timeout) as engine:
        for _ in rounds:
            trained(engine, 0)
            worker = the_worker()
            worker.suspend()
            answers = [submit(engine, number) for number in (0, 1)]
            time.sleep(moments.uniform(timeout - 0.05, timeout + 0.05))
            with suppress(psutil.NoSuchProcess):
                worker.resume()
            stalled, following = (answer.result(120) for answer in answers)
            assert [stalled.result, following.result] == expected
            assert following.provenance.attempts == 1
            late += stalled.provenance.attempts == 2
    rounds.tell("measured", f"{late} came too late")


@pytest.mark.rounds(1, 10)
def test_a_study_does_not_notice_its_workers_end(forge: Forge, rounds: Rounds) -> None:
    """Workers that three signals end while they train are replaced; the tables are those of a quiet study."""
    moments = random.Random(0)  # noqa: S311  # moments, not secrets
    calm = rounds.base / "calm"
    write_study(calm, trials=14, epochs=150)  # a tenth of a second each
    assert forge.run("search", "tiny.toml", cwd=calm, workers=2).code == 0
    hits = attempts = 0
    for folder in rounds:
        write_study(folder, trials=14, epochs=150)
        process = forge.start("search", "tiny.toml", cwd=folder, workers=2)
        process.go()
        # The records are so far apart that no trial is hit twice.
        for least, how in zip((1, 5, 9), (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV), strict=True):
            process.wait_for_records(least)
            time.sleep(moments.uniform(0, 0.1))
            with suppress(psutil.Error, IndexError):
                moments.choice(workers_of(process.pid)).send_signal(how)
                hits += 1
        ended = process.end()
        assert (ended.code, ended.said) == (0, "")
        assert process.survivors() == []
        assert tables_of(folder) == tables_of(calm)
        records = StudyFolder(folder / "results" / "tiny").committed()
        assert max(record.provenance.attempts for record in records) <= 2
        attempts += sum(record.provenance.attempts for record in records) - len(records)
    assert netcore.load_study("tiny", results=calm / "results").trials["state"].nunique() > 1
    rounds.tell("injected", hits)
    rounds.tell("measured", f"{attempts} trials trained twice")


@pytest.mark.rounds(1, 5)
def test_a_worker_goes_with_its_parent(forge: Forge, rounds: Rounds) -> None:
    """A worker whose parent is killed ends, in the middle of a trial that would take hours."""
    for folder in rounds:
        write_study(folder, epochs=10_000_000)
        process = forge.start("search", "tiny.toml", cwd=folder)
        process.go()
        process.wait_for(partial(training_workers, process.pid))
        process.signal(signal.SIGKILL)
        assert process.end().code == -signal.SIGKILL
        assert process.survivors() == []
