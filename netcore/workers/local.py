"""The engine of one machine: worker processes, each with its own pipe and its own thread in this process.

A worker maps the prepared data, so all workers share one copy, and it touches no store. A worker that dies or stalls
costs the trial that it trains one attempt; no other trial notices, and the worker is replaced.

`ProcessPoolExecutor` does not fit: one dead worker breaks every pending future, and a stalled one cannot be ended. In a
pool whose workers share one pipe, a worker killed while it writes takes other workers' results with it.
"""

import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Self

from netcore.data import Dataset
from netcore.errors import WorkError
from netcore.records.job import TrialJob
from netcore.records.record import Record
from netcore.workers.engine import ATTEMPTS, LostError
from netcore.workers.process import Worker

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
        self._lock = threading.Lock()
        self._closed = False
        self._workers: dict[int, Worker] = {}
        """By thread: its worker, until it is lost."""
        resource_tracker.ensure_running()  # here, because its start unblocks SIGINT in the thread that starts it
        self._threads = ThreadPoolExecutor(workers, initializer=_block_interrupts)
        for _ in range(workers):
            self._threads.submit(self._worker)  # starts early; the first job meets an error again

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers now. Running trials are abandoned; nothing else is lost."""
        with self._lock:  # no worker is started after this
            self._closed = True
            workers = list(self._workers.values())
        for worker in workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Record]:
        """Run a trial as soon as a worker is free. The data must be on disk: only their path is sent.

        The future raises WorkError if no worker can be started or the data are missing. A trial whose workers keep
        dying, or keep running beyond the time-out, has a record like any other: failed.
        """
        if dataset.path is None:
            raise ValueError("the workers map the data: they must be on disk")
        return self._threads.submit(self._trained, job, dataset, dataset.path)

    def news(self) -> list[str]:
        """Return nothing: no worker joins or leaves."""
        return []

    def _trained(self, job: TrialJob, dataset: Dataset, data: Path) -> Record:
        """Train a job with this thread's worker, again with another one if the worker is lost.

        Raises:
            WorkError: no worker can be started, or the data are missing.
            LostError: the engine was closed meanwhile.
        """
        for attempt in range(1, ATTEMPTS + 1):
            worker, started, begun = self._worker(), time.time(), time.monotonic()
            try:
                return worker.train(job, data, attempt, timeout=self._timeout)
            except LostError as error:
                lost = error.record(job, dataset, started, time.monotonic() - begun)
                self._end()
            except Exception:
                self._end()  # its pipe may hold the answer to another question
                raise
        return lost

    def _worker(self) -> Worker:
        """Return this thread's worker; start one if there is none, or if it died while it waited.

        A worker that is killed before it is ready costs no trial an attempt.

        Raises:
            WorkError: no worker can be started.
            LostError: the engine was closed meanwhile.
        """
        worker = self._workers.get(threading.get_ident())
        if worker and not worker.is_dead():
            return worker
        for _ in range(_STARTS):
            self._end()
            with self._lock:
                if self._closed:
                    raise LostError("worker died", "the engine was closed")
                worker = self._workers[threading.get_ident()] = _start(self._dtype)
            with suppress(LostError):
                worker.wait_until_ready()
                return worker
        raise WorkError.at(
            "worker",
            f"{_STARTS} worker processes in a row were killed before they could train",
            remedy="free some memory, or start fewer with `--workers`; then run the same command again to continue",
        )

    def _end(self) -> None:
        """End this thread's worker, if it has one."""
        if worker := self._workers.pop(threading.get_ident(), None):
            worker.end()


def _start(dtype: str) -> Worker:
    """Start a worker.

    Raises:
        WorkError: the system refuses.
    """
    try:
        return Worker(dtype)
    except OSError as error:
        what = f"a worker process cannot be started ({error.strerror or error})"
        remedy = "free memory, or raise the limits that `ulimit -a` shows"
        if isinstance(error, FileNotFoundError):
            remedy = "the current folder was deleted: change to another one"
        raise WorkError.at("worker", what, remedy=f"{remedy}; then run the same command again to continue") from error


def _block_interrupts() -> None:
    """Block SIGINT in this thread. Its workers inherit that: Ctrl-C is for the main process, which ends them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
