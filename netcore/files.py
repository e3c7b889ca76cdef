"""How a file is written: whole or not at all.

The bytes go to a temporary file beside the target, to the disk (fsync), and only then to the target's name (rename);
at the end the folder is flushed too. Whoever reads sees the old file or the new one, never half of either.
"""

import errno
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from netcore.errors import InputError, NetcoreError, WorkError

__all__ = ["TEMPORARY", "cannot_write", "flush_folder", "is_file", "make_folder", "write_atomically"]

_WRONG_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}

_WRITES = count()

TEMPORARY = ".partial"
"""Suffix of a file that is being written; one that is found later is the rest of an interrupted write."""


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path`, durably.

    Raises:
        InputError: the place is not for writing (no permission, read-only); `path` is as it was before.
        WorkError: the system refuses otherwise (no space, an error of the disk). `path` is as it was before, or, where
            the disk took the file and only failed to confirm its name, the new one.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{next(_WRITES)}{TEMPORARY}")  # no two writers share it
    try:
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            flush_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def is_file(path: Path) -> bool:
    """Say whether there is such a file; a name that the system does not even take is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        InputError, WorkError: as for a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> NetcoreError:
    """Say which file the system would not take, and why: the wrong place is wrong input, a full disk failed work."""
    what = f"cannot be written ({error.strerror or error})"
    if error.errno in _WRONG_PLACE:
        return InputError.at(path, what, remedy="choose another folder with --results, or change its permissions")
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
