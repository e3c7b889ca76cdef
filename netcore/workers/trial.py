"""One trial: a job goes in, a result comes out, and nothing else happens.

`run_trial` is a pure function of a job and the data: the same job gives the same bits, wherever and whenever it runs.
It reads no clock, writes no file and accesses no store.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from netcore.core.params import Params, init_params
from netcore.core.sgd import Epoch, TrainConfig, epochs
from netcore.data import Dataset
from netcore.question.metrics import METRICS
from netcore.records.job import Role, State, TrialJob, TrialResult
from netcore.seeds import Purpose, generator
from netcore.training.step import compiled


def run_trial(job: TrialJob, dataset: Dataset, *, stop: Callable[[Epoch, float], bool] | None = None) -> TrialResult:
    """Train one trial: one net or, with folds, one net per fold, all epoch by epoch together.

    The trial ends after its last epoch, at the first epoch with a loss that is not finite, or when `stop` returns true.
    `stop` is called after each epoch with the epoch and the best value so far; by default it is the stopping rule.
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
        if best_epoch is None or job.role is Role.CONFIRM or job.metric.better(value, best):
            best, best_epoch = value, epoch.epoch
            weights = Params(*map(np.copy, params))
        if stop(epoch, best) and epoch.epoch < job.epochs:
            state = State.PRUNED
            break
    curve, *folds = zip(*curves, strict=True)
    return TrialResult(state, curve, best_epoch, best, weights, folds=tuple(folds) if len(nets) > 1 else ())


def stopping_rule(job: TrialJob) -> Callable[[Epoch, float], bool]:
    """Return the `stop` of a job: it is true at an epoch where the best value so far is worse than the threshold."""

    def stop(epoch: Epoch, best: float) -> bool:
        threshold = job.thresholds.get(epoch.epoch)
        return threshold is not None and job.metric.better(threshold, best)

    return stop


def _training(job: TrialJob, part: Dataset, fold: int) -> tuple[Params, Iterator[Epoch]]:
    """Return an initialised net and the iterator that trains it."""
    purposes = (Purpose.WEIGHTS, Purpose.BATCHES)
    if job.role is Role.CONFIRM:
        purposes = (Purpose.CONFIRM_WEIGHTS, Purpose.CONFIRM_BATCHES)
    weights, batches = (generator(job.seed, job.number, purpose, fold) for purpose in purposes)
    hidden_size = job.hyperparameters.hidden_size
    params = init_params(weights, part.input_size, hidden_size, part.classes, dtype=job.dtype)
    config = TrainConfig(**job.hyperparameters._asdict(), epochs=job.epochs, batch_size=job.batch_size)
    return params, epochs(params, part.X_train, part.y_train, part.X_val, part.y_val, config, batches, step=compiled)


def _mean(folds: tuple[Epoch, ...]) -> Epoch:
    """Return the mean of the folds' metrics."""
    if len(folds) == 1:
        return folds[0]
    means = {name: sum(getattr(fold, name) for fold in folds) / len(folds) for name in METRICS}
    return replace(folds[0], **means)
