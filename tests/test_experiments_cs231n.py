"""Claims about experiments/cs231n.py: it agrees with the course's numbers, split and loop, and sees what does not."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cs231n
import numpy as np
import pytest
from formats import CIFAR_FILES, pixels, write_cifar
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from netcore.core import Params, loss_and_gradients

REAL = Path(os.environ.get("NETCORE_DATA", "nowhere"))  # before the fixtures clear it
Floats = NDArray[np.float64]
Step = tuple[float, tuple[float, float] | None]
"""The loss of a step and, once an epoch, the accuracy on the batch and on the validation rows."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the plain training to one thread, too: on a busy machine more are slower."""
    with threadpool_limits(1):
        yield


# What agrees


def test_every_toy_number_agrees_with_the_published_one(capsys: pytest.CaptureFixture[str]) -> None:
    """15 scores, two losses and four gradients agree, and exit code 0 says so."""
    assert cs231n.main(["--toy"]) == 0
    printed = capsys.readouterr().out
    assert (printed.count("  agrees"), printed.count("DISAGREES")) == (18, 0)
    for number in ("-0.81233741", "-0.15226949", "1.30378789133", "0.017149607938732"):
        assert printed.count(number) == 2  # published and reproduced


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("TOY_LOSS", "1.30378789134"),
        ("loss_and_gradients", lambda params, X, y, reg: loss_and_gradients(params, X, y, reg / 2)),
    ],
)
def test_a_difference_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, wrong: object
) -> None:
    """One unit in the last published digit, or a gradient with half the penalty, disagrees; the exit code is 1."""
    monkeypatch.setattr(cs231n, name, wrong)
    assert cs231n.main(["--toy"]) == 1
    assert capsys.readouterr().out.count("DISAGREES") == 1


def test_published_digits_decide_what_agrees() -> None:
    """A number agrees if rounding to the published digits explains its difference."""
    agreeing = [("0.287", 0.287), ("2.302954", 2.3029544), ("0.017149607938732", 0.017149607938732 + 1e-13)]
    assert all(cs231n.Check("", *pair).agrees for pair in agreeing)
    disagreeing = [("0.287", 0.288), ("0.287", 0.286), ("2.302954", 2.302955), ("0.287", np.nan)]
    assert not any(cs231n.Check("", *pair).agrees for pair in disagreeing)


