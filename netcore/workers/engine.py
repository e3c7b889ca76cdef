"""Where trials run: processes of this machine, each with a pipe of its own and a thread that minds it.

The engine has one verb, `submit(job, dataset) -> Future[Trained]`. A worker maps the data from the cache, so that all
share their memory, and touches no store. A worker that dies or stalls costs the trial that it trains one attempt and
nobody else anything; it is replaced.

Why not `ProcessPoolExecutor`: one dead worker breaks every pending future, and a stalled one cannot be ended. Why not
a pool whose workers share one pipe: a worker killed while it writes there takes the others' results with it.
"""

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from threadpoolctl import threadpool_limits

from netcore.data import Dataset
from netcore.data.prepared import open_dataset
from netcore.errors import WorkError
from netcore.records.job import TrialJob, TrialResult, failed
from netcore.records.record import Provenance
from netcore.training.step import load
from netcore.workers.environment import environment
from netcore.workers.trial import run_trial

__all__ = ["ATTEMPTS", "Engine", "LocalEngine", "Trained", "usable_cores"]

ATTEMPTS = 2
"""A trial whose worker dies or stalls is run once more, by another worker; then it has failed."""

_STARTS = 3
"""So many workers in a row may be killed before they are ready: that is no trial's fault."""

_START_TIMEOUT = 300.0
_SPAWN = multiprocessing.get_context("spawn")


class Trained(NamedTuple):
    """What an engine gives for a job."""

    result: TrialResult
    provenance: Provenance


class Engine(Protocol):
    """Whatever runs trials."""

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Trained]:
        """Run a trial some time; the future never fails because of the trial."""


def usable_cores() -> int:
    """Give how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalEngine:
    """Worker processes of this machine, one BLAS thread each; a context manager that ends them when it is left.

    `dtype` is that of the jobs to come; a job of another one is trained all the same, once its step is compiled.
    """

    def __init__(self, workers: int, *, timeout: float, dtype: str = "float32") -> None:
        self._timeout, self._dtype = timeout, dtype
        self._jobs: queue.SimpleQueue[tuple[TrialJob, Path, Future[Trained]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._closed = threading.Event()
        resource_tracker.ensure_running()  # here, for its start unblocks SIGINT in the thread that meets it first
        self._threads = [threading.Thread(target=self._mind_a_worker, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Trained]:
        """Run a trial as soon as a worker is free. The data must lie in the cache: only their place is sent.

        The future raises WorkError if no worker can be started at all, or the data are no longer there; a trial whose
        workers keep dying, or stalling beyond the time-out, is a result like any other: failed.
        """
        if dataset.path is None:
            raise ValueError("the workers map the data: they must come through the cache")
        future: Future[Trained] = Future()
        self._jobs.put((job, dataset.path, future))
        return future

    def close(self) -> None:
        """End all workers now. Trials in flight are lost; nothing else can be, for workers hold nothing."""
        with self._lock:
            self._closed.set()
            workers = list(self._workers)
        for worker in workers:
            worker.end()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _mind_a_worker(self) -> None:
        """Take jobs from the queue and see each through, with one worker at a time."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # workers inherit it: Ctrl-C is this process's matter
        worker: _Worker | None = None
        with suppress(WorkError, _LostError):  # ahead of the first job, which meets the error again
            worker = self._start()
        while (task := self._jobs.get()) is not None and not self._closed.is_set():
            job, data, future = task
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    if worker and worker.is_dead():  # while it waited: not this trial's doing
                        self._end(worker)
                        worker = None
                    worker = worker or self._start()
                    result, started, seconds = worker.train(job, data, self._timeout)
                except _LostError as loss:
                    if worker:
                        self._end(worker)
                    worker = None
                    if self._closed.is_set():
                        return
                    if attempt < ATTEMPTS:
                        continue
                    result = failed(loss.failure, f"{loss} in each of {ATTEMPTS} attempts")
                    started, seconds = loss.started, loss.seconds
                except Exception as error:  # noqa: BLE001  # whoever waits for the future must learn of it
                    future.set_exception(error)
                    if worker:
                        self._end(worker)  # its pipe may hold the answer to another question
                    worker = None
                    break
                provenance = Provenance(started, seconds, attempt, worker.environment if worker else environment())
                future.set_result(Trained(result, provenance))
                break

    def _start(self) -> "_Worker":
        """Give a worker that is ready; one that is killed before it is costs no trial anything.

        Raises:
            WorkError: none can be started.
            _LostError: the engine was closed meanwhile.
        """
        for _ in range(_STARTS):
            try:
                return self._start_one()
            except _LostError:
                if self._closed.is_set():
                    raise
        raise WorkError.at(
            "worker",
            f"{_STARTS} worker processes in a row were killed before they could train",
            remedy="is there enough memory? The same command goes on; `--workers` says how many run at once",
        )

    def _start_one(self) -> "_Worker":
        """Start a worker, known to `close` from its first moment."""
        worker = _Worker(self._dtype)
        with self._lock:
            self._workers.add(worker)
            closed = self._closed.is_set()
        if closed:
            worker.end()
        try:
            worker.wait_until_ready()
        except BaseException:
            self._end(worker)
            raise
        return worker

    def _end(self, worker: "_Worker") -> None:
        worker.end()
        with self._lock:
            self._workers.discard(worker)


