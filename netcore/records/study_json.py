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

from netcore.files import read_file
from netcore.question.spec import StudySpec

Times = dict[str, Annotated[float, Ge(0), Lt(1e12)]]
"""The content of times.json."""
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


class Resolved(_Checked):
    """The content of resolved.json."""

    settings: StudySpec
    data: _Data
    sampler_arguments: dict[str, Any] = {}
    training_step: str
    folder: str = ""


class TestReading(_Checked):
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


def read_json(path: Path, kind: Any) -> dict[str, Any] | None:  # noqa: ANN401  # a type that pydantic can check
    """Return the content of a JSON file, with the defaults of `kind`: `Resolved`, `TestReading` or `Times`.

    The result is None if the file is missing or its content is not of this type.

    Raises:
        PermissionError: the file exists but must not be read; it must not be overwritten either.
    """
    try:
        adapter = TypeAdapter(kind)
        return adapter.dump_python(adapter.validate_json(read_file(path), strict=True), mode="json")  # type: ignore[no-any-return]
    except PermissionError:
        raise
    except (OSError, ValueError):
        return None
