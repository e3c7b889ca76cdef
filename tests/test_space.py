"""Claims about netcore.search.space: searched and fixed hyperparameters, and the hyperparameters of each point."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from netcore.question.hyperparameters import Hyperparameters
from netcore.question.space_section import SpaceSection, StartSection
from netcore.search.space import Space

GIVEN: dict[str, Any] = {
    "learning_rate": {"low": 1e-3, "high": 10.0, "log": True},
    "hidden_size": {"low": 4, "high": 64},
    "reg": [0.0, 0.1, 0.2],
    "learning_rate_decay": 0.9,
}


def space(**changes: object) -> Space:
    """Return a space with a range of each kind, a choice and a fixed value, with some changed."""
    return Space(SpaceSection.model_validate({**GIVEN, **changes}))


def test_distributions() -> None:
    """A range is a distribution with its bounds and scale, a list a categorical one; what is fixed is not searched."""
    assert space().distributions == {
        "learning_rate": FloatDistribution(1e-3, 10.0, log=True),
        "hidden_size": IntDistribution(4, 64),
        "reg": CategoricalDistribution((0.0, 0.1, 0.2)),
    }
    assert space().fixed == {"learning_rate_decay": 0.9}


def test_complete_and_searched_are_inverse() -> None:
    """The fixed ones are added to the searched ones, and left out again."""
    whole = space().complete({"learning_rate": 0.1, "hidden_size": 8, "reg": 0.2})
    assert whole == Hyperparameters(learning_rate=0.1, hidden_size=8, reg=0.2, learning_rate_decay=0.9)
    assert space().searched(whole) == {"learning_rate": 0.1, "hidden_size": 8, "reg": 0.2}
    start = StartSection(learning_rate=0.1, hidden_size=8, reg=0.2)  # it may leave out the fixed one
    assert space().searched(start) == space().searched(whole)


@given(
    st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
    st.booleans(),
    st.floats(1e-12, 1e6),
    st.floats(1.001, 1e6),
    st.integers(1, 1000),
    st.integers(1, 1000),
)
def test_every_point_is_in_the_space(
    point: list[float], log: bool, low: float, ratio: float, size: int, more: int
) -> None:
    """Any point of the unit cube gives hyperparameters within their ranges, of their type."""
    ends = {"low": low, "high": low * ratio, "log": log}
    there = space(
        learning_rate=ends,
        reg=ends,
        hidden_size={"low": size, "high": size + more, "log": log},
        learning_rate_decay={"low": 0.5, "high": 1.0, "log": log},
    ).at(np.array(point))
    assert low <= there.learning_rate <= low * ratio
    assert low <= there.reg <= low * ratio
    assert size <= there.hidden_size <= size + more
    assert 0.5 <= there.learning_rate_decay <= 1.0
    assert list(map(type, there)) == [float, int, float, float]


def test_corners() -> None:
    """The origin is every lower end and the first choice; the far corner every upper end and the last choice."""
    assert space().at(np.zeros(3)) == Hyperparameters(pytest.approx(1e-3), 4, 0.0, 0.9)  # type: ignore[arg-type]
    near_one = np.full(3, np.nextafter(1.0, 0.0))
    assert space().at(near_one) == Hyperparameters(pytest.approx(10.0), 64, 0.2, 0.9)  # type: ignore[arg-type]


def test_middles() -> None:
    """The middle of a logarithmic range is its geometric mean, of a plain one its arithmetic mean."""
    there = space(reg={"low": 0.0, "high": 0.5}).at(np.full(3, 0.5))
    assert there.learning_rate == pytest.approx(0.1)
    assert there.hidden_size == 34
    assert there.reg == pytest.approx(0.25)


@pytest.mark.parametrize(("low", "high"), [(1, 2), (4, 9)])
def test_whole_numbers_get_their_share(low: int, high: int) -> None:
    """Each whole number of a plain range has the same share of the cube, the two ends included."""
    only = space(learning_rate=0.1, reg=0.0, hidden_size={"low": low, "high": high})
    per_number = 1000
    points = (np.arange(per_number * (high - low + 1)) + 0.5) / (per_number * (high - low + 1))
    counts = Counter(only.at(np.array([u])).hidden_size for u in points)
    assert counts == dict.fromkeys(range(low, high + 1), per_number)


def test_whole_numbers_get_their_logarithmic_share() -> None:
    """Each whole number n of a logarithmic range has the share log(n + 1/2) - log(n - 1/2)."""
    only = space(learning_rate=0.1, reg=0.0, hidden_size={"low": 1, "high": 8, "log": True})
    points = (np.arange(20_000) + 0.5) / 20_000
    counts = Counter(only.at(np.array([u])).hidden_size for u in points)
    for n in range(1, 9):
        share = np.log((n + 0.5) / (n - 0.5)) / np.log(8.5 / 0.5)
        assert counts[n] / 20_000 == pytest.approx(share, abs=2e-4)


def test_choices_get_their_share() -> None:
    """Each value of a list has the same share of the cube."""
    only = space(learning_rate=0.1, hidden_size=4)
    counts = Counter(only.at(np.array([(n + 0.5) / 300])).reg for n in range(300))
    assert counts == {0.0: 100, 0.1: 100, 0.2: 100}


def test_a_grid_needs_lists() -> None:
    """A grid with a range is refused."""
    with pytest.raises(TypeError, match="a grid needs lists of values"):
        space(reg=0.0, hidden_size=4).combination(0)
