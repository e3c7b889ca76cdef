"""NumPy files on disk: an array of an .npz, or an .npy file, mapped into memory.

A header of 128 bytes can claim terabytes, so the size that it claims is compared with the size of the file before any
memory is allocated. Arrays of objects are refused: they are pickles, and pickles are programs.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from netcore.archive import read_header
from netcore.data.prepared import spill
from netcore.errors import DataError, nearest

SAVE_AGAIN = "write it again with numpy.save or numpy.savez"
"""The remedy for a damaged file."""

_BLOCK = 2**20


def map_file(folder: Path, name: str) -> tuple[NDArray[Any], str]:
    """Return NAME.npy of a folder, mapped into memory, and its place for messages.

    Raises:
        DataError: the file is missing, damaged, empty, or does not contain numbers or texts.
    """
    path = folder / f"{name}.npy"
    try:
        with path.open("rb") as file:
            return _map(file, str(path)), str(path)
    except OSError as error:
        known = sorted(file.stem for file in folder.glob("*.npy"))
        remedy = _known(name, known) or "the folder needs one .npy file for features and one for labels"
        raise DataError.at(path, f"cannot be read ({error.strerror or error})", remedy=remedy) from error


def read_member(path: Path, name: str) -> tuple[NDArray[Any], str]:
    """Return an array of an .npz, mapped from a copy on disk, and its place for messages.

    Raises:
        DataError: the file or the array is missing, damaged, empty, or does not contain numbers or texts.
    """
    place = f"{path}: {name}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.removesuffix(".npy"): member for member in archive.namelist()}
            if name not in members:
                raise DataError.at(place, "the file has no such array", remedy=_known(name, members))
            with archive.open(members[name]) as packed, spill(iter(partial(packed.read, _BLOCK), b"")) as file:
                return _map(file, place), place
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        rule = f"cannot be read as .npz ({getattr(error, 'strerror', None) or ascii(str(error))[1:-1]})"
        raise DataError.at(path, rule, remedy=SAVE_AGAIN) from error


def _known(name: str, names: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the nearest printable ones."""
    return nearest(name, filter(str.isprintable, names))


def _map(file: IO[bytes], place: str) -> NDArray[Any]:
    """Return the array of an .npy whose type is plain numbers or texts, mapped into memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        header = read_header(file)
    except ValueError as error:
        raise DataError.at(place, str(error), remedy=SAVE_AGAIN) from error
    if header.dtype.hasobject:
        raise DataError.at(place, "contains Python objects, which are pickles", remedy="save plain arrays")
    if header.dtype.kind not in "biufUS" or not header.dtype.itemsize:
        raise DataError.at(place, "must contain numbers or texts", ascii(str(header.dtype)), SAVE_AGAIN)
    if size - header.size != header.data:
        raise DataError.at(place, f"its header says {header.data} bytes of data", size - header.size, SAVE_AGAIN)
    if not header.data:
        raise DataError.at(place, "is empty", f"shape {header.shape}", SAVE_AGAIN)
    order: Any = "F" if header.columns_first else "C"
    return np.memmap(file, header.dtype, "r", header.size, header.shape, order)
