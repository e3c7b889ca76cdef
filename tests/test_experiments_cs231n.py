"""Claims about experiments/cs231n.py: the course's figures, its data layout, its loop, and files nobody vouches for."""

import io
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats import batch_file, python2_list, python2_pickle
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from netcore.core import Params, loss_and_gradients
from netcore.data.cifar10 import _ADMITTED, _Unpickler, read_batch
from netcore.errors import DataError

SCRIPT = Path(__file__).parents[1] / "experiments" / "cs231n.py"
sys.path.insert(0, str(SCRIPT.parent))

import cs231n  # noqa: E402  # a script, found by its folder

REAL = Path(os.environ.get("NETCORE_DATA", "nowhere")) / "cifar-10-batches-py"  # before the fixtures clear it
needs_real_files = pytest.mark.skipif(
    not (REAL / "data_batch_1").is_file() or not (REAL / "test_batch").is_file(),
    reason="NETCORE_DATA names no folder with cifar-10-batches-py/data_batch_1 and test_batch",
)

Bytes = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let the plain training, too, multiply in one thread: on a busy machine more are slower."""
    with threadpool_limits(1):
        yield


def draw_rows(seed: int, rows: int) -> tuple[Bytes, list[int]]:
    """Draw a batch of noise."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, 3072), np.uint8), rng.integers(0, 10, rows).tolist()


NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
EACH = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder of all six files, 12 rows each."""
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        (folder / name).write_bytes(batch_file(*draw_rows(seed, EACH)))
    return folder


def as_the_course_reads(data: Bytes) -> NDArray[np.float64]:
    """Read a batch's rows as the course's `data_utils.py` says: channel-first to channel-last, then flat."""
    return np.stack([np.moveaxis(row.reshape(3, 32, 32).astype(np.float64), 0, 2).ravel() for row in data])


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    """Run the command on a folder of files."""
    monkeypatch.setenv("NETCORE_DATA", str(folder.parent))
    return cs231n.main([*arguments])


# The toy net


def test_every_toy_figure_agrees_with_the_published_one(capsys: pytest.CaptureFixture[str]) -> None:
    """15 scores, the loss, the last loss of the training, and four gradients: all agree, and exit code 0 says so."""
    assert cs231n.main(["--toy"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("agrees") == 18
    assert "DISAGREES" not in printed
    for figure in ("-0.81233741", "-0.15226949", "1.30378789133", "0.017149607938732"):
        assert printed.count(figure) == 2  # published and reproduced


def test_a_figure_that_is_off_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One unit in the last published digit is a disagreement: the line says so and the exit code is 1."""
    monkeypatch.setattr(cs231n, "TOY_LOSS", "1.30378789134")
    assert cs231n.main(["--toy"]) == 1
    assert capsys.readouterr().out.count("DISAGREES") == 1


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A gradient with half the penalty's share is a disagreement too."""
    right = loss_and_gradients
    monkeypatch.setattr(cs231n, "loss_and_gradients", lambda params, X, y, reg: right(params, X, y, reg / 2))
    assert cs231n.main(["--toy"]) == 1
    assert "DISAGREES" in capsys.readouterr().out


def test_published_digits_decide_what_agrees() -> None:
    """A figure agrees if rounding to the published digits explains its difference."""
    agreeing = [("0.287", 0.287), ("2.302954", 2.3029544), ("0.017149607938732", 0.017149607938732 + 1e-13)]
    assert all(cs231n.Check("", *pair).agrees for pair in agreeing)
    disagreeing = [("0.287", 0.288), ("0.287", 0.286), ("2.302954", 2.302955), ("0.287", np.nan)]
    assert not any(cs231n.Check("", *pair).agrees for pair in disagreeing)


# The data


def test_rows_are_height_by_width_by_channel(tmp_path: Path) -> None:
    """Red, green and blue of row 5, column 7 stand together at 3 (32 x 5 + 7); the file has them 1024 apart."""
    data = np.zeros((2, 3072), np.uint8)
    place = 32 * 5 + 7
    data[1, [place, 1024 + place, 2048 + place]] = 10, 20, 30
    path = tmp_path / "data_batch_1"
    path.write_bytes(batch_file(data, [3, 9]))
    X, y = read_batch(path)
    assert np.flatnonzero(X).tolist() == [3072 + 3 * place, 3072 + 3 * place + 1, 3072 + 3 * place + 2]
    assert X[1, 3 * place : 3 * place + 3].tolist() == [10, 20, 30]
    assert y.tolist() == [3, 9]


