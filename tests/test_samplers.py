"""Claims about netcore.search.samplers: a proposal is a function of seed, number and (`tpe`, `gp`) what is known."""

import inspect
import itertools
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest
from conftest import needs_gp, present
from optuna.samplers import GPSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState
from scipy.stats import qmc

from netcore.errors import InputError
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import StudySpec
from netcore.search.samplers import SAMPLER_ARGUMENTS, Sampling, _with_all_values
from netcore.seeds import Purpose, generator, seed_sequence

SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    "hidden_size": {"low": 1, "high": 64, "log": True},
    "reg": [0.0, 0.1],
    "learning_rate_decay": {"low": 0.5, "high": 1.0},
}
LISTS: dict[str, Any] = {
    "learning_rate": [0.1, 1.0],
    "hidden_size": [4, 8],
    "reg": [0.0, 0.1],
    "learning_rate_decay": 0.9,
}
START = [{"learning_rate": 0.1, "hidden_size": 4, "reg": 0.0, "learning_rate_decay": 0.9}]


def sampling(kind: str, *, seed: int = 0, start: list[dict[str, float]] | None = None, fixed: bool = False) -> Sampling:
    """Make the proposals of a study with this sampler."""
    space = LISTS if kind == "grid" else SPACE
    if fixed:
        space = {"learning_rate": 0.1, "hidden_size": 4, "reg": 0.0, "learning_rate_decay": 0.9}
    study = {"name": "x", "sampler": kind, "seed": seed, "trials": 1 if fixed else 8}
    settings = {"study": study, "data": {"source": "iris"}, "space": space, "start": start or []}
    return Sampling(StudySpec.model_validate(settings))


def outright(kind: str, number: int, **options: Any) -> Hyperparameters:  # noqa: ANN401
    """Propose trial `number` with a sampler made for it alone."""
    return present(sampling(kind, **options).outright(number))


@pytest.mark.parametrize("kind", ["random", "qmc", "grid"])
def test_proposals_are_a_function_of_seed_and_number(kind: str) -> None:
    """Whoever asks, in whatever order, and whether or not others were asked before: trial n's proposal is the same."""
    one = sampling(kind, seed=3)
    forwards = [one.outright(n) for n in range(8)]
    assert [one.outright(n) for n in reversed(range(8))] == forwards[::-1]
    assert [outright(kind, n, seed=3) for n in range(8)] == forwards
    assert len(set(forwards)) == 8


@pytest.mark.parametrize("kind", ["random", "qmc"])
def test_another_seed_proposes_something_else(kind: str) -> None:
    """No proposal of one seed is one of another's."""
    proposals = [{outright(kind, n, seed=seed) for n in range(16)} for seed in range(4)]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(proposals, 2))


def test_random_is_the_documented_stream() -> None:
    """`random` draws from the stream of (seed, n, sampler)."""
    one = sampling("random", seed=7)
    assert one.outright(3) == one.space.at(generator(7, 3, Purpose.SAMPLER).random(4))


def test_qmc_fast_forwards_to_the_sequence() -> None:
    """`qmc` proposes the n-th point of the one scrambled Sobol sequence of the study."""
    one = sampling("qmc", seed=5)
    points = qmc.Sobol(4, scramble=True, rng=generator(5, 0, Purpose.SAMPLER)).random(1024)
    assert all(one.outright(number) == one.space.at(points[number]) for number in (0, 1, 2, 17, 1000))


def test_grid_tries_every_combination_once() -> None:
    """`grid` proposes each combination exactly once."""
    found = {outright("grid", n) for n in range(8)}
    assert found == {Hyperparameters(*c, 0.9) for c in itertools.product([0.1, 1.0], [4, 8], [0.0, 0.1])}


@pytest.mark.parametrize("kind", ["random", "qmc"])
def test_every_value_is_in_its_range(kind: str) -> None:
    """Every proposal lies in the space; every whole number up to 4 and every choice comes up; what is fixed stays."""
    proposals = [outright(kind, n, seed=2**31) for n in range(128)]
    assert all(1e-3 <= p.learning_rate <= 1.0 and 0.5 <= p.learning_rate_decay <= 1.0 for p in proposals)
    assert {p.hidden_size for p in proposals} <= set(range(1, 65))
    assert {1, 2, 3, 4} <= {p.hidden_size for p in proposals}
    assert {p.reg for p in proposals} == {0.0, 0.1}


