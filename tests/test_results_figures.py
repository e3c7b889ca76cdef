"""Figures: the numbers behind them to the digit, and every drawing for every kind of study."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from netcore.question.metrics import Metric
from netcore.records.folder import StudyFolder
from netcore.results import plots, summary
from netcore.results.tables import CURVE, TRIALS, WEIGHTS, StudyTables

NAN = float("nan")
SPACE = {
    "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    "hidden_size": [4, 8, 16],
    "reg": {"low": 0.0, "high": 0.1, "log": False},
    "learning_rate_decay": 0.95,
}


def a_trial(number: int, state: str, value: float, epochs: int) -> dict[str, Any]:
    """Give a row of the trials table; the hyperparameters vary with the number."""
    has_value = np.isfinite(value)
    return {
        "trial": number,
        "state": state,
        "learning_rate": 10 ** (-3 + 3 * (number * 0.618 % 1)),
        "hidden_size": (4, 8, 16)[number % 3],
        "reg": 0.1 * (number * 0.382 % 1),
        "learning_rate_decay": 0.95,
        "value": value,
        "best_epoch": epochs if has_value else pd.NA,
        "epochs": epochs,
        **dict.fromkeys(("train_loss", "val_loss", "train_accuracy", "val_accuracy"), value),
        "seconds": 0.5,
        "seed": 7,
        "digest": "d" * 64,
        "started": pd.Timestamp("2026-01-01", tz="UTC"),
        "ended": pd.Timestamp("2026-01-01", tz="UTC"),
    }


def a_curve(number: int, value: float, epochs: int) -> list[dict[str, Any]]:
    """Give the curve of a trial that ends at `value`."""
    return [
        {"trial": number, "epoch": epoch, "learning_rate": 0.1, "train_loss": value * 0.9 * epochs / epoch}
        | {"val_loss": value * epochs / epoch, "train_accuracy": 0.9, "val_accuracy": 0.8}
        for epoch in range(1, epochs + 1)
    ]


def a_study(
    *trials: tuple[str, float, int], metric: str = "val_loss", weights: pd.DataFrame | None = None
) -> StudyTables:
    """Give the tables of a study from its trials' states, values and numbers of epochs."""
    rows = [a_trial(number, *trial) for number, trial in enumerate(trials)]
    curves = [row for number, (_, value, epochs) in enumerate(trials) for row in a_curve(number, value, epochs)]
    none = pd.DataFrame([], columns=list(WEIGHTS)).astype(WEIGHTS)
    return StudyTables(
        name="a_study",
        metric=Metric(metric),
        trials=pd.DataFrame(rows, columns=list(TRIALS)).astype(TRIALS),
        curves=pd.DataFrame(curves, columns=list(CURVE)).astype(CURVE),
        weights=none if weights is None else weights,
    )


def image_weights(units: int, shape: tuple[int, int, int]) -> pd.DataFrame:
    """Give the weights table of a net on images; unit u's weights are all u + 1."""
    unit, row, column, channel = (axis.ravel() for axis in np.indices((units, *shape)))
    frame = pd.DataFrame(
        {"trial": 0, "unit": unit, "row": row, "column": column, "channel": channel, "value": unit + 1.0}
    )
    frame["input"] = pd.Categorical([f"pixel_{r}_{c}" for r, c in zip(row, column, strict=True)])
    return frame[list(WEIGHTS)].astype(WEIGHTS)


def table_weights(names: list[str], units: int) -> pd.DataFrame:
    """Give the weights table of a net on named inputs."""
    of_input, unit = (axis.ravel() for axis in np.indices((len(names), units)))
    frame = pd.DataFrame({"trial": 0, "unit": unit, "row": pd.NA, "column": pd.NA, "channel": pd.NA})
    frame["value"] = of_input - unit + 0.5
    frame["input"] = pd.Categorical.from_codes(of_input.tolist(), pd.Index(names))
    return frame[list(WEIGHTS)].astype(WEIGHTS)


