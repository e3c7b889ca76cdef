"""The space of hyperparameters: what a study file's [space] means to a sampler.

A sampler sees the hyperparameters that are searched, as Optuna distributions or as a unit cube. A trial gets all
hyperparameters: this module adds those that the study file fixes.
"""

import math
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from netcore.question.hyperparameters import HYPERPARAMETERS, Hyperparameters
from netcore.question.space_section import Range, SpaceSection, StartSection


class Space:
    """The searched hyperparameters of a study, in the order of `HYPERPARAMETERS`, and the fixed ones."""

    def __init__(self, section: SpaceSection) -> None:
        given = {name: getattr(section, name) for name in HYPERPARAMETERS}
        self.fixed = {name: value for name, value in given.items() if not isinstance(value, tuple | Range)}
        self.distributions = {name: _distribution(value) for name, value in given.items() if name not in self.fixed}

    def complete(self, searched: dict[str, Any]) -> Hyperparameters:
        """Return all hyperparameters, given the searched ones."""
        return Hyperparameters(**{**self.fixed, **searched})

    def searched(self, hyperparameters: Hyperparameters | StartSection) -> dict[str, float]:
        """Return the searched ones of a trial's hyperparameters, or of a [[start]] table."""
        return {name: getattr(hyperparameters, name) for name in self.distributions}

    def suggested(self, trial: Trial) -> Hyperparameters:
        """Return the hyperparameters that an Optuna trial suggests."""
        return self.complete({name: _suggest(trial, name, d) for name, d in self.distributions.items()})

    def at(self, point: NDArray[np.float64]) -> Hyperparameters:
        """Return the hyperparameters at a point of the unit cube [0, 1)^d, one coordinate per searched one."""
        items = zip(self.distributions.items(), point, strict=True)
        return self.complete({name: _at(distribution, float(u)) for (name, distribution), u in items})

    def combination(self, number: int) -> Hyperparameters:
        """Return the n-th combination of a grid, counted from 0; the last hyperparameter changes fastest.

        Raises:
            TypeError: a hyperparameter is searched in a range instead of a list.
        """
        combinations = product(*map(_choices, self.distributions.values()))
        values = next(islice(combinations, number, None))
        return self.complete(dict(zip(self.distributions, values, strict=True)))


def as_real(distribution: BaseDistribution) -> BaseDistribution:
    """Return a range of whole numbers as one of real numbers, half wider at both ends; anything else unchanged.

    Rounding then gives each whole number an equal share.
    """
    if not isinstance(distribution, IntDistribution):
        return distribution
    return FloatDistribution(distribution.low - 0.5, distribution.high + 0.5, log=distribution.log)


def into(distribution: BaseDistribution, value: Any) -> Any:  # noqa: ANN401  # a number, or whatever a choice holds
    """Return the value of a distribution that is nearest to `value`, a real number; a choice is returned unchanged."""
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return value
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else value


def _distribution(value: Range[Any] | tuple[Any, ...]) -> BaseDistribution:
    """Return Optuna's form of a range or a list."""
    if isinstance(value, tuple):
        return CategoricalDistribution(value)
    if isinstance(value.low, int):
        return IntDistribution(value.low, value.high, log=value.log)
    return FloatDistribution(value.low, value.high, log=value.log)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:  # noqa: ANN401  # as in `into`
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    return trial.suggest_categorical(name, _choices(distribution))


def _choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    if not isinstance(distribution, CategoricalDistribution):
        message = f"a grid needs lists of values, got {distribution}"
        raise TypeError(message)
    return distribution.choices


def _at(distribution: BaseDistribution, u: float) -> Any:  # noqa: ANN401  # as in `into`
    """Return the value at the share u, in [0, 1), of a distribution.

    A list of n choices gives number floor(u n), a range low + u (high - low), and a logarithmic range
    exp(log low + u (log high - log low)) = low^(1 - u) high^u. Whole numbers are rounded (`as_real`).
    """
    real = as_real(distribution)
    if not isinstance(real, FloatDistribution):
        choices = _choices(real)
        return choices[int(u * len(choices))]
    if real.log:
        value = math.exp(math.log(real.low) + u * (math.log(real.high) - math.log(real.low)))
    else:
        value = real.low + u * (real.high - real.low)
    return into(distribution, value)
