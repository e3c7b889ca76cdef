"""What netcore claims about its costs, counted: a count is the same on every machine, however busy it is."""

import ctypes
import gc
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from optuna.trial import FrozenTrial

import netcore
from netcore.core import Epoch, TrainConfig, init_params, sgd_step
from netcore.core.net import IntArray, Workspace
from netcore.core.params import Params
from netcore.core.sgd import Step, TrainEpoch, reference
from netcore.question.spec import load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialResult
from netcore.records.record import Record
from netcore.run import Run
from netcore.search.history import History
from netcore.tracking.client import connect
from netcore.tracking.sync import Sync
from netcore.training import step
from netcore.training.step import compiled

STUDY = """
[study]
trials = {trials}
sampler = "random"
weights = "{weights}"
[data]
source = "iris"
[training]
epochs = 30
batch_size = 50
[space]
learning_rate = {{ low = 1e-3, high = 0.1, log = true }}
hidden_size = 4
reg = 0.0
learning_rate_decay = 0.95
"""

both_steps = pytest.mark.parametrize("how", [reference, compiled])


def write_study(folder: Path, trials: int, weights: str = "best") -> Path:
    """Write a study of so many trials, none of which is stopped."""
    path = folder / f"counted-{trials}.toml"
    path.write_text(STUDY.format(trials=trials, weights=weights), encoding="utf-8")
    return path


def peak_of(work: Callable[[], object]) -> int:
    """Give the most bytes, NumPy's included, that were held at any time of a call beyond those held before."""
    work()  # the first time fills caches
    tracemalloc.start()
    try:
        held, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()


def counting(monkeypatch: pytest.MonkeyPatch, *functions: tuple[Any, str]) -> Counter[str]:
    """Count the calls of functions, which are made all the same."""
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    for owner, name in functions:
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    return calls


# Memory of a training


@both_steps
def test_no_step_leaves_anything_behind(how: Step) -> None:
    """An epoch of 600 steps holds at no time more than one of six steps, but for some numbers: nothing adds up."""
    rng, peaks = np.random.default_rng(0), []
    for steps in (6, 600):
        rows = 20 * steps
        X, y, order = rng.standard_normal((rows, 8)), rng.integers(0, 3, rows), rng.permutation(rows)
        params = init_params(rng, 8, 16, 3, dtype="float64")
        train = how(params, X, y, X[:1], y[:1], TrainConfig(0.01, 16, 1e-3, 1.0, 1, 20))
        peaks.append(peak_of(partial(train, 0.01, order)))
    assert peaks[1] < peaks[0] + 1024
    assert peak_of(lambda: [bytes(100) for _ in range(600)]) > 60_000  # so it would be seen


def test_a_step_with_a_workspace_makes_no_array_of_the_nets_size() -> None:
    """`sgd_step` makes arrays of less than five numbers for each row of the batch, and the same for a larger net."""
    rng, rows = np.random.default_rng(0), 20_000
    given, anew = [], []
    for D, H in ((4, 8), (30, 50)):
        params = init_params(rng, D, H, 10)
        X, y = rng.standard_normal((rows, D), np.float32), rng.integers(0, 10, rows)
        work = partial(sgd_step, params, X, y, learning_rate=0.01, reg=1e-3)
        anew.append(peak_of(work))
        given.append(peak_of(partial(work, workspace=Workspace.for_rows(rows, params))))
    assert given[1] < given[0] + 1024
    assert given[0] < 5 * 4 * rows
    assert anew[1] > 50 * 4 * rows  # so it would be seen


# Passes over the data

_BASE, _DIGITS, _SMALLEST = 4, 11, 64.0


