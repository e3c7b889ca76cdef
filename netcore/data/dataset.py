"""A data set before and after preparation: the rows of a source, then three parts that are ready for training.

A source returns a `RawData`. `preparation` splits it and makes a `Dataset`, `prepared` maps one from disk. Trials train
on the training part and are judged on the validation part; the test part is read once, for the winner. With folds there
are several pairs of training and validation part, each prepared with its own statistics, and one test part.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netcore.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "NDArray[Any] | pd.DataFrame"
"""N raw rows: an array of numbers, shape (N, …), or a table with N rows."""
FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.intp]
Put = Callable[[str, tuple[int, ...], DTypeLike, Iterator[NDArray[Any]]], NDArray[Any]]
"""Stores an array: takes its name, shape, type and consecutive blocks of rows, and returns it."""


class RawData(NamedTuple):
    """The rows of a source: N rows, D features, C classes."""

    name: str
    X: Rows
    """Shape (N, D), or a table with N rows."""
    y: IntArray
    """Shape (N,), classes 0 … C-1."""
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    """D names; empty for a table, whose features are named when its columns are fitted."""
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, if the features are pixels (D is their product)."""
    official_test: tuple[NDArray[Any], IntArray] | None = None
    """Features and labels of the official test set, if there is one."""
    place: str = ""
    """The file or folder, for messages; if empty, the name is used."""


@dataclass(frozen=True)
class Dataset:
    """The data of a study: N rows per part, D inputs, C classes."""

    name: str
    X_train: FloatArray
    """Shape (N, D), prepared."""
    y_train: IntArray
    """Shape (N,), classes 0 … C-1."""
    X_val: FloatArray
    """Prepared with the statistics of the training part, like `X_test`."""
    y_val: IntArray
    X_test: FloatArray
    """Never used by a search."""
    y_test: IntArray
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, if the inputs are pixels."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    """What was fitted on the training part; it prepares new rows in the same way."""
    others: tuple["Dataset", ...] = ()
    """With folds, all but the first, which is this one; their test parts are empty."""
    digest: str = ""
    """SHA-256 of all fields above: equal digests mean equal data, bit for bit."""
    path: Path | None = field(default=None, compare=False)
    """The folder from which the arrays are mapped; None if they are in memory."""

    @property
    def input_size(self) -> int:
        """The number of inputs D."""
        return int(self.X_train.shape[1])

    @property
    def classes(self) -> int:
        """The number of classes C."""
        return len(self.class_names)

    @property
    def folds(self) -> tuple["Dataset", ...]:
        """The data of each net of a trial: this data set alone, or one per fold."""
        return (self, *self.others)

    @property
    def labels(self) -> tuple[IntArray, IntArray, IntArray]:
        """The labels of the three parts: training, validation, test."""
        return self.y_train, self.y_val, self.y_test

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the preparation, for instance which columns were left out."""
        return tuple(f"{self.name}: {note}" for note in self.preprocessing.facts.get("notes", ()))


def put_in_memory(_name: str, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterator[NDArray[Any]]) -> NDArray[Any]:
    """Return the blocks of rows as one array in memory: the default of `prepare`."""
    array, row = np.empty(shape, dtype), 0
    for block in blocks:
        array[row : row + len(block)] = block
        row += len(block)
    return array


def digest_of(dataset: Dataset) -> str:
    """Return the SHA-256 of every field but digest and path: name, type, shape and content, in hexadecimal."""
    sha = hashlib.sha256()

    def add(name: str, value: object) -> None:
        if isinstance(value, np.ndarray):
            little = value.astype(value.dtype.newbyteorder("<"), copy=False)
            sha.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
            sha.update(np.ascontiguousarray(little).data)
        else:
            sha.update(f"{name} {value!r}\n".encode())

    for entry in fields(dataset):
        value = getattr(dataset, entry.name)
        if isinstance(value, Preprocessing):
            add(entry.name, json.dumps(value.facts, sort_keys=True))
            for name in sorted(value.arrays):
                add(f"{entry.name}.{name}", value.arrays[name])
        elif entry.name == "others":
            for number, fold in enumerate(value, start=1):
                add(f"fold {number}", fold.digest)
        elif entry.name not in {"digest", "path"}:
            add(entry.name, value)
    return sha.hexdigest()
