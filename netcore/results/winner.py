"""What a confirmation says: the search's best settings and the baselines, trained again with the same fresh seeds.

In comes the table `confirmation`, a row per candidate and seed; out come, for each candidate, what to expect of its
setting when it is trained on so many rows, how far it is from the winner, and what the search had promised. Figures are
those of the last epoch: nobody chose among them. All candidates share their seeds, so differences are paired.

The winner is the finalist with the best mean of the study's metric. Baselines never win. A finalist with a seed that
did not finish wins only where every other has one too.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from netcore.question.metrics import Metric
from netcore.results.statistics import Estimate, corrected_mean
from netcore.results.summary import winner as best_of_search
from netcore.results.tables import StudyTables

__all__ = ["SOFTMAX", "Candidate", "Confirmation", "chosen", "confirmed"]

SOFTMAX = "softmax regression"
"""The baseline without a hidden layer, by its name in the table."""


class Candidate(NamedTuple):
    """One setting, over all its seeds."""

    name: str
    kind: str
    """`finalist` or `baseline`."""
    trial: int | None
    hidden_size: int
    """0 for softmax regression."""
    seeds: int
    finished: int
    """How many of the seeds; the figures are theirs."""
    val_loss: Estimate | None
    """Nats; None where no seed finished."""
    val_accuracy: Estimate | None
    """Share; None where no seed finished."""
    promised: float | None
    """The trial's `value` in the search."""
    difference: Estimate | None
    """Of the study's metric to the winner's (this one's minus the winner's), over the seeds that both finished."""

    @property
    def whole(self) -> bool:
        """Whether every seed finished."""
        return self.finished == self.seeds

    def of(self, metric: Metric) -> Estimate | None:
        """Give the figure of a metric."""
        return self.val_loss if metric is Metric.VAL_LOSS else self.val_accuracy

    def gap(self, metric: Metric) -> float | None:
        """Give by how much the confirmed mean is worse than the search's figure; negative where it is better."""
        mean = self.of(metric)
        if mean is None or self.promised is None:
            return None
        return float(metric.cost(mean.mean - self.promised))


class Confirmation(NamedTuple):
    """All candidates beside one another."""

    metric: Metric
    train_rows: int
    val_rows: int
    seeds: int
    winner: Candidate | None
    """None where no finalist finished a single seed."""
    candidates: list[Candidate]
    """Finalists first, then baselines; the best first, those without a figure last."""

    @property
    def within_noise(self) -> list[Candidate]:
        """The whole candidates whose difference to the winner has an interval that holds 0."""
        return [c for c in self.candidates if c.whole and c.difference and _holds_zero(c.difference)]

    @property
    def smallest(self) -> Candidate | None:
        """Of those within the noise, the one with the fewest hidden units, if it has fewer than the winner."""
        least = min(self.within_noise, key=lambda candidate: candidate.hidden_size, default=None)
        return least if least and self.winner and least.hidden_size < self.winner.hidden_size else None

    def named(self, name: str) -> Candidate | None:
        """Give a candidate by its name."""
        return next((candidate for candidate in self.candidates if candidate.name == name), None)


def confirmed(tables: StudyTables) -> Confirmation | None:
    """Sum a study's confirmation up; None where there is none."""
    rows, metric = tables.confirmation, tables.metric
    if rows.empty:
        return None
    promised = tables.trials.set_index("trial")["value"]
    candidates = [_candidate(group, promised) for _, group in rows.groupby("candidate", sort=False)]
    winner = _winner(candidates, rows, metric)
    if winner is not None:
        candidates = [_compared(candidate, winner, rows, metric) for candidate in candidates]
    return Confirmation(
        metric=metric,
        train_rows=int(rows["train_rows"].iloc[0]),
        val_rows=int(rows["val_rows"].iloc[0]),
        seeds=rows["seed"].nunique(),
        winner=winner,
        candidates=sorted(candidates, key=lambda c: (c.kind != "finalist", _place(c, metric))),
    )


def chosen(tables: StudyTables) -> int | None:
    """Give the number of the trial that the study answers with: the confirmed winner, else the search's best."""
    found = confirmed(tables)
    return found.winner.trial if found and found.winner else best_of_search(tables)


def _candidate(rows: pd.DataFrame, promised: pd.Series) -> Candidate:
    first, finished = rows.iloc[0], rows[rows["state"] == "finished"]
    trial = None if pd.isna(first["trial"]) else int(first["trial"])
    return Candidate(
        name=first["candidate"],
        kind=first["kind"],
        trial=trial,
        hidden_size=int(first["hidden_size"]),
        seeds=len(rows),
        finished=len(finished),
        val_loss=_mean(finished["val_loss"], rows),
        val_accuracy=_mean(finished["val_accuracy"], rows),
        promised=float(promised[trial]) if trial is not None and trial in promised.index else None,
        difference=None,
    )


def _winner(candidates: list[Candidate], rows: pd.DataFrame, metric: Metric) -> Candidate | None:
    values = rows[metric].where(rows["state"] == "finished").groupby(rows["candidate"]).agg(list)
    finalists = (candidate for candidate in candidates if candidate.kind == "finalist")
    return metric.winner({candidate: values[candidate.name] for candidate in finalists})


def _compared(candidate: Candidate, winner: Candidate, rows: pd.DataFrame, metric: Metric) -> Candidate:
    """Add the paired difference to the winner; the winner has none to itself."""
    if candidate.name == winner.name:
        return candidate
    figures = rows[rows["state"] == "finished"].pivot_table(metric, "seed", "candidate")
    if not {candidate.name, winner.name} <= set(figures.columns):
        return candidate
    differences = (figures[candidate.name] - figures[winner.name]).dropna()
    return candidate._replace(difference=_mean(differences, rows))


def _mean(values: pd.Series, rows: pd.DataFrame) -> Estimate | None:
    """Give the mean of what was measured on fresh splits like those of `rows`; None of nothing."""
    if values.empty:
        return None
    train_rows, val_rows = int(rows["train_rows"].iloc[0]), int(rows["val_rows"].iloc[0])
    return corrected_mean(values.to_numpy(np.float64), train_rows=train_rows, test_rows=val_rows)


def _place(candidate: Candidate, metric: Metric) -> float:
    """Give what sorts the best candidate first."""
    figure = candidate.of(metric)
    if figure is None:
        return np.inf
    return float(metric.cost(figure.mean))


def _holds_zero(difference: Estimate) -> bool:
    return difference.interval is not None and difference.interval.holds(0.0)
