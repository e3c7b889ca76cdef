"""Figures from tables: how the search went, what the hyperparameters do, what the best net looks like.

Each figure function takes a study's tables and gives a matplotlib Figure, or None where the study has nothing to show
in it; none needs a display, pyplot or the user's matplotlibrc. The numbers behind them come from `summary`. `draw_all`
writes PNG and SVG files: equal tables, equal bytes.

The colours are Okabe and Ito's, which colour-blind readers can tell apart; marker and fill say the state once more.
"""

import io
import math
import textwrap
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from netcore.files import cannot_write, make_folder, write_atomically
from netcore.results.summary import (
    FloatArray,
    Scale,
    best_so_far,
    mosaic,
    ranked,
    readable_range,
    scale_of,
    winner,
)
from netcore.results.tables import StudyTables
from netcore.study.folder import StudyFolder
from netcore.study.spec import HYPERPARAMETERS

__all__ = ["best_trial", "draw_all", "first_layer", "loss_curves", "progress", "slice_plot"]


STATES: dict[str, dict[str, Any]] = {
    "finished": {"color": "#0072B2", "marker": "o", "markerfacecolor": "#0072B2"},
    "pruned": {"color": "#E69F00", "marker": "o", "markerfacecolor": "white"},
    "diverged": {"color": "#CC79A7", "marker": "X", "markerfacecolor": "#CC79A7"},
    "failed": {"color": "#000000", "marker": "P", "markerfacecolor": "#000000"},
}
"""How each state is drawn."""

BEST, INK, GREY = "#D55E00", "#222222", "#8A8A8A"

UNITS = {"loss": "loss (nats)", "accuracy": "accuracy (share right)"}
"""Axis labels with their units; `val_loss` and `val_accuracy` carry the same."""

STYLE = {
    "savefig.dpi": 150,
    "font.size": 10.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.edgecolor": "#9A9A9A",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "xtick.color": "#9A9A9A",
    "ytick.color": "#9A9A9A",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.hashsalt": "netcore",
}

_STAR: dict[str, Any] = {"color": BEST, "markersize": 16, "markeredgecolor": "white", "zorder": 5}
_styled = matplotlib.style.context(["default", STYLE])


@_styled
def loss_curves(tables: StudyTables) -> Figure | None:
    """Draw the validation loss by epoch of all finished and pruned trials, the best in bold."""
    curves = tables.curves.merge(tables.trials[["trial", "state"]], on="trial").sort_values(["trial", "epoch"])
    curves = curves[curves["state"].isin(["finished", "pruned"]) & np.isfinite(curves["val_loss"])]
    if curves.empty:
        return None
    figure = _figure()
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
    _whole_numbers(axes, "epoch", 0.5, curves["epoch"].max() + 0.5)
    low, high = readable_range(curves["val_loss"].to_numpy(), "val_loss")
    start = curves.loc[curves["epoch"] == 1, "val_loss"].median()  # where losses fall far, the way down is shown too
    _scale(axes, "y", "log", low, max(high, start))
    absent = {state: int((tables.trials["state"] == state).sum()) for state in ("diverged", "failed")}
    absent["above the axis"] = int((curves.groupby("trial")["val_loss"].min() > axes.get_ylim()[1]).sum())
    note = ", ".join(f"{count} {what}" for what, count in absent.items() if count)
    axes.set_title(f"not drawn: {note}" if note else "", loc="right", fontsize=9.5, color=GREY)
    axes.set_ylabel(f"val_{UNITS['loss']}")
    return _titled(figure, f"Validation loss by epoch: {_trials(tables)}", handles)


