"""Intervals: published values, and properties of every sample."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcore.results.intervals import Interval, corrected_mean, wilson

SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Student (1908): hours of sleep won with one drug over another, by ten patients."""

FLOATS = st.floats(-1e3, 1e3)


@pytest.mark.parametrize(
    ("right", "rows", "expected"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_gives_the_published_intervals(right: int, rows: int, expected: tuple[float, float]) -> None:
    """Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3."""
    assert tuple(round(end, 4) for end in wilson(right, rows)) == expected


@given(st.integers(1, 10_000), st.data())
def test_wilson_contains_the_share_and_is_its_own_mirror(rows: int, data: st.DataObject) -> None:
    """It is within 0 and 1, contains the share, and the interval of the complement is its mirror image."""
    right = data.draw(st.integers(0, rows))
    interval = wilson(right, rows)
    assert 0 <= interval.low <= right / rows <= interval.high <= 1
    assert np.allclose((1 - interval.high, 1 - interval.low), wilson(rows - right, rows), atol=1e-12)


@pytest.mark.parametrize(("right", "rows"), [(3, 2), (-1, 2), (0, 0)])
def test_wilson_refuses_impossible_shares(right: int, rows: int) -> None:
    """More right than rows, fewer than none, or no rows at all."""
    rule = f"`0 <= right <= rows`, `rows > 0` must hold, got right={right}, rows={rows}"
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        wilson(right, rows)


def test_without_overlap_it_is_students_interval() -> None:
    """With no test row for a training row the correction is gone; R's `t.test(extra ~ group, paired = TRUE)`."""
    estimate = corrected_mean(SLEEP, train_rows=1, test_rows=0)
    assert estimate.mean == pytest.approx(1.58)
    assert estimate.interval == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert estimate.half == pytest.approx(2.4598858 - 1.58, abs=1e-7)


def test_the_correction_is_the_published_one() -> None:
    """scikit-learn's example of comparing models: 10 times 10 folds, t = 2.611 uncorrected and 0.750 corrected."""
    differences = np.random.default_rng(0).standard_normal(100)
    differences = (differences - differences.mean()) / differences.std(ddof=1) + 0.2611
    plain = corrected_mean(differences, train_rows=90, test_rows=0)
    corrected = corrected_mean(differences, train_rows=90, test_rows=10)
    assert plain.half is not None
    assert corrected.half is not None
    assert 2.611 * plain.half / corrected.half == pytest.approx(0.750, abs=5e-4)


def test_one_value_has_no_interval() -> None:
    """A single seed says nothing about the variance: there is a mean only."""
    estimate = corrected_mean(np.array([0.25]), train_rows=10, test_rows=5)
    assert (estimate.mean, estimate.interval, estimate.half) == (0.25, None, None)


def test_a_mean_of_nothing_is_refused() -> None:
    """There must be a value and a training row."""
    with pytest.raises(ValueError, match=r"^a mean needs values and training rows, got 0 and 9$"):
        corrected_mean(np.array([]), train_rows=9, test_rows=1)
    with pytest.raises(ValueError, match=r"got 3 and 0$"):
        corrected_mean(np.ones(3), train_rows=0, test_rows=1)


@given(st.lists(FLOATS, min_size=2, max_size=30), FLOATS, st.integers(0, 50))
def test_more_overlap_is_never_surer(values: list[float], shift: float, test_rows: int) -> None:
    """The interval is around the mean, widens with the overlap, and shifts with the values."""
    sample = np.array(values)
    narrow = corrected_mean(sample, train_rows=50, test_rows=test_rows)
    wide = corrected_mean(sample, train_rows=50, test_rows=test_rows + 1)
    moved = corrected_mean(sample + shift, train_rows=50, test_rows=test_rows)
    assert narrow.interval
    assert wide.interval
    assert moved.interval
    assert narrow.interval.contains(narrow.mean)
    assert wide.interval.low <= narrow.interval.low <= narrow.interval.high <= wide.interval.high
    assert np.allclose(moved.interval, np.array(narrow.interval) + shift, atol=1e-6)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 4,000 samples of independent values, 95 % of the uncorrected intervals contain the true mean."""
    rng = np.random.default_rng(1)
    intervals = [corrected_mean(rng.normal(3.0, 2.0, 10), train_rows=1, test_rows=0).interval for _ in range(4000)]
    covered = sum(interval.contains(3.0) for interval in intervals if interval)
    assert covered / 4000 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 4000))


def test_an_interval_contains_its_ends() -> None:
    """Both ends belong to it, and nothing beyond them."""
    assert [Interval(-1.0, 0.0).contains(value) for value in (-1.1, -1.0, 0.0, 0.1)] == [False, True, True, False]
