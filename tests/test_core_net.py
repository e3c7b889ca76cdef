"""Claims about netcore.core.net: published numbers, gradient, scores of any size, types; it needs NumPy alone."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import netcore.core
from netcore.core import (
    Params,
    init_params,
    loss,
    loss_and_gradients,
    numerical_gradient,
    predict,
    probabilities,
    scores,
)
from netcore.core.net import IntArray, evaluate
from netcore.core.params import FloatArray

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = [np.float32, np.float64]

PUBLISHED_SCORES = [
    [-0.81233741, -1.27654624, -0.70335995],
    [-0.17129677, -1.18803311, -0.47310444],
    [-0.51590475, -1.01354314, -0.8504215],
    [-0.15419291, -0.48629638, -0.52901952],
    [-0.00618733, -0.12435261, -0.15226949],
]


def toy() -> tuple[Params, FloatArray, IntArray]:
    """Return the net and the data of the published numbers."""
    params = init_params(np.random.RandomState(0), 4, 10, 3, std=0.1, dtype=np.float64)
    X = 10 * np.random.RandomState(1).standard_normal((5, 4))
    return params, X, np.array([0, 1, 2, 2, 1])


def net_with_scores(z2: FloatArray) -> tuple[Params, FloatArray]:
    """Return a net and inputs whose scores are exactly `z2`: X = W1 = p1 = identity, W2 = z2, no biases."""
    N, C = z2.shape
    eye = np.eye(N, dtype=z2.dtype)
    return Params(eye.copy(), np.zeros(N, z2.dtype), z2.copy(), np.zeros(C, z2.dtype)), eye


def draw_away_from_the_kink(rng: np.random.Generator) -> tuple[Params, FloatArray, IntArray, float]:
    """Return random parameters, data and factor of the penalty, of random sizes.

    ReLU has no derivative where z1 = 0, and a central difference across that kink measures neither side. So a row of
    X is drawn again until all its |z1| >= 1e-3. A difference moves z1 by at most 1e-5 times max(1, |x|), some 5e-5:
    no unit comes near its kink.
    """
    N, D, H, C = (int(size) for size in rng.integers(1, (7, 7, 9, 6)))
    params = init_params(rng, D, H, C, dtype=np.float64)
    params = params._replace(b1=rng.normal(0, 0.5, H), b2=rng.normal(0, 0.5, C))
    X = np.empty((N, D))
    for row in X:
        row[:] = rng.standard_normal(D)
        while np.abs(row @ params.W1 + params.b1).min() < 1e-3:
            row[:] = rng.standard_normal(D)
    return params, X, rng.integers(0, C, N), float(rng.uniform(0, 0.5))


# The published figures


def test_published_scores() -> None:
    """The toy net's scores are the published ones: the absolute differences add up to less than 1e-7."""
    params, X, _ = toy()
    assert np.abs(scores(params, X) - PUBLISHED_SCORES).sum() < 1e-7


def test_published_loss() -> None:
    """The toy net's loss at reg = 0.05 is the published 1.30378789133, within 1e-12."""
    params, X, y = toy()
    assert abs(loss(params, X, y, 0.05) - 1.30378789133) < 1e-12
    assert abs(loss_and_gradients(params, X, y, 0.05)[0] - 1.30378789133) < 1e-12


# The gradient


@pytest.mark.parametrize("block", range(4))
def test_gradient_of_200_random_nets(block: int) -> None:
    """For 200 random shapes, reg and data, every parameter's gradient is within 1e-6 of central differences."""
    for seed in range(50 * block, 50 * (block + 1)):
        params, X, y, reg = draw_away_from_the_kink(np.random.default_rng(seed))
        assert np.abs(X @ params.W1 + params.b1).min() >= 1e-3
        _, gradient = loss_and_gradients(params, X, y, reg)
        for name, parameter, derivative in zip(Params._fields, params, gradient, strict=True):
            numeric = numerical_gradient(lambda _: loss(params, X, y, reg), parameter)  # noqa: B023  # called at once
            assert derivative.shape == parameter.shape
            np.testing.assert_allclose(derivative, numeric, rtol=1e-6, atol=1e-8, err_msg=f"{name}, seed {seed}")


