"""The reading of the test set: test.json as one record, with an interval and the most frequent confusions.

A reading belongs to the net that was judged. It is shown only if that net belongs to this study, by its digest.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netcore.results.intervals import Interval, wilson
from netcore.results.tables import StudyTables


class Confused(NamedTuple):
    """One kind of error: rows of one class that were predicted as another."""

    true: str
    predicted: str
    rows: int
    share: float
    """Of the rows of the true class."""


class Reading(NamedTuple):
    """The result of one net on the test set."""

    candidate: str
    """`trial 17`."""
    seed: int
    """The seed of the confirmation."""
    rows: int
    right: int
    accuracy: float
    interval: Interval
    """Wilson's 95 % confidence interval of the accuracy."""
    readings: int
    """How often the test set was read for this study."""
    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    """Counts, shape (C, C): rows are true classes, columns predicted ones."""

    def confused(self, most: int) -> list[Confused]:
        """Return the `most` frequent kinds of error, most frequent first."""
        errors = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-errors, axis=None, kind="stable")[:most]
        places = [divmod(int(place), len(errors)) for place in order]
        return [
            Confused(self.classes[i], self.classes[j], int(errors[i, j]), errors[i, j] / self.confusion[i].sum())
            for i, j in places
            if errors[i, j]
        ]


def reading_of(tables: StudyTables, test: dict[str, Any] | None, class_names: list[str]) -> Reading | None:
    """Return the reading that `test`, the content of test.json, holds of a net of this study; None if there is none."""
    if test is None or test["digest"] not in set(tables.confirmation["digest"]):
        return None
    if len(test["confusion"]) != len(class_names):  # changed by hand
        return None
    same = {name: test[name] for name in ("candidate", "seed", "rows", "right", "accuracy", "readings")}
    interval, confusion = wilson(test["right"], test["rows"]), np.array(test["confusion"], np.int64)
    return Reading(**same, interval=interval, classes=tuple(class_names), confusion=confusion)
