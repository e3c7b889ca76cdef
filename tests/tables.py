"""Tables of studies made by hand, for the tests of netcore.results: search, confirmation, audit, test set."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from netcore.question.metrics import Metric
from netcore.results.intervals import wilson
from netcore.results.tables import AUDIT, CONFIRMATION, CURVE, TRIALS, WEIGHTS, StudyTables
from netcore.results.test_set import Reading
from netcore.results.winner import ConfirmationSummary, summarised

NAN = float("nan")
METRICS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")


def plain(text: str) -> str:
    """Return a text with ordinary spaces and minus signs."""
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def a_trial(number: int, state: str, value: float, epochs: int) -> dict[str, Any]:
    """Return a row of the table of trials; the hyperparameters vary with the number."""
    return {
        "trial": number,
        "state": state,
        "learning_rate": 10 ** (-3 + 3 * (number * 0.618 % 1)),
        "hidden_size": (4, 8, 16)[number % 3],
        "reg": 0.1 * (number * 0.382 % 1),
        "learning_rate_decay": 0.95,
        "value": value,
        "best_epoch": epochs if np.isfinite(value) else pd.NA,
        "epochs": epochs,
        **dict.fromkeys(METRICS, value),
        "seconds": 0.5,
        "seed": 7,
        "digest": "d" * 64,
        "started": pd.Timestamp("2026-01-01", tz="UTC"),
        "ended": pd.Timestamp("2026-01-01", tz="UTC"),
    }


def a_curve(number: int, value: float, epochs: int) -> list[dict[str, Any]]:
    """Return the curve of a trial that ends at `value`."""
    return [
        {"trial": number, "epoch": epoch, "learning_rate": 0.1, "train_loss": value * 0.9 * epochs / epoch}
        | {"val_loss": value * epochs / epoch, "train_accuracy": 0.9, "val_accuracy": 0.8}
        for epoch in range(1, epochs + 1)
    ]


def a_study(
    *trials: tuple[str, float, int], metric: Metric = Metric.VAL_LOSS, weights: pd.DataFrame | None = None
) -> StudyTables:
    """Return the tables of a study, from the state, value and number of epochs of each trial."""
    rows = [a_trial(number, *trial) for number, trial in enumerate(trials)]
    curves = [row for number, (_, value, epochs) in enumerate(trials) for row in a_curve(number, value, epochs)]
    none = pd.DataFrame([], columns=list(WEIGHTS)).astype(WEIGHTS)
    return StudyTables(
        name="a_study",
        metric=metric,
        trials=pd.DataFrame(rows, columns=list(TRIALS)).astype(TRIALS),
        curves=pd.DataFrame(curves, columns=list(CURVE)).astype(CURVE),
        weights=none if weights is None else weights,
        confirmation=pd.DataFrame([], columns=list(CONFIRMATION)).astype(CONFIRMATION),
        audit=pd.DataFrame([], columns=list(AUDIT)).astype(AUDIT),
    )


def image_weights(units: int, shape: tuple[int, int, int]) -> pd.DataFrame:
    """Return the table of weights of a net on images; all weights of unit u are u + 1."""
    unit, row, column, channel = (axis.ravel() for axis in np.indices((units, *shape)))
    frame = pd.DataFrame(
        {"trial": 0, "unit": unit, "row": row, "column": column, "channel": channel, "value": unit + 1.0}
    )
    frame["input"] = pd.Categorical([f"pixel_{r}_{c}" for r, c in zip(row, column, strict=True)])
    return frame[list(WEIGHTS)].astype(WEIGHTS)


def table_weights(names: list[str], units: int) -> pd.DataFrame:
    """Return the table of weights of a net on named inputs."""
    of_input, unit = (axis.ravel() for axis in np.indices((len(names), units)))
    frame = pd.DataFrame({"trial": 0, "unit": unit, "row": pd.NA, "column": pd.NA, "channel": pd.NA})
    frame["value"] = of_input - unit + 0.5
    frame["input"] = pd.Categorical.from_codes(of_input.tolist(), pd.Index(names))
    return frame[list(WEIGHTS)].astype(WEIGHTS)


MIXED = (("finished", 0.5, 5), ("pruned", 0.9, 2), ("diverged", NAN, 1), ("failed", NAN, 0), ("finished", 0.3, 5))
STUDIES = {
    "mixed": a_study(*MIXED, weights=image_weights(3, (4, 4, 1))),
    "accuracy": a_study(*MIXED, metric=Metric.VAL_ACCURACY, weights=table_weights(["length", "width"], 4)),
    "no trial": a_study(),
    "one trial": a_study(("finished", 0.5, 1)),
    "all diverged": a_study(("diverged", NAN, 1), ("diverged", NAN, 2)),
    "all failed": a_study(("failed", NAN, 0), ("failed", NAN, 0)),
    "all pruned": a_study(("pruned", 0.5, 2), ("pruned", 0.6, 2)),
    "outlier": a_study(*MIXED, ("finished", 1e13, 5)),
    "perfect": a_study(("finished", 0.0, 3), ("finished", 0.0, 3)),
}

TRAIN, VAL = 60, 20
FINALISTS = {"trial 2": 64, "trial 0": 32, "trial 1": 128}
BASELINES = {"softmax regression": 0, "course defaults": 50}
CLEAR = {
    "trial 2": [0.30, 0.32, 0.34],
    "trial 0": [0.20, 0.22, 0.23],
    "trial 1": [0.21, 0.22, 0.23],
    "softmax regression": [0.50, 0.53, 0.54],
    "course defaults": [0.19, 0.25, 0.21],
}
"""Confirmed values by seed: trial 0 wins a loss although trial 2 was the best trial of the search."""


def a_confirmation(values: dict[str, list[float]], metric: Metric = Metric.VAL_LOSS) -> StudyTables:
    """Return a study of three trials whose candidates have these values by seed; NaN for a seed that diverged."""
    rows = [
        {
            "candidate": name,
            "kind": "finalist" if name in FINALISTS else "baseline",
            "trial": int(name.split()[1]) if name in FINALISTS else pd.NA,
            "seed": seed,
            "state": "diverged" if np.isnan(value) else "finished",
            "learning_rate": 0.1,
            "hidden_size": {**FINALISTS, **BASELINES}[name],
            "reg": 0.0,
            "learning_rate_decay": 1.0,
            "epochs": 5,
            **dict.fromkeys(METRICS, value),
            "train_rows": TRAIN,
            "val_rows": VAL,
            "seconds": 0.1,
            "digest": f"{name} {seed}",
        }
        for name, by_seed in values.items()
        for seed, value in enumerate(by_seed)
    ]
    tables = a_study(("finished", 0.2, 5), ("finished", 0.25, 5), ("finished", 0.1, 5), metric=metric)
    frame = pd.DataFrame(rows, columns=list(CONFIRMATION)).astype(CONFIRMATION)
    return dataclasses.replace(tables, confirmation=frame)


def summary_of(values: dict[str, list[float]], metric: Metric = Metric.VAL_LOSS) -> ConfirmationSummary:
    """Return the summary of such a confirmation."""
    found = summarised(a_confirmation(values, metric))
    assert found is not None
    return found


def an_audit(*trials: tuple[str, float], metric: Metric = Metric.VAL_LOSS) -> StudyTables:
    """Return a study with a best value of 0.5, two pruned trials, and audited trials of these states and values."""
    tables = a_study(("finished", 0.5, 5), ("pruned", 0.9, 2), ("pruned", 0.9, 1), metric=metric)
    rows = [
        {"trial": n, "stopped_at": 2, "state": state, "value": value, "best_epoch": pd.NA, "epochs": 5, "seconds": 0.1}
        for n, (state, value) in enumerate(trials, start=1)
    ]
    return dataclasses.replace(tables, audit=pd.DataFrame(rows, columns=list(AUDIT)).astype(AUDIT))


def a_reading(names: list[str]) -> Reading:
    """Return a reading of five rows per class, of which one is predicted as the next class."""
    confusion = 4 * np.eye(len(names), dtype=np.int64) + np.roll(np.eye(len(names), dtype=np.int64), 1, axis=1)
    rows, right = int(confusion.sum()), int(np.trace(confusion))
    return Reading("trial 1", 4, rows, right, right / rows, wilson(right, rows), 1, tuple(names), confusion)
