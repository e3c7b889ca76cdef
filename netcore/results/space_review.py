"""What a finished search says about its [space]: which hyperparameters matter, and where the ranges should change.

Importance is Optuna's PED-ANOVA (`netcore.search.importance`). The other two are cautious hints for the next study
file: a range is too narrow if most of the best trials are near one end of it; a region diverges if it contains more
divergences in a row than chance explains.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from netcore.question.hyperparameters import HYPERPARAMETERS, Hyperparameters, allows, limits
from netcore.question.spec import StudySpec
from netcore.results.tables import StudyTables
from netcore.search.importance import Importance, importances

_BEST = 5
_NEAR = 0.05
_LEAST_DIVERGED = 3
_BY_CHANCE = 0.01


class Edge(NamedTuple):
    """An end of a searched range that most of the best trials are near."""

    hyperparameter: str
    end: str
    """`low` or `high`."""
    limit: float
    """The end of the range now."""
    proposed: float
    """A better end: a quarter of the range's length further out, on the scale of the range."""
    trials: list[int]
    """The trials near it, of the five best, best first."""


class Diverging(NamedTuple):
    """A region in which every trial diverged."""

    hyperparameter: str
    side: str
    """`above` or `below`."""
    bound: float
    """The most extreme value of a trial that did not diverge."""
    trials: int
    """The number of trials beyond the bound."""


def searched_importances(tables: StudyTables, settings: dict[str, Any]) -> dict[str, Importance]:
    """Return the importance of each searched hyperparameter over the finished trials, largest first.

    `settings` are those of resolved.json. Empty if too few trials finished, or only one hyperparameter was searched.
    """
    spec = StudySpec.model_validate(settings)
    finished = tables.trials[tables.trials["state"] == "finished"].sort_values("trial")
    rows = finished[[*HYPERPARAMETERS, "value"]].itertuples(index=False, name=None)
    trials = tuple((Hyperparameters(*row[:-1]), row[-1]) for row in rows)
    return importances(spec.space, trials, metric=spec.study.metric, seed=spec.study.seed)


def edges(tables: StudyTables, space: dict[str, Any]) -> list[Edge]:
    """Return the ends of ranges with three or more of the five best finished trials within 5 % of the range's length.

    `space` is [space] as resolved. An end that cannot move (a decay of 1, a penalty of 0) is left out.
    """
    best = tables.ranked().query("state == 'finished'").head(_BEST)
    if len(best) < _BEST:
        return []
    found = []
    for name in HYPERPARAMETERS:
        if isinstance(space[name], dict):
            low, high, log = (space[name][key] for key in ("low", "high", "log"))
            scale, back = (np.log, np.exp) if log else (np.array, np.array)
            length = scale(high) - scale(low)
            for end, limit, outward in (("low", low, -1), ("high", high, 1)):
                near = outward * (scale(best[name].to_numpy(np.float64)) - scale(limit)) >= -_NEAR * length
                beyond = back(scale(limit) + outward * length / 4)
                proposed = _round(float(np.clip(beyond, *limits(name))), whole=isinstance(low, int))
                if near.sum() > _BEST / 2 and outward * (proposed - limit) > 0 and allows(name, proposed):
                    found.append(Edge(name, end, limit, proposed, best.loc[near, "trial"].tolist()))
    return found


def diverging(tables: StudyTables) -> list[Diverging]:
    """Return the regions above or below a value of one hyperparameter in which all trials diverged.

    A region has at least three trials, and so many that chance would produce it in less than one of a hundred studies
    with as many divergences. Failed trials are left out: they say nothing about divergence.
    """
    trials = tables.trials[tables.trials["state"] != "failed"]
    diverged = (trials["state"] == "diverged").to_numpy()
    if diverged.all() or not diverged.any():
        return []
    found = []
    for name in HYPERPARAMETERS:
        values = trials[name].to_numpy(np.float64)
        low, high = float(values[~diverged].min()), float(values[~diverged].max())
        for side, bound, beyond in (("above", high, values > high), ("below", low, values < low)):
            run = int(beyond.sum())
            # The probability that the first `run` of the shuffled trials all diverged.
            chance = math.comb(int(diverged.sum()), run) / math.comb(len(trials), run)
            if run >= _LEAST_DIVERGED and chance < _BY_CHANCE:
                found.append(Diverging(name, side, bound, run))
    return found


def _round(value: float, *, whole: bool) -> float:
    """Round to the one or two digits that a person would write: 0.0178 to 0.018, 512 to 510."""
    rounded = float(f"{value:.1e}")
    return round(rounded) if whole else rounded
