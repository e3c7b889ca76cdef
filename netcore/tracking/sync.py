"""Committed records as MLflow runs: one experiment per study, one parent run, one child run per trial.

The trainings of a confirmation are child runs too, but no trials: they bear the tag `netcore.confirm` instead.

A projection, and idempotent: what is there and right stays, what is missing is written, what differs is deleted and
written anew (MLflow's params cannot be changed). A run is right when it bears its record's digest and has ended; its
end is written last, so a run that was cut short is never taken for a whole one.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag, ViewType

from netcore.confirm.confirmation import Confirmed, read_confirmation, winner_of
from netcore.errors import RecordError
from netcore.files import is_file
from netcore.question.metrics import METRICS
from netcore.question.metrics import Metric as StudyMetric
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.records.record import Record, ranked
from netcore.tracking.client import settle_database
from netcore.tracking.pages import DIGEST_LENGTH, NOTE, VIEW, StudyRun, fenced, question_of, trials_view
from netcore.tracking.registry import ship

__all__ = [
    "CONFIRM",
    "LOGGED",
    "STATUS",
    "TRIAL",
    "VIEWS",
    "Key",
    "Projection",
    "asked_runs",
    "figures_of",
    "finite",
    "key_of",
    "metrics_of",
    "params_of",
    "settings_of",
    "study_runs",
    "tags_of",
]

STATUS = {
    State.FINISHED: "FINISHED",
    State.PRUNED: "KILLED",
    State.DIVERGED: "KILLED",
    State.FAILED: "FAILED",
}
"""How MLflow calls the end of a training."""

Key = tuple[str, str]
"""What a run is of: the name of the tag that says so, and its value."""

TRIAL, CONFIRM = "netcore.trial", "netcore.confirm"
"""The tags that say what a run is of."""

VIEWS = ("study.toml", "resolved.json", "test.json", "report.html", "optuna.log", "*.parquet", "plots/*")
"""The files of a study's folder that its own run holds."""

LOGGED = {*METRICS, "best_epoch", *(f"best_{name}" for name in METRICS)}
"""The names of a training's metrics, those that it may lack included."""

_METRICS_PER_CALL = 1_000
_RUNS_PER_PAGE = 1_000


