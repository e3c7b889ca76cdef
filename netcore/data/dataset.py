"""A data set ready for training: three parts, prepared with the training part's figures alone.

In comes a table of features and labels (`RawData`), out comes a `Dataset`. The split is stratified (every class has its
share in each part) and drawn by the data's own seed, so that studies with different seeds compare on the same rows.
Where there is an official test set, it is the test part, and only the validation part is drawn. With folds there are
several pairs of training and validation part, each prepared with its own figures; the test part is the same.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netcore.data import preprocessing, table
from netcore.data.preprocessing import Preprocessing
from netcore.data.raw import IntArray, RawData
from netcore.errors import DataError
from netcore.seeds import Purpose, seed_sequence

__all__ = ["Dataset", "Put", "digest_of", "prepare", "put_in_memory"]

FloatArray = NDArray[np.floating[Any]]
Put = Callable[[str, tuple[int, ...], DTypeLike, Iterator[NDArray[Any]]], NDArray[Any]]
"""Takes an array's name, shape, type and its blocks of rows, one after another, and gives the array."""

_TRIES = 100
_SHARES = "take larger or smaller shares for data.validation and data.test"
_FOLDS = "take fewer data.folds, or leave out the rows of small classes"


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
    others: tuple["Dataset", ...] = ()
    """With folds, all but the first, which is this one; their test parts are empty."""
    digest: str = ""
    """SHA-256 of all the above: equal digests mean equal data, to the bit."""
    path: Path | None = field(default=None, compare=False)
    """Where the data lie in the cache, if they do: their arrays are mapped from there."""

    @property
    def input_size(self) -> int:
        """Number of inputs D."""
        return int(self.X_train.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def folds(self) -> tuple["Dataset", ...]:
        """The data of each net of a trial: this, or one for each fold."""
        return (self, *self.others)

    @property
    def labels(self) -> tuple[IntArray, IntArray, IntArray]:
        """The labels of the three parts: training, validation, test."""
        return self.y_train, self.y_val, self.y_test

    @property
    def notes(self) -> tuple[str, ...]:
        """What one should know of the preparation: columns that were dropped, say."""
        return tuple(f"{self.name}: {note}" for note in self.preprocessing.facts.get("notes", ()))


def put_in_memory(_name: str, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterator[NDArray[Any]]) -> NDArray[Any]:
    """Give the array as one that lives in memory: what `prepare` does if nothing else is asked for."""
    array, row = np.empty(shape, dtype), 0
    for block in blocks:
        array[row : row + len(block)] = block
        row += len(block)
    return array


def prepare(  # noqa: PLR0913  # what may stand in [data]
    raw: RawData,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int | None = None,
    seed: int,
    draw: int | None = None,
    standardize: str = "feature",
    dtype: DTypeLike = np.float32,
    put: Put = put_in_memory,
) -> Dataset:
    """Split, fit on the training part, and prepare all parts.

    `validation` and `test` below 1 are shares of the rows, whole numbers from 1 on are numbers of rows. With an
    official test set, `test` is not looked at. With `folds`, `validation` is not: each fold is the validation part
    once. `seed` draws the split; `draw` another training and validation part of the rows that are not test rows (one
    pair: of folds, as large as one). `standardize` is `feature`, `pixel-mean` or `none`; a table's columns are prepared
    as its own module says. `put` says where the arrays go.

    Raises:
        DataError: there is one class only, a class has too few rows to be in all parts, or a number is too large.
    """
    place = raw.place or raw.name
    if len(raw.class_names) < 2:  # noqa: PLR2004  # fewer is no choice
        found = f"only {raw.class_names[0]!r}" if raw.class_names else "no row"
        raise DataError.at(place, "must have rows of two classes or more", found, "there is nothing to tell apart")
    pairs, test_rows = _split(raw, validation, test, folds, seed, draw)
    parts = [
        _prepare_fold(raw, (*pair, test_rows if fold == 0 else test_rows[:0]), standardize, dtype, put, f"{fold}.")
        for fold, pair in enumerate(pairs)
    ]
    dataset = replace(parts[0], others=tuple(replace(part, digest=digest_of(part)) for part in parts[1:]))
    return replace(dataset, digest=digest_of(dataset))


def _prepare_fold(
    raw: RawData,
    rows_of: tuple[IntArray, IntArray, IntArray],
    standardize: str,
    dtype: DTypeLike,
    put: Put,
    prefix: str,
) -> Dataset:
    """Fit on the training rows, and prepare the rows of each part."""
    train_rows, val_rows, test_rows = rows_of
    place = raw.place or raw.name
    if isinstance(raw.X, np.ndarray):
        apply: Any = preprocessing.apply
        fitted = preprocessing.fit(raw.X, train_rows, standardize)
        feature_names = raw.feature_names
    else:
        apply = table.apply_rows
        fitted = table.fit(raw.X, train_rows, place)
        feature_names = table.feature_names(fitted)
    D = raw.X.shape[1] if isinstance(raw.X, np.ndarray) else len(feature_names)

    def blocks(X: object, rows: IntArray) -> Iterator[FloatArray]:
        for part in preprocessing.chunks(len(rows), D):
            block = apply(fitted, X, rows[part], dtype)
            if not np.isfinite(block).all():
                remedy = "scale the features down, or take another data.standardize or training.dtype = 'float64'"
                raise DataError.at(place, f"has numbers too large for {np.dtype(dtype).name}", remedy=remedy)
            yield block

    def part(name: str, X: object, y: IntArray, rows: IntArray) -> dict[str, Any]:
        labels = iter([y[rows].astype(np.intp)])
        return {
            f"X_{name}": put(f"{prefix}X_{name}", (len(rows), D), dtype, blocks(X, rows)),
            f"y_{name}": put(f"{prefix}y_{name}", (len(rows),), np.intp, labels),
        }

    return Dataset(
        name=raw.name,
        **part("train", raw.X, raw.y, train_rows),
        **part("val", raw.X, raw.y, val_rows),
        **part("test", *(raw.official_test or (raw.X, raw.y)), test_rows),
        class_names=raw.class_names,
        feature_names=feature_names,
        image_shape=raw.image_shape,
        preprocessing=fitted,
    )


def _split(
    raw: RawData, validation: float, test: float, folds: int | None, seed: int, draw: int | None
) -> tuple[list[tuple[IntArray, IntArray]], IntArray]:
    """Draw the rows of the parts: pairs of training and validation rows, and the test rows.

    Those of an official test set are all of it.
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split  # noqa: PLC0415  # heavy: only here

    rows = np.arange(len(raw.y))
    states = [int(word) for word in seed_sequence(seed, 0, Purpose.SPLIT).generate_state(2)]
    counts = np.bincount(raw.y, minlength=len(raw.class_names))
    needed = (folds or 2) + (raw.official_test is None)
    few = [
        f"class {name!r} has {count} {'row' if count == 1 else 'rows'}, {needed} are needed"
        for name, count in zip(raw.class_names, counts, strict=True)
        if count < needed
    ]
    if few:
        raise _cannot_be_split(raw, few[0], folds)
    try:
        rest, test_rows = rows, rows[:0]
        if raw.official_test is None:
            n_test = _number(test, len(rows))
            rest, test_rows = train_test_split(rows, test_size=n_test, stratify=raw.y, random_state=states[0])
        if folds and draw is None:
            k_fold = StratifiedKFold(folds, shuffle=True, random_state=states[1])
            with warnings.catch_warnings(action="error", category=UserWarning):  # a class with too few rows
                pairs = [(rest[train], rest[val]) for train, val in k_fold.split(rest, raw.y[rest])]
        else:
            n_val = len(rest) // folds if folds else _number(validation, len(rows))
            tries = [states[1]] if draw is None else [draw, *np.random.SeedSequence(draw).generate_state(_TRIES)]
            for state in tries:  # of small classes, one in a thousand draws leaves one out; the next one does not
                pairs = [train_test_split(rest, test_size=n_val, stratify=raw.y[rest], random_state=int(state))]
                if all(len(np.unique(raw.y[part])) == len(raw.class_names) for part in pairs[0]):
                    break
    except (UserWarning, ValueError) as error:
        raise _cannot_be_split(raw, str(error), folds) from error
    labels = [raw.y[part] for pair in pairs for part in pair]
    if raw.official_test is None:
        labels.append(raw.y[test_rows])
    else:
        labels.append(raw.official_test[1])
        test_rows = np.arange(len(labels[-1]))
    if any(len(np.unique(part)) < len(raw.class_names) for part in labels):
        raise _cannot_be_split(raw, "one has too few rows", folds)
    return pairs, test_rows


def _number(part: float, rows: int) -> int:
    """Give how many rows a share or a number means."""
    return part if isinstance(part, int) else round(part * rows)


def _cannot_be_split(raw: RawData, why: str, folds: int | None) -> DataError:
    rule = f"cannot be split so that every class is in each part ({' '.join(why.split())})"
    return DataError.at(raw.place or raw.name, rule, remedy=_FOLDS if folds else _SHARES)


def digest_of(dataset: Dataset) -> str:
    """Hash every field but the digest and the path: name, type, shape and content."""
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
