"""The folder of a study, results/<name>/: where records and weights are stored, and who may write there.

study.toml  resolved.json    the question: its exact bytes, and every setting as resolved
trials/000017.npz            the records: the only source of truth; everything else is derived from them
weights/000017.npz           the weights of the trials that keep them
superseded/                  records that were replaced; never deleted
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from netcore.core.params import Params
from netcore.errors import InputError, RecordError, nearest
from netcore.files import (
    TEMPORARY,
    cannot_read,
    cannot_write,
    flush_folder,
    is_file,
    make_folder,
    read_file,
    write_atomically,
)
from netcore.question.spec import StudySpec
from netcore.records.record import Record, pack_weights, unpack_weights
from netcore.records.study_json import Resolved, TestReading, Times, read_json

_OLD = 3600.0


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
        """The study's name."""
        return self.path.name

    @contextmanager
    def locked(self, purpose: str = "run", *, patience: float = 0) -> Iterator[None]:
        """Hold a lock, so that no other process does the same with this study; it is released when this process ends.

        `patience` is how many seconds to wait for another process.

        Raises:
            InputError: another process holds the lock.
        """
        lock = FileLock(self.path / f".{purpose}.lock")
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            remedy = "wait until it ends; `netcore report` and `netcore list` may be used meanwhile"
            rule = f"another `netcore {purpose}` of this study is under way"
            raise InputError.at(self.path, rule, remedy=remedy) from None
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            yield
        finally:
            lock.release()

    def numbers(self) -> list[int]:
        """Return the numbers of the trials that have a record file, in order."""
        return sorted(_numbered(self.trials))

    def has(self, number: int) -> bool:
        """Return whether a trial has a record file."""
        return is_file(self._record(number))

    def read(self, number: int) -> Record:
        """Return a trial's record.

        Raises:
            RecordError: the record is missing, damaged, or of another trial.
        """
        path = self._record(number)
        record = Record.from_bytes(_read(path), path)
        if record.number != number:
            raise RecordError.at(path, f"must be the record of trial {number}", f"that of trial {record.number}")
        return record

    def committed(self) -> list[Record]:
        """Return the records of all committed trials: up to the first number without a record.

        Raises:
            RecordError: one of them is damaged.
        """
        return [self.read(number) for place, number in enumerate(self.numbers()) if place == number]

    def write(self, record: Record) -> None:
        """Write a record, once.

        Raises:
            WorkError: the system refuses.
        """
        write_atomically(self._record(record.number), record.to_bytes())

    def superseded_records(self) -> Iterator[Record]:
        """Return the replaced records that can be read."""
        for path in sorted(self.superseded.glob("*.npz")):
            with suppress(RecordError):
                yield Record.from_bytes(_read(path), path)

    def supersede(self, number: int, *, weights: bool = True) -> Path:
        """Move a record to superseded/ and drop its weights; return the new path. Nothing is ever overwritten."""
        path = self._record(number)
        make_folder(self.superseded)
        targets = (self.superseded / f"{path.stem}.{version}{path.suffix}" for version in count(1))
        target = next(target for target in targets if not target.exists())
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
        """Return the numbers of the trials whose weights are kept."""
        return _numbered(self.weights)

    def write_weights(self, record: Record, weights: Params) -> None:
        """Write a trial's weights."""
        write_atomically(self.weights_file(record.number), pack_weights(weights))

    def read_weights(self, record: Record) -> Params:
        """Return a trial's weights.

        Raises:
            RecordError: the file is missing, or its SHA-256 is not the record's.
        """
        path = self.weights_file(record.number)
        return unpack_weights(_read(path), record, path)

    def drop_weights(self, number: int) -> None:
        """Delete a trial's weights."""
        self.weights_file(number).unlink(missing_ok=True)

    def weights_file(self, number: int) -> Path:
        """Return the path of a trial's weights, whether they are kept or not."""
        return self.weights / _file_name(number)

    def test_result(self) -> dict[str, Any] | None:
        """Return the final model's reading of the test set; None if there is none or the file is damaged."""
        return read_json(self.test, TestReading)

    def times(self) -> dict[str, float] | None:
        """Return the seconds that all runs of this study took, by activity; None if they were not measured."""
        return read_json(self._times, Times)

    def add_times(self, spent: dict[str, float]) -> None:
        """Add the seconds of another run."""
        before = self.times() or {}
        total = {name: before.get(name, 0.0) + spent.get(name, 0.0) for name in {**before, **spent}}
        write_atomically(self._times, json.dumps(total, indent=1).encode())

    def resolved_settings(self) -> dict[str, Any]:
        """Return resolved.json: every setting as the study ran, and a description of the data.

        Raises:
            InputError: the file is missing or damaged.
        """
        resolved = read_json(self.resolved, Resolved)
        if resolved is None or not resolved["settings"]["study"]["name"]:
            raise InputError.at(self.resolved, "is missing or damaged", remedy="`netcore run` writes it again")
        return resolved

    def spec(self) -> StudySpec:
        """Return the study as it ran.

        Raises:
            InputError: resolved.json is missing or damaged.
        """
        resolved = self.resolved_settings()
        text = read_file(self.study_file) if is_file(self.study_file) else b""
        folder = os.path.normpath(os.path.join(os.path.realpath(self.path), resolved.get("folder", "")))  # noqa: PTH118
        return StudySpec.model_validate(resolved["settings"]).located(text, Path(folder))

    def refuse_links(self) -> None:
        """Check that no link leads out of the folder: files would be written elsewhere.

        Raises:
            InputError: there is such a link.
        """
        home = os.path.realpath(self.path)
        for link in self.path.rglob("*"):
            if link.is_symlink() and not Path(os.path.realpath(link)).is_relative_to(home):
                remedy = "move what it leads to here; the study's folder, or that of all results, may be a link itself"
                raise InputError.at(link, "must not be a link that leads out of the study's folder", remedy=remedy)

    def prepare(self) -> None:
        """Create the folders, and delete what interrupted writes left."""
        for folder in (self.path, self.trials, self.weights, self.plots):
            make_folder(folder)
        for rest in self.path.rglob(f"*{TEMPORARY}"):
            with suppress(OSError):
                # `netcore report` may be writing beside this run, so its temporary files are deleted only when old.
                # Records, including those of a confirmation or an audit, are written by this run alone.
                ours = rest.parent.name in {self.trials.name, self.weights.name}
                if ours or time.time() - rest.stat().st_mtime > _OLD:
                    rest.unlink()

    def _record(self, number: int) -> Path:
        return self.trials / _file_name(number)


