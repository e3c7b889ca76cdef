"""Claims about netcore.records.job: a trial is a pure function of its job and its data, and ends as its state says."""

import dataclasses
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from conftest import present

from netcore.core.net import evaluate
from netcore.core.params import init_params
from netcore.core.sgd import Epoch, TrainConfig, epochs
from netcore.data import Dataset, load_dataset
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import Metric
from netcore.question.spec import StudySpec
from netcore.records.job import State, TrialJob, TrialResult
from netcore.seeds import Purpose, generator
from netcore.training.step import compiled
from netcore.workers.trial import run_trial

SPACE = {"learning_rate": 0.1, "hidden_size": 6, "reg": 1e-3, "learning_rate_decay": 0.9}


@pytest.fixture(scope="module")
def iris() -> Dataset:
    """Load iris once."""
    return load_dataset("iris", validation=0.2, test=0.2, seed=0)


def job(*, metric: str = "val_loss", seed: int = 0, number: int = 0, **changes: Any) -> TrialJob:  # noqa: ANN401
    """Make a job of six epochs of iris, but for the changes asked for."""
    study = {"name": "x", "seed": seed, "metric": metric}
    training = {"epochs": 6, "batch_size": 10, "dtype": changes.pop("dtype", "float32")}
    spec = StudySpec.model_validate({"study": study, "data": {"source": "iris"}, "training": training, "space": SPACE})
    asked = {**SPACE, **{name: changes.pop(name) for name in list(changes) if name in SPACE}}
    made = TrialJob.of(spec, number, Hyperparameters(**asked), {}, "digest", "")
    return dataclasses.replace(made, **changes)


def bits(result: TrialResult) -> bytes:
    """Return everything of a result, weights included, as bytes."""
    metrics = np.array([dataclasses.astuple(epoch) for epoch in result.curve], np.float64)
    weights = b"" if result.weights is None else b"".join(array.tobytes() for array in result.weights)
    return (
        repr((result.state, result.best_epoch, result.value.hex(), result.failure)).encode()
        + metrics.tobytes()
        + weights
    )


@pytest.mark.parametrize(("seed", "dtype"), [(0, "float32"), (2**32 - 1, "float64")])
def test_same_job_same_bits(iris: Dataset, seed: int, dtype: str) -> None:
    """A job gives the same bits again, whatever ran before and whatever the global generator says."""
    one = job(seed=seed, number=3, dtype=dtype)
    first = run_trial(one, iris)
    np.random.seed(99)  # noqa: NPY002  # the global state is what must not matter
    run_trial(job(seed=5), iris)
    assert bits(run_trial(pickle.loads(pickle.dumps(one)), iris)) == bits(first)  # noqa: S301  # our own bytes
    assert {array.dtype.name for array in present(first.weights)} == {dtype}


def test_the_data_do_not_change(iris: Dataset) -> None:
    """A trial leaves its data and its job as they were."""
    arrays = [value for value in vars(iris).values() if isinstance(value, np.ndarray)]
    before = [array.tobytes() for array in arrays]
    asked = job(thresholds={2: 0.1})
    run_trial(asked, iris)
    assert [array.tobytes() for array in arrays] == before
    assert asked == job(thresholds={2: 0.1})


@pytest.mark.parametrize(
    "change",
    [
        *({"seed": 1}, {"number": 1}, {"dtype": "float64"}, {"batch_size": 9}),
        *({"learning_rate": 0.2}, {"hidden_size": 7}, {"reg": 2e-3}, {"learning_rate_decay": 0.8}),
    ],
)
def test_everything_in_a_job_matters(iris: Dataset, change: dict[str, Any]) -> None:
    """Another seed, number, precision, batch size or hyperparameter gives other numbers."""
    assert bits(run_trial(job(**change), iris)) != bits(run_trial(job(), iris))


def test_the_trial_is_the_documented_training(iris: Dataset) -> None:
    """A trial is `epochs()` from He's weights, with the streams (seed, number, weights) and (seed, number, batches)."""
    params = init_params(generator(4, 2, Purpose.WEIGHTS), 4, 6, 3)
    config = TrainConfig(0.1, 6, 1e-3, 0.9, epochs=6, batch_size=10)
    rng = generator(4, 2, Purpose.BATCHES)
    curve = tuple(epochs(params, iris.X_train, iris.y_train, iris.X_val, iris.y_val, config, rng, step=compiled))
    assert run_trial(job(seed=4, number=2), iris).curve == curve


