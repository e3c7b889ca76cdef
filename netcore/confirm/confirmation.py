"""Confirmation: what the search promised of its best trials, measured again.

The best of many noisy trials is partly luck. So the finalists, and two baselines beside them, are trained again with
fresh seeds, the same ones for each. A seed draws initial weights, the order of the batches, and another split of the
rows that are not test rows into training and validation part. Each net is trained to the best epoch of its trial and
judged there: nothing is picked on the rows that judge. The winner is the finalist with the best mean.

The baselines never win. Softmax regression is the net without its hidden layer; as nobody searched for it, it may
choose among three learning rates on the search's own split. The other is the net with the course's default settings.

    confirm/trial-000017/trials/000003.npz     the record of one finalist with seed 3; the baselines' are beside them
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from netcore.confirm.batch import Batch, Task, matching
from netcore.core.params import Params
from netcore.data import Dataset
from netcore.data.prepared import discard, through_cache
from netcore.errors import RecordError, WorkError
from netcore.question.spec import Hyperparameters, StudySpec, dataset_of
from netcore.records.folder import StudyFolder
from netcore.records.job import Role, State, TrialJob
from netcore.records.record import Record, ranked
from netcore.search.loop import Notice, Stage
from netcore.seeds import Purpose, seed_sequence
from netcore.workers.engine import Engine

__all__ = [
    "Candidate",
    "Chosen",
    "Confirmation",
    "Confirmed",
    "Shipped",
    "candidates",
    "course",
    "finalist",
    "median_of",
    "pilots",
    "read_confirmation",
    "softmax",
    "split_of",
    "task_of",
    "winner_of",
]

COURSE = Hyperparameters(learning_rate=1e-3, hidden_size=50, reg=5e-6, learning_rate_decay=0.95)
"""The default arguments of the course's training function, and the hidden size of its first net."""

_RATES = (1.0, 0.1, 0.01)
"""What softmax regression may choose from, as factors of the best trial's learning rate."""
SOFTMAX, PILOTS, COURSE_FOLDER = "softmax", "softmax-pilots", "course"
"""The baselines' folders below confirm/, and that of the trainings by which the first chose its learning rate."""


class Candidate(NamedTuple):
    """A setting that is confirmed."""

    name: str
    """As tables and report call it."""
    folder: str
    """Where its records are, below confirm/."""
    trial: int | None
    """The trial that it comes from; none of a baseline."""
    hyperparameters: Hyperparameters
    epochs: int
    """How long it is trained."""


Confirmed = dict[Candidate, list[Record]]
"""For each candidate its records, one for each seed, in order."""


class Chosen(NamedTuple):
    """Which net ships: the winner's, of its median seed."""

    candidate: Candidate
    record: Record


class Shipped(NamedTuple):
    """The net that ships."""

    candidate: Candidate
    record: Record
    weights: Params
    dataset: Dataset
    """The split that the net was trained on; its test part is the study's, prepared as this net needs it."""


class Confirmation:
    """The confirmation of one study whose search is complete."""

    def __init__(
        self, spec: StudySpec, dataset: Dataset, records: list[Record], folder: StudyFolder, engine: Engine
    ) -> None:
        self._spec, self._dataset, self._folder, self._engine = spec, dataset, folder, engine
        self._records = records
        self.confirmed: Confirmed = {}

    def run(self) -> Iterator[Record | Notice | Stage]:
        """Train what has no record yet; give each record in order, and notices in between.

        Raises:
            WorkError: the system refuses, or no worker can be started.
        """
        finalists = ranked(self._records)[: self._spec.confirm.finalists]
        if not finalists:
            yield Notice("no trial finished, so there is nothing to confirm")
            return
        seeds = self._spec.confirm.seeds
        yield Stage("confirming", (len(finalists) + 2) * seeds + len(_RATES))
        yield from Batch(pilots(self._spec, finalists[0], self._folder), lambda: self._dataset, self._engine).results()
        chosen = candidates(self._spec, self._records, self._folder)
        before: Batch | None = None
        with ExitStack() as stack:
            for seed in range(seeds):  # the nets of one seed train while the data of the next are prepared
                tasks = [
                    task_of(self._spec, self._dataset.digest, self._folder, candidate, seed) for candidate in chosen
                ]
                batch = Batch(tasks, partial(split_of, self._spec, seed), self._engine)
                stack.callback(batch.close)
                if before:
                    yield from before.results()
                before = batch
            if before:
                yield from before.results()
        self.confirmed = read_confirmation(self._spec, self._records, self._folder)

    def ship(self, chosen: Chosen) -> Shipped:
        """Train the chosen net once more, for its weights.

        Raises:
            WorkError: no worker can be started, or the training gave other numbers than its record.
        """
        record, dataset = chosen.record, split_of(self._spec, chosen.record.number)
        try:
            result = self._engine.submit(record.job, dataset).result().result
        finally:
            discard(dataset)
        again = Record.of(record.job, result, record.provenance)
        if again.digest != record.digest or result.weights is None:
            place = f"{self._spec.name}: {chosen.candidate.name}, seed {record.number}"
            rule = "trained again for its weights, it gave other numbers than its record"
            remedy = f"was it trained on another machine? Remove {self._folder.path / 'confirm'} to confirm anew here"
            raise WorkError.at(place, rule, result.failure, remedy)
        return Shipped(*chosen, result.weights, dataset)


