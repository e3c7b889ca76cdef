"""Claims about netcore.search.stopping: the thresholds are quantiles of what is known, computed by hand here."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcore.core.sgd import Epoch
from netcore.question.metrics import Metric
from netcore.question.sections import StoppingSection
from netcore.records.job import State, TrialResult
from netcore.search.stopping import Stopping

RULE = StoppingSection(rungs=(2, 4), keep=0.5, after=3)


def result(*values: float, state: State = State.FINISHED) -> TrialResult:
    """Make a trial with these validation metrics, epoch by epoch."""
    curve = tuple(Epoch(n, 0.1, value, value, value, value) for n, value in enumerate(values, start=1))
    return TrialResult(state, curve)


def thresholds(section: StoppingSection | None, *results: TrialResult, metric: str = "val_loss") -> dict[int, float]:
    """Commit some trials and return the thresholds then."""
    stopping = Stopping(section, Metric(metric))
    for one in results:
        stopping.commit(one)
    return stopping.thresholds()


def test_median_by_hand() -> None:
    """With keep = 0.5 the threshold is the median of the best-so-far at the rung: of 0.5, 0.3, 0.9 that is 0.5."""
    trials = [result(0.5, 0.7, 0.2, 0.4), result(0.8, 0.3, 0.6, 0.6), result(0.9, 1.0, 0.95, 0.1)]
    assert thresholds(RULE, *trials) == {2: 0.5, 4: 0.2}
    assert thresholds(None, *trials) == {}  # without [stopping]


@pytest.mark.parametrize(
    ("keep", "metric", "threshold"),
    [
        (0.5, "val_loss", 0.25),
        (0.25, "val_loss", 0.175),
        (0.75, "val_loss", 0.325),
        (0.5, "val_accuracy", 0.25),
        (0.25, "val_accuracy", 0.325),
        (0.75, "val_accuracy", 0.175),
    ],
)
def test_keep_by_hand(keep: float, metric: str, threshold: float) -> None:
    """`keep` is the share that goes on: of 0.1, 0.2, 0.3, 0.4 the lower ones as losses, the upper as accuracies."""
    rule = StoppingSection(rungs=(1,), keep=keep, after=1)
    trials = [result(value) for value in (0.3, 0.1, 0.4, 0.2)]
    assert thresholds(rule, *trials, metric=metric) == {1: pytest.approx(threshold)}


def test_best_so_far_is_the_highest_accuracy() -> None:
    """For an accuracy the best so far is the highest, and the rung itself counts, later epochs do not."""
    rule = StoppingSection(rungs=(2,), after=1)
    assert thresholds(rule, result(0.3, 0.6, 0.9), metric="val_accuracy") == {2: 0.6}
    assert thresholds(rule, result(0.6, 0.3, 0.9), metric="val_accuracy") == {2: 0.6}
    assert thresholds(rule, result(0.3, 0.6, 0.1)) == {2: 0.3}


def test_no_threshold_before_enough_have_reached_the_rung() -> None:
    """A rung has a threshold as soon as `after` trials have reached it; each rung counts its own."""
    long, short = result(0.1, 0.2, 0.3, 0.4), result(0.5, 0.6, state=State.PRUNED)
    assert thresholds(RULE, long, short) == {}
    assert thresholds(RULE, long, short, long) == {2: 0.1}
    assert thresholds(RULE, long, short, long, long) == {2: 0.1, 4: 0.1}


def test_pruned_trials_count_where_they_were() -> None:
    """A pruned trial counts at every rung it reached, that of its end included, and at no later one."""
    pruned = [result(0.5, 0.4, state=State.PRUNED)] * 3
    assert thresholds(RULE, *pruned) == {2: 0.4}


@pytest.mark.parametrize("state", [State.DIVERGED, State.FAILED])
def test_diverged_and_failed_trials_do_not_count(state: State) -> None:
    """What diverged or failed changes no threshold, even after it passed a rung, and no NaN gets in."""
    lost = [result(0.1, 0.1, 0.1, math.nan, state=state)] * 5
    good = [result(0.5, 0.5, 0.5, 0.5)] * 3
    assert thresholds(RULE, *lost) == {}
    assert thresholds(RULE, *lost, *good, *lost) == {2: 0.5, 4: 0.5}


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.floats(0.01, 0.99), st.sampled_from([True, False]))
def test_about_the_share_goes_on(values: list[float], keep: float, maximize: bool) -> None:
    """At least the share `keep`, but for one trial, is not worse than the threshold; the best is never worse."""
    rule = StoppingSection(rungs=(1,), keep=keep, after=1)
    metric = "val_accuracy" if maximize else "val_loss"
    threshold = thresholds(rule, *(result(value) for value in values), metric=metric)[1]
    going_on = [value for value in values if (value >= threshold if maximize else value <= threshold)]
    assert len(going_on) >= math.floor(keep * (len(values) - 1) - 1e-9)
    best = max(values) if maximize else min(values)
    assert best in going_on or math.isclose(best, threshold)
