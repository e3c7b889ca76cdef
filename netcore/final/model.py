"""The net that ships, in one file: from raw rows, as they come, to the probabilities of the classes.

    raw rows ──► what was fitted to prepare them ──► W1 b1 W2 b2 ──► probabilities

`model.npz` holds all that this takes: arrays and JSON, packed and checksummed as `netcore.archive` says. Nothing in it
is a pickle, and nothing of the study that made it is needed: it is read here with NumPy alone, and with pandas where
the rows are a table.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netcore.archive import array_of, pack, unpack
from netcore.core.net import probabilities
from netcore.core.params import FloatArray, Params
from netcore.data import preprocessing, table
from netcore.data.preprocessing import Preprocessing, from_members, to_members
from netcore.errors import DataError, Problem, RecordError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MODEL", "Model", "read_model"]

MODEL = "model.npz"
"""Name of the file in a study's folder."""

_FORMAT = 1
_AGAIN = "`netcore run` or `netcore confirm` makes it again"
_NOT_A_MODEL = (AttributeError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError)
_FITTED = {"none": set(), "pixel-mean": {"mean"}, "feature": {"mean", "scale"}, "table": {"median", "mean", "scale"}}
"""The arrays of each kind of preprocessing."""
_MOST_PROBLEMS = 5


