"""From a table's columns to the net's inputs: fitted on the training rows, applied to any rows.

A numeric column becomes one feature: missing values are set to the median, then it is scaled to mean 0 and standard
deviation 1. A category becomes one 0/1 feature per value, and one more for *unknown*: missing, or not seen in training.
scikit-learn's transformers are fitted; their statistics are stored as plain arrays and JSON. `apply` computes the
features from these with NumPy and pandas alone, bit for bit as the transformers would.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netcore.data.columns import DROP, MOST_CATEGORIES, as_numbers, is_numeric
from netcore.data.dataset import IntArray
from netcore.data.preprocessing import Preprocessing
from netcore.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

Column = dict[str, Any]
"""JSON of a fitted column: its `name`, its `kind` ("number" or "category"), and a category's `categories`."""


def fit(frame: "pd.DataFrame", rows: IntArray, place: str = "table") -> Preprocessing:
    """Return what is fitted on some rows of a table: its columns and, per numeric column, median, mean and scale.

    A column with a single value is left out; `facts["notes"]` says so.

    Raises:
        DataError: a column has too many categories, or no column is left.
    """
    columns: list[Column] = []
    statistics: list[tuple[float, float, float]] = []
    notes: list[str] = []
    for name in frame.columns:
        values = frame[name].iloc[rows]
        present = values[values.notna()]
        gaps = not is_numeric(values) and 0 < len(present) < len(values)  # a category's gap is a value too
        if present.nunique() + gaps < 2:  # noqa: PLR2004  # one value carries no information
            notes.append(f"column {name!r} has one value in all training rows and is left out")
        elif is_numeric(values):
            columns.append({"name": name, "kind": "number"})
            statistics.append(_statistics(values))
        else:
            categories = sorted(map(str, present.unique()))
            if len(categories) > MOST_CATEGORIES:
                rule = f"a column of texts may have at most {MOST_CATEGORIES} different values"
                raise DataError.at(f"{place}: column {name!r}", rule, len(categories), DROP)
            columns.append({"name": name, "kind": "category", "categories": categories})
    if not columns:
        raise DataError.at(place, "must have a column with more than one value", "none", "there is nothing to learn")
    median, mean, scale = np.array(statistics, np.float64).reshape(-1, 3).T.copy()
    facts = {"kind": "table", "columns": columns, "notes": notes}
    return Preprocessing(facts, {"median": median, "mean": mean, "scale": scale})


def _statistics(values: "pd.Series[Any]") -> tuple[float, float, float]:
    """Return the median of a numeric column, and the mean and scale after missing values are set to it."""
    from sklearn.impute import SimpleImputer  # noqa: PLC0415  # heavy: only where tables are fitted
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    column = values.to_numpy(np.float64).reshape(-1, 1)
    with np.errstate(all="ignore"):  # a number that is too large becomes infinite; `prepare` refuses that
        imputer = SimpleImputer(strategy="median").fit(column)
        scaler = StandardScaler().fit(imputer.transform(column))
    return imputer.statistics_[0], scaler.mean_[0], scaler.scale_[0]


def feature_names(fitted: Preprocessing) -> tuple[str, ...]:
    """Return the D names of the features: `age`, `colour=red`, `colour: unknown`."""
    names: list[str] = []
    for column in fitted.facts["columns"]:
        name = column["name"]
        if column["kind"] == "number":
            names.append(name)
        else:
            names += [*(f"{name}={category}" for category in column["categories"]), f"{name}: unknown"]
    return tuple(names)


def apply(fitted: Preprocessing, frame: "pd.DataFrame", dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return the features of a table's N rows, shape (N, D); columns that were not fitted are ignored.

    A number that is too large for `dtype` becomes infinite.

    Raises:
        DataError: a fitted column is missing, or a numeric column holds something else.
    """
    matrix = np.zeros((len(frame), len(feature_names(fitted))), dtype)
    statistics = zip(*(fitted.arrays[name] for name in ("median", "mean", "scale")), strict=True)
    first = 0
    for column in fitted.facts["columns"]:
        name = column["name"]
        if name not in frame.columns:
            raise DataError.at(f"column {name!r}", "is missing", remedy=nearest(name, frame.columns))
        if column["kind"] == "number":
            matrix[:, first] = _scaled(frame[name], *next(statistics))
            first += 1
        else:
            matrix[np.arange(len(frame)), first + _codes(frame[name], column["categories"])] = 1
            first += len(column["categories"]) + 1
    return matrix


def _scaled(values: "pd.Series[Any]", median: float, mean: float, scale: float) -> NDArray[np.float64]:
    """Return a numeric column with missing values filled in, scaled."""
    found = as_numbers(values)
    with np.errstate(all="ignore"):  # the caller refuses infinity
        return (np.where(np.isnan(found), median, found) - mean) / scale


def _codes(values: "pd.Series[Any]", categories: list[str]) -> IntArray:
    """Return the place of each value among the categories; an unknown value has the place after the last."""
    import pandas as pd  # noqa: PLC0415

    texts = values.map(str, na_action="ignore").astype(object)
    places = pd.Index(categories, dtype=object).get_indexer(pd.Index(texts))  # -1: unknown
    return np.where(places < 0, len(categories), places)
