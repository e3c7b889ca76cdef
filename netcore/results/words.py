"""Numbers as people read them, and the few sentences that a confirmation comes to.

A figure with an interval has as many digits as the interval leaves it; one without has four. Losses are nats,
accuracies shares in the tables and per cent here. A sentence says what the interval says, for better or worse.
"""

import math

import pandas as pd

from netcore.results.statistics import Estimate, Interval
from netcore.results.winner import SOFTMAX, Candidate, Confirmation

__all__ = [
    "between",
    "figure",
    "hidden_layer",
    "percent",
    "plus_minus",
    "possible",
    "promise",
    "short",
    "smallest",
    "unfinished",
]

_LONG = 10**7
"""A whole number this large is written like a float."""

_SPACE, _MINUS = "\u00a0", "\u2212"
"""What keeps a number and its unit on one line, and a minus as wide as a plus."""


def short(value: object) -> str:
    """Write a number with four digits, as people read it; a missing one as a dash."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "—"
    is_long = isinstance(value, int) and value >= _LONG
    return f"{value:.4g}" if isinstance(value, float) or is_long else str(value)


def percent(share: float) -> str:
    """Write a share in per cent."""
    return f"{100 * share:.2f}{_SPACE}%"


def figure(value: float, metric: str) -> str:
    """Write one figure of a metric, or a difference of two: a loss in nats, an accuracy in per cent."""
    text = percent(value) if metric.endswith("accuracy") else short(value)
    return text.replace("-", _MINUS, 1) if value < 0 else text


def plus_minus(estimate: Estimate | None, metric: str) -> str:
    """Write a mean with half its interval: `0.0489 ± 0.0041`, `97.9 ± 0.4 %`; without an interval the mean alone."""
    if estimate is None:
        return "—"
    if estimate.half is None:
        return figure(estimate.mean, metric)
    factor, unit = _unit(metric)
    mean, half = (_rounded(factor * value, factor * estimate.half) for value in (estimate.mean, estimate.half))
    return f"{mean}{_SPACE}±{_SPACE}{half}{unit}"


def between(interval: Interval | None, metric: str) -> str:
    """Write an interval: `0.0448 to 0.0530`."""
    if interval is None:
        return "—"
    factor, unit = _unit(metric)
    low, high = (_rounded(factor * end, factor * (interval.high - interval.low) / 2) for end in interval)
    return f"{low} to {high}{unit}"


def possible(interval: Interval | None, metric: str) -> Interval | None:
    """Cut off what cannot be: a loss below 0, an accuracy above 1. Not for differences."""
    if interval is None:
        return None
    return Interval(max(interval.low, 0.0), min(interval.high, 1.0 if metric.endswith("accuracy") else math.inf))


def hidden_layer(found: Confirmation) -> str:
    """Say whether the hidden layer is worth it: the winner beside softmax regression, in one sentence."""
    softmax, winner = found.named(SOFTMAX), found.winner
    if softmax is None or winner is None:
        return ""
    if softmax.difference is None:
        return (
            f"Whether the hidden layer is worth it cannot be said: {SOFTMAX} and {winner.name} finished no common seed."
        )
    gain = found.metric.cost(softmax.difference.mean)
    by = f"{winner.name}'s {found.metric} is {_apart(softmax.difference, found.metric)} than that of {SOFTMAX}"
    if softmax.difference.interval is None:
        return f"The hidden layer {'helped' if gain > 0 else 'did not help'}: {by}; with one seed, that may be chance."
    if softmax.difference.interval.holds(0.0):
        return f"It is not shown that the hidden layer is worth it: {by}, and that interval holds 0."
    return f"The hidden layer {'is worth it' if gain > 0 else 'does harm here'}: {by}."


def smallest(found: Confirmation) -> str:
    """Name who cannot be told from the winner, and of those the one with the fewest hidden units."""
    noise, least = found.within_noise, found.smallest
    if not noise or found.winner is None:
        return ""
    names = _listed([candidate.name for candidate in noise])
    said = f"Within the noise of {found.winner.name}: {names}."
    if least is not None:
        units = f"{least.hidden_size} hidden units" if least.hidden_size else "no hidden layer"
        said += f" The smallest of these is {least.name}, with {units} where the winner has {found.winner.hidden_size}."
    return said


def promise(found: Confirmation) -> str:
    """Say what the search had promised beside what was confirmed."""
    winner, metric = found.winner, found.metric
    if winner is None or winner.promised is None or (mean := winner.of(metric)) is None:
        return ""
    gap = winner.gap(metric) or 0.0
    return (
        f"The search had promised {figure(winner.promised, metric)}, on the one split that it chose by. Confirmed is "
        f"{plus_minus(mean, metric)}, on fresh splits and after as many epochs as its trial was best with: "
        f"{_like(abs(gap), mean, metric)} {'worse' if gap > 0 else 'better'}."
    )


def unfinished(found: Confirmation) -> str:
    """Say which candidates did not finish all their seeds, and what follows."""
    broken = [candidate for candidate in found.candidates if not candidate.whole]
    if not broken:
        return ""
    counts = _listed([f"{candidate.name} finished {_of_seeds(candidate)}" for candidate in broken])
    if found.winner is None:
        return f"No finalist finished a seed, so there is no winner: {counts}."
    if found.winner.whole:
        return f"{counts[:1].upper()}{counts[1:]}: whoever misses a seed cannot win."
    return f"No finalist finished all its seeds, so the winner is the best of those that did finish: {counts}."


def _of_seeds(candidate: Candidate) -> str:
    return f"{candidate.finished} of {candidate.seeds} seeds"


def _apart(difference: Estimate, metric: str) -> str:
    """Say how far the winner is from another: `lower by 0.12 (95 % interval 0.09 to 0.15)`."""
    winner_is_lower = difference.mean > 0
    words = f"{'lower' if winner_is_lower else 'higher'} by {_like(abs(difference.mean), difference, metric)}"
    if difference.interval is None:
        return words
    low, high = difference.interval if winner_is_lower else (-difference.interval.high, -difference.interval.low)
    return f"{words} (95{_SPACE}% interval {between(Interval(low, high), metric)})"


def _like(value: float, estimate: Estimate, metric: str) -> str:
    """Write a figure with as many digits as an estimate's interval leaves it."""
    if estimate.half is None:
        return figure(value, metric)
    factor, unit = _unit(metric)
    return f"{_rounded(factor * value, factor * estimate.half)}{unit}"


def _unit(metric: str) -> tuple[float, str]:
    """Give what a metric is multiplied with to be written, and its unit."""
    return (100.0, f"{_SPACE}%") if metric.endswith("accuracy") else (1.0, "")


def _listed(names: list[str]) -> str:
    """Write `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _rounded(value: float, half: float) -> str:
    """Write a number to the second digit of an interval's half width; beyond nine decimals as a power of ten."""
    decimals = max(0, 1 - math.floor(math.log10(half))) if half > 0 and math.isfinite(half) else 4
    text = f"{abs(value):.{decimals}f}" if decimals <= 9 else f"{abs(value):.2g}"  # noqa: PLR2004
    return f"{_MINUS}{text}" if value < 0 and float(text) else text
