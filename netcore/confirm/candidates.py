"""The candidates of a confirmation: the search's best trials, called finalists, and two baselines.

Each candidate is trained to a fixed number of epochs, a finalist to the best epoch of its trial. The baselines never
win. Softmax regression is the net without its hidden layer; no search has tuned it, so it may choose the best of three
learning rates on the search's own split. The other baseline has the default settings of the course's net.

    confirm/trial-000017/trials/000003.npz     the record of trial 17 as a candidate, trained with seed 3
    confirm/softmax/, confirm/course/          the baselines' records, likewise
    confirm/softmax-pilots/                    the trainings by which softmax regression chose its learning rate
"""

from dataclasses import replace
from typing import NamedTuple

from netcore.confirm.batch import Task, stored
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import Role, TrialJob
from netcore.records.record import Record, ranked

COURSE = Hyperparameters(learning_rate=1e-3, hidden_size=50, reg=5e-6, learning_rate_decay=0.95)
"""The default arguments of the course's training function, and the hidden size of its first net."""

PILOT_RATES = (1.0, 0.1, 0.01)
"""The learning rates that softmax regression may choose from, as factors of the best trial's."""
SOFTMAX_FOLDER, PILOTS_FOLDER, COURSE_FOLDER = "softmax", "softmax-pilots", "course"
SOFTMAX_REGRESSION = "softmax regression"
"""The name of the baseline without a hidden layer, in tables and in the report."""


class Candidate(NamedTuple):
    """Hyperparameters that are confirmed."""

    name: str
    """The name in tables and in the report."""
    folder: str
    """The folder of its records, below confirm/."""
    trial: int | None
    """The trial it comes from; None for a baseline."""
    hyperparameters: Hyperparameters
    epochs: int
    """The number of epochs it is trained for."""


def candidates(spec: StudySpec, records: list[Record], folder: StudyFolder) -> list[Candidate]:
    """Return the candidates: finalists, best first, then the baselines. Empty if no trial finished.

    Raises:
        RecordError: softmax regression has not chosen its learning rate yet.
    """
    finalists = ranked(records)[: spec.confirm.finalists]
    if not finalists:
        return []
    tried = [stored(task) for task in pilots(spec, finalists[0], folder)]
    return [*map(finalist, finalists), softmax(tried), course(spec)]


def finalist(record: Record) -> Candidate:
    """Return a trial as a candidate, which is trained to the trial's best epoch."""
    epochs = record.result.best_epoch or record.job.epochs
    number = record.number
    return Candidate(f"trial {number}", f"trial-{number:06d}", number, record.job.hyperparameters, epochs)


def softmax(tried: list[Record]) -> Candidate:
    """Return softmax regression with the best of the learning rates it has tried."""
    best = (ranked(tried) or tried)[0]
    epochs = best.result.best_epoch or best.job.epochs
    return Candidate(SOFTMAX_REGRESSION, SOFTMAX_FOLDER, None, best.job.hyperparameters, epochs)


def course(spec: StudySpec) -> Candidate:
    """Return the net with the course's default settings."""
    return Candidate("course defaults", COURSE_FOLDER, None, COURSE, spec.training.epochs)


def pilots(spec: StudySpec, best: Record, folder: StudyFolder) -> list[Task]:
    """Return the trainings by which softmax regression chooses its learning rate, one per factor of `best`'s rate."""
    below = StudyFolder(folder.path / "confirm" / PILOTS_FOLDER)
    asked = best.job.hyperparameters
    rates = [asked._replace(hidden_size=0, learning_rate=asked.learning_rate * factor) for factor in PILOT_RATES]
    digest = best.job.data_digest
    return [Task(below, TrialJob.of(spec, number, rate, {}, digest, "")) for number, rate in enumerate(rates)]


def confirm_task(spec: StudySpec, digest: str, folder: StudyFolder, candidate: Candidate, seed: int) -> Task:
    """Return the training of one candidate with one seed; `digest` is that of the study's data set."""
    job = TrialJob.of(spec, seed, candidate.hyperparameters, {}, digest, "")
    job = replace(job, role=Role.CONFIRM, epochs=candidate.epochs)
    return Task(StudyFolder(folder.path / "confirm" / candidate.folder), job)
