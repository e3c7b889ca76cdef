"""Records as pandas tables: trials, curves, the best trial's first-layer weights, its confirmation, and the audit.

The columns are declared once, here. A hyperparameter is a column of its own name everywhere; losses are cross-entropy
in nats without the penalty; accuracies are shares from 0 to 1; times are UTC.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netcore.errors import RecordError
from netcore.files import write_atomically
from netcore.study.folder import StudyFolder, find_study
from netcore.study.record import CURVES, Record, ranked
from netcore.study.spec import HYPERPARAMETERS

__all__ = ["StudyTables", "load_study", "write_tables"]

_FIGURES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")

TRIALS = {
    "trial": "int64",
    "state": "str",
    "learning_rate": "float64",
    "hidden_size": "int64",
    "reg": "float64",
    "learning_rate_decay": "float64",
    "value": "float64",
    "best_epoch": "Int64",
    "epochs": "int64",
    **dict.fromkeys(_FIGURES, "float64"),
    "seconds": "float64",
    "seed": "int64",
    "digest": "str",
    "started": "datetime64[ms, UTC]",
    "ended": "datetime64[ms, UTC]",
}
"""One row per committed trial; the four figures are those of `best_epoch`."""

CURVE = {"trial": "int64", "epoch": "int64", **dict.fromkeys(CURVES, "float64")}
"""One row per trial and epoch."""

WEIGHTS = {
    "trial": "int64",
    "input": "category",
    "unit": "int64",
    "row": "Int64",
    "column": "Int64",
    "channel": "Int64",
    "value": "float64",
}
"""One row per input and hidden unit of the best trial: W1. Row, column and channel are an image's, else missing."""


CONFIRMATION = {
    "candidate": "str",
    "kind": "str",
    "trial": "Int64",
    "seed": "int64",
    "state": "str",
    "learning_rate": "float64",
    "hidden_size": "int64",
    "reg": "float64",
    "learning_rate_decay": "float64",
    "epochs": "int64",
    **dict.fromkeys(_FIGURES, "float64"),
    "train_rows": "int64",
    "val_rows": "int64",
    "seconds": "float64",
    "digest": "str",
}
"""One row per candidate and seed of a confirmation; the four figures are those of the last epoch."""

AUDIT = {
    "trial": "int64",
    "stopped_at": "int64",
    "state": "str",
    "value": "float64",
    "best_epoch": "Int64",
    "epochs": "int64",
    "seconds": "float64",
}
"""One row per audited trial: what the stopping rule ended, trained to its last epoch."""


def _without_rows(columns: dict[str, str]) -> Callable[[], pd.DataFrame]:
    return lambda: _frame(columns, [])


@dataclass(frozen=True)
class StudyTables:
    """A study in pandas; a study that has not been confirmed or audited has no rows in those tables."""

    name: str
    metric: str
    trials: pd.DataFrame
    curves: pd.DataFrame
    weights: pd.DataFrame
    confirmation: pd.DataFrame = field(default_factory=_without_rows(CONFIRMATION))
    audit: pd.DataFrame = field(default_factory=_without_rows(AUDIT))


def load_study(study: str | Path, *, results: str | Path = "results") -> StudyTables:
    """Give the tables of a study that has run, or runs still: of its committed trials, from their records.

    `study` is a name in the `results` folder or the path of a study's own folder.

    Raises:
        InputError: there is no such study.
        RecordError: one of its records is not whole.
    """
    folder = find_study(study, results)
    resolved = folder.resolved_settings()
    records = folder.committed()
    return StudyTables(
        name=resolved["settings"]["study"]["name"],
        metric=resolved["settings"]["study"]["metric"],
        trials=_frame(TRIALS, [_trial(record) for record in records]),
        curves=_frame(CURVE, [row for record in records for row in _curve(record)]),
        weights=_weights(records, folder, resolved["data"]),
    )


def write_tables(tables: StudyTables, folder: StudyFolder) -> None:
    """Write the tables as Parquet files into the study's folder.

    Raises:
        WorkError: the system refuses.
    """
    for name in ("trials", "curves", "weights"):
        buffer = io.BytesIO()
        getattr(tables, name).to_parquet(buffer, index=False)
        write_atomically(folder.path / f"{name}.parquet", buffer.getvalue())


def _frame(columns: dict[str, str], rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _trial(record: Record) -> dict[str, Any]:
    job, result, provenance = record.job, record.result, record.provenance
    best = result.curve[result.best_epoch - 1] if result.best_epoch else None
    return {
        "trial": job.number,
        "state": str(result.state),
        **{name: getattr(job.hyperparameters, name) for name in HYPERPARAMETERS},
        "value": result.value,
        "best_epoch": result.best_epoch,
        "epochs": len(result.curve),
        **{name: getattr(best, name) if best else np.nan for name in _FIGURES},
        "seconds": provenance.seconds,
        "seed": job.seed,
        "digest": record.digest,
        "started": pd.Timestamp(provenance.started, unit="s", tz="UTC"),
        "ended": pd.Timestamp(provenance.ended, unit="s", tz="UTC"),
    }


def _curve(record: Record) -> list[dict[str, Any]]:
    return [
        {"trial": record.number, "epoch": epoch.epoch, **{name: getattr(epoch, name) for name in CURVES}}
        for epoch in record.result.curve
    ]


def _weights(records: list[Record], folder: StudyFolder, data: dict[str, Any]) -> pd.DataFrame:
    """Give W1 of the best trial; no rows where nothing finished or its weights are not there."""
    best = ranked(records)[:1]
    try:
        W1 = folder.read_weights(best[0]).W1 if best else None
    except RecordError:
        W1 = None
    if W1 is None:
        return _frame(WEIGHTS, [])
    inputs, units = (axis.ravel() for axis in np.indices(W1.shape))
    frame = pd.DataFrame({"trial": best[0].number, "unit": units, "value": W1.ravel()}, index=range(W1.size))
    names = pd.Index([str(name) for name in data["feature_names"]])
    frame["input"] = pd.Categorical.from_codes(inputs, names)
    place = ("row", "column", "channel")
    shape = data["image_shape"]
    frame[list(place)] = np.column_stack(np.unravel_index(inputs, shape)) if shape else pd.NA
    return frame[list(WEIGHTS)].astype(WEIGHTS)
