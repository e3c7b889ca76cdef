"""Numbers as people read them.

A value with an interval has as many digits as the interval justifies; one without has four significant digits. Losses
are in nats. Accuracies are shares in the tables and per cent here; accuracies differ by percentage points.
"""

import math

import pandas as pd

from netcore.results.intervals import Estimate, Interval

_SPACE, _MINUS = "\u00a0", "\u2212"
"""A space that does not break between a number and its unit; a minus as wide as a plus."""


def short(value: float | str | None) -> str:
    """Return a number with four significant digits; a dash for a missing one."""
    if pd.isna(value):
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.2f}{_SPACE}%"


def value_of(value: float | None, metric: str, half: float | None = None, *, difference: bool = False) -> str:
    """Return a value of a metric, or a difference of two values, with its unit; a dash for a missing one.

    `half` is half the width of its interval, from which its number of digits follows. `metric` is a metric's name, or
    `accuracy` for any share.
    """
    if value is None:
        return "—"
    factor, unit = _unit(metric, difference=difference)
    if half is not None:
        return f"{_rounded(factor * value, factor * half)}{unit}"
    text = f"{factor * value:.2f}" if metric.endswith("accuracy") else short(value)
    return (text.replace("-", _MINUS, 1) if value < 0 else text) + unit


def plus_minus(estimate: Estimate | None, metric: str) -> str:
    """Return a mean with half the width of its interval: `0.0489 ± 0.0041`, `97.9 ± 0.4 %`."""
    if estimate is None:
        return "—"
    if estimate.half is None:
        return value_of(estimate.mean, metric)
    factor, unit = _unit(metric)
    mean, half = (_rounded(factor * value, factor * estimate.half) for value in (estimate.mean, estimate.half))
    return f"{mean}{_SPACE}±{_SPACE}{half}{unit}"


def between(interval: Interval | None, metric: str, *, difference: bool = False) -> str:
    """Return an interval: `0.0448 to 0.0530`; unless of differences, cut to possible values: 0 to 1 for accuracies."""
    if interval is None:
        return "—"
    factor, unit = _unit(metric, difference=difference)
    half, ends = factor * (interval.high - interval.low) / 2, interval
    if not difference:
        ends = Interval(max(interval.low, 0.0), min(interval.high, 1.0 if unit else math.inf))
    low, high = (_rounded(factor * end, half) for end in ends)
    return f"{low} to {high}{unit}"


def _unit(metric: str, *, difference: bool = False) -> tuple[float, str]:
    """Return the factor by which a metric is multiplied when written, and its unit."""
    if not metric.endswith("accuracy"):
        return 1.0, ""
    return 100.0, f"{_SPACE}percentage points" if difference else f"{_SPACE}%"


def _rounded(value: float, half: float) -> str:
    """Return a number rounded to the second digit of `half`; beyond nine decimals as a power of ten."""
    decimals = max(0, 1 - math.floor(math.log10(half))) if half > 0 and math.isfinite(half) else 4
    text = f"{abs(value):.{decimals}f}" if decimals <= 9 else f"{abs(value):.2g}"  # noqa: PLR2004
    return f"{_MINUS}{text}" if value < 0 and float(text) else text
