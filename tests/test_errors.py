"""Claims about netcore.errors: the line of a problem, and the exit code of each kind of error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcore.errors import DataError, InputError, NetcoreError, Problem, RecordError, WorkError, nearest


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("x.toml: study.window", "must be >= 1"), "x.toml: study.window: must be >= 1"),
        (Problem("x.toml", "must be >= 1", "0"), "x.toml: must be >= 1, got 0"),
        (Problem("x.toml", "unknown key", remedy="did you mean 'reg'?"), "x.toml: unknown key; did you mean 'reg'?"),
        (Problem("x.toml", "must be 4", "3", "change it"), "x.toml: must be 4, got 3; change it"),
    ],
)
def test_problem_is_one_line(problem: Problem, line: str) -> None:
    """A problem reads: place, rule, the value found, the remedy; what is not known is left out."""
    assert str(problem) == line


def test_error_has_one_line_per_problem() -> None:
    """An error with several problems has one line for each, in their order."""
    error = InputError(Problem("a", "must be 1", "2"), Problem("b", "must be given", "nothing"))
    assert str(error) == "a: must be 1, got 2\nb: must be given, got nothing"
    assert [problem.place for problem in error.problems] == ["a", "b"]


def test_at_makes_the_error_of_a_single_problem() -> None:
    """`at` takes any objects for place and value and gives an error of the class it was called on."""
    error = RecordError.at(17, "must be 1", 2, "fix it")
    assert type(error) is RecordError
    assert error.problems == (Problem("17", "must be 1", "2", "fix it"),)


@pytest.mark.parametrize(
    ("kind", "code"), [(InputError, 2), (DataError, 2), (RecordError, 2), (WorkError, 1), (NetcoreError, 1)]
)
def test_exit_codes(kind: type[NetcoreError], code: int) -> None:
    """Wrong input, data and records end with exit code 2, work that failed with 1; all are NetcoreErrors."""
    assert kind.exit_code == code
    assert issubclass(kind, NetcoreError)


@pytest.mark.parametrize(
    ("word", "known", "remedy"),
    [
        ("digit", ["smoke", "iris", "digits"], "did you mean 'digits'?"),
        ("runs", ["rungs", "run", "keep"], "did you mean 'rungs' or 'run'?"),
        ("zzz", ["smoke", "iris", "digits"], "known: digits, iris, smoke"),
        ("zzz", [], ""),
        ("", ["b", "a"], "known: a, b"),
    ],
)
def test_nearest(word: str, known: list[str], remedy: str) -> None:
    """The remedy names the nearest known words, all known words if none is near, and is empty if none is known."""
    assert nearest(word, known) == remedy


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=8))
def test_nearest_does_not_depend_on_the_order(word: str, known: list[str]) -> None:
    """The remedy does not depend on the order of the known words."""
    assert nearest(word, known) == nearest(word, reversed(known))
