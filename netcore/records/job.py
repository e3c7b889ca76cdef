"""What is asked of one trial, and what it gives: `TrialJob -> run_trial -> TrialResult`.

A `TrialJob` holds everything that a trial depends on besides the data. It travels to a worker, and later into the
trial's record beside the `TrialResult`. The annotations are also what the file of a record is checked against.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from netcore.core.params import Params
from netcore.core.sgd import Epoch
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import Metric
from netcore.question.spec import StudySpec
from netcore.training.step import STEP

MACHINE_FAILURES = frozenset({"worker died", "timed out"})
"""Failures that say something about the machine, and nothing about the trial."""

Count = Annotated[int, Ge(0), Lt(2**63)]


class Role(StrEnum):
    """The purpose of a training."""

    TRIAL = "trial"
    """The search."""
    CONFIRM = "confirm"
    """The confirmation: with fresh seeds, and judged after the last epoch instead of the best."""
    AUDIT = "audit"
    """The audit: the same training as a stopped trial's, to its last epoch."""


class State(StrEnum):
    """How a trial ended."""

    FINISHED = "finished"
    """Trained to its last epoch."""
    PRUNED = "pruned"
    """Stopped by the stopping rule."""
    DIVERGED = "diverged"
    """Its loss was not finite."""
    FAILED = "failed"
    """An error; the traceback is kept."""


@dataclass(frozen=True)
class TrialJob:
    """What a trial depends on besides the data. Two jobs that are equal give equal results."""

    number: Count
    """The trial's number, counted from 0."""
    hyperparameters: Hyperparameters
    seed: Count
    """The study's seed."""
    thresholds: dict[Count, float]
    """By epoch: the trial stops there if its best value so far is worse."""
    data_digest: str
    settings: dict[str, Any]
    """The study's settings as resolved (`StudySpec.identity`), as JSON values."""
    epochs: Count
    batch_size: Annotated[Count, Ge(1)]
    dtype: Literal["float32", "float64"]
    metric: Metric
    """What the trial is judged by."""
    role: Role = Role.TRIAL
    step: str = STEP
    """The name of the training step."""
    history_hash: str = field(default="", compare=False)
    """The hash of the digests of all trials that were known when this one was proposed (`record.chained`)."""

    @classmethod
    def of(
        cls,
        spec: StudySpec,
        number: int,
        hyperparameters: Hyperparameters,
        thresholds: dict[int, float],
        digest: str,
        history_hash: str,
    ) -> "TrialJob":
        """Return the job of one trial of a study."""
        return cls(
            number=number,
            hyperparameters=hyperparameters,
            seed=spec.study.seed,
            thresholds=thresholds,
            data_digest=digest,
            settings=spec.identity(),
            epochs=spec.training.epochs,
            batch_size=spec.training.batch_size,
            dtype=spec.training.dtype,
            metric=spec.study.metric,
            history_hash=history_hash,
        )


@dataclass(frozen=True)
class TrialResult:
    """The outcome of a trial."""

    state: State
    curve: tuple[Epoch, ...] = ()
    """One entry per epoch trained, including the epoch in which it diverged."""
    best_epoch: Annotated[Count, Ge(1)] | None = None
    """The epoch with the best metric; None if the trial diverged or failed."""
    value: float = math.nan
    """The metric at the best epoch; NaN if the trial diverged or failed."""
    weights: Params | None = field(default=None, compare=False)
    """The parameters after the best epoch; with folds, those of the first fold."""
    failure: str = ""
    """Why a trial failed: `error`, or, because of its machine and not repeatable, `worker died` or `timed out`."""
    traceback: str = ""
    folds: tuple[tuple[Epoch, ...], ...] = ()
    """The curve of each fold, if there are folds; `curve` is their mean."""


def failed(failure: str, traceback: str) -> TrialResult:
    """Return the result of a trial that ended in an error."""
    readable = traceback.encode(errors="backslashreplace").decode()  # a file's name in it may be no Unicode
    return TrialResult(State.FAILED, failure=failure, traceback=readable)
