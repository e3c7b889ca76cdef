"""Plots of the search: learning curves, values by trial and by hyperparameter, importance.

Each function takes a study's tables and returns a matplotlib Figure, or None if the study has nothing to show in it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from netcore.question.metrics import Metric
from netcore.results import canvas
from netcore.results.tables import StudyTables, mean_over_folds
from netcore.search.importance import Importance


@canvas.styled
def loss_curves(tables: StudyTables) -> Figure | None:
    """Draw the validation loss (nats) by epoch of all finished and pruned trials, the best in bold.

    With folds, a curve is the mean over the folds. A ring is the epoch at which a trial was pruned.
    """
    curves = mean_over_folds(tables.curves).merge(tables.trials[["trial", "state"]], on="trial")
    curves = curves[curves["state"].isin(["finished", "pruned"]) & np.isfinite(curves["val_loss"])]
    curves = curves.sort_values(["trial", "epoch"])
    if curves.empty:
        return None
    figure = canvas.new_figure()
    axes = figure.subplots()
    for state, rows in curves.groupby("state"):
        lines, look = _lines(rows), canvas.STATES[str(state)]
        alpha = max(0.2, min(1.0, 25 / len(lines)))
        axes.add_collection(LineCollection(lines, colors=look["color"], linewidths=1.1, alpha=alpha), autolim=False)
        ends = np.array([line[-1] for line in lines if state == "pruned" or len(line) == 1]).reshape(-1, 2)
        axes.plot(*ends.T, **look, linestyle="none", markersize=4)
        axes.plot([], [], color=look["color"], label=f"{state} ({len(lines)})")
    look = {"color": canvas.BEST, "zorder": 4}
    for line in _lines(curves[curves["trial"] == tables.best_trial()]):
        axes.plot(*line.T, **look, linewidth=2.8, label=_best(tables, f"{tables.metric} "))
        axes.plot(*line[-1], "o", **look, markersize=5)
    canvas.whole_numbers(axes, "epoch", 0.5, curves["epoch"].max() + 0.5)
    low, high = canvas.readable_range(curves["val_loss"].to_numpy(), Metric.VAL_LOSS)
    start = curves.loc[curves["epoch"] == 1, "val_loss"].median()  # show the whole fall of the losses, however far
    canvas.set_scale(axes, "y", "log", low, max(high, start))
    absent = {state: int((tables.trials["state"] == state).sum()) for state in ("diverged", "failed")}
    absent["above the axis"] = int((curves.groupby("trial")["val_loss"].min() > axes.get_ylim()[1]).sum())
    note = ", ".join(f"{count} {what}" for what, count in absent.items() if count)
    axes.set_title(f"not drawn: {note}" if note else "", loc="right", fontsize=9.5, color=canvas.GREY)
    axes.set_ylabel(Metric.VAL_LOSS.label)
    return canvas.titled(figure, f"Validation loss by epoch: {_trials(tables)}")


@canvas.styled
def slice_plot(tables: StudyTables, hyperparameter: str, scale: canvas.Scale | None = None) -> Figure | None:
    """Draw the value of every trial over a hyperparameter; without a `scale` the values determine one."""
    x = tables.trials[hyperparameter].to_numpy(np.float64)
    choices = np.unique(x)
    if scale == "fixed" or len(choices) < 2 or not np.isfinite(tables.trials["value"]).any():  # noqa: PLR2004
        return None
    scale = scale or ("log" if x.min() > 0 and x.max() >= 10 * x.min() else "linear")
    if scale == "choice":
        # Trials of one choice are spread sideways by the golden ratio: evenly, without a random number.
        x = np.searchsorted(choices, x) + 0.5 * (tables.trials["trial"].to_numpy() * 0.618034 % 1 - 0.5)
    figure, axes = _values(tables, x)
    figure.axes[-1].set_xlabel(hyperparameter)
    if scale == "choice":
        axes.set_xticks(range(len(choices)), [f"{choice:g}" for choice in choices])
        axes.set_xlim(-0.5, len(choices) - 0.5)
        axes.grid(visible=False, axis="x")
    else:
        canvas.set_scale(axes, "x", scale, float(choices[0]), float(choices[-1]))
    return canvas.titled(figure, f"{tables.metric} by {hyperparameter}: {_trials(tables)}")


@canvas.styled
def progress(tables: StudyTables) -> Figure | None:
    """Draw the value of every trial by its number, and the best value so far as a step line."""
    if not np.isfinite(tables.trials["value"]).any():
        return None
    figure, axes = _values(tables, tables.trials["trial"].to_numpy(np.float64))
    numbers = np.sort(tables.trials["trial"])
    if tables.best_trial() is not None:
        best = np.clip(tables.best_so_far(), *axes.get_ylim())
        look: dict[str, Any] = {"color": canvas.BEST, "linewidth": 1.8, "zorder": 1.5}
        axes.step(numbers, best, where="post", **look, label="best so far")
    room = 0.5 + 0.02 * len(numbers)
    canvas.whole_numbers(figure.axes[-1], "trial", numbers[0] - room, numbers[-1] + room)
    return canvas.titled(figure, f"{tables.metric} by trial: the search of {tables.name}")


@canvas.styled
def importance_plot(importances: Mapping[str, Importance], tables: StudyTables) -> Figure | None:
    """Draw the importance of each hyperparameter with its bootstrap interval; both are shares, 0 to 1."""
    if not importances:
        return None
    figure = canvas.new_figure(1.6 + 0.45 * len(importances))
    axes, blue = figure.subplots(), canvas.STATES["finished"]["color"]
    for place, (share, low, high) in enumerate(importances.values()):
        axes.plot([low, high], [place, place], color=blue, linewidth=2.4, alpha=0.55, solid_capstyle="butt")
        axes.plot(share, place, "o", color=blue, markersize=9)
    canvas.label_rows(axes, list(importances))
    axes.set(xlim=(0, 1), xlabel="importance (shares of all searched hyperparameters)")
    finished = int((tables.trials["state"] == "finished").sum())
    title = f"Hyperparameter importance, {finished} finished trials of {tables.name}: share and 95 % interval"
    return canvas.titled(figure, title)


def _values(tables: StudyTables, x: canvas.FloatArray) -> tuple[Figure, Axes]:
    """Draw the value of each trial over x; trials without a value are in a strip of their own, on the worse side."""
    value, states = tables.trials["value"].to_numpy(np.float64), tables.trials["state"].to_numpy()
    accuracy = tables.metric is Metric.VAL_ACCURACY
    figure = canvas.new_figure()
    axes = _beside_strip(figure, x, states, below=accuracy)
    canvas.set_scale(axes, "y", "linear" if accuracy else "log", *canvas.readable_range(value, tables.metric))
    axes.set_ylabel(tables.metric.label)
    y = np.clip(value, *axes.get_ylim())
    beyond = y != value
    edge: dict[str, Any] = {"marker": "v" if accuracy else "^", "markersize": 9, "linestyle": "none"}
    for state in (state for state in ("finished", "pruned") if state in states):
        here, look = states == state, canvas.STATES[state]
        dots = {**look, "markersize": 6, "markeredgewidth": 1.3, "linestyle": "none", "alpha": 0.85}
        axes.plot(x[here & ~beyond], y[here & ~beyond], **dots, label=f"{state} ({here.sum()})")
        if (here & beyond).any():
            axes.plot(x[here & beyond], y[here & beyond], **{**look, **edge}, clip_on=False)
    if (off := beyond & np.isfinite(value)).any():
        axes.plot([], [], color=canvas.GREY, **edge, label=f"beyond the axis ({off.sum()})")
    best = tables.trials["trial"].to_numpy() == tables.best_trial()
    if best.any():
        axes.plot(x[best], y[best], "*", **canvas.STAR, label=_best(tables))
    return figure, axes


def _beside_strip(figure: Figure, x: canvas.FloatArray, states: NDArray[np.object_], *, below: bool) -> Axes:
    """Draw a strip of the states without a value, if there are any, and return the main axes."""
    without = [state for state in ("failed", "diverged") if state in states]
    if not without:
        return figure.subplots()
    names, heights = ("main", "strip"), (12, len(without))
    if not below:
        names, heights = names[::-1], heights[::-1]
    panels = figure.subplot_mosaic([[name] for name in names], sharex=True, height_ratios=heights)
    strip = panels["strip"]
    strip.set_yticks(range(len(without)), [f"{state} ({(states == state).sum()})" for state in without])
    strip.set_ylim(-0.6, len(without) - 0.4)
    strip.spines[["left", "bottom"]].set_visible(False)
    strip.tick_params(length=0)
    for place, state in enumerate(without):
        at = x[states == state]
        look = {**canvas.STATES[state], "markersize": 7, "markeredgewidth": 0, "linestyle": "none"}
        strip.plot(at, np.full(len(at), place), **look)
    return panels["main"]


def _lines(curves: pd.DataFrame) -> list[canvas.FloatArray]:
    """Return curves, which are sorted by trial, as one array of shape (epochs, 2) per trial."""
    points = curves[["epoch", "val_loss"]].to_numpy(np.float64)
    return np.split(points, np.flatnonzero(np.diff(curves["trial"])) + 1) if len(points) else []


def _trials(tables: StudyTables) -> str:
    """Return how many trials of which study a plot shows, for its title."""
    number = len(tables.trials)
    return f"{number} trial{'' if number == 1 else 's'} of {tables.name}"


def _best(tables: StudyTables, metric: str = "") -> str:
    """Return the legend's entry of the best trial: its number, and its value after the name of the metric."""
    best = tables.ranked().iloc[0]
    return f"best trial: {best['trial']} ({metric}{best['value']:.4g})"
