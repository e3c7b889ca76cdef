"""The course's own figures, asked of netcore's net: CS231n, assignment 1, the exercise `two_layer_net`.

Question: do the equations of `netcore.core`, trained as the course trains, give the figures that the course publishes?
Command:  NETCORE_DATA=FOLDER python experiments/cs231n.py [--out results/cs231n] [--steps 1000] [--toy]
Takes:    TAKES
Expect:   EXPECT

First a toy net on five rows of random numbers: scores, loss, gradients, and the last loss of a short training. Then
CIFAR-10 from FOLDER/cifar-10-batches-py (the "Python version", https://www.cs.toronto.edu/~kriz/cifar.html): the losses
at every hundredth step and the validation accuracy. Where training files are missing, the same recipe runs on what is
there, and the output says which published figures that leaves unchecked. Exit code 0: all that could be checked agrees;
1: something does not; 2: there is nothing to train on.

All random numbers come from one legacy generator, as in the notebook: seeded with 0, it draws the toy net, then the
toy training's batches, then the weights of the CIFAR-10 net, then its batches. The toy data have a generator of their
own, seeded with 1. The loss of a step is that of its batch before the step, penalty included.
"""

import argparse
import io
import math
import os
import pickle  # noqa: S403  # `_Unpickler` below admits three names
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from netcore.core import (
    Params,
    init_params,
    loss,
    loss_and_gradients,
    numerical_gradient,
    predict,
    relative_error,
    scores,
    sgd_step,
)
from netcore.core.net import IntArray, penalty
from netcore.errors import DataError, NetcoreError
from netcore.files import make_folder, write_atomically
from netcore.results.figures import BEST, GREY, INK, STATES, STYLE

FloatArray = NDArray[np.float64]

TOY_SCORES = (
    ("-0.81233741", "-1.27654624", "-0.70335995"),
    ("-0.17129677", "-1.18803311", "-0.47310444"),
    ("-0.51590475", "-1.01354314", "-0.8504215"),
    ("-0.15419291", "-0.48629638", "-0.52901952"),
    ("-0.00618733", "-0.12435261", "-0.15226949"),
)
TOY_LOSS, TOY_LAST_LOSS = "1.30378789133", "0.017149607938732"
LOSSES = (
    *("2.302954", "2.302550", "2.297648", "2.259602", "2.204170"),
    *("2.118565", "2.051535", "1.988466", "2.006591", "1.951473"),
)
"""The published losses of the CIFAR-10 training at steps 0, 100, … 900."""
STEPS, VAL_ACCURACY = 1000, "0.287"

TRAINING_FILES, TEST_FILE = tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch"
ROWS, HELD_OUT = 50_000, 1000
SIDE, CHANNELS, CLASSES, HIDDEN = 32, 3, 10, 50
PIXELS = SIDE * SIDE * CHANNELS


# What is compared


class Check(NamedTuple):
    """A published figure, with the digits that were published, and netcore's own."""

    name: str
    published: str
    reproduced: float

    @property
    def decimals(self) -> int:
        """How many decimals were published."""
        return len(self.published.partition(".")[2])

    @property
    def difference(self) -> float:
        """Netcore's figure less the published one."""
        return self.reproduced - float(self.published)

    @property
    def agrees(self) -> bool:
        """Whether rounding explains the difference.

        Half a unit of the last published digit is the course's rounding; a quarter more, and never less than 1e-12, is
        left for another order of the sums.
        """
        return abs(self.difference) <= max(0.75 * 10.0**-self.decimals, 1e-12)


# The toy net


def toy_net(rng: np.random.RandomState) -> Params:
    """Draw the toy net: 4 inputs, 10 hidden units, 3 classes."""
    return init_params(rng, 4, 10, 3, std=0.1, dtype=np.float64)


def toy_data() -> tuple[FloatArray, IntArray]:
    """Draw the toy data: five rows of four numbers, and their classes."""
    return 10 * np.random.RandomState(1).standard_normal((5, 4)), np.array([0, 1, 2, 2, 1])


