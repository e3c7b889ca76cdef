"""A confirmation, an audit and a reading of the test set from real trainings, for tests of what shows them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from netcore.core import Params, TrainConfig, epochs, init_params, predict
from netcore.core.training import Epoch
from netcore.data import Dataset, load_dataset
from netcore.results.summary import ranked
from netcore.results.tables import AUDIT, CONFIRMATION, StudyTables
from netcore.study.spec import HYPERPARAMETERS, StudySpec

DEFAULTS = {"learning_rate": 1e-2, "hidden_size": 50, "reg": 1e-4, "learning_rate_decay": 0.95}


class Training(NamedTuple):
    """One candidate on one seed's split."""

    params: Params | None
    curve: list[Epoch]
    dataset: Dataset


def confirmation_of(spec: StudySpec, tables: StudyTables, seeds: int = 3) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Train the three best finished trials and both baselines again; give the table and what test.json holds."""
    finalists = ranked(tables).query("state == 'finished'").head(3)
    candidates = [(f"trial {row['trial']}", "finalist", row) for row in _dicts(finalists)]
    candidates.append(("course defaults", "baseline", {"trial": pd.NA, **DEFAULTS}))
    rows = [_row(spec, seed, *candidate) for candidate in candidates for seed in range(seeds)]
    rows += [_softmax(spec, seed) for seed in range(seeds)]
    return pd.DataFrame(rows, columns=list(CONFIRMATION)).astype(CONFIRMATION), _test(spec, candidates[0][2])


def audit_of(spec: StudySpec, tables: StudyTables, most: int = 8) -> pd.DataFrame:
    """Train pruned trials to their last epoch."""
    rows = []
    for trial in _dicts(tables.trials.query("state == 'pruned'").head(most)):
        curve = _train(spec, 0, trial).curve
        values = np.array([getattr(epoch, spec.study.metric) for epoch in curve])
        best = int(values.argmax() if spec.maximize else values.argmin())
        rows.append(
            {
                "trial": trial["trial"],
                "stopped_at": trial["epochs"],
                "state": "finished",
                "value": values[best],
                "best_epoch": best + 1,
                "epochs": len(curve),
                "seconds": 0.1,
            }
        )
    return pd.DataFrame(rows, columns=list(AUDIT)).astype(AUDIT)


def _dicts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _train(spec: StudySpec, seed: int, setting: dict[str, Any]) -> Training:
    dataset = _dataset(spec, seed)
    rng = np.random.default_rng(seed)
    params = init_params(rng, dataset.input_size, int(setting["hidden_size"]), dataset.classes)
    given = {name: setting[name] for name in HYPERPARAMETERS}
    config = TrainConfig(**given, epochs=spec.training.epochs, batch_size=spec.training.batch_size)
    parts = (dataset.X_train, dataset.y_train, dataset.X_val, dataset.y_val)
    return Training(params, list(_until_it_diverges(epochs(params, *parts, config, rng))), dataset)


def _until_it_diverges(curve: Iterator[Epoch]) -> Iterator[Epoch]:
    for epoch in curve:
        yield epoch
        if not np.isfinite([epoch.train_loss, epoch.val_loss]).all():
            return


def _dataset(spec: StudySpec, seed: int) -> Dataset:
    return load_dataset(**{**spec.data.model_dump(), "seed": 100 + seed}, folder=spec.folder)


def _row(spec: StudySpec, seed: int, name: str, kind: str, setting: dict[str, Any]) -> dict[str, Any]:
    training = _train(spec, seed, setting)
    last = training.curve[-1]
    finite = bool(np.isfinite(last.val_loss))
    figures = {key: getattr(last, key) for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")}
    return {
        "candidate": name,
        "kind": kind,
        "trial": setting["trial"],
        "seed": seed,
        "state": "finished" if finite else "diverged",
        **{key: setting[key] for key in HYPERPARAMETERS},
        "epochs": len(training.curve),
        **figures,
        "train_rows": len(training.dataset.y_train),
        "val_rows": len(training.dataset.y_val),
        "seconds": 0.1,
        "digest": f"{name} {seed}",
    }


def _softmax(spec: StudySpec, seed: int) -> dict[str, Any]:
    """Fit softmax regression with scikit-learn's own solver."""
    dataset = _dataset(spec, seed)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(dataset.X_train, dataset.y_train)
    parts = {"train": (dataset.X_train, dataset.y_train), "val": (dataset.X_val, dataset.y_val)}
    losses = {f"{part}_loss": log_loss(y, model.predict_proba(X)) for part, (X, y) in parts.items()}
    return {
        "candidate": "softmax regression",
        "kind": "baseline",
        "trial": pd.NA,
        "seed": seed,
        "state": "finished",
        **DEFAULTS,
        "hidden_size": 0,
        "epochs": spec.training.epochs,
        **losses,
        **{f"{part}_accuracy": model.score(X, y) for part, (X, y) in parts.items()},
        "train_rows": len(dataset.y_train),
        "val_rows": len(dataset.y_val),
        "seconds": 0.1,
        "digest": f"softmax regression {seed}",
    }


def _test(spec: StudySpec, setting: dict[str, Any]) -> dict[str, Any]:
    """Judge the best finalist's first training on the test set."""
    training = _train(spec, 0, setting)
    dataset = training.dataset
    assert training.params is not None
    predicted = predict(training.params, dataset.X_test)
    confusion = np.zeros((dataset.classes, dataset.classes), np.int64)
    np.add.at(confusion, (dataset.y_test, predicted), 1)
    right = int(np.trace(confusion))
    return {
        "candidate": f"trial {setting['trial']}",
        "trial": int(setting["trial"]),
        "seed": 0,
        "digest": f"trial {setting['trial']} 0",
        "data_digest": dataset.digest,
        "rows": len(predicted),
        "right": right,
        "accuracy": right / len(predicted),
        "readings": 1,
        "confusion": confusion.tolist(),
    }
