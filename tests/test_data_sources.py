"""Claims about the sources of data: each reads its real format, and answers each kind of bad input in one line."""

import gzip
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import netcore_command
from formats import CIFAR_FILES, IMAGES, LABELS, idx_file, npy_header, pixels, write_cifar, write_idx
from numpy.typing import NDArray

from netcore import run_study
from netcore.data import Dataset, load_dataset
from netcore.data.sources import find_data
from netcore.errors import DataError
from studies import write_study

REAL = Path(os.environ.get("NETCORE_DATA", "nowhere"))  # before the fixtures clear it


def needs(folder: str) -> pytest.MarkDecorator:
    """Skip where the real files are not at hand."""
    return pytest.mark.skipif(not (REAL / folder).is_dir(), reason=f"NETCORE_DATA names no folder with {folder}")


def load(source: str, path: Path, **keys: Any) -> Dataset:  # noqa: ANN401
    """Load a source with small parts."""
    return load_dataset(source, **{"path": str(path), "validation": 0.2, "seed": 0, "standardize": "none", **keys})


def refusal(source: str, path: Path, **keys: Any) -> str:  # noqa: ANN401
    """Return the one printable line with which data are refused."""
    with pytest.raises(DataError) as refused:
        load(source, path, **keys)
    line = str(refused.value)
    assert line.isprintable()
    assert refused.value.exit_code == 2
    return line


# Where files are looked for


def test_a_path_is_beside_the_study_file_or_else_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study's own folder comes first, then NETCORE_DATA; a path that is nowhere names both."""
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "a").mkdir(parents=True)
    (there / "a").mkdir(parents=True)
    (there / "b").mkdir()
    monkeypatch.setenv("NETCORE_DATA", str(there))
    assert find_data("a", here) == here / "a"
    assert find_data("b", here) == there / "b"
    assert find_data(str(there / "a"), here) == there / "a"
    with pytest.raises(DataError, match="c: there is no such file or folder") as refused:
        find_data("c", here)
    assert str(here) in str(refused.value)
    assert str(there) in str(refused.value)


@pytest.mark.parametrize("path", ["a\0b", "line\nbreak"])
def test_a_path_that_no_system_takes(path: str, tmp_path: Path) -> None:
    """Such a path is answered like one that is not there."""
    with pytest.raises(DataError, match="there is no such file or folder") as refused:
        find_data(path, tmp_path)
    assert str(refused.value).isprintable()


# IDX


@pytest.mark.parametrize("packed", [True, False])
def test_idx_reads_what_was_written(tmp_path: Path, packed: bool) -> None:
    """Packed or plain: the official test files are the test part, training rows are all there, pixels as they were."""
    dataset = load("idx", write_idx(tmp_path / "tiny", packed=packed))
    assert dataset.name == "tiny"
    assert dataset.image_shape == (4, 3, 1)
    assert dataset.class_names == ("0", "1", "2")
    assert np.array_equal(dataset.X_test, pixels(12, 12, seed=12))
    assert dataset.y_test.tolist() == [0, 1, 2] * 4
    rows = {row.tobytes() for X in (dataset.X_train, dataset.X_val) for row in X.astype(np.uint8)}
    assert rows == {row.tobytes() for row in pixels(30, 12, seed=30)}
    assert (len(dataset.y_train), len(dataset.y_val)) == (24, 6)


BAD_IDX: dict[str, tuple[str, bytes | None, str]] = {
    "missing": (IMAGES, None, f"must contain {IMAGES} or {IMAGES}.gz; the folder needs the four official files"),
    "empty": (IMAGES, b"", "is empty; download the file again"),
    "wrong magic number": (IMAGES, idx_file(pixels(30)), "must begin with the magic number 00000803, got 00000801"),
    "half a header": (IMAGES, idx_file(pixels(2, 3, 4))[:9], "is truncated in its header"),
    "truncated": (IMAGES, idx_file(pixels(30, 4, 3))[:-1], "its header says 360 bytes of data, got 359"),
    "too long": (IMAGES, idx_file(pixels(30, 4, 3)) + b"x", "its header says 360 bytes of data, got 361"),
    "no rows": (IMAGES, idx_file(pixels(0, 4, 3)), "must contain data, got dimensions (0, 4, 3)"),
    "another length": (
        LABELS,
        idx_file(np.zeros(29, np.uint8)),
        "must be as many images as labels, got 30 images",
    ),
    "a label left out": (LABELS, idx_file(np.array([0, 2] * 15, np.uint8)), "(class '1' has 0 rows, 2 are needed)"),
    "another size": (IMAGES, idx_file(pixels(30, 3, 3)), "images of both parts must have the same size"),
}


