"""How trial n is proposed: a function of the study's seed, the number n and, for `tpe` and `gp`, the trials known.

`random`  a uniform point of the unit cube (`Space.at`)
`qmc`     the n-th point of a scrambled Sobol sequence, which covers the cube more evenly (Sobol 1967, Owen 1998)
`grid`    the n-th combination of the lists in [space]
`tpe`     the candidate x with the largest l(x) / g(x): l is the density of the best trials, g that of all others and of
          those in flight (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", NeurIPS)
`gp`      the point with the largest expected improvement under a Gaussian process (Jones et al. 1998)

`tpe` and `gp` are Optuna's samplers, created and seeded for each trial, so no sampler state is ever stored. The study
file's [space] tells them what to search, and two changes through Optuna's public interface adapt them to netcore.
"""

from typing import Any

from optuna import Study, create_study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import StudySpec, check_sampler
from netcore.search.space import Space, as_real, into
from netcore.seeds import Purpose, generator, seed_sequence

SAMPLER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "tpe": {"n_startup_trials": 10, "n_ei_candidates": 24, "multivariate": True, "group": False, "constant_liar": True},
    "gp": {"n_startup_trials": 10, "deterministic_objective": False, "warn_independent_sampling": True},
    "random": {},
    "qmc": {"scramble": True},
    "grid": {},
}
"""The arguments of each sampler, all explicit; resolved.json records them."""


class Sampling:
    """The proposals of one study.

    Raises:
        InputError: the study's sampler needs a library that is not installed.
    """

    def __init__(self, spec: StudySpec) -> None:
        check_sampler(spec)
        self.space = Space(spec.space)
        self._kind = spec.study.sampler
        self._seed = spec.study.seed
        self._start = [self.space.complete(self.space.searched(section)) for section in spec.start]

    def outright(self, number: int) -> Hyperparameters | None:
        """Return the proposal of trial `number` if it depends on no other trial, else None (`tpe` and `gp`).

        The [[start]] tables are the first trials; the sampler's own sequence begins after them.
        """
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
        from scipy.stats import qmc  # noqa: PLC0415  # takes 0.7 s, and no other sampler needs it

        sobol = qmc.Sobol(dimensions, **SAMPLER_ARGUMENTS["qmc"], rng=generator(self._seed, 0, Purpose.SAMPLER))
        if number:
            sobol.fast_forward(number)
        return self.space.at(sobol.random(1)[0])

    def informed(self, number: int) -> BaseSampler:
        """Return the Optuna sampler that proposes trial `number` from the trials known, seeded for this trial alone."""
        seed = int(seed_sequence(self._seed, number, Purpose.SAMPLER).generate_state(1)[0])
        sampler = _Gp if self._kind == "gp" else _Tpe
        return sampler(self.space.distributions, seed=seed, **SAMPLER_ARGUMENTS[self._kind])


class _OnSpace(BaseSampler):
    """Knows what is searched. Without this, Optuna's samplers infer it from all trials, for each proposal."""

    def __init__(self, distributions: dict[str, BaseDistribution], **arguments: Any) -> None:  # noqa: ANN401  # Optuna's
        super().__init__(**arguments)
        self._searched = {name: d for name, d in sorted(distributions.items()) if not d.single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return what is searched, in the order in which Optuna itself would find it."""
        return self._searched


class _Tpe(_OnSpace, TPESampler):
    """Optuna's tree-structured Parzen estimator, which sees a range of whole numbers as one of real numbers.

    Optuna integrates the density of every known trial over the cell of every candidate's whole number, in Python: half
    of the time of a proposal. The density at the number itself serves as well; the proposal is rounded.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose real numbers, then round those that must be whole."""
        real = {name: as_real(distribution) for name, distribution in search_space.items()}
        proposed = super().sample_relative(study, trial, real)
        return {name: into(search_space[name], value) for name, value in proposed.items()}


class _Gp(_OnSpace, GPSampler):
    """Optuna's Gaussian process, which also sees the trials that were pruned or diverged.

    Optuna's own sees only finished and running trials: it would learn nothing about a region where trials are pruned
    or diverge, and would keep proposing there.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose on one thread, so that PyTorch's sums keep their order."""
        import torch  # noqa: PLC0415  # an extra, and slow to import

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().sample_relative(_with_all_values(study), trial, search_space)
        finally:
            torch.set_num_threads(before)


def _with_all_values(study: Study) -> Study:
    """Copy a study into memory, with its pruned trials as finished ones; trials keep their numbers.

    The value of a pruned trial is the best of its curve. A diverged trial gets the worst value known.
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
