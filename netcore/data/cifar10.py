"""CIFAR-10: 60,000 colour pictures of 32 by 32 in ten classes (A. Krizhevsky, 2009), from either official folder.

`cifar-10-batches-py` holds six pickles, `cifar-10-batches-bin` six plain files of 3,073 bytes a row: the label, then
the picture channel by channel. Rows are returned height by width by channel. A pickle is a program; the reader here
lets it build numbers, texts, lists, dicts and arrays of bytes only, so nothing in it can run.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netcore.data.raw import RawData
from netcore.errors import DataError
from netcore.files import is_file

__all__ = ["CHANNELS", "PIXELS", "SIDE", "TEST_FILE", "TRAINING_FILES", "read_batch", "read_cifar10"]

SIDE, CHANNELS = 32, 3
PIXELS = SIDE * SIDE * CHANNELS
"""Values of a picture: height times width times channels."""

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAINING_FILES, TEST_FILE = tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch"

_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-"


def read_cifar10(path: Path, train_limit: int | None = None) -> RawData:
    """Read an official folder; the test batch is the official test set.

    `train_limit` keeps that many training rows, the first ones; later batches may be missing.

    Raises:
        DataError: a batch is missing, damaged, or not what it should be.
    """
    suffix = ".bin" if is_file(path / f"{TEST_FILE}.bin") or is_file(path / f"{TRAINING_FILES[0]}.bin") else ""
    batches: list[tuple[NDArray[np.uint8], NDArray[np.intp]]] = []
    rows = 0
    for name in TRAINING_FILES:
        if train_limit is not None and rows >= train_limit:
            break
        batches.append(_read(path / f"{name}{suffix}", rows))
        rows += len(batches[-1][1])
    X_test, y_test = _read(path / f"{TEST_FILE}{suffix}")
    if train_limit is not None and train_limit > rows:
        raise DataError.at(path, f"has {rows} training rows", f"train_limit={train_limit}", "lower data.train_limit")
    X, y = (np.concatenate(parts)[:train_limit] for parts in zip(*batches, strict=True))
    places = ((row, column, colour) for row in range(SIDE) for column in range(SIDE) for colour in range(CHANNELS))
    return RawData(
        name="cifar10",
        X=X,
        y=y,
        class_names=NAMES,
        feature_names=tuple("pixel_{}_{}_{}".format(*place) for place in places),
        image_shape=(SIDE, SIDE, CHANNELS),
        official_test=(X_test, y_test),
        place=str(path),
    )


def _read(path: Path, before: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    if not is_file(path):
        least = f", or take the first {before} rows at most with data.train_limit" if before else ""
        raise DataError.at(path, "there is no such file", remedy=f"the folder needs all six batches{least}")
    return _read_binary(path) if path.suffix == ".bin" else read_batch(path)


def _read_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Read one file of the binary version."""
    again = f"fetch {_ADDRESS}binary.tar.gz again"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError.at(path, f"cannot be read ({error.strerror or error})", remedy=again) from error
    if not data or len(data) % (PIXELS + 1):
        raise DataError.at(path, f"must hold rows of {PIXELS + 1} bytes", f"{len(data)} bytes", again)
    rows = np.frombuffer(data, np.uint8).reshape(-1, PIXELS + 1)
    if rows[:, 0].max() >= len(NAMES):
        row = int(np.argmax(rows[:, 0] >= len(NAMES)))
        raise DataError.at(path, f"its labels must be 0 to {len(NAMES) - 1}", f"{rows[row, 0]} in row {row + 1}", again)
    return _by_height(rows[:, 1:]), rows[:, 0].astype(np.intp)


def _by_height(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reorder rows from channel by height by width to height by width by channel."""
    return data.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1).reshape(-1, PIXELS)


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Read one file of the Python version: pixels (n, 3072), height by width by channel, and classes (n,).

    Raises:
        DataError: the file cannot be read, or is no such file. Nothing in it is run.
    """
    try:
        content = path.read_bytes()
        _check_sizes(content)
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
        data, labels = batch[b"data"], batch[b"labels"]
        data = data.array if isinstance(data, _Array) else data
        rule = _broken_rule(data, labels)
    except Exception as error:  # noqa: BLE001  # a broken pickle may raise anything
        rule = f"cannot be read as a file of CIFAR-10 ({type(error).__name__}: {ascii(str(error))[1:-1]})"
    if rule:
        raise DataError.at(path, rule, remedy=f"fetch {_ADDRESS}python.tar.gz again")
    return _by_height(data), np.array(labels, np.intp)


def _broken_rule(data: object, labels: object) -> str:
    """Return the rule of the format that the two parts of a file break, or an empty text."""
    if not (isinstance(data, np.ndarray) and data.ndim == 2 and data.shape[1] == PIXELS and len(data)):  # noqa: PLR2004
        return f"its data must be bytes of shape (n, {PIXELS})"
    if not (isinstance(labels, list) and len(labels) == len(data)):
        return "its labels must be a list, one for each row of its data"
    if not all(type(label) is int and 0 <= label < len(NAMES) for label in labels):
        return f"its labels must be whole numbers from 0 to {len(NAMES) - 1}"
    return ""


class _ByteType:
    """Stands in for `numpy.dtype`: of all types, the one that the pixels have."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        if code not in {b"u1", "u1"}:
            raise pickle.UnpicklingError(f"it asks for numbers of type {code!r}, pixels are bytes")

    def __setstate__(self, state: object) -> None:
        """Ignore the state: a byte has neither an order nor fields."""


class _Array:
    """Stands in for a NumPy array and its class until the bytes are known, so that no pickle ever calls NumPy."""

    array: NDArray[np.uint8] | None = None

    def __init__(self, *_: object) -> None:
        """Ignore NumPy's first arguments: the class, an empty shape, a type."""

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  # whatever a pickle holds
        """Become the array of a shape, a type, an order and bytes."""
        _, (rows, columns), kind, columns_first, data = state
        if not (isinstance(kind, _ByteType) and isinstance(data, bytes) and rows * columns == len(data)):
            raise pickle.UnpicklingError("its array is not one of bytes, as many as its shape says")
        self.array = np.frombuffer(data, np.uint8).reshape((rows, columns), order="F" if columns_first else "C")


_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # its name since NumPy 2
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _ByteType,
}
"""Everything that a pickle may call: what NumPy builds an array from."""


class _Reader(pickle.Unpickler):
    """Loads pickles of numbers, texts, lists, dicts and arrays of bytes; refuses a pickle that asks for more."""

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        """Return what a pickle may call under this name."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused") from None


def _check_sizes(content: bytes) -> None:
    """Refuse a pickle that states sizes beyond its own: `pickle` reserves memory for some of them.

    A place in the memo is enough: a file of five bytes could ask for 64 GiB.

    Raises:
        UnpicklingError: it does.
        ValueError: it is cut short, or no pickle.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in {"PUT", "LONG_BINPUT", "FRAME"} and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"it states a size of {argument} in a file of {len(content):,} bytes")
