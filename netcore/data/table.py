"""Table files: CSV or Parquet with named columns, one of which, the target, holds the classes.

`read_table` reads a file for a study, `read_csv` and `read_parquet` any file with rows. A CSV file is parsed in chunks,
a Parquet file column by column, so that reading takes little more memory than the table itself. What a column may hold
is in `columns`; how columns become the net's inputs is in `table_features`.
"""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netcore.data.columns import as_category, classes_of, is_numeric, refuse_infinity
from netcore.data.raw import RawData
from netcore.errors import DataError, nearest
from netcore.files import is_file

if TYPE_CHECKING:
    import pandas as pd

_CELLS = 2_000_000
"""The number of CSV cells that are parsed at a time."""


def read_table(path: Path, target: str, drop: Sequence[str] = ()) -> RawData:
    """Return the rows of a .csv or .parquet file: a frame of N rows without `target` and `drop`, and N classes.

    Messages count rows from 1, without the header.

    Raises:
        DataError: the file is damaged or not a table, a column is missing or cannot be used, or a value is wrong.
    """
    if not is_file(path):
        raise DataError.at(path, "must be a file, .csv or .parquet", "a folder", "name the file itself")
    frame = read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else read_csv(path)
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
            refuse_infinity(frame[name], place)
        else:
            frame[name] = as_category(frame[name], place)
    return RawData(path.resolve().stem, frame, y, class_names, (), None, place=str(path))


def read_csv(path: Path, texts: Collection[str] = ()) -> "pd.DataFrame":
    """Return the rows of a CSV file; columns named in `texts`, and columns that mix numbers and texts, are texts.

    Raises:
        DataError: the file is missing, damaged, empty, or not CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file, strict=True), [])
        _check_names(header, path)
        frame = _parse_csv(path, len(header), texts)
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x}"
        raise DataError.at(path, "must be UTF-8 text", found, "save it again as UTF-8") from error
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise anything
        why = getattr(error, "strerror", None) or ascii(" ".join(str(error).split()))[1:-1]
        remedy = "it needs commas, one header line, UTF-8"
        raise DataError.at(path, f"cannot be read as CSV ({why})", remedy=remedy) from error
    return _with_rows(frame, path)


def read_parquet(path: Path) -> "pd.DataFrame":
    """Return the rows of a Parquet file.

    Raises:
        DataError: the file is missing, damaged, empty, or not Parquet.
    """
    import pandas as pd  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_names(file.schema_arrow.names, path)
            columns: dict[str, pd.Series[Any]] = {}
            for name in file.schema_arrow.names:
                column = file.read([name]).column(name)
                column.validate(full=True)  # otherwise texts that are not UTF-8 fail much later
                columns[name] = column.to_pandas()
        frame = pd.DataFrame(columns, copy=False)
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise anything
        why = ascii(" ".join(str(error).split())[:200])[1:-1]
        raise DataError.at(path, f"cannot be read as Parquet ({why})", remedy="write the file again") from error
    return _with_rows(frame, path)


def _parse_csv(path: Path, columns: int, texts: Collection[str]) -> "pd.DataFrame":
    """Return a CSV file's frame, parsed in chunks: memory holds the table and one chunk."""
    import pandas as pd  # noqa: PLC0415

    options: Any = {"encoding": "utf-8", "low_memory": False}
    pieces: dict[str, list[pd.Series[Any]]] = {}
    types = dict.fromkeys(texts, str)
    with pd.read_csv(path, chunksize=max(1000, _CELLS // columns), dtype=types, **options) as reader:
        for chunk in reader:
            if not isinstance(chunk.index, pd.RangeIndex):
                remedy = "name every column"
                raise DataError.at(path, "has more cells in its rows than names in its header", remedy=remedy)
            for name in chunk.columns:
                pieces.setdefault(name, []).append(chunk[name].copy())
    mixed = [name for name, parts in pieces.items() if _are_mixed(parts)]
    if mixed:  # numbers in one chunk, texts in another: the whole column is text, spelled as in the file
        for name, column in pd.read_csv(path, usecols=mixed, dtype=str, **options).items():
            pieces[str(name)] = [column]
    return pd.DataFrame({name: pd.concat(pieces.pop(name)) for name in list(pieces)}, copy=False)


def _are_mixed(parts: "list[pd.Series[Any]]") -> bool:
    """Return whether a column was parsed as numbers in one chunk and as another type in another."""
    kinds = {"number" if is_numeric(part) else str(part.dtype) for part in parts if part.notna().any()}
    return len(kinds) > 1


def _with_rows(frame: "pd.DataFrame", path: Path) -> "pd.DataFrame":
    """Return a frame that has rows."""
    if not len(frame):
        raise DataError.at(path, "must have rows", "none", "is this the right file?")
    return frame


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
