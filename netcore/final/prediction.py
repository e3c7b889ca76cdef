"""NEW ROWS IN A FILE -> PREDICTIONS AS CSV: what `netcore predict` does.

Rows are raw, like the study's own data: a table (.csv, .parquet), an array (.npy, .npz) or images (IDX, plain or .gz).
The readers of `netcore.data` read them, so a damaged or hostile file is refused in one line here too.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from netcore.core.params import FloatArray
from netcore.data.dataset import Rows
from netcore.data.idx import read_idx_file
from netcore.data.npy_files import map_file, read_member
from netcore.data.table import read_frame
from netcore.errors import DataError, InputError
from netcore.files import is_file
from netcore.final.model import Model

_YES_NO = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}
"""Other spellings of booleans, and the one that training used."""


def read_rows(path: Path, model: Model) -> Rows:
    """Return the rows of a file: a frame, or an array of shape (N, …).

    The file's name decides its format: .npy, .npz, .parquet, IDX if it ends in `ubyte` or `.gz`, or else CSV. In an
    .npz, the rows are the array with the name of the study's features, or the one called X, or the only one.

    Raises:
        DataError: the file is missing, empty, damaged, or in none of the formats.
    """
    if not is_file(path):
        raise DataError.at(path, "there is no such file", remedy="rows are .csv, .parquet, .npy, .npz or IDX")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return map_file(path.parent, path.stem)[0]
    if suffix == ".npz":
        return read_member(path, model.feature_names[0].rpartition("_")[0], "X", or_only=True)[0]
    if suffix == ".gz" or path.name.endswith("ubyte"):
        return read_idx_file(path, 3)
    return _read_table(path, model)


def predict(model: Model, rows: Rows, path: Path) -> FloatArray:
    """Return the probabilities of the rows of a file, shape (N, C).

    Raises:
        DataError: the rows do not fit the model; the message names the file.
    """
    try:
        return model.probabilities(rows)
    except DataError as error:
        raise DataError(*(replace(it, place=f"{path}: {it.place}") for it in error.problems)) from error


def ignored(model: Model, rows: Rows) -> list[str]:
    """Return the columns of a table that the model ignores."""
    if isinstance(rows, np.ndarray):
        return []
    known = set(model.columns)
    return [name for name in rows.columns if name not in known]


def as_csv(model: Model, p2: FloatArray) -> bytes:
    """Return predictions as CSV: `row`, counted from 1, `class`, the most probable one, and `p_NAME` for each class.

    `p2` has shape (N, C). Probabilities have enough digits to be read back bit for bit.
    """
    names = [_cell(name) for name in model.class_names]
    lines = [",".join(["row", "class", *(_cell(f"p_{name}") for name in model.class_names)])]
    best = p2.argmax(axis=1).tolist()
    for row, (number, texts) in enumerate(zip(best, p2.astype(str).tolist(), strict=True), start=1):
        lines.append(",".join([str(row), names[number], *texts]))
    return "".join(f"{line}\n" for line in lines).encode()


def refuse_place(out: Path, source: Path) -> None:
    """Check, before any work is done, that predictions can be written to `out` and would not overwrite the rows.

    Raises:
        InputError: its folder does not exist, or it is the file `source`.
    """
    if not out.parent.is_dir():
        raise InputError.at(out, "its folder does not exist", remedy=f"create {out.parent}, or choose another --out")
    if is_file(out) and is_file(source) and out.samefile(source):
        raise InputError.at(out, "is the file with the rows", remedy="choose another with --out")


def _read_table(path: Path, model: Model) -> Rows:
    """Return the rows of a table; categories of a CSV are texts, even if they look like numbers in this file.

    Booleans are spelled as training, where they had a type, recorded them.
    """
    columns = model.preprocessing.facts["columns"] if model.is_table else []
    categories = {column["name"]: column["categories"] for column in columns if column["kind"] == "category"}
    frame = read_frame(path, categories)
    for name, known in categories.items():
        if name in frame.columns and set(known) <= set(_YES_NO.values()):
            frame[name] = frame[name].map(lambda value: _YES_NO.get(str(value), value), na_action="ignore")
    return frame


def _cell(text: str) -> str:
    """Return a text as a cell of a CSV, in quotes where RFC 4180 needs them."""
    plain = text and text == text.strip() and not set(text) & set(',"\r\n')
    return text if plain else '"' + text.replace('"', '""') + '"'
