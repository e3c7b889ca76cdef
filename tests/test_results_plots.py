"""Plots: axes and legends, for every kind of study, and the same bytes for the same tables."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from conftest import present
from matplotlib.figure import Figure
from tables import CLEAR, MIXED, NAN, STUDIES, a_confirmation, a_study, image_weights, table_weights

from netcore.question.metrics import Metric
from netcore.records.folder import StudyFolder
from netcore.results.canvas import readable_range, scale_of
from netcore.results.net_plots import first_layer, mosaic, training_plot
from netcore.results.plots import draw_all
from netcore.results.search_plots import loss_curves, progress, slice_plot
from netcore.results.tables import StudyTables, mean_over_folds

SPACE = {
    "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    "hidden_size": [4, 8, 16],
    "reg": {"low": 0.0, "high": 0.1, "log": False},
    "learning_rate_decay": 0.95,
}


def draw(tables: StudyTables) -> dict[str, Figure | None]:
    """Draw the plots of a search and of one net."""
    return {
        "progress": progress(tables),
        "loss_curves": loss_curves(tables),
        "best_trial": training_plot(tables),
        "first_layer": first_layer(tables),
        "slice": slice_plot(tables, "learning_rate", "log"),
        "choice": slice_plot(tables, "hidden_size", "choice"),
    }


def in_legend(figure: Figure | None) -> str:
    """Return the text of a plot's legend."""
    return " ".join(text.get_text() for text in present(figure).legends[0].get_texts())


def a_folder(path: Path) -> StudyFolder:
    """Return a study's folder with its settings."""
    settings = {"study": {"name": "x"}, "data": {"source": "iris"}, "space": SPACE}
    data: dict[str, Any] = {"name": "iris", "digest": "", "rows": {"train": 1, "validation": 1, "test": 1}}
    data |= {"class_names": [], "feature_names": [], "image_shape": None}
    resolved = {"settings": settings, "data": data, "training_step": "compiled"}
    (path / "resolved.json").write_text(json.dumps(resolved))
    return StudyFolder(path)


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
    assert readable_range(np.array(values), Metric(metric)) == expected


def test_scale_follows_the_study_file() -> None:
    """A range is linear unless `log` is true, a list is a choice, a number is fixed."""
    assert [scale_of(setting) for setting in SPACE.values()] == ["log", "choice", "linear", "fixed"]


def test_mosaic_puts_each_weight_in_its_place() -> None:
    """Unit 1 has the larger norm and comes first; tiles are upright and separated by NaN."""
    weights = image_weights(2, (2, 3, 1))
    weights["value"] = np.arange(12.0)
    image, units = mosaic(weights)
    assert units == [1, 0]
    zoom = 14
    assert image.shape == (2 * zoom, 3 * zoom * 2 + 3)
    assert image[::zoom, : 3 * zoom : zoom].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert np.isnan(image[:, 3 * zoom : 3 * zoom + 3]).all()
    assert image[::zoom, 3 * zoom + 3 :: zoom].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_mosaic_keeps_colour_and_limits_the_tiles() -> None:
    """Three channels stay three channels; of 130 units the 100 of largest norm are shown."""
    image, units = mosaic(image_weights(130, (2, 2, 3)))
    assert image.shape[2] == 3
    assert units == list(range(129, 29, -1))


ALL = {"progress", "loss_curves", "best_trial", "first_layer", "slice", "choice"}
DRAWN = dict.fromkeys(STUDIES, ALL - {"first_layer"}) | {
    "mixed": ALL,
    "accuracy": ALL,
    "no trial": set(),
    "all failed": set(),
    "all diverged": set(),
    "one trial": {"progress", "loss_curves", "best_trial"},
    "all pruned": {"progress", "loss_curves", "slice", "choice"},
}


@pytest.mark.parametrize("kind", STUDIES)
def test_every_kind_of_study_can_be_drawn(kind: str) -> None:
    """No study breaks a plot; without a finished trial there is no best trial, and a single value has no slice."""
    drawn = {name: figure for name, figure in draw(STUDIES[kind]).items() if figure is not None}
    assert drawn.keys() == DRAWN[kind]
    for figure in drawn.values():
        figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_fixed_hyperparameters_have_no_slice() -> None:
    """A hyperparameter that is fixed in the study file, or has one value only, is not drawn."""
    assert slice_plot(STUDIES["mixed"], "learning_rate_decay") is None
    assert slice_plot(STUDIES["mixed"], "reg", "fixed") is None


def test_legends_count_the_states() -> None:
    """The legend counts the trials of each mark, those beyond the axis, and those without a curve."""
    assert in_legend(progress(STUDIES["outlier"])) == (
        "finished (3) pruned (1) beyond the axis (1) best trial: 4 (0.3) best so far"
    )
    curves = present(loss_curves(STUDIES["outlier"]))
    assert in_legend(curves) == "finished (3) pruned (1) best trial: 4 (val_loss 0.3)"
    assert curves.axes[0].get_title(loc="right") == "not drawn: 1 diverged, 1 failed, 1 above the axis"


