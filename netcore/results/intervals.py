"""95 % confidence intervals: for a share, and for a mean over trainings with fresh splits.

Splits drawn from the same rows share most of their training rows. Their results therefore agree more than independent
ones would, and s²/J underestimates the variance of their mean. Nadeau and Bengio use (1/J + n_test/n_train) s² instead.
netcore reports intervals, never p-values, because the candidates were selected.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import binomtest

CONFIDENCE = 0.95
"""The share of repetitions in which an interval contains the true value."""


class Interval(NamedTuple):
    """An interval, in the unit of its metric; both ends belong to it."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A mean and its 95 % confidence interval."""

    mean: float
    interval: Interval | None
    """None for the mean of a single value."""

    @property
    def half(self) -> float | None:
        """Half the width of the interval: the number after the ±."""
        return None if self.interval is None else (self.interval.high - self.interval.low) / 2

    @property
    def may_be_zero(self) -> bool:
        """Whether the interval contains 0; False without an interval."""
        return self.interval is not None and self.interval.low <= 0 <= self.interval.high


def wilson(right: int, rows: int) -> Interval:
    """Return Wilson's score interval for the share `right / rows`, without continuity correction.

    It contains the share and stays within 0 and 1. E. B. Wilson (1927), "Probable inference, the law of succession, and
    statistical inference".
    """
    found = binomtest(right, rows).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high))


def corrected_mean(values: NDArray[np.float64], *, train_rows: int, test_rows: int) -> Estimate:
    """Return the mean of J values, shape (J,), one per fresh split, with the corrected resampled t interval.

    C. Nadeau and Y. Bengio (2003), "Inference for the generalization error", section 3: the variance of the mean is
    (1/J + n_test/n_train) s², where s² is the sample variance (divided by J - 1); Student's t has J - 1 degrees of
    freedom. `test_rows` is the number of rows on which each value was measured. For paired values, pass differences.

    Raises:
        ValueError: there is no value, or no training row.
    """
    if not values.size or train_rows < 1:
        raise ValueError(f"a mean needs values and training rows, got {values.size} and {train_rows}")
    mean = float(values.mean())
    if values.size == 1:
        return Estimate(mean, None)
    variance = (1 / values.size + test_rows / train_rows) * float(values.var(ddof=1))
    half = float(stdtrit(values.size - 1, 0.5 + CONFIDENCE / 2)) * math.sqrt(variance)
    return Estimate(mean, Interval(mean - half, mean + half))
