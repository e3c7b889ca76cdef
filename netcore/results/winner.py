"""The winner and the other candidates, from the table `confirmation`: means, intervals, differences.

Each candidate was trained with the same fresh seeds, so differences are paired. All values are those of the last epoch,
which nobody chose. The winner is the finalist with the best mean of the study's metric (`Metric.winner`); baselines
never win. The *search estimate* is what the search measured for the same hyperparameters.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from netcore.question.metrics import Metric
from netcore.results.intervals import Estimate, corrected_mean
from netcore.results.tables import StudyTables


class CandidateSummary(NamedTuple):
    """One candidate, over its finished seeds."""

    name: str
    kind: str
    """`finalist` or `baseline`."""
    trial: int | None
    hidden_size: int
    """0 for softmax regression."""
    seeds: int
    finished: int
    """How many of the seeds finished."""
    val_loss: Estimate | None
    """Nats; None if no seed finished."""
    val_accuracy: Estimate | None
    """Share; None if no seed finished."""
    search_estimate: float | None
    """The trial's `value` in the search; None for a baseline."""
    difference: Estimate | None
    """This candidate's metric minus the winner's, over the seeds that both finished; None for the winner."""

    @property
    def complete(self) -> bool:
        """Whether every seed finished."""
        return self.finished == self.seeds

    def of(self, metric: Metric) -> Estimate | None:
        """Return the estimate of a metric."""
        return self.val_loss if metric is Metric.VAL_LOSS else self.val_accuracy


class ConfirmationSummary(NamedTuple):
    """All candidates of a confirmation."""

    metric: Metric
    train_rows: int
    val_rows: int
    seeds: int
    winner: CandidateSummary | None
    """None if no finalist finished a seed."""
    candidates: list[CandidateSummary]
    """Finalists first, then baselines; of each kind the best first, those without a finished seed last."""

    @property
    def within_noise(self) -> list[CandidateSummary]:
        """The candidates with all seeds finished whose difference to the winner has an interval that contains 0."""
        return [c for c in self.candidates if c.complete and c.difference and c.difference.may_be_zero]

    @property
    def smallest(self) -> CandidateSummary | None:
        """The candidate within the noise with the fewest hidden units, if it has fewer than the winner."""
        least = min(self.within_noise, key=lambda candidate: candidate.hidden_size, default=None)
        return least if least and self.winner and least.hidden_size < self.winner.hidden_size else None

    def named(self, name: str) -> CandidateSummary | None:
        """Return a candidate by its name."""
        return next((candidate for candidate in self.candidates if candidate.name == name), None)


class Answer(NamedTuple):
    """The trial that answers the study's question."""

    kind: str
    """`winner` if it is confirmed, else `best trial`."""
    trial: int


def answer_of(tables: StudyTables) -> Answer | None:
    """Return the winner if the study is confirmed, else the best trial of the search; None if no trial finished."""
    found = summarised(tables)
    if found and found.winner and found.winner.trial is not None:
        return Answer("winner", found.winner.trial)
    best = tables.best_trial()
    return None if best is None else Answer("best trial", best)


def summarised(tables: StudyTables) -> ConfirmationSummary | None:
    """Return the summary of a study's confirmation; None if the study is not confirmed."""
    rows, metric = tables.confirmation, tables.metric
    if rows.empty:
        return None
    finalists = rows[rows["kind"] == "finalist"].groupby("candidate", sort=False)[str(metric)]
    best = metric.winner({str(name): values.to_list() for name, values in finalists})
    finished = rows[rows["state"] == "finished"]
    winners = finished[finished["candidate"] == best].set_index("seed")[str(metric)]
    costs = metric.cost(finished.groupby("candidate")[str(metric)].mean())
    candidates = [_candidate(group, tables, best, winners) for _, group in rows.groupby("candidate", sort=False)]
    return ConfirmationSummary(
        metric=metric,
        train_rows=int(rows["train_rows"].iloc[0]),
        val_rows=int(rows["val_rows"].iloc[0]),
        seeds=rows["seed"].nunique(),
        winner=next((candidate for candidate in candidates if candidate.name == best), None),
        candidates=sorted(candidates, key=lambda c: (c.kind != "finalist", costs.get(c.name, np.inf))),
    )


def _candidate(rows: pd.DataFrame, tables: StudyTables, best: str | None, winners: pd.Series) -> CandidateSummary:
    """Summarise one candidate; `winners` are the values of the winner, `best`, by seed."""
    first, finished = rows.iloc[0], rows[rows["state"] == "finished"].set_index("seed")
    searched = tables.trials.loc[tables.trials["trial"] == first["trial"], "value"]
    differences = (finished[str(tables.metric)] - winners).dropna()
    return CandidateSummary(
        name=first["candidate"],
        kind=first["kind"],
        trial=None if pd.isna(first["trial"]) else int(first["trial"]),
        hidden_size=int(first["hidden_size"]),
        seeds=len(rows),
        finished=len(finished),
        val_loss=_mean(finished["val_loss"], rows),
        val_accuracy=_mean(finished["val_accuracy"], rows),
        search_estimate=None if searched.empty else float(searched.iloc[0]),
        difference=None if first["candidate"] == best else _mean(differences, rows),
    )


def _mean(values: pd.Series, rows: pd.DataFrame) -> Estimate | None:
    """Return the mean of values measured on splits like those of `rows`; None if there is no value."""
    if values.empty:
        return None
    train_rows, val_rows = int(rows["train_rows"].iloc[0]), int(rows["val_rows"].iloc[0])
    return corrected_mean(values.to_numpy(np.float64), train_rows=train_rows, test_rows=val_rows)
