"""The search: ask, run, commit, in the order of the trials' numbers.

    ask      trial n is proposed exactly when trial n - window has been committed: never earlier, never later
    run      the engine trains it; its record is written as soon as it returns
    commit   wait for the oldest trial in flight, then add it to the history

What is known when trial n is proposed therefore depends on the study file alone: not on timing, the number of workers,
or interruptions. Resuming is the same loop, started later: where a trial is asked and its record exists, the record is
used. It starts at the first trial without a record, or at an earlier one whose successors knew a different history.
"""

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial

from netcore.data import Dataset
from netcore.errors import InputError, RecordError, WorkError
from netcore.progress import Notice
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob
from netcore.records.record import Record, chained, differences, outline, ranked
from netcore.search.history import History
from netcore.workers.engine import Engine

KEPT = 5
"""The weights of this many best finished trials are kept."""


class Search:
    """One study's search, over existing records and those still to be made."""

    def __init__(
        self,
        spec: StudySpec,
        dataset: Dataset,
        folder: StudyFolder,
        engine: Engine,
        *,
        retrain: bool = False,
        retry_failed: bool = False,
    ) -> None:
        self._spec, self._dataset, self._folder, self._engine = spec, dataset, folder, engine
        self._retrain, self._retry_failed = retrain, retry_failed
        self._job = partial(TrialJob.of, spec, digest=dataset.digest)
        self._records: dict[int, Record] = {}
        self._best: list[Record] = []
        self._failures: list[int] = []
        self._known = [""]  # by number of committed trials
        self.seconds = {"asking": 0.0, "writing": 0.0}
        self.trained = 0.0
        """Seconds of training, summed over all workers."""
        self._pending: set[Future[Record]] = set()
        self._history = History(spec)

    def run(self) -> Iterator[Record | Notice]:
        """Yield every trial's record at its commit, in order, and notices in between.

        Raises:
            InputError: a record does not match what is asked.
            WorkError: a file cannot be written, no worker can be started, or more than `max_failures` trials failed.
        """
        yield from self._read_records()
        trials, window = self._spec.study.trials, self._spec.study.window
        while trials in self._records:  # existing trials stay part of the study, even if fewer are asked for
            trials += 1
        there = self._first_to_ask()
        committed = there if there >= trials else max(0, there - window + 1)
        for number in range(committed):
            self._history.commit_next(self._records[number])
            yield from self._committed(number)
        for number in range(committed, there):
            self._history.in_flight(self._records[number].job.hyperparameters)
        asked = there

        while committed < trials:
            while asked < trials and asked - window < committed:
                yield from self._ask(asked)
                asked += 1
            while committed not in self._records:
                self._collect()
            self._history.commit(committed, self._records[committed].result)
            yield from self._committed(committed)
            committed += 1

    def _read_records(self) -> Iterator[Notice]:
        """Read the records; move aside those that are damaged, do not match, or are to be tried again."""
        for number in self._folder.numbers():
            try:
                record = self._folder.read(number)
            except RecordError as error:
                target, problem = self._folder.supersede(number), error.problems[0]
                yield Notice(f"{problem.place}: {problem.rule}; moved to {target}; the trial is trained again")
                continue
            # Hyperparameters and thresholds are compared when the trial is asked, everything else here.
            job = record.job
            asked = self._job(number, job.hyperparameters, job.thresholds, history_hash=job.history_hash)
            if job != asked:
                yield self._set_aside(record, asked)
            elif self._retry_failed and record.result.state is State.FAILED:
                target = self._folder.supersede(number)
                yield Notice(f"trial {number} had failed and is tried again; its old record is {target}")
            else:
                self._records[number] = record

    def _first_to_ask(self) -> int:
        """Return the first trial to ask: it has no record, or its history hash does not match the records."""
        known, window = [""], self._spec.study.window
        while (record := self._records.get(number := len(known) - 1)) is not None:
            if record.job.history_hash != known[max(0, number - window + 1)]:
                return max(0, number - window)
            known.append(chained(known[-1], record.digest))
        return number

    def _ask(self, number: int) -> Iterator[Notice]:
        """Propose a trial; use its record if there is one and it matches, else train it."""
        begun = time.perf_counter()
        known = self._known[max(0, number - self._spec.study.window + 1)]
        job = self._job(number, self._history.propose(number), self._history.thresholds(), history_hash=known)
        self.seconds["asking"] += time.perf_counter() - begun
        record = self._records.get(number)
        if record and record.job != job:
            yield self._set_aside(record, job)
            del self._records[number]
            record = None
        elif record and record.job.history_hash != known:
            # The same proposal from another history: write that down, or the trial is asked again at every start.
            self._folder.supersede(number, weights=False)
            self._records[number] = replace(record, job=job)
            self._folder.write(self._records[number])
        if record is None:
            self._pending.add(self._engine.submit(job, self._dataset))

    def _collect(self) -> None:
        """Wait until a trial returns; write the records of all that have returned."""
        done, self._pending = wait(self._pending, return_when=FIRST_COMPLETED)
        for future in done:
            record = future.result()
            self.trained += record.provenance.seconds
            begun = time.perf_counter()
            if record.result.weights is not None and self._worth_keeping(record):
                self._folder.write_weights(record, record.result.weights)
            self._folder.write(record)
            self._records[record.number] = replace(record, result=replace(record.result, weights=None))
            self.seconds["writing"] += time.perf_counter() - begun

    def _worth_keeping(self, record: Record) -> bool:
        """Return whether a trial is among the best so far; `keep_weights` later undoes what depended on timing."""
        self._best = ranked([*self._best, outline(record)])[:KEPT]
        return self._spec.study.weights == "all" or record.number in {best.number for best in self._best}

    def _set_aside(self, record: Record, asked: TrialJob) -> Notice:
        """Move a record that does not match aside, if the user wants that; else raise."""
        number, what = record.number, "; ".join(differences(record.job, asked))
        same_question = record.job == replace(
            asked, hyperparameters=record.job.hyperparameters, thresholds=record.job.thresholds
        )
        if not (self._retrain or (same_question and self._knew_of_a_failure(record, asked))):
            raise InputError.at(
                f"{self._spec.name}: trial {number}",
                f"its record does not match what is asked: {what}",
                remedy="`--retrain` moves such records to superseded/ and trains their trials again",
            )
        target = self._folder.supersede(number)
        return Notice(f"trial {number}: {what}; its old record is {target}, the trial is trained again")

    def _knew_of_a_failure(self, record: Record, asked: TrialJob) -> bool:
        """Return whether a record was proposed from a history with a failed trial that has been tried again since.

        The failed trial's record is in superseded/, so the plain command finishes an interrupted `--retry-failed`.
        """
        latest = record.number - self._spec.study.window
        failed = (old for old in self._folder.superseded_records() if old.result.state is State.FAILED)
        return record.job.history_hash != asked.history_hash and any(old.number <= latest for old in failed)

    def _committed(self, number: int) -> Iterator[Record]:
        """Yield a committed trial; if too many have failed, wait for the trials in flight, then raise."""
        yield self._records[number]
        self._records[number] = outline(self._records[number])
        self._known.append(chained(self._known[-1], self._records[number].digest))
        if self._records[number].result.state is State.FAILED:
            self._failures.append(number)
        if len(self._failures) <= self._spec.study.max_failures:
            return
        while self._pending:
            self._collect()
        name, last = self._spec.name, self._failures[-1]
        raise WorkError.at(
            name,
            f"at most max_failures = {self._spec.study.max_failures} trials may fail",
            f"{len(self._failures)}: {', '.join(map(str, self._failures))}",
            f"`netcore show {self._folder.path} {last}` shows why; the same command with `--retry-failed` tries again",
        )
