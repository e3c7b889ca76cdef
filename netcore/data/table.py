"""Tables: CSV or Parquet with named columns, one of which, the target, holds the classes.

Columns of numbers have their missing values set to the median and are brought to mean 0 and deviation 1; all others
are categories, one column of 0 and 1 for each, and one more for *unknown*: missing, or not seen in training.
scikit-learn's transformers fit this on the training part; their figures are kept as plain arrays and JSON, and
`apply` here, in NumPy and pandas, makes of new raw rows the very matrix that the transformers would, to the bit.
"""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netcore.data.preprocessing import Preprocessing
from netcore.data.raw import RawData
from netcore.errors import DataError, nearest
from netcore.files import is_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_CATEGORIES", "apply", "apply_rows", "feature_names", "fit", "read_csv", "read_parquet", "read_table"]

MOST_CATEGORIES = 1000
"""Different texts that a column, or the target, may have; beyond that it is free text, or a number of its own."""

_CELLS = 2_000_000
"""So many cells of a CSV are parsed at a time."""
_DROP = "leave it out with data.drop"


def read_table(path: Path, target: str, drop: Sequence[str] = ()) -> RawData:
    """Read a .csv or .parquet file; rows are counted from 1, without the header.

    Raises:
        DataError: the file is damaged or no table, a column is missing or unfit, or a target or number is.
    """
    if not is_file(path):
        raise DataError.at(path, "must be a file, .csv or .parquet", "a folder", "name the file itself")
    frame = read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else read_csv(path)
    for name in (target, *drop):
        if name not in frame.columns:
            key = "target" if name == target else "drop"
            raise DataError.at(path, f"has no column data.{key} = {name!r}", remedy=nearest(name, frame.columns))
    if target in drop:
        raise DataError.at(path, f"column {target!r} is the target and also in data.drop", remedy="take it out of drop")
    y, class_names = _classes(frame[target], f"{path}: column {target!r}")
    frame = frame.drop(columns=[target, *drop])
    if not len(frame.columns):
        raise DataError.at(path, "must have a column besides the target", remedy="there is nothing to learn from")
    for name in frame.columns:
        place = f"{path}: column {name!r}"
        if _is_numeric(frame[name]):
            _refuse_infinity(frame[name], place)
        else:
            frame[name] = _as_category(frame[name], place)
    return RawData(path.resolve().stem, frame, y, class_names, (), None, place=str(path))


def read_csv(path: Path, texts: Collection[str] = ()) -> "pd.DataFrame":
    """Read a CSV file; columns that hold both numbers and texts come as texts, and so do those named in `texts`.

    Raises:
        DataError: it is missing, damaged, or not such a file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file, strict=True), [])
        _refuse_duplicates(header, path)
        frame = _parse_csv(path, len(header), texts)
    except UnicodeDecodeError as error:
        raise DataError.at(path, "must be UTF-8 text", _first_bad_line(path), "save it again as UTF-8") from error
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise anything
        why = getattr(error, "strerror", None) or ascii(" ".join(str(error).split()))[1:-1]
        raise DataError.at(path, f"cannot be read as CSV ({why})", remedy="commas, one header line, UTF-8") from error
    return _with_rows(frame, path)


def _parse_csv(path: Path, columns: int, texts: Collection[str]) -> "pd.DataFrame":
    """Parse a CSV piece by piece, so that at no time there is more than the table and one piece of it."""
    import pandas as pd  # noqa: PLC0415

    options: Any = {"encoding": "utf-8", "low_memory": False}
    pieces: dict[str, list[pd.Series[Any]]] = {}
    types = dict.fromkeys(texts, str)
    with pd.read_csv(path, chunksize=max(1000, _CELLS // columns), dtype=types, **options) as reader:
        for chunk in reader:
            if not isinstance(chunk.index, pd.RangeIndex):
                raise DataError.at(path, "has more cells in its rows than names in its header", remedy="name them all")
            for name in chunk.columns:
                pieces.setdefault(name, []).append(chunk[name].copy())
    mixed = [name for name, parts in pieces.items() if _are_mixed(parts)]
    if mixed:  # numbers here and texts there: all of it is text, spelled as in the file
        for name, column in pd.read_csv(path, usecols=mixed, dtype=str, **options).items():
            pieces[str(name)] = [column]
    return pd.DataFrame({name: pd.concat(pieces.pop(name)) for name in list(pieces)}, copy=False)


def _are_mixed(parts: "list[pd.Series[Any]]") -> bool:
    """Say whether a column came as numbers in one piece and as something else in another."""
    kinds = {"number" if _is_numeric(part) else str(part.dtype) for part in parts if part.notna().any()}
    return len(kinds) > 1


def read_parquet(path: Path) -> "pd.DataFrame":
    """Read a Parquet file.

    Raises:
        DataError: it is missing, damaged, or not such a file.
    """
    import pandas as pd  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _refuse_duplicates(file.schema_arrow.names, path)
            columns: dict[str, pd.Series[Any]] = {}
            for name in file.schema_arrow.names:
                column = file.read([name]).column(name)
                column.validate(full=True)  # texts that are not UTF-8 would else come to light much later
                columns[name] = column.to_pandas()
        frame = pd.DataFrame(columns, copy=False)
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise anything
        why = ascii(" ".join(str(error).split())[:200])[1:-1]
        raise DataError.at(path, f"cannot be read as Parquet ({why})", remedy="write the file again") from error
    return _with_rows(frame, path)


def _with_rows(frame: "pd.DataFrame", path: Path) -> "pd.DataFrame":
    if not len(frame):
        raise DataError.at(path, "must have rows", "none", "is this the right file?")
    return frame


def _refuse_duplicates(names: list[str], path: Path) -> None:
    if not names:
        raise DataError.at(path, "is empty", remedy="a table begins with a line of column names")
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if name in seen:
            raise DataError.at(path, f"has two columns named {name!r}", remedy="rename one of them")
        if not name.strip() or not name.isprintable():
            raise DataError.at(path, f"column {number} has no name that can be printed", remedy="name it")
        seen.add(name)


def _first_bad_line(path: Path) -> str:
    """Say where the first byte is that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"byte {error.object[error.start]:#04x} in line {number}"
    return "a byte that is not"


