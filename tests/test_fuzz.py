"""Whatever stands in a study file: a spec that proposes, or netcore's own errors in printable lines.

Fifty of each kind in every run; ten thousand with `make fuzz`. The study files of studies/ are damaged in their
bytes, their tokens and their structure; others are made of any keys and values, or of any bytes.
"""

import json
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from datetime import time as clock
from pathlib import Path
from typing import Any

import pytest
from formats import damage
from hypothesis import given, settings
from hypothesis import strategies as st

from netcore.errors import InputError, NetcoreError
from netcore.question.spec import StudySpec, load_spec
from netcore.search.history import History
from studies import SECTIONS, SPACE

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.toml"))
FEW = settings(max_examples=50)
MANY = settings(derandomize=False, database=None, max_examples=2_500)

NUMBERS = st.sampled_from([0, 1, -1, 2, 64, 10**6, 2**31, 2**63 - 1, 2**63, 10**30, 0.5, 1e-308, 1e308, -0.0, 1e-9])
TEXTS = st.sampled_from(
    ["", "x", "val_loss", "digits", "iris", "grid", "qmc", "../x", "a\nb", "\x1b[0m", "\u202e", "é"]
)
KEYS = st.sampled_from(
    ["low", "high", "log", "name", "rungs", "start", "stopping", "x", "", *SECTIONS, *SPACE]
) | st.text(max_size=5)
VALUES = st.recursive(
    st.booleans() | NUMBERS | TEXTS | st.floats() | st.text(max_size=5) | st.dates() | st.times() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@contextmanager
def soon() -> Iterator[None]:
    """Check that nothing hangs; the bound is far beyond what a busy machine takes."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 60


def refused(error: NetcoreError) -> None:
    """Check that an error is printable lines."""
    assert error.exit_code == 2
    assert all(str(problem).replace("\u00a0", " ").isprintable() for problem in error.problems)
    assert error.problems


# Study files


def quoted(text: str) -> str:
    """Write a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml(value: Any) -> str:  # noqa: ANN401  # whatever stands in a study file
    """Write a value as TOML writes it in a line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, date | clock):
        return value.isoformat()
    return quoted(value) if isinstance(value, str) else repr(value).lower()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401  # any JSON value
    """Return the places of all values inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from places(inner, (*at, key))


def changed(value: Any, data: st.DataObject, others: st.SearchStrategy[Any] = VALUES) -> None:  # noqa: ANN401
    """Put another value in some places, take some away, add some."""
    for _ in range(data.draw(st.integers(1, 3))):
        there = list(places(value))
        if not there:
            return
        *way, last = data.draw(st.sampled_from(there))
        inner = value
        for key in way:
            inner = inner[key]
        match data.draw(st.integers(0, 5)):
            case 0:
                del inner[last]
            case 1 if isinstance(inner, dict):
                inner[data.draw(st.text(max_size=4))] = data.draw(others)
            case _:
                inner[last] = data.draw(others)


def by_tokens(text: bytes, data: st.DataObject) -> bytes:
    """Swap, double, drop, or exchange words."""
    words = text.decode().replace("\n", " \n ").split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at : at + 1] = data.draw(
            st.just([]) | st.sampled_from(words).map(lambda word: [word]) | VALUES.map(lambda value: [toml(value)])
        )
    return " ".join(words).encode(errors="replace")


def document(tables: dict[str, Any]) -> bytes:
    """Write a TOML file."""
    return "".join(f"{quoted(key)} = {toml(value)}\n" for key, value in tables.items()).encode(errors="replace")


def by_structure(text: bytes, data: st.DataObject) -> bytes:
    """Change what it says, and write that as a right TOML file."""
    tables = tomllib.loads(text.decode())
    changed(tables, data)
    return document(tables)


def by_nothing(_: bytes, data: st.DataObject) -> bytes:
    """Write any keys and values, or any bytes."""
    return data.draw(st.dictionaries(KEYS, VALUES, max_size=6).map(document) | st.binary(max_size=300))


WAYS: dict[str, Callable[[bytes, st.DataObject], bytes]] = {
    "bytes": damage,
    "tokens": by_tokens,
    "structure": by_structure,
    "nothing": by_nothing,
}


def check_study(folder: Path, way: str, data: st.DataObject) -> None:
    """Damage a study file, and read it; where it is one still, its first trials are proposed."""
    path = data.draw(st.sampled_from(STUDIES))
    (folder / "x.toml").write_bytes(WAYS[way](path.read_bytes(), data))
    with soon():
        try:
            spec = load_spec(folder / "x.toml")
        except InputError as error:
            refused(error)
            return
        settings_ = spec.model_dump(mode="json")
        assert StudySpec.model_validate(json.loads(json.dumps(settings_))).model_dump(mode="json") == settings_
        history = History(spec)
        for number in range(min(2, spec.study.trials)):
            assert all(value >= 0 for value in history.propose(number))


@pytest.mark.parametrize("way", WAYS)
@FEW
@given(data=st.data())
def test_a_damaged_study_file_is_read_or_refused(tmp_path: Path, way: str, data: st.DataObject) -> None:
    """A damaged study file gives a spec that proposes, or lines that say what is wrong."""
    check_study(tmp_path, way, data)


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("way", WAYS)
@MANY
@given(data=st.data())
def test_ten_thousand_damaged_study_files_are_read_or_refused(tmp_path: Path, way: str, data: st.DataObject) -> None:
    """Ten thousand of them, a quarter of each kind."""
    check_study(tmp_path, way, data)
