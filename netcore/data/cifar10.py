"""CIFAR-10: 60,000 colour images of 32 by 32 pixels in ten classes (A. Krizhevsky, 2009), in either official version.

`cifar-10-batches-py` contains six pickles, `cifar-10-batches-bin` six plain files of 3,073 bytes per row: the label,
then the image channel by channel. Rows come out in the order height, width, channel. The pickles are read by
`plain_pickle`, which runs nothing.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netcore.data import plain_pickle
from netcore.data.dataset import IntArray, RawData
from netcore.errors import DataError
from netcore.files import is_file

Pixels = NDArray[np.uint8]

SIDE, CHANNELS = 32, 3
PIXELS = SIDE * SIDE * CHANNELS
"""The numbers of one image: height times width times channels."""

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAINING_FILES, TEST_FILE = tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch"

_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-"


def read_cifar10(path: Path, train_limit: int | None = None) -> RawData:
    """Return the rows of an official folder, shape (50,000, 3072); the test batch is the official test set.

    `train_limit` is the number of training rows to use, the first ones; later batches may then be missing.

    Raises:
        DataError: a batch is missing, damaged, or not in CIFAR-10's format.
    """
    suffix = ".bin" if is_file(path / f"{TEST_FILE}.bin") or is_file(path / f"{TRAINING_FILES[0]}.bin") else ""
    batches: list[tuple[Pixels, IntArray]] = []
    rows = 0
    for name in TRAINING_FILES:
        if train_limit is not None and rows >= train_limit:
            break
        batches.append(read_batch(path / f"{name}{suffix}", rows))
        rows += len(batches[-1][1])
    X_test, y_test = read_batch(path / f"{TEST_FILE}{suffix}")
    if train_limit is not None and train_limit > rows:
        raise DataError.at(path, f"has {rows} training rows", f"train_limit={train_limit}", "lower data.train_limit")
    X, y = (np.concatenate(parts)[:train_limit] for parts in zip(*batches, strict=True))
    return RawData(
        name="cifar10",
        X=X,
        y=y,
        class_names=NAMES,
        feature_names=tuple("pixel_{}_{}_{}".format(*place) for place in np.ndindex(SIDE, SIDE, CHANNELS)),
        image_shape=(SIDE, SIDE, CHANNELS),
        official_test=(X_test, y_test),
        place=str(path),
    )


def read_batch(path: Path, before: int = 0) -> tuple[Pixels, IntArray]:
    """Return pixels (n, 3072), in the order height, width, channel, and classes (n,) of one file of either version.

    `before` is the number of rows in earlier files, for the message that the file is missing.

    Raises:
        DataError: the file is missing, cannot be read or is in another format. Nothing in it is run.
    """
    if not is_file(path):
        least = f", or set data.train_limit to at most {before}" if before else ""
        raise DataError.at(path, "there is no such file", remedy=f"the folder needs all six batches{least}")
    version, unpack = ("binary", _unpack_binary) if path.suffix == ".bin" else ("python", _unpickle)
    try:
        data, labels = unpack(path.read_bytes())
        _check_batch(data, labels)
    except Exception as error:  # a broken pickle may raise anything
        rule = f"cannot be read as a CIFAR-10 batch ({type(error).__name__}: {ascii(str(error))[1:-1]})"
        raise DataError.at(path, rule, remedy=f"download {_ADDRESS}{version}.tar.gz again") from error
    by_channel = data.reshape(-1, CHANNELS, SIDE, SIDE)
    return by_channel.transpose(0, 2, 3, 1).reshape(-1, PIXELS), labels.astype(np.intp)


def _unpack_binary(content: bytes) -> tuple[Pixels, Pixels]:
    """Return the data, shape (n, 3072), and labels, shape (n,), of a file of the binary version."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, PIXELS + 1)
    return rows[:, 1:], rows[:, 0]


def _unpickle(content: bytes) -> tuple[Pixels, Pixels]:
    """Return the data, shape (n, 3072), and labels, shape (n,), of a file of the Python version."""
    batch = plain_pickle.load(content)
    return batch[b"data"].array, np.frombuffer(bytes(iter(batch[b"labels"])), np.uint8)


def _check_batch(data: Pixels, labels: Pixels) -> None:
    """Check that data and labels are those of a batch: as many of one as of the other, and ten classes."""
    if data.shape != (len(labels), PIXELS) or not len(labels):
        raise ValueError(f"its data must have {PIXELS} bytes for each of its labels")
    if labels.max() >= len(NAMES):
        raise ValueError(f"its labels must be whole numbers from 0 to {len(NAMES) - 1}")