@pytest.mark.parametrize("kind", BAD_IDX)
def test_bad_idx(tmp_path: Path, kind: str) -> None:
    """One line that names the file or its folder, the rule and the remedy."""
    name, content, said = BAD_IDX[kind]
    folder = write_idx(tmp_path / "tiny")
    path = folder / f"{name}.gz"
    path.unlink()
    if content is not None:
        path.write_bytes(gzip.compress(content))
    line = refusal("idx", folder)
    assert line.startswith(str(folder))
    assert said in line


@pytest.mark.parametrize("cut", [0, 30])
def test_a_truncated_gz(tmp_path: Path, cut: int) -> None:
    """A .gz that ends early is named, wherever it ends."""
    folder = write_idx(tmp_path / "tiny")
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:cut])
    assert refusal("idx", folder).startswith(f"{path}: ")


# CIFAR-10


@pytest.mark.parametrize("binary", [False, True])
def test_cifar10_reads_both_folders(tmp_path: Path, binary: bool) -> None:
    """Pickled or binary, the rows are height by width by channel, and the test batch is the test part."""
    dataset = load("cifar10", write_cifar(tmp_path, binary=binary))
    assert dataset.X_test.shape == (40, 3072)
    assert (len(dataset.y_train), len(dataset.y_val)) == (160, 40)
    assert (dataset.image_shape, dataset.class_names[3]) == ((32, 32, 3), "cat")
    first = pixels(40, 3072, seed=5)[0].reshape(3, 32, 32)
    assert np.array_equal(dataset.X_test[0].reshape(32, 32, 3), np.moveaxis(first, 0, 2))


def test_train_limit_takes_the_first_rows(tmp_path: Path) -> None:
    """The first 60 rows of 40 a batch need two batches, and no other has to be there."""
    folder = write_cifar(tmp_path)
    for name in CIFAR_FILES[2:5]:
        (folder / name).unlink()
    dataset = load("cifar10", folder, train_limit=60)
    rows = np.concatenate([pixels(40, 3072, seed=0), pixels(40, 3072, seed=1)[:20]])
    assert len(dataset.y_train) + len(dataset.y_val) == 60
    assert {int(row.sum()) for X in (dataset.X_train, dataset.X_val) for row in X} == {int(row.sum()) for row in rows}
    assert (
        "data_batch_3: there is no such file; the folder needs all six batches, or set data.train_limit to at most 80"
        in (refusal("cifar10", folder))
    )


