"""Temporary folders that survive no process: a killed process leaves one behind, and the next process removes it."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent` that no other process removes, and remove it afterwards.

    A lock file beside it is held until then. The folder of a killed process has no such holder, and the next process
    that makes a folder with this prefix removes it.

    Raises:
        OSError: the system refuses.
    """
    for leftover in parent.glob(f"{prefix}*/"):
        lock = FileLock(f"{leftover}.lock")
        with suppress(OSError, Timeout):
            lock.acquire(timeout=0)
            _remove(leftover, lock)
    folder = parent / f"{prefix}{uuid.uuid4().hex}"
    lock = FileLock(f"{folder}.lock")
    lock.acquire(timeout=0)  # before the folder exists: a folder without a holder is a leftover
    try:
        folder.mkdir()
        yield folder
    finally:
        _remove(folder, lock)


def _remove(folder: Path, lock: FileLock) -> None:
    """Remove a folder and its lock, which this process holds."""
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    with suppress(OSError):
        Path(lock.lock_file).unlink()
