"""How important each hyperparameter is: PED-ANOVA, with a bootstrap interval.

PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv:2304.10255) compares the distribution of a hyperparameter among the
best trials with its distribution among all finished ones; the more they differ, the more important it is. With the
densities p_best and p_all of a hyperparameter, its importance is the Pearson divergence of the two, the mean of
(p_best / p_all - 1)² over p_all; the importances of a study are scaled to a sum of 1.

The result holds for the finished trials, which a sampler does not spread evenly over the space; results always say so.
"""

import warnings
from collections.abc import Container
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import Metric
from netcore.question.space_section import SpaceSection
from netcore.search.history import frozen, quiet_optuna
from netcore.search.space import Space

LEAST = 30
"""The smallest number of finished trials from which importances are computed."""

RESAMPLES = 100
"""Draws of the bootstrap; with 1,000 trials they take a second and a half."""

_BEST = 5
"""The best trials are a tenth of all, but at least this many, as Optuna advises."""


class Importance(NamedTuple):
    """The importance of one hyperparameter: its share of 1, and the interval of 95 % of the resamples."""

    share: float
    low: float
    high: float


@lru_cache(maxsize=1)  # the plot and the report ask for the same
def importances(
    space: SpaceSection, trials: tuple[tuple[Hyperparameters, float], ...], *, metric: Metric, seed: int
) -> dict[str, Importance]:
    """Return the importance of each searched hyperparameter, the largest first, from finished trials and their values.

    The result is empty if fewer than `LEAST` trials finished or fewer than two hyperparameters were searched. The
    bootstrap draws trials with replacement, `RESAMPLES` times, by a generator seeded with `seed`.
    """
    searched = Space(space)
    if len(trials) < LEAST or len(searched.distributions) < 2:  # noqa: PLR2004  # a single one has all of it
        return {}
    told = [frozen(asked, searched, state=TrialState.COMPLETE, value=value) for asked, value in trials]
    names = list(searched.distributions)
    rng = np.random.default_rng(seed)
    with quiet_optuna():
        storage = InMemoryStorage()
        known = optuna.create_study(storage=storage, study_name="known", direction=metric.direction)
        known.add_trials(told)
        added = known.get_trials(deepcopy=False)  # each with its own id, which PED-ANOVA needs
        study = _Drawn(known.study_name, storage)
        shares = _shares(study, added, names)
        draws = [
            _shares(study, [added[i] for i in rng.integers(len(added), size=len(added))], names)
            for _ in range(RESAMPLES)
        ]
    ends = {name: np.quantile([draw[name] for draw in draws], (0.025, 0.975)).tolist() for name in names}
    return {name: Importance(shares[name], *ends[name]) for name in sorted(names, key=lambda name: -shares[name])}


class _Drawn(optuna.Study):
    """A study whose trials are handed to it: Optuna copies each one that is added, which takes most of the time."""

    drawn: list[FrozenTrial]

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:  # noqa: ARG002, FBT002  # Optuna's signature
        """Return the trials drawn, all of them complete."""
        return self.drawn


def _shares(study: _Drawn, trials: list[FrozenTrial], names: list[str]) -> dict[str, float]:
    """Return the importance of each hyperparameter by these trials; their sum is 1."""
    study.drawn = trials
    evaluator = PedAnovaImportanceEvaluator(
        target_quantile=max(0.1, _BEST / len(trials)), region_quantile=1.0, evaluate_on_local=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # if all values are equal, no trial is best: the shares are equal
        shares: dict[str, Any] = get_param_importances(study, evaluator=evaluator, params=names, normalize=True)
    return {name: float(share) for name, share in shares.items()}
