"""Whatever stands in a study file: a spec that proposes, or netcore's own errors in printable lines.

Fifteen in every run; ten thousand with `make fuzz`. Study files are damaged in their bytes, their tokens and their
structure, beginning with those of studies/.
"""

import json
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from formats import damage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netcore.errors import InputError, NetcoreError
from netcore.question.spec import StudySpec, load_spec
from netcore.search.history import History

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.toml"))
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
FEW = settings(deadline=None, derandomize=True, max_examples=15, suppress_health_check=HEALTH)
MANY = settings(deadline=None, max_examples=10_000, suppress_health_check=HEALTH, database=None)

NUMBERS = st.sampled_from([0, 1, -1, 2, 64, 10**6, 2**31, 2**63 - 1, 2**63, 10**30, 0.5, 1e-308, 1e308, -0.0, 1e-9])
TEXTS = st.sampled_from(
    ["", "x", "val_loss", "digits", "iris", "grid", "qmc", "../x", "a\nb", "\x1b[0m", "\u202e", "é"]
)
VALUES = st.recursive(
    st.booleans() | NUMBERS | TEXTS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["low", "high", "log", "name", "x", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


@contextmanager
def soon() -> Iterator[None]:
    """See that nothing hangs; the bound is far beyond what a busy machine takes."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 60


def refused(error: NetcoreError) -> None:
    """See that an error is lines that a terminal only shows."""
    assert error.exit_code == 2
    assert all(str(problem).replace("\u00a0", " ").isprintable() for problem in error.problems)
    assert error.problems


# Study files


def toml(value: Any) -> str:  # noqa: ANN401  # whatever stands in a study file
    """Write a value as TOML writes it in a line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401  # any JSON value
    """Give the places of all values inside."""
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


def by_bytes(text: bytes, data: st.DataObject) -> bytes:
    """Damage bytes."""
    return damage(text, data)


def by_tokens(text: bytes, data: st.DataObject) -> bytes:
    """Swap, double, drop, or exchange words."""
    words = text.decode().replace("\n", " \n ").split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at : at + 1] = data.draw(
            st.just([]) | st.sampled_from(words).map(lambda word: [word]) | VALUES.map(lambda value: [toml(value)])
        )
    return " ".join(words).encode(errors="replace")


def by_structure(text: bytes, data: st.DataObject) -> bytes:
    """Change what it says, and write that as a right TOML file."""
    tables = tomllib.loads(text.decode())
    changed(tables, data)
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in tables.items()).encode(errors="replace")


WAYS: dict[str, Callable[[bytes, st.DataObject], bytes]] = {
    "bytes": by_bytes,
    "tokens": by_tokens,
    "structure": by_structure,
}


def check_study(folder: Path, data: st.DataObject) -> None:
    """Damage a study file, and read it; where it is one still, its first trials are proposed."""
    path, way = data.draw(st.sampled_from(STUDIES)), data.draw(st.sampled_from(sorted(WAYS)))
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


@FEW
@given(data=st.data())
def test_a_damaged_study_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Fifteen: a spec that proposes, or lines that say what is wrong."""
    check_study(tmp_path, data)


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@MANY
@given(data=st.data())
def test_ten_thousand_damaged_study_files_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Ten thousand of them."""
    check_study(tmp_path, data)
