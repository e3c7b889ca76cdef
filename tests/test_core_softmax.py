"""Claims about nets without hidden units, which are softmax regression, and about evaluation by chunks."""

import tracemalloc

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from netcore.core import (
    Params,
    TrainConfig,
    epochs,
    init_params,
    loss,
    loss_and_gradients,
    numerical_gradient,
    predict,
    probabilities,
    relative_error,
    scores,
    sgd_step,
)
from netcore.core.net import _CHUNK, IntArray, evaluate
from netcore.core.params import FloatArray

SEEDS = st.integers(0, 2**32 - 1)
EDGES = [1, 2, _CHUNK - 1, _CHUNK, _CHUNK + 1, 2 * _CHUNK, 2 * _CHUNK + 1]


def problem(seed: int, rows: int = 20, inputs: int = 4, classes: int = 3) -> tuple[Params, FloatArray, IntArray]:
    """Return a random net without hidden units, and data."""
    rng = np.random.default_rng(seed)
    params = init_params(rng, inputs, 0, classes, dtype=np.float64)
    params = params._replace(b2=rng.standard_normal(classes))
    return params, rng.standard_normal((rows, inputs)), rng.integers(0, classes, rows)


def irises() -> tuple[FloatArray, IntArray]:
    """Return iris, standardised."""
    bunch = load_iris()
    return StandardScaler().fit_transform(bunch.data), bunch.target


# Softmax regression


def test_its_parameters() -> None:
    """Without hidden units the first layer is empty, and the second takes the inputs: normal, of deviation √(2 / D)."""
    params = init_params(np.random.default_rng(0), 5000, 0, 10)
    assert [array.shape for array in params] == [(5000, 0), (0,), (5000, 10), (10,)]
    assert params.hidden_size == 0
    assert abs(params.W2.std() / np.sqrt(2 / 5000) - 1) < 0.01
    assert init_params(np.random.default_rng(0), 5000, 0, 10, std=0.5).W2.std() == pytest.approx(0.5, rel=0.01)
    assert init_params(np.random.default_rng(0), 4, 7, 3).hidden_size == 7


@given(SEEDS)
def test_its_equations(seed: int) -> None:
    """Scores are X W2 + b2, probabilities their softmax, the loss the cross-entropy and reg ΣW2²."""
    params, X, y = problem(seed)
    z2 = X @ params.W2 + params.b2
    np.testing.assert_allclose(scores(params, X), z2)
    np.testing.assert_allclose(probabilities(params, X), scipy.special.softmax(z2, axis=1))
    np.testing.assert_array_equal(predict(params, X), z2.argmax(axis=1))
    expected = -scipy.special.log_softmax(z2, axis=1)[range(20), y].mean() + 0.3 * (params.W2**2).sum()
    np.testing.assert_allclose(loss(params, X, y, 0.3), expected)


@settings(max_examples=50)
@given(SEEDS, st.integers(1, 8), st.integers(1, 6), st.integers(1, 5), st.floats(0, 0.5))
def test_its_gradient(seed: int, rows: int, inputs: int, classes: int, reg: float) -> None:
    """The gradient agrees with central differences, and is empty where the parameters are."""
    params, X, y = problem(seed, rows, inputs, classes)
    value, gradient = loss_and_gradients(params, X, y, reg)
    assert value == loss(params, X, y, reg)
    assert [array.shape for array in gradient] == [array.shape for array in params]
    for name in ("W2", "b2"):
        numeric = numerical_gradient(lambda _: loss(params, X, y, reg), getattr(params, name))
        assert relative_error(getattr(gradient, name), numeric) < 1e-6


