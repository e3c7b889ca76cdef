"""The outcome of a training, derived again from its curve.

State, number of epochs, best epoch and value follow from the epochs' metrics and the job's thresholds alone, by
`netcore.workers.trial.outcome`. So does the learning rate of each epoch; with folds, each metric is their mean.
"""

from collections.abc import Iterator
from dataclasses import replace

from netcore.errors import Problem
from netcore.records.curves import CURVES
from netcore.records.job import State
from netcore.records.record import Record
from netcore.workers.trial import mean_of, outcome


def outcome_problems(record: Record, place: str) -> Iterator[Problem]:
    """Check that the parts of one record agree; report each disagreement at `place`."""
    found = record.result
    if found.state is State.FAILED:
        if found.curve or not found.failure or record.weights_sha256:
            yield Problem(place, "a failed trial must have a reason, no curve, and no weights")
        return
    if not found.curve:
        yield Problem(place, f"must have a curve, because its state is {found.state}")
        return
    yield from _epoch_problems(record, place)
    asked = outcome(record.job, found.curve)
    pairs = {name: (getattr(found, name), getattr(asked, name)) for name in ("state", "best_epoch", "value")}
    epochs = record.job.epochs if asked.state is State.FINISHED else len(asked.curve)
    for name, (ours, theirs) in {**pairs, "epochs": (len(found.curve), epochs)}.items():
        if repr(ours) != repr(theirs):  # NaN equals NaN
            yield Problem(place, f"{name} must be {theirs}, as its curve shows", str(ours))
    if (found.state is State.DIVERGED) == bool(record.weights_sha256):
        rule = "must not state" if record.weights_sha256 else "must state"
        yield Problem(place, f"{rule} a SHA-256 of its weights, because its state is {found.state}")


def _epoch_problems(record: Record, place: str) -> Iterator[Problem]:
    """Find the first epoch that is not the mean of the folds, or whose learning rate is not the hyperparameters'."""
    first, decay = record.job.hyperparameters.learning_rate, record.job.hyperparameters.learning_rate_decay
    for epoch, *folds in zip(record.result.curve, *record.result.folds, strict=True):
        asked = replace(mean_of(tuple(folds) or (epoch,)), learning_rate=float(first * decay ** (epoch.epoch - 1)))
        for name in CURVES:
            ours, theirs = getattr(epoch, name), getattr(asked, name)
            if repr(ours) != repr(theirs):
                what = "" if name == "learning_rate" else "the folds' mean "
                yield Problem(f"{place}, epoch {epoch.epoch}", f"{name} must be {what}{theirs!r}", repr(ours))
                return
