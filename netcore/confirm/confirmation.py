"""The confirmation: train the best trials again with fresh seeds, and find the winner by the mean.

The best of many noisy trials owes part of its value to luck. So the candidates are trained again with fresh seeds, the
same seeds for all. A seed draws the initial weights, the order of the batches, and a new split of training and
validation rows; the test rows stay the same. Each net is judged after its last epoch: no epoch is chosen on the rows
that judge. The winner is the finalist with the best mean.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial

from netcore.confirm.batch import Batch, stored
from netcore.confirm.candidates import PILOT_RATES, Candidate, candidates, confirm_task, pilots
from netcore.data import Dataset
from netcore.data.prepared import prepared
from netcore.errors import RecordError
from netcore.progress import Notice, Stage
from netcore.question.spec import StudySpec, dataset_of
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.records.record import Record, ranked
from netcore.seeds import Purpose, seed_sequence
from netcore.workers.engine import Engine

Confirmed = dict[Candidate, list[Record]]
"""The records of each candidate, one per seed, in order."""


def confirm(
    spec: StudySpec, dataset: Dataset, records: list[Record], folder: StudyFolder, engine: Engine
) -> Iterator[Record | Notice | Stage]:
    """Train the candidates of a complete search with every seed, except those with a stored record.

    Yields all records in order, and notices in between.

    Raises:
        WorkError: the system refuses, or no worker can be started.
    """
    finalists = ranked(records)[: spec.confirm.finalists]
    if not finalists:
        yield Notice("no trial finished, so there is nothing to confirm")
        return
    yield Stage("confirming", (len(finalists) + 2) * spec.confirm.seeds + len(PILOT_RATES))
    yield from Batch(pilots(spec, finalists[0], folder), nullcontext(dataset), engine).results()
    found = candidates(spec, records, folder)
    before: Iterable[Record | Notice] = ()
    with ExitStack() as stack:
        for seed in range(spec.confirm.seeds):  # the nets of one seed train while the data of the next are prepared
            tasks = [confirm_task(spec, dataset.digest, folder, candidate, seed) for candidate in found]
            batch = Batch(tasks, split_of(spec, seed), engine)
            stack.callback(batch.close)
            yield from before
            before = batch.results()
        yield from before


def split_of(spec: StudySpec, seed: int) -> AbstractContextManager[Dataset]:
    """Return a context in which the data are prepared as a seed of the confirmation splits them."""
    draw = int(seed_sequence(spec.study.seed, seed, Purpose.CONFIRM_SPLIT).generate_state(1)[0])
    return prepared(partial(dataset_of, spec, draw=draw))


def read_confirmation(spec: StudySpec, records: list[Record], folder: StudyFolder) -> Confirmed:
    """Return the confirmation of a search with these records; empty if it is incomplete or of another search."""
    digest = records[0].job.data_digest if records else ""
    try:
        return {
            candidate: [
                stored(confirm_task(spec, digest, folder, candidate, seed)) for seed in range(spec.confirm.seeds)
            ]
            for candidate in candidates(spec, records, folder)
        }
    except RecordError:
        return {}


def winner_of(confirmed: Confirmed) -> Candidate | None:
    """Return the finalist with the best mean over its seeds (`Metric.winner`); None if no finalist finished a seed."""
    values = {
        candidate: [record.result.value if record.result.state is State.FINISHED else math.nan for record in records]
        for candidate, records in confirmed.items()
        if candidate.trial is not None
    }
    return next(iter(confirmed.values()))[0].job.metric.winner(values) if values else None
