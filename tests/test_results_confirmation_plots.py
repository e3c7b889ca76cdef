"""Plots of confirmation, importance and confusion matrix, for few and for many candidates and classes."""

import io

import numpy as np
import pytest
from conftest import present
from matplotlib.figure import Figure
from tables import CLEAR, NAN, a_confirmation, a_reading, a_study

from netcore.question.metrics import Metric
from netcore.results.confirmation_plots import confirmation_plot, confusion_matrix
from netcore.results.search_plots import importance_plot
from netcore.search.importance import Importance


def saved(figure: Figure | None) -> Figure:
    """Return the plot, after saving it."""
    present(figure).savefig(io.BytesIO(), format="png", dpi=40)
    return present(figure)


def test_nothing_found_is_nothing_drawn() -> None:
    """Without importances, a confirmation, a finished seed, or a confusion matrix there is no plot."""
    assert importance_plot({}, a_study()) is None
    assert confirmation_plot(a_study(("finished", 0.5, 5))) is None
    assert confirmation_plot(a_confirmation({"trial 0": [NAN, NAN]})) is None
    assert confusion_matrix(None, "x") is None


def test_importances_are_drawn_at_their_shares() -> None:
    """The first at the top, its dot at its share, its line from end to end of the interval."""
    shares = {"reg": Importance(0.7, 0.5, 0.8), "hidden_size": Importance(0.3, 0.1, 0.6)}
    axes = saved(importance_plot(shares, a_study(("finished", 0.5, 5)))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["reg", "hidden_size"]
    assert axes.yaxis_inverted()
    assert [list(np.asarray(line.get_xdata())) for line in axes.lines] == [[0.5, 0.8], [0.7], [0.1, 0.6], [0.3]]


@pytest.mark.parametrize("metric", list(Metric))
def test_the_confirmation_shows_every_candidate(metric: Metric) -> None:
    """Best finalist at the top, baselines below; the axis contains all seeds."""
    tables = a_confirmation(CLEAR, metric)
    left, right = saved(confirmation_plot(tables)).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[0] == ("trial 0 (32 units)" if metric is Metric.VAL_LOSS else "trial 2 (64 units)")
    assert "softmax regression (no hidden layer)" in names[3:]
    low, high = left.get_xlim()
    assert low < tables.confirmation[metric].min() <= tables.confirmation[metric].max() < high
    assert len(right.lines) == 2 * 4 + 1  # four differences with their intervals, and the line at 0


def test_a_confirmation_with_one_seed_or_a_broken_candidate_is_drawn() -> None:
    """One seed has no interval; a candidate without a finished seed has no row."""
    left, right = saved(confirmation_plot(a_confirmation({name: values[:1] for name, values in CLEAR.items()}))).axes
    assert all(len(np.asarray(line.get_xdata())) == 1 for line in left.lines)
    assert len(right.lines) == 5
    axes = saved(confirmation_plot(a_confirmation({**CLEAR, "trial 0": [NAN] * 3}))).axes[0]
    assert len(axes.get_yticklabels()) == 4


def test_one_wild_baseline_does_not_hide_the_rest() -> None:
    """A baseline with a loss a million times the others' is beyond the axis."""
    left, _ = saved(confirmation_plot(a_confirmation({**CLEAR, "course defaults": [1e5, 2e5, 3e5]}))).axes
    assert left.get_xlim()[1] < 1


@pytest.mark.parametrize("classes", [2, 10, 24])
def test_few_classes_have_their_counts(classes: int) -> None:
    """Every class has its name on both axes, and every count above 0 is in its cell."""
    names = [f"class {number}" for number in range(classes)]
    axes = saved(confusion_matrix(a_reading(names), "x")).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert sorted(text.get_text() for text in axes.texts) == ["1"] * classes + ["4"] * classes


def test_a_hundred_classes_stay_legible() -> None:
    """Every fifth name and no counts; long names are cut, and dollar signs are no mathematics."""
    names = [f"${number} " + "long " * 40 for number in range(100)]
    axes = saved(confusion_matrix(a_reading(names), "x")).axes[0]
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == 20
    assert not axes.texts
    assert max(len(label.get_text()) for label in axes.get_yticklabels()) <= 20
