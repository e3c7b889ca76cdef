"""The engine of one machine: worker processes, each with its own pipe and its own thread in this process.

A worker maps the prepared data, so all workers share one copy, and it touches no store. A worker that dies or stalls
costs the trial that it trains one attempt; no other trial notices, and the worker is replaced.

`ProcessPoolExecutor` does not fit: one dead worker breaks every pending future, and a stalled one cannot be ended. In a
pool whose workers share one pipe, a worker killed while it writes takes other workers' results with it.
"""

import os
import queue
import signal
import threading
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Self

from netcore.data import Dataset
from netcore.errors import WorkError
from netcore.records.job import TrialJob, failed
from netcore.records.record import Provenance
from netcore.workers.engine import ATTEMPTS, Trained
from netcore.workers.environment import environment
from netcore.workers.process import LostError, Worker

_STARTS = 3
"""If this many workers in a row are killed before they are ready, the engine gives up: no trial is at fault."""


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalEngine:
    """Worker processes of this machine, one BLAS thread each; a context manager that ends them on exit.

    `dtype` is the type of the jobs to come. A job of another type is trained too, after its step has been compiled.
    """

    def __init__(self, workers: int, *, timeout: float, dtype: str = "float32") -> None:
        self._timeout, self._dtype = timeout, dtype
        self._jobs: queue.SimpleQueue[tuple[TrialJob, Path, Future[Trained]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._closed = threading.Event()
        resource_tracker.ensure_running()  # here, because its start unblocks SIGINT in the thread that starts it
        self._threads = [threading.Thread(target=self._run_jobs, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Trained]:
        """Run a trial as soon as a worker is free. The data must be on disk: only their path is sent.

        The future raises WorkError if no worker can be started or the data are missing. A trial whose workers keep
        dying, or keep running beyond the time-out, is a result like any other: failed.
        """
        if dataset.path is None:
            raise ValueError("the workers map the data: they must be on disk")
        future: Future[Trained] = Future()
        self._jobs.put((job, dataset.path, future))
        return future

    def close(self) -> None:
        """End all workers now. Running trials are abandoned; nothing else is lost."""
        with self._lock:
            self._closed.set()
            workers = list(self._workers)
        for worker in workers:
            worker.end()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run_jobs(self) -> None:
        """Take jobs from the queue and run each to its end, with one worker at a time."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # workers inherit it: Ctrl-C is for this process
        worker: Worker | None = None
        with suppress(WorkError, LostError):  # start early; the first job meets the error again
            worker = self._start()
        while (task := self._jobs.get()) is not None and not self._closed.is_set():
            job, data, future = task
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    if worker and worker.is_dead():  # it died while it waited: not this trial's fault
                        self._end(worker)
                        worker = None
                    worker = worker or self._start()
                    result, started, seconds = worker.train(job, data, self._timeout)
                except LostError as loss:
                    if worker:
                        self._end(worker)
                    worker = None
                    if self._closed.is_set():
                        return
                    if attempt < ATTEMPTS:
                        continue
                    result = failed(loss.failure, f"{loss} in each of {ATTEMPTS} attempts")
                    started, seconds = loss.started, loss.seconds
                except Exception as error:  # noqa: BLE001  # the thread that waits for the future must see it
                    future.set_exception(error)
                    if worker:
                        self._end(worker)  # its pipe may hold the answer to another question
                    worker = None
                    break
                provenance = Provenance(started, seconds, attempt, worker.environment if worker else environment())
                future.set_result(Trained(result, provenance))
                break

    def _start(self) -> Worker:
        """Return a worker that is ready; one that is killed before that costs no trial an attempt.

        Raises:
            WorkError: no worker can be started.
            LostError: the engine was closed meanwhile.
        """
        for _ in range(_STARTS):
            try:
                return self._start_one()
            except LostError:
                if self._closed.is_set():
                    raise
        raise WorkError.at(
            "worker",
            f"{_STARTS} worker processes in a row were killed before they could train",
            remedy="free some memory, or start fewer with `--workers`; then run the same command again to continue",
        )

    def _start_one(self) -> Worker:
        """Start a worker that `close` knows from its first moment."""
        worker = Worker(self._dtype)
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

    def _end(self, worker: Worker) -> None:
        worker.end()
        with self._lock:
            self._workers.discard(worker)
