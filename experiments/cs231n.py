"""Question: does `netcore.core`, trained as the course trains, give the numbers that CS231n publishes?

Command: NETCORE_DATA=FOLDER python experiments/cs231n.py [--out results/cs231n] [--steps 1000] [--toy]
Takes:   10 s of one processor
Expect:  every line says "agrees"

CS231n, assignment 1, exercise `two_layer_net`. First a toy net on five rows of random numbers: scores, loss, gradients,
and the last loss of a short training. Then CIFAR-10 from FOLDER/cifar-10-batches-py: the losses at every hundredth step
and the validation accuracy; `--toy` leaves this part out. Exit code 0: all agrees; 1: something does not; 2: the input
is wrong.

All random numbers come from one legacy generator, as in the notebook: seeded with 0, it draws the toy net, then the
toy training's batches, then the weights of the CIFAR-10 net, then its batches. The toy data have a generator of their
own, seeded with 1. The loss of a step is that of its batch before the step, penalty included.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netcore.core import Params, init_params, loss, loss_and_gradients, predict, scores, sgd_step
from netcore.core.gradcheck import numerical_gradient, relative_error
from netcore.data.cifar10 import CHANNELS, PIXELS, SIDE, read_cifar10
from netcore.errors import NetcoreError
from netcore.results.canvas import BEST, GREY, STATES, file_of, new_figure, styled, titled

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

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
VAL_ACCURACY = "0.287"
"""Published, after the last step of the same training."""

STEPS, BATCH_SIZE, REG = 1000, 200, 0.25
HELD_OUT, CLASSES, HIDDEN = 1000, 10, 50


class Check(NamedTuple):
    """A published number, with the digits that were published, and netcore's own."""

    name: str
    published: str
    reproduced: float

    @property
    def agrees(self) -> bool:
        """Whether rounding explains the difference.

        Half a unit of the last published digit is the course's rounding; a quarter more, and never less than 1e-12, is
        left for another order of the sums.
        """
        decimals = len(self.published.partition(".")[2])
        return abs(self.reproduced - float(self.published)) <= max(0.75 * 10.0**-decimals, 1e-12)

    def __str__(self) -> str:
        decimals, difference = len(self.published.partition(".")[2]), self.reproduced - float(self.published)
        verdict = "agrees" if self.agrees else "DISAGREES"
        reproduced = f"{self.reproduced:.{decimals}f}"
        return f"  {self.name:<34}{self.published:>18}{reproduced:>20}  ({difference:+.1e})  {verdict}"


def toy_net(rng: np.random.RandomState) -> Params:
    """Draw the toy net: 4 inputs, 10 hidden units, 3 classes."""
    return init_params(rng, 4, 10, 3, std=0.1, dtype=np.float64)


def toy_data() -> tuple[FloatArray, IntArray]:
    """Draw the toy data: five rows of four numbers, and their classes."""
    return 10 * np.random.RandomState(1).standard_normal((5, 4)), np.array([0, 1, 2, 2, 1])


def toy_checks(params: Params) -> Iterator[Check]:
    """Compare the scores and the loss of the fresh toy net."""
    X, y = toy_data()
    z2 = scores(params, X)
    for i, row in enumerate(TOY_SCORES):
        for c, published in enumerate(row):
            yield Check(f"score of row {i}, class {c}", published, float(z2[i, c]))
    yield Check("loss of the fresh net, reg 0.05", TOY_LOSS, loss(params, X, y, 0.05))


def gradient_errors(params: Params) -> dict[str, float]:
    """Return the relative error of each parameter's gradient against central differences."""
    X, y = toy_data()
    _, gradient = loss_and_gradients(params, X, y, 0.05)
    return {
        name: relative_error(derivative, numerical_gradient(lambda _: loss(params, X, y, 0.05), parameter))
        for name, parameter, derivative in zip(Params._fields, params, gradient, strict=True)
    }


def train_toy_net(params: Params, rng: np.random.RandomState) -> "History":
    """Train the toy net: 100 steps; there are fewer rows than a batch has, so that every step counts as an epoch."""
    rows = Rows(*toy_data())
    return train(params, rows, rows, rng, steps=100, learning_rate=0.1, reg=5e-6)


class Rows(NamedTuple):
    """Rows to train on or to validate with: pixels stay bytes until a batch needs them as float64."""

    X: NDArray[Any]
    """Inputs as read, shape (N, D)."""
    y: IntArray
    """Classes, shape (N,)."""
    mean: FloatArray | float = 0.0
    """What is subtracted from each row before the net sees it."""

    def inputs(self, index: IntArray | slice = slice(None)) -> FloatArray:
        """Return some rows, or all, as the net sees them."""
        centred: FloatArray = self.X[index] - self.mean
        return centred


class History(NamedTuple):
    """What the course keeps of a training.

    The losses are those of each step's batch, before the step, penalty included; the accuracies those of each epoch's
    first batch and of all validation rows, after its step.
    """

    losses: list[float]
    train_accuracy: list[float]
    val_accuracy: list[float]


