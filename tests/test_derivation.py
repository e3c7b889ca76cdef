"""The claims of docs/derivation.md, one test for each: the derivation, and what is wrong in the two course notes.

S1 … S10 are the equations of the short note and L1 … L20 those of the long one, numbered as in that document.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netcore.core import (
    Params,
    init_params,
    loss,
    loss_and_gradients,
    numerical_gradient,
    predict,
    probabilities,
    relative_error,
    scores,
)
from netcore.core.net import IntArray
from netcore.core.params import FloatArray


def every_seed(test: Callable[[int], None]) -> Callable[[], None]:
    """Run a test for thirty seeds."""
    return settings(max_examples=30)(given(seed=st.integers(0, 2**32 - 1))(test))


class Case(NamedTuple):
    """A net, its data, and the intermediate values of its forward pass."""

    params: Params
    X: FloatArray
    y: IntArray
    reg: float
    z1: FloatArray
    p1: FloatArray
    p2: FloatArray
    onehot: FloatArray


def forward(params: Params, X: FloatArray, y: IntArray, reg: float) -> Case:
    """Run eq. 1-4 as they stand and keep what comes by."""
    z1 = X @ params.W1 + params.b1
    p1 = np.maximum(0, z1)
    p2 = softmax(p1 @ params.W2 + params.b2)
    return Case(params, X, y, reg, z1, p1, p2, np.eye(p2.shape[1])[y])


def draw(seed: int, *, rows: int = 5, biases: bool = True) -> Case:
    """Draw a case with D = 4, H = 6, C = 3; all four sizes differ, so that no transpose goes unnoticed.

    Rows with a unit nearer than 1e-3 to ReLU's kink, or with no active unit, are drawn again.
    """
    rng = np.random.default_rng(seed)
    params = init_params(rng, 4, 6, 3, dtype=np.float64)
    if biases:
        params = params._replace(b1=rng.normal(0, 0.5, 6), b2=rng.normal(0, 0.5, 3))
    X = np.empty((rows, 4))
    for row in X:
        row[:] = rng.standard_normal(4)
        while np.abs(z1 := row @ params.W1 + params.b1).min() < 1e-3 or z1.max() < 0:
            row[:] = rng.standard_normal(4)
    return forward(params, X, rng.integers(0, 3, rows), float(rng.uniform(0.01, 0.5)))


def softmax(z: FloatArray) -> FloatArray:
    """Return the softmax of each row, as it is written on paper."""
    exp: FloatArray = np.exp(z)
    return exp / exp.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def jacobian(p: FloatArray) -> FloatArray:
    """Return diag(p) - p pᵀ for one row of probabilities."""
    return np.diag(p) - np.outer(p, p)


def numerical_jacobian(f: Callable[[FloatArray], FloatArray], z: FloatArray) -> FloatArray:
    """Return the matrix of ∂f_k / ∂z_j by central differences: row k, column j."""
    rows = [numerical_gradient(lambda z, k=k: float(f(z)[k]), z) for k in range(len(f(z)))]  # type: ignore[misc]
    return np.array(rows)


def gradient_check(f: Callable[[], float], params: Params, gradient: Params) -> float:
    """Return the largest relative distance, in length, of a gradient from central differences, over the parameters."""
    distances = []
    for parameter, derivative in zip(params, gradient, strict=True):
        numeric = numerical_gradient(lambda _: f(), parameter)
        assert derivative.shape == parameter.shape
        length = float(np.linalg.norm(derivative) + np.linalg.norm(numeric))
        distances.append(float(np.linalg.norm(derivative - numeric)) / max(length, 1e-8))
    return max(distances)


# The derivation


@every_seed
def test_softmax_jacobian(seed: int) -> None:
    """∂p_k/∂z_j is diag(p) - p pᵀ, diagonal and off-diagonal, within 1e-9 of central differences."""
    z = np.random.default_rng(seed).normal(0, 2, 4)
    np.testing.assert_allclose(jacobian(softmax(z)), numerical_jacobian(softmax, z), rtol=0, atol=1e-9)


@every_seed
def test_softmax_jacobian_is_symmetric_and_sums_to_zero(seed: int) -> None:
    """Softmax's Jacobian equals its transpose, and each of its rows and columns sums to zero."""
    J = jacobian(softmax(np.random.default_rng(seed).normal(0, 2, 4)))
    assert np.array_equal(J, J.T)
    np.testing.assert_allclose(J.sum(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(J.sum(axis=1), 0, atol=1e-15)


@every_seed
def test_p_minus_onehot(seed: int) -> None:
    """For one sample the Jacobian times -e_y / p_y is p - e_y, and that is the gradient of -log p_y by the scores."""
    rng = np.random.default_rng(seed)
    z, y = rng.normal(0, 2, 4), int(rng.integers(4))
    p, e = softmax(z), np.eye(4)[y]
    np.testing.assert_allclose(jacobian(p).T @ (-e / p), p - e, atol=1e-14)
    np.testing.assert_allclose(numerical_gradient(lambda z: -float(np.log(softmax(z)[y])), z), p - e, atol=1e-8)


@every_seed
def test_log_probability_without_overflow(seed: int) -> None:
    """Log p_y = z_y - m - log Σ exp(z - m) with m the largest score: the form in which the code computes eq. 5."""
    z = np.random.default_rng(seed).normal(0, 20, 5)
    m = z.max()
    np.testing.assert_allclose(z - m - np.log(np.exp(z - m).sum()), np.log(softmax(z)), rtol=1e-10, atol=1e-12)


@every_seed
def test_loss_is_the_equation(seed: int) -> None:
    """The code's loss is eq. 5 as it stands: mean over the samples, plus reg times both sums of squares, without ½."""
    params, X, y, reg, _, _, p2, _ = draw(seed)
    data_loss = -sum(np.log(p2[i, y[i]]) for i in range(len(y))) / len(y)
    squares = sum(w * w for W in (params.W1, params.W2) for w in W.ravel().tolist())
    assert loss(params, X, y, reg) == pytest.approx(data_loss + reg * squares, rel=1e-12)


@every_seed
def test_chain_rule_with_every_jacobian_written_out(seed: int) -> None:
    """Multiplying out every Jacobian of the chain, the full softmax one included, gives the code's gradient."""
    params, X, y, reg, z1, p1, p2, onehot = draw(seed)
    I_H, I_C = np.eye(z1.shape[1]), np.eye(p2.shape[1])
    dL_dp2 = -onehot / p2 / len(y)
    dp2_dz2 = np.array([jacobian(p) for p in p2])  # [n, k, j]
    dL_dz2 = np.einsum("nk,nkj->nj", dL_dp2, dp2_dz2)
    dz2_dW2 = np.einsum("nh,jc->njhc", p1, I_C)
    dz2_dp1 = np.einsum("hj->jh", params.W2)
    dp1_dz1 = np.einsum("nh,hk->nhk", (z1 > 0).astype(float), I_H)
    dL_dz1 = np.einsum("nj,jh,nhk->nk", dL_dz2, dz2_dp1, dp1_dz1)
    dz1_dW1 = np.einsum("nd,kh->nkdh", X, I_H)
    expected = Params(
        W1=np.einsum("nk,nkdh->dh", dL_dz1, dz1_dW1) + 2 * reg * params.W1,
        b1=np.einsum("nk,kh->h", dL_dz1, I_H),
        W2=np.einsum("nj,njhc->hc", dL_dz2, dz2_dW2) + 2 * reg * params.W2,
        b2=np.einsum("nj,jc->c", dL_dz2, I_C),
    )
    for a, b in zip(loss_and_gradients(params, X, y, reg)[1], expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def equations_6_to_11(case: Case) -> Params:
    """Return the gradient by eq. 6-11, in the order of the document."""
    params, X, y, reg, z1, p1, p2, onehot = case
    dz2 = (p2 - onehot) / len(y)  # eq. 6
    dW2 = p1.T @ dz2 + 2 * reg * params.W2  # eq. 7
    db2 = dz2.sum(axis=0)  # eq. 8
    dz1 = (dz2 @ params.W2.T) * (z1 > 0)  # eq. 9
    dW1 = X.T @ dz1 + 2 * reg * params.W1  # eq. 10
    db1 = dz1.sum(axis=0)  # eq. 11
    return Params(dW1, db1, dW2, db2)


@every_seed
def test_equations_6_to_11_pass_the_check(seed: int) -> None:
    """Eq. 6-11 are within 1e-7 of central differences of the loss, and the code's gradient is theirs."""
    case = draw(seed)
    params, X, y, reg = case[:4]
    gradient = equations_6_to_11(case)
    assert gradient_check(lambda: loss(params, X, y, reg), params, gradient) < 1e-7
    for a, b in zip(loss_and_gradients(params, X, y, reg)[1], gradient, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@every_seed
def test_rows_of_dz2_sum_to_zero(seed: int) -> None:
    """Each row of dz2 sums to zero, and so does each row of the data's part of dW2, and db2."""
    case = draw(seed)
    _, gradient = loss_and_gradients(case.params, case.X, case.y, 0.0)
    np.testing.assert_allclose((case.p2 - case.onehot).sum(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(gradient.W2.sum(axis=1), 0, atol=1e-14)
    assert abs(gradient.b2.sum()) < 1e-14


@every_seed
def test_the_gradient_is_a_mean_over_the_samples(seed: int) -> None:
    """A batch's gradient is the mean of its samples' gradients, so giving every sample twice changes nothing."""
    params, X, y, reg = draw(seed)[:4]
    _, whole = loss_and_gradients(params, X, y, reg)
    each = [loss_and_gradients(params, X[i : i + 1], y[i : i + 1], reg)[1] for i in range(len(y))]
    _, twice = loss_and_gradients(params, np.tile(X, (2, 1)), np.tile(y, 2), reg)
    for a, b, *singles in zip(whole, twice, *each, strict=True):
        np.testing.assert_allclose(a, np.mean(singles, axis=0), rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@every_seed
def test_the_penalty_adds_two_reg_w(seed: int) -> None:
    """The gradient with the penalty less the gradient without it is 2 reg W: the 2 stays because there is no ½."""
    params, X, y, reg = draw(seed)[:4]
    _, gradient = loss_and_gradients(params, X, y, reg)
    _, of_data = loss_and_gradients(params, X, y, 0.0)
    for W, a, b in ((params.W1, gradient.W1, of_data.W1), (params.W2, gradient.W2, of_data.W2)):
        np.testing.assert_allclose(a - b, 2 * reg * W, atol=1e-13)
        numeric = numerical_gradient(lambda W: reg * float(np.sum(W**2)), W)
        np.testing.assert_allclose(2 * reg * W, numeric, atol=1e-8)


@every_seed
def test_biases_are_not_penalised(seed: int) -> None:
    """However large the biases, the penalty is that of the weights, and it adds nothing to the biases' gradient."""
    params, X, y, reg = draw(seed)[:4]
    params = params._replace(b1=params.b1 + 100, b2=params.b2 - 100)
    penalty = loss(params, X, y, reg) - loss(params, X, y, 0.0)
    assert penalty == pytest.approx(reg * (np.sum(params.W1**2) + np.sum(params.W2**2)), rel=1e-9)
    _, gradient = loss_and_gradients(params, X, y, reg)
    _, of_data = loss_and_gradients(params, X, y, 0.0)
    assert np.array_equal(gradient.b1, of_data.b1)
    assert np.array_equal(gradient.b2, of_data.b2)


# The short note


def test_short_note_transposed_bias_does_not_fit() -> None:
    """S1: (1 b1)ᵀ is (H, N) and cannot be added to X W1; where N = H it can, and adds the biases to the wrong axis."""
    params, X, *_ = draw(0)
    ones = np.ones((len(X), 1))
    with pytest.raises(ValueError, match="broadcast"):
        X @ params.W1 + (ones @ params.b1[np.newaxis]).T
    assert np.array_equal(X @ params.W1 + ones @ params.b1[np.newaxis], X @ params.W1 + params.b1)

    params, X, _, _, z1, *_ = draw(0, rows=6)  # N = H = 6
    transposed = X @ params.W1 + (np.ones((6, 1)) @ params.b1[np.newaxis]).T
    assert transposed.shape == z1.shape
    np.testing.assert_allclose(transposed - X @ params.W1, np.tile(params.b1, (6, 1)).T)
    assert relative_error(transposed, z1) > 0.1


@every_seed
def test_short_note_softmax_sums_to_c_not_to_the_last_class(seed: int) -> None:
    """S4: with the sum ending at the class asked for, the first class always has 1 and a row sums to more than 1."""
    z2 = np.random.default_rng(seed).normal(0, 2, (5, 3))
    as_printed = np.exp(z2) / np.cumsum(np.exp(z2), axis=1)
    assert np.array_equal(as_printed[:, 0], np.ones(5))
    assert (as_printed.sum(axis=1) > 1).all()
    np.testing.assert_allclose(as_printed[:, -1], softmax(z2)[:, -1], rtol=1e-12)  # the last class alone is right
    np.testing.assert_allclose(softmax(z2).sum(axis=1), 1, rtol=1e-12)  # and so is the note's second form, over axis 1


@every_seed
def test_short_note_loss_is_ours(seed: int) -> None:
    """S5: reading p2 for its p_i and W1 for its V1, the short note's loss is eq. 5."""
    params, X, y, reg, _, _, p2, _ = draw(seed)
    L2 = [reg * np.sum(W**2) for W in (params.W1, params.W2)]
    assert -np.log(p2[np.arange(len(y)), y]).sum() / len(y) + sum(L2) == pytest.approx(loss(params, X, y, reg))


@every_seed
def test_short_note_bias_gradients_are_right_once_averaged(seed: int) -> None:
    """S6, S8: p2 - onehot is one row for each sample, not the shape of b2; averaged over N it is db2, and so for b1."""
    params, X, y, reg, z1, _, p2, onehot = draw(seed)
    _, gradient = loss_and_gradients(params, X, y, reg)
    S6 = p2 - onehot
    assert S6.shape != params.b2.shape
    np.testing.assert_allclose(S6.mean(axis=0), gradient.b2, atol=1e-14)
    np.testing.assert_allclose(((S6 @ params.W2.T) * (z1 > 0)).mean(axis=0), gradient.b1, atol=1e-14)


def test_short_note_w2_gradient_needs_dz2() -> None:
    """S7: p1ᵀ times ∂L/∂z1, as printed, is (H, H); times ∂L/∂z2 it is (H, C), the shape of W2."""
    params, _, _, _, z1, p1, p2, onehot = draw(0)
    dz2 = p2 - onehot
    dz1 = (dz2 @ params.W2.T) * (z1 > 0)
    assert (p1.T @ dz1).shape == (6, 6)
    assert (p1.T @ dz2).shape == params.W2.shape == (6, 3)


def test_short_note_columns_stand_side_by_side() -> None:
    """S7: the gradients by the columns of W2 side by side are p1ᵀ dz2; the transpose around them makes it (C, H)."""
    _, _, _, _, _, p1, p2, onehot = draw(0)
    dz2 = p2 - onehot
    columns = [p1.T @ dz2[:, c] for c in range(3)]
    np.testing.assert_allclose(np.stack(columns, axis=1), p1.T @ dz2, atol=1e-14)
    assert np.stack(columns, axis=1).T.shape == (3, 6)


@every_seed
def test_short_note_weight_gradients_lack_the_mean_and_the_penalty(seed: int) -> None:
    """S7, S10: with the shapes mended they are N times the gradient without 2 reg W, and fail the check."""
    params, X, y, reg, z1, p1, p2, onehot = draw(seed)
    _, gradient = loss_and_gradients(params, X, y, reg)
    dz2 = p2 - onehot
    S7 = p1.T @ dz2
    S10 = X.T @ ((dz2 @ params.W2.T) * (z1 > 0))
    np.testing.assert_allclose(S7, len(y) * (gradient.W2 - 2 * reg * params.W2), atol=1e-12)
    np.testing.assert_allclose(S10, len(y) * (gradient.W1 - 2 * reg * params.W1), atol=1e-12)
    printed = gradient._replace(W1=S10, W2=S7)
    assert gradient_check(lambda: loss(params, X, y, reg), params, printed) > 1e-2


def test_short_note_relu_mask_is_that_of_z1() -> None:
    """S9: a mask from z2ᵀ is (C, N) and does not fit; ∂L/∂z1 times W2ᵀ does not multiply either; eq. 9 does both."""
    params, X, y, reg, z1, _, p2, onehot = draw(0)
    dz2 = (p2 - onehot) / len(y)
    with pytest.raises(ValueError, match="broadcast"):
        (dz2 @ params.W2.T) * (scores(params, X).T > 0)
    with pytest.raises(ValueError, match="mismatch"):
        ((dz2 @ params.W2.T) * (z1 > 0)) @ params.W2.T
    dz1 = (dz2 @ params.W2.T) * (z1 > 0)
    np.testing.assert_allclose(dz1.sum(axis=0), loss_and_gradients(params, X, y, reg)[1].b1, atol=1e-14)


def test_short_note_transposed_db1_does_not_fit() -> None:
    """S10: Xᵀ is (D, N), and the transpose of an (N, H) array is (H, N): the product needs it untransposed."""
    _, X, *_, z1, _, _, _ = draw(0)
    with pytest.raises(ValueError, match="mismatch"):
        X.T @ z1.T
    assert (X.T @ z1).shape == (4, 6)


# The long note


def long_note_loss(p2: FloatArray) -> float:
    """Return L1, L6: the sum of the softmax outputs, over the samples too."""
    return float(p2.sum())


def long_note_q(p2: FloatArray) -> FloatArray:
    """Return L9: p (1 - p), which the note takes for the gradient by the scores."""
    return p2 * (1 - p2)


def long_note_gradients(case: Case, dz2: FloatArray | None = None) -> Params:
    """Return L11 and L19 (with ReLU's mask), summed over the samples; a `dz2` takes the place of p (1 - p).

    The note has no biases; their gradient is put down as zero.
    """
    q = long_note_q(case.p2) if dz2 is None else dz2
    dW1 = case.X.T @ ((q @ case.params.W2.T) * (case.z1 > 0))
    return Params(dW1, np.zeros_like(case.params.b1), case.p1.T @ q, np.zeros_like(case.params.b2))


@every_seed
def test_long_note_loss_is_constant(seed: int) -> None:
    """L1, L6: the sum of the softmax outputs is 1 for each sample, whatever the parameters; N for the batch."""
    case = draw(seed)
    np.testing.assert_allclose(case.p2.sum(axis=1), 1, rtol=1e-14)
    for factor in (0, -3, 10):
        p2 = probabilities(Params(*(factor * array for array in case.params)), case.X)
        assert long_note_loss(p2) == pytest.approx(5, rel=1e-14)


@every_seed
def test_long_note_loss_has_gradient_zero(seed: int) -> None:
    """L1, L6: central differences of the long note's loss are zero by every parameter, within 1e-9, as is Jᵀ 1."""
    case = draw(seed)
    for parameter in case.params:
        numeric = numerical_gradient(lambda _: long_note_loss(probabilities(case.params, case.X)), parameter)
        np.testing.assert_allclose(numeric, 0, atol=1e-9)
    for p in case.p2:
        np.testing.assert_allclose(jacobian(p).T @ np.ones(3), 0, atol=1e-15)


@every_seed
def test_long_note_knows_no_labels(seed: int) -> None:
    """L1-L20 never mention y; the gradient of the cross-entropy changes with y, so no formula without y can be it."""
    case = draw(seed)
    params, X, y, reg = case[:4]
    _, gradient = loss_and_gradients(params, X, y, reg)
    _, other = loss_and_gradients(params, X, (y + 1) % 3, reg)
    assert relative_error(gradient.W2, other.W2) > 1e-3
    relabelled = forward(params, X, (y + 1) % 3, reg)
    assert np.array_equal(long_note_gradients(case).W2, long_note_gradients(relabelled).W2)


@every_seed
def test_long_note_derivative_by_the_probabilities(seed: int) -> None:
    """L8: 1 is right for the sum of the outputs; for -log p_y it is -1 / p_y at y and 0 elsewhere."""
    rng = np.random.default_rng(seed)
    p, y = rng.uniform(0.1, 1, 3), int(rng.integers(3))
    np.testing.assert_allclose(numerical_gradient(lambda p: float(p.sum()), p), 1, atol=1e-9)
    np.testing.assert_allclose(numerical_gradient(lambda p: -float(np.log(p[y])), p), -np.eye(3)[y] / p, atol=1e-6)


@every_seed
def test_long_note_has_the_diagonal_only(seed: int) -> None:
    """L9: p (1 - p) is the diagonal of softmax's Jacobian; the entries beside it are -p_k p_j, and none is zero."""
    z = np.random.default_rng(seed).normal(0, 1, 3)
    J, p = numerical_jacobian(softmax, z), softmax(z)
    np.testing.assert_allclose(np.diag(J), long_note_q(p), atol=1e-9)
    for k, j in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        assert J[k, j] == pytest.approx(-p[k] * p[j], abs=1e-9)
        assert J[k, j] < 0


@every_seed
def test_long_note_off_diagonal_terms_cancel_the_diagonal(seed: int) -> None:
    """L7, L11: summed over all paths from a score to the loss, what was left out is exactly -p_j (1 - p_j)."""
    p = softmax(np.random.default_rng(seed).normal(0, 2, 3))
    for j in range(3):
        left_out = sum(-p[k] * p[j] for k in range(3) if k != j)
        assert left_out == pytest.approx(-p[j] * (1 - p[j]), rel=1e-12)


@every_seed
def test_long_note_gradient_is_not_that_of_its_own_loss(seed: int) -> None:
    """L11, L19: the formula is far from zero, which is what the gradient of the loss it names is."""
    case = draw(seed, biases=False)
    formula = long_note_gradients(case)
    assert np.linalg.norm(formula.W2) > 1e-3
    distance = gradient_check(lambda: long_note_loss(probabilities(case.params, case.X)), case.params, formula)
    assert distance > 0.99


@every_seed
def test_long_note_gradient_is_not_that_of_the_cross_entropy(seed: int) -> None:
    """L11, L19: nor is it the cross-entropy's, nor any multiple of it, summed over the samples or averaged.

    Every row of the cross-entropy's dW2 sums to zero over the classes. The formula's rows never do where a unit is
    active: its entries are all positive there.
    """
    case = draw(seed, biases=False)
    params, X, y = case[:3]
    formula, (_, gradient) = long_note_gradients(case), loss_and_gradients(params, X, y, 0.0)
    active = (case.z1 > 0).any(axis=0)
    assert (formula.W2[active] > 0).all()
    assert (formula.W2[active].sum(axis=1) > 1e3 * np.abs(gradient.W2[active].sum(axis=1))).all()
    for multiple in (1, len(y)):
        assert np.linalg.norm(formula.W2 - multiple * gradient.W2) > 0.01 * np.linalg.norm(formula.W2)


@every_seed
def test_long_note_gradient_is_the_gradient_of_nothing(seed: int) -> None:
    """L9: no function of the scores has p (1 - p) as its gradient: its matrix of derivatives is not symmetric.

    The entry in row k and column j is -(1 - 2 p_k) p_k p_j. That of p - onehot is softmax's Jacobian, and symmetric.
    """
    z = np.random.default_rng(seed).normal(0, 1, 3)
    p = softmax(z)
    second = numerical_jacobian(lambda z: long_note_q(softmax(z)), z)
    for k, j in ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)):
        assert second[k, j] == pytest.approx(-(1 - 2 * p[k]) * p[k] * p[j], abs=1e-9)
        assert second[k, j] - second[j, k] == pytest.approx(2 * (p[k] - p[j]) * p[k] * p[j], abs=1e-9)
    right = numerical_jacobian(lambda z: softmax(z) - np.eye(3)[0], z)
    np.testing.assert_allclose(right, right.T, atol=1e-9)


@every_seed
def test_long_note_rows_of_q_do_not_sum_to_zero(seed: int) -> None:
    """L9: p (1 - p) sums to 1 - Σ p² > 0, but the gradient of any function of the probabilities sums to zero."""
    rng = np.random.default_rng(seed)
    z, A = rng.normal(0, 1, 3), rng.normal(0, 1, (3, 3))
    p = softmax(z)
    assert long_note_q(p).sum() == pytest.approx(1 - np.sum(p**2), rel=1e-12)
    assert long_note_q(p).sum() > 0

    def some_function(z: FloatArray) -> float:
        p = softmax(z)
        return float(np.sin(p) @ A @ p)

    assert abs(numerical_gradient(some_function, z).sum()) < 1e-9


def test_long_note_outer_product_has_the_right_shape() -> None:
    """L11: entry by entry, h_j q_k is the outer product of hᵀ and q; for N samples p1ᵀ q, the form of eq. 7."""
    case = draw(0, rows=1, biases=False)
    h, q = case.p1[0], long_note_q(case.p2)[0]
    entries = np.array([[h[j] * q[k] for k in range(3)] for j in range(6)])
    assert entries.shape == case.params.W2.shape
    assert np.array_equal(entries, np.outer(h, q))
    np.testing.assert_allclose(case.p1.T @ long_note_q(case.p2), entries, rtol=1e-14)


@every_seed
def test_long_note_inverted_derivative_does_not_exist(seed: int) -> None:
    """L16: ∂o_in/∂o_out cannot be had: softmax's Jacobian has rank C - 1, since a common shift moves no output.

    Read as a number, ∂o_in_k/∂o_out_k would be 1 / (p (1 - p)), at least 4, where the note puts p (1 - p), at most 1/4.
    """
    z = np.random.default_rng(seed).normal(0, 1, 3)
    J = jacobian(softmax(z))
    np.testing.assert_allclose(J @ np.ones(3), 0, atol=1e-15)
    assert np.linalg.matrix_rank(J) == 2
    np.testing.assert_allclose(softmax(z + 7), softmax(z), rtol=1e-12)
    assert (1 / np.diag(J) >= 4).all()
    assert (long_note_q(softmax(z)) <= 1 / 4).all()


@every_seed
def test_long_note_each_output_hears_every_score(seed: int) -> None:
    """L16: ∂L_k/∂h_out is Σ_j w_j p_k (δ_kj - p_j), over all scores j; the note keeps the term j = k."""
    case = draw(seed, rows=1, biases=False)
    W2, p, h = case.params.W2, case.p2[0], case.p1[0].copy()
    numeric = numerical_jacobian(lambda h: softmax(h @ W2), h)  # [k, unit]
    np.testing.assert_allclose(jacobian(p) @ W2.T, numeric, atol=1e-8)
    as_printed = (W2 * long_note_q(p)).T
    assert np.linalg.norm(as_printed - numeric) > 1e-3 * np.linalg.norm(as_printed)
    np.testing.assert_allclose(numeric.sum(axis=0), 0, atol=1e-8)  # L15: added over k, the true ones cancel


def test_long_note_w1_entries_of_another_unit() -> None:
    """L18: its first formula for w1_12 is that of w1_11, and its condition for w1_1,10 is that of unit 2.

    The two formulas given for w1_12 disagree; the second, with the second unit's row of W2 and its own h_in, is L19.
    """
    for seed in range(50):
        case = draw(seed, rows=1, biases=False)
        if case.z1[0, 0] > 0 and case.z1[0, 1] > 0 > case.z1[0, -1]:
            break
    x, z1, W2, q = case.X[0], case.z1[0], case.params.W2, long_note_q(case.p2)[0]
    L19 = long_note_gradients(case).W1
    first, second = (x[0] * (W2[unit] @ q) * (z1[unit] > 0) for unit in (0, 1))
    assert first == pytest.approx(L19[0, 0], rel=1e-12)
    assert first != pytest.approx(L19[0, 1], rel=1e-2)
    assert second == pytest.approx(L19[0, 1], rel=1e-12)
    last_if_the_second_is_active = x[0] * (W2[-1] @ q) * (z1[1] > 0)
    assert last_if_the_second_is_active != 0
    assert L19[0, -1] == 0


def test_long_note_matrix_form_loses_the_mask() -> None:
    """L20: xᵀ (q W2ᵀ) has the right shape and no ReLU in it: columns of sleeping units are zero in L19 only."""
    case = draw(0, rows=1, biases=False)
    L20 = np.outer(case.X[0], long_note_q(case.p2)[0] @ case.params.W2.T)
    L19, asleep = long_note_gradients(case).W1, case.z1[0] <= 0
    assert L20.shape == L19.shape == case.params.W1.shape
    assert 0 < asleep.sum() < 6
    assert not L19[:, asleep].any()
    assert L20[:, asleep].all()
    np.testing.assert_allclose(L20[:, ~asleep], L19[:, ~asleep], rtol=1e-12)


@every_seed
def test_long_note_is_mended_by_one_exchange(seed: int) -> None:
    """Put (p2 - onehot) / N where p (1 - p) stood in L11 and L19, and both pass the check for the weights."""
    case = draw(seed, biases=False)
    params, X, y = case[:3]
    mended = long_note_gradients(case, (case.p2 - case.onehot) / len(y))
    for W, derivative in ((params.W1, mended.W1), (params.W2, mended.W2)):
        numeric = numerical_gradient(lambda _: loss(params, X, y, 0.0), W)
        np.testing.assert_allclose(derivative, numeric, atol=1e-8)


@every_seed
def test_long_note_step_lowers_every_score(seed: int) -> None:
    """A step of W2 against the formula lowers every score of every sample, true class or not: q > 0 and h >= 0."""
    case = draw(seed, biases=False)
    before = scores(case.params, case.X)
    stepped = case.params._replace(W2=case.params.W2 - 0.1 * long_note_gradients(case).W2)
    assert (scores(stepped, case.X) < before).all()


def test_long_note_does_not_train() -> None:
    """On the toy data the loss rises from 1.27 to 22.0 by the formula, and falls to 0.0016 by eq. 6-11.

    That is after 100 steps of 0.1. All the while the loss that the formula is meant to lower stands at N.
    """
    X, y = 10 * np.random.RandomState(1).standard_normal((5, 4)), np.array([0, 1, 2, 2, 1])

    def trained(gradient: Callable[[Case], Params]) -> Params:
        params = init_params(np.random.RandomState(0), 4, 10, 3, std=0.1, dtype=np.float64)
        assert loss(params, X, y, 0.0) == pytest.approx(1.27, abs=0.005)
        for _ in range(100):
            case = forward(params, X, y, 0.0)
            assert long_note_loss(case.p2) == pytest.approx(5)
            step = gradient(case)
            params = params._replace(W1=params.W1 - 0.1 * step.W1, W2=params.W2 - 0.1 * step.W2)
        return params

    right = trained(lambda case: long_note_gradients(case, (case.p2 - case.onehot) / 5))
    wrong = trained(lambda case: long_note_gradients(case, long_note_q(case.p2) / 5))
    assert loss(right, X, y, 0.0) == pytest.approx(0.0016, abs=5e-5)
    assert predict(right, X).tolist() == y.tolist()
    assert loss(wrong, X, y, 0.0) == pytest.approx(22.0, abs=0.05)
    assert (predict(wrong, X) == y).sum() == 1
    assert scores(wrong, X).max() < scores(right, X).min()


# The document


def test_every_claim_names_a_test() -> None:
    """Every test named in docs/derivation.md stands in this file, and every test of this file is named there."""
    text = (Path(__file__).parents[1] / "docs" / "derivation.md").read_text(encoding="utf-8")
    own = {name for name in globals() if name.startswith("test_")}
    assert own == set(re.findall(r"::(test_\w+)", text)) - {"test_name"}
