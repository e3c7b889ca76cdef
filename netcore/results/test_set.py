"""What the test set said: test.json as one record, with its interval and its confusions.

A reading belongs to the net that it judged; it is shown only where that net is one of this study's, by its digest.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netcore.results.statistics import Interval, wilson
from netcore.results.tables import StudyTables

__all__ = ["Confused", "Reading", "reading_of"]


class Confused(NamedTuple):
    """One kind of mistake: rows of one class that were taken for another."""

    true: str
    predicted: str
    rows: int
    share: float
    """Of the true class's rows."""


class Reading(NamedTuple):
    """How one net did on the test set."""

    candidate: str
    """`trial 17`."""
    seed: int | None
    """Of the confirmation; None where the net is the search's own."""
    rows: int
    right: int
    accuracy: float
    interval: Interval
    """Wilson's."""
    readings: int
    """How often the test set was read for this study."""
    classes: tuple[str, ...]
    confusion: NDArray[np.int64] | None
    """Shape (C, C), counts: rows are true classes, columns predicted ones. None in files of older versions."""

    def confused(self, most: int) -> list[Confused]:
        """Give the `most` frequent kinds of mistake, the most frequent first."""
        if self.confusion is None:
            return []
        mistakes = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
        places = [divmod(int(place), len(mistakes)) for place in order]
        return [
            Confused(self.classes[i], self.classes[j], int(mistakes[i, j]), mistakes[i, j] / self.confusion[i].sum())
            for i, j in places
            if mistakes[i, j]
        ]


def reading_of(tables: StudyTables, figures: dict[str, Any] | None, class_names: list[str]) -> Reading | None:
    """Give what test.json says of a net of this study; None where it is not there, or speaks of another net."""
    if figures is None or figures["digest"] not in {*tables.trials["digest"], *tables.confirmation["digest"]}:
        return None
    confusion = np.array(figures["confusion"], np.int64) if "confusion" in figures else None
    if confusion is not None and confusion.shape != (len(class_names), len(class_names)):
        confusion = None
    return Reading(
        candidate=figures.get("candidate", f"trial {figures['trial']}"),
        seed=figures.get("seed"),
        rows=figures["rows"],
        right=figures["right"],
        accuracy=figures["accuracy"],
        interval=wilson(figures["right"], figures["rows"]),
        readings=figures.get("readings", 1),
        classes=tuple(class_names),
        confusion=confusion,
    )
