"""Figures of the findings: confirmation, importance, confusions, for few and for many, and folds in the curves."""

import dataclasses
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_results_confirmation import CLEAR, a_confirmation
from test_results_figures import MIXED, a_study

from netcore.results import plots, summary
from netcore.results.confirmation_plots import confirmation_plot, confusion_matrix, importance_plot
from netcore.results.statistics import wilson
from netcore.results.test_set import Reading
from netcore.results.winner import chosen
from netcore.search.importance import Importance

NAN = float("nan")


def saved(figure: Figure | None) -> Figure:
    """Give a figure that can be drawn."""
    assert figure is not None
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def a_reading(names: list[str], **changes: Any) -> Reading:  # noqa: ANN401  # any field
    """Give a reading of five rows a class, of which one was taken for the next class."""
    confusion = 4 * np.eye(len(names), dtype=np.int64) + np.roll(np.eye(len(names), dtype=np.int64), 1, axis=1)
    rows, right = int(confusion.sum()), int(np.trace(confusion))
    reading = Reading("trial 1", 4, rows, right, right / rows, wilson(right, rows), 1, tuple(names), confusion)
    return reading._replace(**changes)


def test_nothing_found_is_nothing_drawn() -> None:
    """Without importances, a confirmation, a seed that finished, or confusions there is no figure."""
    assert importance_plot({}, a_study()) is None
    assert confirmation_plot(a_study(("finished", 0.5, 5))) is None
    assert confirmation_plot(a_confirmation({"trial 0": [NAN, NAN]})) is None
    assert confusion_matrix(None, "x") is None
    assert confusion_matrix(a_reading(["a", "b"], confusion=None), "x") is None


def test_importances_stand_at_their_shares() -> None:
    """The first on top, its dot at its share, its line from one end of the interval to the other."""
    shares = {"reg": Importance(0.7, 0.5, 0.8), "hidden_size": Importance(0.3, 0.1, 0.6)}
    axes = saved(importance_plot(shares, a_study(("finished", 0.5, 5)))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["reg", "hidden_size"]
    assert axes.yaxis_inverted()
    assert [list(np.asarray(line.get_xdata())) for line in axes.lines] == [[0.5, 0.8], [0.7], [0.1, 0.6], [0.3]]


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_the_confirmation_shows_every_candidate(metric: str) -> None:
    """Best finalist on top, baselines below; all seeds and the finalists' intervals lie within the axis."""
    tables = a_confirmation(CLEAR, metric)
    left, right = saved(confirmation_plot(tables)).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[0] == ("trial 0 (32 units)" if metric == "val_loss" else "trial 2 (64 units)")
    assert "softmax regression (no hidden layer)" in names[3:]
    low, high = left.get_xlim()
    assert low < tables.confirmation[metric].min() <= tables.confirmation[metric].max() < high
    assert len(right.lines) == 2 * 4 + 1  # four differences with their intervals, and the line at 0


def test_a_confirmation_with_one_seed_or_a_broken_candidate_is_drawn() -> None:
    """No interval to draw, or no figure at all for some."""
    left, right = saved(confirmation_plot(a_confirmation({name: values[:1] for name, values in CLEAR.items()}))).axes
    assert all(len(np.asarray(line.get_xdata())) == 1 for line in left.lines)
    assert len(right.lines) == 5
    axes = saved(confirmation_plot(a_confirmation({**CLEAR, "trial 0": [NAN] * 3}))).axes[0]
    assert len(axes.get_yticklabels()) == 4


def test_one_wild_baseline_does_not_hide_the_rest() -> None:
    """A baseline whose loss is a million times the others' is left beyond the axis."""
    left, _ = saved(confirmation_plot(a_confirmation({**CLEAR, "course defaults": [1e5, 2e5, 3e5]}))).axes
    assert left.get_xlim()[1] < 1


@pytest.mark.parametrize("classes", [2, 10, 24])
def test_few_classes_have_their_counts(classes: int) -> None:
    """Every class has its name on both axes, and every count that is not 0 stands in its cell."""
    names = [f"class {number}" for number in range(classes)]
    axes = saved(confusion_matrix(a_reading(names), "x")).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert sorted(text.get_text() for text in axes.texts) == ["1"] * classes + ["4"] * classes


def test_a_hundred_classes_stay_legible() -> None:
    """Every fifth name and no counts; names as long as a sentence are cut, and dollar signs are no mathematics."""
    names = [f"${number} " + "long " * 40 for number in range(100)]
    axes = saved(confusion_matrix(a_reading(names), "x")).axes[0]
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == 20
    assert not axes.texts
    assert max(len(label.get_text()) for label in axes.get_yticklabels()) <= 20


def test_curves_over_folds_are_their_mean() -> None:
    """With a fold column each trial is one line, the mean by epoch; without it nothing changes."""
    tables = a_study(*MIXED)
    two = [
        tables.curves.assign(fold=fold, val_loss=tables.curves["val_loss"] * factor)
        for fold, factor in ((0, 0.5), (1, 1.5))
    ]
    folds = dataclasses.replace(tables, curves=pd.concat(two, ignore_index=True))
    mean = summary.mean_over_folds(folds.curves)
    assert list(mean.columns) == list(tables.curves.columns)
    assert np.allclose(mean["val_loss"], tables.curves["val_loss"], equal_nan=True)
    broken = pd.concat([two[0].assign(val_loss=NAN), two[1]], ignore_index=True)
    assert summary.mean_over_folds(broken)["val_loss"].isna().all()
    assert summary.mean_over_folds(tables.curves) is tables.curves
    for draw in (plots.loss_curves, plots.best_trial):
        drawn, expected = saved(draw(folds)), saved(draw(tables))
        assert drawn.axes[0].get_ylim() == pytest.approx(expected.axes[0].get_ylim())
        assert len(drawn.axes[0].lines) == len(expected.axes[0].lines)


def test_the_winners_training_is_the_confirmed_ones() -> None:
    """Trial 2 won the search; trial 0 won the confirmation, and its training is drawn."""
    tables = a_confirmation(CLEAR)
    assert summary.winner(tables) == 2
    assert chosen(tables) == 0
    figure = saved(plots.best_trial(tables))
    assert "trial 0" in figure.legends[0].get_title().get_text()
