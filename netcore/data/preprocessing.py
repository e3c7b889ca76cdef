"""From raw features to the matrix that the net sees, with statistics of the training part alone.

There are three ways for arrays: `feature` scales each feature to mean 0 and standard deviation 1 (a constant one to 0),
`pixel-mean` subtracts the mean row (the course's mean image), `none` changes nothing. Tables: see `table_features`.
What was fitted is a `Preprocessing`: plain arrays and JSON, so that it can be stored without a pickle and applied to
new rows. Rows are processed in chunks, so a large data set is never copied as a whole.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netcore.archive import array_of

Array = NDArray[Any]

_MEMBER = "preprocessing"
_CHUNK = 32 * 2**20
"""The size of a chunk of rows in float64, in bytes."""


@dataclass(frozen=True)
class Preprocessing:
    """What was fitted on the training part."""

    facts: dict[str, Any] = field(default_factory=lambda: {"kind": "none"})
    """JSON: `kind` (feature, pixel-mean, none, table) and, for a table, its columns."""
    arrays: dict[str, Array] = field(default_factory=dict)
    """The statistics of this kind, of `mean`, `scale` and `median`: float64, shape (D,), for D numeric features."""


def to_members(fitted: Preprocessing) -> dict[str, bytes | Array]:
    """Return the members for `netcore.archive.pack`: preprocessing.json, and preprocessing.NAME.npy for each array."""
    arrays = {f"{_MEMBER}.{name}": array for name, array in fitted.arrays.items()}
    return {f"{_MEMBER}.json": json.dumps(fitted.facts).encode(), **arrays}


def from_members(members: Mapping[str, bytes]) -> Preprocessing:
    """Return the `Preprocessing` in an archive's members; equal members give the same object.

    Raises:
        KeyError: the members are missing.
        ValueError: they are damaged.
    """
    mine = {name: content for name, content in members.items() if name.startswith(f"{_MEMBER}.")}
    return _of_members(tuple(sorted(mine.items())))


@lru_cache(maxsize=16)
def _of_members(members: tuple[tuple[str, bytes], ...]) -> Preprocessing:
    """Return the `Preprocessing` in its members; the many records of a study thus share one."""
    contents = dict(members)
    facts = dict(json.loads(contents.pop(f"{_MEMBER}.json")))
    return Preprocessing(facts, {name.split(".")[1]: array_of(content) for name, content in contents.items()})


def chunks(rows: int, columns: int) -> Iterator[slice]:
    """Return slices of the rows whose float64 copies take at most 32 MiB; they depend on the shape alone."""
    size = max(1, _CHUNK // (8 * max(1, columns)))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def fit(X: Array, rows: NDArray[np.intp], how: str) -> Preprocessing:
    """Return what is fitted on the given rows of X, shape (N, D); `how` is `feature`, `pixel-mean` or `none`.

    A statistic that is too large for float64 becomes infinite.
    """
    if how == "none":
        return Preprocessing()
    mean = _column_means(X, rows)
    if how == "pixel-mean":
        return Preprocessing({"kind": how}, {"mean": mean})
    return Preprocessing({"kind": how}, {"mean": mean, "scale": _column_scales(X, rows, mean)})


def apply(fitted: Preprocessing, X: Array, dtype: DTypeLike = np.float32) -> Array:
    """Return the net's inputs for raw features of shape (N, D): the same shape, from float64 rounded once to `dtype`.

    A number that is too large for `dtype` becomes infinite.
    """
    matrix = np.empty(X.shape, dtype)
    with np.errstate(all="ignore"):  # the caller refuses infinity
        for part in chunks(*X.shape):
            block = X[part].astype(np.float64)
            if "mean" in fitted.arrays:
                block -= fitted.arrays["mean"]
            if "scale" in fitted.arrays:
                block /= fitted.arrays["scale"]
            matrix[part] = block
    return matrix


def _column_means(X: Array, rows: NDArray[np.intp]) -> Array:
    """Return the mean of each feature, shape (D,)."""
    total = np.zeros(X.shape[1])
    with np.errstate(all="ignore"):
        for part in chunks(len(rows), X.shape[1]):
            total += X[rows[part]].astype(np.float64).sum(axis=0)
        mean: Array = total / len(rows)
    return mean


def _column_scales(X: Array, rows: NDArray[np.intp], mean: Array) -> Array:
    """Return the standard deviation of each feature, shape (D,), and 1 for a constant one.

    The sum is the corrected two-pass sum, as in scikit-learn's scaler. A feature is constant if its variance is within
    the rounding error of its sum (T. F. Chan et al., Algorithms for computing the sample variance, The American
    Statistician 37, 1983, eq. 1.7).
    """
    count, epsilon = len(rows), np.finfo(np.float64).eps
    squares, correction = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    with np.errstate(all="ignore"):
        for part in chunks(count, X.shape[1]):
            block = X[rows[part]].astype(np.float64)
            block -= mean
            correction += block.sum(axis=0)
            block **= 2
            squares += block.sum(axis=0)
        variance = (squares - correction**2 / count) / count
        constant = variance <= count * epsilon * variance + (count * mean * epsilon) ** 2
    return np.where(constant, 1.0, np.sqrt(variance))