class Projection:
    """The MLflow side of one study."""

    def __init__(self, client: MlflowClient, folder: StudyFolder) -> None:
        self._client = client
        self._folder = folder
        self._resolved = folder.resolved_settings()
        self.name: str = self._resolved["settings"]["study"]["name"]
        self.experiment_id = self._experiment().experiment_id
        parents, self._runs = self._read_runs()
        self._parent = self._settle_parent(parents)
        self._written: dict[Key, str] = {}

    @property
    def written(self) -> int:
        """How many runs were written."""
        return len(self._written)

    def begin(self) -> None:
        """Show the study as under way."""
        self._client.update_run(self._parent, "RUNNING")

    def add(self, record: Record) -> None:
        """Make sure that a trial has its run, and only one, and that it is right."""
        self._add((TRIAL, str(record.number)), f"trial {record.number}", record)

    def _add(self, key: Key, name: str, record: Record) -> None:
        if self._written.get(key) == record.digest:
            return
        right = None
        for run in self._runs.pop(key, []):
            if right is None and self._is_right(run, record):
                right = run
            else:
                self._client.delete_run(run.info.run_id)
        if right is None:
            right = self._write(key, name, record)
            self._written[key] = record.digest
        self._runs[key] = [right]

    def finish(self, records: list[Record], *, complete: bool) -> None:
        """Make everything as the folder has it: all trials, kept weights, the parent's figures, files and state."""
        confirmed = read_confirmation(self._folder.spec(), records, self._folder)
        asked = asked_runs(records, confirmed)
        for key, (name, record) in asked.items():
            self._add(key, name, record)
        for key in self._runs.keys() - asked.keys():  # trainings that have no record any more
            for run in self._runs.pop(key):
                self._client.delete_run(run.info.run_id)
        self._sweep()
        kept = self._folder.kept_weights()
        for record in records:
            if record.number in kept:
                self._log_weights(record)
        self._log_views()
        self._log_outcome(records, confirmed)
        self.end("FINISHED" if complete else "KILLED")
        ship(self._client, self._folder, self.name, self.experiment_id, self._parent)
        settle_database()

    def _sweep(self) -> None:
        """Delete the study's runs that MLflow made unasked.

        A call whose answer is lost on the way is made again, by MLflow itself; two runs come of it, one never ends.
        """
        ours = {self._parent, *(run.info.run_id for runs in self._runs.values() for run in runs)}
        unended = study_runs(self._client, self.experiment_id, self.name, "attributes.status = 'RUNNING'")
        for run_id in [run.info.run_id for run in unended if run.info.run_id not in ours]:
            self._client.delete_run(run_id)

    def end(self, status: str) -> None:
        """Put the parent run in a state that is an end, if it is not in it yet."""
        run = self._client.get_run(self._parent)
        if run.info.status != status:
            self._client.set_terminated(self._parent, status)

    def _experiment(self) -> Experiment:
        """Find or make the experiment; one that was deleted in the UI still owns its name and comes back."""
        found = self._client.get_experiment_by_name(self.name)
        metric = self._resolved["settings"]["study"]["metric"]
        if found is None:
            tags = {
                "mlflow.experimentKind": "custom_model_development",
                "netcore.study": self.name,
                "netcore.metric": metric,
            }
            found = self._client.get_experiment(self._client.create_experiment(self.name, tags=tags))
        elif found.lifecycle_stage != "active":
            self._client.restore_experiment(found.experiment_id)
        if VIEW not in found.tags:
            view = trials_view(StudyMetric(metric), found.creation_time or 0)
            self._client.set_experiment_tag(found.experiment_id, VIEW, view)
        return found

    def _read_runs(self) -> tuple[list[Run], dict[Key, list[Run]]]:
        """Give the study's parent runs, and the runs of each training."""
        parents: list[Run] = []
        trainings: dict[Key, list[Run]] = {}
        for run in study_runs(self._client, self.experiment_id, self.name):
            key = key_of(run)
            if key:
                trainings.setdefault(key, []).append(run)
            else:
                parents.append(run)
        return parents, trainings

    def _settle_parent(self, parents: list[Run]) -> str:
        """Find or make the study's own run; that of another question under the same name is deleted."""
        settings = StudySpec.identity_of(self._resolved["settings"])
        asked = json.dumps([settings, self._resolved["data"]["digest"]], sort_keys=True)
        digest = hashlib.sha256(asked.encode()).hexdigest()
        kept: Run | None = None
        for run in sorted(parents, key=lambda run: not run.data.params):  # of two, the one that the trials are under
            if kept is None and run.data.tags.get("netcore.question") == digest:
                kept = run
            else:
                self._client.delete_run(run.info.run_id)
        if kept is None:
            tags = {"netcore.study": self.name, "netcore.question": digest, "mlflow.source.name": "netcore"}
            kept = self._client.create_run(self.experiment_id, tags=tags, run_name=self.name)
        run_id = str(kept.info.run_id)
        missing = settings_of(settings).items() - kept.data.params.items()
        params = [Param(key, value) for key, value in sorted(missing) if key not in kept.data.params]
        if params:  # they come last: a run that has them all is whole
            self._client.log_inputs(run_id, [self._dataset()])
            self._client.log_batch(run_id, params=params)
        return run_id

    def _is_right(self, run: Run, record: Record) -> bool:
        asked = tags_of(record, self.name, self._parent)
        return asked.items() <= run.data.tags.items() and run.info.status == STATUS[record.result.state]

    def _write(self, key: Key, name: str, record: Record) -> Run:
        """Write the run of one training: four calls, the last of which ends it."""
        provenance = record.provenance
        tags = {**tags_of(record, self.name, self._parent), "mlflow.source.name": "netcore", key[0]: key[1]}
        if record.result.failure:
            tags[NOTE] = fenced(record.result.traceback[-4_000:])
        run = self._client.create_run(self.experiment_id, _milliseconds(provenance.started), tags, name)
        run_id = run.info.run_id
        params = [Param(name, value) for name, value in params_of(record).items()]
        metrics = list(metrics_of(record))
        for start in range(0, max(1, len(metrics)), _METRICS_PER_CALL):
            chunk = metrics[start : start + _METRICS_PER_CALL]
            self._client.log_batch(run_id, metrics=chunk, params=params if start == 0 else ())
        self._client.log_inputs(run_id, [self._dataset()])
        self._client.set_terminated(run_id, STATUS[record.result.state], _milliseconds(provenance.ended))
        return run

    def _dataset(self) -> DatasetInput:
        data = self._resolved["data"]
        dataset = Dataset(
            name=data["name"],
            digest=data["digest"][:DIGEST_LENGTH],
            source_type="netcore",
            source=json.dumps({"source": self._resolved["settings"]["data"], "digest": data["digest"]}),
            profile=json.dumps({"rows": data["rows"], "classes": len(data["class_names"])}),
        )
        return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])

    def _log_weights(self, record: Record) -> None:
        run = self._runs[TRIAL, str(record.number)][0]
        if run.data.tags.get("netcore.weights") == record.weights_sha256:
            return
        with suppress(RecordError):  # weights that are not the record's are not sent; `netcore run` makes them again
            self._folder.read_weights(record)
            self._client.log_artifact(run.info.run_id, str(self._folder.weights_file(record.number)), "weights")
            self._client.set_tag(run.info.run_id, "netcore.weights", record.weights_sha256)

    def _log_views(self) -> None:
        """Send the study's files to the parent run, each that is not there as it is now."""
        sent = json.loads(self._client.get_run(self._parent).data.tags.get("netcore.files", "{}"))
        files = sorted(filter(is_file, (file for view in VIEWS for file in self._folder.path.glob(view))))
        now = {}
        for file in files:
            name = file.relative_to(self._folder.path).as_posix()
            now[name] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            if sent.get(name) != now[name]:
                folder = None if file.parent == self._folder.path else file.parent.name
                self._client.log_artifact(self._parent, str(file), folder)
        if now != sent:
            self._client.set_tag(self._parent, "netcore.files", json.dumps(now))

    def _log_outcome(self, records: list[Record], confirmed: Confirmed) -> None:
        """Give the parent the figures of the best trial and of the winner, and a note for its reader."""
        best, figures = ranked(records)[:1], figures_of(records, confirmed, self._folder)
        run = self._client.get_run(self._parent)
        now = _milliseconds(max((record.provenance.ended for record in records), default=0.0))
        changed = [
            Metric(key, finite(value), now, 0) for key, value in figures.items() if run.data.metrics.get(key) != value
        ]
        page = StudyRun(question_of(self._folder) or self.name, self.experiment_id, self._parent)
        note = page.note(best[0] if best else None, winner_of(confirmed), figures)
        tags = [RunTag(NOTE, note)] if run.data.tags.get(NOTE) != note else []
        if changed or tags:
            self._client.log_batch(self._parent, metrics=changed, tags=tags)
        if self._client.get_experiment(self.experiment_id).tags.get(NOTE) != page.summary():
            self._client.set_experiment_tag(self.experiment_id, NOTE, page.summary())