MIXED = (("finished", 0.5, 5), ("pruned", 0.9, 2), ("diverged", NAN, 1), ("failed", NAN, 0), ("finished", 0.3, 5))
STUDIES = {
    "mixed": a_study(*MIXED, weights=image_weights(3, (4, 4, 1))),
    "accuracy": a_study(*MIXED, metric="val_accuracy", weights=table_weights(["length", "width"], 4)),
    "no trial": a_study(),
    "one trial": a_study(("finished", 0.5, 1)),
    "all diverged": a_study(("diverged", NAN, 1), ("diverged", NAN, 2)),
    "all failed": a_study(("failed", NAN, 0), ("failed", NAN, 0)),
    "all pruned": a_study(("pruned", 0.5, 2), ("pruned", 0.6, 2)),
    "outlier": a_study(*MIXED, ("finished", 1e13, 5)),
    "perfect": a_study(("finished", 0.0, 3), ("finished", 0.0, 3)),
}


def draw(tables: StudyTables) -> dict[str, Figure | None]:
    """Draw everything that a study has."""
    return {
        "progress": plots.progress(tables),
        "loss_curves": plots.loss_curves(tables),
        "best_trial": plots.best_trial(tables),
        "first_layer": plots.first_layer(tables),
        "slice": plots.slice_plot(tables, "learning_rate", "log"),
        "choice": plots.slice_plot(tables, "hidden_size", "choice"),
    }


def in_legend(figure: Figure | None) -> str:
    """Give the words of a figure's legend."""
    assert figure is not None
    return " ".join(text.get_text() for text in figure.legends[0].get_texts())


def a_folder(path: Path, space: dict[str, Any] | None = None) -> StudyFolder:
    """Give a study's folder that holds its settings."""
    settings = {
        "study": {"name": "x"},
        "data": {"source": "iris"},
        "space": {"learning_rate": 0.1, "hidden_size": 8, "reg": 0.0, "learning_rate_decay": 1.0} | (space or SPACE),
    }
    data: dict[str, Any] = {"name": "iris", "digest": "", "rows": {"train": 1, "validation": 1, "test": 1}}
    data |= {"class_names": [], "feature_names": [], "image_shape": None}
    resolved = {"settings": settings, "data": data, "training_step": "compiled"}
    (path / "resolved.json").write_text(json.dumps(resolved))
    return StudyFolder(path)


def test_ranking_puts_finished_trials_first_and_the_earlier_of_equals() -> None:
    """Only finished trials can win, however good a pruned one was; of equal values the earlier is the better."""
    tables = a_study(
        ("pruned", 0.1, 2), ("failed", NAN, 0), ("finished", 0.3, 5), ("finished", 0.3, 5), ("diverged", NAN, 1)
    )
    assert summary.ranked(tables)["trial"].tolist() == [2, 3, 0, 4, 1]
    assert summary.winner(tables) == 2
    assert summary.winner(STUDIES["all pruned"]) is None


def test_more_accuracy_and_less_loss_is_better() -> None:
    """The metric says which of the same two values wins."""
    assert summary.winner(STUDIES["mixed"]) == 4
    assert summary.winner(STUDIES["accuracy"]) == 0


def test_best_so_far_counts_finished_trials_alone() -> None:
    """The step line starts at the first finished trial and ignores what pruned trials reached."""
    trials = (
        ("pruned", 0.1, 2),
        ("finished", 0.5, 5),
        ("diverged", NAN, 1),
        ("finished", 0.7, 5),
        ("finished", 0.4, 5),
    )
    assert summary.best_so_far(a_study(*trials))[1:].tolist() == [0.5, 0.5, 0.5, 0.4]
    assert np.isnan(summary.best_so_far(a_study(*trials))[0])
    assert summary.best_so_far(a_study(*trials, metric="val_accuracy"))[1:].tolist() == [0.5, 0.5, 0.7, 0.7]


