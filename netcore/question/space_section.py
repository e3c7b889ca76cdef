"""[space] and [[start]] in a study file: where to search, and the trials to begin with.

Their keys are the hyperparameters as `netcore.question.hyperparameters` declares them. Each is given in one of three
forms: a table { low, high, log } is a range, a list is a choice, a bare number fixes the hyperparameter.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import Discriminator, Field, Tag, create_model, field_validator, model_validator

from netcore.errors import Problem
from netcore.question.hyperparameters import DESCRIPTIONS, HYPERPARAMETERS, TYPES, Hyperparameters
from netcore.question.reading import Section, rule

T = TypeVar("T", int, float)


class Range(Section, Generic[T]):
    """All values from `low` to `high`, both included; `log = true` spreads them evenly on a logarithmic scale."""

    low: T
    high: T
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise rule(
                "`low < high` must hold",
                f"low={self.low}, high={self.high}",
                "swap or change them; one number alone fixes a hyperparameter",
            )
        if self.log and self.low <= 0:
            raise rule("a range with `log = true` starts above 0", f"low={self.low}", "raise `low`, or leave `log` out")
        return self


def _form(value: object) -> str:
    """Return in which form a hyperparameter is given."""
    if isinstance(value, dict | Range):
        return "range"
    return "choice" if isinstance(value, list | tuple) else "fixed"


def _setting(kind: Any) -> Any:  # noqa: ANN401  # a type as pydantic checks it
    """Return the type of a hyperparameter's setting: one of the three forms."""
    fixed = Annotated[kind, Tag("fixed")]
    choice = Annotated[tuple[kind, ...], Field(strict=False, min_length=1), Tag("choice")]
    searched = Annotated[Range[kind], Tag("range")]
    return Annotated[fixed | choice | searched, Discriminator(_form)]


def _table(settings: dict[str, Any], defaults: dict[str, Any]) -> Any:  # noqa: ANN401  # a model made from a table
    """Return a model with a key per hyperparameter; a key without a default must be given."""
    fields: dict[str, Any] = {
        name: (kind, Field(defaults.get(name, ...), description=DESCRIPTIONS[name])) for name, kind in settings.items()
    }
    return create_model("Hyperparameters", __base__=Section, **fields)


# mypy cannot follow classes that are made from a table, hence the two `type: ignore`.
_Space = _table({name: _setting(kind) for name, kind in TYPES.items()}, Hyperparameters._field_defaults)
_Start = _table({name: kind | None for name, kind in TYPES.items()}, dict.fromkeys(TYPES))


class SpaceSection(_Space):  # type: ignore[valid-type, misc]
    """[space]: where to search. A table { low, high, log } is a range, a list a choice, a bare number fixes it."""

    @field_validator("*")
    @classmethod
    def _each_once(cls, value: object) -> object:
        if isinstance(value, tuple) and len(set(value)) < len(value):
            raise rule("a list names each value once", list(value))
        return value


class StartSection(_Start):  # type: ignore[valid-type, misc]
    """[[start]]: a trial to begin with; hyperparameters that [space] fixes may be left out."""


def start_misfits(space: SpaceSection, start: tuple[StartSection, ...]) -> Iterator[Problem]:
    """Find start values outside the space: the sampler could not learn from them."""
    for number, section in enumerate(start):
        for name in HYPERPARAMETERS:
            yield from _start_misfits(f"start[{number}].{name}", getattr(space, name), getattr(section, name))


def _start_misfits(place: str, setting: object, value: float | None) -> Iterator[Problem]:
    """Find whether one value, None if it is not given, is outside its range, list or fixed number."""
    got = "nothing" if value is None else repr(value)
    if isinstance(setting, Range):
        if value is None or not setting.low <= value <= setting.high:
            rule_ = f"must be in [{setting.low}, {setting.high}]"
            yield Problem(place, rule_, got, "change it, or widen the range")
    elif isinstance(setting, tuple):
        if value not in setting:
            yield Problem(place, f"must be one of {list(setting)}", got, "change it, or add it to the list")
    elif value not in {None, setting}:
        yield Problem(place, f"must be {setting}, which [space] fixes", got, "leave it out")


def grid_misfits(space: SpaceSection, trials: int, starts: int) -> Iterator[Problem]:
    """Find what a grid cannot search: ranges, and more trials than it has combinations."""
    settings = {name: getattr(space, name) for name in HYPERPARAMETERS}
    ranges = [name for name, setting in settings.items() if isinstance(setting, Range)]
    for name in ranges:
        yield Problem(
            f"space.{name}",
            'sampler = "grid" needs a list of values or a bare number',
            "a range",
            "list the values to try, or take another sampler",
        )
    combinations = math.prod(len(setting) for setting in settings.values() if isinstance(setting, tuple))
    if not ranges and trials > combinations + starts:
        yield Problem(
            "study.trials",
            f"the grid has {combinations} combinations and {starts} start trials",
            f"trials={trials}",
            f"set trials = {combinations + starts}",
        )
