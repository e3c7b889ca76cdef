"""The reading of the test set: its fields, its confusions, and the net it belongs to."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import a_study

from netcore.results.intervals import wilson
from netcore.results.tables import StudyTables
from netcore.results.test_set import Confused, reading_of

OLD = {"trial": 1, "digest": "d" * 64, "data_digest": "x", "rows": 10, "right": 8, "accuracy": 0.8}
NEW = OLD | {"candidate": "trial 1", "seed": 4, "readings": 3, "confusion": [[5, 0, 0], [1, 2, 1], [0, 0, 1]]}
CLASSES = ["a", "b", "c"]


@pytest.fixture
def tables() -> StudyTables:
    """Return a study whose trials have the digest in the files."""
    return a_study(("finished", 0.5, 5), ("finished", 0.4, 5))


def test_a_file_without_optional_fields_has_an_interval_and_no_confusions(tables: StudyTables) -> None:
    """Missing fields have defaults: the candidate is its trial, it was read once, and there is no confusion matrix."""
    reading = reading_of(tables, OLD, CLASSES)
    assert reading is not None
    assert (reading.candidate, reading.seed, reading.readings) == ("trial 1", None, 1)
    assert (reading.confusion, reading.confused(5)) == (None, [])
    assert reading.interval == wilson(8, 10)


def test_a_whole_file_has_candidate_and_number_of_readings(tables: StudyTables) -> None:
    """The candidate, its seed, the number of readings; the most frequent error comes first, with its share."""
    reading = reading_of(tables, NEW, CLASSES)
    assert reading is not None
    assert (reading.candidate, reading.seed, reading.readings) == ("trial 1", 4, 3)
    assert reading.confused(5) == [Confused("b", "a", 1, 0.25), Confused("b", "c", 1, 0.25)]
    assert reading.confused(1) == [Confused("b", "a", 1, 0.25)]


@pytest.mark.parametrize("confusion", [[[1, 2], [3, 4]], []])
def test_confusions_of_other_classes_are_left_out(tables: StudyTables, confusion: list[Any]) -> None:
    """A matrix that does not fit the study's classes is not shown; the accuracy is."""
    reading = reading_of(tables, NEW | {"confusion": confusion}, CLASSES)
    assert reading is not None
    assert reading.confusion is None


def test_another_nets_reading_is_not_this_studys(tables: StudyTables) -> None:
    """No file, or a digest that neither a trial nor a record of the confirmation has."""
    assert reading_of(tables, None, CLASSES) is None
    assert reading_of(tables, NEW | {"digest": "0" * 64}, CLASSES) is None
    confirmed = dataclasses.replace(tables, confirmation=pd.DataFrame({"digest": ["0" * 64]}))
    assert reading_of(confirmed, NEW | {"digest": "0" * 64}, CLASSES) is not None


def test_a_class_without_rows_has_no_errors(tables: StudyTables) -> None:
    """An empty row of the matrix divides nothing by zero."""
    reading = reading_of(tables, NEW | {"confusion": np.diag([8, 0, 2]).tolist()}, CLASSES)
    assert reading is not None
    assert reading.confused(5) == []
