"""Plots of what follows the search: the confirmation, and the confusion matrix of the test set.

Each function takes computed results and returns a matplotlib Figure, or None if there are none.
"""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from netcore.question.metrics import Metric
from netcore.results import canvas
from netcore.results.intervals import Estimate
from netcore.results.tables import StudyTables
from netcore.results.test_set import Reading
from netcore.results.winner import CandidateSummary, ConfirmationSummary, summarised

_COUNTED = 24
"""The largest number of classes whose counts are legible; with more, the plot has colours alone."""


@canvas.styled
def confirmation_plot(tables: StudyTables) -> Figure | None:
    """Draw the confirmed mean, interval and seeds of each candidate, and its paired difference to the winner.

    A candidate without a finished seed is left out. Intervals are those of `corrected_mean`.
    """
    found = summarised(tables)
    shown = [c for c in found.candidates if c.of(tables.metric)] if found else []
    if not found or not shown:
        return None
    figure = canvas.new_figure(2.1 + 0.5 * len(shown))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    rows = tables.confirmation[tables.confirmation["state"] == "finished"]
    for place, candidate in enumerate(shown):
        colour = _colour(candidate, found)
        seeds = rows.loc[rows["candidate"] == candidate.name, tables.metric].to_numpy(np.float64)
        # Seeds are in a strip below their mean, spread by the golden ratio: evenly, without a random number.
        spread = place + 0.25 + 0.12 * (np.arange(len(seeds)) * 0.618034 % 1 - 0.5)
        left.plot(seeds, spread, ".", color=colour, alpha=0.6, markersize=7, markeredgewidth=0)
        _bar(left, candidate.of(tables.metric), place, colour)
        if candidate.search_estimate is not None:
            left.plot(candidate.search_estimate, place, "D", color=colour, markerfacecolor="white", markersize=7)
        _bar(right, candidate.difference, place, colour)
    right.axvline(0, color=canvas.BEST, linewidth=1.2, linestyle=(0, (4, 3)))
    canvas.label_rows(left, [canvas.plain(_label(candidate), 44) for candidate in shown])
    _confirmed_axis(left, tables.metric, shown, rows[tables.metric].to_numpy(np.float64))
    left.set_xlabel(tables.metric.label)
    right.set_xlabel("difference to the winner")
    right.locator_params(axis="x", nbins=5)
    handles = [
        Line2D([], [], color=canvas.INK, marker="o", markersize=8, linewidth=2.4, label="mean and 95 % interval"),
        Line2D([], [], color=canvas.INK, marker=".", linestyle="none", alpha=0.6, label="one seed"),
    ]
    if any(candidate.search_estimate is not None for candidate in shown):
        diamond: dict[str, Any] = {"color": canvas.INK, "marker": "D", "markerfacecolor": "white", "linestyle": "none"}
        handles.append(Line2D([], [], **diamond, label="search estimate"))
    seeds_trained = f"{found.seeds} fresh seed{'' if found.seeds == 1 else 's'} each"
    return canvas.titled(figure, f"Confirmation of {tables.name}: {seeds_trained}, on {found.train_rows} rows", handles)


@canvas.styled
def confusion_matrix(reading: Reading | None, name: str) -> Figure | None:
    """Draw the confusion matrix (C, C) of the test set: true classes by rows, predicted classes by columns.

    Colours are shares of the true class's rows, on a square-root scale; the counts are written into the cells.
    """
    if reading is None:
        return None
    counts, classes = reading.confusion, len(reading.classes)
    figure = canvas.new_figure(min(2.2 + 0.36 * classes, 8.4))
    figure.set_layout_engine("compressed")  # leave the room beside the square matrix, not within it
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root makes an error of one row in a hundred visible.
    picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    bar = figure.colorbar(picture, ax=axes, label="share of the true class's rows", fraction=0.04, pad=0.02)
    bar.set_ticks([0, 0.05, 0.2, 0.5, 1], labels=["0", "0.05", "0.2", "0.5", "1"])
    axes.grid(visible=False)
    each = math.ceil(classes / _COUNTED)
    ticks, names = range(0, classes, each), [canvas.plain(name, 18) for name in reading.classes[::each]]
    axes.set_yticks(ticks, names)
    upright = max(map(len, names)) * len(names) <= 30  # noqa: PLR2004  # the number of letters that fit side by side
    axes.set_xticks(ticks, names, rotation=0 if upright else 90)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="true class")
    if classes <= _COUNTED:
        for i, j in zip(*np.nonzero(counts), strict=True):
            light: dict[str, Any] = {"color": "white" if shares[i, j] > 0.35 else canvas.INK}  # noqa: PLR2004  # by eye
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=9, **light)
    who = f"{reading.candidate}, seed {reading.seed}"
    return canvas.titled(figure, f"Test set of {name}: {reading.right} of {reading.rows} rows right ({who})")


def _bar(axes: Axes, estimate: Estimate | None, place: int, colour: str) -> None:
    """Draw a mean as a dot and its interval, if there is one, as a line, in the row `place`."""
    if estimate is not None:
        if estimate.interval is not None:
            axes.plot(estimate.interval, [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot(estimate.mean, place, "o", color=colour, markersize=8, zorder=3)


def _confirmed_axis(axes: Axes, metric: Metric, shown: list[CandidateSummary], seeds: canvas.FloatArray) -> None:
    """Set the axis to show seeds, search estimates and the finalists' intervals, but not extreme values."""
    searched = [candidate.search_estimate for candidate in shown if candidate.search_estimate is not None]
    low, high = canvas.readable_range(np.append(seeds, searched), metric)
    estimates = [candidate.of(metric) for candidate in shown if candidate.kind == "finalist"]
    ends = [end for estimate in estimates if estimate and estimate.interval for end in estimate.interval]
    canvas.set_scale(axes, "x", "linear", min([low, *ends]), max([high, *ends]))


def _colour(candidate: CandidateSummary, found: ConfirmationSummary) -> str:
    """Return the colour of a candidate's row: the winner's, a finalist's or a baseline's."""
    if found.winner is not None and candidate.name == found.winner.name:
        return canvas.BEST
    return str(canvas.STATES["finished"]["color"]) if candidate.kind == "finalist" else canvas.GREY


def _label(candidate: CandidateSummary) -> str:
    """Return the label of a candidate's row: its name and the size of its hidden layer."""
    units = f"{candidate.hidden_size} units" if candidate.hidden_size else "no hidden layer"
    return f"{candidate.name} ({units})"
