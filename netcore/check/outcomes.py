"""The outcome of a training, derived again from its curve.

State, number of epochs, best epoch and value follow from the epochs' metrics and the job's thresholds alone, by the
rules of `netcore.workers.trial`. So does the learning rate of each epoch; with folds, each metric is their mean.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from netcore.core.sgd import Epoch
from netcore.errors import Problem
from netcore.question.metrics import METRICS
from netcore.records.job import Role, State, TrialJob, TrialResult
from netcore.records.record import Record
from netcore.workers.trial import stopping_rule


class _Outcome(NamedTuple):
    state: State
    epochs: int
    best_epoch: int | None
    value: float


def outcome_problems(record: Record, place: str) -> Iterator[Problem]:
    """Check that the parts of one record agree; report each disagreement at `place`."""
    result = record.result
    if result.state is State.FAILED:
        if result.curve or not result.failure or record.weights_sha256:
            yield Problem(place, "a failed trial must have a reason, no curve, and no weights")
        return
    if not result.curve:
        yield Problem(place, f"must have a curve, because its state is {result.state}")
        return
    yield from _learning_rates(record, place)
    yield from _folds(result, place)
    found = _Outcome(result.state, len(result.curve), result.best_epoch, result.value)
    asked = _outcome_of(record.job, result.curve)
    for name, ours, theirs in zip(_Outcome._fields, found, asked, strict=True):
        if not _equal(ours, theirs):
            yield Problem(place, f"{name} must be {theirs}, as its curve shows", str(ours))
    if (result.state is State.DIVERGED) == bool(record.weights_sha256):
        rule = "must not state" if record.weights_sha256 else "must state"
        yield Problem(place, f"{rule} a SHA-256 of its weights, because its state is {result.state}")


def _outcome_of(job: TrialJob, curve: tuple[Epoch, ...]) -> _Outcome:
    """Return the outcome of a training whose epochs are those of the curve."""
    stops = stopping_rule(job)
    best_epoch, best = None, math.nan
    for epoch in curve:
        if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss)):
            return _Outcome(State.DIVERGED, epoch.epoch, None, math.nan)
        value = getattr(epoch, job.metric)
        if best_epoch is None or job.role is Role.CONFIRM or job.metric.better(value, best):
            best_epoch, best = epoch.epoch, value
        if stops(epoch, best) and epoch.epoch < job.epochs:
            return _Outcome(State.PRUNED, epoch.epoch, best_epoch, best)
    return _Outcome(State.FINISHED, job.epochs, best_epoch, best)


def _learning_rates(record: Record, place: str) -> Iterator[Problem]:
    """Find the first epoch whose learning rate does not follow from the hyperparameters."""
    first, decay = record.job.hyperparameters.learning_rate, record.job.hyperparameters.learning_rate_decay
    for epoch in record.result.curve:
        asked = float(first * decay ** (epoch.epoch - 1))
        if epoch.learning_rate != asked:
            rule = f"learning_rate must be {asked!r}"
            yield Problem(f"{place}, epoch {epoch.epoch}", rule, repr(epoch.learning_rate))
            return


def _folds(result: TrialResult, place: str) -> Iterator[Problem]:
    """Find the first epoch that is not the mean of the folds' epochs."""
    for epoch, *folds in zip(result.curve, *result.folds, strict=True) if result.folds else ():
        for name in METRICS:
            ours, mean = getattr(epoch, name), sum(getattr(fold, name) for fold in folds) / len(folds)
            if not _equal(ours, mean):
                yield Problem(f"{place}, epoch {epoch.epoch}", f"{name} must be the folds' mean {mean!r}", repr(ours))
                return


def _equal(one: object, other: object) -> bool:
    """Compare two values; NaN equals NaN."""
    return one == other or (one != one and other != other)  # noqa: PLR0124