def steps_per_epoch(rows: int) -> float:
    """Return the number of steps between two decays, at least 1. It need not be whole: the course only divides."""
    return max(rows / BATCH_SIZE, 1)


def train(
    params: Params,
    rows: Rows,
    val: Rows,
    rng: np.random.RandomState,
    *,
    steps: int,
    learning_rate: float,
    reg: float,
) -> History:
    """Train with batches drawn with replacement; `params` change in place.

    The learning rate decays after every step whose number, counted from 0, is a multiple of the steps per epoch: so
    after the very first step too.
    """
    history = History([], [], [])
    X_val = val.inputs()
    for step in range(steps):
        batch = rng.choice(len(rows.y), BATCH_SIZE)
        X, y = rows.inputs(batch), rows.y[batch]
        history.losses.append(sgd_step(params, X, y, learning_rate=learning_rate, reg=reg))
        if step % steps_per_epoch(len(rows.y)) == 0:
            history.train_accuracy.append(accuracy(params, X, y))
            history.val_accuracy.append(accuracy(params, X_val, val.y))
            learning_rate *= 0.95
    return history


def accuracy(params: Params, X: FloatArray, y: IntArray) -> float:
    """Return the share of rows that are classified right."""
    return float(np.mean(predict(params, X) == y))


class Cifar(NamedTuple):
    """CIFAR-10 as the course splits it."""

    train: Rows
    val: Rows
    test: Rows


