"""Prepared data on disk, so that all workers map the same memory and a training set may be larger than it.

NETCORE_CACHE, else the platform's cache folder, holds one folder per data set, named by its digest. The arrays are
written as they are prepared, block by block, into a folder of another name, which gets its own once it is whole and
flushed to the disk. What is there already stays if it is whole, to the bit, and else is replaced. What nobody has
opened for a month goes when the next one comes.
"""

import errno
import json
import os
import re
import shutil
import tempfile
import time
import uuid
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

from netcore.archive import pack, read_header, unpack
from netcore.data.dataset import Dataset, Put, digest_of
from netcore.data.preprocessing import from_members, to_members
from netcore.errors import DataError, RecordError, WorkError
from netcore.files import flush_folder

__all__ = ["cache_folder", "discard", "open_dataset", "spill", "through_cache"]

_FACTS = "dataset.npz"
_TOLD = ("name", "class_names", "feature_names", "image_shape", "digest")
_ARRAYS = tuple(f"{letter}_{part}" for part in ("train", "val", "test") for letter in "Xy")
_UNFINISHED = ".new-"
_OURS = re.compile(rf"[0-9a-f]{{64}}|{re.escape(_UNFINISHED)}[0-9a-f]{{32}}")
"""Names of folders that this module makes; others in the cache folder are none of its business."""
_NOT_OURS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What comes of files in this folder that no netcore has written."""
_DAY = 24 * 3600.0
_KEPT = 30 * _DAY
"""Seconds that a data set stays after it was last opened."""


def cache_folder() -> Path:
    """Give the folder of prepared data: NETCORE_CACHE, else netcore's part of the platform's cache folder."""
    if named := os.environ.get("NETCORE_CACHE"):
        return Path(named).absolute()
    return platformdirs.user_cache_path("netcore", appauthor=False) / "prepared"


def through_cache(prepare: Callable[[Put], Dataset], *, shared: bool = True) -> Dataset:
    """Prepare data into the cache, and give them mapped from there.

    `prepare` gets what puts its arrays on disk, and gives the data set that they make. What is not `shared` with other
    runs bears a name of its own, until `discard` takes it away.

    Raises:
        DataError: the cache cannot be written, or whatever `prepare` finds.
    """
    root = cache_folder()
    unfinished = _unfinished(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _tidy(root)
        unfinished.mkdir()
    except OSError as error:
        raise _no_room(root, error) from error
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
        dataset = prepare(_put_into(unfinished))
        try:
            if shared:
                target = root / dataset.digest
                return _kept(dataset, target) or _keep(dataset, unfinished, target)
            _describe(dataset, unfinished)
        except OSError as error:
            raise _no_room(root, error) from error
        stack.pop_all()
    return _read(unfinished)


@lru_cache(maxsize=4)
def open_dataset(path: Path) -> Dataset:
    """Map a data set of the cache into memory: nothing is read until it is looked at. Asked again, it is there still.

    Raises:
        WorkError: it is not there, or not whole.
    """
    return _read(path)


def spill(blocks: Iterable[bytes]) -> IO[bytes]:
    """Write blocks into a file of the cache that has no name, so that its room is free again when nobody maps it.

    Raises:
        DataError: the cache cannot be written.
    """
    root = cache_folder()
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(tempfile.TemporaryFile(dir=root))
        except OSError as error:
            raise _no_room(root, error) from error
        for block in blocks:
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise _no_room(root, error) from error
        stack.pop_all()  # the caller's to close
    return file


def discard(dataset: Dataset) -> None:
    """Take a data set that is not shared out of the cache; who has it mapped keeps it."""
    if dataset.path is not None and dataset.path.name.startswith(_UNFINISHED):
        shutil.rmtree(dataset.path, ignore_errors=True)


def _unfinished(root: Path) -> Path:
    """Name a folder that nobody else writes to, whatever machine they are on."""
    return root / f"{_UNFINISHED}{uuid.uuid4().hex}"


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
            return _map(path)
        except OSError as error:
            raise _no_room(folder.parent, error) from error

    return put


def _kept(dataset: Dataset, target: Path) -> Dataset | None:
    """Give the same data set if it is there already, each of its bits; what is there and not whole goes."""
    if not target.exists():
        return None
    with suppress(WorkError, *_NOT_OURS):
        kept = _read(target)
        others = tuple(replace(fold, digest=digest_of(fold)) for fold in kept.others)
        if digest_of(replace(kept, others=others)) == dataset.digest:
            return kept
    damaged = _unfinished(target.parent)
    target.rename(damaged)
    shutil.rmtree(damaged, ignore_errors=True)
    return None


def _describe(dataset: Dataset, folder: Path) -> None:
    """Write all that is not an array."""
    for number, fold in enumerate(dataset.folds):
        facts = {name: getattr(fold, name) for name in _TOLD}
        members = {"dataset.json": json.dumps(facts).encode(), **to_members(fold.preprocessing)}
        (folder / f"{number}.{_FACTS}").write_bytes(pack(members))


def _keep(dataset: Dataset, unfinished: Path, target: Path) -> Dataset:
    """Give what was prepared its name, once all of it is on the disk."""
    _describe(dataset, unfinished)
    for path in unfinished.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    flush_folder(unfinished)
    try:
        unfinished.rename(target)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:  # another process was faster
            raise
    flush_folder(target.parent)
    return _read(target)


def _read(path: Path) -> Dataset:
    try:
        with suppress(OSError):  # it only says that the data are in use; a folder of somebody else's may be read too
            os.utime(path)
        first, *others = [_read_fold(path, number) for number in range(len(list(path.glob(f"*.{_FACTS}"))) or 1)]
    except (OSError, RecordError, *_NOT_OURS) as error:
        remedy = "run the same command again: it makes them anew and goes on where it stopped"
        raise WorkError.at(path, "the prepared data are gone or damaged", remedy=remedy) from error
    return replace(first, others=tuple(others), path=path)


def _read_fold(path: Path, number: int) -> Dataset:
    members = unpack((path / f"{number}.{_FACTS}").read_bytes(), path)
    told: dict[str, Any] = json.loads(members["dataset.json"])
    facts: dict[str, Any] = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in told.items()}
    arrays: dict[str, Any] = {name: _map(path / f"{number}.{name}.npy") for name in _ARRAYS}
    return Dataset(**arrays, **facts, preprocessing=from_members(members))


def _map(path: Path) -> NDArray[Any]:
    """Map an array into memory."""
    with path.open("rb") as file:
        header = read_header(file)
    if header.dtype.hasobject or header.data != path.stat().st_size - header.size:
        raise ValueError("no array of the numbers that are there")
    return np.memmap(path, header.dtype, "r", header.size, header.shape)


def _tidy(root: Path) -> None:
    """Remove what interrupted runs left, and what nobody has opened for long."""
    for folder in filter(lambda path: _OURS.fullmatch(path.name), root.iterdir()):
        with suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            if age > (_DAY if folder.name.startswith(_UNFINISHED) else _KEPT):
                shutil.rmtree(folder, ignore_errors=True)


def _no_room(root: Path, error: OSError) -> DataError:
    """Say what to do where the cache cannot be written."""
    rule = f"the prepared data cannot be written ({error.strerror or error})"
    return DataError.at(root, rule, remedy="free some space, or let NETCORE_CACHE name another folder")
