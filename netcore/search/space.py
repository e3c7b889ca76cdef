"""The space of hyperparameters: what a study file's [space] means to a sampler.

The sampler sees the hyperparameters that are searched, as Optuna distributions or as a unit cube; the trial gets all
four. What the file fixes is added here.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from netcore.question.spec import HYPERPARAMETERS, Hyperparameters, Range, SpaceSection, StartSection

__all__ = ["Space"]


class Space:
    """The searched hyperparameters of a study, in the order of `HYPERPARAMETERS`, and the fixed ones."""

    def __init__(self, section: SpaceSection) -> None:
        given = {name: getattr(section, name) for name in HYPERPARAMETERS}
        self.fixed = {name: value for name, value in given.items() if not isinstance(value, tuple | Range)}
        self.distributions = {name: _distribution(value) for name, value in given.items() if name not in self.fixed}

    def complete(self, searched: dict[str, Any]) -> Hyperparameters:
        """Give all four hyperparameters, the searched ones as told."""
        return Hyperparameters(**{**self.fixed, **searched})

    def searched(self, hyperparameters: Hyperparameters) -> dict[str, float]:
        """Give the searched ones of a trial's hyperparameters."""
        return {name: getattr(hyperparameters, name) for name in self.distributions}

    def start(self, section: StartSection) -> Hyperparameters:
        """Give the hyperparameters of a [[start]] table."""
        return self.complete({name: getattr(section, name) for name in self.distributions})

    def at(self, point: NDArray[np.float64]) -> Hyperparameters:
        """Give the hyperparameters at a point of the unit cube [0, 1)^d, one coordinate for each searched one."""
        items = zip(self.distributions.items(), point, strict=True)
        return self.complete({name: _at(distribution, float(u)) for (name, distribution), u in items})

    def combination(self, number: int) -> Hyperparameters:
        """Give the n-th combination of a grid: the last hyperparameter changes fastest, as an odometer's last wheel."""
        searched = {}
        for name, distribution in reversed(self.distributions.items()):
            choices = _choices(distribution)
            number, index = divmod(number, len(choices))
            searched[name] = choices[index]
        return self.complete(searched)


def _distribution(value: Range[Any] | tuple[Any, ...]) -> BaseDistribution:
    if isinstance(value, tuple):
        return CategoricalDistribution(value)
    if isinstance(value.low, int):
        return IntDistribution(value.low, value.high, log=value.log)
    return FloatDistribution(value.low, value.high, log=value.log)


def _choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    if not isinstance(distribution, CategoricalDistribution):
        message = f"a grid needs lists of values, got {distribution}"
        raise TypeError(message)
    return distribution.choices


def _at(distribution: BaseDistribution, u: float) -> Any:  # noqa: ANN401  # a number, or whatever a choice holds
    """Give the value at the share u of a distribution: of its choices, of its length, or of its length in logarithms.

    A range of whole numbers is widened by a half at both ends, so that rounding gives each number its share.
    """
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        choices = _choices(distribution)
        return choices[int(u * len(choices))]
    whole = isinstance(distribution, IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    start, stop = (low - 0.5, high + 0.5) if whole else (low, high)
    if distribution.log:
        value = math.exp(math.log(start) + u * (math.log(stop) - math.log(start)))
    else:
        value = start + u * (stop - start)
    value = min(max(value, low), high)
    return round(value) if whole else value