def test_the_split_is_by_order_and_the_mean_is_of_training_rows_alone(folder: Path) -> None:
    """The files follow one another; the last tenth validates; what is subtracted is the mean of the rest."""
    cifar = cs231n.load(folder)
    parts = [draw_rows(seed, EACH) for seed in range(6)]
    X = np.concatenate([as_the_course_reads(data) for data, _ in parts])
    y = np.concatenate([labels for _, labels in parts])
    mean = X[:54].mean(axis=0)
    assert cifar.missing == ()
    assert cifar.test is not None
    for rows, part in ((cifar.train, slice(54)), (cifar.val, slice(54, 60)), (cifar.test, slice(60, 72))):
        assert np.array_equal(rows.inputs(), X[part] - mean)
        assert rows.inputs().dtype == np.float64
        assert np.array_equal(rows.y, y[part])
    assert not np.allclose(mean, X[:60].mean(axis=0))


def test_the_split_of_whole_files_is_the_course_s(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Of five files of 10,000 rows 49,000 train and the next 1,000 validate; of one, 9,000 and 1,000; 1,000 test."""
    empty = (np.zeros((10_000, 1), np.uint8), np.zeros(10_000, np.intp))
    monkeypatch.setattr(cs231n, "read_batch", lambda _: empty)
    for files, expected in ((5, (49_000, 1000, 1000)), (1, (9000, 1000, 1000))):
        for name in NAMES[files:5]:
            (folder / name).unlink()
        cifar = cs231n.load(folder)
        assert cifar.test is not None
        assert tuple(len(rows.y) for rows in (cifar.train, cifar.val, cifar.test)) == expected
        assert cs231n.other_rows(cifar) == ("" if files == 5 else f"{', '.join(NAMES[1:5])} missing")


# The loop


def course_training(
    weights: list[NDArray[np.float64]],
    data: tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]],
    numpy_random: np.random.RandomState,
    *,
    num_iters: int,
    learning_rate: float,
    reg: float,
) -> Iterator[tuple[float, float, tuple[float, float] | None]]:
    """Train in plain NumPy, as the exercise describes it: loss, learning rate and, once an epoch, two accuracies."""
    W1, b1, W2, b2 = weights
    X_all, y_all, X_val, y_val = data

    def predict(X: NDArray[np.float64]) -> NDArray[np.intp]:
        best: NDArray[np.intp] = np.argmax(np.maximum(0, X.dot(W1) + b1).dot(W2) + b2, axis=1)
        return best

    for it in range(num_iters):
        indices = numpy_random.choice(X_all.shape[0], 200, replace=True)
        X, y = X_all[indices], y_all[indices]
        hidden = np.maximum(0, X.dot(W1) + b1)
        exps = np.exp(hidden.dot(W2) + b2)
        probs = exps / exps.sum(axis=1, keepdims=True)
        value = -np.log(probs[range(200), y]).sum() / 200 + reg * ((W1 * W1).sum() + (W2 * W2).sum())
        d = (probs - np.eye(W2.shape[1])[y]) / 200
        dhidden = d.dot(W2.T) * (hidden > 0)
        W2 -= learning_rate * (hidden.T.dot(d) + 2 * reg * W2)
        b2 -= learning_rate * d.sum(axis=0)
        W1 -= learning_rate * (X.T.dot(dhidden) + 2 * reg * W1)
        b1 -= learning_rate * dhidden.sum(axis=0)
        used, seen = learning_rate, None
        if it % max(X_all.shape[0] / 200, 1) == 0:
            seen = float((predict(X) == y).mean()), float((predict(X_val) == y_val).mean())
            learning_rate *= 0.95
        yield float(value), used, seen


def new_weights(rng: np.random.RandomState, D: int, H: int, C: int, std: float) -> list[NDArray[np.float64]]:
    """Draw a net as the course's constructor does."""
    return [std * rng.randn(D, H), np.zeros(H), std * rng.randn(H, C), np.zeros(C)]


def notebook(
    data: tuple[Any, ...], num_iters: int, reseed: Callable[[np.random.RandomState], object] = lambda _: None
) -> tuple[list[NDArray[np.float64]], list[tuple[float, float, tuple[float, float] | None]]]:
    """Go through the notebook's cells in order; one RandomState stands for `np.random` and is seeded where that is."""
    numpy_random = np.random.RandomState(None)
    numpy_random.seed(0)  # init_toy_model()
    new_weights(numpy_random, 4, 10, 3, 1e-1)
    numpy_random.seed(1)  # init_toy_data()
    X = 10 * numpy_random.randn(5, 4)
    y = np.array([0, 1, 2, 2, 1])
    numpy_random.seed(0)  # net = init_toy_model(), before the toy training
    toy = new_weights(numpy_random, 4, 10, 3, 1e-1)
    steps = list(course_training(toy, (X, y, X, y), numpy_random, num_iters=100, learning_rate=1e-1, reg=5e-6))
    assert abs(steps[-1][0] - 0.017149607938732) < 1e-12
    reseed(numpy_random)
    weights = new_weights(numpy_random, 3072, 50, 10, 1e-4)
    steps = list(course_training(weights, data, numpy_random, num_iters=num_iters, learning_rate=1e-4, reg=0.25))
    return weights, steps


def ours(cifar: cs231n.Cifar, steps: int) -> tuple[Params, cs231n.History]:
    """Go through the script's own order."""
    rng = np.random.RandomState(0)
    cs231n.train_toy_net(cs231n.toy_net(rng), rng)
    params = cs231n.cifar_net(rng)
    return params, cs231n.train_cifar_net(params, cifar, rng, steps)


def noise(rows: int) -> tuple[cs231n.Cifar, tuple[Any, ...]]:
    """Give noise as data to train on, and the same in the plain form."""
    data, labels = draw_rows(0, rows + 20)
    X, y = as_the_course_reads(data), np.array(labels)
    mean = X[:rows].mean(axis=0)
    train, val = cs231n.Rows(X[:rows], y[:rows], mean), cs231n.Rows(X[rows:], y[rows:], mean)
    return cs231n.Cifar(train, val, None, ()), (X[:rows] - mean, y[:rows], X[rows:] - mean, y[rows:])


def assert_same(cifar: cs231n.Cifar, data: tuple[Any, ...], steps: int) -> None:
    """Compare the script with the plain notebook: losses, accuracies and all four arrays at the end."""
    params, history = ours(cifar, steps)
    weights, plain = notebook(data, steps)
    assert history.losses == pytest.approx([value for value, _, _ in plain], rel=1e-11)
    seen = [pair for _, _, pair in plain if pair]
    assert list(zip(history.train_accuracy, history.val_accuracy, strict=True)) == seen
    for array, other in zip(params, weights, strict=True):
        assert np.allclose(array, other, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("rows", [60, 500, 600])
def test_the_loop_and_its_random_numbers_are_the_notebook_s(rows: int) -> None:
    """The script trains as a plain reading of the notebook does, whose random stream runs on from net to net.

    60 rows are fewer than a batch; 500 make 2.5 steps an epoch; 600 make 3.
    """
    assert_same(*noise(rows), steps=12)


def test_another_random_stream_would_be_seen() -> None:
    """A notebook that seeds anew before the second net gives other losses: the comparison above can fail."""
    cifar, data = noise(60)
    _, history = ours(cifar, 1)
    for seed in (0, 1):
        _, plain = notebook(data, 1, partial(np.random.RandomState.seed, seed=seed))
        assert history.losses[0] != pytest.approx(plain[0][0], rel=1e-9)


@pytest.mark.parametrize(("rows", "decays"), [(150, range(11)), (400, [0, 2, 4, 6, 8, 10]), (500, [0, 5, 10])])
def test_the_learning_rate_decays_after_step_0_and_every_epoch(
    monkeypatch: pytest.MonkeyPatch, rows: int, decays: list[int]
) -> None:
    """After each step that is a multiple of rows / 200 (of 1, where there are fewer rows), step 0 included."""
    used = []

    def no_step(*_: object, learning_rate: float, reg: float) -> float:
        used.append(learning_rate)
        return reg

    monkeypatch.setattr(cs231n, "sgd_step", no_step)
    cifar, _ = noise(rows)
    ours(cifar, 11)
    rate, expected = 1e-4, []
    for step in range(11):
        expected.append(rate)
        rate *= 0.95 if step in decays else 1
    assert used[100:] == expected


def test_the_course_s_epoch_has_245_steps() -> None:
    """49,000 rows in batches of 200: the five decays of 1,000 steps come after steps 0, 245, 490, 735 and 980."""
    assert cs231n.steps_per_epoch(49_000, 200) == 245
    assert [step for step in range(1000) if step % cs231n.steps_per_epoch(49_000, 200) == 0] == [0, 245, 490, 735, 980]


# The command


def test_all_files_but_other_rows_are_said_to_be_other_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    """Six files of the right names with few rows: all runs, three pictures appear, and nothing is called checked."""
    assert run(monkeypatch, folder, "--out", str(tmp_path / "out"), "--steps", "101") == 0
    printed = capsys.readouterr().out
    assert "54 rows to train on, 6 to validate with; 101 steps" in printed
    assert "the files here hold 60 rows, not 50,000" in printed
    assert printed.count("other rows") == 2  # steps 0 and 100
    assert "first 12 test rows" in printed
    for name in ("loss", "accuracy", "first_layer"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.size[0] == 1320


def test_missing_files_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    """With some files missing the same recipe runs, and the output says what that leaves unchecked, and why."""
    for name in ("data_batch_2", "data_batch_5", "test_batch"):
        (folder / name).unlink()
    assert run(monkeypatch, folder, "--out", str(tmp_path / "out"), "--steps", "1") == 0
    printed = capsys.readouterr().out
    assert "NOT CHECKED: the published losses of steps 0 to 900 and the validation accuracy of 0.287." in printed
    assert "data_batch_2, data_batch_5 missing." in printed
    assert "test rows NOT MEASURED, test_batch missing" in printed


def report(history: cs231n.History, val_accuracy: float) -> tuple[str, list[cs231n.Check]]:
    """Give the report of a training on the course's own 49,000 rows, and its checks."""
    y = np.zeros(50_000, np.intp)
    cifar = cs231n.Cifar(cs231n.Rows(y, y[:49_000]), cs231n.Rows(y, y[49_000:]), None, ())
    checks = cs231n.cifar_checks(history, val_accuracy)
    return "\n".join(cs231n.cifar_report(cifar, checks, len(history.losses), 2.30297)), checks


def test_on_the_course_s_rows_every_figure_is_checked() -> None:
    """With all 50,000 rows the published figures agree or disagree, one by one, and none is left out."""
    losses = np.zeros(1000)
    losses[::100] = [float(text) for text in cs231n.LOSSES]
    printed, checks = report(cs231n.History(losses.tolist(), [], []), 0.287)
    assert len(checks) == 11
    assert all(check.agrees for check in checks)
    assert printed.count("agrees") == 11
    assert "NOT CHECKED" not in printed
    losses[300] += 1e-5
    printed, checks = report(cs231n.History(losses.tolist(), [], []), 0.29)
    assert [check.name for check in checks if not check.agrees] == [
        "loss at step 300",
        "validation accuracy, 1000 steps",
    ]
    assert printed.count("DISAGREES") == 2


def test_a_shorter_training_says_what_it_did_not_reach() -> None:
    """With fewer steps only the figures that were reached are checked, and the rest is said to be unchecked."""
    printed, checks = report(cs231n.History([2.3] * 250, [], []), 0.287)
    assert [check.name for check in checks] == ["loss at step 0", "loss at step 100", "loss at step 200"]
    assert "NOT CHECKED: what the course publishes beyond step 249" in printed


def test_no_data_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """Without the folder the command says so in one line, trains nothing, writes nothing and ends with 2."""
    environment = {**os.environ, "NETCORE_DATA": str(tmp_path / "nowhere")}
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "nowhere" / "cifar-10-batches-py") in done.stderr
    assert "NETCORE_DATA" in done.stderr
    assert "--toy" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", ["0", "-1", "many", "1.5"])
def test_steps_must_be_a_number_of_steps(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything but a whole number of 1 or more is refused with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        cs231n.main([f"--steps={steps}"])
    assert stop.value.code == 2
    assert f"must be a whole number of 1 or more, got {steps}" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_found_out_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    """A file where the pictures' folder should be: one line, exit code 2, and nothing is trained before."""
    (tmp_path / "out").touch()
    assert run(monkeypatch, folder, "--out", str(tmp_path / "out")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "choose another folder with --out" in captured.err


# Files that are not trusted


class Calls:
    """An object whose pickle calls a function with arguments when it is opened."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Give what `pickle` is to call."""
        return self.call


HOSTILE = {
    "Path.touch": lambda canary: Calls(Path.touch, canary),
    "os.system": lambda canary: Calls(os.system, f'touch "{canary}"'),
    "exec": lambda canary: Calls(exec, f"open({str(canary)!r}, 'w')"),
    "open": lambda canary: Calls(open, str(canary), "w"),
    "numpy.save": lambda canary: Calls(np.savetxt, str(canary), [1.0]),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_runs_nothing(kind: str, tmp_path: Path) -> None:
    """Such a file touches the canary when pickle opens it, and is refused untouched when the script does."""
    canary, path = tmp_path / "canary", tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": HOSTILE[kind](canary), b"labels": []}, protocol=2))
    with pytest.raises(DataError, match="which is refused") as refused:
        read_batch(path)
    assert not canary.exists()
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    pickle.loads(path.read_bytes())  # noqa: S301  # our own, to see that it bites
    assert canary.exists()


def test_only_what_an_array_of_bytes_needs_is_admitted() -> None:
    """Of NumPy itself just the array's maker, the array and the type of bytes are admitted, under these names."""
    admitted = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
    assert set(_ADMITTED) == admitted | {("numpy", "ndarray"), ("numpy", "dtype")}
    objects = pickle.dumps(np.array([[]], object), protocol=3)
    with pytest.raises(pickle.UnpicklingError, match="numbers of type 'O8'"):
        _Unpickler(io.BytesIO(objects)).load()


GOOD = draw_rows(0, 3)
BROKEN = {
    "nothing": (b"", "cannot be read"),
    "not a pickle": (b"P6 32 32 255", "cannot be read"),
    "half a file": (batch_file(*GOOD)[:5000], "cannot be read"),
    "no dict": (pickle.dumps([1, 2]), "cannot be read"),
    "no data": (python2_pickle({b"labels": python2_list([1])}), "cannot be read"),
    "short rows": (batch_file(GOOD[0][:, :3000], GOOD[1]), "bytes of shape"),
    "too few labels": (batch_file(GOOD[0], GOOD[1][:2]), "one for each row"),
    "a label too high": (batch_file(GOOD[0], [1, 10, 3]), "from 0 to 9"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_in_one_line(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Whatever is wrong with a file: one line with its path and the rule, exit code 2, nothing on standard output."""
    data, rule = BROKEN[kind]
    (folder / "data_batch_3").write_bytes(data)
    assert run(monkeypatch, folder) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert str(folder / "data_batch_3") in captured.err
    assert rule in captured.err


def test_fewer_than_ten_rows_are_refused(folder: Path) -> None:
    """There must be a row to validate with."""
    for name in NAMES[1:]:
        (folder / name).unlink()
    (folder / "data_batch_1").write_bytes(batch_file(*draw_rows(0, 9)))
    with pytest.raises(DataError, match="must hold ten training rows or more, got 9"):
        cs231n.load(folder)


# The pictures


def test_a_tile_is_a_unit_s_weights() -> None:
    """Unit 11 of 12 stands in the second row, second column, scaled from its least weight (0) to its largest (1)."""
    W1 = np.random.default_rng(0).standard_normal((3072, 12))
    picture = cs231n.tiles(W1)
    assert picture.shape == (2 * 35 - 3, 10 * 35 - 3, 3)
    unit = W1[:, 11].reshape(32, 32, 3)
    assert np.allclose(picture[35:, 35:67], (unit - unit.min()) / (unit.max() - unit.min()))
    assert np.all(picture[32:35] == 1)
    assert np.all(picture[35:, 70:] == 1)


# The real files


@needs_real_files
def test_the_real_files_are_read_as_the_course_reads_them() -> None:
    """Rows and classes of the first training file and the test file, as far as a plain reading goes: pixel by pixel."""
    for name in ("data_batch_1", "test_batch"):
        X, y = read_batch(REAL / name)
        raw = (REAL / name).read_bytes()
        start = raw.index(b"T" + struct.pack("<i", 10_000 * 3072)) + 5
        data = np.frombuffer(raw[start : start + 10_000 * 3072], np.uint8).reshape(10_000, 3072)
        assert np.array_equal(X[::1000], as_the_course_reads(data[::1000]))
        assert np.bincount(y, minlength=10).sum() == 10_000
    assert np.bincount(y).tolist() == [1000] * 10


@needs_real_files
def test_the_real_files_train_as_the_notebook_does() -> None:
    """On 9,000 real rows script and plain notebook agree for over an epoch; the first loss is near the course's."""
    cifar = cs231n.load(REAL)
    data = (cifar.train.inputs(), cifar.train.y, cifar.val.inputs(), cifar.val.y)
    if set(cifar.missing) == set(NAMES[1:5]):
        assert [len(part) for part in data] == [9000, 9000, 1000, 1000]
    assert_same(cifar, data, steps=47)
    _, history = ours(cifar, 1)
    assert abs(history.losses[0] - 2.302954) < 6e-5  # five standard deviations over batches