def split_of(spec: StudySpec, seed: int) -> Dataset:
    """Prepare the data as a seed of the confirmation splits them; they are the caller's to `discard`."""
    draw = int(seed_sequence(spec.study.seed, seed, Purpose.CONFIRM_SPLIT).generate_state(1)[0])
    return through_cache(partial(dataset_of, spec, draw=draw), shared=False)


def candidates(spec: StudySpec, records: list[Record], folder: StudyFolder) -> list[Candidate]:
    """Give what is confirmed, the best of the search first, the baselines last; nothing where nothing finished.

    Raises:
        RecordError: softmax regression has not chosen its learning rate yet.
    """
    finalists = ranked(records)[: spec.confirm.finalists]
    if not finalists:
        return []
    found = [matching(task) for task in pilots(spec, finalists[0], folder)]
    tried = [record for record in found if record is not None]
    if len(tried) < len(found):
        raise RecordError.at(folder.path / "confirm" / PILOTS, "has a record missing")
    return [*map(finalist, finalists), softmax(tried), course(spec)]


def finalist(record: Record) -> Candidate:
    """Give a trial as it is confirmed: trained to its best epoch."""
    epochs = record.result.best_epoch or record.job.epochs
    number = record.number
    return Candidate(f"trial {number}", f"trial-{number:06d}", number, record.job.hyperparameters, epochs)


def softmax(tried: list[Record]) -> Candidate:
    """Give softmax regression with the best of the learning rates that it tried."""
    best = (ranked(tried) or tried)[0]
    epochs = best.result.best_epoch or best.job.epochs
    return Candidate("softmax regression", SOFTMAX, None, best.job.hyperparameters, epochs)


def course(spec: StudySpec) -> Candidate:
    """Give the net with the course's default settings."""
    return Candidate("course defaults", COURSE_FOLDER, None, COURSE, spec.training.epochs)


def pilots(spec: StudySpec, best: Record, folder: StudyFolder) -> list[Task]:
    """Give the trainings by which softmax regression chooses its learning rate, as a search would."""
    below = StudyFolder(folder.path / "confirm" / PILOTS)
    asked = best.job.hyperparameters
    return [
        Task(
            below,
            TrialJob.of(
                spec,
                number,
                asked._replace(hidden_size=0, learning_rate=asked.learning_rate * factor),
                {},
                best.job.data_digest,
                "",
            ),
        )
        for number, factor in enumerate(_RATES)
    ]


def task_of(spec: StudySpec, digest: str, folder: StudyFolder, candidate: Candidate, seed: int) -> Task:
    """Give the training of one candidate with one seed, on data of which `digest` is the study's."""
    job = TrialJob.of(spec, seed, candidate.hyperparameters, {}, digest, "")
    job = replace(job, role=Role.CONFIRM, epochs=candidate.epochs)
    return Task(StudyFolder(folder.path / "confirm" / candidate.folder), job)


def read_confirmation(spec: StudySpec, records: list[Record], folder: StudyFolder) -> Confirmed:
    """Read a confirmation; it is empty unless it is complete, and of the search as these records have it."""
    digest = records[0].job.data_digest if records else ""
    try:
        return {
            candidate: [_there(task_of(spec, digest, folder, candidate, seed)) for seed in range(spec.confirm.seeds)]
            for candidate in candidates(spec, records, folder)
        }
    except RecordError:
        return {}


def winner_of(confirmed: Confirmed) -> Candidate | None:
    """Give the finalist with the best mean over its seeds; none where not one of them finished.

    A finalist with a seed that did not finish wins only where every other has one too.
    """
    finished = {
        candidate: _finished(records) for candidate, records in confirmed.items() if candidate.trial is not None
    }
    whole = {candidate: values for candidate, values in finished.items() if len(values) == len(confirmed[candidate])}
    means = {candidate: np.mean(values) for candidate, values in (whole or finished).items() if values}
    if not means:
        return None
    maximize = next(iter(confirmed.values()))[0].job.maximize
    return (max if maximize else min)(means, key=lambda candidate: means[candidate])


def median_of(confirmed: Confirmed) -> Chosen | None:
    """Give the winner and its median seed, the lower value of two; none where no finalist is whole."""
    winner = winner_of(confirmed)
    if winner is None:
        return None
    finished = (record for record in confirmed[winner] if record.result.state is State.FINISHED)
    by_value = sorted(finished, key=lambda record: record.result.value)
    return Chosen(winner, by_value[(len(by_value) - 1) // 2])


def _finished(records: list[Record]) -> list[float]:
    return [record.result.value for record in records if record.result.state is State.FINISHED]


def _there(task: Task) -> Record:
    record = matching(task)
    if record is None:
        raise RecordError.at(task.folder.trials, f"has no record of seed {task.job.number}")
    return record
