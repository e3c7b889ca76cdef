"""Records as an Optuna study in a file: `optuna.load_study` and `optuna-dashboard results/digits/optuna.log` open it.

The file is derived from the records and written whole: Optuna's journal storage appends its entries to a list, and the
list becomes the file. So there is no lock file and no half line. `journal_findings` makes the entries again and
compares them with the file.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from netcore.errors import Problem
from netcore.files import is_file, read_file, write_atomically
from netcore.progress import Finding, Notice
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.search.history import quiet_optuna, told
from netcore.search.space import Space

_AGAIN = "`netcore report` writes it again"


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
    write_atomically(folder.path / "optuna.log", "".join(line + "\n" for line in _lines(records, folder)).encode())


def journal_findings(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Finding]:
    """Compare each entry of optuna.log with the entry that the records give.

    Where not all trials are there and readable (`complete`), the file may have fewer trials or not exist yet.
    """
    path = folder.path / "optuna.log"
    if not is_file(path):
        missing = Problem(str(path), "is missing", remedy=_AGAIN)
        yield missing if complete else Notice(f"{path} does not exist yet; `netcore report` writes it")
        return
    try:
        found = [json.loads(line) for line in read_file(path).splitlines()]
    except (OSError, RecursionError, ValueError) as error:
        yield Problem(str(path), f"is not a journal of Optuna ({error})"[:200], remedy=_AGAIN)
        return
    asked = [json.loads(line) for line in _lines(records, folder)]
    header = len(asked) - len(records)
    if found[:header] != asked[:header]:
        yield Problem(str(path), "must begin with the study's name, direction and metric", remedy=_AGAIN)
        return
    for number, (ours, theirs) in enumerate(zip(found[header:], asked[header:], strict=False)):
        for name in sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)):
            rule = f"{name} must be {theirs.get(name)}, as its record gives"
            yield Problem(f"{path}: trial {number}", rule, str(ours.get(name)), _AGAIN)
    trials = len(found) - header
    for number in sorted({*range(trials)} - {*folder.numbers()}):
        yield Problem(f"{path}: trial {number}", "has no record", remedy=_AGAIN)
    if (behind := len(records) - trials) > 0:
        lacks = Problem(str(path), f"must have {len(records)} trials", str(trials), _AGAIN)
        yield lacks if complete else Notice(f"{path} is {behind} trials behind; `netcore report` updates it")


def _lines(records: list[Record], folder: StudyFolder) -> list[str]:
    """Return the lines of the journal: those of the study first, then one line per trial."""
    spec, journal = folder.spec(), _Entries()
    space = Space(spec.space)
    with quiet_optuna():
        study = optuna.create_study(
            study_name=spec.name, storage=JournalStorage(journal), direction=spec.study.metric.direction
        )
        study.set_metric_names([str(spec.study.metric)])
    for record in records:
        trial = told(record, space)
        trial.user_attrs = {"netcore.state": str(record.result.state), "netcore.digest": record.digest}
        trial.datetime_start = datetime.fromtimestamp(record.provenance.started)  # noqa: DTZ006  # Optuna's are local
        trial.datetime_complete = datetime.fromtimestamp(record.provenance.ended)  # noqa: DTZ006
        study.add_trial(trial)
    return [json.dumps({**entry, "worker_id": "netcore"}, separators=(",", ":")) for entry in journal.entries]
