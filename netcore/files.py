"""Reading and writing the files of a study.

A file is written completely or not at all: the bytes go to a temporary file beside the target, which is flushed to the
disk (fsync) and then renamed to the target; at the end the folder is flushed too. A reader sees the old file or the new
one, never a part of either.

A folder of results may come from elsewhere, so only regular files are read: a pipe could block the reader for ever, and
a device has no end.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from netcore.errors import InputError, NetcoreError, RecordError, WorkError

WRONG_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
"""The system's errors by which another place would do; after any other error, such as a full disk, the work failed."""

_WRITES = count()

ELSEWHERE = "choose another folder with --results, or change its permissions"
"""The default remedy if a place cannot be written to."""

TEMPORARY = ".partial"
"""Suffix of a file that is being written; a file with it that is found later is left from an interrupted write."""


LARGEST = 2**32
"""Bytes of the largest file of a study that is read."""


def read_file(path: Path) -> bytes:
    """Return the content of a regular file of at most `LARGEST` bytes.

    Raises:
        OSError: the file is missing, larger, or not regular, or the system refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would wait for its writer
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if status.st_size > LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.read()


def cannot_read(path: Path, error: OSError) -> InputError:
    """Return the error for a file that cannot be read; without permission, it is not known to be damaged."""
    what = f"cannot be read ({error.strerror or error})"
    if isinstance(error, PermissionError):
        return InputError.at(path, what, remedy="change its permissions")
    return RecordError.at(path, what)


def write_atomically(path: Path, data: bytes, elsewhere: str = ELSEWHERE) -> None:
    """Write `data` to `path`, durably; `elsewhere` is the remedy if the place cannot be written to.

    Raises:
        InputError, WorkError: as in `writing`.
    """
    with writing(path, elsewhere) as file:
        file.write(data)


@contextmanager
def writing(path: Path, elsewhere: str = ELSEWHERE) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path`, durably, at the end of the block; after an exception it is deleted.

    `elsewhere` is the remedy if the place cannot be written to.

    Raises:
        InputError: the place cannot be written to (no permission, read-only); `path` is unchanged.
        WorkError: writing failed otherwise (no space, a disk error). `path` is unchanged or, if only flushing the
            folder failed, the new file.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{next(_WRITES)}{TEMPORARY}")  # no two writers share it
    try:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            flush_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise cannot_write(path, error, elsewhere) from error


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False for a name that the system does not accept.

    Raises:
        PermissionError: the path may not be read, so its state is unknown.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False


def make_folder(path: Path, elsewhere: str = ELSEWHERE) -> None:
    """Create a folder and its parents.

    Raises:
        InputError, WorkError: as in `writing`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error, elsewhere) from error


def cannot_write(path: Path, error: OSError, elsewhere: str = ELSEWHERE) -> NetcoreError:
    """Return the error for a file that cannot be written: InputError for the wrong place, WorkError for a full disk."""
    what = f"cannot be written ({error.strerror or error})"
    if error.errno == errno.EISDIR:
        elsewhere = "move the folder of this name away"
    if error.errno in WRONG_PLACE:
        return InputError.at(path, what, remedy=elsewhere)
    return WorkError.at(
        path, what, remedy="fix the cause, then run the same command again: it continues where it stopped"
    )


def flush_folder(folder: Path) -> None:
    """Flush a folder, so that the names in it are durable; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