def losses_that_tell(rows: int, first: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Give inputs (rows, 1) for which the loss of row `first` + i is 64 · 4^i nats, for eleven rows, and else 0.

    The sum of an epoch's losses, each exact, then is a number whose digits in base 4 say how often each row counted.
    """
    losses = np.full(rows, -1e4)
    digits = np.arange(min(_DIGITS, rows - first))
    losses[first + digits] = _SMALLEST * _BASE**digits
    return losses[:, None]


def counts_of(loss: float, rows: int) -> list[int]:
    """Read how often each of the eleven rows counted."""
    total = round(loss * rows / _SMALLEST)
    return [total // _BASE**digit % _BASE for digit in range(_DIGITS)]


def scored(how: Step, X: Any, X_val: Any, batch: int) -> TrainEpoch:  # noqa: ANN401
    """Give a training of the softmax regression whose loss is its input, if that is positive, and else 0."""
    params = Params(np.zeros((1, 0)), np.zeros(0), np.array([[0.0, 1.0]]), np.zeros(2))
    y, y_val = (np.zeros(len(rows), np.int64) for rows in (X, X_val))
    return how(params, X, y, X_val, y_val, TrainConfig(1e-300, 0, 0.0, 1.0, 1, batch))


@both_steps
def test_each_row_counts_once(how: Step) -> None:
    """In an epoch each training row counts as often as the order names it, and each validation row once.

    Of 600 validation rows no more than 256 are evaluated at once; batches of seven rows leave a short last one.
    """
    rng = np.random.default_rng(0)
    for order in (rng.permutation(40), rng.permutation(np.arange(40) // 3 * 3)):
        for first, first_val in zip(range(0, 40, _DIGITS), (0, 250, 506, 589), strict=True):
            train = scored(how, losses_that_tell(40, first), losses_that_tell(600, first_val), 7)
            train_loss, val_loss, _, _ = train(1e-300, order)
            asked = np.bincount(order, minlength=40 + _DIGITS)[first : first + _DIGITS]
            assert counts_of(train_loss, 40) == asked.tolist()
            assert counts_of(val_loss, 600) == [1] * _DIGITS


def test_an_epoch_is_two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch enters the compiled loop twice: to train on the training rows, and to judge by the validation rows."""
    passes: list[tuple[int, bool]] = []
    run = step.load("float64")

    def counted(sizes: int, *others: int) -> None:
        rows, *_, learning = (ctypes.c_int64 * 9).from_address(sizes)
        passes.append((rows, bool(learning)))
        run(sizes, *others)

    monkeypatch.setattr(step, "load", lambda _: counted)
    train = scored(compiled, np.zeros((40, 1)), np.zeros((600, 1)), 7)
    for _ in range(3):
        train(0.1, np.arange(40))
    assert passes == 3 * [(40, True), (600, False)]


def test_the_reference_gathers_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference takes as many rows, and as many classes, as there are."""
    taken: list[int] = []
    take = np.take

    def counted(array: Any, rows: IntArray, **options: Any) -> Any:  # noqa: ANN401
        taken.append(len(rows))
        return take(array, rows, **options)

    monkeypatch.setattr(np, "take", counted)
    scored(reference, np.zeros((40, 1)), np.zeros((600, 1)), 7)(0.1, np.arange(40))
    assert taken == [7, 7] * 5 + [5, 5]


# Calls of MLflow


class Counted:
    """MLflow's client, whose calls go through and are counted."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self.calls[name] += 1
            return method(*args, **kwargs)

        return call

    def spent(self) -> Counter[str]:
        """Give the calls since the last time."""
        calls, self.calls = self.calls, Counter()
        return calls


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # MLflow's own
def test_a_trial_is_four_calls_of_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished trial of 30 epochs is sent in four calls; once it is there, it takes none, and a sync only reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client, again = Counted(connect()), []
    for trials in (3, 6):
        netcore.run_study(write_study(tmp_path, trials), workers=1, confirm=False)
        folder = StudyFolder(tmp_path / "results" / f"counted-{trials}")
        records = folder.committed()
        assert {(record.result.state, len(record.result.curve)) for record in records} == {(State.FINISHED, 30)}
        syncing = Sync(client, folder)  # type: ignore[arg-type]  # it is one in all that counts
        client.spent()
        for record in records:
            syncing.add(record)
            assert client.spent() == {"create_run": 1, "log_batch": 1, "log_inputs": 1, "set_terminated": 1}
        syncing.finish(records, complete=True)
        client.spent()
        syncing = Sync(client, folder)  # type: ignore[arg-type]
        for record in records:
            syncing.add(record)
        syncing.finish(records, complete=True)
        again.append(client.spent())
    assert {name.partition("_")[0] for name in again[0]} <= {"get", "search"}
    assert again[0] == again[1], "a sync with nothing to do makes calls for each trial"


# What is flushed to the disk


@pytest.mark.skipif(os.name == "nt", reason="Windows flushes no folders")
def test_a_file_is_flushed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run flushes each record and each weights file that it writes, and its folder, and no more for more trials."""
    calls = counting(monkeypatch, (os, "fsync"), (StudyFolder, "write"), (StudyFolder, "write_weights"))
    besides = []
    with Run(load_spec(write_study(tmp_path, 1)), results=tmp_path, workers=1):
        pass  # the first time fills the cache of the data
    for trials, weights in ((4, "all"), (8, "all"), (16, "best")):
        calls.clear()
        with Run(load_spec(write_study(tmp_path, trials, weights)), results=tmp_path, workers=1) as run:
            records = [step for step in run.search(confirm=False) if isinstance(step, Record)]
        assert calls["write"] == len(records) == trials
        assert calls["write_weights"] == trials if weights == "all" else 5 <= calls["write_weights"] <= trials
        besides.append(calls["fsync"] - 2 * (calls["write"] + calls["write_weights"]))
    assert len(set(besides)) == 1, besides


# What a proposal does with the trials that are known


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_proposal_copies_no_trials(sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many trials are known, a proposal makes and copies as many of Optuna's trials."""
    path = write_study(tmp_path, 4)
    path.write_text(path.read_text(encoding="utf-8").replace("random", sampler), encoding="utf-8")
    spec = load_spec(path)
    calls = counting(monkeypatch, (FrozenTrial, "__init__"), (FrozenTrial, "__reduce_ex__"))
    history, made = History(spec), []
    for number in range(60):
        calls.clear()
        history.propose(number)
        made.append(dict(calls))
        result = TrialResult(State.FINISHED, (Epoch(1, 0.1, 1.0, 1 / (number + 1), 0.5, 0.5),), 1, 1 / (number + 1))
        history.commit(number, result)
    assert made[59] == made[20]


# What a run holds


def test_a_run_keeps_no_curve_of_a_committed_trial(tmp_path: Path) -> None:
    """However many trials are committed, a run holds the curves of those in flight, and of the one just given."""
    with Run(load_spec(write_study(tmp_path, 40)), results=tmp_path, workers=1) as run:
        before = epochs_held()
        for number, _ in enumerate(run.search(confirm=False)):
            if number in {20, 39}:
                assert 30 <= epochs_held() - before <= 30 * (run.spec.study.window + 2)


def epochs_held() -> int:
    """Count the epochs of all curves in this process; what other tests have left is gone then."""
    gc.collect()
    return sum(type(thing) is Epoch for thing in gc.get_objects())
