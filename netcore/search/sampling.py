"""How trial n is proposed: a function of the study's seed, the number n, and (for `tpe` and `gp`) what is known.

Nothing of a sampler is ever stored. `random`, `qmc` and `grid` compute the n-th proposal outright; `tpe` and `gp` are
built anew, and seeded anew, for every trial; what `tpe` remembers spares time and decides nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study, create_study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe import sampler as _tpe
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.special import log_ndtr

from netcore.question.spec import Hyperparameters, StudySpec, check_sampler
from netcore.search.space import Space
from netcore.seeds import Purpose, generator, seed_sequence

__all__ = ["SAMPLER_ARGUMENTS", "Sampling", "quick_tpe"]

SAMPLER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "tpe": {
        "n_startup_trials": 10,
        "n_ei_candidates": 24,
        "multivariate": True,
        "group": False,
        "constant_liar": True,
    },
    "gp": {
        "n_startup_trials": 10,
        "deterministic_objective": False,
        "warn_independent_sampling": True,
    },
    "random": {},
    "qmc": {"scramble": True},
    "grid": {},
}
"""What each sampler is built with, all of it said outright; resolved.json records it."""


class Sampling:
    """The proposals of one study.

    Raises:
        InputError: its sampler needs a library that is not installed.
    """

    def __init__(self, spec: StudySpec) -> None:
        check_sampler(spec)
        self.space = Space(spec.space)
        self._kind = spec.study.sampler
        self._seed = spec.study.seed
        self._start = [self.space.start(section) for section in spec.start]
        self._internal: dict[int, dict[str, float]] = {}

    def outright(self, number: int) -> Hyperparameters | None:
        """Give the proposal of trial `number` where it depends on no other trial, else None."""
        if number < len(self._start):
            return self._start[number]
        if self._kind in {"tpe", "gp"}:
            return None
        number -= len(self._start)
        if self._kind == "grid":
            return self.space.combination(number)
        dimensions = len(self.space.distributions)
        if self._kind == "random" or dimensions == 0:
            return self.space.at(generator(self._seed, number, Purpose.SAMPLER).random(dimensions))
        from scipy.stats import qmc  # noqa: PLC0415  # 0.7 s, and no other sampler needs it

        sobol = qmc.Sobol(dimensions, **SAMPLER_ARGUMENTS["qmc"], rng=generator(self._seed, 0, Purpose.SAMPLER))
        if number:
            sobol.fast_forward(number)
        return self.space.at(sobol.random(1)[0])

    def informed(self, number: int) -> BaseSampler:
        """Give the Optuna sampler that proposes trial `number` from what the study knows."""
        seed = int(seed_sequence(self._seed, number, Purpose.SAMPLER).generate_state(1)[0])
        arguments: dict[str, Any] = {"seed": seed, **SAMPLER_ARGUMENTS[self._kind]}
        if self._kind == "gp":
            return _Gp(self.space.distributions, **arguments)
        return _Tpe(self.space.distributions, internal=self._internal, **arguments)


class _Told(BaseSampler):
    """Told what is searched: by itself, a sampler of Optuna's looks through all trials for that, for each proposal."""

    def __init__(self, distributions: dict[str, BaseDistribution], **arguments: Any) -> None:  # noqa: ANN401  # Optuna's
        super().__init__(**arguments)
        together = arguments.get("multivariate", True)  # else one by one, and Optuna wants to hear of no space
        self._searched = {name: d for name, d in sorted(distributions.items()) if together and not d.single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Give what is searched, in the order that Optuna itself would have found."""
        return self._searched


class _Tpe(_Told, TPESampler):
    """Optuna's tree-structured Parzen estimator, with a memory that outlives it.

    `internal` holds, by the trial's number, what its hyperparameters are in Optuna's internal representation. By
    itself TPE works that out of all trials, for each proposal: a third of the time.
    """

    def __init__(self, *told: Any, internal: dict[int, dict[str, float]], **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(*told, **arguments)
        self._internal = internal

    def _get_internal_repr(
        self,
        trials: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
        study: Study,  # noqa: ARG002
    ) -> dict[str, NDArray[Any]]:
        known = [self._internal.get(trial.number) or self._learn(trial) for trial in trials]
        return {name: np.asarray([values[name] for values in known]) for name in search_space}

    def _learn(self, trial: FrozenTrial) -> dict[str, float]:
        params = trial.params
        values = {name: d.to_internal_repr(params[name]) for name, d in trial.distributions.items()}
        self._internal[trial.number] = values
        return values


class _Gp(_Told, GPSampler):
    """Optuna's Gaussian process, shown the trials that were stopped or diverged as well.

    By itself it looks at finished trials and at those in flight alone: it would learn nothing of a region where trials
    are stopped or diverge, and so go on proposing there.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose on one thread: PyTorch's sums keep their order then."""
        import torch  # noqa: PLC0415  # an extra, and slow to import

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().sample_relative(_with_all_values(study), trial, search_space)
        finally:
            torch.set_num_threads(before)


def _with_all_values(study: Study) -> Study:
    """Copy a study, and let each pruned trial count as finished: with its best value, a divergence with the worst one.

    The copy is a study in memory, where trials have the numbers that they had.
    """
    trials = study.get_trials(deepcopy=False)
    better, worse = (max, min) if study.direction is StudyDirection.MAXIMIZE else (min, max)
    values = {trial.number: better(curve) for trial in trials if (curve := [*trial.intermediate_values.values()])}
    copy = create_study(direction=study.direction)
    for trial in trials:
        if trial.state is TrialState.PRUNED and values:
            value = values.get(trial.number, worse(values.values()))
            trial = create_trial(value=value, params=trial.params, distributions=trial.distributions)
        copy.add_trial(trial)
    return copy


@contextmanager
def quick_tpe() -> Iterator[None]:
    """Spare Optuna's TPE, while this lasts, more than half of the time of a proposal.

    Its logarithm of the normal distribution is Python and works number by number: SciPy's agrees with it within
    rounding. And of each trial, for each proposal, it looks for constraints, of which a study here has none.
    """
    own = _truncnorm._log_ndtr, _tpe._get_infeasible_trial_score  # noqa: SLF001  # there is no other way in
    _truncnorm._log_ndtr, _tpe._get_infeasible_trial_score = log_ndtr, _no_constraint  # noqa: SLF001
    try:
        yield
    finally:
        _truncnorm._log_ndtr, _tpe._get_infeasible_trial_score = own  # noqa: SLF001


def _no_constraint(trial: FrozenTrial) -> float:  # noqa: ARG001
    return 0.0