def load(folder: Path) -> Cifar:
    """Read CIFAR-10: the last 1,000 training rows validate (a tenth, where there are few).

    The mean image is that of the rows that are trained on; it is subtracted from all.

    Raises:
        DataError: a file is missing, damaged, or not what it should be.
    """
    raw = read_cifar10(folder)
    X, y = np.asarray(raw.X), raw.y
    first = len(y) - min(HELD_OUT, len(y) // 10)
    mean = X[:first].mean(axis=0)
    X_test, y_test = (np.asarray(part[:HELD_OUT]) for part in raw.official_test or ())
    return Cifar(Rows(X[:first], y[:first], mean), Rows(X[first:], y[first:], mean), Rows(X_test, y_test, mean))


def cifar_net(rng: np.random.RandomState) -> Params:
    """Draw the net for CIFAR-10: 3072 inputs, 50 hidden units, 10 classes."""
    return init_params(rng, PIXELS, HIDDEN, CLASSES, std=1e-4, dtype=np.float64)


def train_cifar_net(params: Params, cifar: Cifar, rng: np.random.RandomState, steps: int) -> History:
    """Train the net for CIFAR-10."""
    return train(params, cifar.train, cifar.val, rng, steps=steps, learning_rate=1e-4, reg=REG)


def cifar_checks(history: History, val_accuracy: float) -> Iterator[Check]:
    """Compare the losses of every hundredth step, as far as the training went, and the accuracy at its end."""
    for step, published, value in zip(range(0, STEPS, 100), LOSSES, history.losses[::100], strict=False):
        yield Check(f"loss at step {step}", published, value)
    if len(history.losses) == STEPS:
        yield Check(f"validation accuracy, {STEPS} steps", VAL_ACCURACY, val_accuracy)


BLUE = STATES["finished"]["color"]


@styled
def draw_loss(history: History) -> Figure:
    """Draw the loss of every step, and the published ones."""
    figure = new_figure()
    axes = figure.subplots()
    axes.plot(history.losses, color=BLUE, linewidth=0.9, alpha=0.9, label="netcore")
    look: dict[str, Any] = {"color": BEST, "markerfacecolor": "white", "markeredgewidth": 1.8, "markersize": 7}
    axes.plot(range(0, STEPS, 100), [float(text) for text in LOSSES], "o", **look, label="published", zorder=3)
    axes.axhline(math.log(CLASSES), color=GREY, linestyle=(0, (4, 3)), linewidth=1.2, label="guessing: ln 10", zorder=1)
    axes.set(xlabel="step", ylabel="loss with penalty (nats)", xlim=(-15, max(len(history.losses), STEPS - 100) + 15))
    return titled(figure, "Loss of each step's batch: two-layer net on CIFAR-10")


@styled
def draw_accuracy(history: History, rows: int, val_accuracy: float) -> Figure:
    """Draw the accuracy by epoch, on the step's batch and on the validation rows."""
    per_epoch = steps_per_epoch(rows)
    figure = new_figure()
    axes = figure.subplots()
    axes.plot(history.train_accuracy, ".-", color=GREY, linewidth=1.6, label=f"training (batch of {BATCH_SIZE})")
    axes.plot(history.val_accuracy, ".-", color=BLUE, linewidth=2.2, label="validation")
    axes.plot(len(history.losses) / per_epoch, val_accuracy, "o", color=BLUE, label=f"at the end: {val_accuracy:.3f}")
    axes.axhline(float(VAL_ACCURACY), color=BEST, linestyle=(0, (4, 3)), label=f"published: {VAL_ACCURACY}", zorder=1)
    axes.set(xlabel=f"epoch ({per_epoch:g} steps)", ylabel="accuracy (share right)", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return titled(figure, "Accuracy by epoch: two-layer net on CIFAR-10")


@styled
def draw_first_layer(params: Params) -> Figure:
    """Draw the weights of each hidden unit as a colour picture of 32 by 32, as the course does."""
    figure = new_figure(4.8)
    axes = figure.subplots()
    axes.imshow(tiles(params.W1), interpolation="nearest")
    axes.set_axis_off()
    return titled(figure, f"First-layer weights (W1): {HIDDEN} hidden units, each with its own range of values")


def tiles(W1: FloatArray, across: int = 10, gap: int = 3) -> FloatArray:
    """Arrange W1, shape (3072, H), as pictures with white between them; each is scaled to 0 … 1 on its own."""
    pictures = W1.T.reshape(-1, SIDE, SIDE, CHANNELS)
    low, high = pictures.min(axis=(1, 2, 3), keepdims=True), pictures.max(axis=(1, 2, 3), keepdims=True)
    down = math.ceil(len(pictures) / across)
    framed = np.ones((down * across, SIDE + gap, SIDE + gap, CHANNELS))
    framed[: len(pictures), :SIDE, :SIDE] = (pictures - low) / (high - low)
    rows = framed.reshape(down, across, SIDE + gap, SIDE + gap, CHANNELS).transpose(0, 2, 1, 3, 4)
    return rows.reshape(down * (SIDE + gap), across * (SIDE + gap), CHANNELS)[:-gap, :-gap]


def reproduce_toy(rng: np.random.RandomState) -> bool:
    """Print the toy net's numbers; return whether all agree. `rng` then has the state that it has in the notebook."""
    params = toy_net(rng)
    checks, errors = [*toy_checks(params)], gradient_errors(params)
    last = train_toy_net(params, rng).losses[-1]
    checks.append(Check("loss at the last of 100 steps", TOY_LAST_LOSS, last))
    near = max(errors.values()) < 1e-8  # noqa: PLR2004  # what the course asks for
    print("The toy net: 4 inputs, 10 hidden units, 3 classes, 5 rows")
    show(checks)
    print("  gradients and central differences: the largest relative error must be below 1e-8")
    print(f"    {', '.join(f'{k} {v:.1e}' for k, v in errors.items())}  {'agrees' if near else 'DISAGREES'}")
    return near and all(check.agrees for check in checks)


def reproduce_cifar(cifar: Cifar, rng: np.random.RandomState, steps: int, out: Path) -> bool:
    """Print the numbers of CIFAR-10 and draw the plots; return whether all agree."""
    params = cifar_net(rng)
    history = train_cifar_net(params, cifar, rng, steps)
    val_accuracy = accuracy(params, cifar.val.inputs(), cifar.val.y)
    checks = [*cifar_checks(history, val_accuracy)]
    rows = len(cifar.train.y)
    print(f"\nCIFAR-10: {rows:,} rows to train on, {len(cifar.val.y):,} to validate with; {steps:,} steps")
    show(checks)
    test = accuracy(params, cifar.test.inputs(), cifar.test.y)
    print(f"Accuracy at the end: validation {val_accuracy:.3f}; first {len(cifar.test.y):,} test rows {test:.3f}")
    plots = {"loss": draw_loss(history), "accuracy": draw_accuracy(history, rows, val_accuracy)}
    plots["first_layer"] = draw_first_layer(params)
    for name, figure in plots.items():
        (out / f"{name}.png").write_bytes(file_of(figure, "png"))
    print(f"Plots: {', '.join(str(out / f'{name}.png') for name in plots)}")
    return all(check.agrees for check in checks)


def show(checks: Sequence[Check]) -> None:
    """Print each number with the published one."""
    print(f"  {'number':<34}{'published':>18}{'reproduced':>20}  (difference)")
    print(*checks, sep="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/cs231n"), help="folder for the plots")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the CIFAR-10 training (default: all)")
    parser.add_argument("--toy", action="store_true", help="the toy net alone, which needs no data")
    asked = parser.parse_args(arguments)
    rng = np.random.RandomState(0)
    with threadpool_limits(1):  # sums keep their order, and a busy machine is no slower
        if asked.toy:
            return int(not reproduce_toy(rng))
        try:
            cifar = load(Path(os.environ.get("NETCORE_DATA") or "data") / "cifar-10-batches-py")
        except NetcoreError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        asked.out.mkdir(parents=True, exist_ok=True)
        agree = [reproduce_toy(rng), reproduce_cifar(cifar, rng, asked.steps, asked.out)]
        return int(not all(agree))


if __name__ == "__main__":
    sys.exit(main())
