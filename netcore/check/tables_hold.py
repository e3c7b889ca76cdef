"""Verification of the tables: are the Parquet files on the disk what the records give?"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from netcore.errors import Finding, Problem, Remark
from netcore.files import is_file
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.results.tables import TABLES, tables_of

__all__ = ["tables"]

_KEYS = {
    "trials": ("trial",),
    "curves": ("trial", "fold", "epoch"),
    "weights": ("trial", "input", "unit"),
    "confirmation": ("candidate", "seed"),
    "audit": ("trial",),
}
"""Columns of each table that say which row it is."""
_AGAIN = "`netcore report` makes it again"


def tables(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Finding]:
    """Compare each table on the disk with that of the records, number by number.

    `complete` says whether all trials are there and whole: else what has no record to be compared with is left out,
    and the tables of a study that was interrupted may be of fewer trials.
    """
    expected = tables_of(records, folder)
    numbers = {record.number for record in records}
    for name in TABLES if complete else ("trials", "curves"):
        path = folder.path / f"{name}.parquet"
        if not is_file(path):
            yield _not_there(path, complete=complete)
            continue
        try:
            found = pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
            yield Problem(str(path), f"is no Parquet file ({' '.join(str(error).split())[:100]})", remedy=_AGAIN)
            continue
        asked = _as_read(getattr(expected, name))
        if not complete and "trial" in found:
            there = set(found["trial"])
            unread = {number for number in there - numbers if number in folder.numbers()}
            found = found[~found["trial"].isin(unread)].reset_index(drop=True)
            if behind := len(set(asked["trial"]) - there):
                asked = asked[asked["trial"].isin(there)].reset_index(drop=True)
                yield Remark(f"{path} is {behind} trials behind; `netcore report` brings it up to date")
        yield from _differences(found, asked, path)


def _not_there(path: Path, *, complete: bool) -> Finding:
    if complete:
        return Problem(str(path), "is missing", remedy=_AGAIN)
    return Remark(f"{path} is not there yet; `netcore report` makes it")


def _as_read(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a table as it comes back from a file."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return pd.read_parquet(buffer)


def _differences(found: pd.DataFrame, asked: pd.DataFrame, path: Path) -> Iterator[Problem]:
    """Find in what a table differs: its columns, its rows, or its cells, of which the first is shown."""
    columns, there = list(map(str, asked)), list(map(str, found))
    if columns != there:
        yield Problem(str(path), f"must have the columns {', '.join(columns)}", ", ".join(there), _AGAIN)
        return
    if len(found) != len(asked):
        yield Problem(str(path), f"must have {len(asked)} rows, as the records give", str(len(found)), _AGAIN)
        return
    for name in columns:
        ours, theirs = found[name], asked[name]
        if ours.dtype != theirs.dtype:
            yield Problem(f"{path}: {name}", f"must be of type {theirs.dtype}", str(ours.dtype), _AGAIN)
            continue
        different = np.asarray(~((ours == theirs).fillna(value=False) | (ours.isna() & theirs.isna())), bool)
        if different.any():
            row = int(np.argmax(different))
            keys = [f"{key} {asked[key].iloc[row]}" for key in _KEYS[path.stem] if key in asked]
            more = f" (and {int(different.sum()) - 1} more)" if different.sum() > 1 else ""
            place = f"{path}: {', '.join([*keys, name])}"
            rule = f"must be {_plain(theirs.iloc[row])}, as its record says"
            yield Problem(place, rule, f"{_plain(ours.iloc[row])}{more}", _AGAIN)


def _plain(value: object) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)
