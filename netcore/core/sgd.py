"""How the net learns: mini-batch stochastic gradient descent with a learning rate that decays by epoch.

`sgd_step` is one update on a batch that the caller chooses. `epochs` is the whole training as an iterator: each `next`
trains one epoch and returns its metrics; to stop early, do not ask for the next one. `reference` is the training in
NumPy. Trials use `netcore.training.step`, which does the same faster; tests compare the two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from netcore.core.net import IntArray, Workspace, data_loss_and_gradients, evaluate, penalty
from netcore.core.params import FloatArray, Params


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training."""

    learning_rate: float
    """Step size of the first epoch, > 0."""
    hidden_size: int
    """The number of hidden units H, >= 1; 0 is softmax regression."""
    reg: float
    """The factor of the penalty sum W1² + sum W2², >= 0."""
    learning_rate_decay: float
    """The factor of the learning rate from one epoch to the next, in (0, 1]."""
    epochs: int
    """Passes over the training set, >= 1."""
    batch_size: int
    """Rows per step, >= 1; the last batch of an epoch may be shorter."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The metrics of one epoch. Losses are cross-entropy in nats, without the penalty; accuracies are shares."""

    epoch: int
    """The number of the pass over the training set, counted from 1."""
    learning_rate: float
    """The step size of this epoch."""
    train_loss: float
    """Mean over the epoch's rows, each measured when it was trained on."""
    val_loss: float
    """On the validation set, after the epoch."""
    train_accuracy: float
    """Mean over the epoch's rows, each measured when it was trained on."""
    val_accuracy: float
    """On the validation set, after the epoch."""


TrainEpoch = Callable[[float, IntArray], tuple[float, float, float, float]]
"""Trains one epoch with this learning rate on the rows in this order; returns the last four metrics of `Epoch`."""
Step = Callable[[Params, FloatArray, IntArray, FloatArray, IntArray, TrainConfig], TrainEpoch]
"""Takes parameters, data and settings, and returns the function that trains one epoch, in place."""


def sgd_step(
    params: Params, X: FloatArray, y: IntArray, *, learning_rate: float, reg: float, workspace: Workspace | None = None
) -> float:
    """Update `params` in place by one step of gradient descent; return the loss L *before* the step.

    The batch is `X`, shape (N, D), and `y`, shape (N,), classes 0 … C-1. L is eq. 5, penalty included. A `workspace`
    for N or more rows avoids allocating buffers.

    Raises:
        ValueError: the workspace has fewer than N rows.
    """
    X = np.asarray(X, params.W1.dtype)
    if workspace is None:
        workspace = Workspace.for_rows(len(X), params)
    before = penalty(params, reg)
    data_loss, _ = _step(params, X, y, learning_rate, reg, workspace)
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
    """Train `params` in place, epoch by epoch; yield each epoch's metrics.

    `X_train` is (N, D), `y_train` is (N,), classes 0 … C-1; the validation set likewise. Every epoch uses a fresh
    permutation of the rows in batches of `config.batch_size`, and includes the last, shorter batch. The learning rate
    of epoch e is `learning_rate * learning_rate_decay ** (e - 1)`. A training that diverges yields metrics that are not
    finite, without a warning. `step` trains one epoch; the default is `reference`.
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
    """Return the function that trains `params` for one epoch, in NumPy: the reference for all other steps."""
    dtype, (N, D) = params.W1.dtype, X_train.shape
    batch_size = min(config.batch_size, N)
    X_train, X_val = np.asarray(X_train, dtype), np.asarray(X_val, dtype)
    X, y = np.empty((batch_size, D), dtype), np.empty(batch_size, y_train.dtype)
    workspace = Workspace.for_rows(batch_size, params)

    def train(learning_rate: float, order: IntArray) -> tuple[float, float, float, float]:
        total_loss, total_right = 0.0, 0
        # Within this function, because an errstate must not stay open across a yield of `epochs`.
        with np.errstate(all="ignore"):
            for start in range(0, N, batch_size):
                rows = order[start : start + batch_size]
                n = len(rows)
                np.take(X_train, rows, axis=0, out=X[:n], mode="clip")  # mode="raise" would make another copy
                np.take(y_train, rows, out=y[:n], mode="clip")
                data_loss, right = _step(params, X[:n], y[:n], learning_rate, config.reg, workspace)
                total_loss += n * data_loss
                total_right += right
            val_loss, val_accuracy = evaluate(params, X_val, y_val)
        return total_loss / N, val_loss, total_right / N, val_accuracy

    return train


def _step(
    params: Params, X: FloatArray, y: IntArray, learning_rate: float, reg: float, workspace: Workspace
) -> tuple[float, int]:
    """Update `params` in place; return the batch's cross-entropy before the step and the number of right rows.

    Each parameter loses `learning_rate` times the derivative of L by it (eq. 7, 8, 10, 11): gradient descent, without
    momentum.
    """
    learning_rate, reg = float(learning_rate), float(reg)  # a NumPy scalar would change the precision
    data_loss, right = data_loss_and_gradients(params, X, y, reg, workspace)
    for parameter, derivative in zip(params, workspace.gradient, strict=True):
        derivative *= learning_rate
        parameter -= derivative
    return data_loss, right
