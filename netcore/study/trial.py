"""One trial: a job goes in, a result comes out, and nothing else happens.

A `TrialJob` holds all that a trial depends on besides the data; `run_trial` is a pure function of both, so the same
job gives the same bits wherever and whenever it runs. Clock, files and stores are other people's business.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from netcore.core.params import Params, init_params
from netcore.core.training import Epoch, TrainConfig, epochs
from netcore.data import Dataset
from netcore.seeds import Purpose, generator
from netcore.step import STEP, compiled
from netcore.study.spec import Hyperparameters, StudySpec

__all__ = [
    "FIGURES",
    "MACHINE_FAILURES",
    "Role",
    "State",
    "TrialJob",
    "TrialResult",
    "best_so_far",
    "failed",
    "run_trial",
    "stopping_rule",
]


FIGURES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
"""What is measured in every epoch."""


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
    ceilings: dict[int, float]
    """By epoch: the value that the best so far must not be worse than, else the trial stops there."""
    data_digest: str
    settings: str
    """The study's settings as resolved (`StudySpec.identity`), as JSON."""
    epochs: int
    batch_size: int
    dtype: str
    metric: str
    """`val_loss` (less is better) or `val_accuracy` (more is better)."""
    role: Role = Role.TRIAL
    step: str = STEP
    """The name of the training step."""
    known: str = field(default="", compare=False)
    """Hash of the digests of all trials that were known when this one was proposed (`record.chained`)."""

    @classmethod
    def of(
        cls,
        spec: StudySpec,
        number: int,
        hyperparameters: Hyperparameters,
        ceilings: dict[int, float],
        digest: str,
        known: str,
    ) -> "TrialJob":
        """Make the job of one trial of a study."""
        return cls(
            number=number,
            hyperparameters=hyperparameters,
            seed=spec.study.seed,
            ceilings=ceilings,
            data_digest=digest,
            settings=json.dumps(spec.identity(), sort_keys=True),
            epochs=spec.training.epochs,
            batch_size=spec.training.batch_size,
            dtype=spec.training.dtype,
            metric=spec.study.metric,
            known=known,
        )

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric == "val_accuracy"


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


def run_trial(job: TrialJob, dataset: Dataset, *, stop: Callable[[Epoch, float], bool] | None = None) -> TrialResult:
    """Train one trial: one net or, with folds, one for each, which go on together epoch by epoch.

    It ends after its last epoch, at the first epoch with a loss that is not finite, or where `stop`, asked after each
    epoch with the epoch and the best value so far, says so. By default that is where the best so far is worse than
    the job's ceiling.
    """
    nets = [_training(job, part, fold) for fold, part in enumerate(dataset.folds)]
    params, stop = nets[0][0], stop or stopping_rule(job)

    curves: list[tuple[Epoch, ...]] = []
    best, best_epoch, weights = math.nan, None, None
    state = State.FINISHED
    for of_folds in zip(*(training for _, training in nets), strict=True):
        epoch = _mean(of_folds)
        curves.append((epoch, *of_folds))
        if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss)):
            state, best_epoch, best, weights = State.DIVERGED, None, math.nan, None
            break
        value = getattr(epoch, job.metric)
        if best_epoch is None or job.role is Role.CONFIRM or _better(value, best, maximize=job.maximize):
            best, best_epoch = value, epoch.epoch
            weights = Params(*map(np.copy, params))
        if stop(epoch, best) and epoch.epoch < job.epochs:
            state = State.PRUNED
            break
    curve, *folds = zip(*curves, strict=True)
    return TrialResult(state, curve, best_epoch, best, weights, folds=tuple(folds) if len(nets) > 1 else ())


def stopping_rule(job: TrialJob) -> Callable[[Epoch, float], bool]:
    """Give what says after each epoch whether the job ends there: the best so far is worse than the ceiling."""

    def stop(epoch: Epoch, best: float) -> bool:
        ceiling = job.ceilings.get(epoch.epoch)
        return ceiling is not None and _better(ceiling, best, maximize=job.maximize)

    return stop


def failed(failure: str, traceback: str) -> TrialResult:
    """Give the result of a trial that ended in an error."""
    return TrialResult(State.FAILED, failure=failure, traceback=traceback)


def best_so_far(curve: tuple[Epoch, ...], metric: str, epoch: int) -> float:
    """Give the best of the metric over the first `epoch` epochs."""
    values: list[Any] = [getattr(entry, metric) for entry in curve[:epoch]]
    return float(max(values) if metric == "val_accuracy" else min(values))


def _training(job: TrialJob, part: Dataset, fold: int) -> tuple[Params, Iterator[Epoch]]:
    """Give a net as it starts, and its training."""
    purposes = (Purpose.WEIGHTS, Purpose.BATCHES)
    if job.role is Role.CONFIRM:
        purposes = (Purpose.CONFIRM_WEIGHTS, Purpose.CONFIRM_BATCHES)
    weights, batches = (generator(job.seed, job.number, purpose, fold) for purpose in purposes)
    hidden_size = job.hyperparameters.hidden_size
    params = init_params(weights, part.input_size, hidden_size, part.classes, dtype=job.dtype)
    config = TrainConfig(*job.hyperparameters, epochs=job.epochs, batch_size=job.batch_size)
    return params, epochs(params, part.X_train, part.y_train, part.X_val, part.y_val, config, batches, step=compiled)


def _mean(folds: tuple[Epoch, ...]) -> Epoch:
    """Give the mean of the folds' figures."""
    if len(folds) == 1:
        return folds[0]
    figures = {name: sum(getattr(fold, name) for fold in folds) / len(folds) for name in FIGURES}
    return replace(folds[0], **figures)


def _better(value: float, than: float, *, maximize: bool) -> bool:
    return value > than if maximize else value < than
