"""Hints for the next study file: ranges that are too narrow, regions that diverge; and no false alarms."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from tables import NAN, a_study

from netcore.results.space_review import Diverging, Edge, diverging, edges
from netcore.results.tables import StudyTables

SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    "hidden_size": {"low": 16, "high": 256, "log": True},
    "reg": {"low": 0.0, "high": 0.1, "log": False},
    "learning_rate_decay": {"low": 0.8, "high": 1.0, "log": False},
}


def finished(number: int = 8, **hyperparameters: Any) -> StudyTables:  # noqa: ANN401  # columns
    """Return a study of finished trials, the first the best; hyperparameters as given, else in the middle."""
    tables = a_study(*(("finished", 0.1 + 0.01 * n, 5) for n in range(number)))
    middle: dict[str, Any] = {"learning_rate": 0.03, "hidden_size": 64, "reg": 0.05, "learning_rate_decay": 0.9}
    return dataclasses.replace(tables, trials=tables.trials.assign(**{**middle, **hyperparameters}))


def test_the_best_at_an_end_propose_a_wider_range() -> None:
    """Three of the five best near the upper end are named, with a quarter of the range, in decades, beyond it."""
    rates = [0.9, 0.03, 1.0, 0.8, 0.03, 1.0, 1.0, 1.0]
    assert edges(finished(learning_rate=rates), SPACE) == [Edge("learning_rate", "high", 1.0, 5.6, [0, 2, 3])]


@pytest.mark.parametrize(
    ("name", "value", "edge"),
    [
        ("learning_rate", 1e-3, ("low", 1e-3, 1.8e-4)),
        ("hidden_size", 16, ("low", 16, 8)),
        ("hidden_size", 250, ("high", 256, 510)),
        ("reg", 0.1, ("high", 0.1, 0.12)),
        ("learning_rate_decay", 0.8, ("low", 0.8, 0.75)),
    ],
)
def test_each_range_is_widened_as_it_is_scaled(name: str, value: float, edge: tuple[str, float, float]) -> None:
    """By decades or by length, whole numbers whole, in digits that a person would write."""
    (found,) = edges(finished(8, **{name: [value] * 8}), SPACE)
    assert found[:4] == (name, *edge)


def test_some_ends_cannot_move() -> None:
    """A decay cannot exceed 1, a penalty not fall below 0."""
    assert edges(finished(learning_rate_decay=[1.0] * 8, reg=[0.0] * 8), SPACE) == []


def test_few_at_an_end_are_no_hint() -> None:
    """Two of the five best may be there by chance; worse trials do not count, nor do four in all, or choices."""
    assert edges(finished(learning_rate=[1.0, 1.0, *[0.03] * 6]), SPACE) == []
    assert edges(finished(learning_rate=[*[0.03] * 5, 1.0, 1.0, 1.0]), SPACE) == []
    assert edges(finished(4, learning_rate=[1.0] * 4), SPACE) == []
    assert edges(finished(learning_rate=[1.0] * 8), {**SPACE, "learning_rate": [0.1, 1.0]}) == []


def ended(states: str, rates: list[float]) -> StudyTables:
    """Return a study whose trials finished (f), diverged (d) or failed (x) at these learning rates, all else equal."""
    names = {"f": ("finished", 0.5, 5), "d": ("diverged", NAN, 1), "x": ("failed", NAN, 0)}
    tables = a_study(*(names[state] for state in states))
    trials = tables.trials.assign(learning_rate=rates, hidden_size=8, reg=0.1)
    return dataclasses.replace(tables, trials=trials)


def test_a_region_of_divergences_is_named() -> None:
    """All five trials above 0.5 diverged, and nothing below; the bound is the last learning rate that did not."""
    tables = ended("fffffffddddd", [0.1, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert diverging(tables) == [Diverging("learning_rate", "above", 0.5, 5)]
    mirrored = dataclasses.replace(tables, trials=tables.trials.assign(learning_rate=1 / tables.trials.learning_rate))
    assert diverging(mirrored) == [Diverging("learning_rate", "below", 2.0, 5)]


def test_a_failed_trial_neither_makes_nor_breaks_a_region() -> None:
    """An error among the divergences leaves them a region; errors alone are none."""
    rates = [0.1, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert diverging(ended("fffffffddddx", rates)) == [Diverging("learning_rate", "above", 0.5, 4)]
    assert diverging(ended("fffffffxxxxx", rates)) == []


def test_divergences_that_may_be_chance_are_not_a_region() -> None:
    """Two in a row, a run where most diverge anyway, a tie with a trial that finished, or nothing but divergences."""
    assert diverging(ended("ffffffffdd", list(np.linspace(0.1, 1, 10)))) == []
    assert diverging(ended("dfdddddd", list(np.linspace(0.1, 1, 8)))) == []
    assert diverging(ended("ffffffddd", [*[0.1] * 5, *[1.0] * 4])) == []
    assert diverging(ended("dddd", [0.1, 0.2, 0.3, 0.4])) == []
    assert diverging(a_study()) == []