def study_runs(client: MlflowClient, experiment_id: str, name: str, *conditions: str) -> Iterator[Run]:
    """Give all of a study's runs that are not deleted and meet these conditions, the oldest first."""
    condition = " AND ".join((f"tags.`netcore.study` = '{name}'", *conditions))
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    token = None
    while True:
        page = client.search_runs([experiment_id], condition, ViewType.ACTIVE_ONLY, _RUNS_PER_PAGE, order, token)
        yield from page
        token = page.token
        if not token:
            return


def key_of(run: Run) -> Key | None:
    """Say what a run is of; the study's own is of no training."""
    return next(((kind, run.data.tags[kind]) for kind in (TRIAL, CONFIRM) if kind in run.data.tags), None)


def asked_runs(records: list[Record], confirmed: Confirmed) -> dict[Key, tuple[str, Record]]:
    """Give the runs that a study has besides its own: name and record of each."""
    asked = {(TRIAL, str(record.number)): (f"trial {record.number}", record) for record in records}
    for candidate, trainings in confirmed.items():
        for record in trainings:
            key = (CONFIRM, f"{candidate.folder}/{record.number}")
            asked[key] = (f"{candidate.name}, seed {record.number}", record)
    return asked


def figures_of(records: list[Record], confirmed: Confirmed, folder: StudyFolder) -> dict[str, float]:
    """Give the study's own metrics: how the trials ended, the best one's figures, the winner's."""
    figures: dict[str, float] = {"trials": len(records)}
    for state in State:
        figures[f"trials_{state}"] = sum(record.result.state is state for record in records)
    best = ranked(records)[:1]
    if best:
        figures |= {"best_trial": best[0].number} | {
            m.key: m.value for m in metrics_of(best[0]) if m.key.startswith("best_")
        }
    winner = winner_of(confirmed)
    if winner is not None:
        figures["winner_trial"] = winner.trial or 0
        for name in METRICS[1::2]:
            finished = (record for record in confirmed[winner] if record.result.state is State.FINISHED)
            values = [getattr(record.result.curve[-1], name) for record in finished]
            figures[f"confirmed_{name}"] = sum(values) / len(values)
        test = folder.test_figures()
        if test and test.get("digest") in {record.digest for record in confirmed[winner]}:
            figures["test_accuracy"] = test["accuracy"]
    return figures


def settings_of(settings: dict[str, Any]) -> dict[str, str]:
    """Give the study's own params, of its settings as `StudySpec.identity` has them."""
    tables = ("study", "data", "training")
    return {f"{table}.{key}": str(value) for table in tables for key, value in settings[table].items()}


def tags_of(record: Record, study: str, parent: str) -> dict[str, str]:
    """Give what a training's run must bear to be right: with its params, all that a replay needs."""
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
    """Give a training's params, numbers so that they can be read back to the last bit."""
    job = record.job
    params = {**job.hyperparameters._asdict(), "epochs": job.epochs, "batch_size": job.batch_size, "seed": job.seed}
    return {name: str(value) for name, value in params.items()}


def metrics_of(record: Record) -> Iterable[Metric]:
    """Give the curves by epoch, and the figures of the best epoch: the UI shows last values, which are not the best.

    The learning rate of each epoch follows from two params, and would stand beside the param of the same name.
    """
    result, provenance = record.result, record.provenance
    for epoch in result.curve:
        at = _milliseconds(provenance.started + provenance.seconds * epoch.epoch / len(result.curve))
        for name in METRICS:
            yield Metric(name, finite(getattr(epoch, name)), at, epoch.epoch)
    if result.best_epoch:
        best, at = result.curve[result.best_epoch - 1], _milliseconds(provenance.ended)
        yield Metric("best_epoch", result.best_epoch, at, 0)
        for name in METRICS:
            yield Metric(f"best_{name}", getattr(best, name), at, 0)


def finite(value: float) -> float:
    """Give NaN for infinity, which would come back from MLflow as 1.8e308."""
    return value if math.isfinite(value) else math.nan


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1_000)
