"""How a file is written: whole or not at all.

The bytes go to a temporary file beside the target, to the disk (fsync), and only then to the target's name (rename);
at the end the folder is flushed too. Whoever reads sees the old file or the new one, never half of either.
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

__all__ = ["TEMPORARY", "cannot_write", "flush_folder", "is_file", "make_folder", "write_atomically", "writing"]

_WRONG_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}

_WRITES = count()

ELSEWHERE = "choose another folder with --results, or change its permissions"
"""What to do where the place is not for writing, unless somebody knows better."""

TEMPORARY = ".partial"
"""Suffix of a file that is being written; one that is found later is the rest of an interrupted write."""


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path`, durably.

    Raises:
        InputError, WorkError: as in `writing`.
    """
    with writing(path) as file:
        file.write(data)


@contextmanager
def writing(path: Path, elsewhere: str = ELSEWHERE) -> Iterator[BinaryIO]:
    """Give a file that becomes `path`, durably, once the block has ended well; else nothing of it is left.

    `elsewhere` is the remedy where the place is not for writing.

    Raises:
        InputError: the place is not for writing (no permission, read-only); `path` is as it was before.
        WorkError: the system refuses otherwise (no space, an error of the disk). `path` is as it was before, or, where
            the disk took the file and only failed to confirm its name, the new one.
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
    """Say whether there is such a file; a name that the system does not even take is none.

    Raises:
        PermissionError: it may not be looked at, so there may be one.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False


def make_folder(path: Path, elsewhere: str = ELSEWHERE) -> None:
    """Make a folder and those above it.

    Raises:
        InputError, WorkError: as for a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error, elsewhere) from error


def cannot_write(path: Path, error: OSError, elsewhere: str = ELSEWHERE) -> NetcoreError:
    """Say which file the system would not take, and why: the wrong place is wrong input, a full disk failed work."""
    what = f"cannot be written ({error.strerror or error})"
    if error.errno == errno.EISDIR:
        elsewhere = "move the folder of this name away"
    if error.errno in _WRONG_PLACE:
        return InputError.at(path, what, remedy=elsewhere)
    return WorkError.at(path, what, remedy="see to it, then run the same command again: it goes on where it stopped")


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable; Windows has no such call and does not need it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