@pytest.mark.parametrize("kind", ["random", "qmc", "grid", "tpe", pytest.param("gp", marks=needs_gp)])
def test_start_trials_come_first(kind: str) -> None:
    """The [[start]] tables are the first trials, whatever the sampler; the sampler's own sequence follows whole."""
    start = [START[0], {**START[0], "hidden_size": 8}]
    with_start = sampling(kind, start=start)
    assert with_start.outright(0) == Hyperparameters(0.1, 4, 0.0, 0.9)
    assert with_start.outright(1) == Hyperparameters(0.1, 8, 0.0, 0.9)
    assert [with_start.outright(2 + n) for n in range(4)] == [sampling(kind).outright(n) for n in range(4)]


@pytest.mark.parametrize("kind", ["random", "qmc", "grid"])
def test_nothing_is_searched(kind: str) -> None:
    """Where all hyperparameters are fixed, that is the proposal."""
    assert outright(kind, 0, fixed=True) == Hyperparameters(0.1, 4, 0.0, 0.9)


def test_tpe_is_built_with_the_recorded_arguments() -> None:
    """The recorded arguments are all that decide a proposal; those left to Optuna are deprecated or change nothing."""
    known = inspect.signature(TPESampler.__init__).parameters
    left_out = {"self", "seed", "gamma", "weights", "consider_prior", "prior_weight", "consider_magic_clip"}
    left_out |= {"consider_endpoints", "warn_independent_sampling", "constraints_func", "categorical_distance_func"}
    assert known.keys() - SAMPLER_ARGUMENTS["tpe"].keys() <= left_out
    assert SAMPLER_ARGUMENTS["tpe"].keys() <= known.keys()


def test_each_trial_and_each_seed_has_its_own_tpe() -> None:
    """Over one history, TPE proposes the same for equal seeds and numbers, and something else for others."""

    def propose(seed: int, number: int) -> float:
        return float(ask("tpe", told_study(0), seed, number)["learning_rate"])

    proposals = [propose(seed, number) for seed in range(3) for number in range(6)]
    assert proposals == [propose(seed, number) for seed in range(3) for number in range(6)]
    assert len(set(proposals)) == len(proposals)


@pytest.mark.parametrize("trials", [0, 10, 25])
def test_tpe_is_optunas(trials: int) -> None:
    """Without ranges of whole numbers, netcore's TPE proposes what Optuna's own does, to the last bit."""
    space = {**SPACE, "hidden_size": [4, 8, 16]}
    assert proposals(trials, space, ours=True) == proposals(trials, space, ours=False)


def test_tpe_proposes_whole_numbers_like_optuna() -> None:
    """With a range of whole numbers many proposals are still Optuna's own, and every one is a whole number in range."""
    pairs = [
        pair
        for trials in (10, 25)
        for pair in zip(proposals(trials, SPACE, ours=True), proposals(trials, SPACE, ours=False), strict=True)
    ]
    assert sum(ours == own for ours, own in pairs) >= len(pairs) / 3
    assert all(type(ours["hidden_size"]) is int and 1 <= ours["hidden_size"] <= 64 for ours, _ in pairs)


def proposals(trials: int, space: dict[str, Any], *, ours: bool) -> list[dict[str, Any]]:
    """Propose six times after so many random trials, with four in flight; by netcore's TPE or by Optuna's."""
    spec = {"study": {"name": "x", "seed": trials}, "data": {"source": "iris"}, "space": space}
    sampling, rng = Sampling(StudySpec.model_validate(spec)), np.random.default_rng(trials)
    study, distributions = optuna.create_study(), sampling.space.distributions
    for _ in range(trials):
        state = TrialState.COMPLETE if rng.random() < 0.7 else TrialState.PRUNED
        value = float(rng.random()) if state is TrialState.COMPLETE else None
        params = sampling.space.searched(sampling.space.at(rng.random(4)))
        study.add_trial(optuna.create_trial(state=state, value=value, params=params, distributions=distributions))
    found = []
    for number in range(trials, trials + 6):
        seed = int(seed_sequence(trials, number, Purpose.SAMPLER).generate_state(1)[0])
        own = TPESampler(seed=seed, **SAMPLER_ARGUMENTS["tpe"])
        study.sampler = sampling.informed(number) if ours else own
        found.append(study.ask(distributions).params)
        if number >= trials + 4:
            study.tell(number - 4, float(rng.random()))
    return found


