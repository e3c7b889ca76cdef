"""Trainings that no sampler hears of: a list of jobs, each with the folder that its record belongs to.

Where a record is there and matches, it serves; what is missing is trained and written. So whatever is made of batches
goes on where it was interrupted, like the search. A training whose worker died or ran out of time is tried again by the
next run: that says something of the machine, and nothing of the setting.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple

from netcore.data import Dataset
from netcore.data.prepared import discard
from netcore.errors import RecordError
from netcore.files import make_folder
from netcore.records.folder import StudyFolder
from netcore.records.job import MACHINE_FAILURES, TrialJob
from netcore.records.record import Record
from netcore.search.loop import Notice
from netcore.workers.engine import Engine, Trained

__all__ = ["Batch", "Task", "matching"]


class Task(NamedTuple):
    """One training."""

    folder: StudyFolder
    """Its records are those of `folder.trials`, by the job's number."""
    job: TrialJob


def matching(task: Task) -> Record | None:
    """Give the record that a task already has.

    Raises:
        RecordError: it is not whole.
    """
    if not task.folder.has(task.job.number):
        return None
    record = task.folder.read(task.job.number)
    return record if record.job == task.job else None


class Batch:
    """Jobs that share their data, under way from the moment that this is made."""

    def __init__(self, tasks: Iterable[Task], data: Callable[[], Dataset], engine: Engine) -> None:
        self._dataset: Dataset | None = None
        self._under_way: list[tuple[Task, Record | Future[Trained]]] = []
        for task in tasks:
            found: Record | None = None
            with suppress(RecordError):
                found = matching(task)
            if found is None or found.result.failure in MACHINE_FAILURES:
                self._dataset = self._dataset or data()  # may take long, and is not needed where all records are there
                self._under_way.append((task, engine.submit(task.job, self._dataset)))
            else:
                self._under_way.append((task, found))

    def results(self) -> Iterator[Record | Notice]:
        """Give the tasks' records in order, each written by then.

        Raises:
            WorkError: the system refuses, or no worker can be started.
        """
        for task, found in self._under_way:
            if isinstance(found, Record):
                yield found
            elif self._dataset is not None:
                result, provenance = found.result()
                record = Record.of(task.job, result, provenance, self._dataset.preprocessing)
                make_folder(task.folder.trials)
                if task.folder.has(task.job.number):
                    target = task.folder.supersede(task.job.number)
                    yield Notice(f"{target} is a record that did not serve any more; its training was done again")
                task.folder.write(record)
                yield record
        self.close()

    def close(self) -> None:
        """Let go of data that were split for this batch alone."""
        if self._dataset is not None:
            discard(self._dataset)
