"""The final model in one file: from raw rows to the probabilities of the classes.

    raw rows ──► preprocessing ──► W1 b1 W2 b2 ──► probabilities

`model.npz` contains everything that this needs: arrays and JSON, packed and checksummed by `netcore.archive`. It
contains no pickle, and needs nothing of the study that made it. NumPy alone reads it; pandas is needed only for tables.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netcore.archive import array_of, pack, unpack
from netcore.core.net import probabilities
from netcore.core.params import FloatArray, Params
from netcore.data import preprocessing, table_features
from netcore.data.columns import as_numbers, refuse
from netcore.data.dataset import Rows
from netcore.data.preprocessing import Preprocessing, from_members, to_members
from netcore.errors import DataError, Problem, RecordError, nearest
from netcore.files import cannot_read, read_file

if TYPE_CHECKING:
    import pandas as pd

_MOST_PROBLEMS = 5
"""The number of missing columns that are reported one by one."""
_LONGEST_LIST = 80
"""The number of characters of a list of columns in a message."""

MODEL = "model.npz"
"""The file's name in a study's folder."""

_FORMAT = 1
_AGAIN = "`netcore run` or `netcore confirm` makes it again"


@dataclass(frozen=True, eq=False)
class Model:
    """A trained net and the preprocessing of its inputs: D inputs, H hidden units, C classes."""

    params: Params
    """All float32, or all float64."""
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    """C names, in the order of the probabilities."""
    feature_names: tuple[str, ...]
    """D names, in the order of the net's inputs; for a table, those of the features made from its columns."""
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, if the inputs are pixels (D is their product)."""
    facts: dict[str, Any]
    """JSON: where the model comes from, and its metrics."""

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ValueError: they do not; the message says which.
        """
        D, C = len(self.feature_names), len(self.class_names)
        inputs, outputs = self.params.hidden_size, (self.params.hidden_size or D, C)
        shapes = ((D, inputs), (inputs,), outputs, (C,))
        if tuple(array.shape for array in self.params) != shapes:
            raise ValueError(f"the weights do not have {D} inputs and {C} classes")
        if self.is_table and table_features.feature_names(self.preprocessing) != self.feature_names:
            raise ValueError("the columns of the table do not give the features")
        if not self.is_table and any(array.shape != (D,) for array in self.preprocessing.arrays.values()):
            raise ValueError(f"the preprocessing is not that of {D} features")

    @property
    def is_table(self) -> bool:
        """Whether raw rows are a table with named columns; otherwise they are arrays of numbers."""
        return bool(self.preprocessing.facts["kind"] == "table")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that a table of raw rows must have."""
        if self.is_table:
            return tuple(column["name"] for column in self.preprocessing.facts["columns"])
        return self.feature_names

    def probabilities(self, rows: Rows) -> FloatArray:
        """Return the probability of each class, shape (N, C), for N raw rows.

        The result equals, bit for bit, `netcore.core.probabilities` of the same rows prepared by a study. `rows` is a
        pandas frame with the model's columns (others are ignored) or, if the study learned from arrays, an array of
        shape (N, D), (N, height, width) or (N, height, width, channels).

        Raises:
            DataError: the rows do not fit the model, or the scores overflow.
        """
        with np.errstate(all="ignore"):  # an overflow is found below
            p2 = probabilities(self.params, self.prepared(rows))
        rule = "must have numbers of the same size as in training"
        refuse(~np.isfinite(p2.max(axis=1)), "rows", rule, "rows with scores that are not finite", "check the units")
        return p2

    def prepared(self, rows: Rows) -> FloatArray:
        """Return the net's inputs, shape (N, D), in the type of its parameters.

        Raises:
            DataError: the rows do not fit the model, or a number is not finite in this type.
        """
        dtype = self.params.W1.dtype
        if not isinstance(rows, np.ndarray):
            _check_columns(self.columns, rows)
        if not self.is_table:
            X = preprocessing.apply(self.preprocessing, self._matrix(rows), dtype)
        elif isinstance(rows, np.ndarray):
            columns = shorten(", ".join(map(repr, self.columns)), _LONGEST_LIST, placeholder=" …")
            raise DataError.at("rows", f"must be a table with the columns {columns}", "an array")
        else:
            X = table_features.apply(self.preprocessing, rows, dtype)
        wrong = ~np.isfinite(X)
        if wrong.any():
            row, column = np.unravel_index(np.argmax(wrong), wrong.shape)
            found = f"{int(wrong.sum())} that are not, the first in row {row + 1}, {self.feature_names[column]}"
            rule = f"must be finite numbers that {dtype.name} can hold"
            raise DataError.at("rows", rule, found, "remove these rows, or fill them in")
        return X

    def _matrix(self, rows: Rows) -> NDArray[Any]:
        """Return rows of numbers as an array of shape (N, D), one column per feature.

        Raises:
            DataError: a cell is not a number, or the shape does not fit.
        """
        if not isinstance(rows, np.ndarray):
            return np.column_stack([as_numbers(rows[name]) for name in self.feature_names])
        if rows.dtype.kind not in "biuf":
            raise DataError.at("rows", "must be numbers", rows.dtype)
        D, shape = len(self.feature_names), rows.shape[1:]
        if self.image_shape is None:
            fits, images = len(shape) > 0 and math.prod(shape) == D, ""
        else:
            one = self.image_shape[:2] if self.image_shape[2] == 1 else self.image_shape
            fits, images = shape in {(D,), one, self.image_shape}, f", or be images of shape {one}"
        if not fits:
            raise DataError.at("rows", f"must have {D} columns{images}", f"an array of shape {rows.shape}")
        return rows.reshape(len(rows), D)

    def to_bytes(self) -> bytes:
        """Return the file's content; equal models give equal bytes.

        Raises:
            ValueError: a fact is not finite, which JSON cannot express.
        """
        about = {
            "format": _FORMAT,
            "class_names": self.class_names,
            "feature_names": self.feature_names,
            "image_shape": self.image_shape,
            "facts": self.facts,
        }
        text = json.dumps(about, indent=1, allow_nan=False).encode()
        return pack({"model.json": text, **self.params._asdict(), **to_members(self.preprocessing)})

    @classmethod
    def from_bytes(cls, data: bytes, place: object) -> "Model":
        """Return the model in a file's content; `place` names the file in messages.

        Raises:
            RecordError: the content is truncated, altered, or not a model.
        """
        members = unpack(data, place, _AGAIN)
        try:
            about = json.loads(members["model.json"])
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']} is not {_FORMAT}")  # noqa: TRY301  # the handler adds place and remedy
            return cls(
                params=Params(*(array_of(members[f"{name}.npy"]) for name in Params._fields)),
                preprocessing=from_members(members),
                class_names=tuple(about["class_names"]),
                feature_names=tuple(about["feature_names"]),
                image_shape=None if about["image_shape"] is None else tuple(about["image_shape"]),
                facts=dict(about["facts"]),
            )
        except Exception as error:  # other content may raise anything
            raise RecordError.at(place, f"does not contain a model ({error!r:.300})", remedy=_AGAIN) from error


def read_model(path: Path) -> Model:
    """Return the model in a file.

    Raises:
        RecordError: the file is missing or damaged.
        InputError: the file may not be read.
    """
    try:
        return Model.from_bytes(read_file(path), path)
    except FileNotFoundError as error:
        study = path.parent.name
        remedy = f"`netcore run {study}` or `netcore confirm {study}` makes it"
        raise RecordError.at(path, "there is no model yet", remedy=remedy) from error
    except OSError as error:
        raise cannot_read(path, error) from error


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
