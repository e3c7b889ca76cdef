"""An engine: the search's view of the processes that run trials.

An engine has one verb, `submit(job, dataset) -> Future[Record]`. `netcore.workers.local` runs trials in processes of
this machine, `netcore.workers.cluster` on a Dask cluster. The search does not know which one it has, and no number
depends on it.
"""

import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from netcore.core.sgd import Epoch
from netcore.data import Dataset
from netcore.records.job import TrialJob, failed
from netcore.records.record import Provenance, Record
from netcore.workers.environment import environment
from netcore.workers.trial import run_trial

ATTEMPTS = 2
"""A trial whose worker dies or stalls is run again, by another worker; after this many attempts it has failed."""


class Engine(Protocol):
    """Runs trials."""

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Record]:
        """Run a trial as soon as a worker is free; an error of the trial is in its record, not one of the future."""

    def news(self) -> list[str]:
        """Return the notes about the workers that were not returned before."""


class LostError(Exception):
    """A worker died or stalled in the middle of a trial: the record's `failure`, and a sentence."""

    def record(self, job: TrialJob, dataset: Dataset, started: float, seconds: float) -> Record:
        """Return the record of a trial that was lost in its last attempt."""
        failure, what = self.args
        result = failed(failure, f"{what} in each of {ATTEMPTS} attempts")
        return Record.of(job, result, Provenance(started, seconds, ATTEMPTS, environment()), dataset.preprocessing)


def train(
    job: TrialJob, dataset: Dataset, attempt: int, *, stop: Callable[[Epoch, float], bool] | None = None
) -> Record:
    """Run a trial in this process; return its record, with the weights. An error of the trial is in the record too.

    `attempt` is the number of the attempt, counted from 1; `stop` is that of `run_trial`.

    Raises:
        LostError: `stop` raised it.
    """
    started, begun = time.time(), time.perf_counter()
    try:
        result = run_trial(job, dataset, stop=stop)
    except LostError:
        raise
    except Exception:  # noqa: BLE001  # any error of the trial belongs in its record
        result = failed("error", traceback.format_exc())
    provenance = Provenance(started, time.perf_counter() - begun, attempt, environment())
    return Record.of(job, result, provenance, dataset.preprocessing)