def _is_numeric(column: "pd.Series[Any]") -> bool:
    return column.dtype.kind in "iuf" if isinstance(column.dtype, np.dtype) else False


def _refuse_infinity(column: "pd.Series[Any]", place: str) -> None:
    wrong = np.isinf(column.to_numpy())
    if wrong.any():
        what = f"{int(wrong.sum())} that are infinite, the first in row {int(np.argmax(wrong)) + 1}"
        raise DataError.at(place, "must have finite numbers, or none", what, "leave these rows out, or the cells empty")


def _as_category(column: "pd.Series[Any]", place: str) -> "pd.Series[Any]":
    """Give a column of texts, whole numbers, or yes and no as a categorical one of texts: codes take little memory."""
    import pandas as pd  # noqa: PLC0415

    try:
        codes, values = pd.factorize(column)
    except TypeError as error:
        raise DataError.at(place, "must hold numbers, texts, or yes and no", "something else", _DROP) from error
    for code, value in enumerate(values):
        if not isinstance(value, str | bool | int | np.bool_ | np.integer):
            what = f"{type(value).__name__} in row {int(np.argmax(codes == code)) + 1}"
            raise DataError.at(place, "must hold numbers, texts, or yes and no", what, _DROP)
    known, place_of = np.unique([str(value) for value in values] or np.empty(0, str), return_inverse=True)
    texts = pd.Categorical.from_codes(np.append(place_of, -1)[codes], categories=pd.Index(known.tolist(), dtype=object))
    return pd.Series(texts, index=column.index, name=column.name)


