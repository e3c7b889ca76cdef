"""Plots of one net: the training of the winner or best trial, and first-layer weights.

Each function takes a study's tables and returns a matplotlib Figure, or None if the study has nothing to show in it.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from netcore.results import canvas
from netcore.results.tables import StudyTables, mean_over_folds
from netcore.results.winner import answer_of

_UNITS = {"loss": "loss (nats)", "accuracy": "accuracy (share right)"}


@canvas.styled
def training_plot(tables: StudyTables) -> Figure | None:
    """Draw training and validation metrics by epoch, of the winner or, before a confirmation, of the best trial."""
    answer = answer_of(tables)
    if answer is None:
        return None
    curve = mean_over_folds(tables.curves[tables.curves["trial"] == answer.trial]).sort_values("epoch")
    if curve.empty:
        return None
    epoch = int(tables.trials.loc[tables.trials["trial"] == answer.trial, "best_epoch"].iloc[0])
    figure = canvas.new_figure()
    for axes, what in zip(figure.subplots(1, 2), _UNITS, strict=True):
        training, validation = curve[f"train_{what}"].to_numpy(), curve[f"val_{what}"].to_numpy()
        blue = canvas.STATES["finished"]["color"]
        axes.plot(curve["epoch"], training, ".-", color=canvas.GREY, linewidth=1.8, label="training")
        axes.plot(curve["epoch"], validation, ".-", color=blue, linewidth=2.2, label="validation")
        axes.axvline(epoch, color=canvas.BEST, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.plot(epoch, validation[epoch - 1], "*", **canvas.STAR, linestyle="none", label=f"best_epoch ({epoch})")
        if what == "loss":
            losses = np.append(training, validation)
            losses = losses[losses > 0] if (losses > 0).any() else np.ones(1)
            canvas.set_scale(axes, "y", "log", losses.min(), losses.max())
        canvas.whole_numbers(axes, "epoch", 0.5, len(curve) + 0.5)
        axes.set_ylabel(_UNITS[what])
    title = f"{answer.kind.capitalize()} of {tables.name}, trial {answer.trial}: training and validation by epoch"
    return canvas.titled(figure, title)


@canvas.styled
def first_layer(tables: StudyTables) -> Figure | None:
    """Draw W1 (D, H) of the best trial: one tile per hidden unit if the inputs are an image, else a heat map.

    All weights share one colour scale, symmetric around 0.
    """
    weights = tables.weights
    if weights.empty:
        return None
    # The colour scale covers 99.5 % of the weights, so that a few large ones do not hide the rest.
    limit = float(weights["value"].abs().quantile(0.995)) or 1.0
    draw = _tiles if weights["row"].notna().all() else _heat_map
    figure, what = draw(weights, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"})
    return canvas.titled(figure, f"First-layer weights (W1) of trial {weights['trial'].iloc[0]}: {what}")


def mosaic(weights: pd.DataFrame, most: int = 100) -> tuple[canvas.FloatArray, list[int]]:
    """Return the weights of the `most` hidden units of largest norm as one image, and the units, row by row.

    The tiles of the image are separated by NaN; its shape is (height, width), or (height, width, 3) for colour.
    """
    places = weights[["unit", "row", "column", "channel"]].to_numpy(np.int64).T
    W1 = np.full(places.max(axis=1) + 1, np.nan)
    W1[tuple(places)] = weights["value"]
    units = np.argsort(-np.square(W1).sum(axis=(1, 2, 3)), kind="stable")[:most]
    zoom, gap = math.ceil(40 / max(W1.shape[1:3])), 3  # enlarge small tiles, so that the gap is thin beside them
    height, width = zoom * W1.shape[1] + gap, zoom * W1.shape[2] + gap
    across = min(len(units), math.ceil(math.sqrt(1.6 * len(units) * height / width)))
    down = math.ceil(len(units) / across)
    tiles = W1[units].repeat(zoom, 1).repeat(zoom, 2)
    margins = [(0, down * across - len(units)), (0, gap), (0, gap), (0, 0)]
    tiles = np.pad(tiles, margins, constant_values=np.nan).reshape(down, across, height, width, -1)
    image = tiles.swapaxes(1, 2).reshape(down * height, across * width, -1)[:-gap, :-gap]
    return image if image.shape[2] == 3 else image.mean(axis=2), units.tolist()  # noqa: PLR2004  # RGB


def _tiles(weights: pd.DataFrame, colours: dict[str, Any]) -> tuple[Figure, str]:
    """Draw one tile per hidden unit, in the shape of the image; return the figure and what it shows."""
    (image, shown), units = mosaic(weights), weights["unit"].nunique()
    height, width = image.shape[:2]
    figure = canvas.new_figure(min(0.5 + 7.9 * height / width, 7.0))
    axes = figure.subplots()
    axes.set_axis_off()
    most = f"{len(shown)} of " if len(shown) < units else ""
    what = f"{most}{units} hidden unit{'s' if units > 1 else ''}, largest norm first"
    if image.ndim == 2:  # noqa: PLR2004  # no colour channels
        _colour_bar(figure, axes.imshow(np.ma.masked_invalid(image), **colours))
        return figure, what
    axes.imshow(np.nan_to_num(np.clip(0.5 + image / (2 * colours["vmax"]), 0, 1), nan=1.0))
    return figure, f"{what}; grey is 0, full colour ±{colours['vmax']:.3g}"


def _heat_map(weights: pd.DataFrame, colours: dict[str, Any]) -> tuple[Figure, str]:
    """Draw W1 (D, H) with a row per input and a column per hidden unit; return the figure and what it shows."""
    names = [canvas.plain(str(name), 40) for name in weights["input"].cat.categories]
    W1 = weights.assign(input=weights["input"].cat.codes).pivot_table("value", "input", "unit")
    figure = canvas.new_figure(min(2.4 + 0.26 * len(names), 10.0))
    axes = figure.subplots()
    _colour_bar(figure, axes.imshow(W1, aspect="auto", **colours))
    axes.grid(visible=False)
    each = math.ceil(len(names) / 36)
    axes.set_yticks(range(0, len(names), each), names[::each])
    canvas.whole_numbers(axes, "hidden unit", -0.5, W1.shape[1] - 0.5)
    axes.set_ylabel("input")
    return figure, f"{W1.shape[0]} inputs, {W1.shape[1]} hidden units"


def _colour_bar(figure: Figure, picture: AxesImage) -> None:
    """Add the colour scale; its ends are open, because the largest weights are beyond it."""
    bar: dict[str, Any] = {"extend": "both", "extendfrac": 0.02, "fraction": 0.03, "pad": 0.01, "aspect": 35}
    figure.colorbar(picture, ax=figure.axes[0], label="weight", **bar)
