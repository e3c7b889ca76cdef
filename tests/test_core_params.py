"""Claims about netcore.core.params: the order, the deviations, the types and the shapes of the initial parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcore.core import Params, init_params

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 12)
GENERATORS = [np.random.default_rng, np.random.RandomState]


@given(seed=SEEDS, D=SIZES, H=SIZES, C=SIZES)
def test_shapes_and_zero_biases(seed: int, D: int, H: int, C: int) -> None:
    """W1 is (D, H), b1 (H,), W2 (H, C), b2 (C,), in this order, and the biases start at zero."""
    params = init_params(np.random.default_rng(seed), D, H, C)
    assert Params._fields == ("W1", "b1", "W2", "b2")
    assert [array.shape for array in params] == [(D, H), (H,), (H, C), (C,)]
    assert not params.b1.any()
    assert not params.b2.any()


@pytest.mark.parametrize("generator", GENERATORS)
def test_w1_is_drawn_before_w2(generator: type) -> None:
    """The first D*H draws are W1's, row by row, the next H*C are W2's, and the biases draw nothing: from both kinds."""
    rng = generator(7)
    params = init_params(rng, 4, 10, 3, std=0.1, dtype=np.float64)
    draws = generator(7).standard_normal(4 * 10 + 10 * 3 + 1)
    assert np.array_equal(params.W1, 0.1 * draws[:40].reshape(4, 10))
    assert np.array_equal(params.W2, 0.1 * draws[40:70].reshape(10, 3))
    assert rng.standard_normal() == draws[70]


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_deviations_are_those_of_he(generator: type) -> None:
    """Without `std` the same draws are scaled by sqrt(2 / D) for W1 and sqrt(2 / H) for W2."""
    he = init_params(generator(3), 8, 50, 3, dtype=np.float64)
    one = init_params(generator(3), 8, 50, 3, std=1.0, dtype=np.float64)
    np.testing.assert_allclose(he.W1, one.W1 * (2 / 8) ** 0.5, rtol=1e-15)
    np.testing.assert_allclose(he.W2, one.W2 * (2 / 50) ** 0.5, rtol=1e-15)


def test_std_zero_is_a_number_like_any_other() -> None:
    """`std=0` gives weights of zero: it is not taken for a missing value."""
    params = init_params(np.random.default_rng(0), 4, 10, 3, std=0)
    assert not params.W1.any()
    assert not params.W2.any()


@given(seed=SEEDS)
def test_float32_is_float64_rounded(seed: int) -> None:
    """float32 is the default, and its weights are the float64 weights of the same seed, rounded."""
    single = init_params(np.random.default_rng(seed), 5, 6, 4)
    double = init_params(np.random.default_rng(seed), 5, 6, 4, dtype=np.float64)
    for a, b in zip(single, double, strict=True):
        assert a.dtype == np.float32
        assert b.dtype == np.float64
        assert np.array_equal(a, b.astype(np.float32))
