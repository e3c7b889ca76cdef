"""The engine of a Dask cluster: its workers run the trials.

Each data set is sent to every worker once; workers may join, leave and die at any time. Every worker's versions are
compared with those of this process: before the first trial or, if the worker joins later, with its first trial. Each
worker checks the data that it received.
"""

import logging
import threading
import time
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from threadpoolctl import threadpool_limits

from netcore.core.sgd import Epoch
from netcore.data import Dataset
from netcore.data.dataset import digest_of
from netcore.errors import InputError, NetcoreError, WorkError
from netcore.records.job import TrialJob
from netcore.records.record import Record
from netcore.training.step import load
from netcore.workers.engine import ATTEMPTS, LostError, train
from netcore.workers.environment import environment
from netcore.workers.trial import stopping_rule

if TYPE_CHECKING:
    from distributed import Future as Remote

_PATIENCE = 30.0
"""Seconds to wait for an answer of the scheduler or of a worker."""
_KEPT = 2
"""How many data sets stay on the workers: the study's, or two splits of a confirmation."""

_MUST_AGREE = ("netcore", "llvmlite", "numba", "numpy", "scipy", "scikit-learn", "python")
_SHOULD_AGREE = ("code", "system", "processor", "blas", "libc")
_REMEDY = "install the versions of requirements.lock there"


class _Task(NamedTuple):
    """A trial on its way: what was submitted, the future to resolve, and the attempt, counted from 1."""

    job: TrialJob
    dataset: Dataset
    future: Future[Record]
    attempt: int = 1


