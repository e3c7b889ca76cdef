"""The course's own figures, asked of netcore's net: CS231n, assignment 1, the exercise `two_layer_net`.

Question: do the equations of `netcore.core`, trained as the course trains, give the figures that the course publishes?
Command:  NETCORE_DATA=FOLDER python experiments/cs231n.py [--out results/cs231n] [--steps 1000] [--toy]
Takes:    8 s of one processor (measured with one training file of 10,000 rows; more rows take little longer)
Expect:   with data_batch_1 alone (measured): the toy net's 18 lines agree, losses from 2.302970 (step 0) to 2.077285
          (step 900), validation accuracy 0.238; with all five training files every line should say "agrees"

First a toy net on five rows of random numbers: scores, loss, gradients, and the last loss of a short training. Then
CIFAR-10 from FOLDER/cifar-10-batches-py (the "Python version", https://www.cs.toronto.edu/~kriz/cifar.html): the losses
at every hundredth step and the validation accuracy. Where training files are missing, the same recipe runs on what is
there, and the output says which published figures that leaves unchecked. Exit code 0: all that could be checked agrees;
1: something does not; 2: the input is wrong.

All random numbers come from one legacy generator, as in the notebook: seeded with 0, it draws the toy net, then the
toy training's batches, then the weights of the CIFAR-10 net, then its batches. The toy data have a generator of their
own, seeded with 1. The loss of a step is that of its batch before the step, penalty included.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

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
from netcore.data.cifar10 import CHANNELS, PIXELS, SIDE, TEST_FILE, TRAINING_FILES, read_batch
from netcore.errors import DataError, InputError, NetcoreError
from netcore.results.canvas import BEST, GREY, STATES, STYLE

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
"""Published, of the same training after its last step."""

STEPS, BATCH_SIZE, REG = 1000, 200, 0.25

ROWS, HELD_OUT = 50_000, 1000
CLASSES, HIDDEN = 10, 50


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
    batch_size: int = BATCH_SIZE,
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
    here = {path.name for path in folder.glob("*")}  # of a folder that is not there, none
    missing = tuple(name for name in (*TRAINING_FILES, TEST_FILE) if name not in here)
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


# The CIFAR-10 net


def cifar_net(rng: np.random.RandomState) -> Params:
    """Draw the net for CIFAR-10: 3072 inputs, 50 hidden units, 10 classes."""
    return init_params(rng, PIXELS, HIDDEN, CLASSES, std=1e-4, dtype=np.float64)


def train_cifar_net(params: Params, cifar: Cifar, rng: np.random.RandomState, steps: int) -> History:
    """Train the net for CIFAR-10."""
    return train(params, cifar.train, cifar.val, rng, steps=steps, learning_rate=1e-4, reg=REG)


def cifar_checks(history: History, val_accuracy: float) -> list[Check]:
    """Give the losses of every hundredth step, as far as the training went, and the accuracy at its end."""
    losses = zip(range(0, STEPS, 100), LOSSES, history.losses[::100], strict=False)
    checks = [Check(f"loss at step {step}", published, value) for step, published, value in losses]
    if len(history.losses) == STEPS:
        checks.append(Check(f"validation accuracy, {STEPS} steps", VAL_ACCURACY, val_accuracy))
    return checks


def other_rows(cifar: Cifar) -> str:
    """Say why the published figures come from other rows than those that are here; empty, if they do not."""
    missing = [name for name in cifar.missing if name in TRAINING_FILES]
    if missing:
        return f"{', '.join(missing)} missing"
    rows = len(cifar.train.y) + len(cifar.val.y)
    return "" if rows == ROWS else f"the files here hold {rows:,} rows, not {ROWS:,}"


# The answer in words


def toy_report(checks: Sequence[Check], errors: Mapping[str, float]) -> list[str]:
    """Set the toy net's figures beside the published ones."""
    named = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    return [
        "The toy net: 4 inputs, 10 hidden units, 3 classes, 5 rows",
        *_table(checks),
        "  gradients beside central differences: largest relative error, which the course wants below 1e-8",
        f"    {named}  {'agrees' if gradients_agree(errors) else 'DISAGREES'}",
    ]


def cifar_report(cifar: Cifar, checks: Sequence[Check], steps: int, start: float) -> list[str]:
    """Set the figures of CIFAR-10 beside the published ones, and say which of them that leaves unchecked, and why.

    `start` is the loss of the fresh net on an input of zeros: ln 10 and the penalty.
    """
    why, rows = other_rows(cifar), len(cifar.train.y)
    return [
        f"CIFAR-10: {rows:,} rows to train on, {len(cifar.val.y):,} to validate with; {steps:,} steps",
        *_table(checks, other="other rows" if why else ""),
        *_about_step_0(start, checks[0]),
        *(_unchecked(why, rows) if why else _not_reached(steps)),
    ]


