"""The reading of the test set: its fields, its confusions, and the net it belongs to."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import present
from tables import a_study

from netcore.results.intervals import wilson
from netcore.results.tables import StudyTables
from netcore.results.test_set import Confused, reading_of

NEW = {"trial": 1, "digest": "d" * 64, "data_digest": "x", "rows": 10, "right": 8, "accuracy": 0.8} | {
    "candidate": "trial 1",
    "seed": 4,
    "readings": 3,
    "confusion": [[5, 0, 0], [1, 2, 1], [0, 0, 1]],
}
CLASSES = ["a", "b", "c"]


@pytest.fixture
def tables() -> StudyTables:
    """Return a study whose confirmation has the digest in the file."""
    return dataclasses.replace(a_study(), confirmation=pd.DataFrame({"digest": ["d" * 64]}))


def test_a_reading_has_candidate_and_number_of_readings(tables: StudyTables) -> None:
    """The candidate, its seed, the number of readings; the most frequent error comes first, with its share."""
    reading = present(reading_of(tables, NEW, CLASSES))
    assert (reading.candidate, reading.seed, reading.readings) == ("trial 1", 4, 3)
    assert reading.interval == wilson(8, 10)
    assert reading.confused(5) == [Confused("b", "a", 1, 0.25), Confused("b", "c", 1, 0.25)]
    assert reading.confused(1) == [Confused("b", "a", 1, 0.25)]


def test_another_nets_reading_is_not_this_studys(tables: StudyTables) -> None:
    """No file, a digest that no record of the confirmation has, or other classes."""
    assert reading_of(tables, None, CLASSES) is None
    assert reading_of(tables, NEW | {"digest": "0" * 64}, CLASSES) is None
    assert reading_of(tables, NEW, CLASSES[:2]) is None


def test_a_class_without_rows_has_no_errors(tables: StudyTables) -> None:
    """An empty row of the matrix divides nothing by zero."""
    reading = reading_of(tables, NEW | {"confusion": np.diag([8, 0, 2]).tolist()}, CLASSES)
    assert present(reading).confused(5) == []
