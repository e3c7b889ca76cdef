"""Figures from tables: how the search went, what the hyperparameters do, what the best net looks like.

Each figure function takes a study's tables and gives a matplotlib Figure, or None where the study has nothing to show
in it. The numbers behind them come from `summary`, their looks from `canvas`; `findings` draws what was made of the
search. `draw_all` writes PNG and SVG files: equal tables, equal bytes.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from netcore.files import cannot_write, make_folder, write_atomically
from netcore.question.metrics import Metric
from netcore.question.spec import HYPERPARAMETERS
from netcore.records.folder import StudyFolder
from netcore.results.canvas import (
    BEST,
    GREY,
    STAR,
    STATES,
    UNITS,
    file_of,
    new_figure,
    plain,
    set_scale,
    styled,
    titled,
    whole_numbers,
)
from netcore.results.confirmation_plots import confirmation_plot, confusion_matrix, importance_plot
from netcore.results.learned import searched_importances
from netcore.results.summary import (
    FloatArray,
    Scale,
    best_so_far,
    mean_over_folds,
    mosaic,
    ranked,
    readable_range,
    scale_of,
    winner,
)
from netcore.results.tables import StudyTables
from netcore.results.test_set import reading_of
from netcore.results.winner import chosen

__all__ = ["best_trial", "draw_all", "first_layer", "loss_curves", "progress", "slice_plot"]


@styled
def loss_curves(tables: StudyTables) -> Figure | None:
    """Draw the validation loss by epoch of all finished and pruned trials, the best in bold."""
    curves = (
        mean_over_folds(tables.curves)
        .merge(tables.trials[["trial", "state"]], on="trial")
        .sort_values(["trial", "epoch"])
    )
    curves = curves[curves["state"].isin(["finished", "pruned"]) & np.isfinite(curves["val_loss"])]
    if curves.empty:
        return None
    figure = new_figure()
    axes = figure.subplots()
    for state, rows in curves.groupby("state"):
        lines, look = _lines(rows), STATES[str(state)]
        alpha = max(0.2, min(1.0, 25 / len(lines)))
        axes.add_collection(LineCollection(lines, colors=look["color"], linewidths=1.1, alpha=alpha), autolim=False)
        ends = np.array([line[-1] for line in lines if state == "pruned" or len(line) == 1]).reshape(-1, 2)
        axes.plot(*ends.T, **look, linestyle="none", markersize=4)
    handles = [
        Line2D([], [], color=STATES[str(state)]["color"], label=f"{state} ({count})")
        for state, count in curves.groupby("state")["trial"].nunique().items()
    ]
    best = winner(tables)
    for line in _lines(curves[curves["trial"] == best]):
        handles += axes.plot(*line.T, color=BEST, linewidth=2.8, label=_best(tables, f"{tables.metric} "), zorder=4)
        axes.plot(*line[-1], "o", color=BEST, markersize=5, zorder=4)
    whole_numbers(axes, "epoch", 0.5, curves["epoch"].max() + 0.5)
    low, high = readable_range(curves["val_loss"].to_numpy(), Metric.VAL_LOSS)
    start = curves.loc[curves["epoch"] == 1, "val_loss"].median()  # where losses fall far, the way down is shown too
    set_scale(axes, "y", "log", low, max(high, start))
    absent = {state: int((tables.trials["state"] == state).sum()) for state in ("diverged", "failed")}
    absent["above the axis"] = int((curves.groupby("trial")["val_loss"].min() > axes.get_ylim()[1]).sum())
    note = ", ".join(f"{count} {what}" for what, count in absent.items() if count)
    axes.set_title(f"not drawn: {note}" if note else "", loc="right", fontsize=9.5, color=GREY)
    axes.set_ylabel(Metric.VAL_LOSS.label)
    return titled(figure, f"Validation loss by epoch: {_trials(tables)}", handles)


@styled
def best_trial(tables: StudyTables) -> Figure | None:
    """Draw loss and accuracy of the winner, confirmed or else the search's best: training beside validation."""
    best = chosen(tables)
    curve = mean_over_folds(tables.curves[tables.curves["trial"] == best]).sort_values("epoch")
    if curve.empty:
        return None
    epoch = int(tables.trials.loc[tables.trials["trial"] == best, "best_epoch"].iloc[0])
    figure = new_figure()
    for axes, what in zip(figure.subplots(1, 2), UNITS, strict=True):
        training, validation = curve[f"train_{what}"].to_numpy(), curve[f"val_{what}"].to_numpy()
        blue = STATES["finished"]["color"]
        axes.plot(curve["epoch"], training, ".-", color=GREY, linewidth=1.8, label="training")
        axes.plot(curve["epoch"], validation, ".-", color=blue, linewidth=2.2, label="validation")
        axes.axvline(epoch, color=BEST, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.plot(epoch, validation[epoch - 1], "*", **STAR, linestyle="none", label=f"best_epoch ({epoch})")
        if what == "loss":
            losses = np.append(training, validation)
            losses = losses[losses > 0] if (losses > 0).any() else np.ones(1)
            set_scale(axes, "y", "log", losses.min(), losses.max())
        whole_numbers(axes, "epoch", 0.5, len(curve) + 0.5)
        axes.set_ylabel(UNITS[what])
    handles = figure.axes[0].get_legend_handles_labels()[0]
    return titled(figure, f"Winner of {tables.name} (trial {best}): training beside validation", handles)


@styled
def first_layer(tables: StudyTables) -> Figure | None:
    """Draw W1 of the best trial: a tile for each hidden unit where the inputs are an image, else inputs by units."""
    weights = tables.weights
    if weights.empty:
        return None
    # A few large weights must not wash out the rest: the colours end where 99.5 % of the weights do.
    limit = float(weights["value"].abs().quantile(0.995)) or 1.0
    draw = _tiles if weights["row"].notna().all() else _heat_map
    figure, what = draw(weights, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"})
    return titled(figure, f"First-layer weights (W1) of trial {weights['trial'].iloc[0]}: {what}", [])


@styled
def slice_plot(tables: StudyTables, hyperparameter: str, scale: Scale | None = None) -> Figure | None:
    """Draw the value of every trial over a hyperparameter; without the study file's `scale` the values suggest one."""
    x = tables.trials[hyperparameter].to_numpy(np.float64)
    choices = np.unique(x)
    if scale == "fixed" or len(choices) < 2 or not np.isfinite(tables.trials["value"]).any():  # noqa: PLR2004
        return None
    scale = scale or ("log" if x.min() > 0 and x.max() >= 10 * x.min() else "linear")
    if scale == "choice":
        # Trials of one choice lie side by side, spread by the golden ratio: evenly, without a random number.
        x = np.searchsorted(choices, x) + 0.5 * (tables.trials["trial"].to_numpy() * 0.618034 % 1 - 0.5)
    figure, axes, handles = _values(tables, x)
    figure.axes[-1].set_xlabel(hyperparameter)
    if scale == "choice":
        axes.set_xticks(range(len(choices)), [f"{choice:g}" for choice in choices])
        axes.set_xlim(-0.5, len(choices) - 0.5)
        axes.grid(visible=False, axis="x")
    else:
        set_scale(axes, "x", scale, float(choices[0]), float(choices[-1]))
    return titled(figure, f"{tables.metric} by {hyperparameter}: {_trials(tables)}", handles)


@styled
def progress(tables: StudyTables) -> Figure | None:
    """Draw the value of every trial by its number, and the best so far as a step line."""
    if not np.isfinite(tables.trials["value"]).any():
        return None
    figure, axes, handles = _values(tables, tables.trials["trial"].to_numpy(np.float64))
    numbers = np.sort(tables.trials["trial"])
    if winner(tables) is not None:
        best = np.clip(best_so_far(tables), *axes.get_ylim())
        handles += axes.step(numbers, best, where="post", color=BEST, linewidth=1.8, label="best so far", zorder=1.5)
    room = 0.5 + 0.02 * len(numbers)
    whole_numbers(figure.axes[-1], "trial", numbers[0] - room, numbers[-1] + room)
    return titled(figure, f"{tables.metric} by trial: the search of {tables.name}", handles)


def draw_all(tables: StudyTables, folder: StudyFolder) -> dict[str, Path]:
    """Write plots/<name>.png and .svg for all that the study has to show; give the PNG files by name.

    Raises:
        InputError: the folder holds no settings.
        WorkError: the system refuses.
    """
    resolved = folder.resolved_settings()
    space, classes = resolved["settings"]["space"], resolved["data"]["class_names"]
    drawings = {
        "loss_curves": partial(loss_curves, tables),
        "best_trial": partial(best_trial, tables),
        "first_layer": partial(first_layer, tables),
        **{f"slice_{name}": partial(slice_plot, tables, name, scale_of(space[name])) for name in HYPERPARAMETERS},
        "importance": partial(importance_plot, searched_importances(tables, resolved["settings"]), tables),
        "progress": partial(progress, tables),
        "confirmation": partial(confirmation_plot, tables),
        "confusion": partial(confusion_matrix, reading_of(tables, folder.test_figures(), classes), tables.name),
    }
    make_folder(folder.plots)
    drawn = {}
    for name, draw in drawings.items():
        figure = draw()
        if figure is not None:
            drawn[name] = folder.plots / f"{name}.png"
            write_atomically(drawn[name], file_of(figure, "png"))
            write_atomically(drawn[name].with_suffix(".svg"), file_of(figure, "svg"))
        else:
            for kind in ("png", "svg"):  # drawn once, and no longer to be had
                _remove(folder.plots / f"{name}.{kind}")
    return drawn


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(file, error) from error


def _values(tables: StudyTables, x: FloatArray) -> tuple[Figure, Axes, list[Line2D]]:
    """Draw the value of each trial over x; those without one stand in a strip of their own, on the worse side."""
    value, states = tables.trials["value"].to_numpy(np.float64), tables.trials["state"].to_numpy()
    accuracy = tables.metric is Metric.VAL_ACCURACY
    figure = new_figure()
    without = [state for state in ("failed", "diverged") if state in states]
    axes = _above_strip(figure, x, states, without, below=accuracy) if without else figure.subplots()
    set_scale(axes, "y", "linear" if accuracy else "log", *readable_range(value, tables.metric))
    axes.set_ylabel(tables.metric.label)
    y = np.clip(value, *axes.get_ylim())
    beyond = y != value
    edge: dict[str, Any] = {"marker": "v" if accuracy else "^", "markersize": 9, "linestyle": "none", "clip_on": False}
    handles: list[Line2D] = []
    for state in (state for state in ("finished", "pruned") if state in states):
        here, look = states == state, STATES[state]
        label = f"{state} ({here.sum()})"
        dots = {**look, "markersize": 6, "markeredgewidth": 1.3, "linestyle": "none", "alpha": 0.85}
        handles += axes.plot(x[here & ~beyond], y[here & ~beyond], **dots, label=label)
        if (here & beyond).any():
            axes.plot(x[here & beyond], y[here & beyond], **{**look, **edge})
    if (off := beyond & np.isfinite(value)).any():
        handles.append(Line2D([], [], color=GREY, **edge, label=f"beyond the axis ({off.sum()})"))
    best = tables.trials["trial"].to_numpy() == winner(tables)
    if best.any():
        handles += axes.plot(x[best], y[best], "*", **STAR, label=_best(tables))
    return figure, axes, handles


def _above_strip(figure: Figure, x: FloatArray, states: Any, without: list[str], *, below: bool) -> Axes:  # noqa: ANN401
    """Draw the strip of the states without a value and give the axes beside it."""
    heights = [len(without), 12]
    panels: Any = figure.subplots(2, 1, sharex=True, height_ratios=heights[::-1] if below else heights)
    axes: Axes
    axes, strip = panels if below else panels[::-1]
    strip.set_yticks(range(len(without)), [f"{state} ({(states == state).sum()})" for state in without])
    strip.set_ylim(-0.6, len(without) - 0.4)
    strip.spines[["left", "bottom"]].set_visible(False)
    strip.tick_params(length=0)
    for place, state in enumerate(without):
        at = x[states == state]
        strip.plot(at, np.full(len(at), place), **STATES[state], markersize=7, markeredgewidth=0, linestyle="none")
    return axes


def _tiles(weights: pd.DataFrame, colours: dict[str, Any]) -> tuple[Figure, str]:
    tiles, units = mosaic(weights), weights["unit"].nunique()
    height, width = tiles.image.shape[:2]
    figure = new_figure(min(0.5 + 7.9 * height / width, 7.0))
    axes = figure.subplots()
    axes.set_axis_off()
    what = (
        f"{len(tiles.units)} of {units} hidden units"
        if len(tiles.units) < units
        else f"{units} hidden unit{'s' if units > 1 else ''}"
    )
    if tiles.image.ndim == 2:  # noqa: PLR2004  # no colour channels
        _colour_bar(figure, axes.imshow(np.ma.masked_invalid(tiles.image), **colours))
        return figure, f"{what}, largest norm first"
    axes.imshow(np.nan_to_num(np.clip(0.5 + tiles.image / (2 * colours["vmax"]), 0, 1), nan=1.0))
    return figure, f"{what}, largest norm first; grey is 0, full colour ±{colours['vmax']:.3g}"


def _heat_map(weights: pd.DataFrame, colours: dict[str, Any]) -> tuple[Figure, str]:
    names = [plain(str(name), 40) for name in weights["input"].cat.categories]
    W1 = weights.assign(input=weights["input"].cat.codes).pivot_table("value", "input", "unit")
    figure = new_figure(min(2.4 + 0.26 * len(names), 10.0))
    axes = figure.subplots()
    _colour_bar(figure, axes.imshow(W1, aspect="auto", **colours))
    axes.grid(visible=False)
    each = math.ceil(len(names) / 36)
    axes.set_yticks(range(0, len(names), each), names[::each])
    whole_numbers(axes, "hidden unit", -0.5, W1.shape[1] - 0.5)
    axes.set_ylabel("input")
    return figure, f"{W1.shape[0]} inputs, {W1.shape[1]} hidden units"


def _colour_bar(figure: Figure, picture: AxesImage) -> None:
    bar: dict[str, Any] = {"extend": "both", "extendfrac": 0.02, "fraction": 0.03, "pad": 0.01, "aspect": 35}
    figure.colorbar(picture, ax=figure.axes[0], label="weight", **bar)


def _lines(curves: pd.DataFrame) -> list[FloatArray]:
    """Split curves, sorted by trial, into one array of shape (epochs, 2) each."""
    points = curves[["epoch", "val_loss"]].to_numpy(np.float64)
    return np.split(points, np.flatnonzero(np.diff(curves["trial"])) + 1) if len(points) else []


def _trials(tables: StudyTables) -> str:
    number = len(tables.trials)
    return f"{number} trial{'' if number == 1 else 's'} of {tables.name}"


def _best(tables: StudyTables, metric: str = "") -> str:
    best = ranked(tables).iloc[0]
    return f"best: trial {best['trial']} ({metric}{best['value']:.4g})"
