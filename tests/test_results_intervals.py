"""Intervals: published values, and properties of every sample."""

import numpy as np
import pytest
from conftest import present
from hypothesis import given
from hypothesis import strategies as st

from netcore.results.intervals import Estimate, Interval, corrected_mean, wilson

SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Student (1908): hours of sleep won with one drug over another, by ten patients."""

FLOATS = st.floats(-1e3, 1e3)


@pytest.mark.parametrize(
    ("right", "rows", "expected"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (20, 20, (0.8389, 1.0)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_gives_the_published_intervals(right: int, rows: int, expected: tuple[float, float]) -> None:
    """Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3."""
    assert tuple(round(end, 4) for end in wilson(right, rows)) == expected


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
    assert 2.611 * present(plain.half) / present(corrected.half) == pytest.approx(0.750, abs=5e-4)


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
    mean = corrected_mean(sample, train_rows=50, test_rows=test_rows).mean
    narrow = present(corrected_mean(sample, train_rows=50, test_rows=test_rows).interval)
    wide = present(corrected_mean(sample, train_rows=50, test_rows=test_rows + 1).interval)
    moved = present(corrected_mean(sample + shift, train_rows=50, test_rows=test_rows).interval)
    assert wide.low <= narrow.low <= mean <= narrow.high <= wide.high
    assert np.allclose(moved, np.array(narrow) + shift, atol=1e-6)


def test_an_interval_contains_its_ends() -> None:
    """A difference may be zero if 0 is in its interval or one of its ends."""
    intervals = [Interval(-1.0, 0.0), Interval(0.0, 1.0), Interval(-1.0, 1.0), Interval(0.1, 1.0), None]
    assert [Estimate(0.0, interval).may_be_zero for interval in intervals] == [True, True, True, False, False]
