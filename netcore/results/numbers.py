"""The small tables beneath the report's figures: what is drawn, as numbers, and the file that holds all of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from netcore.results.summary import mean_over_folds
from netcore.results.tables import StudyTables
from netcore.results.test_set import Reading
from netcore.results.winner import Confirmation, chosen
from netcore.results.words import between, figure, plus_minus
from netcore.search.importance import Importance

__all__ = ["Numbers", "numbers_of"]

_MOST = 20


class Numbers(NamedTuple):
    """One table: its columns, its rows, and where the rest is."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    file: str
    """Beside the report."""


def numbers_of(
    tables: StudyTables,
    found: Confirmation | None,
    reading: Reading | None,
    importances: Mapping[str, Importance],
) -> dict[str, Numbers]:
    """Give the tables of the figures that have one, by the figure's name."""
    made = {
        "best_trial": _curve(tables),
        "first_layer": _units(tables.weights),
        "importance": _importance(importances),
        "confirmation": _candidates(found),
        "confusion": _confused(reading),
    }
    return {name: numbers for name, numbers in made.items() if numbers.rows}


def _curve(tables: StudyTables) -> Numbers:
    columns = ("epoch", "learning_rate", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    curves = mean_over_folds(tables.curves[tables.curves["trial"] == chosen(tables)]).sort_values("epoch")
    return Numbers(columns, list(curves[list(columns)].itertuples(index=False, name=None)), "curves.parquet")


def _units(weights: pd.DataFrame) -> Numbers:
    """Give the hidden units of largest norm, and the input that each weighs most."""
    columns = ("hidden unit", "norm of its weights", "input of largest weight", "that weight")
    if weights.empty:
        return Numbers(columns, [], "weights.parquet")
    W1 = weights.pivot_table("value", "input", "unit", observed=True)
    values = W1.to_numpy(np.float64)
    norms = np.linalg.norm(values, axis=0)
    most = np.abs(values).argmax(axis=0)
    rows = [
        (int(W1.columns[unit]), float(norms[unit]), str(W1.index[most[unit]]), float(values[most[unit], unit]))
        for unit in np.argsort(-norms, kind="stable")[:_MOST]
    ]
    return Numbers(columns, rows, "weights.parquet")


def _importance(importances: Mapping[str, Importance]) -> Numbers:
    rows: list[tuple[object, ...]] = [(name, *importance) for name, importance in importances.items()]
    return Numbers(("hyperparameter", "importance", "from", "to"), rows, "trials.parquet")


def _candidates(found: Confirmation | None) -> Numbers:
    """Give each candidate's figures as they are said: what was promised, what to expect, how far from the winner."""
    if found is None:
        return Numbers((), [], "confirmation.parquet")
    metric = found.metric
    columns = (
        "candidate",
        "hidden_size",
        "seeds finished",
        "val_loss",
        "val_accuracy",
        f"the search's {metric}",
        f"{metric} minus the winner's",
        "95 % interval of that",
    )
    rows = [
        (
            candidate.name,
            candidate.hidden_size,
            f"{candidate.finished} of {candidate.seeds}",
            plus_minus(candidate.val_loss, "val_loss"),
            plus_minus(candidate.val_accuracy, "val_accuracy"),
            None if candidate.promised is None else figure(candidate.promised, metric),
            figure(candidate.difference.mean, metric) if candidate.difference else None,
            between(candidate.difference.interval, metric) if candidate.difference else None,
        )
        for candidate in found.candidates
    ]
    return Numbers(columns, rows, "confirmation.parquet")


def _confused(reading: Reading | None) -> Numbers:
    rows = [tuple(confused) for confused in reading.confused(_MOST)] if reading else []
    return Numbers(("true class", "taken for", "rows", "share of the true class"), rows, "test.json")