def find_study(name: str | Path, results: str | Path) -> StudyFolder:
    """Return the folder of a study: by its name in the results folder, its own path, or its study file's path.

    Raises:
        InputError: there is no such study; the nearest names are shown.
    """
    for path in (Path(results) / name, Path(name), Path(results) / Path(name).stem):
        if is_file(path / "study.toml"):
            folder = StudyFolder(path)
            folder.refuse_links()
            return folder
    known = [folder.name for folder in studies_in(Path(results))]
    remedy = nearest(str(name), known) if known else f"`netcore run {name}` makes it"
    rule = f"there is no study of this name in {str(results).rstrip('/')}/"
    raise InputError.at(str(name) or "''", rule, remedy=remedy)


def studies_in(results: Path) -> list[StudyFolder]:
    """Return the folders of the studies in a results folder."""
    return [StudyFolder(file.parent) for file in sorted(results.glob("*/study.toml"))]


def _file_name(number: int) -> str:
    return f"{number:06d}.npz"


def _numbered(folder: Path) -> set[int]:
    """Return the numbers of the trials that have a file in a folder."""
    try:
        names = {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:  # an unreadable folder must not be taken for an empty one
        raise cannot_read(folder, error) from error
    stems = (name.removesuffix(".npz") for name in names)
    return {int(stem) for stem in stems if stem.isascii() and stem.isdecimal() and _file_name(int(stem)) in names}


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise cannot_read(path, error) from error