@pytest.mark.parametrize("reg", [1e-2, 0.1])
def test_it_finds_what_scikit_learn_finds(reg: float) -> None:
    """On iris, gradient descent ends at the weights of scikit-learn's LogisticRegression with the same penalty.

    Theirs is C Σ loss + ½ Σ W²; ours, (1/N) Σ loss + reg Σ W², is that divided by C N, with C = 1 / (2 reg N).
    """
    X, y = irises()
    theirs = LogisticRegression(C=1 / (2 * reg * len(X)), tol=1e-10, max_iter=10_000).fit(X, y)
    params = init_params(np.random.default_rng(0), 4, 0, 3, dtype=np.float64)
    for _ in range(5_000):
        sgd_step(params, X, y, learning_rate=1.0, reg=reg)
    np.testing.assert_allclose(params.W2.T, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(probabilities(params, X), theirs.predict_proba(X), atol=1e-4)
    other = LogisticRegression(C=1 / (reg * len(X)), tol=1e-10, max_iter=10_000).fit(X, y)
    assert np.abs(params.W2.T - other.coef_).max() > 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_trains_epoch_by_epoch(dtype: type) -> None:
    """`epochs` trains it like any other net: the loss falls, and iris is classified."""
    X, y = irises()
    params = init_params(np.random.default_rng(0), 4, 0, 3, dtype=dtype)
    config = TrainConfig(0.1, 0, 1e-4, 0.99, epochs=60, batch_size=32)
    curve = list(epochs(params, X[::2], y[::2], X[1::2], y[1::2], config, np.random.default_rng(1)))
    assert curve[-1].train_loss < curve[0].train_loss / 3
    assert curve[-1].val_accuracy > 0.9
    assert evaluate(params, X[1::2], y[1::2]) == (curve[-1].val_loss, curve[-1].val_accuracy)
    assert {array.dtype for array in params} == {np.dtype(dtype)}


# Evaluation by chunks


@pytest.mark.parametrize("hidden_size", [0, 6])
@pytest.mark.parametrize("rows", EDGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_give_what_one_piece_gives(rows: int, hidden_size: int, dtype: type) -> None:
    """Loss and accuracy by chunks are those of all rows at once, within rounding."""
    rng = np.random.default_rng(rows)
    params = init_params(rng, 4, hidden_size, 3, dtype=dtype)
    X, y = rng.standard_normal((rows, 4)), rng.integers(0, 3, rows)
    z2 = scores(Params(*(array.astype(np.float64) for array in params)), X.astype(dtype))
    value, accuracy = evaluate(params, X, y)
    expected = -scipy.special.log_softmax(z2, axis=1)[np.arange(rows), y].mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5 if dtype is np.float32 else 1e-12)
    assert accuracy == np.mean(scores(params, X).argmax(axis=1) == y)


@pytest.mark.parametrize("rows", EDGES)
def test_every_row_counts_once(rows: int) -> None:
    """One wrong row at any place costs its share of the accuracy and of the mean loss."""
    params = Params(np.zeros((2, 0)), np.zeros(0), np.array([[1.0, -1.0], [0.0, 0.0]]), np.zeros(2))
    right, wrong = np.log1p(np.exp(-2.0)), np.log1p(np.exp(2.0))
    X, y = np.tile([1.0, 0.0], (rows, 1)), np.zeros(rows, int)
    assert evaluate(params, X, y) == pytest.approx((right, 1.0))
    for row in {0, rows - 1, *(edge for edge in EDGES if edge < rows)}:
        y[row] = 1
        assert evaluate(params, X, y) == pytest.approx((((rows - 1) * right + wrong) / rows, (rows - 1) / rows))
        y[row] = 0


def test_a_chunk_in_float32_is_the_plain_mean() -> None:
    """Up to one chunk of rows a float32 net's loss is the mean of the rows' losses, to the last bit."""
    rng = np.random.default_rng(0)
    params = init_params(rng, 4, 6, 3)
    for rows in (1, 359, 1000, _CHUNK):
        X, y = rng.standard_normal((rows, 4)).astype(np.float32), rng.integers(0, 3, rows)
        z2 = scores(params, X)
        z2 -= z2.max(axis=1, keepdims=True)
        true = z2[np.arange(rows), y]
        assert evaluate(params, X, y)[0] == float(np.mean(np.log(np.exp(z2).sum(axis=1)) - true))


def test_the_activations_of_many_rows_never_stand_in_memory_at_once() -> None:
    """Ten times the rows take no more memory."""
    params = init_params(np.random.default_rng(0), 2, 256, 3)
    peaks = []
    for rows in (2 * _CHUNK, 20 * _CHUNK):
        X, y = np.zeros((rows, 2), np.float32), np.zeros(rows, int)
        tracemalloc.start()
        evaluate(params, X, y)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[0] < 4 * 4 * 256 * _CHUNK
