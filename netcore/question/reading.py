"""From the bytes of a TOML file to a checked model, or to one line for each mistake in it.

pydantic finds the mistakes; here they are put in the house's words: place, rule, value, remedy.
"""

import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from netcore.data import SOURCES
from netcore.errors import InputError, Problem, nearest

__all__ = ["LARGEST", "Section", "read_toml", "rule", "validated"]

LARGEST = 64 * 1024
"""Bytes that a study file may have; no honest one comes near."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DEPTH = 8
_NUMBERS = "a whole number must fit in 64 bits"

Model = TypeVar("Model", bound=BaseModel)

_TAGS = {
    *(("space", 2, form) for form in ("fixed", "choice", "range")),
    *(("data", 1, source) for source in SOURCES),
    *(("data", 3, form) for form in ("rows", "share")),
}
"""What pydantic puts into a place that is not in the file: the form of a value, the source of [data]."""
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ">",
    "greater_than_equal": ">=",
    "less_than": "<",
    "less_than_equal": "<=",
}


class Section(BaseModel):
    """A table of the study file: no other keys, no guessed types, and nothing changes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def read_toml(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Give the bytes of a TOML file and what they say.

    Raises:
        InputError: it cannot be read, is larger than `LARGEST`, or is not TOML (line and column are named).
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
        _refuse_the_absurd(settings)
    except UnicodeDecodeError as error:
        raise InputError.at(
            path, "must be UTF-8 text", f"byte {error.object[error.start]:#04x} at offset {error.start}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError.at(path, f"is not valid TOML: {error}") from error
    except RecursionError as error:
        raise InputError.at(path, "is nested too deeply", remedy="a study file has tables of plain values") from error
    except ValueError as error:  # Python refuses numbers of thousands of digits
        raise InputError.at(path, _NUMBERS) from error
    return text, settings


def _refuse_the_absurd(value: object, depth: int = 0) -> None:
    """Refuse what no study file holds and what libraries further on would choke on."""
    if depth > _DEPTH:
        raise RecursionError
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(_NUMBERS)
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _refuse_the_absurd(child, depth + 1)


def rule(text: str, value: object = "", remedy: str = "", *, known: Iterable[str] = ()) -> PydanticCustomError:
    """Make the error of a rule of our own, for a validator to raise."""
    if known:
        remedy = nearest(str(value).strip("'"), known)
    problem = {"rule": text, "value": str(value), "remedy": remedy}
    return PydanticCustomError("rule", "{rule}", problem)


def validated(model: type[Model], settings: object, *, place: str) -> Model:
    """Check settings against a model.

    Raises:
        InputError: with one problem for each mistake.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        # A list of which no value is right is reported once more as too short; that is no mistake of its own.
        mistakes = [d for d in error.errors(include_url=False) if d["type"] != "too_short" or not d["input"]]
        raise InputError(*(_problem(details, model, place) for details in mistakes)) from None


def _problem(details: ErrorDetails, model: type[BaseModel], place: str) -> Problem:  # noqa: PLR0911  # one for each kind
    """Put one of pydantic's errors in the house's words."""
    kind, context, found = details["type"], details.get("ctx", {}), details["input"]
    location = details["loc"]
    keys = [key for index, key in enumerate(location) if (location[0], index, key) not in _TAGS]
    where = f"{place}: {_dotted(keys)}".removesuffix(": ").removeprefix(": ")
    value = _shown(found)
    if kind == "rule":
        return Problem(where, context["rule"], context["value"], context["remedy"])
    if kind.startswith("union_tag"):
        return _source_problem(f"{where}.source", found)
    if kind == "extra_forbidden":
        known = _keys_beside(model, location)
        return Problem(where, "unknown key", remedy=nearest(str(keys[-1]), known))
    if kind == "missing":
        return Problem(where, "must be given", "nothing", "add it; docs/study-file.md shows how")
    if kind in _TYPES:
        return Problem(where, f"must be {_TYPES[kind]}", value)
    if kind in _BOUNDS:
        bound = next(limit for key, limit in context.items() if key in {"gt", "ge", "lt", "le"})
        return Problem(where, f"must be {_BOUNDS[kind]} {bound}", value)
    if kind in {"literal_error", "enum"}:
        known = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return Problem(
            where,
            f"must be one of {', '.join(known)}",
            value,
            nearest(str(found), known) if get_close_matches(str(found), known) else "",
        )
    if kind == "string_too_short":
        return Problem(where, "must not be empty", value)
    if kind == "too_short":
        return Problem(where, "a list must have at least one value", value)
    return Problem(where, details["msg"][:1].lower() + details["msg"][1:], value)


def _source_problem(where: str, data: dict[str, Any]) -> Problem:
    """Say what is wrong with the key that decides which keys its table has."""
    if "source" not in data:
        return Problem(where, "must be given", "nothing", "add it; docs/study-file.md shows how")
    source = data["source"]
    if not isinstance(source, str):
        return Problem(where, "must be a text", _shown(source))
    return Problem(where, "unknown data source", _shown(source), nearest(source, SOURCES))


def _keys_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Give the keys that are allowed in the table in which an unknown one was found."""
    schema = model.model_json_schema()
    node: dict[str, Any] = schema
    for index, key in enumerate(location[:-1]):
        if (location[0], index, key) in _TAGS:
            choices = node.get("discriminator", {}).get("mapping", {})
            forms = [{"$ref": choices[key]}] if key in choices else node.get("oneOf", [])
            node = next((form for form in forms if "$ref" in form), {})
        elif isinstance(key, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(key, {})
        while "$ref" in node or "anyOf" in node:
            if "anyOf" in node:
                node = next(form for form in node["anyOf"] if form.get("type") != "null")
            else:
                node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return list(node.get("properties", {}))


def _dotted(keys: list[int | str]) -> str:
    """Write a place in the file the way its author would: space.learning_rate, start[0].reg."""
    text = ""
    for key in keys:
        if isinstance(key, str) and not _BARE_KEY.fullmatch(key):
            key = ascii(key)  # it may hold line breaks, or what moves a terminal's cursor
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def _shown(value: object) -> str:
    """Show a value as it stands in the file, cut where it is long."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  # a line of a terminal
