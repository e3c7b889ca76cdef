"""Where the search came up against its own limits: best trials at the end of a range, regions where all diverge.

Pure functions of the trials and of the study file's [space]. Both are hints for the next study file, and cautious
ones: most of the best trials must lie at an end, and a region must hold more divergences than a run by chance would.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from netcore.question.spec import HYPERPARAMETERS
from netcore.results.summary import ranked
from netcore.results.tables import StudyTables

__all__ = ["Diverging", "Edge", "diverging", "edges"]

_BEST = 5
_NEAR = 0.05
_LEAST_DIVERGED = 3
_BY_CHANCE = 0.01
_LIMITS = {"learning_rate": (0.0, math.inf), "hidden_size": (1, math.inf), "reg": (0.0, math.inf)}
_LIMITS |= {"learning_rate_decay": (0.0, 1.0)}


class Edge(NamedTuple):
    """An end of a searched range at which most of the best trials lie."""

    hyperparameter: str
    end: str
    """`low` or `high`."""
    limit: float
    """Where the range ends now."""
    proposed: float
    """Where it might end: a quarter of its length further on, as the range is scaled."""
    trials: list[int]
    """The trials there, of the five best, the best first."""


class Diverging(NamedTuple):
    """A region in which every trial diverged."""

    hyperparameter: str
    side: str
    """`above` or `below`."""
    bound: float
    """The outermost value of a trial that did not diverge."""
    trials: int
    """How many trials lie beyond it."""


def edges(tables: StudyTables, space: dict[str, Any]) -> list[Edge]:
    """Find the ends of ranges near which (5 % of the length) three or more of the five best finished trials lie.

    `space` is [space] as resolved. An end that nothing lies beyond (a decay of 1, a penalty of 0) is left alone.
    """
    best = ranked(tables).query("state == 'finished'").head(_BEST)
    if len(best) < _BEST:
        return []
    found = []
    for name in HYPERPARAMETERS:
        if isinstance(space[name], dict):
            low, high, log = (space[name][key] for key in ("low", "high", "log"))
            scale, back = (np.log, np.exp) if log else (np.array, np.array)
            start, stop = float(scale(low)), float(scale(high))
            place = (scale(best[name].to_numpy(np.float64)) - start) / (stop - start)
            for end, limit, near, beyond in (
                ("low", low, place <= _NEAR, start - (stop - start) / 4),
                ("high", high, place >= 1 - _NEAR, stop + (stop - start) / 4),
            ):
                proposed = _round(float(np.clip(back(beyond), *_LIMITS[name])), whole=isinstance(low, int))
                outward = proposed < limit if end == "low" else proposed > limit
                if near.sum() > _BEST / 2 and outward and (proposed > 0 or name == "reg"):
                    found.append(Edge(name, end, limit, proposed, best.loc[near, "trial"].tolist()))
    return found


def diverging(tables: StudyTables) -> list[Diverging]:
    """Find where, at an end of what was tried of a hyperparameter, all trials diverged.

    At least three, and so many that as long a run would come up less than once in a hundred times if divergences fell
    anywhere. Failed trials are left out: their error says nothing about a divergence.
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
            if run >= _LEAST_DIVERGED and _chance(run, int(diverged.sum()), len(trials)) < _BY_CHANCE:
                found.append(Diverging(name, side, bound, run))
    return found


def _chance(run: int, diverged: int, trials: int) -> float:
    """Give how often the first `run` of shuffled trials are all among the diverged ones."""
    return math.comb(diverged, run) / math.comb(trials, run)


def _round(value: float, *, whole: bool) -> float:
    """Round to the one or two digits that a person would write: 0.0178 to 0.018, 512 to 510."""
    rounded = float(f"{value:.1e}")
    return round(rounded) if whole else rounded
