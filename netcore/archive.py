"""The files that hold results: an ordinary .npz (`numpy.load` opens it) whose checksum is its own last 64 bytes.

These are the zip archive's comment: the SHA-256 of all bytes before them, checked before anything is parsed. Hashing
only the arrays would miss a bit flipped in the structure of the archive. Nothing is unpickled.

A forged file can have a valid checksum. So reading takes no more memory than the file has bytes, whatever the archive
and the headers in it claim.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from mmap import mmap
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from netcore.errors import RecordError

_CHECKSUM = 64
_LONGEST_HEADER = 2**16
"""The number of bytes in which the header of an .npy must end; NumPy's own limit is lower."""


def pack(members: Mapping[str, bytes | NDArray[Any]]) -> bytes:
    """Return an archive of arrays, as NAME.npy, and bytes, as they are; equal members give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            if isinstance(content, bytes):
                archive.writestr(zipfile.ZipInfo(name), content)
            else:
                array = io.BytesIO()
                npy.write_array(array, np.ascontiguousarray(content), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue())
        archive.comment = b"0" * _CHECKSUM
    body = buffer.getvalue()[:-_CHECKSUM]
    return body + hashlib.sha256(body).hexdigest().encode()


def unpack(data: bytes, place: object, remedy: str = "") -> dict[str, bytes]:
    """Check the checksum, then return the members, each as its bytes.

    Raises:
        RecordError: the file is truncated, altered, or not such an archive; `place` names it.
    """
    body, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
    if len(data) <= _CHECKSUM or hashlib.sha256(body).hexdigest().encode() != checksum:
        raise RecordError.at(place, "is truncated or altered (its checksum does not hold)", remedy=remedy)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {member.filename: archive.read(member) for member in _stored(archive, len(data))}
    except (zipfile.BadZipFile, EOFError, OSError, OverflowError, RuntimeError, ValueError) as error:
        raise RecordError.at(place, f"is not a zip archive ({error})", remedy=remedy) from error


def _stored(archive: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    """Return the uncompressed members; netcore compresses none, and a compressed one could be of any size."""
    stored = [member for member in archive.infolist() if member.compress_type == zipfile.ZIP_STORED]
    if sum(member.compress_size for member in stored) > size:
        raise ValueError("its members overlap")  # many small members could each claim the same large part
    return stored


def array_of(content: bytes | mmap) -> NDArray[Any]:
    """Return the read-only array in the content of an .npy file; nothing is copied.

    The header is compared with the size of the content before any memory is allocated: 128 bytes can claim terabytes.

    Raises:
        ValueError: the content is not an .npy, is damaged, or holds anything but plain numbers or texts. Objects are
            refused because they are pickles, and pickles are programs.
    """
    file = io.BytesIO(content[:_LONGEST_HEADER])
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, columns_first, dtype = read(file)
    except Exception as error:  # NumPy parses Python literals there, and many things can go wrong
        raise ValueError("is not an .npy array, or its header is damaged") from error
    if dtype.hasobject:
        raise ValueError("contains Python objects, which are pickles")
    if dtype.kind not in "biufUS" or not dtype.itemsize:
        raise ValueError(f"must contain numbers or texts, got {str(dtype)!a}")
    claimed, size = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if claimed != size:
        raise ValueError(f"its header says {claimed} bytes of data, got {size}")
    order: Any = "F" if columns_first else "C"
    return np.ndarray(shape, dtype, content, file.tell(), order=order)
