"""Replay: is a training, done once more, the one that its record tells of?

A checksum shows that a record is what was written; only training again shows that its numbers are those of the net.
Two records come in, the old one and that of the replay, and what differs goes out in words.
"""

import math
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from netcore.core.params import Params
from netcore.core.sgd import Epoch
from netcore.records.job import MACHINE_FAILURES, TrialResult
from netcore.records.record import CURVES, Record, setting_differences

__all__ = ["Asked", "Replayed", "compared", "is_covered"]


class Asked(NamedTuple):
    """A training that is to be replayed."""

    name: str
    record: Record
    weights: Params | None = None
    """Those of the record, where they are kept."""


class Replayed(NamedTuple):
    """What a replay came to."""

    name: str
    record: Record
    differences: tuple[str, ...] = ()
    """In what it is not the record; nothing where it is, to the last bit."""
    environment: tuple[str, ...] = ()
    """In what this machine is not the record's."""
    skipped: bool = False
    """Whether it was not trained: it had failed for reasons that no replay repeats."""


def is_covered(record: Record) -> bool:
    """Say whether the promise covers a training: not if its worker died or ran out of time."""
    return record.result.failure not in MACHINE_FAILURES


def compared(asked: Asked, again: Record, weights: Params | None) -> Replayed:
    """Compare a training with its record; `weights` are those that it gave now."""
    ours, theirs = asked.record, again
    found = [] if is_covered(again) else [f"it could not be trained here: {again.result.traceback.strip()[:200]}"]
    for name in ("state", "best_epoch"):
        old, new = getattr(ours.result, name), getattr(theirs.result, name)
        if old != new:
            found.append(f"{name} was {old}, is {new}")
    found += _curves(ours.result, theirs.result)
    if ours.weights_sha256 != theirs.weights_sha256:
        found.append(f"the weights differ{_by_how_much(asked.weights, weights)}")
    if not _same(ours.result.value, theirs.result.value) and not found:
        found.append(f"value was {ours.result.value!r}, is {theirs.result.value!r}")
    if ours.digest != theirs.digest and not found:
        found.append("all figures are equal, and the digest is another: it is not that of the record's content")
    environment = setting_differences(ours.provenance.environment, theirs.provenance.environment)
    return Replayed(asked.name, ours, tuple(found), tuple(environment))


def _curves(ours: TrialResult, theirs: TrialResult) -> list[str]:
    """Say since which epoch two curves differ, and by how much at most; those of folds, where both have them."""
    folds = zip(ours.folds, theirs.folds, strict=False)
    firsts: list[int] = []
    largest: dict[str, float] = {}
    for old, new in [(ours.curve, theirs.curve), *folds]:
        for epoch, (one, other) in enumerate(zip_longest(old, new), start=1):
            apart = _apart(one, other)
            firsts += [epoch] if apart else []
            largest |= {name: max(by, largest.get(name, 0.0)) for name, by in apart.items()}
    if not firsts:
        return []
    length = "" if len(ours.curve) == len(theirs.curve) else f"{len(theirs.curve)} epochs, not {len(ours.curve)}; "
    by = ", ".join(f"{name} {_size(by)}" for name, by in largest.items())
    return [f"{length}from epoch {min(firsts)} on, by at most {by}"]


def _apart(one: Epoch | None, other: Epoch | None) -> dict[str, float]:
    """Say by how much the figures of an epoch differ; where it is not there, or not finite, by infinitely much."""
    if one is None or other is None:
        return dict.fromkeys(CURVES, math.inf)
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in CURVES}
    return {name: _distance(*pair) for name, pair in pairs.items() if not _same(*pair)}


def _same(one: float, other: float) -> bool:
    """Compare two figures; what is not finite is all one, for MLflow knows no infinity (a digest tells them apart)."""
    return one == other or not (math.isfinite(one) or math.isfinite(other))


def _distance(one: float, other: float) -> float:
    by = abs(one - other)
    return by if math.isfinite(by) else math.inf


def _size(by: float) -> str:
    return f"{by:.3g}" if math.isfinite(by) else "more than any number"


def _by_how_much(ours: Params | None, theirs: Params | None) -> str:
    if ours is None or theirs is None or [w.shape for w in ours] != [w.shape for w in theirs]:
        return ""
    pairs = zip(ours, theirs, strict=True)
    largest = max(float(np.max(np.abs(one - other), initial=0.0)) for one, other in pairs)
    return f" by at most {largest:.3g}"
