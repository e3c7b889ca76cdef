"""Claims about netcore.core.sgd: the published training, one step, and what an epoch is."""

import dataclasses
import itertools
import tracemalloc
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from netcore.core import Epoch, Params, TrainConfig, epochs, init_params, loss_and_gradients, sgd_step
from netcore.core.net import IntArray, Workspace
from netcore.core.params import FloatArray

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = [np.float32, np.float64]


def draw(seed: int, *, rows: int = 23, dtype: type = np.float64) -> tuple[Params, FloatArray, IntArray]:
    """Return a random net with D = 4, H = 6, C = 3, and `rows` rows of data."""
    rng = np.random.default_rng(seed)
    params = init_params(rng, 4, 6, 3, dtype=dtype)
    return params, rng.standard_normal((rows, 4)).astype(dtype), rng.integers(0, 3, rows)


def copy_of(params: Params) -> Params:
    """Return a copy of all four arrays."""
    return Params(*(array.copy() for array in params))


def same_bits(a: Params, b: Params) -> bool:
    """Return whether two sets of parameters are equal bit for bit; a NaN equals itself."""
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def config(**changes: float) -> TrainConfig:
    """Return settings for D = 4, H = 6, C = 3, with some changed."""
    plain = TrainConfig(learning_rate=0.2, hidden_size=6, reg=1e-3, learning_rate_decay=0.9, epochs=4, batch_size=5)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # the sizes are whole


def train(
    seed: int, settings_: TrainConfig, *, rows: int = 23, dtype: type = np.float64
) -> tuple[Params, Iterator[Epoch]]:
    """Return a net and the iterator that trains it; its first seven rows validate."""
    params, X, y = draw(seed, rows=rows, dtype=dtype)
    return params, epochs(params, X, y, X[:7], y[:7], settings_, np.random.default_rng(seed))


# The published training


def test_published_training() -> None:
    """100 steps on 200 rows drawn from 5, learning rate 0.1 decaying by 0.95, end at loss 0.017149607938732."""
    rng = np.random.RandomState(0)
    params = init_params(rng, 4, 10, 3, std=0.1, dtype=np.float64)
    X = 10 * np.random.RandomState(1).standard_normal((5, 4))
    y = np.array([0, 1, 2, 2, 1])
    learning_rate, last = 0.1, np.inf
    for _ in range(100):
        rows = rng.choice(5, 200)
        last = sgd_step(params, X[rows], y[rows], learning_rate=learning_rate, reg=5e-6)
        learning_rate *= 0.95
    assert abs(last - 0.017149607938732) < 1e-15


# One step


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEEDS, rows=st.integers(1, 12), spare=st.integers(0, 5), reg=st.sampled_from([0.0, 1e-3, 0.1]))
def test_a_step_is_the_gradient_times_the_learning_rate(
    dtype: type, seed: int, rows: int, spare: int, reg: float
) -> None:
    """`sgd_step` is `loss_and_gradients` and a manual update, bit for bit: without workspace, with, with a larger."""
    params, X, y = draw(seed, rows=rows, dtype=dtype)
    before, gradient = loss_and_gradients(params, X, y, reg)
    expected = Params(*(p - 0.3 * g for p, g in zip(params, gradient, strict=True)))
    for workspace in (None, Workspace.for_rows(rows, params), Workspace.for_rows(rows + spare, params)):
        stepped = copy_of(params)
        assert sgd_step(stepped, X, y, learning_rate=0.3, reg=reg, workspace=workspace) == before
        assert same_bits(stepped, expected)


@given(seed=SEEDS)
def test_a_workspace_remembers_nothing(seed: int) -> None:
    """A workspace that was used for long and short batches gives the same bits as a new one."""
    params, X, y = draw(seed)
    plain, workspace = copy_of(params), Workspace.for_rows(10, params)
    for start, stop in ((0, 10), (10, 13), (13, 23), (3, 4), (5, 15)):
        rows = slice(start, stop)
        one = sgd_step(params, X[rows], y[rows], learning_rate=0.1, reg=0.01, workspace=workspace)
        other = sgd_step(plain, X[rows], y[rows], learning_rate=0.1, reg=0.01)
        assert one == other
        assert same_bits(params, plain)


def test_a_workspace_that_is_too_small_is_refused() -> None:
    """A batch of more rows than the workspace has raises an error and leaves the parameters alone."""
    params, X, y = draw(0)
    before = copy_of(params)
    with pytest.raises(ValueError, match=r"mismatch|broadcast|shape"):
        sgd_step(params, X, y, learning_rate=0.1, reg=0.0, workspace=Workspace.for_rows(len(X) - 1, params))
    assert same_bits(params, before)


