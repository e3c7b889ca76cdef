"""What MLflow should hold of a study: one experiment, one run for the study, and one child run per training.

    records, confirmation, derived files  ->  tags, params, metrics, status, artifacts of each run

A trial's run has the tag `netcore.trial`; a training of the confirmation has `netcore.confirm` instead. Everything here
is computed from the study's folder. `held` reads what MLflow holds, `plan` compares the two, `sync` applies the plan.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from netcore.confirm.confirmation import Confirmed, winner_of
from netcore.files import is_file, read_file
from netcore.question.metrics import METRICS
from netcore.question.metrics import Metric as StudyMetric
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.records.record import Record, ranked

STATUS = {
    State.FINISHED: "FINISHED",
    State.PRUNED: "KILLED",
    State.DIVERGED: "KILLED",
    State.FAILED: "FAILED",
}
"""MLflow's status of a run, by the state of its training."""

Key = tuple[str, str]
"""Which training a run shows: the name of the tag that identifies it, and the tag's value."""

TRIAL, CONFIRM = "netcore.trial", "netcore.confirm"
"""The tags that identify a training's run."""

LOGGED = (*METRICS, "best_epoch", *(f"best_{name}" for name in METRICS))
"""The names of all metrics that a training's run may have."""

_FILES = ("study.toml", "resolved.json", "test.json", "report.html", "optuna.log", "*.parquet", "plots/*")
"""The files of a study's folder that the study's run holds as artifacts."""


class Training(NamedTuple):
    """A training and its run in MLflow."""

    key: Key
    name: str
    """The run's name."""
    record: Record

    @property
    def is_trial(self) -> bool:
        """Whether it belongs to the search, not to the confirmation."""
        return self.key[0] == TRIAL


class Projection(NamedTuple):
    """Everything that MLflow should hold of one study."""

    folder: StudyFolder
    name: str
    """The study's name, which is also the experiment's."""
    metric: StudyMetric
    params: dict[str, str]
    """The params of the study's run: the study's settings."""
    question: str
    """SHA-256 of settings and data: a study's run with another one belongs to another question."""
    dataset: DatasetInput
    """The data set, as MLflow links it to each run."""

    @classmethod
    def of(cls, folder: StudyFolder) -> "Projection":
        """Read what a study's folder states about its question.

        Raises:
            RecordError: resolved.json is missing or damaged.
        """
        resolved = folder.resolved_settings()
        settings, data = resolved["settings"], resolved["data"]
        identity = StudySpec.identity_of(settings)
        asked = json.dumps([identity, data["digest"]], sort_keys=True)
        tables = ("study", "data", "training")
        params = {f"{table}.{key}": str(value) for table in tables for key, value in identity[table].items()}
        question = hashlib.sha256(asked.encode()).hexdigest()
        name, metric = settings["study"]["name"], StudyMetric(settings["study"]["metric"])
        return cls(folder, name, metric, params, question, _dataset(settings["data"], data))


def trial_run(record: Record) -> Training:
    """Return a trial with its run's key and name."""
    return Training((TRIAL, str(record.number)), f"trial {record.number}", record)


def trainings_of(records: list[Record], confirmed: Confirmed) -> list[Training]:
    """Return all trainings that have a run: the trials, then those of the confirmation."""
    found = [trial_run(record) for record in records]
    for candidate, seeds in confirmed.items():
        for record in seeds:
            key = (CONFIRM, f"{candidate.folder}/{record.number}")
            found.append(Training(key, f"{candidate.name}, seed {record.number}", record))
    return found


def tags_of(record: Record, study: str, parent: str) -> dict[str, str]:
    """Return the tags that a training's run must have; with its params they are all that a replay needs."""
    tags = {
        "mlflow.parentRunId": parent,
        "netcore.study": study,
        "netcore.state": str(record.result.state),
        "netcore.digest": record.digest,
        "netcore.weights_sha256": record.weights_sha256,
        "netcore.thresholds": json.dumps(record.job.thresholds),
        "netcore.environment": json.dumps(record.provenance.environment),
        "netcore.failure": record.result.failure,
    }
    return {name: text for name, text in tags.items() if text}


def params_of(record: Record) -> dict[str, str]:
    """Return a training's params; numbers are written so that reading them gives the same bits."""
    job = record.job
    params = {**job.hyperparameters._asdict(), "epochs": job.epochs, "batch_size": job.batch_size, "seed": job.seed}
    return {name: str(value) for name, value in params.items()}


def metrics_of(record: Record) -> Iterator[Metric]:
    """Return the curves by epoch, and the metrics of the best epoch: MLflow's tables show the last values only.

    The learning rate of an epoch is left out: it follows from two params, one of which has the same name.
    """
    result, provenance = record.result, record.provenance
    for epoch in result.curve:
        at = milliseconds(provenance.started + provenance.seconds * epoch.epoch / len(result.curve))
        for name in METRICS:
            yield Metric(name, finite(getattr(epoch, name)), at, epoch.epoch)
    if result.best_epoch:
        best, at = result.curve[result.best_epoch - 1], milliseconds(provenance.ended)
        yield Metric("best_epoch", result.best_epoch, at, 0)
        for name in METRICS:
            yield Metric(f"best_{name}", getattr(best, name), at, 0)


def results_of(records: list[Record], confirmed: Confirmed, folder: StudyFolder) -> dict[str, float]:
    """Return the metrics of the study's run: trials by state, the best trial, the winner, the test accuracy."""
    states = [record.result.state for record in records]
    results: dict[str, float] = {"trials": len(records)}
    results |= {f"trials_{state}": states.count(state) for state in State}
    if best := ranked(records)[:1]:
        results["best_trial"] = best[0].number
        results |= {metric.key: metric.value for metric in metrics_of(best[0]) if metric.key.startswith("best_")}
    winner = winner_of(confirmed)
    if winner is not None:
        results["winner_trial"] = winner.trial or 0
        for name in METRICS[1::2]:
            finished = (record for record in confirmed[winner] if record.result.state is State.FINISHED)
            values = [getattr(record.result.curve[-1], name) for record in finished]
            results[f"confirmed_{name}"] = sum(values) / len(values)
        test = folder.test_result()
        if test and test.get("digest") in {record.digest for record in confirmed[winner]}:
            results["test_accuracy"] = test["accuracy"]
    return {name: finite(float(value)) for name, value in results.items()}


def _dataset(source: dict[str, Any], data: dict[str, Any]) -> DatasetInput:
    """Return a data set as MLflow links it to a run, from its settings and its description in resolved.json."""
    dataset = Dataset(
        name=data["name"],
        digest=data["digest"][:12],  # MLflow accepts up to 36 characters
        source_type="netcore",
        source=json.dumps({"source": source, "digest": data["digest"]}),
        profile=json.dumps({"rows": data["rows"], "classes": len(data["class_names"])}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def file_digests(folder: StudyFolder) -> dict[str, str]:
    """Return the files that the study's run should hold: the first 16 digits of SHA-256, by name in the folder."""
    files = sorted(filter(is_file, (file for pattern in _FILES for file in folder.path.glob(pattern))))
    return {file.relative_to(folder.path).as_posix(): sha256_of(file)[:16] for file in files}


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(read_file(file)).hexdigest()


def finite(value: float) -> float:
    """Return NaN for infinity, which MLflow would return as 1.8e308."""
    return value if math.isfinite(value) else math.nan


def milliseconds(seconds: float) -> int:
    """Return a time as MLflow counts it."""
    return round(seconds * 1_000)
