"""The numbers behind the figures and the report: who is best, how that came about, what is worth showing.

Pure functions of a study's tables; they are what the tests of the figures look at.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netcore.question.metrics import Metric
from netcore.records.job import State
from netcore.results.tables import StudyTables

__all__ = [
    "FloatArray",
    "Mosaic",
    "Scale",
    "best_so_far",
    "mean_over_folds",
    "mosaic",
    "ranked",
    "readable_range",
    "scale_of",
    "winner",
]

FloatArray = NDArray[np.float64]
Scale = Literal["log", "linear", "choice", "fixed"]


class Mosaic(NamedTuple):
    """First-layer weights as one picture."""

    image: FloatArray
    """Tiles with NaN between them: shape (height, width), or (height, width, 3) for colour."""
    units: list[int]
    """The hidden units that are shown, by rows."""


def ranked(tables: StudyTables) -> pd.DataFrame:
    """Give the trials, the best first: by state, then by value, the earlier of equals first."""
    order = tables.trials["state"].map({str(state): place for place, state in enumerate(State)})
    trials = tables.trials.assign(order=order, cost=tables.metric.cost(tables.trials["value"]))
    return trials.sort_values(["order", "cost", "trial"]).drop(columns=["order", "cost"])


def winner(tables: StudyTables) -> int | None:
    """Give the number of the best trial; only finished trials can win."""
    finished = ranked(tables).query("state == 'finished'")
    return None if finished.empty else int(finished["trial"].iloc[0])


def best_so_far(tables: StudyTables) -> FloatArray:
    """Give the best value of the finished trials up to each trial, by their numbers; NaN before the first."""
    trials = tables.trials.sort_values("trial")
    value = np.where(trials["state"] == "finished", trials["value"], np.nan)
    best: FloatArray = (np.fmax if tables.metric.maximize else np.fmin).accumulate(value)
    return best


def mean_over_folds(curves: pd.DataFrame) -> pd.DataFrame:
    """Give curves with one row per trial and epoch: where there are folds, the mean of each figure over them.

    A figure that is NaN in one fold is NaN in the mean.
    """
    if "fold" not in curves:
        return curves
    by_epoch = curves.drop(columns="fold").groupby(["trial", "epoch"])
    rows: pd.Series = by_epoch.size()
    return by_epoch.mean().where(by_epoch.count().eq(rows, axis=0)).reset_index()


def readable_range(values: FloatArray, metric: Metric) -> tuple[float, float]:
    """Give the range of values in which the good trials can be told apart; what lies beyond goes to the axis's edge.

    A loss may be 100 times the lower quartile. An accuracy may fall short of the best by 0.2, or by ten times as much
    as the median does.
    """
    values = values[np.isfinite(values)]
    if metric is Metric.VAL_ACCURACY:
        room = max(0.2, 10 * (values.max() - np.median(values)))
        return float(values[values >= values.max() - room].min()), float(values.max())
    values = values[values > 0]  # the axis is logarithmic
    if not values.size:
        return 1e-3, 1.0
    return float(values.min()), float(values[values <= 100 * np.quantile(values, 0.25)].max())


def scale_of(setting: object) -> Scale:
    """Say how a hyperparameter's axis is scaled, from its setting in the study file's [space]."""
    if isinstance(setting, dict):
        return "log" if setting["log"] else "linear"
    return "choice" if isinstance(setting, list | tuple) else "fixed"


def mosaic(weights: pd.DataFrame, most: int = 100) -> Mosaic:
    """Lay out an image's first-layer weights as tiles, one for each of the `most` hidden units of largest norm."""
    places = weights[["unit", "row", "column", "channel"]].to_numpy(np.int64).T
    W1 = np.full(places.max(axis=1) + 1, np.nan)
    W1[tuple(places)] = weights["value"]
    units = np.argsort(-np.square(W1).sum(axis=(1, 2, 3)), kind="stable")[:most]
    zoom, gap = math.ceil(40 / max(W1.shape[1:3])), 3  # a tile of few pixels grows, so that the gap is thin beside it
    tiles = W1[units].repeat(zoom, 1).repeat(zoom, 2)
    tiles = np.pad(tiles, [(0, 0), (0, gap), (0, gap), (0, 0)], constant_values=np.nan)
    across = min(len(units), math.ceil(math.sqrt(1.6 * len(units) * tiles.shape[1] / tiles.shape[2])))
    down = math.ceil(len(units) / across)
    image = np.full((down * tiles.shape[1], across * tiles.shape[2], tiles.shape[3]), np.nan)
    for place, tile in enumerate(tiles):
        top, left = place // across * tile.shape[0], place % across * tile.shape[1]
        image[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    image = image[:-gap, :-gap]
    return Mosaic(image if image.shape[2] == 3 else image.mean(axis=2), units.tolist())  # noqa: PLR2004  # RGB
