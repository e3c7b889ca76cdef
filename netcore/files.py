"""Writing files: completely or not at all.

The bytes go to a temporary file beside the target, which is flushed to the disk (fsync) and then renamed to the target;
at the end the folder is flushed too. A reader sees the old file or the new one, never a part of either.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from netcore.errors import InputError, NetcoreError, WorkError

WRONG_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
"""The system's errors by which another place would do; after any other error, such as a full disk, the work failed."""

_WRITES = count()

ELSEWHERE = "choose another folder with --results, or change its permissions"
"""The default remedy if a place cannot be written to."""

TEMPORARY = ".partial"
"""Suffix of a file that is being written; a file with it that is found later is left from an interrupted write."""


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
