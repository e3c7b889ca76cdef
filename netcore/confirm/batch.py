"""A batch: trainings that no sampler learns of, each with the folder in which its record is stored.

A stored record that matches its job is used; every other job is trained, and its record is written. A confirmation or
an audit therefore resumes like the search does. A training whose worker died or ran out of time is tried again by the
next run: that failure belongs to the machine, not to the hyperparameters.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import NamedTuple

from netcore.data import Dataset
from netcore.errors import RecordError
from netcore.files import make_folder
from netcore.progress import Notice
from netcore.records.folder import StudyFolder
from netcore.records.job import MACHINE_FAILURES, TrialJob
from netcore.records.record import Record
from netcore.workers.engine import Engine


class Task(NamedTuple):
    """One training and the place of its record."""

    folder: StudyFolder
    """The record is in `folder.trials`, under the job's number."""
    job: TrialJob


def stored(task: Task) -> Record:
    """Return the stored record of a task.

    Raises:
        RecordError: it is missing, damaged, or the record of another job.
    """
    record = task.folder.read(task.job.number)
    if record.job != task.job:
        raise RecordError.at(task.folder.trials, f"record {task.job.number} must be that of this job")
    return record


class Batch:
    """Trainings on one data set, which is prepared only if a record is missing.

    They are submitted when the batch is created, so that workers train while the next batch is prepared.
    """

    def __init__(self, tasks: Iterable[Task], data: AbstractContextManager[Dataset], engine: Engine) -> None:
        self._stack = ExitStack()
        self._dataset: Dataset | None = None
        self._submitted: list[tuple[Task, Record | Future[Record]]] = []
        for task in tasks:
            with suppress(RecordError):
                if (record := stored(task)).result.failure not in MACHINE_FAILURES:
                    self._submitted.append((task, record))
                    continue
            if self._dataset is None:
                self._dataset = self._stack.enter_context(data)
            self._submitted.append((task, engine.submit(task.job, self._dataset)))

    def results(self) -> Iterator[Record | Notice]:
        """Yield the record of each task, in order; each is on disk before it is yielded.

        Raises:
            WorkError: the system refuses, or no worker can be started.
        """
        for task, found in self._submitted:
            if isinstance(found, Record):
                yield found
            else:
                record = found.result()
                make_folder(task.folder.trials)
                if task.folder.has(task.job.number):
                    moved = task.folder.supersede(task.job.number)
                    yield Notice(f"a record did not match its job: trained again, and moved the old record to {moved}")
                task.folder.write(record)
                yield record
        self.close()

    def close(self) -> None:
        """Release the data; a mapped array would hold a descriptor, and its deleted file its space."""
        self._dataset = None
        self._stack.close()
