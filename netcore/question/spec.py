"""The study file: one TOML file asks one question. Here it becomes frozen, typed, and checked, before anything runs.

`load_spec` reads a file (or the name of one in ./studies) into a `StudySpec`. All mistakes are reported at once, each
as place, rule, value, remedy. docs/study-file.md describes every key.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)

from netcore.data import Dataset, load_dataset
from netcore.data.dataset import Put, put_in_memory
from netcore.errors import InputError, Problem, nearest
from netcore.files import is_file
from netcore.question.data_section import DataSection
from netcore.question.metrics import Metric
from netcore.question.reading import Section, read_toml, rule, validated

__all__ = [
    "EXTRAS",
    "HYPERPARAMETERS",
    "Hyperparameters",
    "Range",
    "StudySpec",
    "check_sampler",
    "checked_data",
    "dataset_of",
    "json_schema",
    "load_spec",
    "question",
]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
STUDIES = Path("studies")

T = TypeVar("T", int, float)


class Hyperparameters(NamedTuple):
    """What a trial tries; spelled the same as TOML key, MLflow param, table column and axis label."""

    learning_rate: float
    hidden_size: int
    reg: float
    learning_rate_decay: float


HYPERPARAMETERS = Hyperparameters._fields

EXTRAS = {"gp": ("torch", "greenlet")}
"""What a sampler needs besides Optuna. Without greenlet Optuna's `gp` would work, and propose other numbers."""


class Range(Section, Generic[T]):
    """All values from `low` to `high`, both included; `log = true` spreads them by their logarithm."""

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
    """Say how a hyperparameter is given: a table is a range, a list a choice, a bare number fixes it."""
    if isinstance(value, dict | Range):
        return "range"
    return "choice" if isinstance(value, list | tuple) else "fixed"


# pydantic fills in a type variable of its own models only, so each hyperparameter spells its three forms out.
Fixed = Annotated[T, Tag("fixed")]
Choice = Annotated[tuple[T, ...], Field(strict=False, min_length=1), Tag("choice")]
_FORM = Discriminator(_form)
Rate = Annotated[float, Gt(0)]
HiddenSize = Annotated[int, Ge(1)]
Reg = Annotated[float, Ge(0)]
Decay = Annotated[float, Gt(0), Le(1)]


class StudySection(Section):
    """[study]: how the answer is searched."""

    name: str | None = None
    """Name of the study, its MLflow experiment and its folder; the file's own name if left out."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Where all random numbers of the search come from."""
    trials: Annotated[int, Ge(1)] = 100
    """Trials in all; may be raised later."""
    metric: Annotated[Metric, Field(strict=False)] = Metric.VAL_LOSS
    """What is best: the lowest validation loss, or the highest validation accuracy."""
    sampler: Literal["tpe", "gp", "random", "qmc", "grid"] = "tpe"
    """How hyperparameters are proposed; `gp` needs the extra of that name."""
    window: Annotated[int, Ge(1)] = 8
    """Trials in flight at most: trial n is proposed when trial n - window is known."""
    weights: Literal["best", "all"] = "best"
    """Whose weights are kept: the five best finished trials', or all."""
    max_failures: Annotated[int, Ge(0)] = 3
    """So many trials may fail with an error before the study stops."""
    trial_timeout: Annotated[float, Gt(0), Le(1_000_000)] = 3600.0
    """Seconds after which a trial's worker counts as stalled."""

    @field_validator("name")
    @classmethod
    def _fit_for_a_folder(cls, name: str | None) -> str | None:
        if name is not None and not NAME.fullmatch(name):
            raise rule("a name is 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit", repr(name))
        return name


class TrainingSection(Section):
    """[training]: what all trials have in common."""

    epochs: Annotated[int, Ge(1)] = 30
    """Passes over the training set."""
    batch_size: Annotated[int, Ge(1)] = 100
    """Rows per step."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of parameters and data."""


class SpaceSection(Section):
    """[space]: where to search. A table { low, high, log } is a range, a list a choice, a bare number fixes it."""

    learning_rate: Annotated[Fixed[Rate] | Choice[Rate] | Annotated[Range[Rate], Tag("range")], _FORM]
    """Step size of the first epoch."""
    hidden_size: Annotated[Fixed[HiddenSize] | Choice[HiddenSize] | Annotated[Range[HiddenSize], Tag("range")], _FORM]
    """Number of hidden units."""
    reg: Annotated[Fixed[Reg] | Choice[Reg] | Annotated[Range[Reg], Tag("range")], _FORM]
    """Factor of the penalty on squared weights."""
    learning_rate_decay: Annotated[Fixed[Decay] | Choice[Decay] | Annotated[Range[Decay], Tag("range")], _FORM]
    """Factor of the learning rate from one epoch to the next."""

    @field_validator("*")
    @classmethod
    def _each_once(cls, value: object) -> object:
        if isinstance(value, tuple) and len(set(value)) < len(value):
            raise rule("a list names each value once", list(value))
        return value