@_styled
def best_trial(tables: StudyTables) -> Figure | None:
    """Draw loss and accuracy of the best trial by epoch, training beside validation."""
    best = winner(tables)
    curve = tables.curves[tables.curves["trial"] == best].sort_values("epoch")
    if curve.empty:
        return None
    epoch = int(tables.trials.loc[tables.trials["trial"] == best, "best_epoch"].iloc[0])
    figure = _figure()
    for axes, what in zip(figure.subplots(1, 2), UNITS, strict=True):
        training, validation = curve[f"train_{what}"].to_numpy(), curve[f"val_{what}"].to_numpy()
        blue = STATES["finished"]["color"]
        axes.plot(curve["epoch"], training, ".-", color=GREY, linewidth=1.8, label="training")
        axes.plot(curve["epoch"], validation, ".-", color=blue, linewidth=2.2, label="validation")
        axes.axvline(epoch, color=BEST, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.plot(epoch, validation[epoch - 1], "*", **_STAR, linestyle="none", label=f"best_epoch ({epoch})")
        if what == "loss":
            losses = np.append(training, validation)
            losses = losses[losses > 0] if (losses > 0).any() else np.ones(1)
            _scale(axes, "y", "log", losses.min(), losses.max())
        _whole_numbers(axes, "epoch", 0.5, len(curve) + 0.5)
        axes.set_ylabel(UNITS[what])
    handles = figure.axes[0].get_legend_handles_labels()[0]
    return _titled(figure, f"Best trial of {tables.name} (trial {best}): training beside validation", handles)


@_styled
def first_layer(tables: StudyTables) -> Figure | None:
    """Draw W1 of the best trial: a tile for each hidden unit where the inputs are an image, else inputs by units."""
    weights = tables.weights
    if weights.empty:
        return None
    # A few large weights must not wash out the rest: the colours end where 99.5 % of the weights do.
    limit = float(weights["value"].abs().quantile(0.995)) or 1.0
    draw = _tiles if weights["row"].notna().all() else _heat_map
    figure, what = draw(weights, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"})
    return _titled(figure, f"First-layer weights (W1) of trial {weights['trial'].iloc[0]}: {what}", [])


@_styled
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
        _scale(axes, "x", scale, float(choices[0]), float(choices[-1]))
    return _titled(figure, f"{tables.metric} by {hyperparameter}: {_trials(tables)}", handles)


@_styled
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
    _whole_numbers(figure.axes[-1], "trial", numbers[0] - room, numbers[-1] + room)
    return _titled(figure, f"{tables.metric} by trial: the search of {tables.name}", handles)


def draw_all(tables: StudyTables, folder: StudyFolder) -> dict[str, Path]:
    """Write figures/<name>.png and .svg for all that the study has to show; give the PNG files by name.

    Raises:
        InputError: the folder holds no settings.
        WorkError: the system refuses.
    """
    space = folder.resolved_settings()["settings"]["space"]
    drawings = {
        "progress": partial(progress, tables),
        "loss_curves": partial(loss_curves, tables),
        "best_trial": partial(best_trial, tables),
        **{f"slice_{name}": partial(slice_plot, tables, name, scale_of(space[name])) for name in HYPERPARAMETERS},
        "first_layer": partial(first_layer, tables),
    }
    make_folder(folder.figures)
    drawn = {}
    for name, draw in drawings.items():
        figure = draw()
        if figure is not None:
            drawn[name] = folder.figures / f"{name}.png"
            write_atomically(drawn[name], _file(figure, "png"))
            write_atomically(drawn[name].with_suffix(".svg"), _file(figure, "svg"))
        else:
            for kind in ("png", "svg"):  # drawn once, and no longer to be had
                _remove(folder.figures / f"{name}.{kind}")
    return drawn


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(file, error) from error


@_styled
def _file(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Give a figure's file: no date, no version, no random names in it."""
    buffer = io.BytesIO()
    nobody = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=kind, metadata=nobody)
    return buffer.getvalue()


def _values(tables: StudyTables, x: FloatArray) -> tuple[Figure, Axes, list[Line2D]]:
    """Draw the value of each trial over x; those without one stand in a strip of their own, on the worse side."""
    value, states = tables.trials["value"].to_numpy(np.float64), tables.trials["state"].to_numpy()
    accuracy = tables.metric == "val_accuracy"
    figure = _figure()
    without = [state for state in ("failed", "diverged") if state in states]
    axes = _above_strip(figure, x, states, without, below=accuracy) if without else figure.subplots()
    _scale(axes, "y", "linear" if accuracy else "log", *readable_range(value, tables.metric))
    axes.set_ylabel(f"val_{UNITS[tables.metric.removeprefix('val_')]}")
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
        handles += axes.plot(x[best], y[best], "*", **_STAR, label=_best(tables))
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
    figure = _figure(min(0.5 + 7.9 * height / width, 7.0))
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
    names = [_plain(str(name), 40) for name in weights["input"].cat.categories]
    W1 = weights.assign(input=weights["input"].cat.codes).pivot_table("value", "input", "unit")
    figure = _figure(min(2.4 + 0.26 * len(names), 10.0))
    axes = figure.subplots()
    _colour_bar(figure, axes.imshow(W1, aspect="auto", **colours))
    axes.grid(visible=False)
    each = math.ceil(len(names) / 36)
    axes.set_yticks(range(0, len(names), each), names[::each])
    _whole_numbers(axes, "hidden unit", -0.5, W1.shape[1] - 0.5)
    axes.set_ylabel("input")
    return figure, f"{W1.shape[0]} inputs, {W1.shape[1]} hidden units"


def _colour_bar(figure: Figure, picture: AxesImage) -> None:
    bar: dict[str, Any] = {"extend": "both", "extendfrac": 0.02, "fraction": 0.03, "pad": 0.01, "aspect": 35}
    figure.colorbar(picture, ax=figure.axes[0], label="weight", **bar)


def _figure(height: float = 5.0) -> Figure:
    return Figure(figsize=(8.8, height), layout="constrained")


def _titled(figure: Figure, title: str, handles: list[Any]) -> Figure:
    """Put title and legend above the plot, where they cover nothing."""
    title = textwrap.fill(_plain(title, 200), 84)
    if handles:
        font = {"size": 12.5, "weight": "bold"}
        look = {"title": title, "title_fontproperties": font, "alignment": "left", "borderaxespad": 0.2}
        figure.legend(handles=handles, loc="outside upper left", ncols=5, columnspacing=1.4, **look)
    else:
        figure.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    return figure


def _whole_numbers(axes: Axes, label: str, low: float, high: float) -> None:
    axes.set(xlabel=label, xlim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def _scale(axes: Axes, which: Literal["x", "y"], scale: Scale, low: float, high: float) -> None:
    """Set an axis to low … high with a margin; a logarithmic one is labelled in plain numbers, like the study file."""
    if scale != "log" or high < 4 * low:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
        axes.set(**{f"{which}lim": (low - margin, high + margin)})
        return
    low, high = max(low, 1e-290), min(high, 1e290)  # room for a margin within what a float64 holds
    margin = math.exp(0.05 * (math.log(high) - math.log(low)))
    axes.set(**{f"{which}lim": (low / margin, high * margin), f"{which}scale": "log"})
    subs = [1.0] if high > 3000 * low else [1.0, 2.0, 5.0] if high > 20 * low else [1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


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


def _plain(text: str, most: int) -> str:
    """Keep matplotlib from reading a name as mathematics, and a long one from filling the figure."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")
