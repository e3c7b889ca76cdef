"""How the net learns: mini-batch stochastic gradient descent with a learning rate that decays by epoch.

`sgd_step` is one update on a batch that the caller brings. `epochs` is the whole training as an iterator: each `next`
trains one epoch and gives its figures; who has seen enough asks for no more. `reference` is how it does so here, in
NumPy; trials are trained by `netcore.training.step`, which does the same faster and is held to it by tests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from netcore.core.net import IntArray, Workspace, data_loss_and_gradients, evaluate, penalty
from netcore.core.params import FloatArray, Params

__all__ = ["Epoch", "Step", "TrainConfig", "TrainEpoch", "epochs", "reference", "sgd_step"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training."""

    learning_rate: float
    """Step size of the first epoch, > 0."""
    hidden_size: int
    """Number of hidden units H, >= 1; 0 is softmax regression."""
    reg: float
    """Factor of the penalty sum W1² + sum W2², >= 0."""
    learning_rate_decay: float
    """Factor of the learning rate from one epoch to the next, in (0, 1]."""
    epochs: int
    """Passes over the training set, >= 1."""
    batch_size: int
    """Rows per step, >= 1; the last batch of an epoch holds what is left."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The figures of one epoch. Losses are cross-entropy in nats, without the penalty; accuracies are shares."""

    epoch: int
    """Which pass over the training set, counted from 1."""
    learning_rate: float
    """The step size of this epoch."""
    train_loss: float
    """Mean over the epoch's rows, each as it was when it was trained on."""
    val_loss: float
    """Over the validation set, after the epoch."""
    train_accuracy: float
    """Mean over the epoch's rows, each as it was when it was trained on."""
    val_accuracy: float
    """Over the validation set, after the epoch."""


TrainEpoch = Callable[[float, IntArray], tuple[float, float, float, float]]
"""Trains one epoch with this learning rate on the rows in this order, and gives its four figures as in `Epoch`."""
Step = Callable[[Params, FloatArray, IntArray, FloatArray, IntArray, TrainConfig], TrainEpoch]
"""Takes all of a training but its order, and gives what trains it epoch by epoch, `params` in place."""


def sgd_step(
    params: Params,
    X: FloatArray,
    y: IntArray,
    *,
    learning_rate: float,
    reg: float,
    workspace: Workspace | None = None,
) -> float:
    """Take one step of gradient descent on the batch `X` (N, D), `y` (N,) of classes 0 … C-1: `params` change in place.

    Returns the loss L (eq. 5, penalty included) as it was *before* the step. A `workspace` made for N or more rows
    saves making the buffers anew.
    """
    X = np.asarray(X, params.W1.dtype)
    if workspace is None:
        workspace = Workspace.for_rows(len(X), params)
    before = penalty(params, reg)
    data_loss, _ = _step(params, X, y, learning_rate, reg, workspace.first(len(X)))
    return data_loss + before


def epochs(
    params: Params,
    X_train: FloatArray,
    y_train: IntArray,
    X_val: FloatArray,
    y_val: IntArray,
    config: TrainConfig,
    rng: np.random.Generator,
    *,
    step: Step | None = None,
) -> Iterator[Epoch]:
    """Train epoch by epoch: `params` change in place, and each epoch's figures come out as it ends.

    Every epoch goes through a fresh permutation of the rows in batches of `config.batch_size`, the last short batch
    included. The learning rate of epoch e is `learning_rate * learning_rate_decay ** (e - 1)`. A training that blows
    up gives figures that are not finite, and no warning. `step` is how an epoch is gone through: `reference`, or what
    does the same otherwise.
    """
    train = (step or reference)(params, X_train, y_train, X_val, y_val, config)
    for epoch in range(1, config.epochs + 1):
        learning_rate = float(config.learning_rate * config.learning_rate_decay ** (epoch - 1))
        train_loss, val_loss, train_accuracy, val_accuracy = train(learning_rate, rng.permutation(len(X_train)))
        yield Epoch(
            epoch=epoch,
            learning_rate=learning_rate,
            train_loss=train_loss,
            val_loss=val_loss,
            train_accuracy=train_accuracy,
            val_accuracy=val_accuracy,
        )


def reference(
    params: Params, X_train: FloatArray, y_train: IntArray, X_val: FloatArray, y_val: IntArray, config: TrainConfig
) -> TrainEpoch:
    """Give what trains `params` by one epoch, in NumPy: the step that all others must agree with."""
    dtype, (N, D) = params.W1.dtype, X_train.shape
    batch_size = min(config.batch_size, N)
    X_train, X_val = np.asarray(X_train, dtype), np.asarray(X_val, dtype)
    X, y = np.empty((batch_size, D), dtype), np.empty(batch_size, y_train.dtype)
    whole = Workspace.for_rows(batch_size, params)
    short = whole.first(N % batch_size)

    def train(learning_rate: float, order: IntArray) -> tuple[float, float, float, float]:
        total_loss, total_right = 0.0, 0
        # An errstate must not stay open across a yield of `epochs`: hence within this function.
        with np.errstate(all="ignore"):
            for start in range(0, N, batch_size):
                rows = order[start : start + batch_size]
                n = len(rows)
                np.take(X_train, rows, axis=0, out=X[:n], mode="clip")  # mode="raise" would copy once more
                np.take(y_train, rows, out=y[:n], mode="clip")
                workspace = whole if n == batch_size else short
                data_loss, right = _step(params, X[:n], y[:n], learning_rate, config.reg, workspace)
                total_loss += n * data_loss
                total_right += right
            val_loss, val_accuracy = evaluate(params, X_val, y_val)
        return total_loss / N, val_loss, total_right / N, val_accuracy

    return train


def _step(
    params: Params, X: FloatArray, y: IntArray, learning_rate: float, reg: float, workspace: Workspace
) -> tuple[float, int]:
    """Update `params` in place; give the batch's cross-entropy before the step and the rows classified right."""
    learning_rate, reg = float(learning_rate), float(reg)  # a NumPy scalar would bring its own precision
    data_loss, right = data_loss_and_gradients(params, X, y, reg, workspace)
    for parameter, derivative in zip(params, workspace.gradient, strict=True):
        derivative *= learning_rate
        parameter -= derivative
    return data_loss, right
