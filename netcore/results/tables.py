"""Records as pandas tables: trials, curves, first-layer weights of the best trial, confirmation, audit.

The columns are declared once, here. A hyperparameter has the same column name everywhere; losses are cross-entropy in
nats without the penalty; accuracies are shares from 0 to 1; times are UTC.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netcore.confirm.audit import read_audit
from netcore.confirm.confirmation import read_confirmation
from netcore.errors import RecordError
from netcore.files import write_atomically
from netcore.question.hyperparameters import DTYPES
from netcore.question.metrics import METRICS, Metric
from netcore.question.spec import StudySpec
from netcore.records.curves import CURVES
from netcore.records.folder import StudyFolder, find_study
from netcore.records.job import State, TrialResult
from netcore.records.record import Record, ranked

TABLES = ("trials", "curves", "weights", "confirmation", "audit")
"""The frames of `StudyTables`, which are also the names of their files."""

TRIALS = {
    "trial": "int64",
    "state": "str",
    **DTYPES,
    "value": "float64",
    "best_epoch": "Int64",
    "epochs": "int64",
    **dict.fromkeys(METRICS, "float64"),
    "seconds": "float64",
    "seed": "int64",
    "digest": "str",
    "started": "datetime64[ms, UTC]",
    "ended": "datetime64[ms, UTC]",
}
"""One row per committed trial; the four metrics are those of `best_epoch`.

With folds, metrics are means over the folds, and `value_std` is the standard deviation of `value` over the folds.
"""

CURVE = {"trial": "int64", "epoch": "int64", **dict.fromkeys(CURVES, "float64")}
"""One row per trial and epoch. With folds, one row per trial, fold and epoch, with `fold` as the second column."""

WEIGHTS = {
    "trial": "int64",
    "input": "category",
    "unit": "int64",
    "row": "Int64",
    "column": "Int64",
    "channel": "Int64",
    "value": "float64",
}
"""One row per input and hidden unit of the best trial's W1. Row, column and channel are missing if it is no image."""


CONFIRMATION = {
    "candidate": "str",
    "kind": "str",
    "trial": "Int64",
    "seed": "int64",
    "state": "str",
    **DTYPES,
    "epochs": "int64",
    **dict.fromkeys(METRICS, "float64"),
    "train_rows": "int64",
    "val_rows": "int64",
    "seconds": "float64",
    "digest": "str",
}
"""One row per candidate and seed of a confirmation; the four metrics are those of the last epoch."""

AUDIT = {
    "trial": "int64",
    "stopped_at": "int64",
    "state": "str",
    "value": "float64",
    "best_epoch": "Int64",
    "epochs": "int64",
    "seconds": "float64",
}
"""One row per audited trial: a pruned trial, trained to its last epoch."""


@dataclass(frozen=True)
class StudyTables:
    """A study in pandas. The tables `confirmation` and `audit` are empty until the study is confirmed or audited."""

    name: str
    metric: Metric
    """The metric that the study optimizes; `trials` has its best value over a trial's epochs as `value`."""
    trials: pd.DataFrame
    """One row per committed trial, in order: `TRIALS`."""
    curves: pd.DataFrame
    """One row per trial and epoch: `CURVE`."""
    weights: pd.DataFrame
    """One row per weight of the best trial's first layer, D x H rows: `WEIGHTS`. Empty if they are not stored."""
    confirmation: pd.DataFrame
    """One row per candidate and seed: `CONFIRMATION`."""
    audit: pd.DataFrame
    """One row per audited trial: `AUDIT`."""

    def ranked(self) -> pd.DataFrame:
        """Return the table of trials, best first: by state, then by the value in the search, then by number."""
        order = self.trials["state"].map({str(state): place for place, state in enumerate(State)})
        trials = self.trials.assign(order=order, cost=self.metric.cost(self.trials["value"]))
        return trials.sort_values(["order", "cost", "trial"]).drop(columns=["order", "cost"])

    def best_trial(self) -> int | None:
        """Return the number of the best trial of the search; None if no trial finished.

        Only finished trials can be the best, however good a pruned one was.
        """
        finished = self.ranked().query("state == 'finished'")
        return None if finished.empty else int(finished["trial"].iloc[0])

    def best_so_far(self) -> NDArray[np.float64]:
        """Return the best value of the finished trials up to each trial, shape (trials,); NaN before the first."""
        trials = self.trials.sort_values("trial")
        value = trials["value"].where(trials["state"] == "finished").ffill()
        return (value.cummax() if self.metric.maximize else value.cummin()).to_numpy()


def load_study(study: str | Path, *, results: str | Path = "results") -> StudyTables:
    """Return the tables of a study, from the records of its committed trials; the study may still be running.

    `study` is a name in the `results` folder or the path of a study's own folder.

    Raises:
        InputError: there is no such study.
        RecordError: one of its records is damaged.
    """
    folder = find_study(study, results)
    return tables_of(folder.committed(), folder)


