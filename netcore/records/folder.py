"""The folder of a study, results/<name>/: where records and weights lie, and who may write there.

study.toml  resolved.json    the question: its exact bytes, and every setting as resolved
trials/000017.npz            the records: the only truth; everything else can be made from them
weights/000017.npz           a cache of weights
superseded/                  records that were replaced; never deleted
"""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge, Le, Len
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from netcore.core.params import Params
from netcore.errors import InputError, RecordError, nearest
from netcore.files import TEMPORARY, cannot_write, flush_folder, is_file, make_folder, write_atomically
from netcore.question.spec import StudySpec
from netcore.records.record import Record, pack_weights, unpack_weights

__all__ = ["StudyFolder", "find_study", "studies_in"]


_OLD = 3600.0

Count = Annotated[int, Ge(0), Le(2**53)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Rows(_Checked):
    train: Count
    validation: Count
    test: Count


class _Data(_Checked):
    """What resolved.json says the data were."""

    name: str
    digest: str
    rows: _Rows
    class_names: list[str]
    feature_names: list[str]
    image_shape: Annotated[list[Annotated[int, Ge(1)]], Len(3, 3)] | None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.image_shape and math.prod(self.image_shape) != len(self.feature_names):
            raise ValueError
        return self


class _Resolved(_Checked):
    """What resolved.json says, besides the settings."""

    data: _Data
    sampler_arguments: dict[str, Any] = {}
    training_step: str
    folder: str = ""


class _Test(_Checked):
    """What test.json says; the last five are not in files of older versions."""

    trial: Count | None
    digest: str
    rows: Annotated[Count, Ge(1)]
    right: Count
    accuracy: Annotated[float, Ge(0), Le(1)]
    candidate: str = ""
    seed: Count | None = None
    data_digest: str = ""
    readings: Count = 1
    confusion: list[list[Count]] = []

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.right > self.rows or any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError
        return self


class StudyFolder:
    """One study's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.study_file = path / "study.toml"
        self.resolved = path / "resolved.json"
        self.trials = path / "trials"
        self.weights = path / "weights"
        self.superseded = path / "superseded"
        self.plots = path / "plots"
        self.report = path / "report.html"
        self.test = path / "test.json"
        self._times = path / "times.json"

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.path.name

    @contextmanager
    def locked(self, purpose: str = "run", *, patience: float = 0) -> Iterator[None]:
        """Keep every other process from doing the same with this study; the system lets go when this process ends.

        `patience` is how many seconds to wait for another one.

        Raises:
            InputError: another process is at it.
        """
        lock = FileLock(self.path / f".{purpose}.lock")
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            remedy = "wait until it ends; `netcore report` and `netcore list` may be used meanwhile"
            raise InputError.at(
                self.path, f"another `netcore {purpose}` of this study is under way", remedy=remedy
            ) from None
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            yield
        finally:
            lock.release()

    def numbers(self) -> list[int]:
        """Give the numbers of the trials that have a record file, in order."""
        return sorted(_numbered(self.trials))

    def has(self, number: int) -> bool:
        """Say whether a trial has a record file."""
        return is_file(self._record(number))

    def read(self, number: int) -> Record:
        """Read a record.

        Raises:
            RecordError: it is not there, not whole, or the record of another trial.
        """
        path = self._record(number)
        record = Record.from_bytes(_read(path), path)
        if record.number != number:
            raise RecordError.at(path, f"must be the record of trial {number}", f"that of trial {record.number}")
        return record

    def committed(self) -> list[Record]:
        """Read the records of all committed trials: those up to the first number without a record.

        Raises:
            RecordError: one of them is not whole.
        """
        numbers = self.numbers()
        whole = next((n for n, number in enumerate(numbers) if n != number), len(numbers))
        return [self.read(number) for number in range(whole)]

    def write(self, record: Record) -> None:
        """Write a record, once.

        Raises:
            WorkError: the system refuses.
        """
        write_atomically(self._record(record.number), record.to_bytes())

    def superseded_records(self) -> Iterator[tuple[int, Record]]:
        """Read the records that were replaced, those that are whole, with their numbers."""
        for path in sorted(self.superseded.glob("*.npz")):
            with suppress(RecordError):
                record = Record.from_bytes(_read(path), path)
                yield record.number, record

    def supersede(self, number: int, *, weights: bool = True) -> Path:
        """Move a record, and its weights, out of the way; say where it is now. Nothing is ever overwritten."""
        path = self._record(number)
        make_folder(self.superseded)
        target = next(
            candidate
            for version in count(1)
            if not (candidate := self.superseded / f"{path.stem}.{version}{path.suffix}").exists()
        )
        try:
            path.rename(target)
            flush_folder(self.superseded)
            flush_folder(self.trials)
        except OSError as error:
            raise cannot_write(target, error) from error
        if weights:
            self.drop_weights(number)
        return target

    def kept_weights(self) -> set[int]:
        """Give the numbers of the trials whose weights are kept."""
        return _numbered(self.weights)

    def write_weights(self, record: Record, weights: Params) -> None:
        """Keep a trial's weights."""
        write_atomically(self.weights_file(record.number), pack_weights(weights))

    def read_weights(self, record: Record) -> Params:
        """Read a trial's weights.

        Raises:
            RecordError: they are not there, or not the ones that the record speaks of.
        """
        path = self.weights_file(record.number)
        return unpack_weights(_read(path), record, path)

    def drop_weights(self, number: int) -> None:
        """Keep a trial's weights no longer."""
        with suppress(FileNotFoundError):
            self.weights_file(number).unlink()

    def weights_file(self, number: int) -> Path:
        """Say where a trial's weights are, if they are kept."""
        return self.weights / _file_name(number)

    def test_figures(self) -> dict[str, Any] | None:
        """Give what the test set said of the net that ships, if it has been asked and the file is whole."""
        figures = _read_json(self.test)
        try:
            _Test.model_validate(figures)
        except (RecursionError, ValidationError):
            return None
        return figures

    def times(self) -> dict[str, float] | None:
        """Give the seconds that all runs of this study spent, by activity, if they were measured."""
        return _finite(_read_json(self._times))

    def add_times(self, spent: dict[str, float]) -> None:
        """Add the seconds of another run."""
        before = self.times() or {}
        total = {name: before.get(name, 0.0) + spent.get(name, 0.0) for name in {**before, **spent}}
        write_atomically(self._times, json.dumps(total, indent=1).encode())

    def resolved_settings(self) -> dict[str, Any]:
        """Give resolved.json: every setting as the study ran, and what the data were.

        Raises:
            InputError: the folder holds none.
        """
        resolved = _read_json(self.resolved) or {}
        try:
            _Resolved.model_validate(resolved)
            spec = StudySpec.model_validate(resolved["settings"])
        except (KeyError, RecursionError, ValidationError):
            spec = None
        if spec is None or not spec.name:
            raise InputError.at(self.resolved, "is missing or not whole", remedy="`netcore run` writes it again")
        return resolved | {"settings": spec.model_dump(mode="json")}

    def spec(self) -> StudySpec:
        """Give the study as it ran.

        Raises:
            InputError: the folder does not say.
        """
        resolved = self.resolved_settings()
        text = self.study_file.read_bytes() if is_file(self.study_file) else b""
        folder = os.path.normpath(os.path.join(os.path.realpath(self.path), resolved.get("folder", "")))  # noqa: PTH118
        return StudySpec.model_validate(resolved["settings"]).located(text, Path(folder))

    def trials_wanted(self) -> int:
        """Give the number of trials that the study asks for."""
        return int(self.resolved_settings()["settings"]["study"]["trials"])

    def refuse_links(self) -> None:
        """Refuse links that lead out of the folder: what is written there would be written elsewhere.

        Raises:
            InputError: there is one.
        """
        home = os.path.realpath(self.path)
        for link in _links(self.path):
            if os.path.commonpath([home, os.path.realpath(link)]) != home:
                remedy = "move what it leads to here; the study's folder, or that of all results, may be a link itself"
                raise InputError.at(link, "must not be a link that leads out of the study's folder", remedy=remedy)

    def prepare(self) -> None:
        """Make the folders, and clear what interrupted writes left."""
        for folder in (self.path, self.trials, self.weights, self.plots):
            make_folder(folder)
        for rest in self.path.rglob(f"*{TEMPORARY}"):
            with suppress(OSError):
                # Views may be in the making beside this run (`netcore report`); the rest of one is old before it goes.
                # Records, those of a confirmation or an audit included, are this run's alone.
                ours = rest.parent.name in {self.trials.name, self.weights.name}
                if ours or time.time() - rest.stat().st_mtime > _OLD:
                    rest.unlink()

    def _record(self, number: int) -> Path:
        return self.trials / _file_name(number)


def find_study(name: str | Path, results: str | Path) -> StudyFolder:
    """Give the folder of a study that has run: by its name in the results folder, its own path, or its study file's.

    Raises:
        InputError: there is none; the nearest names are shown.
    """
    for path in (Path(results) / name, Path(name), Path(results) / Path(name).stem):
        if is_file(path / "study.toml"):
            folder = StudyFolder(path)
            folder.refuse_links()
            return folder
    known = [folder.name for folder in studies_in(Path(results))]
    remedy = nearest(str(name), known) if known else f"`netcore run {name}` makes it"
    raise InputError.at(
        str(name) or "''", f"there is no study of this name in {str(results).rstrip('/')}/", remedy=remedy
    )


def studies_in(results: Path) -> list[StudyFolder]:
    """Give the folders of the studies in a results folder; none where the system does not even take its name."""
    try:
        return [StudyFolder(file.parent) for file in sorted(results.glob("*/study.toml"))]
    except (OSError, ValueError):
        return []


def _file_name(number: int) -> str:
    return f"{number:06d}.npz"


def _numbered(folder: Path) -> set[int]:
    """Give the numbers of the trials that have a file in a folder."""
    try:
        names = {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:  # what cannot be seen may be there: it must not be taken for missing
        raise _unread(folder, error) from error
    stems = (name.removesuffix(".npz") for name in names)
    return {int(stem) for stem in stems if stem.isascii() and stem.isdecimal() and _file_name(int(stem)) in names}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except PermissionError:  # what may not be read is not missing: it must not be written over
        raise
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _finite(times: dict[str, Any] | None) -> dict[str, float] | None:
    """Give the entries that are numbers of seconds."""
    if times is None:
        return None
    return {name: each for name, each in times.items() if type(each) in {int, float} and 0 <= each < 1e12}  # noqa: PLR2004


def _links(folder: str | Path) -> Iterator[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield entry.path
            elif entry.is_dir():
                yield from _links(entry.path)


def _read(path: Path) -> bytes:
    try:
        if path.is_fifo():  # who reads it waits for ever
            raise RecordError.at(path, "must be a file", "a pipe")
        return path.read_bytes()
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: Path, error: OSError) -> InputError:
    """Say what cannot be read; what may not be read is no damaged record: for all that is known it is whole."""
    what = f"cannot be read ({error.strerror or error})"
    if isinstance(error, PermissionError):
        return InputError.at(path, what, remedy="change its permissions")
    return RecordError.at(path, what)