def test_gradient_at_the_kink_is_zero() -> None:
    """ReLU's derivative at z1 = 0 is 0: with hidden units at 0, W1 and b1 have no gradient."""
    params = Params(np.zeros((3, 4)), np.zeros(4), np.ones((4, 2)) * [1, 2], np.zeros(2))
    _, gradient = loss_and_gradients(params, np.ones((5, 3)), np.array([0, 1, 1, 0, 1]), 0.1)
    assert not gradient.W1.any()
    assert not gradient.b1.any()


@given(seed=SEEDS)
def test_nothing_given_is_changed(seed: int) -> None:
    """`loss_and_gradients` changes neither parameters nor data, and two calls share no memory."""
    params, X, y, reg = draw_away_from_the_kink(np.random.default_rng(seed))
    given_arrays = (*params, X, y)
    before = [array.tobytes() for array in given_arrays]
    _, first = loss_and_gradients(params, X, y, reg)
    kept = [array.copy() for array in first]
    _, second = loss_and_gradients(params, 2 * X, y, reg)
    assert [array.tobytes() for array in given_arrays] == before
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))
    assert not any(np.shares_memory(a, b) for a in first for b in (*second, *given_arrays))


# Scores of any size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
def test_loss_for_scores_of_any_size(dtype: type, size: float) -> None:
    """For scores up to ±1e4 the loss of each row is finite and right, against an independent log-softmax in float64."""
    z2: FloatArray = (size * np.array([[1, -1, 0], [-1, -1, 1], [1, 1, 1], [-1, -1, -1], [0.999, 1, -0.5]])).astype(
        dtype
    )
    expected = -scipy.special.log_softmax(z2.astype(np.float64), axis=1)
    tolerance = 4 * float(np.finfo(dtype).eps)
    for c in range(3):
        for i in range(5):
            params, X = net_with_scores(z2[i : i + 1])
            for value in (
                loss(params, X, np.array([c]), 0.0),
                loss_and_gradients(params, X, np.array([c]), 0.0)[0],
            ):
                assert np.isfinite(value)
                assert value == pytest.approx(expected[i, c], rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEEDS, size=st.sampled_from([1.0, 1e2, 1e4]))
