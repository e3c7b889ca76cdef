"""What can go wrong, said in one line: place, rule, value, remedy.

Every error that a user can cause is a `NetcoreError`; its text is one line per `Problem` and its `exit_code` is the
process's. Nothing else may reach the terminal: a traceback means a mistake in netcore itself.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DataError",
    "Finding",
    "InputError",
    "NetcoreError",
    "Problem",
    "RecordError",
    "Remark",
    "WorkError",
    "nearest",
    "printable",
]


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, which rule it breaks, what was found there, what to do about it."""

    place: str
    rule: str
    value: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Give the one line that the user reads, whatever the names and values in it."""
        got = f", got {self.value}" if self.value else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return printable(f"{self.place}: {self.rule}{got}{remedy}")


@dataclass(frozen=True)
class Remark:
    """Something that the user should know although nothing is wrong."""

    text: str

    def __str__(self) -> str:
        """Return the one line that the user reads."""
        return self.text


Finding = Problem | Remark
"""What a check of a study reports."""


class NetcoreError(Exception):
    """An error with one or more problems; `str()` gives one line for each."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    @classmethod
    def at(cls, place: object, rule: str, value: object = "", remedy: str = "") -> Self:
        """Make the error of a single problem."""
        return cls(Problem(str(place), rule, str(value), remedy))


class InputError(NetcoreError):
    """The input is wrong: a study file, a name, an option. Nothing was trained or written (exit code 2)."""

    exit_code = 2


class DataError(InputError):
    """The data set is not what the study needs (exit code 2)."""


class RecordError(InputError):
    """A record is missing, truncated, altered, or not the one that is asked for (exit code 2)."""


class WorkError(NetcoreError):
    """The input was right and the work failed: no space, too many failed trials, no server (exit code 1)."""


def printable(text: str, but: str = "") -> str:
    """Escape what a terminal would not show but do (line ends, control sequences), but for the letters in `but`."""
    plain = "\u00a0" + but  # a space that keeps a number and its unit together
    return "".join(each if each.isprintable() or each in plain else ascii(each)[1:-1] for each in text)


def nearest(word: str, known: "Iterable[str]") -> str:
    """Give the remedy for a word that is not known: the nearest known ones, else all of them."""
    known = sorted(known)
    close = get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "known: " + ", ".join(known) if known else ""