class _LostError(Exception):
    """A worker died or stalled in the middle of a trial."""

    def __init__(self, failure: str, what: str, started: float, seconds: float) -> None:
        super().__init__(what)
        self.failure, self.started, self.seconds = failure, started, seconds


class _Worker:
    """One process and this side of its pipe."""

    def __init__(self, dtype: str) -> None:
        self.environment: dict[str, str] = {}
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs, dtype), daemon=True)
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        """Wait until the process can train.

        Raises:
            WorkError: it ended by itself, and so would the next.
            _LostError: it was killed.
        """
        started, begun = time.time(), time.monotonic()
        try:
            if not self._pipe.poll(_START_TIMEOUT):
                self._process.kill()  # stopped, say; recv then meets the end of the pipe
            self.environment = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(1)
            if self._killed():
                raise self._died(started, begun) from error
            raise WorkError.at(
                "worker",
                "a worker process could not start",
                f"exit code {self._process.exitcode}",
                'its own message is above; a script that calls netcore does so under `if __name__ == "__main__":`',
            ) from error

    def train(self, job: TrialJob, data: Path, timeout: float) -> tuple[TrialResult, float, float]:
        """Give the result, the time it started and the seconds it took.

        Raises:
            _LostError: the process died, or took longer than `timeout` seconds.
            WorkError: the data are no longer there.
        """
        started, begun = time.time(), time.monotonic()
        try:
            self._pipe.send((job, data))
            if self._pipe.poll(timeout):
                answer: tuple[TrialResult, float, float] | WorkError = self._pipe.recv()
                if isinstance(answer, WorkError):
                    raise answer
                return answer
        except (EOFError, OSError) as error:
            self._process.join(1)
            raise self._died(started, begun) from error
        what = f"the trial ran longer than trial_timeout = {timeout:g} s"
        raise _LostError("timed out", what, started, time.monotonic() - begun)

    def is_dead(self) -> bool:
        """Say whether the process has ended."""
        return not self._process.is_alive()

    def _killed(self) -> bool:
        return (self._process.exitcode or 0) < 0

    def _died(self, started: float, begun: float) -> _LostError:
        what = f"the worker process died (exit code {self._process.exitcode})"
        return _LostError("worker died", what, started, time.monotonic() - begun)

    def end(self) -> None:
        """Kill the process (SIGKILL also ends one that is stopped) and reap it."""
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, dtype: str) -> None:
    """Be a worker, as long as there is memory."""
    try:
        _train(pipe, dtype)
    except MemoryError:
        # There is not even enough to tell. On its way out the interpreter may try to handle this for ever
        # (a handler of a long function has to allocate a number first), so it is not asked to.
        os.write(2, b"netcore: a worker has no memory left\n")
        os._exit(1)


def _train(pipe: Connection, dtype: str) -> None:
    """Train what comes through the pipe until it closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load(dtype)  # ahead of the first job: it may have to be compiled, and it brings the BLAS that is limited next
    threadpool_limits(1)
    with suppress(EOFError, OSError):
        pipe.send(environment())
        while True:
            pipe.send(_answer(*pipe.recv()))


def _answer(job: TrialJob, data: Path) -> tuple[TrialResult, float, float] | WorkError:
    """Train a trial; give its result, the time it started and the seconds it took, or why it cannot be trained."""
    started, begun = time.time(), time.perf_counter()
    try:
        result = run_trial(job, open_dataset(data))
    except WorkError as error:  # the data are gone: that is not the trial's fault
        return error
    except Exception:  # noqa: BLE001  # whatever it is belongs in the trial's record
        result = failed("error", traceback.format_exc())
    return result, started, time.perf_counter() - begun


def _end_with_parent() -> None:
    """Wait until the parent process is gone, however it went, and go too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