def _about_step_0(start: float, first: Check) -> list[str]:
    away = f"{first.difference:+.1e}"
    return [
        f"  About step 0: whatever the rows, this loss is {start:.6f} up to some 1e-5: ln 10 = {math.log(CLASSES):.6f}",
        f"  and the penalty; the first weights are too small for the rows to matter more. So the difference of {away}",
        "  says that penalty and size of the first weights are the course's, and little about the rows.",
    ]


def _unchecked(why: str, rows: int) -> list[str]:
    every = f"every {steps_per_epoch(rows, BATCH_SIZE):g} steps instead of every {49_000 / BATCH_SIZE:g}"
    return [
        f"NOT CHECKED: the published losses of steps 0 to 900 and the validation accuracy of {VAL_ACCURACY}.",
        "  They come from 49,000 rows to train on and the next 1,000 to validate with. Why not here:",
        f"  {why}.",
        "  The same recipe ran on the rows that are here, so differences from the published figures are no errors:",
        f"  the batches are others, and the learning rate decays {every}.",
    ]


def _not_reached(steps: int) -> list[str]:
    if steps == STEPS:
        return []
    return [f"NOT CHECKED: what the course publishes beyond step {steps - 1} of {STEPS:,}; --steps {STEPS} goes there."]


def accuracy_report(params: Params, cifar: Cifar, val_accuracy: float) -> str:
    """Give the accuracies of the trained net, the test rows' too where they are here."""
    if cifar.test is None:
        return f"Accuracy at the end: validation {val_accuracy:.3f}; test rows NOT MEASURED, {TEST_FILE} missing"
    share = accuracy(params, cifar.test.inputs(), cifar.test.y)
    rows = f"first {len(cifar.test.y):,} test rows"
    return f"Accuracy at the end: validation {val_accuracy:.3f}; {rows} {share:.3f} (none published)"


def gradients_agree(errors: Mapping[str, float]) -> bool:
    """Say whether the gradients are as near to central differences as the course asks."""
    return max(errors.values()) < 1e-8  # noqa: PLR2004


def _table(checks: Sequence[Check], other: str = "") -> Iterator[str]:
    """Set figures beside the published ones; with `other` the verdict is that, and no figure is wrong."""
    yield f"  {'figure':<34}{'published':>18}{'reproduced':>20}  (difference)"
    for check in checks:
        reproduced = f"{check.reproduced:.{check.decimals}f}"
        verdict = other or ("agrees" if check.agrees else "DISAGREES")
        yield f"  {check.name:<34}{check.published:>18}{reproduced:>20}  ({check.difference:+.1e})  {verdict}"


# The answer in pictures


_styled = matplotlib.style.context(["default", STYLE])
BLUE = STATES["finished"]["color"]


@_styled
def draw_loss(history: History, rows: int) -> Figure:
    """Draw the loss of every step, and the published ones."""
    figure, axes = _figure()
    axes.plot(history.losses, color=BLUE, linewidth=0.9, alpha=0.9, label=f"trained here on {rows:,} rows")
    published = [float(text) for text in LOSSES]
    look: dict[str, Any] = {"color": BEST, "markerfacecolor": "white", "markeredgewidth": 1.8, "markersize": 7}
    axes.plot(range(0, STEPS, 100), published, "o", **look, label="published, 49,000 rows", zorder=3)
    axes.axhline(math.log(CLASSES), color=GREY, linestyle=(0, (4, 3)), linewidth=1.2, label="guessing: ln 10", zorder=1)
    axes.set(xlabel="step", ylabel="loss with penalty (nats)", xlim=(-15, max(len(history.losses), STEPS - 100) + 15))
    return _titled(figure, axes, "Loss of each step's batch: two-layer net on CIFAR-10")


