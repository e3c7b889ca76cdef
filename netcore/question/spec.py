"""The study file: one TOML file asks one question. It is read into a frozen, typed and checked `StudySpec`.

`load_spec` takes a path or the name of a study in ./studies. All mistakes are reported at once, each as place, rule,
value, remedy. docs/study-file.md describes every key.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from netcore.data import Dataset, load_dataset
from netcore.data.dataset import Put, put_in_memory
from netcore.errors import InputError, Problem, nearest
from netcore.files import is_file
from netcore.question.data_section import DataSection
from netcore.question.reading import Section, read_toml, validated
from netcore.question.sections import ConfirmSection, StoppingSection, StudySection, TrainingSection
from netcore.question.space_section import SpaceSection, StartSection, grid_misfits, start_misfits

STUDIES = Path("studies")

EXTRAS = {"gp": ("torch", "greenlet")}
"""The packages that a sampler needs besides Optuna. Without greenlet Optuna's `gp` works but proposes other numbers."""


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
    """Keys of [study] that may change without making existing records invalid."""

    @property
    def name(self) -> str:
        """The name of the study, its folder and its MLflow experiment."""
        return self.study.name or ""

    @property
    def text(self) -> bytes:
        """The exact bytes of the file."""
        return self._text

    @property
    def folder(self) -> Path:
        """The file's folder; paths in the file are relative to it."""
        return self._folder

    def identity(self) -> dict[str, Any]:
        """Return the settings that identify the question: all except `MAY_CHANGE` and [confirm]."""
        return self.identity_of(self.model_dump(mode="json"))

    @classmethod
    def identity_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the same for settings that were dumped as JSON."""
        study = {key: value for key, value in settings["study"].items() if key not in cls.MAY_CHANGE}
        return {**{table: value for table, value in settings.items() if table != "confirm"}, "study": study}

    def with_trials(self, trials: int | None) -> "StudySpec":
        """Return the same study with another number of trials."""
        return self._with("study", trials=trials)

    def with_confirm(self, finalists: int | None, seeds: int | None) -> "StudySpec":
        """Return the same study with another confirmation."""
        return self._with("confirm", finalists=finalists, seeds=seeds)

    def located(self, text: bytes, folder: Path) -> Self:
        """Set the bytes and the folder of the file, and return the spec; called once, when a spec is made."""
        self._text, self._folder = text, folder
        return self

    def _with(self, table: str, **changes: int | None) -> "StudySpec":
        """Return the same study with some keys changed and checked; None leaves a key as it is."""
        changed = {key: value for key, value in changes.items() if value is not None}
        if not changed:
            return self
        settings = self.model_dump()
        settings[table] |= changed
        return _checked(settings, self.name).located(self._text, self._folder)

    def misfits(self) -> Iterator[Problem]:
        """Find settings that are valid alone but contradict one another."""
        if self.stopping and self.stopping.rungs[-1] >= self.training.epochs:
            yield Problem(
                "stopping.rungs",
                "a rung must come before the last epoch",
                f"{self.stopping.rungs[-1]} with training.epochs={self.training.epochs}",
                "leave that rung out, or train longer",
            )
        if self.study.sampler == "grid":
            yield from grid_misfits(self.space, self.study.trials, len(self.start))
        yield from start_misfits(self.space, self.start)


def load_spec(study: str | Path) -> StudySpec:
    """Return the study in a file, given by its path or by its name in ./studies.

    Raises:
        InputError: the file is missing, or has mistakes; each mistake is one line.
    """
    path = _find(study)
    text, settings = read_toml(path)
    if isinstance(settings.get("study", {}), dict):
        settings["study"] = {"name": path.stem, **settings.get("study", {})}
    return _checked(settings, str(path)).located(text, path.absolute().parent)


class _DataAlone(Section):
    data: DataSection


def checked_data(settings: dict[str, Any]) -> dict[str, Any]:
    """Check the settings of [data] and return them with their defaults.

    Raises:
        InputError: the settings have mistakes.
    """
    return validated(_DataAlone, {"data": settings}, place="").data.model_dump()


def _checked(settings: object, place: str) -> StudySpec:
    """Return the spec of checked settings."""
    spec = validated(StudySpec, settings, place=place)
    problems = [replace(problem, place=f"{place}: {problem.place}") for problem in spec.misfits()]
    if problems:
        raise InputError(*problems)
    return spec


def check_sampler(spec: StudySpec) -> None:
    """Check that the packages of a study's sampler are installed; only a search needs them.

    Raises:
        InputError: a package is missing.
    """
    sampler = spec.study.sampler
    for package in EXTRAS.get(sampler, ()):
        if find_spec(package) is None:
            rule_, remedy = f"needs {package}, which is not installed", f"pip install 'netcore[{sampler}]'"
            raise InputError.at(f"{spec.name}: study.sampler", rule_, repr(sampler), remedy)


def dataset_of(spec: StudySpec, put: Put = put_in_memory, *, draw: int | None = None) -> Dataset:
    """Return a study's data, checked against its settings; `put` and `draw` are those of `prepare`.

    Raises:
        InputError: the data do not fit the study.
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
    """Return the question of a study file: its opening comment `# Question: …` with its continuation lines."""
    lines: list[str] = []
    for line in study_file.lstrip().splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or (lines and text.partition(" ")[0].endswith(":")):
            break
        if lines or text.startswith("Question:"):
            lines.append(text.removeprefix("Question:").strip())
    return " ".join(lines).strip()


def _find(study: str | Path) -> Path:
    """Return the path of a study file, given by its path or by its name in ./studies."""
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
    """Return the JSON Schema of a study file, which editors use for completion and checks."""
    schema = StudySpec.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2)
