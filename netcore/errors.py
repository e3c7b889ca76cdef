"""Errors in one line: place, rule, value, remedy.

Every error that a user can cause is a `NetcoreError`. Its text is one line per `Problem`, and its `exit_code` is the
exit code of the process. A traceback in the terminal means a bug in netcore itself.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Problem:
    """One mistake: its place, the rule it breaks, the value that was found, and the remedy."""

    place: str
    rule: str
    value: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Return the line that the user reads, with control characters escaped."""
        got = f", got {self.value}" if self.value else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return printable(f"{self.place}: {self.rule}{got}{remedy}")


class NetcoreError(Exception):
    """An error with one or more problems; `str()` returns one line for each."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    @classmethod
    def at(cls, place: object, rule: str, value: object = "", remedy: str = "") -> Self:
        """Return the error of a single problem."""
        return cls(Problem(str(place), rule, str(value), remedy))


class InputError(NetcoreError):
    """The input is wrong: a study file, a name, an option. Nothing was trained or written (exit code 2)."""

    exit_code = 2


class DataError(InputError):
    """The data set does not fit the study (exit code 2)."""


class RecordError(InputError):
    """A record is missing, truncated, altered, or of another trial (exit code 2)."""


class WorkError(NetcoreError):
    """The input is valid but the work failed: no space, too many failed trials, no server (exit code 1)."""


def printable(text: str, but: str = "") -> str:
    """Return a text with control characters and line ends escaped, except the characters in `but`."""
    plain = "\u00a0" + but  # the no-break space between a number and its unit
    return "".join(each if each.isprintable() or each in plain else ascii(each)[1:-1] for each in text)


def nearest(word: str, known: "Iterable[str]") -> str:
    """Return the remedy for an unknown word: the nearest known words, else all of them."""
    known = sorted(known)
    close = get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "known: " + ", ".join(known) if known else ""
