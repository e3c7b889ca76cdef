"""What the tests of `verify` and `replay` share: a small study with all that follows from it, in MLflow too."""

import shutil
import sqlite3
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType

import netcore
from netcore.question.spec import load_spec
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.results.tables import write_tables
from netcore.run import Run
from netcore.tracking.client import connect
from netcore.tracking.follow import sync
from netcore.tracking.journal import write_journal
from studies import study_text, write_arrays

STUDY = study_text(
    "do all of its numbers agree?",
    study="trials = 12, window = 2, max_failures = 20",
    training="epochs = 6, batch_size = 20",
    learning_rate="{ low = 1e-2, high = 1e4, log = true }",
    hidden_size="[4, 16, 1_000_000_000_000_000]",
    stopping="rungs = [2, 4], keep = 0.3, after = 2",
    confirm="finalists = 2, seeds = 3",
)
"""Finished, pruned, diverged and failed trials, confirmed and audited."""

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""The columns of MLflow's database that hold the places of its files."""


def make(folder: Path) -> Path:
    """Run both studies in the current folder, and send them to MLflow."""
    (folder / "small.toml").write_text(STUDY, encoding="utf-8")
    netcore.run_study(write_arrays(folder, "filed"), results=folder / "results", workers=1, confirm=False)
    with Run(load_spec(folder / "small.toml"), results=folder / "results", workers=2) as run:
        for _ in (*run.search(), *run.audit(1.0)):
            pass
    for name in ("filed", "small"):
        study = StudyFolder(folder / "results" / name)
        write_tables(netcore.load_study(study.path), study)
        write_journal(study.committed(), study)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of its own
            sync(study)
    return folder


def copy(folder: Path, to: Path) -> Path:
    """Copy all of it, to be damaged: MLflow's files, too."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    with sqlite3.connect(to / "mlflow.db") as database:
        for table, column in LOCATIONS:
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(folder), str(to)))  # noqa: S608
    database.close()
    return to


def address(folder: Path) -> str:
    """Return the address of a folder's MLflow."""
    return f"sqlite:///{folder}/mlflow.db"


def put(folder: StudyFolder, record: Record) -> None:
    """Put a record in the place of another, with a checksum that holds."""
    (folder.trials / f"{record.number:06d}.npz").write_bytes(record.to_bytes())


def with_result(record: Record, **changes: Any) -> Record:  # noqa: ANN401  # any field of a result
    """Return a record of another result, with the digest of before."""
    return replace(record, result=replace(record.result, **changes))


def with_job(record: Record, **changes: Any) -> Record:  # noqa: ANN401  # any field of a job
    """Return a record of another job, with the digest of before."""
    return replace(record, job=replace(record.job, **changes))


def with_metrics(record: Record, epoch: int, **metrics: float) -> Record:
    """Return a record with other metrics in one epoch, and the digest of before."""
    curve = [replace(each, **metrics) if each.epoch == epoch else each for each in record.result.curve]  # type: ignore[arg-type]
    return with_result(record, curve=tuple(curve))


def runs_in(client: MlflowClient, study: str, which: str = "", view: int = ViewType.ACTIVE_ONLY) -> list[MlflowRun]:
    """Return a study's runs, of which MLflow's expression `which` chooses some."""
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    found: list[MlflowRun] = client.search_runs([experiment.experiment_id], which, view, max_results=1000)
    return found


def run_of(trial: int | str, name: str = "small", tag: str = "netcore.trial") -> str:
    """Return the id of a training's run, in the MLflow that the environment names."""
    (run,) = runs_in(connect(), name, f"tags.`{tag}` = '{trial}'")
    return str(run.info.run_id)
