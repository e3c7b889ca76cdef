"""From the bytes of a TOML file to a checked model, or to one line for each mistake in it.

pydantic finds the mistakes. Here each becomes a `Problem`: the place as a dotted key, the rule, the value and, for an
unknown key, the nearest known one.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from netcore.data import SOURCES
from netcore.errors import InputError, Problem, nearest

LARGEST = 64 * 1024
"""The most bytes a study file may have; real ones are far smaller."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DEPTH = 8
_TOML = dict.fromkeys(("model_type", "model_attributes_type"), "must be a table")
_TOML |= {"tuple_type": "must be a list", "too_short": "must have at least one value"}
"""TOML's words where pydantic's messages use Python's."""

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


class Section(BaseModel):
    """A table of the study file: frozen, without unknown keys, without conversion of types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def read_toml(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a TOML file and its content.

    Raises:
        InputError: the file cannot be read, is larger than `LARGEST`, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError.at(path, f"cannot be read ({error.strerror or error})") from error
    if len(text) > LARGEST:
        raise InputError.at(path, f"a study file has at most {LARGEST} bytes", "more", "is this the right file?")
    try:
        settings = tomllib.loads(text.decode())
        _check_values(settings)
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x} at offset {error.start}"
        raise InputError.at(path, "must be UTF-8 text", byte) from error
    except RecursionError as error:
        raise InputError.at(path, "is nested too deeply", remedy="a study file has tables of plain values") from error
    except ValueError as error:  # TOMLDecodeError is one; Python itself refuses numbers of thousands of digits
        raise InputError.at(path, f"is not valid TOML: {error}") from error
    return text, settings


def _check_values(value: object, depth: int = 0) -> None:
    """Refuse integers and nesting that NumPy and pydantic cannot handle."""
    if depth > _DEPTH:
        raise RecursionError
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number must fit in 64 bits")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _check_values(child, depth + 1)


def rule(text: str, value: object = "", remedy: str = "") -> PydanticCustomError:
    """Return the error of a rule of our own, for a validator to raise."""
    return PydanticCustomError("rule", "{rule}", {"rule": text, "value": str(value), "remedy": remedy})


def validated(model: type[Model], settings: object, *, place: str) -> Model:
    """Return the model of checked settings.

    Raises:
        InputError: with one problem for each mistake.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        # pydantic reports a list in which every value is wrong a second time, as too short.
        mistakes = [d for d in error.errors(include_url=False) if d["type"] != "too_short" or not d["input"]]
        raise InputError(*(_problem(details, model, settings, place) for details in mistakes)) from None


def _problem(details: ErrorDetails, model: type[BaseModel], settings: object, place: str) -> Problem:
    """Return one of pydantic's errors as a problem: in pydantic's words, but with the place as the file has it."""
    kind, context, found = details["type"], details.get("ctx", {}), details["input"]
    keys = [*_keys(details["loc"], settings, missing=kind == "missing")]
    where = ": ".join(part for part in (place, _dotted(keys)) if part)
    if kind == "rule":
        return Problem(where, context["rule"], context["value"], context["remedy"])
    if kind == "extra_forbidden":
        return Problem(where, "unknown key", remedy=nearest(str(keys[-1]), _known_keys(model, details["loc"])))
    if kind == "missing":
        return Problem(where, "must be given", remedy="add it; docs/study-file.md shows how")
    if kind.startswith("union_tag"):
        source = found.get("source", "")
        return Problem(
            f"{where}.source",
            "unknown data source",
            _shown(source) if source else "nothing",
            nearest(str(source), SOURCES),
        )
    return Problem(where, _TOML.get(kind, details["msg"].replace("Input should", "must")), _shown(found))


def _keys(location: Location, settings: Any, *, missing: bool) -> Iterator[int | str]:  # noqa: ANN401  # what TOML holds
    """Return the keys of a place in the file: a location of pydantic also names the forms that a value may have."""
    for index, key in enumerate(location):
        try:
            settings = settings[key]
        except (KeyError, TypeError, IndexError):
            if not (missing and index == len(location) - 1):
                continue
        yield key


def _known_keys(model: type[BaseModel], location: Location) -> set[str]:
    """Return the keys that are allowed in the table in which an unknown key was found."""
    tables = [model]
    for key in location[:-1]:
        inner = [table.model_fields[key].annotation for table in tables if key in table.model_fields]
        of_this_form = [t for t in tables if any(key in get_args(f.annotation) for f in t.model_fields.values())]
        tables = [table for each in inner for table in _tables(each)] or of_this_form or tables
    return {key for table in tables for key in table.model_fields}


def _tables(annotation: object) -> Iterator[type[BaseModel]]:
    """Return the models within a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _tables(part)


def _dotted(keys: list[int | str]) -> str:
    """Return a place as the file's author would write it: space.learning_rate, start[0].reg."""
    text = ""
    for key in keys:
        if isinstance(key, str) and not _BARE_KEY.fullmatch(key):
            key = ascii(key)  # it may hold line breaks or control characters
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def _shown(value: object) -> str:
    """Return a value as it is written in the file, cut if it is long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  # a line of a terminal
