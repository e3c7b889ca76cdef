"""NumPy's own files: an .npz with two arrays, or a folder with two .npy files; both are mapped into memory.

A header is a claim: 128 bytes can announce terabytes. So each is parsed first, its shape is compared with the size of
the file, and only then is anything allocated. Objects are refused: they would be pickles, and pickles are programs.
"""

import zipfile
import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from netcore.archive import Header, read_header
from netcore.data.prepared import spill
from netcore.data.preprocessing import chunks
from netcore.data.raw import RawData
from netcore.errors import DataError, nearest
from netcore.files import is_file

__all__ = ["map_file", "read_arrays", "read_member"]

_AGAIN = "write it again with numpy.save or numpy.savez"
_BLOCK = 2**20
_LARGEST_RATIO = 1032
"""Deflate turns one byte into 1,032 at the very most (zlib's technical details)."""
_LAST_LETTER, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
"""Of Unicode: the largest number of a letter, and those that are none."""
_IMAGES = {3: (1,), 4: (1, 3)}
"""By the number of dimensions of the features: how many channels make them pictures."""


def read_arrays(path: Path, features: str = "X", labels: str = "y") -> RawData:
    """Read `features` and `labels` from an .npz, or as .npy files of these names from a folder.

    Features are numbers of shape (n, D), or pictures of shape (n, height, width) or (n, height, width, channels).
    Labels are n whole numbers or texts; each different one is a class.

    Raises:
        DataError: a file is missing, damaged, holds objects, or the two do not belong together.
    """
    if path.suffix == ".npy":
        remedy = f"name the folder {path.parent}, and the files by data.features and data.labels"
        raise DataError.at(path, "must be an .npz or a folder of .npy files", "an .npy file", remedy)
    read = read_member if is_file(path) else map_file
    X, x_place = read(path, features)
    y, y_place = read(path, labels)
    if X.dtype.kind not in "biuf" or X.ndim not in {2, 3, 4} or not X.size:
        rule = "features must be numbers of shape (n, D), (n, height, width) or (n, height, width, channels)"
        raise DataError.at(x_place, rule, f"{X.dtype} of shape {X.shape}", "reshape them before they are saved")
    if y.ndim != 1 or len(y) != len(X):
        rule = f"labels must be {len(X)} in one dimension, one for each row of the features"
        raise DataError.at(y_place, rule, f"shape {y.shape}", "take numpy.argmax of one-hot rows, ravel a column")
    image_shape = (*X.shape[1:3], X.shape[3] if X.ndim == 4 else 1) if X.ndim in _IMAGES else None  # noqa: PLR2004
    if image_shape is not None and image_shape[2] not in _IMAGES[X.ndim]:
        image_shape = None
    X = X.reshape(len(X), -1)
    _refuse_what_is_not_finite(X, x_place)
    names, classes = np.unique(_whole(y, y_place), return_inverse=True)
    return RawData(
        name=path.resolve().stem,
        X=X,
        y=classes.astype(np.intp),
        class_names=tuple(map(str, names.tolist())),
        feature_names=tuple(f"{features}_{column}" for column in range(X.shape[1])),
        image_shape=image_shape,
        place=str(path),
    )


def _known(name: str, names: Iterable[str]) -> str:
    """Name the nearest arrays, of those whose names can be printed."""
    return nearest(name, filter(str.isprintable, names))


def map_file(folder: Path, name: str) -> tuple[NDArray[Any], str]:
    """Map NAME.npy of a folder into memory."""
    path = folder / f"{name}.npy"
    try:
        with path.open("rb") as file:
            header = _read_header(file, str(path))
        size = path.stat().st_size - header.size
    except OSError as error:
        known = sorted(file.stem for file in folder.glob("*.npy"))
        remedy = _known(name, known) or "a folder needs one .npy file for features and one for labels"
        raise DataError.at(path, f"cannot be read ({error.strerror or error})", remedy=remedy) from error
    if size != header.data:
        raise DataError.at(path, f"its header says {header.data} bytes of data", size, _AGAIN)
    if not size:
        raise DataError.at(path, "is empty", f"shape {header.shape}", _AGAIN)
    order: Any = "F" if header.columns_first else "C"
    return np.memmap(path, header.dtype, "r", header.size, header.shape, order), str(path)