def hostile(canary: Path) -> list[bytes]:
    """Write pickles that would run something, or change what is not theirs."""
    call = b"cpathlib\nPath\n(V" + str(canary).encode() + b"\ntR."
    touch = b"cposix\nsystem\n(Vtouch " + str(canary).encode() + b"\ntR."
    build = b"cnumpy\nndarray\n}(V__doc__\nVx\nub."
    attribute = b"cnumpy\ndtype\n(N}(V__init__\nNutb."
    new = b"\x80\x02cnumpy\nndarray\n(K\x05\x85t\x81."
    memo = b"\x80\x02Nr\xff\xff\xff\xff."
    text = b"\x80\x04\x8d" + b"\xff" * 7 + b"\x00."
    return [call, touch, build, attribute, new, memo, text]


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    """Calls, changed attributes and absurd sizes are refused in one line; the canary lives, good files still load."""
    folder, canary = write_cifar(tmp_path / "data"), tmp_path / "canary"
    before = load("cifar10", folder).digest
    good = (folder / "data_batch_2").read_bytes()
    for content in hostile(canary):
        (folder / "data_batch_2").write_bytes(content)
        assert "data_batch_2: cannot be read as a CIFAR-10 batch" in refusal("cifar10", folder)
        assert not canary.exists()
    (folder / "data_batch_2").write_bytes(good)
    assert load("cifar10", folder).digest == before
    pickle.loads(hostile(canary)[1])  # noqa: S301  # our own, to see that it bites
    assert canary.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0" * 3072, "cannot be read as a CIFAR-10 batch (ValueError: "),
        (
            b"\0" * 3073 + b"\x0a" + b"\0" * 3072,
            "cannot be read as a CIFAR-10 batch (ValueError: its labels must be whole",
        ),
    ],
)
def test_bad_binary_batches(tmp_path: Path, content: bytes, said: str) -> None:
    """A wrong length, or a label that is none, is refused."""
    folder = write_cifar(tmp_path, binary=True)
    (folder / "data_batch_4.bin").write_bytes(content)
    assert f"data_batch_4.bin: {said}" in refusal("cifar10", folder)


# NumPy's files


def write_arrays(folder: Path, kind: str, **arrays: NDArray[Any]) -> Path:
    """Write arrays as .npz (plain or packed), or as .npy files of a folder."""
    path = folder / "tiny"
    if kind == "npy":
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array, allow_pickle=True)
        return path
    path = path.with_suffix(".npz")
    (np.savez_compressed if kind == "packed" else np.savez)(path, allow_pickle=True, **arrays)
    return path


KINDS = ("npz", "packed", "npy")
X, Y = np.random.default_rng(0).standard_normal((30, 4)), np.arange(30) % 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_read_what_was_written(tmp_path: Path, kind: str, order: Any) -> None:  # noqa: ANN401
    """Whatever the file and the order in it, the data and their digest are the same."""
    path = write_arrays(tmp_path, kind, X=np.asarray(X, order=order), y=Y)
    dataset = load("arrays", path, dtype=np.float64)
    everything = np.concatenate([dataset.X_train, dataset.X_val, dataset.X_test])
    assert sorted(everything.tolist()) == sorted(X.tolist())
    assert [len(part) for part in (dataset.y_train, dataset.y_val, dataset.y_test)] == [18, 6, 6]
    (tmp_path / "again").mkdir()
    again = load("arrays", write_arrays(tmp_path / "again", "npz", X=X, y=Y), dtype=np.float64)
    assert again.digest == dataset.digest


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array([5, 7, 9])[Y], ("5", "7", "9")),
        (np.array(["no", "yes", "maybe"])[Y], ("maybe", "no", "yes")),
        (Y.astype(float), ("0", "1", "2")),
        (Y > 0, ("False", "True")),
    ],
)
def test_labels_may_be_whole_numbers_or_texts(tmp_path: Path, labels: NDArray[Any], names: tuple[str, ...]) -> None:
    """Each different label is a class, in the order of numbers or of the alphabet."""
    dataset = load("arrays", write_arrays(tmp_path, "npz", X=X, y=labels))
    assert dataset.class_names == names


@pytest.mark.parametrize(
    ("shape", "image"), [((30, 4, 3), (4, 3, 1)), ((30, 2, 2, 3), (2, 2, 3)), ((30, 2, 3, 2), None)]
)
def test_pictures_are_known_by_their_shape(
    tmp_path: Path, shape: tuple[int, ...], image: tuple[int, int, int] | None
) -> None:
    """Features of three dimensions, or four with one or three channels, are pictures; others are a row of numbers."""
    dataset = load("arrays", write_arrays(tmp_path, "npy", a=pixels(*shape), b=Y), features="a", labels="b")
    assert (dataset.image_shape, dataset.input_size) == (image, 12)


