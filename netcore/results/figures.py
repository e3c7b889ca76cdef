"""Figures from tables: what was tried, what came of it, what the best net looks like.

Compute, then draw. `ranked`, `best_so_far`, `readable_range`, `scale_of` and `mosaic` give numbers; each other function
takes a study's tables and gives a matplotlib Figure, or None where the study has nothing to show in it. No figure needs
a display, pyplot or the user's matplotlibrc. `draw_all` writes them as PNG and SVG: equal tables, equal bytes.

Blue, orange, purple and black (Okabe and Ito) can be told apart by colour-blind readers; marker and fill repeat the state.
"""

import io
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from netcore.errors import WorkError
from netcore.files import cannot_write, make_folder, write_atomically
from netcore.results.tables import StudyTables
from netcore.study.folder import StudyFolder
from netcore.study.spec import HYPERPARAMETERS

__all__ = [
    "Mosaic",
    "best_so_far",
    "best_trial",
    "draw_all",
    "first_layer",
    "loss_curves",
    "mosaic",
    "progress",
    "ranked",
    "readable_range",
    "scale_of",
    "slice_plot",
    "winner",
]

FloatArray = NDArray[np.float64]
Scale = Literal["log", "linear", "choice", "fixed"]

STATES = {"finished": ("#0072B2", "o"), "pruned": ("#E69F00", "o"), "diverged": ("#A8538A", "X"), "failed": ("#000000", "P")}
"""Colour and marker of each state, the best state first; a pruned trial's marker is hollow."""
BEST, INK, GREY = "#D55E00", "#222222", "#8A8A8A"
LABELS = {
    "val_loss": "val_loss (nats)",
    "val_accuracy": "val_accuracy (share right)",
    "loss": "loss (nats)",
    "accuracy": "accuracy (share right)",
}
"""Axis labels that need more than the column's name."""

STYLE = {
    "figure.figsize": (8.8, 5.0),
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.edgecolor": "#9A9A9A",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "xtick.color": "#9A9A9A",
    "ytick.color": "#9A9A9A",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "svg.hashsalt": "netcore",
}

_styled = cast("ContextDecorator", matplotlib.style.context(["default", STYLE]))


class Mosaic(NamedTuple):
    """First-layer weights as one picture."""

    image: FloatArray
    """Tiles side by side, NaN between them: shape (height, width), or (height, width, 3) for colour."""
    units: list[int]
    """Which hidden units are shown, by rows; those with the largest weights first."""


def ranked(tables: StudyTables) -> pd.DataFrame:
    """Give the trials, the best first: finished before pruned before diverged before failed, the earlier of equals first."""
    order = {state: place for place, state in enumerate(STATES)}
    trials = tables.trials.assign(order=tables.trials["state"].map(order))
    more_is_better = tables.metric == "val_accuracy"
    return trials.sort_values(["order", "value", "trial"], ascending=[True, not more_is_better, True]).drop(columns="order")


def winner(tables: StudyTables) -> int | None:
    """Give the number of the best trial; only finished trials can win."""
    trials = ranked(tables)
    wins = len(trials) > 0 and trials["state"].iloc[0] == "finished"
    return int(trials["trial"].iloc[0]) if wins else None


def best_so_far(tables: StudyTables) -> FloatArray:
    """Give, for each trial in the order of the numbers, the best value of the finished ones up to it; NaN before the first."""
    trials = tables.trials.sort_values("trial")
    value = np.where(trials["state"] == "finished", trials["value"], np.nan)
    best: FloatArray = (np.fmax if tables.metric == "val_accuracy" else np.fmin).accumulate(value)
    return best


def readable_range(values: FloatArray, metric: str) -> tuple[float, float]:
    """Give the range of values in which the good trials can be told apart; what lies beyond is drawn at its edge.

    A loss may reach 100 times the lower quartile. An accuracy may fall short of the best by ten times as much as the
    median does, and by 0.2 in any case.
    """
    values = values[np.isfinite(values)]
    if metric == "val_accuracy":
        best = float(values.max())
        room = max(10 * (best - float(np.median(values))), 0.2)
        return max(float(values.min()), best - room), best
    values = values[values > 0]  # the axis is logarithmic
    if not values.size:
        return 1e-3, 1.0
    return float(values.min()), min(float(values.max()), 100 * float(np.quantile(values, 0.25)))


