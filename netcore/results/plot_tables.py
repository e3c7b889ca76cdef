"""The small tables below the report's plots: the numbers that a plot shows, and the file that contains all of them.

A table has at most 20 rows. The plots of trials have none here: their numbers are the report's table of trials.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from netcore.results.number_format import between, plus_minus, value_of
from netcore.results.tables import StudyTables, mean_over_folds
from netcore.results.test_set import Reading
from netcore.results.winner import Answer, ConfirmationSummary
from netcore.search.importance import Importance

_MOST = 20


class PlotTable(NamedTuple):
    """The table of one plot."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    file: str
    """The file with all rows, in the study's folder."""


def plot_tables_of(
    tables: StudyTables,
    answer: Answer | None,
    found: ConfirmationSummary | None,
    reading: Reading | None,
    importances: Mapping[str, Importance],
) -> dict[str, PlotTable]:
    """Return the tables of the plots that have one, by the plot's name."""
    made = {
        "best_trial": _curve(tables, answer),
        "first_layer": _units(tables.weights),
        "importance": _importance(importances),
        "confirmation": _candidates(found),
        "confusion": _confused(reading),
    }
    return {name: table for name, table in made.items() if table.rows}


def _curve(tables: StudyTables, answer: Answer | None) -> PlotTable:
    columns = ("epoch", "learning_rate", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    number = answer.trial if answer else None
    curves = mean_over_folds(tables.curves[tables.curves["trial"] == number]).sort_values("epoch")
    return PlotTable(columns, list(curves[list(columns)].itertuples(index=False, name=None)), "curves.parquet")


def _units(weights: pd.DataFrame) -> PlotTable:
    """Return the hidden units of largest norm, each with its input of largest weight."""
    columns = ("hidden unit", "norm of its weights", "input of largest weight", "largest weight")
    if weights.empty:
        return PlotTable(columns, [], "weights.parquet")
    W1 = weights.pivot_table("value", "input", "unit", observed=True)
    values = W1.to_numpy(np.float64)
    norms = np.linalg.norm(values, axis=0)
    most = np.abs(values).argmax(axis=0)
    rows = [
        (int(W1.columns[unit]), float(norms[unit]), str(W1.index[most[unit]]), float(values[most[unit], unit]))
        for unit in np.argsort(-norms, kind="stable")[:_MOST]
    ]
    return PlotTable(columns, rows, "weights.parquet")


def _importance(importances: Mapping[str, Importance]) -> PlotTable:
    rows: list[tuple[object, ...]] = [(name, *importance) for name, importance in importances.items()]
    return PlotTable(("hyperparameter", "importance", "95 % from", "95 % to"), rows, "trials.parquet")


def _candidates(found: ConfirmationSummary | None) -> PlotTable:
    """Return the search estimate, the confirmed means and the difference to the winner of each candidate."""
    if found is None:
        return PlotTable((), [], "confirmation.parquet")
    metric = found.metric
    columns = (
        "candidate",
        "hidden_size",
        "seeds finished",
        "val_loss",
        "val_accuracy",
        f"search estimate of {metric}",
        f"{metric} minus the winner's",
        "95 % interval of the difference",
    )
    rows = [
        (
            candidate.name,
            candidate.hidden_size,
            f"{candidate.finished} of {candidate.seeds}",
            plus_minus(candidate.val_loss, "val_loss"),
            plus_minus(candidate.val_accuracy, "val_accuracy"),
            None if candidate.search_estimate is None else value_of(candidate.search_estimate, metric),
            value_of(candidate.difference.mean, metric, difference=True) if candidate.difference else None,
            between(candidate.difference.interval, metric, difference=True) if candidate.difference else None,
        )
        for candidate in found.candidates
    ]
    return PlotTable(columns, rows, "confirmation.parquet")


def _confused(reading: Reading | None) -> PlotTable:
    rows = [tuple(confused) for confused in reading.confused(_MOST)] if reading else []
    return PlotTable(("true class", "predicted class", "rows", "share of the true class"), rows, "test.json")