class DaskEngine:
    """The workers of a Dask cluster; a context manager that disconnects from them on exit."""

    def __init__(self, address: str, dataset: Dataset, *, timeout: float) -> None:
        """Connect to the scheduler at `address`, such as `tcp://10.0.0.1:8786`, and check all its workers.

        Raises:
            InputError: Dask is not installed, no scheduler answers, or a worker has other versions.
            WorkError: there is no worker.
        """
        try:
            from distributed import Client  # noqa: PLC0415  # an extra, and slow to import
        except ImportError as error:
            raise InputError.at("--dask", "needs Dask", remedy="pip install 'netcore[dask]'") from error
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is raised as an error
        self._place = f"Dask cluster at {address}"
        self._timeout = timeout
        self._lock = threading.Lock()
        self._data: dict[str, Remote[Dataset]] = {}
        self._checked: set[str] = set()
        self._notes: list[str] = []
        try:
            self._client: Client = Client(address, timeout=_PATIENCE, set_as_default=False, name="netcore")
        except (OSError, ValueError) as error:
            remedy = "give the address of `dask scheduler`, such as tcp://10.0.0.1:8786"
            raise InputError.at("--dask", f"no scheduler answers ({_first_line(error)})", address, remedy) from error
        try:
            self._check_workers(dataset)
        except Exception as error:
            self.__exit__()
            raise self._plain(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect from the workers; waiting trials are dropped, running trials are abandoned."""
        self._client.close(timeout=_PATIENCE)

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Record]:
        """Run a trial as soon as a worker is free.

        The future raises a NetcoreError if the cluster fails. A trial whose workers keep dying, or that keeps running
        beyond the time-out, has a record like any other: failed.
        """
        future: Future[Record] = Future()
        self._send(_Task(job, dataset, future))
        return future

    def news(self) -> list[str]:
        """Return the notes about workers that were not returned before."""
        with self._lock:
            notes, self._notes = self._notes, []
        return notes

    def _check_workers(self, dataset: Dataset) -> None:
        """Compare every worker's environment with this one, and send the data."""
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise WorkError.at(self._place, "has no worker", remedy="start some with `dask worker ADDRESS`") from error
        environments: dict[str, Any] = self._client.run(environment, on_error="return")
        for worker, there in sorted(environments.items()):
            self._check(worker, there)
        self._data_of(dataset)

    def _check(self, worker: str, there: Any) -> None:  # noqa: ANN401  # or whatever it raised
        """Compare a worker's environment with this one, once."""
        with self._lock:
            if worker not in self._checked:
                self._notes += _compared(worker, there, environment())
                self._checked.add(worker)

    def _send(self, task: _Task) -> None:
        """Submit a trial to the cluster; `_answered` takes its answer."""
        try:
            data = self._data_of(task.dataset)
            arguments = (task.job, data, environment(), self._timeout, task.attempt)
            # A second attempt goes first: the search may be waiting for it.
            remote = self._client.submit(_train, *arguments, pure=False, priority=task.attempt)
        except Exception as error:  # noqa: BLE001  # the thread that waits for the future must see it
            task.future.set_exception(self._plain(error))
        else:
            remote.add_done_callback(partial(self._answered, task, data))

    def _answered(self, task: _Task, data: "Remote[Dataset]", remote: "Remote[tuple[str, Record]]") -> None:
        """Take an answer; if there is none because workers died, ask again."""
        from distributed import KilledWorker  # noqa: PLC0415  # loaded by now

        try:
            worker, record = remote.result()
            self._check(worker, record.provenance.environment)
            task.future.set_result(record)
        except (KilledWorker, LostError) as error:
            if task.attempt < ATTEMPTS:
                self._send(task._replace(attempt=task.attempt + 1))
                return
            loss = error if isinstance(error, LostError) else LostError("worker died", _first_line(error))
            task.future.set_result(loss.record(task.job, task.dataset, time.time(), 0.0))
        except Exception as error:  # noqa: BLE001  # the thread that waits for the future must see it
            if not (isinstance(error, CancelledError) and self._client.status == "running"):
                task.future.set_exception(self._plain(error))
                return
            with self._lock:  # all workers that had the data are gone: not the trial's fault
                if self._data.get(task.dataset.digest) is data:
                    del self._data[task.dataset.digest]
            self._send(task)

    def _data_of(self, dataset: Dataset) -> "Remote[Dataset]":
        """Return the data on the workers; the first call sends them to all workers."""
        with self._lock:
            if dataset.digest not in self._data:
                while len(self._data) >= _KEPT:
                    del self._data[next(iter(self._data))]  # Dask frees them when no trial needs them any more
                name = f"netcore-data-{dataset.digest}"
                sent = self._client.scatter({name: replace(dataset, path=None)}, broadcast=True, timeout=_PATIENCE)
                self._data[dataset.digest] = sent[name]
            return self._data[dataset.digest]

    def _plain(self, error: Exception) -> NetcoreError:
        """Return in one line what the cluster raised."""
        if isinstance(error, NetcoreError):
            return error
        remedy = "all records are safe; run the same command again to continue"
        return WorkError.at(self._place, f"fails ({type(error).__name__}: {_first_line(error)})", remedy=remedy)


def _train(job: TrialJob, dataset: Dataset, ours: dict[str, str], timeout: float, attempt: int) -> tuple[str, Record]:
    """Run on a worker: train one job; return the worker's address and the record.

    Raises:
        InputError: this worker's versions are not those of the search.
        WorkError: the data were damaged on their way.
        LostError: the trial takes too long. This is noticed between two epochs.
    """
    from distributed import get_worker  # noqa: PLC0415  # only where Dask is installed

    _prepare(job.dtype)
    worker = str(get_worker().address)
    if dataset.digest not in _RECEIVED:
        if _computed_digest(dataset) != dataset.digest:
            raise WorkError.at(f"Dask worker {worker}", "has other data than it was sent")
        _RECEIVED.add(dataset.digest)
    _compared(worker, environment(), ours)
    begun, rule = time.monotonic(), stopping_rule(job)

    def stop(epoch: Epoch, best: float) -> bool:
        if time.monotonic() - begun > timeout:
            raise LostError("timed out", f"the trial ran longer than trial_timeout = {timeout:g} s")
        return rule(epoch, best)

    return worker, train(job, dataset, attempt, stop=stop)


@cache
def _prepare(dtype: str) -> None:
    """Load the training step, then limit BLAS to one thread in this process for good: sums must keep their order."""
    load(dtype)
    threadpool_limits(1)


_RECEIVED: set[str] = set()
"""On a worker: the digests of the data sets that it has checked."""


def _computed_digest(dataset: Dataset) -> str:
    """Compute the digest of data as a worker received them."""
    folds = tuple(replace(fold, digest=digest_of(fold)) for fold in dataset.others)
    return digest_of(replace(dataset, others=folds))


def _compared(worker: str, there: Any, here: dict[str, str]) -> list[str]:  # noqa: ANN401  # or whatever it raised
    """Return the differences between a worker's environment and this one that may change the last bits.

    Raises:
        InputError: the worker has other versions, or none.
    """
    place = f"Dask worker {worker}"
    if not isinstance(there, dict):
        found = f"{type(there).__name__}: {_first_line(there)}"
        raise InputError.at(place, "must have netcore and what it needs", found, _REMEDY)
    apart = [f"{name} {there.get(name)!r}, not {here[name]!r}" for name in _MUST_AGREE if there.get(name) != here[name]]
    if apart:
        raise InputError.at(place, "must have the versions of this process", "; ".join(apart), _REMEDY)
    others = (name for name in _SHOULD_AGREE if there.get(name) != here[name])
    return [f"{place}: {name} is {there.get(name)!r}, here {here[name]!r}; bits may differ" for name in others]


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