def toy_checks(params: Params) -> list[Check]:
    """Give the scores and the loss of the fresh toy net."""
    X, y = toy_data()
    z2 = scores(params, X)
    checks = [
        Check(f"score of row {i}, class {c}", published, float(z2[i, c]))
        for i, row in enumerate(TOY_SCORES)
        for c, published in enumerate(row)
    ]
    return [*checks, Check("loss of the fresh net, reg 0.05", TOY_LOSS, loss(params, X, y, 0.05))]


def gradient_errors(params: Params) -> dict[str, float]:
    """Give the relative error of each parameter's gradient against central differences; the course: below 1e-8."""
    X, y = toy_data()
    _, gradient = loss_and_gradients(params, X, y, 0.05)
    return {
        name: relative_error(derivative, numerical_gradient(lambda _: loss(params, X, y, 0.05), parameter))
        for name, parameter, derivative in zip(Params._fields, params, gradient, strict=True)
    }


def train_toy_net(params: Params, rng: np.random.RandomState) -> "History":
    """Train the toy net: 100 steps; with fewer rows than a batch has, every step counts as an epoch."""
    rows = Rows(*toy_data())
    return train(params, rows, rows, rng, steps=100, learning_rate=0.1, reg=5e-6)


# Training as the course does it


class Rows(NamedTuple):
    """Rows to train on or to validate with: pixels stay bytes until a batch needs them as float64."""

    X: NDArray[Any]
    """Inputs as read, shape (N, D)."""
    y: IntArray
    """Classes, shape (N,)."""
    mean: FloatArray | float = 0.0
    """What is subtracted from each row before the net sees it."""

    def inputs(self, index: IntArray | slice = slice(None)) -> FloatArray:
        """Give some rows, or all, as the net sees them."""
        centred: FloatArray = self.X[index] - self.mean
        return centred


class History(NamedTuple):
    """What the course keeps of a training."""

    losses: list[float]
    """Of each step's batch, before the step, penalty included."""
    train_accuracy: list[float]
    """Of each epoch's first batch, after its step."""
    val_accuracy: list[float]
    """Of all validation rows, after the same step."""


def steps_per_epoch(rows: int, batch_size: int) -> float:
    """Give the number of steps between two decays, at least 1. It need not be whole: the course divides, no more."""
    return max(rows / batch_size, 1)


def train(  # noqa: PLR0913  # the course's own arguments
    params: Params,
    rows: Rows,
    val: Rows,
    rng: np.random.RandomState,
    *,
    steps: int,
    learning_rate: float,
    reg: float,
    decay: float = 0.95,
    batch_size: int = 200,
) -> History:
    """Train with batches drawn with replacement: `params` change in place.

    The learning rate decays after every step whose number, counted from 0, is a multiple of the steps per epoch: so
    after the very first step too.
    """
    history = History([], [], [])
    X_val = val.inputs()
    for step in range(steps):
        batch = rng.choice(len(rows.y), batch_size)
        X, y = rows.inputs(batch), rows.y[batch]
        history.losses.append(sgd_step(params, X, y, learning_rate=learning_rate, reg=reg))
        if step % steps_per_epoch(len(rows.y), batch_size) == 0:
            history.train_accuracy.append(accuracy(params, X, y))
            history.val_accuracy.append(accuracy(params, X_val, val.y))
            learning_rate *= decay
    return history


def accuracy(params: Params, X: FloatArray, y: IntArray) -> float:
    """Give the share of rows that are classified right."""
    return float(np.mean(predict(params, X) == y))


# CIFAR-10


class Cifar(NamedTuple):
    """CIFAR-10 as the course splits it."""

    train: Rows
    val: Rows
    test: Rows | None
    missing: tuple[str, ...]
    """The files that are not there."""


