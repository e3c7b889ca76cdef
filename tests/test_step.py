"""Claims about netcore.training.step: it agrees with the reference, to the same bits, and may lose its cache."""

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from filelock import FileLock

from netcore.archive import pack, unpack
from netcore.core import Epoch, Params, TrainConfig, epochs, init_params
from netcore.core.net import IntArray
from netcore.core.params import FloatArray
from netcore.errors import WorkError
from netcore.training import step
from netcore.training.step import compiled

TRAIN = """
import hashlib, sys
import numpy as np
from netcore.core import TrainConfig, epochs, init_params
from netcore.training.step import compiled

rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype in sys.argv[1:]:
    for D, H in ((5, 0), (20, 16), (300, 33)):
        params = init_params(rng, D, H, 4, dtype=dtype)
        X, y = rng.standard_normal((50, D)).astype(dtype), rng.integers(0, 4, 50)
        config = TrainConfig(0.1, H, 1e-3, 0.9, epochs=3, batch_size=7)
        for epoch in epochs(params, X, y, X[:9], y[:9], config, rng, step=compiled):
            digest.update(repr(epoch).encode())
        for array in params:
            digest.update(array.tobytes())
loaded = {name.partition(".")[0] for name in sys.modules} & {"numba", "optuna", "pandas", "sklearn"}
loaded |= {"scipy.linalg"} & set(sys.modules)
print(digest.hexdigest(), sorted(loaded))
"""
"""Trains three nets of each type and prints a hash of all bits, and which of the slow libraries are there."""

AGREES = """
import numpy as np
from netcore.training import step
from netcore.core import Params, TrainConfig, epochs, init_params

rng = np.random.default_rng(0)
for D, H in ((784, 50), (784, 128), (3072, 50)):
    X, y = rng.standard_normal((650, D), np.float32), rng.integers(0, 10, 650)
    params, config = init_params(rng, D, H, 10, dtype=np.float32), TrainConfig(1e-2, H, 1e-3, 0.9, 2, batch_size=200)
    found = []
    for how in (None, step.compiled, step.compiled):
        start = Params(*map(np.copy, params))
        curve = list(epochs(start, X[:450], y[:450], X[450:], y[450:], config, np.random.default_rng(1), step=how))
        found.append((np.concatenate([*map(np.ravel, start)]), [epoch.val_loss for epoch in curve]))
    (reference, losses), *ours = found
    assert np.array_equal(ours[0][0], ours[1][0])
    np.testing.assert_allclose(ours[0][0], reference, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours[0][1], losses, rtol=1e-5)
    assert (step._part(200, D, H) < D) == step._has_small()
"""
"""Trains wide nets with the reference and twice with the step."""

NOTES_THE_COMPILER = """
import os, sys
if any(argument.endswith("kernel.py") for argument in sys.orig_argv):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write("compiles\\n")
"""
"""Runs first in each process: the compiler's process leaves a line."""

Data = tuple[FloatArray, IntArray]


def trains(cache: Path, *dtypes: str, **environment: str) -> str:
    """Train in a new process; return what it prints."""
    done = start(cache, *dtypes, **environment).communicate(timeout=200)
    assert not done[1], done[1]
    return done[0]