def scale_of(setting: object) -> Scale:
    """Say how a hyperparameter's axis is scaled, from its setting in the study file's [space]."""
    if isinstance(setting, dict):
        return "log" if setting["log"] else "linear"
    return "choice" if isinstance(setting, list | tuple) else "fixed"


def mosaic(weights: pd.DataFrame, most: int = 100) -> Mosaic:
    """Lay out the weights of an image's pixels as tiles, one for each hidden unit, at most `most` of them."""
    shape = tuple(int(weights[axis].max()) + 1 for axis in ("unit", "row", "column", "channel"))
    W1 = np.full(shape, np.nan)
    W1[tuple(weights[axis].to_numpy(np.int64) for axis in ("unit", "row", "column", "channel"))] = weights["value"]
    units = np.argsort(-np.nansum(W1**2, axis=(1, 2, 3)), kind="stable")[:most]
    across = math.ceil(math.sqrt(1.6 * len(units) * shape[1] / shape[2]))
    down = math.ceil(len(units) / across)
    zoom = math.ceil(40 / max(shape[1:3]))  # so that the gap is thin beside a tile of few pixels
    tiles = W1[units].repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = tiles.shape[1] + 3, tiles.shape[2] + 3
    image = np.full((down * height - 3, across * width - 3, shape[3]), np.nan)
    for place, tile in enumerate(tiles):
        top, left = place // across * height, place % across * width
        image[top : top + height - 3, left : left + width - 3] = tile
    return Mosaic(image if shape[3] == 3 else np.nanmean(image, axis=2) if shape[3] > 1 else image[..., 0], units.tolist())


@_styled
def loss_curves(tables: StudyTables) -> Figure | None:
    """Draw the validation loss by epoch of all finished and pruned trials, the best in bold."""
    curves = tables.curves.merge(tables.trials[["trial", "state"]], on="trial").sort_values(["trial", "epoch"])
    curves = curves[curves["state"].isin(["finished", "pruned"]) & np.isfinite(curves["val_loss"])]
    if curves.empty:
        return None
    figure, axes = _figure(f"Validation loss by epoch: {_count(len(tables.trials), 'trial')} of {tables.name}")
    ends = curves.groupby("trial")["val_loss"].last().to_numpy()
    high = max(readable_range(ends, "val_loss")[1], float(curves.loc[curves["epoch"] == 1, "val_loss"].quantile(0.75)))
    _set_scale(axes.yaxis, "log", float(curves["val_loss"][curves["val_loss"] > 0].min()), high)
    alpha = min(1.0, max(0.15, 25 / len(ends)))
    for state in ("finished", "pruned"):
        colour = STATES[state][0]
        lines = _lines(curves[curves["state"] == state])
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.0, alpha=alpha), autolim=False)
        last = np.array([line[-1] for line in lines]).reshape(-1, 2)
        face = colour if state == "finished" else "white"
        axes.plot(*last.T, "o", color=colour, markerfacecolor=face, markersize=3.5, markeredgewidth=0.9)
    handles = [Line2D([], [], color=STATES[s][0], label=f"{s} ({n})") for s, n in curves.groupby("state")["trial"].nunique().items()]
    best = winner(tables)
    if best is not None:
        line = _lines(curves[curves["trial"] == best])[0]
        handles += axes.plot(*line.T, color=BEST, linewidth=2.6, label=f"best: trial {best}, val_loss {line[:, 1].min():.4g}", zorder=4)
        axes.plot(*line[-1], "o", color=BEST, markersize=5, zorder=4)
    states = tables.trials["state"].value_counts()
    absent = " and ".join(f"{states[state]} {state}" for state in ("diverged", "failed") if state in states)
    handles += [Line2D([], [], linestyle="none", label=f"not drawn: {absent}")] if absent else []
    axes.set(xlabel="epoch", ylabel=LABELS["val_loss"], xlim=(0.5, curves["epoch"].max() + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes, handles)
    return figure


@_styled
def best_trial(tables: StudyTables) -> Figure | None:
    """Draw loss and accuracy of the best trial by epoch, training beside validation."""
    best = winner(tables)
    curve = tables.curves[tables.curves["trial"] == best].sort_values("epoch")
    if curve.empty:
        return None
    trial = tables.trials.set_index("trial").loc[best]
    figure = _blank(f"Best trial of {tables.name}: trial {best}, {tables.metric} {trial['value']:.4g} at epoch {trial['best_epoch']}")
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        both = curve[[f"train_{what}", f"val_{what}"]].to_numpy()
        axes.plot(curve["epoch"], both[:, 0], color=GREY, linewidth=1.8, marker=".", label="training")
        axes.plot(curve["epoch"], both[:, 1], color=STATES["finished"][0], linewidth=2.2, marker=".", label="validation")
        axes.axvline(trial["best_epoch"], color=BEST, linewidth=1.2, linestyle=(0, (4, 3)), label=f"best_epoch ({trial['best_epoch']})")
        axes.plot(trial["best_epoch"], trial[f"val_{what}"], "*", color=BEST, markersize=13, markeredgecolor="white", zorder=4)
        if what == "loss" and (both > 0).any():
            _set_scale(axes.yaxis, "log", float(both[both > 0].min()), float(np.nanmax(both)))
        axes.set(xlabel="epoch", ylabel=LABELS[what])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure.axes[0], figure.axes[0].get_legend_handles_labels()[0])
    return figure