@_styled
def draw_accuracy(history: History, rows: int, val_accuracy: float) -> Figure:
    """Draw the accuracy by epoch, on the step's batch and on the validation rows."""
    per_epoch = steps_per_epoch(rows, BATCH_SIZE)
    end = len(history.losses) / per_epoch
    figure, axes = _figure()
    axes.plot(history.train_accuracy, ".-", color=GREY, linewidth=1.6, label=f"training (batch of {BATCH_SIZE})")
    axes.plot(history.val_accuracy, ".-", color=BLUE, linewidth=2.2, label="validation")
    axes.plot(end, val_accuracy, "o", color=BLUE, markersize=8, label=f"at the end: {val_accuracy:.3f}")
    look: dict[str, Any] = {"color": BEST, "linewidth": 1.6, "linestyle": (0, (4, 3))}
    axes.axhline(float(VAL_ACCURACY), **look, label=f"published for 49,000 rows: {VAL_ACCURACY}", zorder=1)
    axes.set(xlabel=f"epoch ({per_epoch:g} steps)", ylabel="accuracy (share right)", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return _titled(figure, axes, f"Accuracy by epoch: two-layer net on {rows:,} rows of CIFAR-10")


@_styled
def draw_first_layer(params: Params) -> Figure:
    """Draw the weights of each hidden unit as a colour picture of 32 by 32, as the course does."""
    figure, axes = _figure(4.8)
    axes.imshow(tiles(params.W1), interpolation="nearest")
    axes.set_axis_off()
    return _titled(figure, axes, f"First-layer weights (W1): {HIDDEN} hidden units, each in its own range of values")


def tiles(W1: FloatArray, across: int = 10, gap: int = 3) -> FloatArray:
    """Lay out W1, shape (3072, H), as pictures with white between them; each is scaled to 0 … 1 for itself."""
    pictures = W1.T.reshape(-1, SIDE, SIDE, CHANNELS)
    low, high = pictures.min(axis=(1, 2, 3), keepdims=True), pictures.max(axis=(1, 2, 3), keepdims=True)
    pictures = (pictures - low) / (high - low)
    down = math.ceil(len(pictures) / across)
    framed = np.ones((down * across, SIDE + gap, SIDE + gap, CHANNELS))
    framed[: len(pictures), :SIDE, :SIDE] = pictures
    rows = framed.reshape(down, across, SIDE + gap, SIDE + gap, CHANNELS).transpose(0, 2, 1, 3, 4)
    return rows.reshape(down * (SIDE + gap), across * (SIDE + gap), CHANNELS)[:-gap, :-gap]


def _figure(height: float = 5.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.8, height), layout="constrained")
    return figure, figure.subplots()


def _titled(figure: Figure, axes: Axes, title: str) -> Figure:
    """Put title and legend above the plot, where they cover nothing."""
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        figure.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
        return figure
    font = {"size": 12.5, "weight": "bold"}
    look: dict[str, Any] = {"alignment": "left", "borderaxespad": 0.2, "columnspacing": 1.4}
    figure.legend(handles=handles, loc="outside upper left", ncols=4, title=title, title_fontproperties=font, **look)
    return figure


@_styled
def save(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure to <name>.png in a folder, which is made if need be.

    Raises:
        InputError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png")
    except OSError as error:
        rule = f"cannot be written ({error.strerror or error})"
        raise InputError.at(folder, rule, remedy="choose another folder with --out") from error


# The command


def reproduce_toy(rng: np.random.RandomState) -> bool:
    """Print the toy net's figures; say whether all agree. `rng` is then where the notebook's is."""
    params = toy_net(rng)
    checks, errors = toy_checks(params), gradient_errors(params)
    last = train_toy_net(params, rng).losses[-1]
    checks.append(Check("loss at the last of 100 steps", TOY_LAST_LOSS, last))
    print("\n".join(toy_report(checks, errors)))
    return gradients_agree(errors) and all(check.agrees for check in checks)


def reproduce_cifar(cifar: Cifar, rng: np.random.RandomState, steps: int, out: Path) -> bool:
    """Print the figures of CIFAR-10 and draw the pictures; say whether all that could be checked agree."""
    params = cifar_net(rng)
    start = loss(params, np.zeros((1, PIXELS)), np.array([0]), REG)
    history = train_cifar_net(params, cifar, rng, steps)
    val_accuracy = accuracy(params, cifar.val.inputs(), cifar.val.y)
    checks = cifar_checks(history, val_accuracy)
    print("\n".join(["", *cifar_report(cifar, checks, steps, start)]))
    print(accuracy_report(params, cifar, val_accuracy))
    rows = len(cifar.train.y)
    figures = {
        "loss": draw_loss(history, rows),
        "accuracy": draw_accuracy(history, rows, val_accuracy),
        "first_layer": draw_first_layer(params),
    }
    save(figures, out)
    print(f"Pictures: {', '.join(str(out / f'{name}.png') for name in figures)}")
    return bool(other_rows(cifar)) or all(check.agrees for check in checks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code."""
    options = _options(arguments)
    rng = np.random.RandomState(0)
    try:
        with threadpool_limits(1):  # sums keep their order, and a busy machine is no slower
            if options.toy:
                return int(not reproduce_toy(rng))
            cifar = load(Path(os.environ.get("NETCORE_DATA") or "data") / "cifar-10-batches-py")
            save({}, options.out)  # to learn now whether it can be written
            agree = [reproduce_toy(rng), reproduce_cifar(cifar, rng, options.steps, options.out)]
            return int(not all(agree))
    except NetcoreError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reproduce the published figures of CS231n's two-layer net.")
    parser.add_argument("--out", type=Path, default=Path("results/cs231n"), help="folder for the pictures")
    parser.add_argument("--steps", type=_count, default=STEPS, help="steps of the CIFAR-10 training (default: all)")
    parser.add_argument("--toy", action="store_true", help="the toy net alone, which needs no data")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