@pytest.mark.parametrize(
    ("values", "metric", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], "val_loss", (0.1, 0.4)),
        ([0.1, 0.2, 0.3, 1e13], "val_loss", (0.1, 0.3)),
        ([0.1, 0.1, 0.1, 9.0], "val_loss", (0.1, 9.0)),
        ([0.1, 0.1, 0.1, 11.0], "val_loss", (0.1, 0.1)),
        ([0.1, NAN, 0.0, 0.3], "val_loss", (0.1, 0.3)),
        ([0.9, 0.95, 0.1], "val_accuracy", (0.9, 0.95)),
        ([0.2, 0.5, 0.9], "val_accuracy", (0.2, 0.9)),
    ],
)
def test_readable_range_leaves_out_what_would_hide_the_rest(
    values: list[float], metric: str, expected: tuple[float, float]
) -> None:
    """A loss of 1e13 or an accuracy far below the others does not stretch the axis; a wide but even spread stays."""
    assert summary.readable_range(np.array(values), Metric(metric)) == expected


def test_scale_follows_the_study_file() -> None:
    """A range is linear unless it says log, a list is a choice, a number is fixed."""
    assert [summary.scale_of(setting) for setting in SPACE.values()] == ["log", "choice", "linear", "fixed"]


def test_mosaic_puts_each_weight_in_its_place() -> None:
    """Unit 1 has the larger norm and comes first; a tile is upright; NaN separates the tiles."""
    weights = image_weights(2, (2, 3, 1))
    weights["value"] = np.arange(12.0)
    image, units = summary.mosaic(weights)
    assert units == [1, 0]
    zoom = 14
    assert image.shape == (2 * zoom, 3 * zoom * 2 + 3)
    assert image[::zoom, : 3 * zoom : zoom].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert np.isnan(image[:, 3 * zoom : 3 * zoom + 3]).all()
    assert image[::zoom, 3 * zoom + 3 :: zoom].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_mosaic_keeps_colour_and_limits_the_tiles() -> None:
    """Three channels stay three channels; of 130 units the 100 of largest norm are shown."""
    image, units = summary.mosaic(image_weights(130, (2, 2, 3)))
    assert image.shape[2] == 3
    assert units == list(range(129, 29, -1))


@pytest.mark.parametrize("kind", STUDIES)
def test_every_kind_of_study_can_be_drawn(kind: str) -> None:
    """No study breaks a figure: none finished, a single trial, none at all, outliers, losses of zero."""
    for figure in draw(STUDIES[kind]).values():
        if figure is not None:
            figure.savefig(io.BytesIO(), format="png", dpi=40)


@pytest.mark.parametrize(
    ("kind", "drawn"),
    [
        ("mixed", {"progress", "loss_curves", "best_trial", "first_layer", "slice", "choice"}),
        ("no trial", set()),
        ("all failed", set()),
        ("all diverged", set()),
        ("one trial", {"progress", "loss_curves", "best_trial"}),
        ("all pruned", {"progress", "loss_curves", "slice", "choice"}),
    ],
)
def test_a_figure_with_nothing_to_show_is_left_out(kind: str, drawn: set[str]) -> None:
    """There is no best trial to draw where none finished, and no slice of a single value."""
    assert {name for name, figure in draw(STUDIES[kind]).items() if figure is not None} == drawn


def test_fixed_hyperparameters_have_no_slice() -> None:
    """Neither what the study file fixes nor what happens to be one value is drawn."""
    assert plots.slice_plot(STUDIES["mixed"], "learning_rate_decay") is None
    assert plots.slice_plot(STUDIES["mixed"], "reg", "fixed") is None


def test_legends_count_the_states() -> None:
    """The reader learns how many trials each mark stands for, and how many are off the axis or have no curve."""
    assert in_legend(plots.progress(STUDIES["outlier"])) == (
        "finished (3) pruned (1) beyond the axis (1) best: trial 4 (0.3) best so far"
    )
    curves = plots.loss_curves(STUDIES["outlier"])
    assert in_legend(curves) == "finished (3) pruned (1) best: trial 4 (val_loss 0.3)"
    assert curves is not None
    assert curves.axes[0].get_title(loc="right") == "not drawn: 1 diverged, 1 failed, 1 above the axis"


