"""The audit of the stopping rule: what would the trials that it stopped have achieved?

A share of the pruned trials, drawn with the study's seed, is trained again without thresholds. Equal seeds make it the
same training, continued to the last epoch. The sampler never sees the results. A larger share includes the smaller one.

    audit/trials/000017.npz     the record of trial 17, trained to its last epoch
"""

import math
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace

from netcore.confirm.batch import Batch, Task, stored
from netcore.data import Dataset
from netcore.errors import RecordError
from netcore.progress import Notice, Stage
from netcore.records.folder import StudyFolder
from netcore.records.job import Role, State
from netcore.records.record import Record
from netcore.seeds import Purpose, generator
from netcore.workers.engine import Engine


def audit(
    records: list[Record], share: float, folder: StudyFolder, dataset: Dataset, engine: Engine
) -> Iterator[Record | Notice | Stage]:
    """Train a share (0 to 1) of the pruned trials to the last epoch, and yield their records.

    Raises:
        WorkError: the system refuses, or no worker can be started.
    """
    pruned = [record for record in records if record.result.state is State.PRUNED]
    if not pruned:
        yield Notice("the stopping rule stopped no trial, so there is nothing to audit")
        return
    order = generator(pruned[0].job.seed, 0, Purpose.AUDIT).permutation(len(pruned))
    tasks = [audit_task(pruned[place], folder) for place in order[: math.ceil(share * len(pruned))]]
    yield Stage("auditing", len(tasks))
    yield from Batch(tasks, nullcontext(dataset), engine).results()


def read_audit(records: list[Record], folder: StudyFolder) -> list[tuple[Record, Record]]:
    """Return the audited ones of these trials, each as a pair: the record of the search, the record of the audit.

    Damaged records of the audit are left out; `netcore audit` trains them again.
    """
    pairs = []
    for record in records:
        if record.result.state is State.PRUNED:
            with suppress(RecordError):
                pairs.append((record, stored(audit_task(record, folder))))
    return pairs


def audit_task(pruned: Record, folder: StudyFolder) -> Task:
    """Return the task that trains a pruned trial to its last epoch."""
    job = replace(pruned.job, thresholds={}, role=Role.AUDIT)
    return Task(StudyFolder(folder.path / "audit"), job)