def test_a_step_changes_the_arrays_in_place() -> None:
    """The caller's four arrays are updated in place, and the batch is not changed."""
    params, X, y = draw(0)
    start, X_before, y_before = copy_of(params), X.copy(), y.copy()
    views = [array.view() for array in params]
    sgd_step(params, X, y, learning_rate=0.1, reg=0.1)
    assert all(np.shares_memory(a, b) for a, b in zip(params, views, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(params, start, strict=True))
    assert np.array_equal(X, X_before)
    assert np.array_equal(y, y_before)


# An epoch


def plain_training(
    start: Params, train: tuple[FloatArray, IntArray], val: tuple[FloatArray, IntArray], c: TrainConfig, seed: int
) -> Iterator[Epoch]:
    """Train by the definition: row by row, with SciPy's log-softmax and new arrays in each step."""
    (X, y), (X_val, y_val), rng = train, val, np.random.default_rng(seed)

    def figures(p: Params, X: FloatArray, y: IntArray) -> tuple[list[float], list[bool]]:
        z2 = [np.maximum(0, x @ p.W1 + p.b1) @ p.W2 + p.b2 for x in X]
        losses = [float(-scipy.special.log_softmax(z)[c]) for z, c in zip(z2, y, strict=True)]
        return losses, [int(np.argmax(z)) == c for z, c in zip(z2, y, strict=True)]

    p = start
    for e in range(1, c.epochs + 1):
        left, losses, right = list(rng.permutation(len(X))), [], []
        learning_rate = c.learning_rate * c.learning_rate_decay ** (e - 1)
        while left:
            batch, left = left[: c.batch_size], left[c.batch_size :]
            batch_losses, batch_right = figures(p, X[batch], y[batch])
            losses += batch_losses
            right += batch_right
            _, gradient = loss_and_gradients(p, X[batch], y[batch], c.reg)
            p = Params(*(a - learning_rate * g for a, g in zip(p, gradient, strict=True)))
        val_losses, val_right = figures(p, X_val, y_val)
        yield Epoch(
            epoch=e,
            learning_rate=learning_rate,
            train_loss=sum(losses) / len(losses),
            val_loss=sum(val_losses) / len(val_losses),
            train_accuracy=sum(right) / len(right),
            val_accuracy=sum(val_right) / len(val_right),
        )


@given(seed=SEEDS, rows=st.integers(1, 12), batch_size=st.integers(1, 14))
@settings(max_examples=50)
def test_an_epoch_is_what_its_definition_says(seed: int, rows: int, batch_size: int) -> None:
    """All six figures of every epoch are those of a slow, plain training: losses weighted by rows, without penalty.

    Batches that do not divide the rows and batches larger than the whole set are among the cases.
    """
    settings_ = config(epochs=3, batch_size=batch_size, reg=0.05)
    params, X, y = draw(seed, rows=rows)
    _, X_val, y_val = draw(seed + 1, rows=9)
    slow = list(plain_training(copy_of(params), (X, y), (X_val, y_val), settings_, seed))
    fast = list(epochs(params, X, y, X_val, y_val, settings_, np.random.default_rng(seed)))
    for a, b in zip(fast, slow, strict=True):
        assert dataclasses.astuple(a) == pytest.approx(dataclasses.astuple(b), rel=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEEDS)
@settings(max_examples=20)
def test_same_seed_same_bits(dtype: type, seed: int) -> None:
    """Equal seeds give equal figures and equal parameters, bit for bit; another order of the rows does not."""
    (first, a), (second, b) = (train(seed, config(), dtype=dtype) for _ in range(2))
    assert list(a) == list(b)
    assert same_bits(first, second)
    other, X, y = draw(seed, dtype=dtype)
    list(epochs(other, X, y, X[:7], y[:7], config(), np.random.default_rng(seed + 1)))
    assert not same_bits(first, other)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_data_are_rounded_to_the_type_of_the_parameters_first(seed: int) -> None:
    """A float32 net trains on float64 data as it does on the same data in float32, bit for bit: step and epochs."""
    start, X, y = draw(seed)
    results = []
    for data in (X, X.astype(np.float32)):
        params = Params(*(array.astype(np.float32) for array in start))
        value = sgd_step(params, data, y, learning_rate=0.1, reg=0.01)
        run = epochs(params, data, y, data[:7], y[:7], config(), np.random.default_rng(seed))
        results.append((value, list(run), [array.tobytes() for array in params]))
    assert results[0] == results[1]


def test_figures_are_plain_numbers_and_frozen() -> None:
    """Every figure is a Python number, not NumPy's, even in float32, and no record can be changed."""
    _, run = train(0, config(), dtype=np.float32)
    epoch = next(run)
    assert [type(value) for value in dataclasses.astuple(epoch)] == [int, float, float, float, float, float]
    with pytest.raises(dataclasses.FrozenInstanceError):
        epoch.val_loss = 0.0  # type: ignore[misc]  # that is the claim
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().reg = 0.0  # type: ignore[misc]


@given(seed=SEEDS, asked=st.integers(1, 3))
@settings(max_examples=20)
def test_the_caller_may_stop_early(seed: int, asked: int) -> None:
    """Asking for fewer epochs gives the figures and parameters of a shorter training; nothing runs ahead."""
    stopped, run = train(seed, config(epochs=4))
    start = copy_of(stopped)
    assert same_bits(stopped, start)  # nothing before the first `next`
    figures = list(itertools.islice(run, asked))
    shorter, short_run = train(seed, config(epochs=asked))
    assert figures == list(short_run)
    assert same_bits(stopped, shorter)


def test_only_the_parameters_change() -> None:
    """Training changes neither data set, and the parameters stay the arrays they were."""
    params, X, y = draw(0)
    kept = tuple(params)
    X_val, y_val = X[:7].copy(), y[:7].copy()
    data = (X, y, X_val, y_val)
    before = [array.tobytes() for array in data]
    list(epochs(params, X, y, X_val, y_val, config(), np.random.default_rng(0)))
    assert [array.tobytes() for array in data] == before
    assert all(a is b for a, b in zip(params, kept, strict=True))


# Absurd learning rates

ABSURD = [(np.float32, 1e5), (np.float32, 1e300), (np.float64, 1e200)]


@pytest.mark.parametrize(("dtype", "learning_rate"), ABSURD)
@given(seed=SEEDS)
@settings(max_examples=20)
def test_a_training_that_blows_up_says_so_in_its_figures(dtype: type, learning_rate: float, seed: int) -> None:
    """An absurd learning rate gives figures that are not finite, no warning and no error, and trains on to the end."""
    settings_ = config(learning_rate=learning_rate, epochs=8, learning_rate_decay=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, run = train(seed, settings_, dtype=dtype)
        figures = list(run)
    assert len(figures) == 8
    assert not np.isfinite(figures[-1].train_loss)
    assert not np.isfinite(figures[-1].val_loss)
    assert 0 <= figures[-1].val_accuracy <= 1


@pytest.mark.parametrize(("dtype", "learning_rate"), ABSURD)
def test_the_silence_is_that_of_epochs(dtype: type, learning_rate: float) -> None:
    """The same steps taken by `sgd_step` do warn: the check above would see a warning if there were one."""
    params, X, y = draw(0, dtype=dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(40):
            sgd_step(params, X, y, learning_rate=learning_rate, reg=1e-3)
    assert any("overflow" in str(each.message) or "invalid" in str(each.message) for each in caught)


def test_the_callers_error_state_is_its_own() -> None:
    """While the caller holds an epoch, NumPy's error state is the caller's, before and after."""
    with np.errstate(over="raise", invalid="warn"):
        mine = np.geterr()
        _, run = train(0, config(learning_rate=1e30), dtype=np.float32)
        for _ in run:
            assert np.geterr() == mine
        assert np.geterr() == mine


# Buffers


def test_buffers_are_made_once() -> None:
    """After the first epoch no step makes an array the size of a batch's activations or of the weights.

    With 64 rows a batch and 4,096 units p1 takes 1 MiB, its mask 256 KiB, W1 256 KiB and W2 160 KiB; an epoch after
    the first must get along with less than 128 KiB at any one time, and with one validation row it does.
    """
    rng = np.random.default_rng(0)
    params = init_params(rng, 16, 4096, 10)
    X, y = rng.standard_normal((160, 16)).astype(np.float32), rng.integers(0, 10, 160)
    run = epochs(params, X, y, X[:1], y[:1], config(hidden_size=4096, batch_size=64), rng)
    tracemalloc.start()
    try:
        next(run)
        held, first_peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        next(run)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first_peak > 2**20  # the buffers themselves: NumPy's memory is seen
    assert peak - held < 2**17


def test_numpy_scalars_as_settings_change_no_bit() -> None:
    """A learning rate, reg or decay that comes as np.float64 gives the bits of the same Python float."""
    X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    y = np.arange(40) % 3
    trained = []
    for kind in (float, np.float64):
        params = init_params(np.random.default_rng(1), 4, 8, 3)
        config = TrainConfig(kind(0.1), 8, kind(0.01), kind(0.9), epochs=3, batch_size=7)
        curve = list(epochs(params, X, y, X, y, config, np.random.default_rng(2)))
        assert type(curve[0].learning_rate) is float
        step = init_params(np.random.default_rng(1), 4, 8, 3)
        sgd_step(step, X, y, learning_rate=kind(0.1), reg=kind(0.01))
        trained.append([*params, *step])
    assert all(np.array_equal(a, b) for a, b in zip(*trained, strict=True))