def load(folder: Path) -> Cifar:
    """Read what is there of CIFAR-10: the last 1,000 training rows validate (a tenth, where there are few).

    The mean image is that of the rows that are trained on; it is subtracted from all.

    Raises:
        DataError: there is no training file, or one is not what it should be.
    """
    missing = tuple(name for name in (*TRAINING_FILES, TEST_FILE) if not (folder / name).is_file())
    if set(missing) >= set(TRAINING_FILES):
        remedy = "let NETCORE_DATA name the folder above it, or add --toy for the part that needs no data"
        raise DataError.at(folder, "must hold CIFAR-10's Python version", "none of data_batch_1 … 5", remedy)
    files = [read_batch(folder / name) for name in TRAINING_FILES if name not in missing]
    X, y = (np.concatenate(parts) for parts in zip(*files, strict=True))
    if len(y) < 10:  # noqa: PLR2004  # a tenth is a row then
        raise DataError.at(folder, "must hold ten training rows or more", len(y))
    first = len(y) - min(HELD_OUT, len(y) // 10)
    mean = X[:first].mean(axis=0)
    test = None if TEST_FILE in missing else read_batch(folder / TEST_FILE)
    return Cifar(
        train=Rows(X[:first], y[:first], mean),
        val=Rows(X[first:], y[first:], mean),
        test=test and Rows(test[0][:HELD_OUT], test[1][:HELD_OUT], mean),
        missing=missing,
    )


def read_batch(path: Path) -> tuple[NDArray[np.uint8], IntArray]:
    """Read one of CIFAR-10's files: pixels of shape (n, 3072), height by width by channel, and classes of shape (n,).

    Raises:
        DataError: the file cannot be read, or is something else. Whatever it holds, none of it is run.
    """
    try:
        with path.open("rb") as file:
            batch = _Unpickler(file, encoding="bytes").load()
        data, labels = batch[b"data"], batch[b"labels"]
        rule = _broken_rule(data, labels)
    except Exception as error:  # noqa: BLE001  # a broken pickle may raise anything
        rule = f"cannot be read as a file of CIFAR-10 ({type(error).__name__}: {error})".replace("\n", " ")
    if rule:
        raise DataError.at(path, rule, remedy="fetch https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz anew")
    pixels = data.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1).reshape(-1, PIXELS)
    return pixels, np.array(labels, np.intp)


def _broken_rule(data: object, labels: object) -> str:
    """Say which rule of the format the two parts of a file break, if any."""
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == PIXELS):  # noqa: PLR2004
        return f"its data must be bytes of shape (n, {PIXELS})"
    if not (isinstance(labels, list) and len(labels) == len(data)):
        return "its labels must be a list, one for each row of its data"
    if not all(type(label) is int and 0 <= label < CLASSES for label in labels):
        return f"its labels must be whole numbers from 0 to {CLASSES - 1}"
    return ""


def _byte_type(code: bytes | str, *_: object) -> np.dtype[np.uint8]:
    """Stand in for `numpy.dtype`: of all types, the one that the pixels have."""
    if code not in {b"u1", "u1"}:
        raise pickle.UnpicklingError(f"it asks for numbers of type {code!r}, pixels are bytes")
    return np.dtype(np.uint8)


_ARRAY_MAKER: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[index, assignment]
_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _ARRAY_MAKER,
    ("numpy._core.multiarray", "_reconstruct"): _ARRAY_MAKER,  # its name since NumPy 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _byte_type,
}
"""All that a pickle may call: what NumPy makes an array from."""


class _Unpickler(pickle.Unpickler):
    """Opens pickles of numbers, strings, lists, dicts and arrays of bytes; a pickle that asks for more is refused."""

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        """Give what a pickle wants to call, if it is one of the few."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused") from None


# The answer in words


def toy_report(checks: Sequence[Check], errors: dict[str, float]) -> list[str]:
    """Set the toy net's figures beside the published ones."""
    table = [_line(check, check.agrees) for check in checks]
    named = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    verdict = "agree" if max(errors.values()) < 1e-8 else "DISAGREE"  # noqa: PLR2004
    return [
        "The toy net",
        _HEADER,
        *table,
        f"Gradients beside central differences, largest relative error: {named} (asked for: below 1e-8): {verdict}",
    ]


_HEADER = f"  {'figure':<34}{'published':>18}{'reproduced':>20}   difference"


def _line(check: Check, agrees: bool | None) -> str:
    """Set a figure beside the published one; None: the two come from different rows."""
    verdict = {True: "agrees", False: "DISAGREES", None: "other rows"}[agrees]
    reproduced = f"{check.reproduced:.{check.decimals}f}"
    return f"  {check.name:<34}{check.published:>18}{reproduced:>20}   ({check.difference:+.1e}) {verdict}"
