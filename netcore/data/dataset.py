"""A data set ready for training: three parts, prepared with the training part's figures alone.

In comes a table of features and labels (`RawData`), out comes a `Dataset`. The split is stratified (every class has its
share in each part) and drawn by the data's own seed, so that studies with different seeds compare on the same rows.
Where there is an official test set, it is the test part, and only the validation part is drawn.
"""

import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netcore.data import preprocessing
from netcore.data.preprocessing import Preprocessing
from netcore.errors import DataError
from netcore.seeds import Purpose, seed_sequence

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Dataset", "RawData", "prepare"]

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.intp]

_SHARES = "take larger or smaller shares for data.validation and data.test"


class RawData(NamedTuple):
    """Features and labels as they come, before any split."""

    name: str
    X: "NDArray[Any] | pd.DataFrame"
    """Shape (rows, D): numbers, or a table of columns."""
    y: IntArray
    """Shape (rows,), classes 0 … C-1."""
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    """None of a table: there they are made when its columns are fitted."""
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, where the features are an image's pixels (D is their product)."""
    official_test: tuple[NDArray[Any], IntArray] | None = None
    """Features and labels of the official test set, where there is one."""
    place: str = ""
    """The file or folder, for messages; left out, the name."""


@dataclass(frozen=True)
class Dataset:
    """What a trial trains on and is judged by: N rows, D inputs, C classes."""

    name: str
    X_train: FloatArray
    """Shape (N, D), prepared."""
    y_train: IntArray
    """Shape (N,), classes 0 … C-1."""
    X_val: FloatArray
    y_val: IntArray
    X_test: FloatArray
    """Never looked at by a search."""
    y_test: IntArray
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    """What was fitted on the training part, to prepare new rows in the same way."""
    digest: str = ""
    """SHA-256 of all the above: equal digests mean equal data, to the bit."""

    @property
    def input_size(self) -> int:
        """Number of inputs D."""
        return int(self.X_train.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def labels(self) -> tuple[IntArray, IntArray, IntArray]:
        """The labels of the three parts: training, validation, test."""
        return self.y_train, self.y_val, self.y_test

    @property
    def notes(self) -> tuple[str, ...]:
        """What one should know of the preparation: columns that were dropped, say."""
        return tuple(f"{self.name}: {note}" for note in self.preprocessing.facts.get("notes", ()))


def prepare(
    raw: RawData,
    *,
    validation: float,
    test: float = 0.2,
    seed: int,
    standardize: str = "feature",
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """Split, fit on the training part, and prepare all parts.

    `validation` and `test` below 1 are shares of the rows, whole numbers from 1 on are numbers of rows. With an
    official test set, `test` is not looked at. `standardize` is `feature`, `pixel-mean` or `none`; a table's columns
    are prepared as its own module says.

    Raises:
        DataError: there is one class only, a class has too few rows to be in all three parts, or a number is too large.
    """
    place = raw.place or raw.name
    if len(raw.class_names) < 2:  # noqa: PLR2004  # fewer is no choice
        found = f"only {raw.class_names[0]!r}" if raw.class_names else "no row"
        raise DataError.at(place, "must have rows of two classes or more", found, "there is nothing to tell apart")
    train_rows, val_rows, test_rows = _split(raw, validation, test, seed)
    feature_names = raw.feature_names
    if isinstance(raw.X, np.ndarray):
        apply: Any = preprocessing.apply
        fitted = preprocessing.fit(raw.X, train_rows, standardize)
    else:
        from netcore.data import table  # noqa: PLC0415  # pandas: only for tables

        apply = table.apply_rows
        fitted = table.fit(raw.X, train_rows, place)
        feature_names = table.feature_names(fitted)

    def part(X: object, y: IntArray, rows: IntArray) -> tuple[FloatArray, IntArray]:
        return np.ascontiguousarray(apply(fitted, X, rows, dtype)), y[rows].astype(np.intp)

    X_train, y_train = part(raw.X, raw.y, train_rows)
    X_val, y_val = part(raw.X, raw.y, val_rows)
    X_test, y_test = part(*(raw.official_test or (raw.X, raw.y)), test_rows)
    if not all(_finite(X) for X in (X_train, X_val, X_test)):
        remedy = "scale the features down, or take another data.standardize or training.dtype = 'float64'"
        raise DataError.at(place, f"has numbers too large for {np.dtype(dtype).name}", remedy=remedy)
    dataset = Dataset(
        name=raw.name,
        X_train=X_train,
        y_train=y_train,
        X_val=X_val,
        y_val=y_val,
        X_test=X_test,
        y_test=y_test,
        class_names=raw.class_names,
        feature_names=feature_names,
        image_shape=raw.image_shape,
        preprocessing=fitted,
    )
    return Dataset(**{**vars(dataset), "digest": _digest(dataset)})


def _split(raw: RawData, validation: float, test: float, seed: int) -> tuple[IntArray, IntArray, IntArray]:
    """Draw the rows of the three parts. Those of an official test set are all of it."""
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  # heavy: only where data are prepared

    rows = np.arange(len(raw.y))
    states = [int(word) for word in seed_sequence(seed, 0, Purpose.SPLIT).generate_state(2)]
    counts = np.bincount(raw.y, minlength=len(raw.class_names))
    needed = 3 if raw.official_test is None else 2
    few = [
        f"class {name!r} has {count} {'row' if count == 1 else 'rows'}, {needed} are needed"
        for name, count in zip(raw.class_names, counts, strict=True)
        if count < needed
    ]
    if few:
        raise _cannot_be_split(raw, few[0])
    try:
        rest, test_rows = rows, rows[:0]
        if raw.official_test is None:
            n_test = _number(test, len(rows))
            rest, test_rows = train_test_split(rows, test_size=n_test, stratify=raw.y, random_state=states[0])
        n_val = _number(validation, len(rows))
        train_rows, val_rows = train_test_split(rest, test_size=n_val, stratify=raw.y[rest], random_state=states[1])
    except ValueError as error:
        raise _cannot_be_split(raw, str(error)) from error
    parts = [raw.y[train_rows], raw.y[val_rows], raw.y[test_rows]]
    if raw.official_test is not None:
        parts[2] = raw.official_test[1]
        test_rows = np.arange(len(parts[2]))
    if any(len(np.unique(part)) < len(raw.class_names) for part in parts):
        raise _cannot_be_split(raw, "one has too few rows")
    return train_rows, val_rows, test_rows


def _number(part: float, rows: int) -> int:
    """Give how many rows a share or a number means."""
    return part if isinstance(part, int) else round(part * rows)


def _cannot_be_split(raw: RawData, why: str) -> DataError:
    rule = f"cannot be split so that every class is in each part ({' '.join(why.split())})"
    return DataError.at(raw.place or raw.name, rule, remedy=_SHARES)


def _finite(X: FloatArray) -> bool:
    return all(bool(np.isfinite(X[part]).all()) for part in preprocessing.chunks(*X.shape))


def _digest(dataset: Dataset) -> str:
    """Hash every field but the digest: name, type, shape and content."""
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
        elif entry.name != "digest":
            add(entry.name, value)
    return sha.hexdigest()
