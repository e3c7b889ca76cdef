"""When to stop a trial that lags behind: the stopping form of ASHA (Li et al. 2020, "A System for Massively Parallel
Hyperparameter Tuning", MLSys; arXiv:1810.05934).

At each rung (an epoch named in the study file) a trial goes on only if its best so far is among the better share,
`keep`, of those known to have reached that rung when the trial was *proposed*. The thresholds are numbers that travel
with the job: a worker never has to ask anybody.
"""

import numpy as np

from netcore.question.metrics import Metric
from netcore.question.spec import StoppingSection
from netcore.records.job import State, TrialResult

__all__ = ["Stopping"]


class Stopping:
    """What committed trials have shown at each rung, and the thresholds that follow."""

    def __init__(self, section: StoppingSection | None, metric: Metric) -> None:
        self._section = section
        self._metric = metric
        self._reached: dict[int, list[float]] = {rung: [] for rung in section.rungs} if section else {}

    def commit(self, result: TrialResult) -> None:
        """Take note of a trial; only finished and pruned ones count."""
        if result.state not in {State.FINISHED, State.PRUNED}:
            return
        for rung, values in self._reached.items():
            if len(result.curve) >= rung:
                values.append(self._metric.best_so_far(result.curve, rung))

    def thresholds(self) -> dict[int, float]:
        """Give, for each rung that enough trials have reached, the value that a trial must not be worse than there."""
        if self._section is None:
            return {}
        share = 1 - self._section.keep if self._metric.maximize else self._section.keep
        return {
            rung: float(np.quantile(values, share))
            for rung, values in self._reached.items()
            if len(values) >= self._section.after
        }
