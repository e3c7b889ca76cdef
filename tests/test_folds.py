"""Claims about `[data] folds = k`: k nets are trained in step and judged by their mean, as reproducibly as one."""

import json
import math
import sqlite3
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import recorded
from commands import netcore_command
from conftest import fingerprint
from sklearn.model_selection import StratifiedKFold

import netcore
from netcore.core.net import evaluate
from netcore.core.params import init_params
from netcore.core.sgd import Epoch, TrainConfig, epochs
from netcore.data import Dataset, load_dataset, prepare
from netcore.data.dataset import RawData
from netcore.errors import DataError, InputError
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import METRICS, Metric
from netcore.question.spec import StudySpec, dataset_of, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob, TrialResult
from netcore.records.record import Record
from netcore.results.tables import CURVE, TRIALS, StudyTables
from netcore.run import Run
from netcore.search.history import quiet_optuna
from netcore.seeds import Purpose, generator, seed_sequence
from netcore.training.step import compiled
from netcore.workers.trial import run_trial
from studies import write_study

STUDY = {
    "study": "seed = 3, trials = 24, window = 4, max_failures = 60",
    "data": "source = 'iris', folds = 3",
    "training": "epochs = 5, batch_size = 10",
    "learning_rate": "{ low = 1e-3, high = 1e4, log = true }",
    "hidden_size": "[4, 8, 1_000_000_000_000_000]",
    "reg": "{ low = 1e-6, high = 1e-1, log = true }",
    "stopping": "rungs = [2, 3], after = 3",
}
"""What its study file changes in that of `studies.py`: trials of every state, in folds."""
UNFIT = "cannot be split so that every class is in each part"
FEWER = "set fewer data.folds, or remove the rows of small classes"
USUAL = Hyperparameters(0.1, 6, 1e-3, 0.9)

Folded = tuple[StudySpec, Path, StudyTables]


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Folded:
    """Return a study with folds and trials of every state: spec, results folder, tables. Tests must not change it."""
    folder = tmp_path_factory.mktemp("folded")
    spec = load_spec(write_study(folder / "folded.toml", **STUDY))
    return spec, folder / "results", netcore.run_study(spec, results=folder / "results", workers=2)


@cache
def iris(folds: int | None = 3) -> Dataset:
    """Load iris with this many folds, once."""
    return load_dataset("iris", seed=0, folds=folds)


def numbered(counts: tuple[int, ...] = (30, 24, 12), *, official: bool = False) -> RawData:
    """Make rows whose only feature is their number."""
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.arange(len(y), dtype=float)[:, None]
    test = (1000 + X[::3], y[::3]) if official else None
    return RawData("numbered", X, y, tuple("abcdefgh"[: len(counts)]), ("number",), None, test)


def rows(X: np.ndarray[Any, Any]) -> list[int]:
    """Return the numbers of rows that were prepared by `none`."""
    return sorted(X[:, 0].astype(int).tolist())


def job(**changes: Any) -> TrialJob:  # noqa: ANN401
    """Return a job of six epochs, with some fields changed."""
    usual = {"hyperparameters": USUAL, "thresholds": {}, "epochs": 6, "batch_size": 10, "seed": 4}
    return recorded.job(**{**usual, **changes})


# The data


@pytest.mark.parametrize("official", [False, True])
def test_folds_are_scikit_learn_s(*, official: bool) -> None:
    """The folds are those of StratifiedKFold over the rows outside the test set, which is that of a single split."""
    raw = numbered(official=official)
    split = partial(prepare, raw, test=0.2, seed=5, standardize="none", dtype=np.float64)
    dataset = split(folds=4)
    assert dataset.X_test.tobytes() == split().X_test.tobytes()
    rest = sorted(set(range(66)) - set(rows(dataset.X_test)))
    assert sorted(number for fold in dataset.folds for number in rows(fold.X_val)) == rest
    if official:  # else the rows are in another order
        state = int(seed_sequence(5, 0, Purpose.SPLIT).generate_state(2)[1])
        theirs = StratifiedKFold(4, shuffle=True, random_state=state).split(raw.X, raw.y)
        assert [rows(fold.X_val) for fold in dataset.folds] == [val.tolist() for _, val in theirs]
    for fold in dataset.folds:
        assert sorted(rows(fold.X_train) + rows(fold.X_val)) == rest
        for X, y in ((fold.X_train, fold.y_train), (fold.X_val, fold.y_val)):
            np.testing.assert_array_equal(raw.y[X[:, 0].astype(int)], y)
    assert all(len(fold.y_test) == 0 for fold in dataset.others)