def test_trials_without_a_value_are_in_a_strip() -> None:
    """A diverged trial is at its learning rate, in a strip of its own."""
    strip, axes = present(slice_plot(STUDIES["mixed"], "learning_rate", "log")).axes
    assert [label.get_text() for label in strip.get_yticklabels()] == ["failed (1)", "diverged (1)"]
    trials = STUDIES["mixed"].trials.set_index("state")
    assert [float(np.asarray(line.get_xdata())[0]) for line in strip.lines] == [
        trials.loc[s, "learning_rate"] for s in ("failed", "diverged")
    ]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "learning_rate")


def test_axes_are_labelled_by_column_and_unit() -> None:
    """A hyperparameter has its column's name; a metric its name and unit."""
    for kind, label in (("mixed", "val_loss (nats)"), ("accuracy", "val_accuracy (share right)")):
        figure = present(slice_plot(STUDIES[kind], "reg", "linear"))
        assert label in {axes.get_ylabel() for axes in figure.axes}
        assert "reg" in {axes.get_xlabel() for axes in figure.axes}


def test_curves_are_whole_where_losses_fall_far() -> None:
    """A loss that falls by a factor of a million is visible from its first epoch."""
    tables = a_study(("finished", 1e-6, 30))
    falling = np.geomspace(1.0, 1e-6, 30)
    tables = dataclasses.replace(tables, curves=tables.curves.assign(train_loss=falling, val_loss=falling))
    for figure in (training_plot(tables), loss_curves(tables)):
        low, high = present(figure).axes[0].get_ylim()
        assert low < 1e-6
        assert high > 1.0


def test_names_are_not_read_as_mathematics() -> None:
    """A name with dollar signs is drawn as it is, and a long one is cut."""
    weights = table_weights([r"$\frac{$", "x" * 200], 2)
    figure = present(first_layer(a_study(("finished", 0.5, 1), weights=weights)))
    figure.savefig(io.BytesIO(), format="svg")
    assert len(figure.axes[0].get_yticklabels()[1].get_text()) == 40


def test_weights_share_one_symmetric_scale() -> None:
    """White is zero: the colour scale is symmetric."""
    for weights in (image_weights(3, (4, 4, 1)), table_weights(["a", "b"], 3)):
        figure = present(first_layer(a_study(("finished", 0.5, 1), weights=weights)))
        low, high = figure.axes[0].images[0].get_clim()
        assert low == -high < 0


def test_drawing_changes_no_settings_of_matplotlib() -> None:
    """Drawing leaves the user's style as it was."""
    before = dict(mpl.rcParams)
    draw(STUDIES["mixed"])
    assert dict(mpl.rcParams) == before


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    """Drawn again under another style of the user: the same bytes, PNG and SVG."""
    folder = a_folder(tmp_path)
    drawn = draw_all(STUDIES["mixed"], folder)
    first = {file.name: file.read_bytes() for file in folder.plots.iterdir()}
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9}):
        draw_all(STUDIES["mixed"], folder)
    assert {file.name: file.read_bytes() for file in folder.plots.iterdir()} == first
    names = ALL - {"slice", "choice"} | {"slice_learning_rate", "slice_hidden_size", "slice_reg"}
    assert drawn == {name: folder.plots / f"{name}.png" for name in drawn}
    assert set(first) == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}


def test_stale_plots_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    """A plot that the study no longer has is removed; the user's own files are not touched."""
    folder = a_folder(tmp_path)
    folder.plots.mkdir()
    for name in ("slice_reg.png", "slice_reg.svg", "mine.png", "notes.txt"):
        (folder.plots / name).write_text("x")
    assert draw_all(STUDIES["no trial"], folder) == {}
    assert {file.name for file in folder.plots.iterdir()} == {"mine.png", "notes.txt"}


def test_curves_over_folds_are_their_mean() -> None:
    """With folds, each trial is one line, the mean by epoch; without folds nothing changes."""
    tables = a_study(*MIXED)
    two = [
        tables.curves.assign(fold=fold, val_loss=tables.curves["val_loss"] * factor)
        for fold, factor in ((0, 0.5), (1, 1.5))
    ]
    folds = dataclasses.replace(tables, curves=pd.concat(two, ignore_index=True))
    mean = mean_over_folds(folds.curves)
    assert list(mean.columns) == list(tables.curves.columns)
    assert np.allclose(mean["val_loss"], tables.curves["val_loss"], equal_nan=True)
    broken = pd.concat([two[0].assign(val_loss=NAN), two[1]], ignore_index=True)
    assert mean_over_folds(broken)["val_loss"].isna().all()
    assert mean_over_folds(tables.curves) is tables.curves
    for plot in (loss_curves, training_plot):
        drawn, expected = present(plot(folds)).axes[0], present(plot(tables)).axes[0]
        assert drawn.get_ylim() == pytest.approx(expected.get_ylim())
        assert len(drawn.lines) == len(expected.lines)


def test_the_training_plot_names_winner_or_best_trial() -> None:
    """Trial 2 is the best of the search; trial 0 wins the confirmation, and then its training is drawn."""
    confirmed = a_confirmation(CLEAR)
    searched = dataclasses.replace(confirmed, confirmation=confirmed.confirmation[:0])
    for tables, title in ((searched, "Best trial of a_study, trial 2"), (confirmed, "Winner of a_study, trial 0")):
        figure = present(training_plot(tables))
        assert figure.legends[0].get_title().get_text().startswith(title)
