"""One trial: a job goes in, a result comes out, and nothing else happens.

A `TrialJob` holds all that a trial depends on besides the data; `run_trial` is a pure function of both, so the same
job gives the same bits wherever and whenever it runs. Clock, files and stores are other people's business.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from netcore.core.params import Params, init_params
from netcore.core.training import STEP, Epoch, TrainConfig, epochs
from netcore.data import Dataset
from netcore.seeds import Purpose, generator
from netcore.study.spec import Hyperparameters, StudySpec

__all__ = ["State", "TrialJob", "TrialResult", "best_so_far", "failed", "run_trial"]


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
    """The parameters after the best epoch."""
    failure: str = ""
    """Of a failed trial: `error` (its own), or `worker died` or `timed out` (its machine's, and not repeatable)."""
    traceback: str = ""


def run_trial(job: TrialJob, dataset: Dataset, *, stop: Callable[[Epoch, float], bool] | None = None) -> TrialResult:
    """Train one trial.

    It ends after its last epoch, at the first epoch with a loss that is not finite, or where `stop`, asked after each
    epoch with the epoch and the best value so far, says so. By default that is where the best so far is worse than
    the job's ceiling.
    """
    hyperparameters = job.hyperparameters
    rng = generator(job.seed, job.number, Purpose.WEIGHTS)
    params = init_params(rng, dataset.input_size, hyperparameters.hidden_size, dataset.classes, dtype=job.dtype)
    config = TrainConfig(*hyperparameters, epochs=job.epochs, batch_size=job.batch_size)
    rng = generator(job.seed, job.number, Purpose.BATCHES)
    training = epochs(params, dataset.X_train, dataset.y_train, dataset.X_val, dataset.y_val, config, rng)
    stop = stop or _above_ceiling(job)

    curve: list[Epoch] = []
    best, best_epoch, weights = math.nan, None, None
    state = State.FINISHED
    for epoch in training:
        curve.append(epoch)
        if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss)):
            return TrialResult(State.DIVERGED, tuple(curve))
        value = getattr(epoch, job.metric)
        if best_epoch is None or _better(value, best, maximize=job.maximize):
            best, best_epoch = value, epoch.epoch
            weights = Params(*map(np.copy, params))
        if stop(epoch, best) and epoch.epoch < job.epochs:
            state = State.PRUNED
            break
    return TrialResult(state, tuple(curve), best_epoch, best, weights)


def failed(failure: str, traceback: str) -> TrialResult:
    """Give the result of a trial that ended in an error."""
    return TrialResult(State.FAILED, failure=failure, traceback=traceback)


def best_so_far(curve: tuple[Epoch, ...], metric: str, epoch: int) -> float:
    """Give the best of the metric over the first `epoch` epochs."""
    values: list[Any] = [getattr(entry, metric) for entry in curve[:epoch]]
    return float(max(values) if metric == "val_accuracy" else min(values))


def _above_ceiling(job: TrialJob) -> Callable[[Epoch, float], bool]:
    def stop(epoch: Epoch, best: float) -> bool:
        ceiling = job.ceilings.get(epoch.epoch)
        return ceiling is not None and _better(ceiling, best, maximize=job.maximize)

    return stop


def _better(value: float, than: float, *, maximize: bool) -> bool:
    return value > than if maximize else value < than