def tables_of(records: list[Record], folder: StudyFolder) -> StudyTables:
    """Return the tables of these trials, with the confirmation and the audit in the study's folder.

    Raises:
        InputError: the folder has no settings.
    """
    spec, data = folder.spec(), folder.resolved_settings()["data"]
    folds = spec.data.folds
    return StudyTables(
        name=spec.name,
        metric=spec.study.metric,
        trials=_frame(_after(TRIALS, "value", {"value_std": "float64"} if folds else {}), map(_row, records)),
        curves=_frame(
            _after(CURVE, "trial", {"fold": "int64"} if folds else {}),
            (row for record in records for row in _curve(record)),
        ),
        weights=_weights(records, folder, data),
        confirmation=_frame(CONFIRMATION, _confirmation(spec, records, folder, data["rows"])),
        audit=_frame(
            AUDIT,
            (_row(each) | {"stopped_at": len(pruned.result.curve)} for pruned, each in read_audit(records, folder)),
        ),
    )


def write_tables(tables: StudyTables, folder: StudyFolder) -> None:
    """Write the tables as Parquet files into the study's folder.

    Raises:
        WorkError: the system refuses.
    """
    for name in TABLES:
        write_atomically(folder.path / f"{name}.parquet", getattr(tables, name).to_parquet(index=False))


def mean_over_folds(curves: pd.DataFrame) -> pd.DataFrame:
    """Return curves with one row per trial and epoch: with folds, the mean of each metric over the folds.

    If a metric is NaN in one fold, its mean is NaN.
    """
    if "fold" not in curves:
        return curves
    return curves.drop(columns="fold").groupby(["trial", "epoch"]).mean(skipna=False).reset_index()


def _frame(columns: dict[str, str], rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a frame with these columns and types; other keys of a row are left out."""
    return pd.DataFrame(list(rows), columns=list(columns)).astype(columns)


def _after(columns: dict[str, str], name: str, more: dict[str, str]) -> dict[str, str]:
    """Return the columns with `more` inserted after the column `name`."""
    names = list(columns)
    first = names[: names.index(name) + 1]
    return {key: columns[key] for key in first} | more | columns


def _row(record: Record) -> dict[str, Any]:
    """Return everything that a table may show of a training; a table takes the columns that it declares."""
    job, result, provenance = record.job, record.result, record.provenance
    best = result.curve[result.best_epoch - 1] if result.best_epoch else None
    return {
        "trial": job.number,
        "state": str(result.state),
        **job.hyperparameters._asdict(),
        "value": result.value,
        "value_std": _spread(result, job.metric),
        "best_epoch": result.best_epoch,
        "epochs": len(result.curve),
        **{name: getattr(best, name) if best else np.nan for name in METRICS},
        "seconds": provenance.seconds,
        "seed": job.seed,
        "digest": record.digest,
        "started": pd.Timestamp(provenance.started, unit="s", tz="UTC"),
        "ended": pd.Timestamp(provenance.ended, unit="s", tz="UTC"),
    }


def _spread(result: TrialResult, metric: Metric) -> float:
    """Return the standard deviation of the value over the folds."""
    if not (result.folds and result.best_epoch):
        return math.nan
    return float(np.std([getattr(fold[result.best_epoch - 1], metric) for fold in result.folds], ddof=1))


def _curve(record: Record) -> list[dict[str, Any]]:
    """Return the rows of a trial's curve, one per epoch, or with folds one per fold and epoch."""
    return [
        {"trial": record.number, "fold": fold, "epoch": epoch.epoch, **{name: getattr(epoch, name) for name in CURVES}}
        for fold, curve in enumerate(record.result.folds or (record.result.curve,))
        for epoch in curve
    ]


def _confirmation(
    spec: StudySpec, records: list[Record], folder: StudyFolder, rows: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each candidate and seed; none unless the confirmation is complete."""
    pool = rows["train"] + rows["validation"]
    val_rows = pool // spec.data.folds if spec.data.folds else rows["validation"]
    for candidate, confirmed in read_confirmation(spec, records, folder).items():
        kind = "baseline" if candidate.trial is None else "finalist"
        shared = {"candidate": candidate.name, "kind": kind, "trial": candidate.trial}
        shared |= {"train_rows": pool - val_rows, "val_rows": val_rows}
        yield from (_row(record) | shared | {"seed": record.number} for record in confirmed)


def _weights(records: list[Record], folder: StudyFolder, data: dict[str, Any]) -> pd.DataFrame:
    """Return W1 of the best trial; no rows if no trial finished or its weights are not stored."""
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
