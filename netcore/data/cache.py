"""Prepared data on disk, so that all workers map the same memory and a training set may be larger than it.

NETCORE_CACHE, else the platform's cache folder, holds one folder per data set, named by its digest. The arrays are
written as they are prepared, block by block, into a folder of another name, which gets its own when it is whole; a
digest that is there already is not written again. What nobody has opened for a month goes when the next one comes.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import platformdirs
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from netcore.archive import pack, unpack
from netcore.data.dataset import Dataset, Put
from netcore.data.preprocessing import from_members, to_members
from netcore.errors import DataError, RecordError
from netcore.files import flush_folder, write_atomically

__all__ = ["cache_folder", "discard", "open_dataset", "spill", "through_cache"]

_FACTS = "dataset.npz"
_TOLD = ("name", "class_names", "feature_names", "image_shape", "digest")
_ARRAYS = tuple(f"{letter}_{part}" for part in ("train", "val", "test") for letter in "Xy")
_UNFINISHED = ".new-"
_DAY = 24 * 3600.0
_KEPT = 30 * _DAY
"""Seconds that a data set stays after it was last opened."""


def cache_folder() -> Path:
    """Give the folder of prepared data: NETCORE_CACHE, else netcore's part of the platform's cache folder."""
    if named := os.environ.get("NETCORE_CACHE"):
        return Path(named)
    return platformdirs.user_cache_path("netcore", appauthor=False) / "prepared"


def through_cache(prepare: Callable[[Put], Dataset], *, shared: bool = True) -> Dataset:
    """Prepare data into the cache, and give them mapped from there.

    `prepare` gets what puts its arrays on disk, and gives the data set that they make. What is not `shared` with other
    runs bears a name of its own, until `discard` takes it away.

    Raises:
        DataError: the cache cannot be written, or whatever `prepare` finds.
    """
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _tidy(root)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
    except OSError as error:
        raise _no_room(root, error) from error
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
        dataset = prepare(_put_into(unfinished))
        try:
            _describe(dataset, unfinished)
            kept = _keep(unfinished, root / dataset.digest) if shared else unfinished
        except OSError as error:
            raise _no_room(root, error) from error
        if not shared:
            stack.pop_all()
        return open_dataset(kept)


@lru_cache(maxsize=4)
def open_dataset(path: Path) -> Dataset:
    """Map a data set of the cache into memory: nothing is read until it is looked at.

    Raises:
        DataError: it is not there, or not whole.
    """
    try:
        with suppress(OSError):  # it only says that the data are in use; a folder of somebody else's may be read too
            os.utime(path)
        first, *others = [_read_fold(path, number) for number in range(len(list(path.glob(f"*.{_FACTS}"))))]
    except (OSError, ValueError, KeyError, TypeError, RecordError) as error:
        remedy = "remove this folder; it is made again"
        raise DataError.at(path, f"the prepared data are not whole ({error})", remedy=remedy) from error
    return replace(first, others=tuple(others), path=path)


def spill(blocks: Iterable[bytes]) -> IO[bytes]:
    """Write blocks into a file of the cache that has no name, so that its room is free again when nobody maps it.

    Raises:
        DataError: the cache cannot be written.
    """
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=root)  # noqa: SIM115  # the caller's to close
    except OSError as error:
        raise _no_room(root, error) from error
    for block in blocks:
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            raise _no_room(root, error) from error
    return file


def discard(dataset: Dataset) -> None:
    """Take a data set that is not shared out of the cache; who has it mapped keeps it."""
    if dataset.path is not None and dataset.path.name.startswith(_UNFINISHED):
        shutil.rmtree(dataset.path, ignore_errors=True)


def _put_into(folder: Path) -> Put:
    """Give what writes arrays into a folder, as .npy files."""

    def put(name: str, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterator[NDArray[Any]]) -> NDArray[Any]:
        path = folder / f"{name}.npy"
        try:
            with path.open("wb") as file:
                header = {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(file, header)
                for block in blocks:
                    file.write(np.ascontiguousarray(block, dtype).data)
                file.flush()
                os.fsync(file.fileno())
            return _map(path)
        except OSError as error:
            raise _no_room(folder.parent, error) from error

    return put


def _describe(dataset: Dataset, folder: Path) -> None:
    """Write all that is not an array."""
    for number, fold in enumerate(dataset.folds):
        facts = {name: getattr(fold, name) for name in _TOLD}
        members = {"dataset.json": json.dumps(facts).encode(), **to_members(fold.preprocessing)}
        write_atomically(folder / f"{number}.{_FACTS}", pack(members))


def _keep(unfinished: Path, target: Path) -> Path:
    """Give what was prepared its name, unless it is there already."""
    if not target.is_dir():
        try:
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
        flush_folder(target.parent)
    return target


def _read_fold(path: Path, number: int) -> Dataset:
    members = unpack((path / f"{number}.{_FACTS}").read_bytes(), path)
    told: dict[str, Any] = json.loads(members["dataset.json"])
    facts: dict[str, Any] = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in told.items()}
    arrays: dict[str, Any] = {name: _map(path / f"{number}.{name}.npy") for name in _ARRAYS}
    return Dataset(**arrays, **facts, preprocessing=from_members(members))


def _map(path: Path) -> NDArray[Any]:
    """Map an array into memory; one without elements cannot be mapped."""
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


def _tidy(root: Path) -> None:
    """Remove what interrupted runs left, and what nobody has opened for long."""
    for folder in root.iterdir():
        with suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            if age > (_DAY if folder.name.startswith(_UNFINISHED) else _KEPT):
                shutil.rmtree(folder, ignore_errors=True)


def _no_room(root: Path, error: OSError) -> DataError:
    """Say what to do where the cache cannot be written."""
    rule = f"the prepared data cannot be written ({error.strerror or error})"
    return DataError.at(root, rule, remedy="free some space, or let NETCORE_CACHE name another folder")
