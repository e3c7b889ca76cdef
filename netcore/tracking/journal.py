"""Records as an Optuna study on disk: `optuna.load_study` and `optuna-dashboard results/digits/optuna.log` open it.

The file is a view, written whole: Optuna's journal storage writes its entries to a list here, and the list becomes the
file in one go. No lock and no half line can be left behind. `journal_findings` reads it back as anybody would.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial

from netcore.errors import Finding, Problem, Remark
from netcore.files import is_file, write_atomically
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.search.history import quiet_optuna, told
from netcore.search.space import Space

__all__ = ["journal_findings", "write_journal"]

_TOLD = ("state", "values", "params", "distributions", "intermediate_values", "user_attrs")
"""What of a trial is compared; its times are those of a clock on a wall, and of no zone."""
_AGAIN = "`netcore report` makes it again"


class _Entries(BaseJournalBackend):
    """A journal in memory."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.entries += logs


def write_journal(records: list[Record], folder: StudyFolder) -> None:
    """Write optuna.log: the committed trials as Optuna was told of them, with netcore's state and digest as attributes.

    Raises:
        WorkError: the system refuses.
    """
    spec = StudySpec.model_validate(folder.resolved_settings()["settings"])
    space, journal = Space(spec.space), _Entries()
    with quiet_optuna():
        study = optuna.create_study(
            study_name=spec.name, storage=JournalStorage(journal), direction=spec.study.metric.direction
        )
        study.set_metric_names([str(spec.study.metric)])
    for record in records:
        trial = _journaled(record, space)
        trial.datetime_start = datetime.fromtimestamp(record.provenance.started)  # noqa: DTZ006  # Optuna's are local
        trial.datetime_complete = datetime.fromtimestamp(record.provenance.ended)  # noqa: DTZ006
        study.add_trial(trial)
    lines = (json.dumps({**entry, "worker_id": "netcore"}, separators=(",", ":")) for entry in journal.entries)
    write_atomically(folder.path / "optuna.log", "".join(line + "\n" for line in lines).encode())


def journal_findings(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Finding]:
    """Load optuna.log with Optuna's own storage and compare its trials with the records.

    `complete` says whether all trials are there and whole: else the file may be of fewer trials, or not there yet.
    """
    path = folder.path / "optuna.log"
    if not is_file(path):
        missing = Problem(str(path), "is missing", remedy=_AGAIN)
        yield missing if complete else Remark(f"{path} is not there yet; `netcore report` makes it")
        return
    spec = folder.spec()
    try:
        with quiet_optuna():
            study = optuna.load_study(study_name=spec.name, storage=JournalStorage(JournalFileBackend(str(path))))
            trials, direction, names = (
                study.get_trials(deepcopy=False),
                study.direction.name.lower(),
                study.metric_names,
            )
    except Exception as error:  # noqa: BLE001  # whatever Optuna raises over a damaged file
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
        yield Problem(str(path), f"cannot be loaded by Optuna ({reason})", remedy=_AGAIN)
        return
    if (direction, names) != (spec.study.metric.direction, [spec.study.metric]):
        yield Problem(str(path), f"must be of {spec.study.metric}", f"{names}, {direction}", _AGAIN)
    space, there = Space(spec.space), {trial.number: trial for trial in trials}
    for record in records:
        trial = there.pop(record.number, None)
        if trial is None and complete:
            yield Problem(f"{path}: trial {record.number}", "is missing", remedy=_AGAIN)
        elif trial is not None:
            yield from _unlike(trial, _journaled(record, space), path)
    for number in sorted(there.keys() - {*folder.numbers()}):
        yield Problem(f"{path}: trial {number}", "has no record", remedy=_AGAIN)
    if (behind := len(records) - len(trials)) > 0 and not complete:
        yield Remark(f"{path} is {behind} trials behind; `netcore report` brings it up to date")


def _journaled(record: Record, space: Space) -> FrozenTrial:
    """Give a trial as the file has it, but for its times."""
    trial = told(record, space)
    trial.user_attrs = {"netcore.state": str(record.result.state), "netcore.digest": record.digest}
    return trial


def _unlike(trial: FrozenTrial, asked: FrozenTrial, path: Path) -> Iterator[Problem]:
    for name in _TOLD:
        ours, theirs = getattr(trial, name), getattr(asked, name)
        if ours != theirs:
            place, rule = f"{path}: trial {trial.number}", f"{name} must be {theirs}, as its record says"
            yield Problem(place, rule, str(ours), _AGAIN)
