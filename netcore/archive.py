"""The files that hold results: an ordinary .npz (`numpy.load` opens it) whose checksum is its own last 64 bytes.

They are the zip archive's comment, the SHA-256 of all bytes before them, checked before anything is parsed: hashing
the arrays alone would miss a bit flipped in the archive's own structure. Nothing in it is ever unpickled, and equal
members give equal bytes.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netcore.errors import RecordError

__all__ = ["array_of", "pack", "unpack"]

_CHECKSUM = 64


def pack(members: Mapping[str, bytes | NDArray[Any]]) -> bytes:
    """Pack arrays (as NAME.npy) and bytes (as they are)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            if isinstance(content, bytes):
                archive.writestr(zipfile.ZipInfo(name), content)
            else:
                array = io.BytesIO()
                np.lib.format.write_array(array, np.ascontiguousarray(content), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue())
        archive.comment = b"0" * _CHECKSUM
    body = buffer.getvalue()[:-_CHECKSUM]
    return body + hashlib.sha256(body).hexdigest().encode()


def unpack(data: bytes, place: object, remedy: str = "") -> dict[str, bytes]:
    """Check the checksum, then give the members, each as its bytes.

    Raises:
        RecordError: truncated, altered, or not such a file; `place` says which, `remedy` what to do.
    """
    body, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
    if len(data) <= _CHECKSUM or hashlib.sha256(body).hexdigest().encode() != checksum:
        raise RecordError.at(place, "is truncated or altered (its checksum does not hold)", remedy=remedy)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Ours are stored as they are; what is compressed could be of any size, and is not read.
            stored = [member for member in archive.infolist() if member.compress_type == zipfile.ZIP_STORED]
            return {member.filename: archive.read(member) for member in stored}
    except (zipfile.BadZipFile, EOFError, OSError, OverflowError, RuntimeError, ValueError) as error:
        raise RecordError.at(place, f"is not a zip archive ({error})", remedy=remedy) from error


def array_of(content: bytes) -> NDArray[Any]:
    """Give the array of a member NAME.npy; objects are refused.

    Raises:
        ValueError: it holds something else.
    """
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array
