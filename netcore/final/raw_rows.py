"""New rows, as the user has them, checked: are they what a model needs?

A model of a table takes a table with the table's columns. Any other model takes an array, or a table with one column
per feature. Errors name the column and the row.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netcore.data.preprocessing import Preprocessing
from netcore.errors import DataError, Problem, nearest

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "NDArray[Any] | pd.DataFrame"
"""N rows: an array (N, …), or a table with N rows."""

_MOST_PROBLEMS = 5


def as_matrix(rows: Rows, features: Sequence[str], image_shape: tuple[int, int, int] | None) -> NDArray[Any]:
    """Return rows as an array of shape (N, D), one column per feature.

    Raises:
        DataError: columns are missing, a cell is not a number, or the shape does not fit.
    """
    if not isinstance(rows, np.ndarray):
        _check_columns(features, rows)
        _check_numbers(features, rows)
        matrix: NDArray[Any] = rows[list(features)].to_numpy(np.float64, na_value=np.nan)
        return matrix
    if rows.dtype.kind not in "biuf":
        raise DataError.at("rows", "must be numbers", rows.dtype)
    D, shape = len(features), rows.shape[1:]
    if image_shape is None:
        fits, images = len(shape) > 0 and math.prod(shape) == D, ""
    else:
        height, width, channels = image_shape
        one = (height, width) if channels == 1 else image_shape
        fits, images = shape in {(D,), one, image_shape}, f", or be images of shape {one}"
    if not fits:
        raise DataError.at("rows", f"must have {D} columns{images}", f"an array of shape {rows.shape}")
    return rows.reshape(len(rows), D)


def as_table(rows: Rows, fitted: Preprocessing) -> "pd.DataFrame":
    """Return rows as a table that has the fitted columns, with numbers in the numeric ones.

    Raises:
        DataError: rows are an array, columns are missing, or a cell is not a number.
    """
    kinds = {column["name"]: column["kind"] for column in fitted.facts["columns"]}
    if isinstance(rows, np.ndarray):
        raise DataError.at("rows", f"must be a table with the columns {_listed(list(kinds))}", "an array")
    _check_columns(list(kinds), rows)
    _check_numbers([name for name, kind in kinds.items() if kind == "number"], rows)
    return rows


def _check_columns(names: Sequence[str], frame: "pd.DataFrame") -> None:
    """Check that a table has all columns of these names; a missing one is reported with similar unused names."""
    if not frame.columns.is_unique:
        raise DataError.at("columns", "must have different names", remedy="rename them")
    missing = [name for name in names if name not in frame.columns]
    others = [str(name) for name in frame.columns if name not in set(names)]
    problems = [Problem(f"column {name!r}", "is missing", remedy=nearest(name, others)) for name in missing]
    if len(missing) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [Problem("columns", f"{len(missing) - _MOST_PROBLEMS} more are missing")]
    if problems:
        raise DataError(*problems)


def _check_numbers(names: Sequence[str], frame: "pd.DataFrame") -> None:
    """Check that columns hold numbers or missing values; the error names the first row that does not."""
    for name in names:
        column = frame[name]
        if getattr(column.dtype, "kind", "O") in "biuf":
            continue
        for row, (value, present) in enumerate(zip(column, column.notna(), strict=True), start=1):
            if present and not _is_number(value):
                raise DataError.at(f"column {name!r}", "must hold numbers", f"{value!a:.80} in row {row}")


def _is_number(value: Any) -> bool:  # noqa: ANN401  # whatever a cell holds
    """Return whether a cell can be converted to a number."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    shown = ", ".join(map(repr, names[:_MOST_PROBLEMS]))
    return shown if len(names) <= _MOST_PROBLEMS else f"{shown} and {len(names) - _MOST_PROBLEMS} more"