def read_member(path: Path, name: str) -> tuple[NDArray[Any], str]:
    """Read an array of an .npz."""
    place = f"{path}: {name}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if name not in members:
                raise DataError.at(place, "there is no such array in the file", remedy=_known(name, members))
            entry = members[name]
            packed = entry.compress_type == zipfile.ZIP_DEFLATED
            if entry.flag_bits & 1 or not (packed or entry.compress_type == zipfile.ZIP_STORED):
                raise DataError.at(place, "must be stored or deflated, and not encrypted", remedy=_AGAIN)
            limit = min(entry.compress_size, path.stat().st_size) * (_LARGEST_RATIO if packed else 1)
            with archive.open(entry) as file:
                header = _read_header(file, place)
                if header.data + header.size != entry.file_size or entry.file_size > limit:
                    raise DataError.at(
                        place, f"its header says {header.data} bytes of data", "another size of the file", _AGAIN
                    )
                array = _unpack(file, header, place)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        rule = f"cannot be read as .npz ({getattr(error, 'strerror', None) or ascii(str(error))[1:-1]})"
        raise DataError.at(path, rule, remedy=_AGAIN) from error
    return array, place


def _unpack(file: IO[bytes], header: Header, place: str) -> NDArray[Any]:
    """Copy an array out of its archive into the cache, and map it from there."""
    if not header.data:
        raise DataError.at(place, "is empty", f"shape {header.shape}", _AGAIN)
    with spill(iter(partial(file.read, _BLOCK), b"")) as unpacked:
        if unpacked.tell() != header.data:
            raise DataError.at(place, f"its header says {header.data} bytes of data", unpacked.tell(), _AGAIN)
        order: Any = "F" if header.columns_first else "C"
        return np.memmap(unpacked, header.dtype, "r", 0, header.shape, order)


def _read_header(file: IO[bytes], place: str) -> Header:
    """Parse the header of an .npy, and refuse types that are not plain numbers or texts."""
    try:
        header = read_header(file)
    except ValueError as error:
        raise DataError.at(place, str(error), remedy=_AGAIN) from error
    if header.dtype.hasobject:
        raise DataError.at(place, "holds Python objects, which are pickles and are refused", remedy="save plain arrays")
    if header.dtype.kind not in "biufUS" or not header.dtype.itemsize:
        raise DataError.at(place, "must hold numbers or texts", ascii(str(header.dtype)), _AGAIN)
    return header


def _refuse_what_is_not_finite(X: NDArray[Any], place: str) -> None:
    """Refuse NaN and infinity, and say how many there are and where the first is."""
    if X.dtype.kind != "f":
        return
    count, first = 0, -1
    for part in chunks(*X.shape):
        wrong = ~np.isfinite(X[part])
        if wrong.any():
            count += int(wrong.sum())
            first = first if first >= 0 else part.start + int(np.argmax(wrong.any(axis=1)))
    if count:
        what = f"{count} that are NaN or infinite, the first in row {first + 1}"
        raise DataError.at(place, "features must be finite numbers", what, "leave these rows out, or fill them in")


def _whole(y: NDArray[Any], place: str) -> NDArray[Any]:
    """Give labels as whole numbers or texts."""
    if y.dtype.kind == "f":
        wrong = ~np.isfinite(y) | (np.trunc(y) != y) | (np.abs(y) > 2.0**53)
        if wrong.any():
            row = int(np.argmax(wrong))
            rule = "labels must be whole numbers or texts"
            raise DataError.at(place, rule, f"{y[row]} in row {row + 1}", "netcore tells classes apart, not amounts")
        return y.astype(np.int64)
    if y.dtype.kind == "U":
        letters = np.ascontiguousarray(y).view(np.dtype(np.uint32).newbyteorder(y.dtype.byteorder))
        if ((letters > _LAST_LETTER) | ((letters >= _SURROGATES[0]) & (letters <= _SURROGATES[1]))).any():
            raise DataError.at(place, "labels must be Unicode text", remedy=_AGAIN)
    return np.char.decode(y, "latin-1") if y.dtype.kind == "S" else y
