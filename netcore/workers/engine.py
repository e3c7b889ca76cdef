"""An engine: the search's view of the processes that run trials.

An engine has one verb, `submit(job, dataset) -> Future[Trained]`. `netcore.workers.local` runs trials in processes of
this machine, `netcore.workers.cluster` on a Dask cluster. The search does not know which one it has, and no number
depends on it.
"""

from concurrent.futures import Future
from typing import NamedTuple, Protocol

from netcore.data import Dataset
from netcore.records.job import TrialJob, TrialResult
from netcore.records.record import Provenance

ATTEMPTS = 2
"""A trial whose worker dies or stalls is run again, by another worker; after this many attempts it has failed."""


class Trained(NamedTuple):
    """A job's result, and how it was computed."""

    result: TrialResult
    provenance: Provenance


class Engine(Protocol):
    """Runs trials."""

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Trained]:
        """Run a trial as soon as a worker is free; an error of the trial is a result, not an error of the future."""
