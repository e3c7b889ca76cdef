"""The small tables below the report's plots: the numbers that a plot shows, in its order.

In: the tables of a study and what was computed from them. Out: one frame per plot, whose columns are the headings. A
frame has at most 20 rows; the report names the file that has all of them. The plots of trials have none here: their
numbers are the report's table of trials.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from netcore.question.metrics import METRICS
from netcore.results.number_format import between, plus_minus, value_of
from netcore.results.tables import StudyTables, mean_over_folds
from netcore.results.test_set import Reading
from netcore.results.winner import Answer, ConfirmationSummary
from netcore.search.importance import Importance

_MOST = 20


def plot_tables_of(
    tables: StudyTables,
    answer: Answer | None,
    found: ConfirmationSummary | None,
    reading: Reading | None,
    importances: Mapping[str, Importance],
) -> dict[str, pd.DataFrame]:
    """Return the tables of the plots that have one, by the plot's name."""
    shares = ((name, *importance) for name, importance in importances.items())
    made = {
        "best_trial": _curve(tables, answer),
        "first_layer": _units(tables.weights),
        "importance": pd.DataFrame(shares, columns=["hyperparameter", "importance", "95 % from", "95 % to"]),
        "confirmation": pd.DataFrame(_candidates(found) if found else ()),
        "confusion": pd.DataFrame(
            reading.confused(_MOST) if reading else (),
            columns=["true class", "predicted class", "rows", "share of the true class"],
        ),
    }
    return {name: table for name, table in made.items() if not table.empty}


def _curve(tables: StudyTables, answer: Answer | None) -> pd.DataFrame:
    """Return the curve of the trial that answers the question, one row per epoch."""
    curves = tables.curves[tables.curves["trial"] == (answer.trial if answer else None)]
    return mean_over_folds(curves).sort_values("epoch")[["epoch", "learning_rate", *METRICS]]


def _units(weights: pd.DataFrame) -> pd.DataFrame:
    """Return the hidden units of largest norm, each with its input of largest weight."""
    norms = np.sqrt(weights["value"].pow(2).groupby(weights["unit"]).sum())
    largest = weights.loc[weights["value"].abs().groupby(weights["unit"]).idxmax()]
    columns = {
        "hidden unit": norms.index,
        "norm of its weights": norms.to_numpy(),
        "input of largest weight": largest["input"].astype("str").to_numpy(),
        "largest weight": largest["value"].to_numpy(),
    }
    return pd.DataFrame(columns).nlargest(_MOST, "norm of its weights")


def _candidates(found: ConfirmationSummary) -> Iterator[dict[str, object]]:
    """Yield the row of each candidate: search estimate, confirmed means, difference to the winner."""
    metric = found.metric
    for candidate in found.candidates:
        difference = candidate.difference
        yield {
            "candidate": candidate.name,
            "hidden_size": candidate.hidden_size,
            "seeds finished": f"{candidate.finished} of {candidate.seeds}",
            "val_loss": plus_minus(candidate.val_loss, "val_loss"),
            "val_accuracy": plus_minus(candidate.val_accuracy, "val_accuracy"),
            f"search estimate of {metric}": value_of(candidate.search_estimate, metric),
            f"{metric} minus the winner's": value_of(difference and difference.mean, metric, difference=True),
            "95 % interval of the difference": between(difference and difference.interval, metric, difference=True),
        }
