"""What is asked of one trial, and what it gives: `TrialJob -> run_trial -> TrialResult`.

A `TrialJob` holds everything that a trial depends on besides the data. It travels to a worker, and later into the
trial's record beside the `TrialResult`.
"""

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum

from netcore.core.params import Params
from netcore.core.sgd import Epoch
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import Metric
from netcore.question.spec import StudySpec
from netcore.training.step import STEP

__all__ = [
    "MACHINE_FAILURES",
    "Role",
    "State",
    "TrialJob",
    "TrialResult",
    "failed",
]


MACHINE_FAILURES = frozenset({"worker died", "timed out"})
"""Failures that say something of the machine, and nothing of the trial."""


class Role(StrEnum):
    """What a training is for."""

    TRIAL = "trial"
    """The search."""
    CONFIRM = "confirm"
    """To see how good a setting is: with seeds of its own, and judged after its last epoch, not after its best."""
    AUDIT = "audit"
    """To see where a stopped trial would have come to: the same training, to the end."""


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

    number: int
    """Which trial, counted from 0."""
    hyperparameters: Hyperparameters
    seed: int
    """The study's seed."""
    thresholds: dict[int, float]
    """By epoch: the value that the best so far must not be worse than, else the trial stops there."""
    data_digest: str
    settings: str
    """The study's settings as resolved (`StudySpec.identity`), as JSON."""
    epochs: int
    batch_size: int
    dtype: str
    metric: Metric
    """What the trial is judged by."""
    role: Role = Role.TRIAL
    step: str = STEP
    """The name of the training step."""
    history_hash: str = field(default="", compare=False)
    """Hash of the digests of all trials that were known when this one was proposed (`record.chained`)."""

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
        """Make the job of one trial of a study."""
        return cls(
            number=number,
            hyperparameters=hyperparameters,
            seed=spec.study.seed,
            thresholds=thresholds,
            data_digest=digest,
            settings=json.dumps(spec.identity(), sort_keys=True),
            epochs=spec.training.epochs,
            batch_size=spec.training.batch_size,
            dtype=spec.training.dtype,
            metric=spec.study.metric,
            history_hash=history_hash,
        )


@dataclass(frozen=True)
class TrialResult:
    """What a trial gave."""

    state: State
    curve: tuple[Epoch, ...] = ()
    """One entry per epoch trained, that of a divergence included."""
    best_epoch: int | None = None
    """The epoch with the best metric; none of a trial that diverged or failed."""
    value: float = math.nan
    """The metric at the best epoch; NaN of a trial that diverged or failed."""
    weights: Params | None = field(default=None, compare=False)
    """The parameters after the best epoch; with folds, those of the first."""
    failure: str = ""
    """Of a failed trial: `error` (its own), or `worker died` or `timed out` (its machine's, and not repeatable)."""
    traceback: str = ""
    folds: tuple[tuple[Epoch, ...], ...] = ()
    """The curve of each fold, where there are folds: `curve` is their mean."""


def failed(failure: str, traceback: str) -> TrialResult:
    """Give the result of a trial that ended in an error."""
    return TrialResult(State.FAILED, failure=failure, traceback=traceback)
