"""What all plots share: colours, markers, axes, and the way from a matplotlib `Figure` to a file.

The colours are Okabe and Ito's, which colour-blind readers can distinguish; marker and fill show the state as well. No
plot needs a display, pyplot or the user's matplotlibrc, and equal tables give equal bytes.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from netcore.question.metrics import Metric

FloatArray = NDArray[np.float64]
Scale = Literal["log", "linear", "choice", "fixed"]

STATES: dict[str, dict[str, Any]] = {
    "finished": {"color": "#0072B2", "marker": "o", "markerfacecolor": "#0072B2"},
    "pruned": {"color": "#E69F00", "marker": "o", "markerfacecolor": "white"},
    "diverged": {"color": "#CC79A7", "marker": "X", "markerfacecolor": "#CC79A7"},
    "failed": {"color": "#000000", "marker": "P", "markerfacecolor": "#000000"},
}
"""The look of each state."""

BEST, INK, GREY = "#D55E00", "#222222", "#8A8A8A"

STAR: dict[str, Any] = {"color": BEST, "markersize": 16, "markeredgecolor": "white", "zorder": 5}
"""The look of the best trial."""

styled = matplotlib.style.context(["default", "netcore.results.plots"])
"""The decorator of each function that draws: it sets plots.mplstyle, and undoes that afterwards."""


def new_figure(height: float = 5.0) -> Figure:
    """Return an empty figure of netcore's standard width; `height` is in inches."""
    return Figure(figsize=(8.8, height), layout="constrained")


def titled(figure: Figure, title: str, handles: Sequence[Artist] = ()) -> Figure:
    """Add title and legend above the axes, where they cover no data, and return the figure.

    The legend has the `handles`, then every labelled artist of the axes; equal labels have one entry.
    """
    title = textwrap.fill(plain(title, 200), 84)
    labelled = [*handles, *(artist for axes in figure.axes for artist in axes.get_legend_handles_labels()[0])]
    if labelled:
        font = {"size": 12.5, "weight": "bold"}
        look = {"title": title, "title_fontproperties": font, "alignment": "left", "borderaxespad": 0.2}
        entries = list({artist.get_label(): artist for artist in labelled}.values())
        figure.legend(handles=entries, loc="outside upper left", ncols=5, columnspacing=1.4, **look)
    else:
        figure.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    return figure


def whole_numbers(axes: Axes, label: str, low: float, high: float) -> None:
    """Set the x axis to low … high, with ticks at whole numbers only."""
    axes.set(xlabel=label, xlim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def set_scale(axes: Axes, which: Literal["x", "y"], scale: Scale, low: float, high: float) -> None:
    """Set an axis to low … high with a margin; a logarithmic axis has plain numbers as labels, as in the study file."""
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


def label_rows(axes: Axes, names: list[str]) -> None:
    """Label the rows of a plot, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def scale_of(setting: object) -> Scale:
    """Return the scale of a hyperparameter's axis, from its setting in the study file's [space]."""
    if isinstance(setting, dict):
        return "log" if setting["log"] else "linear"
    return "choice" if isinstance(setting, list | tuple) else "fixed"


def readable_range(values: FloatArray, metric: Metric) -> tuple[float, float]:
    """Return a range of values in which good trials can be distinguished; values beyond it go to the axis's edge.

    A loss may be up to 100 times the lower quartile. An accuracy may be below the best by 0.2, or by ten times as much
    as the median is.
    """
    values = values[np.isfinite(values)]
    if metric is Metric.VAL_ACCURACY:
        room = max(0.2, 10 * (values.max() - np.median(values)))
        return float(values[values >= values.max() - room].min()), float(values.max())
    values = values[values > 0]  # the axis is logarithmic
    if not values.size:
        return 1e-3, 1.0
    return float(values.min()), float(values[values <= 100 * np.quantile(values, 0.25)].max())


def plain(text: str, most: int) -> str:
    """Return a name, cut to `most` characters, in which matplotlib sees no mathematics."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


@styled
def file_of(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Return a figure as the bytes of a file without date, version or random names."""
    buffer = io.BytesIO()
    nobody = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=kind, metadata=nobody)
    return buffer.getvalue()