class StoppingSection(Section):
    """[stopping]: when a trial that lags behind is stopped; without this table none is."""

    rungs: Annotated[tuple[Annotated[int, Ge(1)], ...], Field(strict=False, min_length=1)]
    """The epochs at which a trial may be stopped, in rising order."""
    keep: Annotated[float, Gt(0), Lt(1)] = 0.25
    """A trial goes on at a rung if it is as good as this share, the better one, of the trials before it."""
    after: Annotated[int, Ge(1)] = 5
    """So many trials must have reached a rung before any is stopped there."""

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: tuple[int, ...]) -> tuple[int, ...]:
        if any(low >= high for low, high in pairwise(rungs)):
            raise rule("rungs are epochs in rising order", list(rungs))
        return rungs


class ConfirmSection(Section):
    """[confirm]: how the best trials are confirmed after the search."""

    finalists: Annotated[int, Ge(1)] = 3
    """So many of the best finished trials are trained again, each with the same fresh seeds."""
    seeds: Annotated[int, Ge(1)] = 10
    """How many seeds."""


class StartSection(Section):
    """[[start]]: a trial to begin with; what [space] fixes may be left out."""

    learning_rate: Rate | None = None
    hidden_size: HiddenSize | None = None
    reg: Reg | None = None
    learning_rate_decay: Decay | None = None


