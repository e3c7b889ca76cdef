"""The net's equations: input - fully connected - ReLU - fully connected - softmax, and the gradient of its loss.

    z1 = X W1 + b1                                       (eq. 1)    (N, H)
    p1 = max(0, z1)                                      (eq. 2)    (N, H)
    z2 = p1 W2 + b2                                      (eq. 3)    (N, C)   the scores
    p2 = exp(z2) / sum_c exp(z2)                         (eq. 4)    (N, C)   the probabilities
    L  = -1/N sum_i log p2[i, y_i] + reg (sum W1² + sum W2²)        (eq. 5)

    dz2 = (p2 - onehot(y)) / N                           (eq. 6)    (N, C)
    dW2 = p1ᵀ dz2 + 2 reg W2                             (eq. 7)    (H, C)
    db2 = sum_i dz2                                      (eq. 8)    (C,)
    dz1 = (dz2 W2ᵀ) ∘ [z1 > 0]                           (eq. 9)    (N, H)
    dW1 = Xᵀ dz1 + 2 reg W1                              (eq. 10)   (D, H)
    db1 = sum_i dz1                                      (eq. 11)   (H,)

The loss is a mean over the samples, in nats. The penalty has no 1/2 and excludes the biases.

Source: two course notes on Stanford's CS231n, assignment 1. Names and eq. 1-5 are those of the short note (S1-S5 in
docs/derivation.md); eq. 6-11 correct its gradients (S6-S10), which lack the mean over N and the penalty. The longer
note's loss, the sum of the softmax outputs (L1), is always 1 and is not used. docs/derivation.md derives every step.

A net without hidden units (H = 0, `W2` of shape (D, C)) is softmax regression: eq. 3 uses X instead of p1, and eq. 1, 2
and 9-11 do not apply.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netcore.core.params import FloatArray, Params

IntArray = NDArray[np.integer[Any]]

_CHUNK = 4096
"""The number of rows that are evaluated at once."""


def scores(params: Params, X: ArrayLike) -> FloatArray:
    """Return the scores z2 (eq. 1-3), shape (N, C), of inputs `X`, shape (N, D), in the type of the parameters.

    Raises:
        ValueError: `X` has another number of columns than `W1` has rows.
    """
    X = np.asarray(X, params.W1.dtype)
    p1 = np.maximum(0, X @ params.W1 + params.b1) if params.hidden_size else X  # eq. 1, 2
    return p1 @ params.W2 + params.b2  # eq. 3


def probabilities(params: Params, X: ArrayLike) -> FloatArray:
    """Return the probability of each class (eq. 4), shape (N, C), for `X`, shape (N, D); each row sums to 1.

    Subtracting a row's largest score first changes nothing in eq. 4, and no exponential overflows.
    """
    p2 = scores(params, X)
    p2 -= p2.max(axis=1, keepdims=True)
    np.exp(p2, out=p2)
    p2 /= p2.sum(axis=1, keepdims=True)
    return p2


def predict(params: Params, X: ArrayLike) -> IntArray:
    """Return the most probable class of each row of `X`, shape (N,); the lowest number wins a tie."""
    classes: IntArray = np.argmax(scores(params, X), axis=1)
    return classes


def loss(params: Params, X: ArrayLike, y: IntArray, reg: float) -> float:
    """Return the loss L (eq. 5), penalty included. `X` is (N, D); `y` is (N,), classes 0 … C-1 (not checked)."""
    return evaluate(params, X, y)[0] + penalty(params, reg)


def loss_and_gradients(params: Params, X: ArrayLike, y: IntArray, reg: float) -> tuple[float, Params]:
    """Return the loss L (eq. 5) and its gradient by every parameter (eq. 6-11), in the type of the parameters.

    `X` is (N, D); `y` is (N,), classes 0 … C-1 (not checked).
    """
    X = np.asarray(X, params.W1.dtype)
    workspace = Workspace.for_rows(len(X), params)
    data_loss, _ = data_loss_and_gradients(params, X, y, reg, workspace)
    return data_loss + penalty(params, reg), workspace.gradient


def penalty(params: Params, reg: float) -> float:
    """Return the second term of eq. 5: reg (sum W1² + sum W2²), without a 1/2 and without the biases."""
    return reg * float(np.vdot(params.W1, params.W1) + np.vdot(params.W2, params.W2))


def evaluate(params: Params, X: ArrayLike, y: IntArray) -> tuple[float, float]:
    """Return the cross-entropy (the first term of eq. 5, in nats) and the accuracy, a share from 0 to 1.

    `X` is (N, D), `y` is (N,). Rows are evaluated in chunks, so memory holds the activations of one chunk only.
    """
    X = np.asarray(X)
    total, right = 0.0, 0
    for start in range(0, len(X), _CHUNK):
        z2 = scores(params, X[start : start + _CHUNK])
        data_loss, right_here, _ = _cross_entropy(z2, y[start : start + _CHUNK], np.arange(len(z2)))
        total += len(z2) * data_loss
        right += right_here
    return total / len(X), right / len(X)


def _cross_entropy(z2: FloatArray, y: IntArray, rows: NDArray[np.intp]) -> tuple[float, int, FloatArray]:
    """Replace the scores `z2`, shape (N, C), by exp(z2 - max z2); return the loss, the right rows, and the row sums.

    The loss is the first term of eq. 5. A row is right if its largest score is that of its true class. The sums have
    shape (N, 1); dividing by them gives the probabilities (eq. 4). `rows` is 0 … N-1.

    After subtracting the row's largest score, no exponential overflows and one is 1, so the logarithm of the sum is
    finite too: log p2[i, y_i] = z2[i, y_i] - log sum_c exp z2[i, c] holds for scores of any size.
    """
    right = int(np.count_nonzero(z2.argmax(axis=1) == y))
    z2 -= z2.max(axis=1, keepdims=True)
    true = z2[rows, y]
    np.exp(z2, out=z2)
    sums = z2.sum(axis=1, keepdims=True)
    return float(np.mean(np.log(sums[:, 0]) - true)), right, sums


class Workspace(NamedTuple):
    """The buffers of a training step over at most N rows: allocated once per training, overwritten at each step."""

    rows: NDArray[np.intp]
    """The numbers 0 … N-1, shape (N,): with `y`, the indices of the true classes."""
    p1: FloatArray
    """Hidden activations, shape (N, H)."""
    p2: FloatArray
    """Scores, then probabilities, then dz2, shape (N, C)."""
    dz1: FloatArray
    """Gradient by z1, shape (N, H)."""
    active: NDArray[np.bool_]
    """Whether z1 > 0, shape (N, H)."""
    gradient: Params
    """The gradient by the parameters."""
    scratch: Params
    """Space for products with the parameters' shapes."""

    @classmethod
    def for_rows(cls, rows: int, params: Params) -> "Workspace":
        """Return buffers for batches of at most `rows` rows."""
        (_, H), (_, C), dtype = params.W1.shape, params.W2.shape, params.W1.dtype
        return cls(
            rows=np.arange(rows),
            p1=np.empty((rows, H), dtype),
            p2=np.empty((rows, C), dtype),
            dz1=np.empty((rows, H), dtype),
            active=np.empty((rows, H), np.bool_),
            gradient=Params(*map(np.empty_like, params)),
            scratch=Params(*map(np.empty_like, params)),
        )


