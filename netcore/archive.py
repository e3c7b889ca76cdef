"""The files that hold results: an ordinary .npz (`numpy.load` opens it) whose checksum is its own last 64 bytes.

These are the zip archive's comment: the SHA-256 of all bytes before them, checked before anything is parsed. Hashing
only the arrays would miss a bit flipped in the structure of the archive. Nothing is unpickled, and equal members give
equal bytes.

A forged file can have a valid checksum. So reading takes no more memory than the file has bytes, whatever the archive
and the headers in it claim.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from netcore.errors import RecordError

_CHECKSUM = 64


def pack(members: Mapping[str, bytes | NDArray[Any]]) -> bytes:
    """Return an archive of arrays (as NAME.npy) and bytes (as they are)."""
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


class Header(NamedTuple):
    """The header of an .npy: a description of the array that follows."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype[Any]
    size: int
    """Length of the header, in bytes."""

    @property
    def data(self) -> int:
        """Length of the data, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """Return the header of an .npy, without allocating what it claims.

    Raises:
        ValueError: the file is not an .npy, or damaged.
        OSError: the file cannot be read.
    """
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        header = Header(*read(file), size=file.tell())
    except OSError:
        raise
    except Exception as error:  # NumPy parses Python literals there, and many things can go wrong
        raise ValueError("is not an .npy array, or its header is damaged") from error
    if any(type(length) is not int or length < 0 for length in header.shape):
        raise ValueError("its shape is not one of whole numbers")
    return header


def array_of(content: bytes) -> NDArray[Any]:
    """Return the read-only array of a member NAME.npy.

    Raises:
        ValueError: the member is not an array of numbers; objects, which would be pickles, are refused.
    """
    header = read_header(io.BytesIO(content))
    if header.dtype.hasobject or not header.dtype.itemsize:
        raise ValueError(f"an array of {header.dtype} holds no numbers")
    if header.data != len(content) - header.size:
        raise ValueError(f"its header says {header.data} bytes of data, there are {len(content) - header.size}")
    order: Any = "F" if header.columns_first else "C"
    return np.ndarray(header.shape, header.dtype, content, header.size, order=order)
