"""How a file is written: whole or not at all.

The bytes go to a temporary file beside the target, to the disk (fsync), and only then to the target's name (rename);
at the end the folder is flushed too. Whoever reads sees the old file or the new one, never half of either.
"""

import os
from contextlib import suppress
from pathlib import Path

from netcore.errors import WorkError

__all__ = ["TEMPORARY", "make_folder", "write_atomically"]

TEMPORARY = ".partial"
"""Suffix of a file that is being written; one that is found later is the rest of an interrupted write."""


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path`, durably.

    Raises:
        WorkError: the system refuses (no space, no permission); `path` is as it was before.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _flush_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        WorkError: the system refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> WorkError:
    """Say which file the system would not take, and why."""
    remedy = "make room or fix the permissions, then run the same command again: it goes on where it stopped"
    return WorkError.at(path, f"cannot be written ({error.strerror or error})", remedy=remedy)


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder durable; Windows has no such call and does not need it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