def start(cache: Path, *dtypes: str, **environment: str) -> "subprocess.Popen[str]":
    """Start training in a new process."""
    surroundings = {**os.environ, "NETCORE_CACHE": str(cache), **environment}
    command = [sys.executable, "-c", TRAIN, *(dtypes or ("float32",))]
    return subprocess.Popen(command, env=surroundings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kernels(cache: Path) -> list[Path]:
    """Return the files of machine code in a cache."""
    return sorted(cache.glob("code-*/step-*.npz"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a cache that one process has filled, and what it printed; tests only read it."""
    cache = tmp_path_factory.mktemp("filled")
    return cache, trains(cache)


def draw(rng: np.random.Generator, shape: tuple[int, int, int, int], dtype: str) -> tuple[Params, Data, Data]:
    """Draw a net of D, H, C, N rows of data and seven to validate it."""
    D, H, C, N = shape
    X, y = rng.standard_normal((N + 7, D)).astype(dtype), rng.integers(0, C, N + 7)
    return init_params(rng, D, H, C, dtype=dtype), (X[:N], y[:N]), (X[N:], y[N:])


def both(params: Params, train: Data, val: Data, config: TrainConfig) -> Iterator[tuple[list[Epoch], Params]]:
    """Train with the reference, then with the compiled step, from the same start; yield curve and weights."""
    for how in (None, compiled):
        start = Params(*map(np.copy, params))
        yield list(epochs(start, *train, *val, config, np.random.default_rng(1), step=how)), start


# It agrees with the reference


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(60))
def test_it_agrees_with_the_reference(seed: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 120 nets of all shapes, curves and weights are those of the reference within rounding.

    Among them are softmax regressions, one input, two classes, one row, batches of one and batches larger than the set,
    short last batches, and inputs that are multiplied all at once, 32 at a time, and 96 at a time.
    """
    monkeypatch.setattr(step, "_part", lambda _N, D, _H: (D, 32, 96)[seed % 3])
    rng = np.random.default_rng((seed, len(dtype), ord(dtype[-1])))
    D, H = int(rng.choice([1, 2, 7, 64, 255, 256, 300])), int(rng.choice([0, 0, 1, 2, 15, 16, 33, 64]))
    C, N, batch = int(rng.choice([2, 3, 10, 17])), int(rng.choice([1, 2, 23, 50, 64])), int(rng.choice([1, 5, 16, 200]))
    params, train, val = draw(rng, (D, H, C, N), dtype)
    config = TrainConfig(0.05, H, float(rng.choice([0.0, 1e-3, 0.3])), 0.9, epochs=3, batch_size=batch)
    (expected, there), (found, here) = both(params, train, val, config)
    eps = float(np.finfo(dtype).eps)
    for a, b in zip(found, expected, strict=True):
        assert [type(metric) for metric in dataclasses.astuple(a)] == [int, *[float] * 5]  # none is a number of NumPy
        assert (a.epoch, a.learning_rate) == (b.epoch, b.learning_rate)
        assert (a.train_loss, a.val_loss) == pytest.approx((b.train_loss, b.val_loss), rel=300 * eps, abs=300 * eps)
        assert a.train_accuracy == pytest.approx(b.train_accuracy, abs=1.01 / N if dtype == "float32" else 0)
        assert a.val_accuracy == pytest.approx(b.val_accuracy, abs=1.01 / 7 if dtype == "float32" else 0)
    for x, y in zip(here, there, strict=True):
        assert x.dtype == np.dtype(dtype)
        np.testing.assert_allclose(x, y, rtol=300 * eps, atol=300 * eps)


def test_how_many_inputs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many inputs as make a million pairs of numbers, or all of them if BLAS has only one way to multiply."""
    shapes = [(200, 784, 50), (200, 784, 128), (200, 784, 256), (20, 784, 50), (200, 784, 0), (0, 5, 5)]
    monkeypatch.setattr(step, "_has_small", lambda: True)
    assert [step._part(*shape) for shape in shapes] == [96, 32, 784, 784, 784, 5]
    monkeypatch.setattr(step, "_has_small", lambda: False)
    assert [step._part(*shape) for shape in shapes] == [784] * 5 + [5]


def test_wide_nets_agree_with_the_kernels_that_blas_chooses_itself() -> None:
    """Whatever the processor, and whatever OPENBLAS_CORETYPE says here; with AVX-512, by products in parts."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}
    done = subprocess.run([sys.executable, "-c", AGREES], env=plain, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_loss_and_probabilities_hold_for_scores_of_any_size() -> None:
    """Scores from -800 to 0 give the cross-entropy of scipy's log-softmax to 1e-14: the exponentials are right."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        params = init_params(rng, 1, 0, 40, dtype=np.float64)
        params.b2[:] = rng.uniform(-1, 0, 40) * 10 ** rng.uniform(-3, 3)
        X, y = np.zeros((8, 1)), rng.integers(0, 40, 8)
        config = TrainConfig(1e-300, 0, 0.0, 1.0, epochs=1, batch_size=8)
        (epoch,) = epochs(params, X, y, X, y, config, rng, step=compiled)
        assert epoch.val_loss == pytest.approx(-scipy.special.log_softmax(params.b2)[y].mean(), rel=1e-14)
        assert epoch.train_loss == pytest.approx(epoch.val_loss, rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("product", [1e-5, 0.499, 0.5, 1.5])
def test_a_penalty_of_any_size(product: float, dtype: str) -> None:
    """Where a step takes much of the weights away, all of them or more than all, it still agrees with the reference."""
    rng = np.random.default_rng(0)
    params, train, val = draw(rng, (6, 5, 3, 40), dtype)
    config = TrainConfig(0.01, 5, product / 0.01, 1.0, epochs=2, batch_size=9)
    (expected, there), (found, here) = both(params, train, val, config)
    losses = [(epoch.train_loss, epoch.val_loss) for epoch in expected]
    assert [(epoch.train_loss, epoch.val_loss) for epoch in found] == [
        pytest.approx(pair, rel=1e-3 if dtype == "float32" else 1e-9) for pair in losses
    ]
    for x, y in zip(here, there, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-7)


def test_no_penalty_is_too_small_to_count() -> None:
    """In float32, 5,000 steps that each take 2e-8 of the weights take 1e-4 of them, not nothing."""
    rng = np.random.default_rng(0)
    params = init_params(rng, 3, 4, 2)
    start, X, y = params.W1.copy(), np.zeros((1000, 3), np.float32), np.arange(1000) % 2  # no gradient for W1
    config = TrainConfig(0.01, 4, 1e-6, 1.0, epochs=5, batch_size=1)
    list(epochs(params, X, y, X[:1], y[:1], config, rng, step=compiled))
    assert params.W1 / start == pytest.approx(np.full((3, 4), 1 - 1e-4), abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "learning_rate"), [("float32", 1e5), ("float32", 1e300), ("float64", 1e30), ("float64", 1e200)]
)
@pytest.mark.parametrize(("reg", "hidden_size"), [(0.0, 6), (1e-3, 0), (10.0, 6)])
def test_a_training_that_blows_up_does_so_in_both(
    dtype: str, learning_rate: float, reg: float, hidden_size: int
) -> None:
    """An absurd learning rate gives figures that are not finite from the same epoch on, in both, and no warning."""
    for seed in range(10):
        params, train, val = draw(np.random.default_rng(seed), (4, hidden_size, 3, 23), dtype)
        config = TrainConfig(learning_rate, hidden_size, reg, 1.0, epochs=8, batch_size=5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (expected, _), (found, _) = both(params, train, val, config)
        finite = [[np.isfinite(e.train_loss) and np.isfinite(e.val_loss) for e in curve] for curve in (expected, found)]
        assert finite[0] == finite[1]
        assert all(0 <= figure <= 1 for epoch in found for figure in (epoch.train_accuracy, epoch.val_accuracy))


@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: (X[:, 1:], y),
        lambda X, y: (X, y[1:]),
        lambda X, y: (X, y + 1),
        lambda X, y: (X, y - 1),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[[FloatArray, IntArray], Data]) -> None:
    """Rows of another length, classes that are missing, and numbers that are no class raise a ValueError, first."""
    params, train, val = draw(np.random.default_rng(0), (4, 6, 3, 60), "float32")
    before = [array.tobytes() for array in params]
    config = TrainConfig(0.1, 6, 0.0, 1.0, epochs=1, batch_size=5)
    for (X, y), (X_val, y_val) in ((change(*train), val), (train, change(*val))):
        with pytest.raises(ValueError, match=r"shapes do not fit|classes must be 0 … 2"):
            next(epochs(params, X, y, X_val, y_val, config, np.random.default_rng(0), step=compiled))
    assert [array.tobytes() for array in params] == before


# The same bits everywhere


def test_it_is_compiled_once_to_the_same_bits(trained: tuple[Path, str], tmp_path: Path) -> None:
    """Of two processes with one empty cache, one compiles; all train the same, whatever Numba's settings are."""
    cache, first = trained
    assert first.endswith(" []\n"), "a slow library was loaded"
    assert trains(cache) == first
    (tmp_path / "sitecustomize.py").write_text(NOTES_THE_COMPILER)
    notes = tmp_path / "notes"
    other = {"PYTHONPATH": str(tmp_path), "NOTES": str(notes), "NUMBA_OPT": "0", "NUMBA_DISABLE_JIT": "1"}
    at_once = [start(tmp_path / "cache", **other) for _ in range(2)]
    assert [process.communicate(timeout=200) for process in at_once] == [(first, "")] * 2
    assert notes.read_text() == "compiles\n"
    assert len(kernels(tmp_path / "cache")) == len(kernels(cache)) == 1


@pytest.mark.slow
def test_a_compiler_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After waiting too long for the lock, a process compiles the step itself."""
    monkeypatch.setattr(step, "_PATIENCE", 0.1)
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path))
    step.code_folder().mkdir()
    with FileLock(step.code_folder() / "step.lock"):
        code = step._machine_code("float32", "a target that was not seen before")
    (kept,) = kernels(tmp_path)
    assert unpack(kept.read_bytes(), kept)["epoch.o"] == code


@pytest.mark.slow
def test_two_types_are_two_files(trained: tuple[Path, str], tmp_path: Path) -> None:
    """Each type is compiled when it is first asked for, and the one does not disturb the other."""
    printed = trains(tmp_path, "float32", "float64", "float32")
    assert len(kernels(tmp_path)) == 2
    assert trains(tmp_path, "float32", "float64", "float32") == printed
    assert trains(tmp_path) == trained[1]


def test_a_damaged_file_is_replaced(trained: tuple[Path, str], tmp_path: Path) -> None:
    """Where one byte of the cached file is wrong, the step is compiled again and the file is complete."""
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    (file,) = kernels(tmp_path)
    content = bytearray(before := file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert trains(tmp_path) == trained[1]
    assert unpack(file.read_bytes(), file).keys() == unpack(before, file).keys()


def others_may_write(place: Path) -> None:
    """Let everybody write to a file or folder."""
    place.chmod(0o777)


def another_owns(place: Path) -> None:
    """Let another user own a file or folder, which only root can do."""
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(place, 12345, -1)


@pytest.mark.slow
@pytest.mark.parametrize("change", [others_may_write, another_owns])
@pytest.mark.parametrize("folder", [False, True])
def test_code_of_others_is_not_run(
    trained: tuple[Path, str], tmp_path: Path, change: Callable[[Path], None], *, folder: bool
) -> None:
    """Machine code that another user could have written is compiled again, whatever its checksum says."""
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    (file,) = kernels(tmp_path)
    file.write_bytes(pack({"epoch.o": b"planted"}))
    change(file.parent if folder else file)
    assert trains(tmp_path) == trained[1]


def test_no_umask_opens_the_cache(tmp_path: Path) -> None:
    """Folder and file are this user's alone, even if the umask lets everybody write."""
    before = os.umask(0)
    try:
        trains(tmp_path / "cache")
    finally:
        os.umask(before)
    (file,) = kernels(tmp_path / "cache")
    assert [place.stat().st_mode & 0o777 for place in (file.parent, file)] == [0o700, 0o600]


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_costs_time_alone(trained: tuple[Path, str], tmp_path: Path) -> None:
    """Where the cache's place is a file, the step is compiled and used all the same."""
    (tmp_path / "file").write_text("")
    assert trains(tmp_path / "file") == trained[1]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processors are of this kind")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("processor", ["generic", "haswell", "znver3", "skylake", "skylake-avx512", "znver4"])
def test_it_compiles_for_other_processors(processor: str, dtype: str) -> None:
    """Numba inlines more or less by processor; on none does the loop keep what would call Python."""
    environment = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-P", str(step._KERNEL), dtype]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\x7fELF" if sys.platform == "linux" else b"")


def test_a_compiler_that_fails_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Numba that works, the error says what it said, and what to do."""
    (tmp_path / "numba.py").write_text("raise ImportError('this Numba does not work')")
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    step.load.cache_clear()
    try:
        with pytest.raises(WorkError, match=r"cannot be compiled.*this Numba does not work.*requirements\.lock"):
            step.load("float32")
    finally:
        step.load.cache_clear()


def test_scipy_is_whole_afterwards() -> None:
    """The BLAS is taken from SciPy without its package, and the package can be imported afterwards."""
    code = """
import numpy
from netcore.training.step import load
load("float64")
import scipy.linalg.cython_blas
print(scipy.linalg.solve(numpy.eye(2), numpy.ones(2)), len(scipy.linalg.cython_blas.__pyx_capi__))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("[1. 1.] ")
