"""IDX, the format of MNIST, Fashion-MNIST, KMNIST and QMNIST: a folder with the four official files, .gz or plain.

A file contains a magic number (two zero bytes, 8 for unsigned bytes, the number of dimensions), the dimensions as
big-endian 32-bit numbers, and the data (Y. LeCun, http://yann.lecun.com/exdb/mnist, "The IDX file format").
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netcore.data.dataset import RawData
from netcore.errors import DataError
from netcore.files import is_file

_AGAIN = "download the file again"


def read_idx(path: Path) -> RawData:
    """Return the rows of a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, shape (N, D).

    The files t10k-… are the official test set.

    Raises:
        DataError: a file is missing, damaged or not IDX, or images and labels differ in number.
    """
    X, y, shape = _read_pair(path, "train")
    X_test, y_test, test_shape = _read_pair(path, "t10k")
    if shape != test_shape:
        raise DataError.at(path, "images of both parts must have the same size", f"{shape} and {test_shape}", _AGAIN)
    classes = int(max(y.max(), y_test.max())) + 1
    return RawData(
        name=path.resolve().name,
        X=X,
        y=y,
        class_names=tuple(map(str, range(classes))),
        feature_names=tuple(f"pixel_{row}_{column}" for row, column in np.ndindex(shape)),
        image_shape=(*shape, 1),
        official_test=(X_test, y_test),
        place=str(path),
    )


def _read_pair(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.intp], tuple[int, int]]:
    """Return images, shape (n, D), labels (n,), and height and width of one part."""
    image_file, label_file = _find(folder, f"{part}-images-idx3-ubyte"), _find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx_file(image_file, 3), read_idx_file(label_file, 1)
    if len(images) != len(labels):
        rule = f"there must be as many images as labels, got {len(images)} images"
        raise DataError.at(image_file, rule, remedy=f"{label_file} has {len(labels)} labels; {_AGAIN}")
    return images.reshape(len(images), -1), labels.astype(np.intp), (images.shape[1], images.shape[2])


def _find(folder: Path, name: str) -> Path:
    """Return the path of a file, plain or packed."""
    for path in (folder / name, folder / f"{name}.gz"):
        if is_file(path):
            return path
    remedy = "the folder needs the four official files, train- and t10k-, images and labels"
    raise DataError.at(folder, f"must contain {name} or {name}.gz", remedy=remedy)


def read_idx_file(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of a file of unsigned bytes: shape (n, height, width) with 3 dimensions, (n,) with 1.

    Raises:
        DataError: the file cannot be read, is truncated, too long, or in another format.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        rule = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise DataError.at(path, rule, remedy=_AGAIN) from error
    if not content:
        raise DataError.at(path, "is empty", remedy=_AGAIN)
    magic, header = bytes([0, 0, 8, dimensions]), 4 + 4 * dimensions
    if content[:4] != magic:
        found = content[:4].hex()
        raise DataError.at(path, f"must begin with the magic number {magic.hex()}", found, "is this the right file?")
    if len(content) < header:
        raise DataError.at(path, "is truncated in its header", remedy=_AGAIN)
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if math.prod(shape) != len(content) - header:
        rule = f"its header says {math.prod(shape)} bytes of data"
        raise DataError.at(path, rule, len(content) - header, _AGAIN)
    if 0 in shape:
        raise DataError.at(path, "must contain data", f"dimensions {shape}", _AGAIN)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
