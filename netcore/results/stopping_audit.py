"""What an audit says about the stopping rule: would a pruned trial have won, had it been trained to its last epoch?

In: the table `audit`, one row per audited trial. Out: how many trials were pruned wrongly, with Wilson's interval for
that rate, and the epochs that the rule saved in the whole study.
"""

from typing import NamedTuple

from netcore.results.intervals import Interval, wilson
from netcore.results.tables import StudyTables


class Audit(NamedTuple):
    """The mistakes of the stopping rule among the audited trials."""

    trials: int
    """The audited trials, without failed ones."""
    failed: int
    """The audited trials whose training failed; they are no evidence for or against the rule."""
    wrong: list[int]
    """The trials that would have beaten the best trial, in order."""
    interval: Interval | None
    """Wilson's interval for the share that was pruned wrongly; None if `trials` is 0."""


def audited(tables: StudyTables) -> Audit | None:
    """Return the summary of a study's audit; None if the study is not audited.

    A trial was pruned wrongly if its value after all epochs is strictly better than that of the best trial. A trial
    that diverges was pruned rightly.
    """
    rows = tables.audit
    if rows.empty:
        return None
    ended = rows[rows["state"] != "failed"]
    best = tables.trials.loc[tables.trials["trial"] == tables.best_trial(), "value"]
    better = ended["value"].notna() if best.empty else tables.metric.better(ended["value"], best.iloc[0])
    wrong, trials = sorted(ended.loc[better, "trial"].tolist()), len(ended)
    return Audit(trials, len(rows) - trials, wrong, wilson(len(wrong), trials) if trials else None)


def epochs_saved(tables: StudyTables, epochs: int) -> int:
    """Return the number of epochs that pruning saved in a study with `epochs` epochs per trial."""
    pruned = tables.trials.loc[tables.trials["state"] == "pruned", "epochs"]
    return int((epochs - pruned).sum())