def test_each_fold_is_prepared_by_its_own_training_part() -> None:
    """Every fold's features have mean 0 and deviation 1 over its own training rows; the test part has fold 0's."""
    dataset = load_dataset("wine", seed=0, folds=4, dtype=np.float64)
    for fold in dataset.folds:
        np.testing.assert_allclose(fold.X_train.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(fold.X_train.std(axis=0), 1)
    assert len({fold.preprocessing.arrays["mean"].tobytes() for fold in dataset.folds}) == 4
    raw = load_dataset("wine", seed=0, folds=4, dtype=np.float64, standardize="none")
    fitted = dataset.preprocessing.arrays
    assert dataset.X_test.tobytes() == ((raw.X_test - fitted["mean"]) / fitted["scale"]).tobytes()


@pytest.mark.parametrize(
    ("folds", "why"),
    [
        (12, "class 'c' has 12 rows, 13 are needed"),
        (11, "The least populated class in y has only 10 members, which is less than n_splits=11."),
    ],
)
def test_more_folds_than_rows_of_a_class(folds: int, why: str) -> None:
    """A class with too few rows to be in every fold's validation part is named, with the remedy, in one line."""
    with pytest.raises(DataError) as caught:
        prepare(numbered(), test=0.2, folds=folds, seed=0)
    assert str(caught.value) == f"numbered: {UNFIT} ({why}); {FEWER}"


# What the study file says


def test_a_batch_as_large_as_the_smallest_training_part() -> None:
    """The batch size is at most the rows of the smallest fold."""
    study = {"study": {"name": "x"}, "data": {"source": "wine", "folds": 3}, "space": USUAL._asdict()}
    smallest = min(len(fold.y_train) for fold in load_dataset("wine", seed=0, folds=3).folds)
    assert smallest < max(len(fold.y_train) for fold in load_dataset("wine", seed=0, folds=3).folds)
    dataset_of(StudySpec.model_validate({**study, "training": {"batch_size": smallest}}))
    with pytest.raises(InputError, match=f"at most the {smallest} rows of the training set, got {smallest + 1}"):
        dataset_of(StudySpec.model_validate({**study, "training": {"batch_size": smallest + 1}}))


# The trial


def alone(asked: TrialJob, fold: int) -> tuple[Epoch, ...]:
    """Train the net of one fold alone; return its curve."""
    part = iris(3).folds[fold]
    weights, batches = (generator(4, asked.number, purpose, fold) for purpose in (Purpose.WEIGHTS, Purpose.BATCHES))
    params, config = init_params(weights, 4, 6, 3), TrainConfig(*USUAL, epochs=6, batch_size=10)
    data = part.X_train, part.y_train, part.X_val, part.y_val
    return tuple(epochs(params, *data, config, batches, step=compiled))


def test_each_fold_is_a_training_of_its_own() -> None:
    """A fold's net equals a net trained alone: its own weights, its own batches, its own rows."""
    result = run_trial(job(), iris())
    assert result.folds == tuple(alone(job(), fold) for fold in range(3))
    assert len({fold[0].train_loss for fold in result.folds}) == 3


@pytest.mark.parametrize("metric", Metric)
def test_a_trial_is_judged_by_the_mean(metric: Metric) -> None:
    """Its curve is the mean of the folds', its value the best of that curve; the weights are the first fold's."""
    result = run_trial(job(metric=metric, hyperparameters=USUAL._replace(learning_rate=2.0)), iris())
    for epoch, of_folds in zip(result.curve, zip(*result.folds, strict=True), strict=True):
        for name in METRICS:
            np.testing.assert_allclose(getattr(epoch, name), np.mean([getattr(fold, name) for fold in of_folds]))
        assert epoch.learning_rate == of_folds[0].learning_rate
    assert result.state is State.FINISHED
    assert result.value == metric.best_so_far(result.curve, 6)
    assert result.best_epoch == [getattr(epoch, metric) for epoch in result.curve].index(result.value) + 1
    assert result.weights is not None
    first = iris().folds[0]
    shown = result.folds[0][result.best_epoch - 1]
    assert evaluate(result.weights, first.X_val, first.y_val) == pytest.approx((shown.val_loss, shown.val_accuracy))


@pytest.mark.parametrize("metric", Metric)
def test_a_rung_looks_at_the_mean(metric: Metric) -> None:
    """A trial is stopped where the best mean is worse than the threshold, and all its nets stop there."""
    free = run_trial(job(metric=metric), iris())
    best = metric.best_so_far(free.curve, 3)
    tie = run_trial(job(metric=metric, thresholds={3: best}), iris())
    assert (tie.state, tie.curve) == (State.FINISHED, free.curve)
    worse = -math.inf if metric is Metric.VAL_LOSS else math.inf
    stopped = run_trial(job(metric=metric, thresholds={3: math.nextafter(best, worse)}), iris())
    assert (stopped.state, stopped.value) == (State.PRUNED, best)
    assert stopped.folds == tuple(fold[:3] for fold in free.folds)


def test_one_net_that_diverges_ends_the_trial() -> None:
    """A loss that is not finite in one fold makes the trial diverge, without value and weights."""
    dataset = iris()
    broken = dataset.others[0]
    huge = replace(broken, X_train=np.full_like(broken.X_train, 1e30))
    result = run_trial(job(), replace(dataset, others=(huge, dataset.others[1])))
    assert (result.state, result.weights, result.best_epoch) == (State.DIVERGED, None, None)
    assert math.isnan(result.value)
    assert [len(fold) for fold in result.folds] == [len(result.curve)] * 3
    finite = [math.isfinite(fold[-1].train_loss) and math.isfinite(fold[-1].val_loss) for fold in result.folds]
    assert finite == [True, False, True]


def test_without_folds_there_are_none() -> None:
    """A trial without folds has no curves of folds, and its streams are those of the first fold."""
    result = run_trial(job(), iris(None))
    assert result.folds == ()
    first = run_trial(job(), replace(iris(), others=()))
    assert first.curve == run_trial(job(), iris()).folds[0]


# The record


@pytest.fixture(scope="module")
def records(folded: Folded) -> list[Record]:
    """Return the records of the study."""
    return StudyFolder(folded[1] / "folded").committed()


def test_the_record_keeps_every_fold(folded: Folded, records: list[Record]) -> None:
    """Records contain the curves of each fold, to the last bit, in every state that has curves."""
    assert {record.result.state for record in records} == set(State)
    dataset = load_dataset(**folded[0].data.model_dump())
    for record in records:
        if record.result.state is not State.FAILED:
            again = run_trial(record.job, dataset)
            assert repr(again.folds) == repr(record.result.folds)
            assert repr(again.curve) == repr(record.result.curve)
        else:
            assert record.result.folds == ()


# The study


def test_any_number_of_workers_gives_the_same_tables(folded: Folded, tmp_path: Path) -> None:
    """Two and three workers give equal tables."""
    assert fingerprint(netcore.run_study(folded[0], results=tmp_path, workers=3)) == fingerprint(folded[2])


@pytest.mark.slow
def test_interrupted_and_extended(folded: Folded, tmp_path: Path) -> None:
    """Interrupted, with a lost record, and extended, the study ends with the same tables."""
    netcore.run_study(folded[0], results=tmp_path, trials=7, workers=2)
    with Run(folded[0], results=tmp_path, workers=2) as run:
        steps = run.search()
        for _ in range(12):
            next(steps)
    StudyFolder(tmp_path / "folded").supersede(5)
    assert fingerprint(netcore.run_study(folded[0], results=tmp_path, workers=2)) == fingerprint(folded[2])


def test_tables(folded: Folded, records: list[Record], mixed: tuple[StudySpec, Path, StudyTables]) -> None:
    """`curves` has a row per trial, fold and epoch; `trials` has the mean, and the spread of the value beside it."""
    trials, curves = folded[2].trials, folded[2].curves
    assert list(trials) == [*list(TRIALS)[:7], "value_std", *list(TRIALS)[7:]]
    assert list(curves) == ["trial", "fold", *list(CURVE)[1:]]
    assert (list(mixed[2].trials), list(mixed[2].curves)) == (list(TRIALS), list(CURVE)), "without folds"
    assert [str(trials["value_std"].dtype), str(curves["fold"].dtype)] == ["float64", "int64"]
    assert len(curves) == 3 * sum(len(record.result.curve) for record in records)
    for record, row in zip(records, trials.to_dict("records"), strict=True):
        mine = curves[curves["trial"] == record.number]
        if record.result.best_epoch is None:
            assert math.isnan(row["value_std"])
            continue
        best = mine[mine["epoch"] == record.result.best_epoch]
        assert best["fold"].tolist() == [0, 1, 2]
        np.testing.assert_allclose(best["val_loss"].mean(), row["value"])
        np.testing.assert_allclose(best["val_loss"].std(ddof=1), row["value_std"])
        for name in METRICS:
            np.testing.assert_allclose(best[name].mean(), row[name])
    assert (folded[1] / "folded" / "curves.parquet").exists()


def test_the_kept_weights_are_the_first_fold_s(folded: Folded, records: list[Record]) -> None:
    """Kept weights have the metrics of the first fold on its validation rows; the test set is read once."""
    folder = StudyFolder(folded[1] / "folded")
    dataset = load_dataset(**folded[0].data.model_dump())
    kept = sorted(folder.kept_weights())
    assert len(kept) == 5
    for number in kept:
        result: TrialResult = records[number].result
        assert result.best_epoch
        shown = result.folds[0][result.best_epoch - 1]
        figures = evaluate(folder.read_weights(records[number]), dataset.X_val, dataset.y_val)
        assert figures == pytest.approx((shown.val_loss, shown.val_accuracy))
    test = json.loads(folder.test.read_text())
    assert test["accuracy"] == evaluate(folder.read_weights(records[test["trial"]]), dataset.X_test, dataset.y_test)[1]


def test_under_optuna_s_own_loop(folded: Folded) -> None:
    """`netcore.Objective` trains the same nets: the value is the mean, and so is what is reported."""
    with quiet_optuna():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.enqueue_trial({"learning_rate": 0.1, "hidden_size": 8, "reg": 1e-4})
        study.optimize(netcore.Objective(folded[0]), n_trials=1)
    dataset = load_dataset(**folded[0].data.model_dump())
    asked = TrialJob.of(folded[0], 0, Hyperparameters(0.1, 8, 1e-4, 0.95), {}, dataset.digest, "")
    result = run_trial(asked, dataset)
    assert study.trials[0].value == result.value
    assert list(study.trials[0].intermediate_values.values()) == [epoch.val_loss for epoch in result.curve]


@pytest.mark.slow
def test_mlflow_shows_the_means(folded: Folded, tmp_path: Path) -> None:
    """The metrics of a trial in MLflow are the means over the folds, epoch by epoch."""
    done = netcore_command("sync", folded[1] / "folded", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        query = (
            "SELECT tags.value, step, metrics.value FROM metrics JOIN tags USING (run_uuid) "
            "WHERE tags.key = 'netcore.trial' AND metrics.key = 'val_loss' AND is_nan = 0"
        )
        found = {(int(trial), epoch): value for trial, epoch, value in database.execute(query)}
    database.close()
    wide = folded[2].curves.pivot(index=["trial", "epoch"], columns="fold", values="val_loss")
    means = wide.mean(axis=1, skipna=False)
    finite = means[np.isfinite(means)]
    assert len(finite) > 40
    np.testing.assert_allclose([found[place] for place in finite.index], finite)