@dataclass(frozen=True, eq=False)
class Model:
    """A trained net, with what raw rows need before they reach it: D inputs, H hidden units, C classes."""

    params: Params
    """All of float32, or all of float64."""
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    """C names, in the order of the probabilities."""
    feature_names: tuple[str, ...]
    """D names, in the order of the net's inputs; of a table, those of the columns made of it."""
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, where the inputs are an image's pixels (D is their product)."""
    facts: dict[str, Any]
    """Where it comes from and what it is worth: anything that JSON can hold."""

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together.

        Raises:
            ValueError: they do not; the text says which.
        """
        _check_params(self.params, D=len(self.feature_names), C=len(self.class_names))
        _check_names("class", self.class_names, least=2)
        _check_names("feature", self.feature_names, least=1)
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError("two classes have one name")
        if self.image_shape is not None and (
            [type(length) for length in self.image_shape] != [int] * 3
            or min(self.image_shape) < 1
            or math.prod(self.image_shape) != len(self.feature_names)
        ):
            raise ValueError(f"image shape {self.image_shape} is not that of {len(self.feature_names)} inputs")
        _check_preprocessing(self.preprocessing, self.feature_names)

    @property
    def is_table(self) -> bool:
        """Say whether raw rows are a table with named columns; else they are arrays of numbers."""
        return bool(self.preprocessing.facts["kind"] == "table")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that raw rows must have where they come as a table."""
        if self.is_table:
            return tuple(column["name"] for column in self.preprocessing.facts["columns"])
        return self.feature_names

    def probabilities(self, rows: "NDArray[Any] | pd.DataFrame") -> FloatArray:
        """Give the probability of each class, shape (N, C), of N raw rows.

        They are, to the bit, those that `netcore.core.probabilities` gives for the same rows when a study has prepared
        them. Rows are a pandas frame with the model's columns (others are not looked at) or, where the study learned
        from arrays, an array of shape (N, D), (N, height, width) or (N, height, width, channels).

        Raises:
            DataError: the rows are not what the model takes.
        """
        X = self.prepared(rows)
        with np.errstate(all="ignore"):  # what is too large is looked for below
            p2 = probabilities(self.params, X)
        wrong = ~np.isfinite(p2).all(axis=1)
        if wrong.any():
            what = f"{int(wrong.sum())} whose scores are not finite, the first in row {int(np.argmax(wrong)) + 1}"
            raise DataError.at("rows", "must have numbers of the study's own size", what, "are the units the same?")
        return p2

    def prepared(self, rows: "NDArray[Any] | pd.DataFrame") -> FloatArray:
        """Give the matrix that the net sees, shape (N, D), in the type of its parameters.

        Raises:
            DataError: the rows are not what the model takes.
        """
        dtype = self.params.W1.dtype
        if self.is_table:
            X = table.apply(self.preprocessing, self._as_table(rows), dtype)
        else:
            X = preprocessing.apply(self.preprocessing, self._as_matrix(rows), slice(None), dtype)
        wrong = ~np.isfinite(X)
        if wrong.any():
            row, column = np.unravel_index(np.argmax(wrong), wrong.shape)
            what = f"{int(wrong.sum())} that are not, the first in row {row + 1}, {self.feature_names[column]}"
            rule = f"must be finite numbers that {dtype.name} can hold"
            raise DataError.at("rows", rule, what, "leave these rows out, or fill them in")
        return X

    def to_bytes(self) -> bytes:
        """Give the file's content; equal models give equal bytes.

        Raises:
            ValueError: a fact is not finite, which JSON cannot hold.
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
        """Read a file's content.

        Raises:
            RecordError: truncated, altered, or not a model at all; `place` says which file.
        """
        members = unpack(data, place, _AGAIN)
        try:
            about = json.loads(members["model.json"])
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']} is not {_FORMAT}")
            return cls(
                params=Params(*(array_of(members[f"{name}.npy"]) for name in Params._fields)),
                preprocessing=from_members(members),
                class_names=tuple(about["class_names"]),
                feature_names=tuple(about["feature_names"]),
                image_shape=None if about["image_shape"] is None else tuple(about["image_shape"]),
                facts=dict(about["facts"]),
            )
        except _NOT_A_MODEL as error:
            raise RecordError.at(place, f"does not hold a model ({error!r:.300})", remedy=_AGAIN) from error

    def _as_matrix(self, rows: "NDArray[Any] | pd.DataFrame") -> NDArray[Any]:
        """Give rows as an array of shape (N, D)."""
        if not isinstance(rows, np.ndarray):
            _refuse_missing(self.columns, rows)
            _refuse_texts(self.columns, rows)
            matrix: NDArray[Any] = rows[list(self.columns)].to_numpy(np.float64, na_value=np.nan)
            return matrix
        if rows.dtype.kind not in "biuf":
            raise DataError.at("rows", "must hold numbers", rows.dtype)
        D, shape = len(self.feature_names), rows.shape[1:]
        height, width, channels = self.image_shape or (0, 0, 0)
        if self.image_shape is None:
            fits, pictures = len(shape) > 0 and math.prod(shape) == D, ""
        else:
            of_one = (height, width) if channels == 1 else self.image_shape
            fits, pictures = shape in {(D,), of_one, self.image_shape}, f", or be pictures of shape {of_one}"
        if not fits:
            raise DataError.at("rows", f"must have {D} columns{pictures}", f"an array of shape {rows.shape}")
        return rows.reshape(len(rows), D)

    def _as_table(self, rows: "NDArray[Any] | pd.DataFrame") -> "pd.DataFrame":
        """Give rows as a table whose columns are there, and hold numbers where they should."""
        if isinstance(rows, np.ndarray):
            raise DataError.at("rows", f"must be a table with the columns {_listed(self.columns)}", "an array")
        _refuse_missing(self.columns, rows)
        kinds = {column["name"]: column["kind"] for column in self.preprocessing.facts["columns"]}
        _refuse_texts([name for name, kind in kinds.items() if kind == "number"], rows)
        return rows


def read_model(path: Path) -> Model:
    """Read a model's file.

    Raises:
        RecordError: it is not there, or not whole.
    """
    try:
        return Model.from_bytes(path.read_bytes(), path)
    except FileNotFoundError as error:
        study = path.parent.name
        remedy = f"`netcore run {study}` or `netcore confirm {study}` makes it"
        raise RecordError.at(path, "there is no model yet", remedy=remedy) from error
    except OSError as error:
        raise RecordError.at(path, f"cannot be read ({error.strerror or error})") from error


def _check_params(params: Params, *, D: int, C: int) -> None:
    H = params.hidden_size
    shapes = Params((D, H), (H,), (H or D, C), (C,))  # type: ignore[arg-type]  # the shapes under the arrays' names
    for name, array, shape in zip(Params._fields, params, shapes, strict=True):
        if array.dtype not in (np.float32, np.float64) or array.dtype != params.W1.dtype:
            raise ValueError(f"{name} is of type {array.dtype}")
        if array.shape != shape:
            raise ValueError(f"{name} is of shape {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")


def _check_names(what: str, names: tuple[str, ...], *, least: int) -> None:
    if len(names) < least or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what} names are not {least} texts or more")


def _check_preprocessing(fitted: Preprocessing, feature_names: tuple[str, ...]) -> None:
    kind = fitted.facts["kind"]
    if set(fitted.arrays) != _FITTED[kind]:
        raise ValueError(f"preprocessing {kind!r} has the arrays {sorted(fitted.arrays)}")
    length = len(feature_names)
    if kind == "table":
        columns = fitted.facts["columns"]
        for texts in ([column["name"] for column in columns], *(column.get("categories", []) for column in columns)):
            if type(texts) is not list or not all(isinstance(text, str) for text in texts):
                raise ValueError("columns and categories are not lists of texts")
            if len(set(texts)) < len(texts):
                raise ValueError("two columns, or two categories, have one name")
        if table.feature_names(fitted) != feature_names:
            raise ValueError("the columns of the table do not give the features")
        length = sum(column["kind"] == "number" for column in columns)
    for name, array in fitted.arrays.items():
        if array.dtype != np.float64 or array.shape != (length,) or not np.isfinite(array).all():
            raise ValueError(f"preprocessing has no {length} finite numbers as {name}")


def _refuse_missing(names: tuple[str, ...], frame: "pd.DataFrame") -> None:
    """Refuse a table without one of the columns; the nearest of those that are not asked for are shown."""
    if not frame.columns.is_unique:
        raise DataError.at("columns", "must have different names", remedy="rename them")
    missing = [name for name in names if name not in frame.columns]
    others = [str(name) for name in frame.columns if name not in set(names)]
    problems = [
        Problem(f"column {name!r}", "must be among the columns", remedy=nearest(name, others))
        for name in missing[:_MOST_PROBLEMS]
    ]
    if len(missing) > _MOST_PROBLEMS:
        problems.append(Problem("columns", f"{len(missing) - _MOST_PROBLEMS} more are missing"))
    if problems:
        raise DataError(*problems)


def _refuse_texts(names: "tuple[str, ...] | list[str]", frame: "pd.DataFrame") -> None:
    """Refuse a column of numbers that holds something else, and say in which row."""
    for name in names:
        column = frame[name]
        if getattr(column.dtype, "kind", "O") in "biuf":
            continue
        for row, (value, there) in enumerate(zip(column, column.notna(), strict=True), start=1):
            if there and not _is_number(value):
                raise DataError.at(f"column {name!r}", "must hold numbers", f"{value!a:.80} in row {row}")


def _is_number(value: Any) -> bool:  # noqa: ANN401  # whatever a cell holds
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:_MOST_PROBLEMS]))
    return shown if len(names) <= _MOST_PROBLEMS else f"{shown} and {len(names) - _MOST_PROBLEMS} more"
