"""A data set ready for training: three parts, standardised with the training part's figures alone.

In comes a table of features and labels (`RawData`), out comes a `Dataset`. The split is stratified (every class has its
share in each part) and drawn by the data's own seed, so that studies with different seeds compare on the same rows.
"""

import hashlib
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netcore.errors import DataError
from netcore.seeds import Purpose, seed_sequence

__all__ = ["Dataset", "RawData", "prepare"]

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.intp]


class RawData(NamedTuple):
    """Features and labels as they come, before any split."""

    name: str
    X: FloatArray
    """Shape (rows, D)."""
    y: IntArray
    """Shape (rows,), classes 0 … C-1."""
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, where the features are an image's pixels (D is their product)."""


@dataclass(frozen=True)
class Dataset:
    """What a trial trains on and is judged by: N rows, D inputs, C classes."""

    name: str
    X_train: FloatArray
    """Shape (N, D), standardised."""
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


def prepare(raw: RawData, *, validation: float, test: float, seed: int, dtype: DTypeLike = np.float32) -> Dataset:
    """Split and standardise.

    `validation` and `test` are shares of all rows. Every feature is brought to mean 0 and deviation 1 over the
    training part (a constant one to 0), and the other parts by the same two figures.

    Raises:
        DataError: a class has too few rows to be in all three parts.
    """
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  # heavy: only where data are prepared
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    rows = np.arange(len(raw.y))
    states = [int(word) for word in seed_sequence(seed, 0, Purpose.SPLIT).generate_state(2)]
    n_test, n_val = round(test * len(rows)), round(validation * len(rows))
    remedy = "take larger or smaller shares for data.validation and data.test"
    try:
        rest, test_rows = train_test_split(rows, test_size=n_test, stratify=raw.y, random_state=states[0])
        train_rows, val_rows = train_test_split(rest, test_size=n_val, stratify=raw.y[rest], random_state=states[1])
    except ValueError as error:
        raise DataError.at(
            raw.name, f"cannot be split so that every class is in each part ({error})", remedy=remedy
        ) from error

    if any(len(np.unique(raw.y[part])) < len(raw.class_names) for part in (train_rows, val_rows, test_rows)):
        raise DataError.at(
            raw.name, "cannot be split so that every class is in each part (one has too few rows)", remedy=remedy
        )
    scaler = StandardScaler().fit(raw.X[train_rows])

    def part(numbers: IntArray) -> tuple[FloatArray, IntArray]:
        return np.ascontiguousarray(scaler.transform(raw.X[numbers]), dtype), raw.y[numbers].astype(np.intp)

    (X_train, y_train), (X_val, y_val), (X_test, y_test) = map(part, (train_rows, val_rows, test_rows))
    dataset = Dataset(
        name=raw.name,
        X_train=X_train,
        y_train=y_train,
        X_val=X_val,
        y_val=y_val,
        X_test=X_test,
        y_test=y_test,
        class_names=raw.class_names,
        feature_names=raw.feature_names,
        image_shape=raw.image_shape,
    )
    return Dataset(**{**vars(dataset), "digest": _digest(dataset)})


def _digest(dataset: Dataset) -> str:
    """Hash every field but the digest: name, type, shape and content."""
    sha = hashlib.sha256()
    for field in fields(dataset):
        value = getattr(dataset, field.name)
        if field.name == "digest":
            continue
        if isinstance(value, np.ndarray):
            little = value.astype(value.dtype.newbyteorder("<"), copy=False)
            sha.update(f"{field.name} {little.dtype.str} {little.shape}\n".encode())
            sha.update(np.ascontiguousarray(little).data)
        else:
            sha.update(f"{field.name} {value!r}\n".encode())
    return sha.hexdigest()
