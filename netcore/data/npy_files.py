"""NumPy files on disk: an .npy file, or an array of an .npz, mapped into memory.

A file in, an array out: it takes memory only where it is read. `netcore.archive.array_of` checks the header and refuses
everything but plain numbers and texts. An array of an .npz is first unpacked into a file without a name.
"""

import os
import zipfile
import zlib
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from netcore.archive import array_of
from netcore.data.prepared import spill
from netcore.errors import DataError, nearest

SAVE_AGAIN = "write it again with numpy.save or numpy.savez, as plain numbers or texts"
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
        known = [file.stem for file in folder.glob("*.npy")]
        remedy = nearest(name, known) or "the folder needs one .npy file for features and one for labels"
        raise DataError.at(path, f"cannot be read ({error.strerror or error})", remedy=remedy) from error


def read_member(path: Path, *names: str, or_only: bool = False) -> tuple[NDArray[Any], str]:
    """Return an array of an .npz, mapped from a copy on disk, and its place for messages.

    The array is the first of `names` that the file has; with `or_only` and none of them, the file's only array.

    Raises:
        DataError: the file or the array is missing, damaged, empty, or does not contain numbers or texts.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.removesuffix(".npy"): member for member in archive.namelist()}
            only = tuple(members) if or_only and len(members) == 1 else ()
            name = next((name for name in names + only if name in members), names[-1])
            place = f"{path}: {name}"
            if name not in members:
                raise DataError.at(place, "the file has no such array", remedy=nearest(name, members))
            with archive.open(members[name]) as packed, spill(iter(partial(packed.read, _BLOCK), b"")) as file:
                return _map(file, place), place
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        rule = f"cannot be read as .npz ({getattr(error, 'strerror', None) or ascii(str(error))[1:-1]})"
        raise DataError.at(path, rule, remedy=SAVE_AGAIN) from error


def _map(file: IO[bytes], place: str) -> NDArray[Any]:
    """Return the array of an .npy, mapped into memory."""
    if not file.seek(0, os.SEEK_END):
        raise DataError.at(place, "is empty", remedy=SAVE_AGAIN)
    try:
        array = array_of(mmap(file.fileno(), 0, access=ACCESS_READ))
    except ValueError as error:
        raise DataError.at(place, str(error), remedy=SAVE_AGAIN) from error
    if not array.size:
        raise DataError.at(place, "is empty", f"shape {array.shape}", SAVE_AGAIN)
    return array
