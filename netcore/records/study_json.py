"""The JSON files in a study's folder: resolved.json, test.json and times.json, checked as they are read.

resolved.json    every setting as the study ran, and what its data were
test.json        the reading of the test set by the final model, and how often the test set was read
times.json       seconds of all runs, by activity
"""

import math
from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge, Le, Len, Lt
from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from netcore.errors import InputError
from netcore.question.spec import StudySpec

Count = Annotated[int, Ge(0), Le(2**53)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Rows(_Checked):
    train: Count
    validation: Count
    test: Count


class _Data(_Checked):
    """The data in resolved.json."""

    name: str
    digest: str
    rows: _Rows
    class_names: list[str]
    feature_names: list[str]
    image_shape: Annotated[list[Annotated[int, Ge(1)]], Len(3, 3)] | None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.image_shape and math.prod(self.image_shape) != len(self.feature_names):
            raise ValueError
        return self


class _Resolved(_Checked):
    """The content of resolved.json."""

    settings: StudySpec
    data: _Data
    sampler_arguments: dict[str, Any] = {}
    training_step: str
    folder: str = ""


class _Test(_Checked):
    """The content of test.json."""

    trial: Count | None
    digest: str
    rows: Annotated[Count, Ge(1)]
    right: Count
    accuracy: Annotated[float, Ge(0), Le(1)]
    candidate: str
    seed: Count
    data_digest: str
    readings: Count
    confusion: list[list[Count]]

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.right > self.rows or any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError
        return self


def read_resolved(path: Path) -> dict[str, Any]:
    """Return the content of resolved.json, the settings with their defaults.

    Raises:
        InputError: the file is missing or damaged.
    """
    resolved = _read(path, _Resolved)
    if resolved is None or not resolved["settings"]["study"]["name"]:
        raise InputError.at(path, "is missing or damaged", remedy="`netcore run` writes it again")
    return resolved


def read_test(path: Path) -> dict[str, Any] | None:
    """Return the content of test.json; None if the file is missing or damaged."""
    return _read(path, _Test)


def read_times(path: Path) -> dict[str, float] | None:
    """Return the content of times.json; None if the file is missing or damaged."""
    return _read(path, dict[str, Annotated[float, Ge(0), Lt(1e12)]])


def _read(path: Path, kind: Any) -> dict[str, Any] | None:  # noqa: ANN401  # a type that pydantic can check
    """Return the content of a JSON file; None if the file is missing or its content is not of this type."""
    try:
        adapter = TypeAdapter(kind)
        return adapter.dump_python(adapter.validate_json(path.read_bytes(), strict=True), mode="json")  # type: ignore[no-any-return]
    except PermissionError:  # the file exists and must not be overwritten
        raise
    except (OSError, ValueError):
        return None
