"""The audit of the stopping rule: where would the trials that it stopped have come to?

A share of the stopped trials, chosen by the study's seed, is trained again without thresholds. The same seeds make it
the same training, only longer. The sampler never hears of it. A larger share holds the smaller one.

    audit/trials/000017.npz     the record of trial 17, trained to the end
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from netcore.confirm.batch import Batch, Task, matching
from netcore.data import Dataset
from netcore.errors import RecordError
from netcore.records.folder import StudyFolder
from netcore.records.job import Role, State
from netcore.records.record import Record
from netcore.search.loop import Notice, Stage
from netcore.seeds import Purpose, generator
from netcore.workers.engine import Engine

__all__ = ["audit", "read_audit", "task_of"]


def audit(
    records: list[Record], share: float, folder: StudyFolder, dataset: Dataset, engine: Engine
) -> Iterator[Record | Notice | Stage]:
    """Train a share of the stopped trials to the end; give their records.

    Raises:
        WorkError: the system refuses, or no worker can be started.
    """
    stopped = [record for record in records if record.result.state is State.PRUNED]
    if not stopped:
        yield Notice("the stopping rule stopped no trial, so there is nothing to audit")
        return
    order = generator(stopped[0].job.seed, 0, Purpose.AUDIT).permutation(len(stopped))
    tasks = [task_of(stopped[place], folder) for place in order[: math.ceil(share * len(stopped))]]
    yield Stage("auditing", len(tasks))
    yield from Batch(tasks, lambda: dataset, engine).results()


def read_audit(records: list[Record], folder: StudyFolder) -> list[tuple[Record, Record]]:
    """Read what was audited of these trials: pairs of the stopped record and the whole one.

    What is damaged is left out; `netcore audit` trains it again.
    """
    pairs = []
    for record in records:
        if record.result.state is State.PRUNED:
            with suppress(RecordError):
                if (whole := matching(task_of(record, folder))) is not None:
                    pairs.append((record, whole))
    return pairs


def task_of(stopped: Record, folder: StudyFolder) -> Task:
    """Give the training of a stopped trial to its end."""
    job = replace(stopped.job, thresholds={}, role=Role.AUDIT)
    return Task(StudyFolder(folder.path / "audit"), job)