def _classes(column: "pd.Series[Any]", place: str) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Give the target as classes 0 … C-1, and their names, in the order of numbers or of the alphabet."""
    missing = column.isna().to_numpy()
    if missing.any():
        what = f"{int(missing.sum())} missing, the first in row {int(np.argmax(missing)) + 1}"
        raise DataError.at(place, "the target must be given in each row", what, "fill them in, or leave the rows out")
    if _is_numeric(column):
        _refuse_infinity(column, place)
        values = column.to_numpy()
        broken = (np.trunc(values) != values) | (np.abs(values) > 2.0**53)
        if broken.any():
            what = f"{values[np.argmax(broken)]} in row {int(np.argmax(broken)) + 1}"
            raise DataError.at(place, "the target must be whole numbers or texts", what, "netcore tells classes apart")
        y: NDArray[np.intp]
        numbers, y = np.unique(values if values.dtype.kind in "iu" else values.astype(np.int64), return_inverse=True)
        names = tuple(map(str, numbers.tolist()))
    else:
        texts = _as_category(column, place).cat
        names, y = tuple(map(str, texts.categories)), texts.codes.to_numpy().astype(np.intp)
    if len(names) > MOST_CATEGORIES:
        rule = f"the target may have {MOST_CATEGORIES} classes at most"
        raise DataError.at(place, rule, f"{len(names)} different values", "is this the right column?")
    return y.astype(np.intp), names


def fit(frame: "pd.DataFrame", rows: NDArray[np.intp], place: str = "table") -> Preprocessing:
    """Fit each column on some rows.

    A column of one value is left out; the facts' `notes` say so.

    Raises:
        DataError: a column has too many categories, no column is left, or two give features of one name.
    """
    from sklearn.impute import SimpleImputer  # noqa: PLC0415  # heavy: only where tables are fitted
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415

    columns: list[dict[str, Any]] = []
    figures: list[tuple[float, float, float]] = []
    notes: list[str] = []
    for name in frame.columns:
        values = frame[name].iloc[rows]
        there = values[values.notna()]
        gaps = not _is_numeric(values) and 0 < len(there) < len(values)  # of a category, a gap is a value too
        if there.nunique() + gaps < 2:  # noqa: PLR2004  # one is no choice
            notes.append(f"column {name!r} has one value in all rows to train on and is left out")
        elif _is_numeric(values):
            column = values.to_numpy(np.float64).reshape(-1, 1)
            with np.errstate(all="ignore"):  # what is too large becomes infinite, and whoever prepares looks for that
                imputer = SimpleImputer(strategy="median").fit(column)
                scaler = StandardScaler().fit(imputer.transform(column))
            figures.append((imputer.statistics_[0], scaler.mean_[0], scaler.scale_[0]))
            columns.append({"name": name, "kind": "number"})
        else:
            different = there.astype(object).drop_duplicates().to_numpy()
            encoder = OneHotEncoder(handle_unknown="ignore").fit(different.reshape(-1, 1))
            categories = list(map(str, encoder.categories_[0]))
            if len(categories) > MOST_CATEGORIES:
                rule = f"a column of categories may have {MOST_CATEGORIES} at most"
                raise DataError.at(f"{place}: column {name!r}", rule, f"{len(categories)} different texts", _DROP)
            columns.append({"name": name, "kind": "category", "categories": categories})
    if not columns:
        raise DataError.at(place, "must have a column with more than one value", "none", "there is nothing to learn")
    _refuse_one_name(columns, place)
    median, mean, scale = (np.array(values) for values in zip(*figures, strict=True)) if figures else [np.empty(0)] * 3
    facts = {"kind": "table", "columns": columns, "notes": notes}
    return Preprocessing(facts, {"median": median, "mean": mean, "scale": scale})


def feature_names(fitted: Preprocessing) -> tuple[str, ...]:
    """Name the columns of the matrix."""
    return tuple(name for column in fitted.facts["columns"] for name in _names_of(column))


def _names_of(column: dict[str, Any]) -> list[str]:
    """Name the features that one column gives."""
    name = column["name"]
    if column["kind"] == "number":
        return [name]
    return [*(f"{name}={category}" for category in column["categories"]), f"{name}: unknown"]


def _refuse_one_name(columns: list[dict[str, Any]], place: str) -> None:
    """Refuse two columns of which a feature would bear the same name."""
    seen: dict[str, str] = {}
    for column in columns:
        for name in _names_of(column):
            if name in seen:
                both = f"{place}: columns {seen[name]!r} and {column['name']!r}"
                raise DataError.at(both, "must not give features of one name", f"{name!r} from each", "rename one")
            seen[name] = column["name"]


def apply(fitted: Preprocessing, frame: "pd.DataFrame", dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Give the matrix of raw rows, shape (N, D); columns that were not fitted are not looked at.

    Raises:
        DataError: a fitted column is missing, or a column of numbers holds something else.
    """
    return apply_rows(fitted, frame, slice(None), dtype)


def apply_rows(
    fitted: Preprocessing, frame: "pd.DataFrame", rows: NDArray[np.intp] | slice, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Give the matrix of some of the rows; column by column, so that no second copy of the table is made."""
    import pandas as pd  # noqa: PLC0415

    numbers = np.arange(len(frame))[rows] if isinstance(rows, slice) else rows
    matrix = np.zeros((len(numbers), len(feature_names(fitted))), dtype)
    figures = zip(*(fitted.arrays[name] for name in ("median", "mean", "scale")), strict=True)
    first = 0
    for column in fitted.facts["columns"]:
        name = column["name"]
        if name not in frame.columns:
            raise DataError.at(f"column {name!r}", "must be among the columns", remedy=nearest(name, frame.columns))
        values = frame[name].iloc[numbers]
        if column["kind"] == "number":
            median, mean, scale = next(figures)
            with np.errstate(all="ignore"):  # what is too large becomes infinite, and whoever prepares looks for that
                found = _numbers(values)
                matrix[:, first] = (np.where(np.isnan(found), median, found) - mean) / scale
            first += 1
        else:
            known = pd.Index(column["categories"], dtype=object)
            codes, different = pd.factorize(values)
            place = np.append(known.get_indexer(list(map(str, different))), -1)[codes]  # -1: unknown
            matrix[np.arange(len(numbers)), first + np.where(place < 0, len(known), place)] = 1
            first += len(known) + 1
    return matrix


def _numbers(values: "pd.Series[Any]") -> NDArray[np.float64]:
    import pandas as pd  # noqa: PLC0415

    try:
        found: NDArray[np.float64] = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError.at(f"column {values.name!r}", "must hold numbers", ascii(str(error))[1:-1]) from error
    return found
