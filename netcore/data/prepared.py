"""Prepared data on disk for as long as a run needs them: all workers map one copy, which may be larger than memory.

A run writes its arrays, block by block, into a folder of its own below NETCORE_CACHE (or the platform's cache folder)
and removes the folder at its end. A lock file beside the folder is held until then. The folder of a killed run has no
such holder; the next run that prepares data removes it.
"""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
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
from netcore.errors import DataError, WorkError
from netcore.temporary import temporary_folder

_FACTS = "dataset.npz"
_FIELDS = ("name", "class_names", "feature_names", "image_shape", "digest")
_ARRAYS = tuple(f"{letter}_{part}" for part in ("train", "val", "test") for letter in "Xy")
_RUN = "run-"
_LIMITS = (errno.EMFILE, errno.ENFILE)
"""The system's errors if too many files are open."""
_PRIVATE = 0o700
"""The mode of new folders: for this user alone."""


def cache_folder() -> Path:
    """Return netcore's cache folder: NETCORE_CACHE, or netcore's part of the platform's cache folder."""
    if named := os.environ.get("NETCORE_CACHE"):
        return Path(named).absolute()
    return platformdirs.user_cache_path("netcore", appauthor=False) / "prepared"


@contextmanager
def prepared(prepare: Callable[[Put], Dataset]) -> Iterator[Dataset]:
    """Prepare data on disk and yield them mapped from there; the files are removed afterwards.

    `prepare` gets a function that writes an array to disk, and returns the data set of these arrays. A process that has
    mapped the arrays keeps them.

    Raises:
        DataError: the cache folder cannot be written, or an error of `prepare`.
    """
    root = cache_folder()
    with ExitStack() as stack:
        with _room_in(root):
            root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            folder = stack.enter_context(temporary_folder(root, _RUN))
        dataset = prepare(_put_into(folder))
        with _room_in(folder.parent):
            _describe(dataset, folder)
        yield replace(dataset, path=folder)


@lru_cache(maxsize=4)
def open_dataset(path: Path) -> Dataset:
    """Return a prepared data set, mapped into memory; nothing is read before it is used. Repeated calls reuse it.

    Raises:
        WorkError: it is missing or damaged.
    """
    try:
        first, *others = [_read_fold(path, number) for number in range(len(list(path.glob(f"*.{_FACTS}"))) or 1)]
    except Exception as error:  # a damaged file may raise anything
        remedy = "run the same command again: it prepares them again and continues"
        rule = "the prepared data are missing or damaged"
        if isinstance(error, OSError) and error.errno in _LIMITS:
            rule, remedy = f"the prepared data cannot be opened ({error.strerror})", "raise the limit `ulimit -n`"
        raise WorkError.at(path, rule, remedy=remedy) from error
    return replace(first, others=tuple(others), path=path)


@contextmanager
def spill(blocks: Iterable[bytes]) -> Iterator[IO[bytes]]:
    """Write blocks into a file without a name in the cache folder and yield it; its space is free once nothing maps it.

    Raises:
        DataError: the cache folder cannot be written.
    """
    root = cache_folder()
    with _room_in(root):
        root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as file:
            file.writelines(blocks)
            file.flush()
            yield file


def _put_into(folder: Path) -> Put:
    """Return the function that writes arrays into a folder, as .npy files."""

    def put(name: str, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterator[NDArray[Any]]) -> NDArray[Any]:
        path = folder / f"{name}.npy"
        header = {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        with _room_in(folder.parent), path.open("wb") as file:
            npy.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype).data)
        return _open(path)

    return put


def _describe(dataset: Dataset, folder: Path) -> None:
    """Write each fold's fields that are not arrays."""
    for number, fold in enumerate(dataset.folds):
        facts = {name: getattr(fold, name) for name in _FIELDS}
        members = {"dataset.json": json.dumps(facts).encode(), **to_members(fold.preprocessing)}
        (folder / f"{number}.{_FACTS}").write_bytes(pack(members))


def _read_fold(path: Path, number: int) -> Dataset:
    """Return the data of one fold."""
    members = unpack((path / f"{number}.{_FACTS}").read_bytes(), path)
    values: dict[str, Any] = json.loads(members["dataset.json"])
    facts: dict[str, Any] = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in values.items()}
    arrays: dict[str, Any] = {name: _open(path / f"{number}.{name}.npy") for name in _ARRAYS}
    return Dataset(**arrays, **facts, preprocessing=from_members(members))


def _open(path: Path) -> NDArray[Any]:
    """Return an .npy file, mapped into memory."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@contextmanager
def _room_in(root: Path) -> Iterator[None]:
    """Raise a DataError if the system refuses to write into the cache folder in this block."""
    try:
        yield
    except OSError as error:
        rule = f"the prepared data cannot be written ({error.strerror or error})"
        remedy = "free some space, or set NETCORE_CACHE to another folder"
        raise DataError.at(root, rule, remedy=remedy) from error
