"""The trial as a plain Optuna objective: for people who drive Optuna themselves, with any sampler and pruner."""

from pathlib import Path

import optuna
import pytest
from conftest import write_mixed
from optuna.trial import TrialState

from netcore import Objective, load_spec
from netcore.data import load_dataset
from netcore.errors import InputError
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import StudySpec
from netcore.records.job import TrialJob
from netcore.search.history import quiet_optuna
from netcore.workers.trial import run_trial


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    """Return the mixed study without the hidden size that fails."""
    return load_spec(write_mixed(tmp_path, changes={", 1_000_000_000_000_000": ""}))


def optimized(spec: StudySpec, **options: object) -> optuna.Study:
    """Run 20 trials under Optuna's own loop."""
    with quiet_optuna():
        study = optuna.create_study(**options)  # type: ignore[arg-type]
        study.optimize(Objective(spec), n_trials=20)
    return study


def test_it_works_under_optimize_with_the_median_pruner(spec: StudySpec) -> None:
    """With MedianPruner some trials are stopped at a median, some finish, and the curves are reported."""
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optimized(spec, sampler=sampler, pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
    assert set(study.trials[0].params) == {"learning_rate", "hidden_size", "reg"}  # not what the file fixes
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.COMPLETE) >= 3
    assert TrialState.PRUNED in states
    for trial in study.get_trials(states=[TrialState.COMPLETE]):
        assert sorted(trial.intermediate_values) == list(range(1, 7))
        assert trial.value == min(trial.intermediate_values.values())
    stopped = [t for t in study.get_trials(states=[TrialState.PRUNED]) if 0 < len(t.intermediate_values) < 6]
    assert stopped, "no trial was stopped by the pruner"


def test_it_trains_the_trial_of_the_search(spec: StudySpec) -> None:
    """The value is that of the same trial in a search: equal number, seed and hyperparameters, equal bits."""
    with quiet_optuna():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.enqueue_trial({"learning_rate": 0.1, "hidden_size": 8, "reg": 1e-4})
        study.optimize(Objective(spec), n_trials=1)
    dataset = load_dataset(**spec.data.model_dump())
    job = TrialJob.of(spec, 0, Hyperparameters(0.1, 8, 1e-4, 0.95), {}, dataset.digest, "")
    assert study.trials[0].value == run_trial(job, dataset).value


def test_a_divergence_is_pruned(spec: StudySpec) -> None:
    """A trial whose loss is not finite is told as pruned, so that the sampler learns from it, and can never win."""
    with quiet_optuna():
        study = optuna.create_study()
        study.enqueue_trial({"learning_rate": 1e5, "hidden_size": 16, "reg": 0.1})
        study.optimize(Objective(spec), n_trials=1)
    assert study.trials[0].state is TrialState.PRUNED


def test_the_wrong_direction_is_refused(spec: StudySpec) -> None:
    """A study that maximises a loss gets one line that says how to make it."""
    with pytest.raises(
        InputError, match=r"metric val_loss needs optuna.create_study\(direction='minimize'\), got maximize"
    ):
        optimized(spec, direction="maximize")
