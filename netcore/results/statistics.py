"""How sure a figure is: 95 % intervals for a share, and for a mean over trainings with fresh splits.

Trainings of one setting whose splits are drawn from the same rows overlap: they have most training rows in common, so
their figures agree more than independent ones would, and s²/J is too small a variance for their mean. Nadeau and Bengio
put (1/J + n_test/n_train) s² in its place. Nothing here is a test: an interval is said, and no probability.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["CONFIDENCE", "Estimate", "Interval", "corrected_mean", "wilson"]

CONFIDENCE = 0.95
"""How often an interval covers what it is about, were everything done again."""

_UPPER = 0.5 + CONFIDENCE / 2


class Interval(NamedTuple):
    """From `low` to `high`, in the unit of the figure."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Say whether a value lies in it; the ends do."""
        return self.low <= value <= self.high


class Estimate(NamedTuple):
    """A mean, and how far it can be trusted."""

    mean: float
    interval: Interval | None
    """None where a single number says nothing about its scatter."""

    @property
    def half(self) -> float | None:
        """Half the interval's width: the number behind the ±."""
        return None if self.interval is None else (self.interval.high - self.interval.low) / 2


def wilson(right: int, rows: int) -> Interval:
    """Give Wilson's score interval for a share, `right` of `rows`; it stays within 0 and 1, and holds the share.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference"; without a correction for
    continuity.

    Raises:
        ValueError: `0 <= right <= rows` and `rows > 0` do not hold.
    """
    if not 0 <= right <= rows or rows == 0:
        raise ValueError(f"`0 <= right <= rows`, `rows > 0` must hold, got right={right}, rows={rows}")
    z = NormalDist().inv_cdf(_UPPER)
    share, weight = right / rows, z**2 / rows
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / rows + weight / (4 * rows)) / (1 + weight)
    return Interval(0.0 if right == 0 else centre - half, 1.0 if right == rows else centre + half)


def corrected_mean(values: NDArray[np.float64], *, train_rows: int, test_rows: int) -> Estimate:
    """Give the mean of J figures, shape (J,), each from a fresh split, with the corrected resampled t interval.

    Nadeau and Bengio (2003), "Inference for the generalization error", section 3: the mean's variance is
    (1/J + n_test/n_train) s², where s² is the sample variance (divided by J - 1), and Student's t has J - 1 degrees of
    freedom. `test_rows` are those that each figure was measured on. For paired figures, give their differences.

    Raises:
        ValueError: there is no value, or no training row.
    """
    if not values.size or train_rows < 1:
        raise ValueError(f"a mean needs values and training rows, got {values.size} and {train_rows}")
    mean = float(values.mean())
    if values.size == 1:
        return Estimate(mean, None)
    variance = (1 / values.size + test_rows / train_rows) * float(values.var(ddof=1))
    half = float(stdtrit(values.size - 1, _UPPER)) * math.sqrt(variance)
    return Estimate(mean, Interval(mean - half, mean + half))