@_styled
def first_layer(tables: StudyTables) -> Figure | None:
    """Draw W1 of the best trial: a tile for each hidden unit where the inputs are an image, else inputs by units."""
    weights = tables.weights
    if weights.empty:
        return None
    limit = float(weights["value"].abs().quantile(0.995)) or 1.0  # a few large weights must not wash out the rest
    colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    units = int(weights["unit"].max()) + 1
    title = f"First-layer weights (W1) of trial {weights['trial'].iloc[0]}"
    if weights["row"].notna().all():
        tiles = mosaic(weights)
        which = f"all {units}" if len(tiles.units) == units else f"{len(tiles.units)} of {units}"
        figure, axes = _figure(f"{title}: {which} hidden units, largest norm first", height=6.2)
        image = tiles.image if tiles.image.ndim == 2 else np.nan_to_num(np.clip(0.5 + tiles.image / (2 * limit), 0, 1), nan=1.0)
        picture = axes.imshow(np.ma.masked_invalid(image), **colours)
        axes.set_axis_off()
        if tiles.image.ndim == 3:
            axes.set_title(f"grey is 0; a channel is dark at {-limit:.3g}, bright at {limit:.3g}", loc="left")
            return figure
    else:
        names = [_plain(str(name)) for name in weights["input"].cat.categories]
        figure, axes = _figure(f"{title}: {len(names)} inputs, {units} hidden units", height=min(2.4 + 0.26 * len(names), 10.0))
        W1 = weights.assign(input=weights["input"].cat.codes).pivot_table(index="input", columns="unit", values="value").to_numpy()
        picture = axes.imshow(W1, aspect="auto", **colours)
        each = math.ceil(len(names) / 36)
        axes.set_yticks(range(0, len(names), each), names[::each])
        axes.set(xlabel="hidden unit", ylabel="input")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False)
    figure.colorbar(picture, ax=axes, label="weight", extend="both", fraction=0.04, pad=0.02)
    return figure


