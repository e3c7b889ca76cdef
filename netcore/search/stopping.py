"""The stopping rule: the stopping variant of ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning", MLSys; arXiv:1810.05934).

At each rung r (an epoch named in the study file) a trial continues only if its best value so far is among the better
share, `keep`, of the trials that had reached that rung when the trial was *proposed*. With b_i, the best value of trial
i over its first r epochs, the threshold is the quantile of all b_i at `keep` if lower is better, else at 1 - `keep`.
The thresholds are numbers that travel with the job, so a worker needs nothing else.
"""

import numpy as np

from netcore.question.metrics import Metric
from netcore.question.sections import StoppingSection
from netcore.records.job import State, TrialResult


class Stopping:
    """The best values of the committed trials at each rung, and the thresholds that follow from them."""

    def __init__(self, section: StoppingSection | None, metric: Metric) -> None:
        self._section = section
        self._metric = metric
        self._reached: dict[int, list[float]] = {rung: [] for rung in section.rungs} if section else {}

    def commit(self, result: TrialResult) -> None:
        """Add a trial; only finished and pruned ones count."""
        if result.state not in {State.FINISHED, State.PRUNED}:
            return
        for rung, values in self._reached.items():
            if len(result.curve) >= rung:
                values.append(self._metric.best_so_far(result.curve, rung))

    def thresholds(self) -> dict[int, float]:
        """Return the threshold of each rung that `after` trials have reached: a trial that is worse there is pruned.

        Keys are epochs, values are in the unit of the metric. The quantile interpolates linearly (`np.quantile`).
        """
        if self._section is None:
            return {}
        share = 1 - self._section.keep if self._metric.maximize else self._section.keep
        return {
            rung: float(np.quantile(values, share))
            for rung, values in self._reached.items()
            if len(values) >= self._section.after
        }
