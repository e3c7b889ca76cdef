"""Which hyperparameters told the best trials from the rest: PED-ANOVA, with a bootstrap interval.

PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv:2304.10255) compares how a hyperparameter is spread among the best
trials with how it is spread among all finished ones; the more the two differ, the more it matters. It speaks of the
trials that there are, and a sampler does not draw them evenly: hence "of the finished trials", always.
"""

import warnings
from collections.abc import Container
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from netcore.question.metrics import Metric
from netcore.question.spec import Hyperparameters, SpaceSection
from netcore.search.history import quiet_optuna
from netcore.search.space import Space

__all__ = ["LEAST", "RESAMPLES", "Importance", "importances"]

LEAST = 30
"""Fewer finished trials say nothing."""

RESAMPLES = 100
"""Draws of the bootstrap; of 1,000 trials they take a second and a half."""

_BEST = 5
"""So many trials at least are the best ones, as Optuna advises; else it is a tenth of all."""


class Importance(NamedTuple):
    """How much one hyperparameter matters: its share of 1, and where 95 % of the resamples lie."""

    share: float
    low: float
    high: float


@lru_cache(maxsize=1)  # the figure and the report ask for the same
def importances(
    space: SpaceSection, trials: tuple[tuple[Hyperparameters, float], ...], *, metric: Metric, seed: int
) -> dict[str, Importance]:
    """Give the importance of each searched hyperparameter, the largest first, from finished trials and their values.

    Nothing where fewer than `LEAST` trials finished or fewer than two hyperparameters were searched. The bootstrap
    draws trials with replacement, `RESAMPLES` times, by a generator of this `seed`.
    """
    searched = Space(space)
    if len(trials) < LEAST or len(searched.distributions) < 2:  # noqa: PLR2004  # one alone has all of it
        return {}
    told = [
        create_trial(
            state=TrialState.COMPLETE,
            value=value,
            params=searched.searched(hyperparameters),
            distributions=searched.distributions,
        )
        for hyperparameters, value in trials
    ]
    names = list(searched.distributions)
    rng = np.random.default_rng(seed)
    with quiet_optuna():
        known = optuna.create_study(storage=InMemoryStorage(), direction=metric.direction)
        known.add_trials(told)
        frozen = known.get_trials(deepcopy=False)  # each with an id of its own, by which PED-ANOVA tells them apart
        study = _Drawn(known)
        shares = _shares(study, frozen, names)
        draws = [
            _shares(study, [frozen[i] for i in rng.integers(len(frozen), size=len(frozen))], names)
            for _ in range(RESAMPLES)
        ]
    ends = {name: np.quantile([draw[name] for draw in draws], (0.025, 0.975)).tolist() for name in names}
    return {name: Importance(shares[name], *ends[name]) for name in sorted(names, key=lambda name: -shares[name])}


class _Drawn(optuna.Study):
    """A study whose trials are handed to it: Optuna copies each that is added, which takes most of the time."""

    def __init__(self, known: optuna.Study) -> None:
        super().__init__(known.study_name, known._storage)  # noqa: SLF001  # there is no other way to ask for it
        self.drawn: list[FrozenTrial] = []

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:  # noqa: ARG002, FBT002  # Optuna's signature
        """Give what was drawn, all of it complete."""
        return self.drawn


def _shares(study: _Drawn, trials: list[FrozenTrial], names: list[str]) -> dict[str, float]:
    study.drawn = trials
    evaluator = PedAnovaImportanceEvaluator(
        target_quantile=max(0.1, _BEST / len(trials)), region_quantile=1.0, evaluate_on_local=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all values are equal there is no best: equal shares are the answer
        shares: dict[str, Any] = get_param_importances(study, evaluator=evaluator, params=names, normalize=True)
    return {name: float(share) for name, share in shares.items()}