WITH_NAN = np.where((np.arange(120) == 50).reshape(30, 4) | (np.arange(120) == 51).reshape(30, 4), np.nan, X)
BAD_ARRAYS: dict[str, tuple[dict[str, NDArray[Any]], str]] = {
    "NaN": ({"X": WITH_NAN, "y": Y}, "must be finite numbers, got 2 NaN or infinite values, the first in row 13;"),
    "too few labels": (
        {"X": X, "y": Y[:-1]},
        "labels must have shape (30,), one for each row of the features, got",
    ),
    "one-hot labels": ({"X": X, "y": np.eye(3)[Y]}, "use numpy.argmax for one-hot rows"),
    "amounts": ({"X": X, "y": Y + 0.5}, "classes must be whole numbers or texts, got 0.5 in row 1"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, "is empty, got shape (0, 4)"),
    "dates": ({"X": X.astype("datetime64[s]"), "y": Y}, "must contain numbers or texts, got 'datetime64[s]'"),
    "objects": ({"X": X.astype(object), "y": Y}, "contains Python objects, which are pickles"),
    "no labels": ({"X": X, "Y": Y}, "the file has no such array; known: X, Y"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_bad_arrays(tmp_path: Path, what: str) -> None:
    """One line that names the file, the array, the row where there is one, and the remedy."""
    arrays, said = BAD_ARRAYS[what]
    path = write_arrays(tmp_path, "npz", **arrays)
    line = refusal("arrays", path)
    assert line.startswith(str(path))
    assert said in line


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, None])
@pytest.mark.parametrize("shape", [(2**40, 1), (3, 4), (-1, 4), "x"])
def test_a_header_that_claims_too_much(tmp_path: Path, packed: int | None, shape: object) -> None:
    """A small file that claims 8 TiB is refused at once; so is any shape that the file does not hold."""
    data = npy_header(shape, content=bytes(100))
    path = tmp_path / "x.npz"
    if packed is None:
        path = tmp_path / "x"
        path.mkdir()
        (path / "X.npy").write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w", packed) as archive:
            archive.writestr("X.npy", data)
    tracemalloc.start()
    try:
        assert refusal("arrays", path).startswith(str(path))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000  # bytes at most: what the header says is not asked for
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 100, -1])
def test_truncated_arrays(tmp_path: Path, size: int) -> None:
    """A file that ends early is named, wherever it ends."""
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        path = write_arrays(folder, kind, X=X, y=Y)
        file = path / "X.npy" if kind == "npy" else path
        file.write_bytes(file.read_bytes()[:size])
        assert refusal("arrays", path).startswith(str(path))


def test_a_single_npy_is_half_of_the_data(tmp_path: Path) -> None:
    """The features' file alone is answered with what to name instead."""
    path = write_arrays(tmp_path, "npy", X=X, y=Y)
    assert refusal("arrays", path / "X.npy").startswith(f"{path / 'X.npy'}: must be an .npz or a folder of .npy files")


def test_numbers_too_large_for_the_precision(tmp_path: Path) -> None:
    """What float32 cannot hold is refused; in float64 it is welcome."""
    path = write_arrays(tmp_path, "npz", X=X * 1e200, y=Y)
    assert "has numbers too large for float32; scale the features down" in refusal("arrays", path)
    assert load("arrays", path, dtype=np.float64).X_train.max() > 1e199


# Preparation and parts


@pytest.mark.parametrize("how", ["feature", "pixel-mean", "none"])
def test_standardize(tmp_path: Path, how: str) -> None:
    """Each way does what it says, by the training part's figures, which are part of the data set."""
    path = write_arrays(tmp_path, "npz", X=X * 3 + 7, y=Y)
    plain = load("arrays", path, dtype=np.float64)
    dataset = load("arrays", path, dtype=np.float64, standardize=how)
    mean = plain.X_train.mean(axis=0) if how != "none" else np.zeros(4)
    scale = plain.X_train.std(axis=0) if how == "feature" else np.ones(4)
    for part in ("X_train", "X_val", "X_test"):
        np.testing.assert_allclose(getattr(dataset, part), (getattr(plain, part) - mean) / scale, atol=1e-12)
    fitted = dataset.preprocessing
    assert fitted.facts == {"kind": how}
    if how != "none":
        np.testing.assert_allclose(fitted.arrays["mean"], mean)
    if how == "feature":
        np.testing.assert_allclose(fitted.arrays["scale"], scale)


