"""RAW DATA -> DATASET: split, fit on the training part, prepare every part.

Everything that is fitted (means, scales, medians, categories) is fitted on the training rows alone, so the validation
and test parts measure how the net does on rows that nothing has seen. Rows are prepared block by block: a data set may
be larger than memory if `put` stores the blocks on disk.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from netcore.data import preprocessing, table_features
from netcore.data.dataset import Dataset, FloatArray, IntArray, Put, RawData, Rows, digest_of, put_in_memory
from netcore.data.split import split
from netcore.errors import DataError


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
    """Return the prepared data set.

    Args:
        raw: the rows of a source.
        validation: the validation part: a share below 1, or a number of rows. Ignored with `folds`.
        test: the same for the test part. Ignored if there is an official test set.
        folds: the number of folds; each is the validation part once.
        seed: draws the split.
        draw: if given, draws another training and validation part from the rows that are not test rows: one pair.
        standardize: `feature`, `pixel-mean` or `none`; ignored for a table (see `table_features`).
        dtype: the type of X, float32 or float64.
        put: stores the arrays.

    Raises:
        DataError: there is only one class, a class has too few rows to be in every part, or a number is too large.
    """
    place = raw.place or raw.name
    if len(raw.class_names) < 2:  # noqa: PLR2004  # one class needs no classifier
        found = f"only {raw.class_names[0]!r}" if raw.class_names else "no row"
        raise DataError.at(place, "must have rows of two classes or more", found, "there is nothing to classify")
    pairs, test_rows = split(raw, validation, test, folds, seed, draw)
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
    """Return the data set of one fold: fitted on the training rows, with the rows of each part prepared."""
    train_rows, val_rows, test_rows = rows_of
    place = raw.place or raw.name
    if isinstance(raw.X, np.ndarray):
        fitted, feature_names = preprocessing.fit(raw.X, train_rows, standardize), raw.feature_names
    else:
        fitted = table_features.fit(raw.X, train_rows, place)
        feature_names = table_features.feature_names(fitted)
    D = len(feature_names)

    def blocks(X: Rows, rows: IntArray) -> Iterator[FloatArray]:
        for part in preprocessing.chunks(len(rows), D):
            if isinstance(X, np.ndarray):
                block = preprocessing.apply(fitted, X[rows[part]], dtype)
            else:
                block = table_features.apply(fitted, X.iloc[rows[part]], dtype)
            if not np.isfinite(block).all():
                remedy = "scale the features down, or set another data.standardize or training.dtype = 'float64'"
                raise DataError.at(place, f"has numbers too large for {np.dtype(dtype).name}", remedy=remedy)
            yield block

    def part(name: str, X: Rows, y: IntArray, rows: IntArray) -> dict[str, Any]:
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