def test_softmax_for_scores_of_any_size(dtype: type, seed: int, size: float) -> None:
    """For scores up to ±1e4 probabilities and gradient are finite and right, against scipy's softmax in float64."""
    rng = np.random.default_rng(seed)
    z2: FloatArray = rng.uniform(-size, size, (4, 3)).astype(dtype)
    y = rng.integers(0, 3, 4)
    expected = scipy.special.softmax(z2.astype(np.float64), axis=1)
    params, X = net_with_scores(z2)
    atol = 8 * float(np.finfo(dtype).eps)
    p2 = probabilities(params, X)
    np.testing.assert_allclose(p2, expected, rtol=0, atol=atol)
    np.testing.assert_allclose(p2.sum(axis=1), 1, rtol=0, atol=atol)
    gradient_of_scores = loss_and_gradients(params, X, y, 0.0)[1].W2  # p1 is the identity, so dW2 = dz2
    np.testing.assert_allclose(gradient_of_scores, (expected - np.eye(3)[y]) / 4, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_softmax_fails_where_this_one_does_not(dtype: type) -> None:
    """Without the shift by the largest score, softmax overflows at scores of 1e4 in both types."""
    z2: FloatArray = np.array([[1e4, -1e4, 0]], dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(np.exp(z2) / np.exp(z2).sum()).all()
    assert np.array_equal(probabilities(*net_with_scores(z2)), [[1, 0, 0]])


# Predictions


@given(seed=SEEDS)
def test_prediction_is_the_most_probable_class(seed: int) -> None:
    """`predict` returns the index of each row's largest score, and `evaluate` the share of correct predictions."""
    params, X, y, _ = draw_away_from_the_kink(np.random.default_rng(seed))
    classes = predict(params, X)
    assert classes.shape == (len(X),)
    assert classes.tolist() == [max(range(len(row)), key=row.__getitem__) for row in scores(params, X).tolist()]
    assert evaluate(params, X, y)[1] == sum(a == b for a, b in zip(classes, y, strict=True)) / len(y)


def test_the_lowest_number_wins_a_tie() -> None:
    """Of equally probable classes the one with the lowest number is predicted."""
    z2 = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    assert predict(*net_with_scores(z2)).tolist() == [0, 1, 0]


# Types


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_dtype", [np.uint8, np.float32, np.float64])
def test_everything_has_the_type_of_the_parameters(dtype: type, data_dtype: type) -> None:
    """Scores, probabilities and gradients are of the parameters' type whatever the data's; a loss is a Python float."""
    params = init_params(np.random.default_rng(0), 4, 5, 3, dtype=dtype)
    X: Any = np.arange(24).reshape(6, 4).astype(data_dtype)
    y = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    value, gradient = loss_and_gradients(params, X, y, 0.1)
    assert scores(params, X).dtype == probabilities(params, X).dtype == dtype
    assert [array.dtype for array in gradient] == [dtype] * 4
    assert type(value) is float
    assert type(loss(params, X, y, 0.1)) is float


@given(seed=SEEDS)
def test_data_are_rounded_to_the_type_of_the_parameters_first(seed: int) -> None:
    """A float32 net gives the same bits for float64 data as for the same data in float32."""
    params, X, y, reg = draw_away_from_the_kink(np.random.default_rng(seed))
    single = Params(*(array.astype(np.float32) for array in params))
    (a, gradient_a), (b, gradient_b) = (loss_and_gradients(single, data, y, reg) for data in (X, X.astype(np.float32)))
    assert a == b == loss(single, X, y, reg)
    assert all(np.array_equal(x, z) for x, z in zip(gradient_a, gradient_b, strict=True))


def test_data_may_be_a_list() -> None:
    """Inputs may be nested lists; the results are those of the array."""
    params, X, y = toy()
    assert np.array_equal(scores(params, X.tolist()), scores(params, X))
    assert loss_and_gradients(params, X.tolist(), y, 0.1)[0] == loss_and_gradients(params, X, y, 0.1)[0]


@given(seed=SEEDS)
def test_float32_and_float64_agree(seed: int) -> None:
    """A float32 net and its float64 copy have the same loss and gradient, within float32's rounding."""
    params, X, y, reg = draw_away_from_the_kink(np.random.default_rng(seed))
    single = Params(*(array.astype(np.float32) for array in params))
    double = Params(*(array.astype(np.float64) for array in single))
    X = X.astype(np.float32)
    (loss32, gradient32), (loss64, gradient64) = (loss_and_gradients(p, X, y, reg) for p in (single, double))
    assert loss32 == pytest.approx(loss64, rel=1e-5)
    for a, b in zip(gradient32, gradient64, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# numpy alone

WITH_NUMPY_ALONE = """
import sys
sys.path.insert(0, sys.argv[1])

class Guard:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        own = name in ("netcore", "netcore.core") or name.startswith("netcore.core.")
        if not (own or top == "numpy" or top in sys.stdlib_module_names):
            raise ImportError("not numpy, not the standard library: " + name)

sys.meta_path.insert(0, Guard())
import numpy as np
from netcore.core import TrainConfig, epochs, init_params

rng = np.random.default_rng(0)
X, y = rng.standard_normal((20, 4)), rng.integers(0, 3, 20)
config = TrainConfig(learning_rate=0.1, hidden_size=8, reg=1e-3, learning_rate_decay=0.9, epochs=3, batch_size=8)
figures = list(epochs(init_params(rng, 4, 8, 3), X, y, X, y, config, rng))
print(len(figures), "epochs", figures[-1].train_loss < figures[0].train_loss)
"""


def train_with_numpy_alone(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Train the net found in `folder` in a fresh interpreter that can import the standard library and numpy only."""
    command: list[Any] = [sys.executable, "-I", "-c", WITH_NUMPY_ALONE, folder]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_the_core_needs_numpy_alone() -> None:
    """The core imports and trains if every other import is refused."""
    done = train_with_numpy_alone(Path(netcore.core.__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 epochs True\n"


@pytest.mark.parametrize("statement", ["import scipy", "import netcore.data"])
def test_the_check_for_numpy_alone_bites(tmp_path: Path, statement: str) -> None:
    """A copy of the core fails the check as soon as it imports a library or another part of netcore."""
    core = tmp_path / "netcore" / "core"
    shutil.copytree(Path(netcore.core.__file__).parent, core, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "netcore" / "__init__.py").touch()
    net = core / "net.py"
    text = net.read_text(encoding="utf-8").replace("import numpy as np\n", f"import numpy as np\n{statement}\n")
    net.write_text(text, encoding="utf-8")
    done = train_with_numpy_alone(tmp_path)
    assert done.returncode != 0
    assert "not numpy, not the standard library" in done.stderr
