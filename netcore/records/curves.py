"""The arrays of a record: the curves of a trial, one number per epoch, and those of its folds.

Every NaN is written as the same NaN, so that equal trainings give equal bytes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netcore.archive import array_of
from netcore.core.sgd import Epoch
from netcore.question.metrics import METRICS
from netcore.records.job import TrialResult

CURVES = ("learning_rate", *METRICS)
"""The arrays of a record, one entry per epoch."""

_NAN = np.float64("nan")


def arrays_of(result: TrialResult) -> dict[str, NDArray[np.float64]]:
    """Return the curves as arrays of shape (epochs,) and those of the folds as arrays of shape (folds, epochs)."""
    arrays = {name: np.array([getattr(epoch, name) for epoch in result.curve], np.float64) for name in CURVES}
    if result.folds:
        for name in METRICS:
            rows = [[getattr(epoch, name) for epoch in curve] for curve in result.folds]
            arrays[f"fold_{name}"] = np.array(rows, np.float64)
    return {name: np.where(np.isnan(array), _NAN, array) for name, array in arrays.items()}


def read_curves(members: dict[str, bytes]) -> tuple[tuple[Epoch, ...], tuple[tuple[Epoch, ...], ...]]:
    """Return the curve and the curves of the folds from a record's members.

    Raises:
        KeyError: an array is missing.
        ValueError: an array has another shape or type.
    """
    curve = _curve({name: array_of(members[f"{name}.npy"]) for name in CURVES})
    folds = {name: array_of(members[f"fold_{name}.npy"]) for name in METRICS if f"fold_{name}.npy" in members}
    return curve, _folds(folds, curve) if folds else ()


def _curve(arrays: dict[str, NDArray[Any]]) -> tuple[Epoch, ...]:
    """Return the epochs of `CURVES` as arrays, each of shape (epochs,)."""
    if any(array.dtype != np.float64 or array.ndim != 1 for array in arrays.values()):
        raise ValueError("a curve is a row of float64 numbers")
    columns = zip(*(arrays[name].tolist() for name in CURVES), strict=True)
    return tuple(Epoch(epoch, *values) for epoch, values in enumerate(columns, start=1))


def _folds(arrays: dict[str, NDArray[Any]], curve: tuple[Epoch, ...]) -> tuple[tuple[Epoch, ...], ...]:
    """Return the curve of each fold from `METRICS` as arrays of shape (folds, epochs); learning rates are `curve`'s."""
    # Without an epoch, a few bytes could claim any number of folds.
    if not curve or any(array.ndim != 2 or array.shape[1] != len(curve) for array in arrays.values()):  # noqa: PLR2004
        raise ValueError("the curves of folds have a row for each fold and a column for each epoch")
    rates = np.array([epoch.learning_rate for epoch in curve])
    folds = zip(*(arrays[name] for name in METRICS), strict=True)
    return tuple(_curve(dict(zip(CURVES, (rates, *values), strict=True))) for values in folds)