def data_loss_and_gradients(
    params: Params, X: FloatArray, y: IntArray, reg: float, workspace: Workspace
) -> tuple[float, int]:
    """Write the gradient of L (eq. 6-11) to `workspace.gradient`; return the cross-entropy and the right rows' number.

    The returned loss is eq. 5 *without* the penalty; the gradient is *with* it. `X` is (N, D) in the type of the
    parameters, `y` is (N,). Only a few arrays of shape (N,) are allocated.

    Raises:
        ValueError: the workspace has fewer than N rows.
    """
    N = len(X)
    rows, active = workspace.rows[:N], workspace.active[:N]
    p1, p2, dz1 = workspace.p1[:N], workspace.p2[:N], workspace.dz1[:N]
    gradient, scratch = workspace.gradient, workspace.scratch

    if params.hidden_size:
        np.matmul(X, params.W1, out=p1)  # eq. 1
        p1 += params.b1
        np.maximum(p1, 0, out=p1)  # eq. 2
    else:
        p1 = X
    np.matmul(p1, params.W2, out=p2)  # eq. 3
    p2 += params.b2

    data_loss, right, sums = _cross_entropy(p2, y, rows)  # eq. 5
    p2 /= sums  # eq. 4
    dz2 = p2  # eq. 6, in place: the probabilities are not needed again
    dz2[rows, y] -= 1
    dz2 /= N
    np.matmul(p1.T, dz2, out=gradient.W2)  # eq. 7
    np.add.reduce(dz2, axis=0, out=gradient.b2)  # eq. 8
    if params.hidden_size:
        np.matmul(dz2, params.W2.T, out=dz1)  # eq. 9; [z1 > 0] = [p1 > 0]
        np.greater(p1, 0, out=active)
        dz1 *= active
        np.matmul(X.T, dz1, out=gradient.W1)  # eq. 10
        np.add.reduce(dz1, axis=0, out=gradient.b1)  # eq. 11
    for weights, derivative, product in ((params.W1, gradient.W1, scratch.W1), (params.W2, gradient.W2, scratch.W2)):
        np.multiply(weights, 2 * reg, out=product)
        derivative += product
    return data_loss, right
