"""Table files: CSV or Parquet with named columns, one of which, the target, holds the classes.

`read_table` reads a file for a study, `read_frame` any file with rows. What a column may hold is in `columns`; how
columns become the net's inputs is in `table_features`.
"""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netcore.data.columns import as_category, classes_of, is_numeric, refuse
from netcore.data.dataset import RawData
from netcore.errors import DataError, nearest
from netcore.files import is_file

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, target: str, drop: Sequence[str] = ()) -> RawData:
    """Return the rows of a .csv or .parquet file: a frame of N rows without `target` and `drop`, and N classes.

    Messages count rows from 1, without the header.

    Raises:
        DataError: the file is damaged or not a table, a column is missing or cannot be used, or a value is wrong.
    """
    if not is_file(path):
        raise DataError.at(path, "must be a file, .csv or .parquet", "a folder", "name the file itself")
    frame = read_frame(path)
    for name in (target, *drop):
        if name not in frame.columns:
            key = "target" if name == target else "drop"
            raise DataError.at(path, f"has no column data.{key} = {name!r}", remedy=nearest(name, frame.columns))
    if target in drop:
        raise DataError.at(path, f"column {target!r} is the target and also in data.drop", remedy="remove it from drop")
    y, class_names = classes_of(frame[target], f"{path}: column {target!r}")
    frame = frame.drop(columns=[target, *drop])
    if not len(frame.columns):
        raise DataError.at(path, "must have a column besides the target", remedy="there is nothing to learn from")
    for name in frame.columns:
        place = f"{path}: column {name!r}"
        if is_numeric(frame[name]):
            wrong, remedy = np.isinf(frame[name].to_numpy()), "remove these rows, or empty the cells"
            refuse(wrong, place, "numbers must be finite or missing", "infinite values", remedy)
        else:
            frame[name] = as_category(frame[name], place)
    return RawData(path.resolve().stem, frame, y, class_names, (), None, place=str(path))


def read_frame(path: Path, texts: Collection[str] = ()) -> "pd.DataFrame":
    """Return the rows of a Parquet file, by its suffix, or else of a CSV file.

    In a CSV file the columns named in `texts`, and columns that mix numbers and texts, are texts as the file spells
    them.

    Raises:
        DataError: the file is missing, damaged, empty, or in another format.
    """
    parquet = path.suffix.lower() in {".parquet", ".pq"}
    try:
        frame = _read_parquet(path) if parquet else _read_csv(path, texts)
    except DataError:
        raise
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x}"
        raise DataError.at(path, "must be UTF-8 text", found, "save it again as UTF-8") from error
    except Exception as error:  # a damaged file may raise anything
        why = getattr(error, "strerror", None) or ascii(" ".join(str(error).split())[:200])[1:-1]
        name, remedy = "CSV", "it needs commas, one header line, UTF-8"
        if parquet:
            name, remedy = "Parquet", "write the file again"
        raise DataError.at(path, f"cannot be read as {name} ({why})", remedy=remedy) from error
    if not len(frame):
        raise DataError.at(path, "must have rows", "none", "is this the right file?")
    return frame


def _read_csv(path: Path, texts: Collection[str]) -> "pd.DataFrame":
    """Return the rows of a CSV file; columns named in `texts` are texts."""
    import pandas as pd  # noqa: PLC0415

    with path.open(encoding="utf-8-sig", newline="") as file:
        _check_names(next(csv.reader(file, strict=True), []), path)
    # Not `low_memory`: it guesses the type of a column piece by piece, and would mix numbers and texts.
    frame = pd.read_csv(path, encoding="utf-8", dtype=dict.fromkeys(texts, str), low_memory=False)
    if not isinstance(frame.index, pd.RangeIndex):
        rule = "has more cells in its rows than names in its header"
        raise DataError.at(path, rule, remedy="name every column")
    return frame


def _read_parquet(path: Path) -> "pd.DataFrame":
    """Return the rows of a Parquet file, read column by column: memory holds the table once."""
    import pandas as pd  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    columns: dict[str, pd.Series[Any]] = {}
    with pyarrow.parquet.ParquetFile(path) as file:
        _check_names(file.schema_arrow.names, path)
        for name in file.schema_arrow.names:
            column = file.read([name]).column(name)
            column.validate(full=True)  # otherwise texts that are not UTF-8 fail much later
            columns[name] = column.to_pandas()
    return pd.DataFrame(columns, copy=False)


def _check_names(names: list[str], path: Path) -> None:
    """Check that there are column names, all different and printable."""
    if not names:
        raise DataError.at(path, "is empty", remedy="a table begins with a line of column names")
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if name in seen:
            raise DataError.at(path, f"has two columns named {name!r}", remedy="rename one of them")
        if not name.strip() or not name.isprintable():
            raise DataError.at(path, f"column {number} has no printable name", remedy="name it")
        seen.add(name)
