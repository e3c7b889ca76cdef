"""What all figures share: colours, marks, axes, and how a figure becomes a file.

The colours are Okabe and Ito's, which colour-blind readers can tell apart; marker and fill say the state once more.
No figure needs a display, pyplot or the user's matplotlibrc, and equal figures give equal bytes.
"""

import io
import math
import textwrap
from typing import Any, Literal

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from netcore.results.summary import Scale

__all__ = [
    "BEST",
    "GREY",
    "INK",
    "STAR",
    "STATES",
    "STYLE",
    "UNITS",
    "file_of",
    "new_figure",
    "plain",
    "set_scale",
    "styled",
    "titled",
    "whole_numbers",
]

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

STAR: dict[str, Any] = {"color": BEST, "markersize": 16, "markeredgecolor": "white", "zorder": 5}
styled = matplotlib.style.context(["default", STYLE])


def new_figure(height: float = 5.0) -> Figure:
    """Give an empty figure of the house's width; `height` is in inches."""
    return Figure(figsize=(8.8, height), layout="constrained")


def titled(figure: Figure, title: str, handles: list[Any]) -> Figure:
    """Put title and legend above the plot, where they cover nothing."""
    title = textwrap.fill(plain(title, 200), 84)
    if handles:
        font = {"size": 12.5, "weight": "bold"}
        look = {"title": title, "title_fontproperties": font, "alignment": "left", "borderaxespad": 0.2}
        figure.legend(handles=handles, loc="outside upper left", ncols=5, columnspacing=1.4, **look)
    else:
        figure.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    return figure


def whole_numbers(axes: Axes, label: str, low: float, high: float) -> None:
    """Set the x axis to low … high, with ticks at whole numbers only."""
    axes.set(xlabel=label, xlim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def set_scale(axes: Axes, which: Literal["x", "y"], scale: Scale, low: float, high: float) -> None:
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


def plain(text: str, most: int) -> str:
    """Keep matplotlib from reading a name as mathematics, and a long one from filling the figure."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


@styled
def file_of(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Give a figure's file: no date, no version, no random names in it."""
    buffer = io.BytesIO()
    nobody = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=kind, metadata=nobody)
    return buffer.getvalue()