@_styled
def slice_plot(tables: StudyTables, hyperparameter: str, scale: Scale | None = None) -> Figure | None:
    """Draw the value of every trial over one hyperparameter; `scale` is that of the study file, else read off the values."""
    x = tables.trials[hyperparameter].to_numpy(np.float64)
    scale = scale or ("log" if len(x) and x.min() > 0 and x.max() >= 10 * x.min() else "linear")
    choices = np.unique(x)
    if scale == "fixed" or len(choices) < 2:
        return None
    if scale == "choice":
        # Trials of one choice lie side by side: spread by the golden ratio, which is even and not random.
        x = np.searchsorted(choices, x) + 0.5 * (tables.trials["trial"].to_numpy() * 0.6180339887 % 1 - 0.5)
    drawn = _values(tables, x, f"{tables.metric} by {hyperparameter}: {_count(len(x), 'trial')} of {tables.name}")
    if drawn is None:
        return None
    figure, axes = drawn
    axes.set_xlabel(hyperparameter)
    if scale == "choice":
        axes.set_xticks(range(len(choices)), [f"{choice:g}" for choice in choices])
        axes.set_xlim(-0.6, len(choices) - 0.4)
        axes.grid(visible=False, axis="x")
    else:
        _set_scale(axes.xaxis, scale, float(choices[0]), float(choices[-1]))
    return figure