@needs_gp
def test_gp_is_built_with_the_recorded_arguments() -> None:
    """Every argument of the Gaussian process is explicit, but for its seed and the two that stay unset."""
    known = inspect.signature(GPSampler.__init__).parameters
    assert known.keys() - SAMPLER_ARGUMENTS["gp"].keys() == {"self", "seed", "independent_sampler", "constraints_func"}


def told_study(seed: int, direction: StudyDirection = StudyDirection.MINIMIZE) -> optuna.Study:
    """Tell a study of 12 trials that finished, 2 that were stopped, 2 that diverged, 1 that failed; 3 are in flight."""
    ours, study = sampling("random", seed=seed), optuna.create_study(direction=direction)
    states = [TrialState.COMPLETE] * 12 + [TrialState.PRUNED] * 4 + [TrialState.FAIL] + [TrialState.RUNNING] * 3
    for number, state in enumerate(states):
        asked = outright("random", number, seed=seed)
        value = abs(np.log10(asked.learning_rate) + 1) + asked.reg
        curve = {} if number > 13 else {1: value + 1, 2: value + 0.5, 3: value + 0.75}
        facts = {"value": value + 0.5} if state is TrialState.COMPLETE else {}
        params, distributions = ours.space.searched(asked), ours.space.distributions
        trial = optuna.create_trial(
            state=state, params=params, distributions=distributions, intermediate_values=curve, **facts
        )
        study.add_trial(trial)
    return study


@pytest.mark.parametrize("direction", [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE])
def test_what_the_gaussian_process_is_shown(direction: StudyDirection) -> None:
    """Stopped trials count with their best value, divergences with the worst known; others stay what they are."""
    study = told_study(0, direction)
    shown, trials = _with_all_values(study).trials, study.trials
    better, worse = (min, max) if direction is StudyDirection.MINIMIZE else (max, min)
    values = [better(trial.intermediate_values.values()) for trial in trials[:14]]
    assert [trial.value for trial in shown[12:16]] == [*values[12:], *[worse(values)] * 2]
    assert {trial.state for trial in shown[:16]} == {TrialState.COMPLETE}
    for before, after in zip(trials, shown, strict=True):
        assert (before.number, before.params) == (after.number, after.params)
        assert before.state in {after.state, TrialState.PRUNED}


def test_a_divergence_before_anything_is_known_stays_one() -> None:
    """Without a single value there is none to give a divergence."""
    study = optuna.create_study()
    study.add_trial(told_study(0).trials[15])
    assert _with_all_values(study).trials[0].state is TrialState.PRUNED


def ask(kind: str, study: optuna.Study, seed: int, number: int | None = None) -> dict[str, Any]:
    """Ask a sampler for one more trial of a copy of this study."""
    ours, copy = sampling(kind, seed=seed), optuna.create_study(direction=study.direction)
    copy.add_trials(study.trials)
    copy.sampler = ours.informed(len(study.trials) if number is None else number)
    return copy.ask(ours.space.distributions).params


@needs_gp
def test_gp_is_a_function_of_what_is_known_seed_and_number() -> None:
    """Asked again, it proposes the same; with another seed, or another trial in flight, something else."""
    study = told_study(1)
    asked = ask("gp", study, 1)
    assert ask("gp", study, 1) == asked
    assert ask("gp", study, 2) != asked
    study.add_trial(study.trials[-1])
    assert ask("gp", study, 1) != asked


@needs_gp
def test_gp_proposes_on_one_thread_and_leaves_the_number_as_it_was() -> None:
    """However many threads PyTorch may use, the proposal has the same bits."""
    import torch

    study, before, found = told_study(2), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(ask("gp", study, 2))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.parametrize("package", ["torch", "greenlet"])
def test_gp_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Without PyTorch, or greenlet, no sampler is made: one line gives place, rule, value and remedy."""
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "greenlet", ModuleType("greenlet"))
    for name in ("torch", "greenlet"):
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    sampling("gp")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as error:
        sampling("gp")
    line = f"x: study.sampler: needs {package}, which is not installed, got 'gp'; pip install 'netcore[gp]'"
    assert str(error.value) == line