def test_chunks_do_not_change_what_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece the figures are those of scikit-learn's scaler, within rounding; in one piece, to the bit."""
    from sklearn.preprocessing import StandardScaler

    from netcore.data import preprocessing

    numbers = np.column_stack([X, np.full(30, 1 / 3), pixels(30, 2)])
    scaler = StandardScaler().fit(numbers)
    whole = preprocessing.fit(numbers, np.arange(30), "feature").arrays
    assert whole["mean"].tobytes() == scaler.mean_.tobytes()
    assert whole["scale"].tobytes() == scaler.scale_.tobytes()
    monkeypatch.setattr(preprocessing, "_CHUNK", 8 * 7 * 4)
    pieces = preprocessing.fit(numbers, np.arange(30), "feature").arrays
    np.testing.assert_allclose(pieces["mean"], scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(pieces["scale"], scaler.scale_, rtol=1e-12)


@pytest.mark.parametrize(
    ("validation", "test", "rows"), [(6, 3, (21, 6, 3)), (0.1, 9, (18, 3, 9)), (12, 0.1, (15, 12, 3))]
)
def test_parts_are_shares_or_numbers(tmp_path: Path, validation: float, test: float, rows: tuple[int, ...]) -> None:
    """A whole number is a number of rows, a fraction a share of all; every class is in each."""
    dataset = load("arrays", write_arrays(tmp_path, "npz", X=X, y=Y), validation=validation, test=test)
    assert (len(dataset.y_train), len(dataset.y_val), len(dataset.y_test)) == rows
    for y in (dataset.y_train, dataset.y_val, dataset.y_test):
        assert np.bincount(y).tolist() == [len(y) // 3] * 3


# As a user meets it


def test_a_study_on_files_beside_it(tmp_path: Path) -> None:
    """The path is relative to the study file, wherever the command is run; it runs, and is known when it goes on.

    Once the file is damaged, the study ends with exit code 2.
    """
    folder = tmp_path / "studies"
    write_idx(folder / "tiny")
    data = "source = 'idx', path = 'tiny', validation = 6"
    study = write_study(folder / "mine.toml", study="trials = 1", data=data, training="epochs = 1, batch_size = 5")
    done = netcore_command("check", study, cwd=tmp_path)
    assert done.stdout == "mine: 1 trials of 1 epochs on tiny (24 rows to train, 6 to validate, 12 to test)\n"
    for trials in (1, 2):
        tables = run_study(study, results=tmp_path / "found", trials=trials, workers=1)
        assert len(tables.trials) == trials
    (folder / "tiny" / f"{IMAGES}.gz").write_bytes(b"")
    done = netcore_command("run", study, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {folder}/tiny/{IMAGES}.gz: is empty; download the file again\n"
    assert not (tmp_path / "results").exists()


# The real files


@needs("fashion-mnist")
def test_fashion_mnist() -> None:
    """The official files: 60,000 and 10,000 pictures, each class alike."""
    dataset = load("idx", REAL / "fashion-mnist", validation=5000, standardize="feature")
    assert (dataset.X_train.shape, dataset.X_val.shape) == ((55_000, 784), (5000, 784))
    assert np.bincount(dataset.y_test).tolist() == [1000] * 10
    assert np.bincount(dataset.y_val).tolist() == [500] * 10


@needs("cifar-10-batches-py")
def test_cifar10() -> None:
    """The official files at hand: 10,000 rows of each part."""
    path = REAL / "cifar-10-batches-py"
    dataset = load("cifar10", path, train_limit=10_000, validation=1000, standardize="pixel-mean")
    assert np.bincount(dataset.y_test).tolist() == [1000] * 10
    assert (len(dataset.y_train), len(dataset.y_val)) == (9000, 1000)
    assert np.abs(dataset.X_train.mean(axis=0)).max() < 1e-3
