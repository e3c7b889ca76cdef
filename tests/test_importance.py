"""PED-ANOVA over the finished trials: what matters comes first, with an interval, and always the same."""

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import Metric
from netcore.question.space_section import Range, SpaceSection
from netcore.search.importance import LEAST, Importance, importances
from netcore.search.space import Space

SPACE = SpaceSection(
    learning_rate=Range[float](low=1e-3, high=1.0, log=True),
    hidden_size=(16, 32, 64),
    reg=Range[float](low=1e-6, high=1e-1, log=True),
    learning_rate_decay=0.95,
)
Trials = tuple[tuple[Hyperparameters, float], ...]


def some_trials(number: int, noise: float = 0.01) -> Trials:
    """Give random trials whose value is best at a learning rate of 0.1 and depends on little else."""
    rng = np.random.default_rng(number)
    drawn = [
        Hyperparameters(
            10 ** rng.uniform(-3, 0), int(rng.choice((16, 32, 64))), 10 ** rng.uniform(-6, -1), learning_rate_decay=0.95
        )
        for _ in range(number)
    ]
    return tuple((h, float((np.log10(h.learning_rate) + 1) ** 2 + noise * rng.standard_normal())) for h in drawn)


def test_what_matters_comes_first() -> None:
    """The shares are of 1; the learning rate has most of it, surely so; what the file fixes has none."""
    found = importances(SPACE, some_trials(200), metric=Metric.VAL_LOSS, seed=0)
    assert next(iter(found)) == "learning_rate"
    assert set(found) == {"learning_rate", "hidden_size", "reg"}
    assert sum(importance.share for importance in found.values()) == pytest.approx(1)
    assert found["learning_rate"].share > 0.7
    assert found["learning_rate"].low > max(found["hidden_size"].high, found["reg"].high)
    assert all(0 <= low <= high <= 1 for _, low, high in found.values())


def test_the_shares_are_optunas_own() -> None:
    """A study told of the same trials in the usual way gives the same, with the best tenth as the target."""
    trials = some_trials(80)
    study = optuna.create_study()
    for hyperparameters, value in trials:
        searched = Space(SPACE)
        params, distributions = searched.searched(hyperparameters), searched.distributions
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=value, params=params, distributions=distributions)
        )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.1, region_quantile=1.0, evaluate_on_local=True)
    expected = get_param_importances(study, evaluator=evaluator)
    found = importances(SPACE, trials, metric=Metric.VAL_LOSS, seed=0)
    assert {name: importance.share for name, importance in found.items()} == pytest.approx(expected)


def test_more_may_be_better() -> None:
    """The same trials with their values negated, to be maximised, give the same."""
    trials = some_trials(60)
    negated = tuple((hyperparameters, -value) for hyperparameters, value in trials)
    assert importances(SPACE, negated, metric=Metric.VAL_ACCURACY, seed=0) == importances(
        SPACE, trials, metric=Metric.VAL_LOSS, seed=0
    )


def test_the_bootstrap_repeats_and_has_a_seed() -> None:
    """Equal seeds, equal intervals; another seed moves their ends and leaves the shares."""
    trials = some_trials(60)
    first = importances.__wrapped__(SPACE, trials, metric=Metric.VAL_LOSS, seed=0)
    assert importances.__wrapped__(SPACE, trials, metric=Metric.VAL_LOSS, seed=0) == first
    other = importances.__wrapped__(SPACE, trials, metric=Metric.VAL_LOSS, seed=1)
    assert other != first
    assert [i.share for i in other.values()] == [i.share for i in first.values()]


def test_too_little_says_nothing() -> None:
    """Below 30 finished trials there is no importance, nor where a single hyperparameter was searched."""
    trials = some_trials(LEAST)
    assert importances(SPACE, trials[:-1], metric=Metric.VAL_LOSS, seed=0) == {}
    assert importances(SPACE, trials, metric=Metric.VAL_LOSS, seed=0) != {}
    one = SPACE.model_copy(update={"hidden_size": 16, "reg": 0.0})
    assert importances(one, trials, metric=Metric.VAL_LOSS, seed=0) == {}


def test_where_all_are_equal_nothing_matters_more() -> None:
    """Equal values have no best trials: the shares are equal, and nobody is warned."""
    equal = tuple((hyperparameters, 0.5) for hyperparameters, _ in some_trials(40))
    found = importances(SPACE, equal, metric=Metric.VAL_LOSS, seed=0)
    assert set(found.values()) == {Importance(1 / 3, 1 / 3, 1 / 3)}
