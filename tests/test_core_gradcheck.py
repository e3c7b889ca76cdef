"""Claims about netcore.core.gradcheck: central differences, and that they restore x."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcore.core import numerical_gradient, relative_error
from netcore.core.params import FloatArray

SEEDS = st.integers(0, 2**32 - 1)
NUMBERS = st.floats(-1e6, 1e6)


@given(seed=SEEDS, rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_gradient_of_a_known_function(seed: int, rows: int, columns: int) -> None:
    """The gradient of sum(A * sin(x)) is A * cos(x), within 1e-9, in the shape and type of x."""
    rng = np.random.default_rng(seed)
    A, x = rng.uniform(-1, 1, (2, rows, columns))
    gradient = numerical_gradient(lambda x: float(np.sum(A * np.sin(x))), x)
    assert gradient.shape == x.shape
    assert gradient.dtype == x.dtype
    np.testing.assert_allclose(gradient, A * np.cos(x), rtol=0, atol=1e-9)


def test_the_differences_are_central() -> None:
    """The error shrinks with h squared: for x³ at 0 it is h² itself, and for x² there is none."""
    for h in (1e-1, 1e-2, 1e-3):
        assert numerical_gradient(lambda x: float(x[0] ** 3), np.zeros(1), h)[0] == pytest.approx(h * h, rel=1e-12)
        assert numerical_gradient(lambda x: float(x[0] ** 2), np.ones(1), h)[0] == pytest.approx(2, abs=1e-12)


@given(x=st.lists(NUMBERS, min_size=0, max_size=6))
def test_x_is_as_it_was(x: list[float]) -> None:
    """Every bit of x is restored, which adding and subtracting h would not do."""
    array = np.array(x)
    numerical_gradient(lambda x: float(np.sum(x)), array)
    assert array.tobytes() == np.array(x).tobytes()


@pytest.mark.parametrize("fatal_call", range(1, 7))
def test_x_is_as_it_was_even_when_f_raises(fatal_call: int) -> None:
    """If any call of f raises, the error is passed on and x is restored."""
    x = np.array([0.1, 1e-7, 123456.789])
    before, calls = x.tobytes(), itertools.count(1)

    def f(x: FloatArray) -> float:
        if next(calls) == fatal_call:
            message = "enough"
            raise ZeroDivisionError(message)
        return float(np.sum(x))

    with pytest.raises(ZeroDivisionError, match="enough"):
        numerical_gradient(f, x)
    assert x.tobytes() == before


def test_f_may_look_at_x_from_outside() -> None:
    """The caller's own array is changed, so f may ignore its argument; a view changes its owner."""
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(numerical_gradient(lambda _: float(np.sum(x**2)), x), 2 * x, atol=1e-8)
    np.testing.assert_allclose(numerical_gradient(lambda _: float(np.sum(x**2)), x.T), 2 * x.T, atol=1e-8)


def test_one_entry_moves_at_a_time() -> None:
    """Each entry costs two calls of f, in which x differs from the start in that entry alone, by h."""
    seen: list[FloatArray] = []

    def f(x: FloatArray) -> float:
        seen.append(x.copy())
        return 0.0

    numerical_gradient(f, np.zeros((2, 2)), h=0.5)
    assert len(seen) == 8
    for entry, (above, below) in enumerate(zip(seen[::2], seen[1::2], strict=True)):
        expected = 0.5 * np.eye(4)[entry].reshape(2, 2)
        assert np.array_equal(above, expected)
        assert np.array_equal(below, -expected)


@given(pairs=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_relative_error_is_symmetric_and_at_most_one(pairs: list[tuple[float, float]]) -> None:
    """The order of the two arrays does not matter; equal arrays, even at zeros, are 0 apart, and no two more than 1."""
    a, b = np.array(pairs).T
    error = relative_error(a, b)
    assert 0 <= error <= 1
    assert error == relative_error(b, a)
    assert relative_error(a, a) == 0


def test_relative_error_takes_the_worst_entry() -> None:
    """It is the largest |a - b| / (|a| + |b|), not their mean; below 1e-8 the distance is measured against 1e-8."""
    assert relative_error([1.0, 3.0, 5.0], [1.0, 1.0, 5.0]) == 0.5
    assert relative_error([-2.0], [2.0]) == 1
    assert relative_error([1e-10], [0.0]) == pytest.approx(1e-2)
    assert relative_error(np.float32(1), np.float32(3)) == 0.5
    assert relative_error([], []) == 0


def test_relative_error_does_not_hide_a_nan() -> None:
    """Where an entry is not a number the error is not one either, so `error < tolerance` fails."""
    assert not relative_error([1.0, np.nan], [1.0, np.nan]) < 1


def test_relative_error_refuses_shapes_that_would_broadcast() -> None:
    """(3, 1) against (3,) is a mistake to be seen, not a difference of 0."""
    with pytest.raises(ValueError, match=r"same shape, got \(3, 1\) and \(3,\)"):
        relative_error(np.ones((3, 1)), np.ones(3))
