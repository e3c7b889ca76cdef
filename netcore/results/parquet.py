"""The Parquet files of a study, compared with its records: part of `netcore verify`.

In: the records and the study's folder. Out: findings. Each table is made again from the records and must equal its
file: columns with their types, number of rows, then every cell.
"""

import io
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from netcore.errors import Problem
from netcore.files import is_file, read_file
from netcore.progress import Finding, Notice
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.results.tables import TABLES, tables_of

_KEYS = {
    "trials": ("trial",),
    "curves": ("trial", "fold", "epoch"),
    "weights": ("trial", "input", "unit"),
    "confirmation": ("candidate", "seed"),
    "audit": ("trial",),
}
"""The columns of each table that name a row."""
_AGAIN = "`netcore report` writes it again"


def table_findings(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Finding]:
    """Compare each Parquet file with the table of the records; report the first difference of each column.

    Where not all trials are there and readable (`complete`), the trials that file and records have in common are
    compared: the files of an interrupted study may be behind.
    """
    expected = tables_of(records, folder)
    for name in TABLES if complete else ("trials", "curves"):
        path = folder.path / f"{name}.parquet"
        if not is_file(path):
            missing = Problem(str(path), "is missing", remedy=_AGAIN)
            yield missing if complete else Notice(f"{path} does not exist yet; `netcore report` writes it")
            continue
        try:
            found = pd.read_parquet(io.BytesIO(read_file(path)))
        except (OSError, ValueError) as error:  # PyArrow's errors are subclasses
            yield Problem(str(path), f"is not a Parquet file ({' '.join(str(error).split())[:100]})", remedy=_AGAIN)
            continue
        written: bytes = getattr(expected, name).to_parquet(index=False)
        asked = pd.read_parquet(io.BytesIO(written))  # types as a file keeps them
        for ours, theirs in zip_longest(*([f"{k} ({v})" for k, v in each.dtypes.items()] for each in (found, asked))):
            if ours != theirs:
                yield Problem(str(path), f"must have the column {theirs}", str(ours), _AGAIN)
                break
        else:
            yield from _differences(found, asked, path, folder, complete=complete)


def _differences(
    found: pd.DataFrame, asked: pd.DataFrame, path: Path, folder: StudyFolder, *, complete: bool
) -> Iterator[Finding]:
    """Report the first different cell of each column."""
    if not complete:
        if behind := len({*asked["trial"]} - {*found["trial"]}):
            yield Notice(f"{path} is {behind} trials behind; `netcore report` updates it")
        for number in sorted({*found["trial"]} - {*folder.numbers()}):
            yield Problem(f"{path}: trial {number}", "has no record", remedy=_AGAIN)
        common = {*asked["trial"]} & {*found["trial"]}
        found, asked = (frame[frame["trial"].isin(common)].reset_index(drop=True) for frame in (found, asked))
    if found.equals(asked):
        return
    if len(found) != len(asked):
        yield Problem(str(path), f"must have {len(asked)} rows, as the records give", str(len(found)), _AGAIN)
        return
    plain = dict.fromkeys(asked.select_dtypes("category"), "str")  # categories compare only with the same categories
    cells = found.astype(plain).compare(asked.astype(plain), result_names=("found", "asked"))
    for name in cells.columns.unique(0):
        different = cells[name].dropna(how="all")
        row, ours, theirs = next(different.itertuples(name=None))
        keys = [f"{key} {asked[key].iloc[row]}" for key in _KEYS[path.stem] if key in asked]
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        place = f"{path}: {', '.join([*keys, str(name)])}"
        yield Problem(place, f"must be {theirs!r}, as its record gives", f"{ours!r}{more}", _AGAIN)