def has_the_weights_of_its_best_epoch(result: TrialResult, iris: Dataset) -> None:
    """Check that the weights give the metrics of the best epoch."""
    best = result.curve[present(result.best_epoch) - 1]
    found = evaluate(present(result.weights), iris.X_val, iris.y_val)
    assert found == pytest.approx((best.val_loss, best.val_accuracy))


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("seed", range(3))
def test_best_epoch_value_and_weights(iris: Dataset, metric: str, seed: int) -> None:
    """The value is the best metric of all epochs, the first of equal ones, and the weights are that epoch's."""
    result = run_trial(job(metric=metric, seed=seed, learning_rate=3.0), iris)
    values = [getattr(epoch, metric) for epoch in result.curve]
    assert result.state is State.FINISHED
    assert len(values) == 6
    assert result.value == (max(values) if metric == "val_accuracy" else min(values))
    assert result.best_epoch == values.index(result.value) + 1
    has_the_weights_of_its_best_epoch(result, iris)


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("rung", [1, 2, 5])
def test_pruned_exactly_at_the_rung(iris: Dataset, metric: str, rung: int) -> None:
    """A trial whose best so far is worse than the threshold ends at that rung; a tie goes on, and a better one too."""
    free = run_trial(job(metric=metric), iris)
    best = Metric(metric).best_so_far(free.curve, rung)
    worse, better = (math.inf, -math.inf) if metric == "val_accuracy" else (-math.inf, math.inf)
    for threshold in (best, math.nextafter(best, better)):
        assert bits(run_trial(job(metric=metric, thresholds={rung: threshold}), iris)) == bits(free)
    pruned = run_trial(job(metric=metric, thresholds={rung: math.nextafter(best, worse)}), iris)
    assert pruned.state is State.PRUNED
    assert pruned.curve == free.curve[:rung]
    assert pruned.value == best
    assert pruned.best_epoch == [getattr(epoch, metric) for epoch in pruned.curve].index(best) + 1
    has_the_weights_of_its_best_epoch(pruned, iris)


def test_the_best_so_far_counts_not_the_last(iris: Dataset) -> None:
    """A trial that was good enough before the rung goes on, though it is worse at the rung."""
    free = run_trial(job(learning_rate=0.9, seed=1), iris)
    losses = [epoch.val_loss for epoch in free.curve]
    rung = next(n for n in range(2, 6) if losses[n - 1] > min(losses[: n - 1]))
    threshold = (losses[rung - 1] + min(losses[: rung - 1])) / 2
    assert run_trial(job(learning_rate=0.9, seed=1, thresholds={rung: threshold}), iris).state is State.FINISHED


def test_nothing_is_pruned_at_the_last_epoch(iris: Dataset) -> None:
    """A trial that has trained to its end is finished, whatever the threshold there."""
    assert run_trial(job(thresholds={6: -1.0}), iris).state is State.FINISHED


@pytest.mark.parametrize(("learning_rate", "dtype"), [(1e3, "float32"), (1e300, "float32"), (1e30, "float64")])
def test_diverged(iris: Dataset, learning_rate: float, dtype: str) -> None:
    """A loss that is not finite ends the trial in that epoch, without a warning; it has no value and no weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run_trial(job(learning_rate=learning_rate, reg=0.1, dtype=dtype, epochs=40), iris)
    assert result.state is State.DIVERGED
    *before, last = result.curve
    assert not (math.isfinite(last.train_loss) and math.isfinite(last.val_loss))
    assert all(math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss) for epoch in before)
    assert result.best_epoch is None
    assert math.isnan(result.value)
    assert result.weights is None


def test_a_divergence_is_not_pruned(iris: Dataset) -> None:
    """A trial whose loss is not finite at a rung has diverged; the threshold is not asked."""
    first = len(run_trial(job(learning_rate=1e30), iris).curve)
    result = run_trial(job(learning_rate=1e30, thresholds={first: 0.0}), iris)
    assert result.state is State.DIVERGED


@pytest.mark.parametrize(("end", "state"), [(3, State.PRUNED), (6, State.FINISHED)])
def test_stop_callback(iris: Dataset, end: int, state: State) -> None:
    """`stop` replaces the thresholds: it gets each epoch and the best so far; at the last epoch it changes nothing."""
    seen: list[tuple[Epoch, float]] = []

    def stop(epoch: Epoch, best: float) -> bool:
        seen.append((epoch, best))
        return epoch.epoch == end

    result = run_trial(job(thresholds={1: -1.0}), iris, stop=stop)
    assert result.state is state
    assert tuple(epoch for epoch, _ in seen) == result.curve
    assert [best for _, best in seen] == [Metric.VAL_LOSS.best_so_far(result.curve, n) for n in range(1, end + 1)]
