"""The figure of `peers.py`: how many times as long as netcore the others take, for a step and for a whole study."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from netcore.results.canvas import BEST, GREY, INK, new_figure, styled, titled

__all__ = ["compared"]

TIMES = "\N{MULTIPLICATION SIGN}"
LOOKS = {
    "NumPy": ("o", "#56B4E9"),
    "JAX": ("s", "#009E73"),
    "PyTorch": ("D", "#E69F00"),
    "PyTorch, compiled": ("d", "#CC79A7"),
    "scikit-learn": ("^", "#0072B2"),
}
"""Marker and colour of each peer."""

Numbers = dict[str, dict[str, float]]


@styled
def compared(steps: Numbers, studies: Numbers, trials: int) -> Figure:
    """Draw a row of marks for each shape, and below a bar for each stack."""
    figure = new_figure(7.4)
    above, below = figure.subplots(2, 1, height_ratios=[1.25, 1])
    _steps(above, steps)
    _studies(below, studies, trials)
    return titled(figure, "Beside other libraries: time, as a multiple of netcore's", [])


def _steps(axes: Axes, steps: Numbers) -> None:
    places = np.arange(len(steps))[::-1]
    for place, times in zip(places, steps.values(), strict=True):
        axes.plot([min(times.values()), max(times.values())], [place, place], color="#D8D8D8", linewidth=1.2, zorder=1)
    for name, (marker, colour) in LOOKS.items():
        there = [(times[name], place) for place, times in zip(places, steps.values(), strict=True) if name in times]
        if there:
            axes.plot(
                *zip(*there, strict=True), marker, color=colour, markersize=8, label=name, markeredgecolor="white"
            )
    axes.axvline(1, color=BEST, linewidth=2, label="netcore")
    axes.set_yticks(places, [" → ".join(name.split("-")) for name in steps])
    ends = [time for times in steps.values() for time in times.values()]
    axes.set(xscale="log", xlim=(min(ends) / 1.1, 1.25 * max(ends)))
    axes.set_ylim(-0.6, len(steps) - 0.4)
    axes.xaxis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20, 50]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} {TIMES}"))
    axes.set_title("one step of training (inputs → hidden units → classes)", loc="left", fontsize=11, color=INK)
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.legend(loc="lower right", ncols=2, frameon=True, framealpha=1, edgecolor="none")


def _studies(axes: Axes, studies: Numbers, trials: int) -> None:
    places = np.arange(len(studies))[::-1]
    for place, (name, numbers) in zip(places, studies.items(), strict=True):
        _, colour = LOOKS.get(name.rpartition(", ")[2], ("", BEST))
        axes.barh(place, numbers["times"], height=0.62, color=colour)
        text = f" {numbers['times']:.1f} {TIMES}   {numbers['wall']:.0f} s ({numbers['cpu']:.0f} s of CPU)"
        axes.text(numbers["times"], place, text, va="center", fontsize=9.5, color=INK)
    axes.axvline(1, color=GREY, linewidth=1, zorder=0)
    axes.set_yticks(places, list(studies))
    axes.set_xlim(0, 1.45 * max(numbers["times"] for numbers in studies.values()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} {TIMES}"))
    axes.set_title(
        f"a whole study of {trials} trials, tracked, from command to end", loc="left", fontsize=11, color=INK
    )
    axes.grid(visible=False)
    axes.tick_params(length=0)