@_styled
def progress(tables: StudyTables) -> Figure | None:
    """Draw the value of every trial by its number, and the best so far as a step line."""
    drawn = _values(tables, tables.trials["trial"].to_numpy(np.float64), f"{tables.metric} by trial: the search of {tables.name}")
    if drawn is None:
        return None
    figure, axes = drawn
    numbers = np.sort(tables.trials["trial"].to_numpy())
    low, high = readable_range(tables.trials["value"].to_numpy(np.float64), tables.metric)
    handles = axes.step(numbers, np.clip(best_so_far(tables), low, high), where="post", color=BEST, linewidth=1.8, label="best so far")
    axes.set(xlabel="trial", xlim=(numbers[0] - 0.02 * len(numbers) - 0.5, numbers[-1] + 0.02 * len(numbers) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend = figure.axes[0].get_legend()
    _legend(figure.axes[0], [*(legend.legend_handles if legend else []), *handles])
    return figure


def draw_all(tables: StudyTables, folder: StudyFolder) -> dict[str, Path]:
    """Write figures/<name>.png and .svg for all that the study has to show, and give the PNG files by name.

    Raises:
        InputError: the folder holds no settings.
        WorkError: the system refuses.
    """
    space = folder.resolved_settings()["settings"]["space"]
    drawings: dict[str, Callable[[], Figure | None]] = {
        "progress": lambda: progress(tables),
        "loss_curves": lambda: loss_curves(tables),
        "best_trial": lambda: best_trial(tables),
        **{f"slice_{name}": lambda name=name: slice_plot(tables, name, scale_of(space[name])) for name in HYPERPARAMETERS},  # type: ignore[misc]
        "first_layer": lambda: first_layer(tables),
    }
    make_folder(folder.figures)
    drawn = {}
    for name, draw in drawings.items():
        if figure := draw():
            drawn[name] = folder.figures / f"{name}.png"
            write_atomically(drawn[name], _render(figure, "png"))
            write_atomically(drawn[name].with_suffix(".svg"), _render(figure, "svg"))
    for file in folder.figures.iterdir():
        if file.suffix in {".png", ".svg"} and file.stem not in drawn:
            try:
                file.unlink()
            except OSError as error:
                raise cannot_write(file, error) from error
    return drawn


@_styled
def _render(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Give a figure's file: no date, no version, no random names in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Software": None} if kind == "png" else {"Date": None, "Creator": None})
    return buffer.getvalue()


def _values(tables: StudyTables, x: FloatArray, title: str) -> tuple[Figure, Axes] | None:
    """Draw the value of each trial over x; trials without a value stand in a strip of their own, on the side of the worse."""
    trials, more_is_better = tables.trials, tables.metric == "val_accuracy"
    value, states = trials["value"].to_numpy(np.float64), trials["state"].to_numpy()
    if not np.isfinite(value).any():
        return None
    without = [state for state in ("failed", "diverged") if (states == state).any()]
    figure = _blank(title)
    if without:
        ratios = [12, len(without)] if more_is_better else [len(without), 12]
        panels = figure.subplots(2, 1, sharex=True, height_ratios=ratios)
        axes, strip = panels if more_is_better else panels[::-1]
        strip.set_yticks(range(len(without)), [f"{state} ({(states == state).sum()})" for state in without])
        strip.set_ylim(-0.6, len(without) - 0.4)
        strip.spines[["left", "bottom"]].set_visible(False)
        strip.tick_params(length=0, axis="y")
        for y, state in enumerate(without):
            colour, marker = STATES[state]
            strip.plot(x[states == state], np.full((states == state).sum(), y), marker, color=colour, markersize=6, linestyle="none", alpha=0.8)
    else:
        axes = figure.subplots()
    low, high = readable_range(value, tables.metric)
    _set_scale(axes.yaxis, "linear" if more_is_better else "log", low, high)
    axes.set_ylabel(LABELS[tables.metric])
    y = np.clip(value, low, high)
    beyond = np.isfinite(value) & (y != value)
    handles = []
    for state in ("finished", "pruned"):
        which, colour = (states == state) & ~beyond, STATES[state][0]
        face = colour if state == "finished" else "white"
        dots = axes.plot(x[which], y[which], "o", color=colour, markerfacecolor=face, markersize=6, alpha=0.8, label=f"{state} ({(states == state).sum()})")
        outside = (states == state) & beyond
        axes.plot(x[outside], y[outside], "v" if more_is_better else "^", color=colour, markerfacecolor=face, markersize=8, clip_on=False)
        handles += dots if (states == state).any() else []
    if beyond.any():
        worst = np.nanmin(value) if more_is_better else np.nanmax(value)
        text = f"beyond the axis ({beyond.sum()}, up to {worst:.3g})" if not more_is_better else f"below the axis ({beyond.sum()}, down to {worst:.3g})"
        handles.append(Line2D([], [], linestyle="none", marker="v" if more_is_better else "^", color=GREY, markersize=8, label=text))
    best = winner(tables)
    if best is not None:
        which = trials["trial"].to_numpy() == best
        handles += axes.plot(x[which], y[which], "*", color=BEST, markersize=17, markeredgecolor="white", label=f"best: trial {best} ({value[which][0]:.4g})", zorder=5)
    _legend(figure.axes[0], handles)
    return figure, axes


def _blank(title: str, height: float = 5.0) -> Figure:
    figure = Figure(figsize=(8.8, height), layout="constrained")
    figure.suptitle(_plain(title), x=0.012, ha="left", fontsize=12.5, fontweight="bold", color=INK)
    return figure


def _figure(title: str, height: float = 5.0) -> tuple[Figure, Axes]:
    figure = _blank(title, height)
    return figure, figure.subplots()


def _legend(axes: Axes, handles: list[Any]) -> None:
    """Put the legend between title and plot, where it covers nothing."""
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.3, columnspacing=1.6, handletextpad=0.5, borderpad=0)


def _set_scale(axis: Axis, scale: Scale, low: float, high: float) -> None:
    """Set an axis to low … high with a margin; logarithmic ones are labelled in plain numbers, like the study file."""
    set_limits = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    if scale != "log" or high < 2 * low:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
        set_limits(low - margin, high + margin)
        return
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    decades = math.log10(high / low)
    margin = (high / low) ** 0.05
    set_limits(low / margin, high * margin)
    axis.set_major_locator(LogLocator(subs=[1.0] if decades > 3.5 else [1.0, 2.0, 5.0] if decades > 0.8 else list(np.arange(1.0, 10.0))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _lines(curves: pd.DataFrame) -> list[FloatArray]:
    """Split curves that are sorted by trial into one (epochs, 2) array each."""
    points = curves[["epoch", "val_loss"]].to_numpy(np.float64)
    starts = np.flatnonzero(np.diff(curves["trial"].to_numpy())) + 1
    return np.split(points, starts) if len(points) else []


def _plain(text: str) -> str:
    """Keep matplotlib from reading a name as mathematics, and a long one from filling the figure."""
    return (text if len(text) <= 90 else f"{text[:89]}…").replace("$", r"\$")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
