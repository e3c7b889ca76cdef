"""NumPy files on disk: an array of an .npz, or an .npy file, mapped into memory.

A header of 128 bytes can claim terabytes. So each header is parsed first, and its shape compared with the size of the
file, before any memory is allocated. Arrays of objects are refused: they are pickles, and pickles are programs.
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
from netcore.errors import DataError, nearest

SAVE_AGAIN = "write it again with numpy.save or numpy.savez"
"""The remedy for a damaged file."""

_BLOCK = 2**20
_LARGEST_RATIO = 1032
"""Deflate expands one byte to 1,032 bytes at most (zlib's technical details)."""


def map_file(folder: Path, name: str) -> tuple[NDArray[Any], str]:
    """Return NAME.npy of a folder, mapped into memory, and its place for messages.

    Raises:
        DataError: the file is missing, damaged, empty, or does not contain numbers or texts.
    """
    path = folder / f"{name}.npy"
    try:
        with path.open("rb") as file:
            header = _read_header(file, str(path))
        size = path.stat().st_size - header.size
    except OSError as error:
        known = sorted(file.stem for file in folder.glob("*.npy"))
        remedy = _known(name, known) or "the folder needs one .npy file for features and one for labels"
        raise DataError.at(path, f"cannot be read ({error.strerror or error})", remedy=remedy) from error
    if size != header.data:
        raise DataError.at(path, f"its header says {header.data} bytes of data", size, SAVE_AGAIN)
    if not size:
        raise DataError.at(path, "is empty", f"shape {header.shape}", SAVE_AGAIN)
    order: Any = "F" if header.columns_first else "C"
    return np.memmap(path, header.dtype, "r", header.size, header.shape, order), str(path)


def read_member(path: Path, name: str) -> tuple[NDArray[Any], str]:
    """Return an array of an .npz, mapped from a copy on disk, and its place for messages.

    Raises:
        DataError: the file or the array is missing, damaged, empty, or does not contain numbers or texts.
    """
    place = f"{path}: {name}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if name not in members:
                raise DataError.at(place, "the file has no such array", remedy=_known(name, members))
            entry = members[name]
            packed = entry.compress_type == zipfile.ZIP_DEFLATED
            if entry.flag_bits & 1 or not (packed or entry.compress_type == zipfile.ZIP_STORED):
                raise DataError.at(place, "must be stored or deflated, not encrypted", remedy=SAVE_AGAIN)
            limit = min(entry.compress_size, path.stat().st_size) * (_LARGEST_RATIO if packed else 1)
            with archive.open(entry) as file:
                header = _read_header(file, place)
                if header.data + header.size != entry.file_size or entry.file_size > limit:
                    rule = f"its header says {header.data} bytes of data"
                    raise DataError.at(place, rule, "a file of another size", SAVE_AGAIN)
                array = _unpack(file, header, place)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        rule = f"cannot be read as .npz ({getattr(error, 'strerror', None) or ascii(str(error))[1:-1]})"
        raise DataError.at(path, rule, remedy=SAVE_AGAIN) from error
    return array, place


def _known(name: str, names: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the nearest printable ones."""
    return nearest(name, filter(str.isprintable, names))


def _unpack(file: IO[bytes], header: Header, place: str) -> NDArray[Any]:
    """Return an array of an archive, unpacked into an unnamed file and mapped from there."""
    if not header.data:
        raise DataError.at(place, "is empty", f"shape {header.shape}", SAVE_AGAIN)
    with spill(iter(partial(file.read, _BLOCK), b"")) as unpacked:
        if unpacked.tell() != header.data:
            raise DataError.at(place, f"its header says {header.data} bytes of data", unpacked.tell(), SAVE_AGAIN)
        order: Any = "F" if header.columns_first else "C"
        return np.memmap(unpacked, header.dtype, "r", 0, header.shape, order)


def _read_header(file: IO[bytes], place: str) -> Header:
    """Return the header of an .npy whose type is plain numbers or texts."""
    try:
        header = read_header(file)
    except ValueError as error:
        raise DataError.at(place, str(error), remedy=SAVE_AGAIN) from error
    if header.dtype.hasobject:
        raise DataError.at(place, "contains Python objects, which are pickles", remedy="save plain arrays")
    if header.dtype.kind not in "biufUS" or not header.dtype.itemsize:
        raise DataError.at(place, "must contain numbers or texts", ascii(str(header.dtype)), SAVE_AGAIN)
    return header
