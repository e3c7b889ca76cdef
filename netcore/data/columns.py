"""One column of a table: numbers, a category, or the target.

A column of NumPy integers or floats is numeric. Any other column is a category: texts, booleans, whole numbers. The
target is the column with the classes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netcore.data.dataset import IntArray
from netcore.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 1000
"""The most different values that a category or the target may have; a column with more is free text or an amount."""

DROP = "leave it out with data.drop"
"""The remedy for a column that cannot be used."""


def is_numeric(column: "pd.Series[Any]") -> bool:
    """Return whether a column, shape (N,), has a NumPy integer or float type."""
    return column.dtype.kind in "iuf" if isinstance(column.dtype, np.dtype) else False


def as_numbers(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return a column, shape (N,), as numbers; a missing value is NaN.

    Raises:
        DataError: a cell is not a number; the message names the first row.
    """
    import pandas as pd  # noqa: PLC0415

    parsed = pd.to_numeric(column, errors="coerce")
    wrong = (parsed.isna() & column.notna()).to_numpy()
    if column.dtype.kind == "M" or wrong.any():
        row = int(np.argmax(wrong))
        found = f"{column.iloc[row]!a:.80} in row {row + 1}"
        raise DataError.at(f"column {column.name!r}", "must hold numbers", found)
    return parsed.to_numpy(np.float64, na_value=np.nan)


def refuse(wrong: NDArray[Any], place: object, rule: str, what: str, remedy: str) -> None:
    """Check that no row is wrong.

    Args:
        wrong: the number of wrong values in each row, or whether the row is wrong, shape (N,).
        place: the file or column, for the message.
        rule: what must hold.
        what: the wrong values, in the plural.
        remedy: what the user can do.

    Raises:
        DataError: a row is wrong; the message counts the wrong values and names the first row.
    """
    if wrong.any():
        found = f"{int(wrong.sum())} {what}, the first in row {int(np.argmax(wrong > 0)) + 1}"
        raise DataError.at(place, rule, found, remedy)


def as_category(column: "pd.Series[Any]", place: str) -> "pd.Series[Any]":
    """Return a column, shape (N,), as a pandas categorical of texts in alphabetical order; codes take little memory.

    Raises:
        DataError: a value is neither a text, a whole number, nor a boolean.
    """
    rule = "must hold numbers, texts or booleans"
    try:
        categories = column.astype("category").cat
    except TypeError as error:
        raise DataError.at(place, rule, "other values", DROP) from error
    for code, value in enumerate(categories.categories):
        if not isinstance(value, str | bool | int | np.bool_ | np.integer):
            row = int(np.argmax(categories.codes == code)) + 1
            raise DataError.at(place, rule, f"{type(value).__name__} in row {row}", DROP)
    texts = categories.rename_categories(str).cat
    return texts.reorder_categories(sorted(texts.categories))


def classes_of(column: "pd.Series[Any]", place: str) -> tuple[IntArray, tuple[str, ...]]:
    """Return the target as classes 0 … C-1, shape (N,), and their C names, in numerical or alphabetical order.

    Raises:
        DataError: a value is missing, a number is not whole, or there are more than `MOST_CATEGORIES` classes.
    """
    rule = "the target must have a value in every row"
    refuse(column.isna().to_numpy(), place, rule, "missing values", "fill them in or remove the rows")
    y: NDArray[Any]
    if is_numeric(column):
        numbers, y = np.unique(whole_numbers(column.to_numpy(), place), return_inverse=True)
        names = tuple(map(str, numbers.tolist()))
    else:
        texts = as_category(column, place).cat
        y, names = texts.codes.to_numpy(), tuple(map(str, texts.categories))
    if len(names) > MOST_CATEGORIES:
        rule = f"the target may have at most {MOST_CATEGORIES} classes"
        raise DataError.at(place, rule, f"{len(names)} different values", "is this the right column?")
    return y.astype(np.intp), names


def whole_numbers(values: NDArray[Any], place: str) -> NDArray[Any]:
    """Return classes, shape (N,), with floats as whole numbers; values of another type are returned as they are.

    Raises:
        DataError: a float is not whole; the message names the first row.
    """
    if values.dtype.kind != "f":
        return values
    wrong = ~np.isfinite(values) | (np.trunc(values) != values) | (np.abs(values.astype(float)) > 2.0**53)
    if wrong.any():
        found = f"{values[np.argmax(wrong)]} in row {int(np.argmax(wrong)) + 1}"
        rule = "classes must be whole numbers or texts"
        raise DataError.at(place, rule, found, "netcore does classification only")
    return values.astype(np.int64)
