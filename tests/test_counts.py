"""What netcore claims about its costs, counted: a count is the same on every machine, however busy it is."""

import gc
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
from netcore.core import Epoch, TrainConfig, init_params
from netcore.core.sgd import Step, reference
from netcore.question.spec import load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialResult
from netcore.run import Run
from netcore.search.history import History
from netcore.tracking.client import connect
from netcore.tracking.sync import Sync
from netcore.training.step import compiled
from studies import write_study

both_steps = pytest.mark.parametrize("how", [reference, compiled])


def write_counted(folder: Path, trials: int, sampler: str = "random") -> Path:
    """Write a study of so many trials, none of which is stopped."""
    study, training = f"trials = {trials}, sampler = '{sampler}'", "epochs = 30, batch_size = 50"
    rates = "{ low = 1e-3, high = 0.1, log = true }"
    return write_study(folder / f"counted-{trials}.toml", study=study, training=training, learning_rate=rates)


def peak_of(work: Callable[[], object]) -> int:
    """Return the most bytes, NumPy's included, that were held at any time of a call beyond those held before."""
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


# Calls of MLflow


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # MLflow's own
def test_a_trial_is_four_calls_of_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished trial of 30 epochs is sent in four calls; once it is there, it takes none, and a sync only reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    calls = counting(monkeypatch, *((MlflowClient, name) for name in vars(MlflowClient) if not name.startswith("_")))
    again = []
    for trials in (3, 6):
        netcore.run_study(write_counted(tmp_path, trials), workers=1, confirm=False)
        folder = StudyFolder(tmp_path / "results" / f"counted-{trials}")
        records = folder.committed()
        assert {(record.result.state, len(record.result.curve)) for record in records} == {(State.FINISHED, 30)}
        syncing = Sync(connect(), folder)
        for record in records:
            calls.clear()
            syncing.add(record)
            assert calls == {"create_run": 1, "log_batch": 1, "log_inputs": 1, "set_terminated": 1}
        syncing.finish()
        syncing = Sync(connect(), folder)
        calls.clear()
        for record in records:
            syncing.add(record)
        syncing.finish()
        again.append(dict(calls))
    assert {name.partition("_")[0] for name in again[0]} <= {"get", "search"}
    assert again[0] == again[1], "a sync with nothing to do makes calls for each trial"


# What a proposal does with the trials that are known


def test_a_proposal_copies_no_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many trials are known, a proposal makes and copies as many of Optuna's trials."""
    spec = load_spec(write_counted(tmp_path, 4, "tpe"))
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
    with Run(load_spec(write_counted(tmp_path, 40)), results=tmp_path, workers=1) as run:
        before = epochs_held()
        for number, _ in enumerate(run.search(confirm=False)):
            if number in {20, 39}:
                assert 30 <= epochs_held() - before <= 30 * (run.spec.study.window + 2)


def epochs_held() -> int:
    """Count the epochs of all curves in this process; what other tests have left is gone then."""
    gc.collect()
    return sum(type(thing) is Epoch for thing in gc.get_objects())