class StudySpec(Section):
    """One study file, checked: frozen, typed, complete with its defaults."""

    study: StudySection = StudySection()
    data: DataSection
    training: TrainingSection = TrainingSection()
    space: SpaceSection
    stopping: StoppingSection | None = None
    start: Annotated[tuple[StartSection, ...], Field(strict=False)] = ()
    confirm: ConfirmSection = ConfirmSection()

    _text: bytes = PrivateAttr(b"")
    _folder: Path = PrivateAttr(Path())

    MAY_CHANGE: ClassVar = frozenset({"trials", "weights", "max_failures", "trial_timeout"})
    """Keys of [study] that may change while everything already done remains valid."""

    @property
    def name(self) -> str:
        """Name of the study, its folder and its MLflow experiment."""
        return self.study.name or ""

    @property
    def text(self) -> bytes:
        """The exact bytes of the file."""
        return self._text

    @property
    def folder(self) -> Path:
        """The folder that the file lies in: what paths in it are relative to."""
        return self._folder

    def identity(self) -> dict[str, Any]:
        """Give the settings that make this question another one: all but `MAY_CHANGE`, and what follows the search."""
        return self.identity_of(self.model_dump(mode="json"))

    @classmethod
    def identity_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Give the same of settings that were dumped as JSON."""
        study = {key: value for key, value in settings["study"].items() if key not in cls.MAY_CHANGE}
        return {**{table: value for table, value in settings.items() if table != "confirm"}, "study": study}

    def with_trials(self, trials: int | None) -> "StudySpec":
        """Give the same study with another number of trials."""
        return self._with("study", trials=trials)

    def with_confirm(self, finalists: int | None, seeds: int | None) -> "StudySpec":
        """Give the same study with another confirmation."""
        return self._with("confirm", finalists=finalists, seeds=seeds)

    def located(self, text: bytes, folder: Path) -> Self:
        """Say which bytes this was read from, and what paths in it are relative to; once, where a spec is made."""
        self._text, self._folder = text, folder
        return self

    def _with(self, table: str, **changes: int | None) -> "StudySpec":
        """Give the same study with some keys changed, checked like one that was read; None leaves a key as it is."""
        changed = {key: value for key, value in changes.items() if value is not None}
        if not changed:
            return self
        settings = self.model_dump()
        settings[table] |= changed
        return _checked(settings, self.name).located(self._text, self._folder)

    def misfits(self) -> Iterator[Problem]:
        """Find what is right by itself and wrong together."""
        if self.stopping and self.stopping.rungs[-1] >= self.training.epochs:
            yield Problem(
                "stopping.rungs",
                "a rung must come before the last epoch",
                f"{self.stopping.rungs[-1]} with training.epochs={self.training.epochs}",
                "leave that rung out, or train longer",
            )
        if self.study.sampler == "grid":
            yield from self._grid_misfits()
        for number, start in enumerate(self.start):
            for name in HYPERPARAMETERS:
                yield from _start_misfits(f"start[{number}].{name}", getattr(self.space, name), getattr(start, name))

    def _grid_misfits(self) -> Iterator[Problem]:
        searched = {name: getattr(self.space, name) for name in HYPERPARAMETERS}
        ranges = [name for name, value in searched.items() if isinstance(value, Range)]
        for name in ranges:
            yield Problem(
                f"space.{name}",
                'sampler = "grid" needs a list of values or a bare number',
                "a range",
                "list the values to try, or take another sampler",
            )
        combinations = math.prod(len(value) for value in searched.values() if isinstance(value, tuple))
        if not ranges and self.study.trials > combinations + len(self.start):
            yield Problem(
                "study.trials",
                f"the grid has {combinations} combinations and {len(self.start)} start trials",
                f"trials={self.study.trials}",
                f"set trials = {combinations + len(self.start)}",
            )


def _start_misfits(place: str, searched: object, value: float | None) -> Iterator[Problem]:
    """Find a start value outside the space: the sampler could not learn from it."""
    got = "nothing" if value is None else repr(value)
    if isinstance(searched, Range):
        if value is None or not searched.low <= value <= searched.high:
            rule_ = f"must be in [{searched.low}, {searched.high}]"
            yield Problem(place, rule_, got, "change it, or widen the range")
    elif isinstance(searched, tuple):
        if value not in searched:
            yield Problem(place, f"must be one of {list(searched)}", got, "change it, or add it to the list")
    elif value not in {None, searched}:
        yield Problem(place, f"must be {searched}, which [space] fixes", got, "leave it out")


def load_spec(study: str | Path) -> StudySpec:
    """Read a study file, given by its path or by the name of one in ./studies.

    Raises:
        InputError: there is no such file, or it has mistakes: all of them, one line each.
    """
    path = _find(study)
    text, settings = read_toml(path)
    if isinstance(settings.get("study", {}), dict):
        settings["study"] = {"name": path.stem, **settings.get("study", {})}
    return _checked(settings, str(path)).located(text, path.absolute().parent)


class _DataAlone(Section):
    data: DataSection


def checked_data(settings: dict[str, Any]) -> dict[str, Any]:
    """Check what would stand in [data], and give it with its defaults.

    Raises:
        InputError: it has mistakes.
    """
    return validated(_DataAlone, {"data": settings}, place="").data.model_dump()


def _checked(settings: object, place: str) -> StudySpec:
    """Make a spec of settings, or say all that is wrong with them."""
    spec = validated(StudySpec, settings, place=place)
    problems = [replace(problem, place=f"{place}: {problem.place}") for problem in spec.misfits()]
    if problems:
        raise InputError(*problems)
    return spec


def check_sampler(spec: StudySpec) -> None:
    """Look whether what a study's sampler needs is there: a search needs it; its tables and its report do not.

    Raises:
        InputError: it is not installed.
    """
    sampler = spec.study.sampler
    for package in EXTRAS.get(sampler, ()):
        if find_spec(package) is None:
            rule_, remedy = f"needs {package}, which is not installed", f"pip install 'netcore[{sampler}]'"
            raise InputError.at(f"{spec.name}: study.sampler", rule_, repr(sampler), remedy)


def dataset_of(spec: StudySpec, put: Put = put_in_memory, *, draw: int | None = None) -> Dataset:
    """Load a study's data and check what only the data can tell; `put` and `draw` are those of `prepare`.

    Raises:
        InputError: the data are not fit for the study.
    """
    dataset = load_dataset(**spec.data.model_dump(), dtype=spec.training.dtype, folder=spec.folder, put=put, draw=draw)
    rows = min(len(fold.X_train) for fold in dataset.folds)
    if spec.training.batch_size > rows:
        raise InputError.at(
            f"{spec.name}: training.batch_size",
            f"must be at most the {rows} rows of the training set",
            spec.training.batch_size,
        )
    return dataset


def question(study_file: str) -> str:
    """Give what a study file asks: its opening comment `# Question: …`, with the lines that carry it on."""
    lines: list[str] = []
    for line in study_file.lstrip().splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or (lines and text.partition(" ")[0].endswith(":")):
            break
        if lines or text.startswith("Question:"):
            lines.append(text.removeprefix("Question:").strip())
    return " ".join(lines).strip()


def _find(study: str | Path) -> Path:
    """Give the file that is meant: a path, or the name of a study in ./studies."""
    path = Path(study)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if not is_file(path):
            meant = [near for near in (path.with_name(f"{path.name}.toml"), STUDIES / path.name) if is_file(near)]
            remedy = f"did you mean {str(meant[0])!r}?" if meant else ""
            raise InputError.at(path, "there is no such study file", remedy=remedy)
        return path
    named = STUDIES / f"{study}.toml"
    if not is_file(named):
        known = [file.stem for file in STUDIES.glob("*.toml")]
        remedy = nearest(str(study), known) if known else "give the path of a TOML file"
        raise InputError.at(str(study) or "''", f"there is no study of this name in {STUDIES}/", remedy=remedy)
    return named


def json_schema() -> str:
    """Give the JSON Schema of a study file, from which editors complete and check as you type."""
    schema = StudySpec.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2)
