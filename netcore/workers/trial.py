"""One trial: a job goes in, a result comes out, and nothing else happens.

`run_trial` is a pure function of a job and the data: the same job gives the same bits, wherever and whenever it runs.
It reads no clock, writes no file and accesses no store.
"""

import math
from collections.abc import Callable, Iterable, Iterator
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
    folds: list[tuple[Epoch, ...]] = []
    best: list[Params] = []

    def means() -> Iterator[Epoch]:
        for of_folds in zip(*(training for _, training in nets), strict=True):
            folds.append(of_folds)
            yield mean_of(of_folds)

    def keep() -> None:
        best[:] = [Params(*map(np.copy, nets[0][0]))]

    result = outcome(job, means(), stop=stop, on_best=keep)
    curves = tuple(zip(*folds, strict=True)) if len(nets) > 1 else ()
    return replace(result, weights=best[0] if result.best_epoch else None, folds=curves)


def outcome(
    job: TrialJob,
    training: Iterable[Epoch],
    *,
    stop: Callable[[Epoch, float], bool] | None = None,
    on_best: Callable[[], None] = lambda: None,
) -> TrialResult:
    """Follow a training to its end; return its result, without weights and folds.

    `on_best` is called after each epoch that is the best so far.
    """
    stop = stop or stopping_rule(job)
    curve: list[Epoch] = []
    best, best_epoch, state = math.nan, None, State.FINISHED
    for epoch in training:
        curve.append(epoch)
        if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss)):
            return TrialResult(State.DIVERGED, tuple(curve))
        value = getattr(epoch, job.metric)
        if best_epoch is None or job.role is Role.CONFIRM or job.metric.better(value, best):
            best, best_epoch = value, epoch.epoch
            on_best()
        if stop(epoch, best) and epoch.epoch < job.epochs:
            state = State.PRUNED
            break
    return TrialResult(state, tuple(curve), best_epoch, best)


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


def mean_of(folds: tuple[Epoch, ...]) -> Epoch:
    """Return the mean of the folds' metrics."""
    if len(folds) == 1:
        return folds[0]
    means = {name: sum(getattr(fold, name) for fold in folds) / len(folds) for name in METRICS}
    return replace(folds[0], **means)
