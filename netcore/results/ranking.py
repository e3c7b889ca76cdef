"""The ranking of a study's trials, from its table `trials`: which is the best trial, and how the search found it.

Only finished trials can be the best, however good a pruned one was. All of these are values of the search; the
confirmed winner is in `netcore.results.winner`.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netcore.records.job import State
from netcore.results.tables import StudyTables


def ranked(tables: StudyTables) -> pd.DataFrame:
    """Return the table of trials, best first: by state, then by value, then by number."""
    order = tables.trials["state"].map({str(state): place for place, state in enumerate(State)})
    trials = tables.trials.assign(order=order, cost=tables.metric.cost(tables.trials["value"]))
    return trials.sort_values(["order", "cost", "trial"]).drop(columns=["order", "cost"])


def best_trial(tables: StudyTables) -> int | None:
    """Return the number of the best trial of the search; None if no trial finished."""
    finished = ranked(tables).query("state == 'finished'")
    return None if finished.empty else int(finished["trial"].iloc[0])


def best_so_far(tables: StudyTables) -> NDArray[np.float64]:
    """Return the best value among the finished trials up to each trial, by trial number; NaN before the first."""
    trials = tables.trials.sort_values("trial")
    value = np.where(trials["state"] == "finished", trials["value"], np.nan)
    best: NDArray[np.float64] = (np.fmax if tables.metric.maximize else np.fmin).accumulate(value)
    return best