@pytest.mark.skipif(not (REAL / "cifar-10-batches-py").is_dir(), reason="NETCORE_DATA has no cifar-10-batches-py")
def test_cifar_10_agrees_with_the_course(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On the official files, the ten published losses and the validation accuracy agree as well."""
    monkeypatch.setenv("NETCORE_DATA", str(REAL))
    assert cs231n.main(["--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "49,000 rows to train on, 1,000 to validate with; 1,000 steps" in printed
    assert (printed.count("  agrees"), printed.count("DISAGREES")) == (29, 0)


# Split and loop


def test_the_split_is_by_order_and_the_mean_is_of_training_rows_alone(tmp_path: Path) -> None:
    """The files follow one another; the last tenth validates; the mean of the other rows is subtracted from all."""
    cifar = cs231n.load(write_cifar(tmp_path, rows=12))
    raw = np.concatenate([pixels(12, 3072, seed=seed) for seed in range(6)]).reshape(-1, 3, 32, 32)
    X = np.moveaxis(raw, 1, 3).reshape(-1, 3072).astype(np.float64)
    mean = X[:54].mean(axis=0)
    for rows, part in ((cifar.train, slice(54)), (cifar.val, slice(54, 60)), (cifar.test, slice(60, 72))):
        assert np.array_equal(rows.inputs(), X[part] - mean)
        assert rows.inputs().dtype == np.float64
        assert len(rows.y) == len(X[part])


def course_training(
    weights: list[Floats], data: tuple[Any, ...], random: np.random.RandomState, *, steps: int, rate: float, reg: float
) -> Iterator[Step]:
    """Train in plain NumPy, as the exercise describes it."""
    W1, b1, W2, b2 = weights
    X_all, y_all, X_val, y_val = data

    def predict(X: Floats) -> NDArray[np.intp]:
        best: NDArray[np.intp] = np.argmax(np.maximum(0, X.dot(W1) + b1).dot(W2) + b2, axis=1)
        return best

    for it in range(steps):
        indices = random.choice(X_all.shape[0], 200, replace=True)
        X, y = X_all[indices], y_all[indices]
        hidden = np.maximum(0, X.dot(W1) + b1)
        exps = np.exp(hidden.dot(W2) + b2)
        probs = exps / exps.sum(axis=1, keepdims=True)
        value = -np.log(probs[range(200), y]).sum() / 200 + reg * ((W1 * W1).sum() + (W2 * W2).sum())
        d = (probs - np.eye(W2.shape[1])[y]) / 200
        dhidden = d.dot(W2.T) * (hidden > 0)
        W2 -= rate * (hidden.T.dot(d) + 2 * reg * W2)
        b2 -= rate * d.sum(axis=0)
        W1 -= rate * (X.T.dot(dhidden) + 2 * reg * W1)
        b1 -= rate * dhidden.sum(axis=0)
        seen = None
        if it % max(X_all.shape[0] / 200, 1) == 0:
            seen = float((predict(X) == y).mean()), float((predict(X_val) == y_val).mean())
            rate *= 0.95
        yield float(value), seen


def new_weights(rng: np.random.RandomState, D: int, H: int, C: int, std: float) -> list[Floats]:
    """Draw a net as the course's constructor does."""
    return [std * rng.randn(D, H), np.zeros(H), std * rng.randn(H, C), np.zeros(C)]


def notebook(
    data: tuple[Any, ...], steps: int, reseed: Callable[[np.random.RandomState], object] = lambda _: None
) -> tuple[list[Floats], list[Step]]:
    """Follow the notebook's cells in order; one RandomState replaces `np.random` and is seeded where that is."""
    random = np.random.RandomState(1)  # init_toy_data()
    X, y = 10 * random.randn(5, 4), np.array([0, 1, 2, 2, 1])
    random.seed(0)  # net = init_toy_model(), before the toy training
    toy = new_weights(random, 4, 10, 3, 1e-1)
    *_, (last, _) = course_training(toy, (X, y, X, y), random, steps=100, rate=1e-1, reg=5e-6)
    assert abs(last - 0.017149607938732) < 1e-12
    reseed(random)
    weights = new_weights(random, 3072, 50, 10, 1e-4)
    return weights, list(course_training(weights, data, random, steps=steps, rate=1e-4, reg=0.25))


def ours(cifar: cs231n.Cifar, steps: int) -> tuple[Params, cs231n.History]:
    """Follow the script's own order."""
    rng = np.random.RandomState(0)
    cs231n.train_toy_net(cs231n.toy_net(rng), rng)
    params = cs231n.cifar_net(rng)
    return params, cs231n.train_cifar_net(params, cifar, rng, steps)


def noise(rows: int) -> tuple[cs231n.Cifar, tuple[Any, ...]]:
    """Draw noise to train on, and return it in the plain form, too."""
    X, y = pixels(rows + 20, 3072).astype(np.float64), np.random.default_rng(0).integers(0, 10, rows + 20)
    mean = X[:rows].mean(axis=0)
    train, val = cs231n.Rows(X[:rows], y[:rows], mean), cs231n.Rows(X[rows:], y[rows:], mean)
    return cs231n.Cifar(train, val, val), (X[:rows] - mean, y[:rows], X[rows:] - mean, y[rows:])


@pytest.mark.parametrize("rows", [60, 500, 600])
def test_the_loop_and_its_random_numbers_are_the_notebook_s(rows: int) -> None:
    """The script trains as a plain reading of the notebook does, whose random stream runs on from net to net.

    60 rows are fewer than a batch; 500 make 2.5 steps an epoch; 600 make 3. The learning rate decays in each case.
    """
    cifar, data = noise(rows)
    (params, history), (weights, plain) = ours(cifar, 12), notebook(data, 12)
    assert history.losses == pytest.approx([value for value, _ in plain], rel=1e-11)
    seen = [pair for _, pair in plain if pair]
    assert list(zip(history.train_accuracy, history.val_accuracy, strict=True)) == seen
    for array, other in zip(params, weights, strict=True):
        assert np.allclose(array, other, rtol=1e-9, atol=1e-14)


def test_another_random_stream_would_be_seen() -> None:
    """A notebook that seeds again before the second net gives other losses: the comparison above can fail."""
    cifar, data = noise(60)
    _, history = ours(cifar, 1)
    for seed in (0, 1):
        _, plain = notebook(data, 1, partial(np.random.RandomState.seed, seed=seed))
        assert history.losses[0] != pytest.approx(plain[0][0], rel=1e-9)


# The command


def test_other_rows_disagree_and_are_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With other rows the losses disagree, the exit code is 1, and the three plots are written."""
    write_cifar(tmp_path / "cifar-10-batches-py", rows=12)
    monkeypatch.setenv("NETCORE_DATA", str(tmp_path))
    assert cs231n.main(["--out", str(tmp_path / "out"), "--steps", "101"]) == 1
    printed = capsys.readouterr().out
    assert "54 rows to train on, 6 to validate with; 101 steps" in printed
    assert printed.count("DISAGREES") > 0
    for name in ("loss", "accuracy", "first_layer"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.size[0] == 1320


def test_a_missing_file_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without one of the six files the command names it in one line, trains nothing and writes nothing."""
    (write_cifar(tmp_path / "cifar-10-batches-py", rows=12) / CIFAR_FILES[2]).unlink()
    monkeypatch.setenv("NETCORE_DATA", str(tmp_path))
    assert cs231n.main(["--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert str(tmp_path / "cifar-10-batches-py" / CIFAR_FILES[2]) in captured.err
    assert not (tmp_path / "out").exists()


def test_a_tile_is_a_unit_s_weights() -> None:
    """Unit 11 of 12 is in the second row, second column, scaled from its least weight (0) to its largest (1)."""
    W1 = np.random.default_rng(0).standard_normal((3072, 12))
    picture = cs231n.tiles(W1)
    assert picture.shape == (2 * 35 - 3, 10 * 35 - 3, 3)
    unit = W1[:, 11].reshape(32, 32, 3)
    assert np.allclose(picture[35:, 35:67], (unit - unit.min()) / (unit.max() - unit.min()))
    assert np.all(picture[32:35] == 1)
    assert np.all(picture[35:, 70:] == 1)