def test_trials_without_a_value_stand_where_they_were_tried() -> None:
    """A diverged trial keeps its learning rate in the plot, in a strip of its own."""
    figure = plots.slice_plot(STUDIES["mixed"], "learning_rate", "log")
    assert figure is not None
    strip, axes = figure.axes
    assert [label.get_text() for label in strip.get_yticklabels()] == ["failed (1)", "diverged (1)"]
    trials = STUDIES["mixed"].trials.set_index("state")
    assert [float(np.asarray(line.get_xdata())[0]) for line in strip.lines] == [
        trials.loc[s, "learning_rate"] for s in ("failed", "diverged")
    ]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "learning_rate")


def test_axes_bear_the_words_of_the_tables() -> None:
    """A hyperparameter and a metric are called what they are called everywhere, with the metric's unit."""
    for kind, label in (("mixed", "val_loss (nats)"), ("accuracy", "val_accuracy (share right)")):
        figure = plots.slice_plot(STUDIES[kind], "reg", "linear")
        assert figure is not None
        assert label in {axes.get_ylabel() for axes in figure.axes}
        assert "reg" in {axes.get_xlabel() for axes in figure.axes}


def test_curves_are_whole_where_losses_fall_far() -> None:
    """A loss that falls a million times is seen from its first epoch on: the best trial's, and that of all trials."""
    tables = a_study(("finished", 1e-6, 30))
    falling = np.geomspace(1.0, 1e-6, 30)
    tables = dataclasses.replace(tables, curves=tables.curves.assign(train_loss=falling, val_loss=falling))
    for figure in (plots.best_trial(tables), plots.loss_curves(tables)):
        assert figure is not None
        low, high = figure.axes[0].get_ylim()
        assert low < 1e-6
        assert high > 1.0


def test_names_are_not_read_as_mathematics() -> None:
    """An input with a dollar sign in its name has just that; drawing it neither fails nor typesets."""
    figure = plots.first_layer(a_study(("finished", 0.5, 1), weights=table_weights([r"$\frac{$", "x" * 200], 2)))
    assert figure is not None
    figure.savefig(io.BytesIO(), format="svg")
    assert len(figure.axes[0].get_yticklabels()[1].get_text()) == 40


def test_weights_share_one_symmetric_scale() -> None:
    """White is zero: the colours reach as far below it as above."""
    for weights in (image_weights(3, (4, 4, 1)), table_weights(["a", "b"], 3)):
        figure = plots.first_layer(a_study(("finished", 0.5, 1), weights=weights))
        assert figure is not None
        low, high = figure.axes[0].images[0].get_clim()
        assert low == -high < 0


def test_drawing_changes_no_settings_of_matplotlib() -> None:
    """Who draws a figure keeps their own style, and theirs does not reach our files."""
    before = dict(mpl.rcParams)
    draw(STUDIES["mixed"])
    assert dict(mpl.rcParams) == before


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    """Drawn twice, and once under another style of the user's: the same bytes, PNG and SVG."""
    folder = a_folder(tmp_path)
    drawn = plots.draw_all(STUDIES["mixed"], folder)
    first = {file.name: file.read_bytes() for file in folder.plots.iterdir()}
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9}):
        plots.draw_all(STUDIES["mixed"], folder)
    assert {file.name: file.read_bytes() for file in folder.plots.iterdir()} == first
    names = {
        "progress",
        "loss_curves",
        "best_trial",
        "slice_learning_rate",
        "slice_hidden_size",
        "slice_reg",
        "first_layer",
    }
    assert drawn == {name: folder.plots / f"{name}.png" for name in drawn}
    assert set(first) == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}


def test_stale_figures_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    """A figure that the study no longer has does not linger; the user's own pictures and notes are not ours."""
    folder = a_folder(tmp_path)
    folder.plots.mkdir()
    for name in ("slice_reg.png", "slice_reg.svg", "mine.png", "notes.txt"):
        (folder.plots / name).write_text("x")
    assert plots.draw_all(STUDIES["no trial"], folder) == {}
    assert {file.name for file in folder.plots.iterdir()} == {"mine.png", "notes.txt"}
