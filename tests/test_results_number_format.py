"""Numbers as people read them: as many digits as the interval justifies, and the right unit."""

import pytest
from tables import plain

from netcore.results.intervals import Estimate, Interval
from netcore.results.number_format import between, plus_minus, short, value_of


def around(mean: float, half: float) -> Estimate:
    """Return an estimate with this half width."""
    return Estimate(mean, Interval(mean - half, mean + half))


@pytest.mark.parametrize(
    ("estimate", "metric", "expected"),
    [
        (around(0.048932, 0.00412), "val_loss", "0.0489 ± 0.0041"),
        (around(12.3456, 3.2), "val_loss", "12.3 ± 3.2"),
        (around(1234.5, 321.0), "val_loss", "1234 ± 321"),
        (around(0.97951, 0.00421), "val_accuracy", "97.95 ± 0.42 %"),
        (around(-0.5, 0.1), "val_loss", "-0.50 ± 0.10"),
        (around(1e-13, 1e-14), "val_loss", "1e-13 ± 1e-14"),
        (around(0.5, 0.0), "val_loss", "0.5000 ± 0.0000"),
        (Estimate(0.123456, None), "val_loss", "0.1235"),
        (Estimate(0.97951, None), "val_accuracy", "97.95 %"),
        (None, "val_loss", "—"),
    ],
)
def test_digits_follow_the_interval(estimate: Estimate | None, metric: str, expected: str) -> None:
    """Two digits of the half width, the mean to the same place; without an interval four digits."""
    assert plain(plus_minus(estimate, metric)) == expected


def test_intervals_and_differences_have_a_true_minus() -> None:
    """Both ends to the same place; a missing interval is a dash; a minus is as wide as a plus."""
    assert plain(between(Interval(0.9312, 0.9812), "accuracy")) == "93.1 to 98.1 %"
    assert between(Interval(-0.0315, 0.1052), "val_loss", difference=True) == "\u22120.032 to 0.105"
    assert between(None, "val_loss") == "—"
    assert value_of(-0.25, "val_loss") == "\u22120.25"


def test_impossible_values_are_cut_off() -> None:
    """No loss is below 0, no accuracy above 1; a difference may be."""
    assert between(Interval(-0.1, 1.2), "val_loss") == "0.00 to 1.20"
    assert plain(between(Interval(0.9, 1.006), "val_accuracy")) == "90.0 to 100.0 %"


def test_accuracies_differ_by_percentage_points() -> None:
    """A difference of accuracies has another unit than an accuracy; a loss has none."""
    assert plain(value_of(0.0123, "val_accuracy", difference=True)) == "1.23 percentage points"
    assert plain(value_of(0.9123, "val_accuracy")) == "91.23 %"
    assert plain(value_of(0.0123, "val_accuracy", 0.0456, difference=True)) == "1.2 percentage points"
    assert plain(between(Interval(-0.01, 0.03), "val_accuracy", difference=True)) == "-1.0 to 3.0 percentage points"


def test_short_numbers_have_four_digits() -> None:
    """Measured values have four digits, whole numbers all of theirs, missing ones are a dash."""
    values = (0.123456, 1e-6, 42, None, float("nan"), "tpe")
    assert [short(value) for value in values] == ["0.1235", "1e-06", "42", "—", "—", "tpe"]
