"""The metrics a study can be judged by, and the one rule that ranks trials and candidates.

Everything that compares two trials asks a `Metric`: the best epoch of a trial, the stopping rule, the direction that
Optuna is told, the ranking of trials, the confirmed winner, the order of tables and of MLflow's runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, TypeVar

import numpy as np

from netcore.core.sgd import Epoch

METRICS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
"""What is measured in every epoch: losses in nats, accuracies as shares from 0 to 1."""

Candidate = TypeVar("Candidate")


class Metric(StrEnum):
    """A validation metric that a study optimizes; as text, its name in the study file, the records and the tables."""

    VAL_LOSS = "val_loss"
    """Cross-entropy on the validation set, in nats; lower is better."""
    VAL_ACCURACY = "val_accuracy"
    """Share of the validation set that is classified correctly; higher is better."""

    @property
    def maximize(self) -> bool:
        """Whether a higher value is better."""
        return self is Metric.VAL_ACCURACY

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Optuna's word for the direction: `minimize` or `maximize`."""
        return "maximize" if self.maximize else "minimize"

    @property
    def label(self) -> str:
        """The label of an axis: the name and the unit."""
        return f"{self} (share right)" if self.maximize else f"{self} (nats)"

    def cost(self, value: Any) -> Any:  # noqa: ANN401  # a number, an array or a pandas column, and the same again
        """Return a value, an array or a column such that lower is better."""
        return -value if self.maximize else value

    def better(self, value: Any, than: Any) -> Any:  # noqa: ANN401
        """Return whether one value is strictly better than another, also by element; a NaN never is."""
        return value > than if self.maximize else value < than

    def best(self, values: Iterable[float]) -> float:
        """Return the best of one or more values."""
        return max(values) if self.maximize else min(values)

    def best_so_far(self, curve: Sequence[Epoch], epoch: int) -> float:
        """Return the best value over the first `epoch` epochs of a curve."""
        return float(self.best(getattr(entry, self) for entry in curve[:epoch]))

    def winner(self, values: Mapping[Candidate, Sequence[float]]) -> Candidate | None:
        """Return the candidate with the best mean over its seeds, the first of equals; None if no seed finished.

        `values` has one value per seed, NaN where the training did not finish. The mean is over the finished seeds.
        A candidate with an unfinished seed can win only if every candidate has one.
        """
        finished = {who: np.array(each)[~np.isnan(each)] for who, each in values.items()}
        whole = {who: each for who, each in finished.items() if len(each) == len(values[who])}
        costs = {who: self.cost(each.mean()) for who, each in (whole or finished).items() if each.size}
        return min(costs, key=lambda who: costs[who], default=None)
