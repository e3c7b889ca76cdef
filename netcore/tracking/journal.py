"""Records as an Optuna study on disk: `optuna.load_study` and `optuna-dashboard results/digits/optuna.log` open it.

The file is a view, written whole: Optuna's journal storage writes its entries to a list here, and the list becomes the
file in one go. No lock and no half line can be left behind.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from netcore.files import write_atomically
from netcore.study.folder import StudyFolder
from netcore.study.history import direction_of, quiet_optuna, told
from netcore.study.record import Record
from netcore.study.space import Space
from netcore.study.spec import StudySpec

__all__ = ["write_journal"]


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
        study = optuna.create_study(study_name=spec.name, storage=JournalStorage(journal), direction=direction_of(spec))
        study.set_metric_names([spec.study.metric])
    for record in records:
        trial = told(record, space)
        trial.datetime_start = datetime.fromtimestamp(record.provenance.started)  # noqa: DTZ006  # Optuna's are local
        trial.datetime_complete = datetime.fromtimestamp(record.provenance.ended)  # noqa: DTZ006
        trial.user_attrs = {"netcore.state": str(record.result.state), "netcore.digest": record.digest}
        study.add_trial(trial)
    lines = (json.dumps({**entry, "worker_id": "netcore"}, separators=(",", ":")) for entry in journal.entries)
    write_atomically(folder.path / "optuna.log", "".join(line + "\n" for line in lines).encode())
