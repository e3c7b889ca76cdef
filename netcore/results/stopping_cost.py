"""What an audit says of the stopping rule: trials that it had ended, trained to their last epoch after all.

In comes the table `audit`, a row per audited trial; out come how many the rule had stopped wrongly, with Wilson's
interval for its rate, and the epochs that it saved in the whole study.
"""

from typing import NamedTuple

from netcore.results.statistics import Interval, wilson
from netcore.results.summary import winner
from netcore.results.tables import StudyTables

__all__ = ["Audit", "audited", "epochs_saved"]


class Audit(NamedTuple):
    """The stopping rule's mistakes among the audited trials."""

    trials: int
    """Those that were audited and tell: all but the failed ones."""
    failed: int
    """Those whose training ended with an error, and which tell nothing."""
    wrong: list[int]
    """The trials that would have beaten the search's best, in order."""
    rate: float | None
    """The share of `trials` stopped wrongly; None where there are none."""
    interval: Interval | None


def audited(tables: StudyTables) -> Audit | None:
    """Sum a study's audit up; None where there is none.

    A trial was stopped wrongly if, trained to the end, its value is strictly better than that of the best finished
    trial. One that diverges was stopped rightly.
    """
    rows = tables.audit
    if rows.empty:
        return None
    tell = rows[rows["state"] != "failed"]
    best = tables.trials.loc[tables.trials["trial"] == winner(tables), "value"]
    better = tell["value"].notna() if best.empty else tables.metric.better(tell["value"], best.iloc[0])
    wrong, trials = sorted(tell.loc[better, "trial"].tolist()), len(tell)
    return Audit(
        trials=trials,
        failed=len(rows) - trials,
        wrong=wrong,
        rate=len(wrong) / trials if trials else None,
        interval=wilson(len(wrong), trials) if trials else None,
    )


def epochs_saved(tables: StudyTables, epochs: int) -> int:
    """Give how many epochs the stopping rule saved in a study whose trials take `epochs` each."""
    pruned = tables.trials.loc[tables.trials["state"] == "pruned", "epochs"]
    return int((epochs - pruned).sum())
