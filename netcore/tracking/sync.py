"""Applying a plan: the calls to MLflow that make it hold what the records say.

A sync is idempotent: it compares, applies the steps of the plan, and compares again until the plan is empty. A run
that differs is deleted and written again, because MLflow's params cannot be changed. The end of a run is written last:
a run that was interrupted is never taken for a whole one.
"""

import json
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from netcore.final.model import MODEL
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.tracking.held import Held, read_held
from netcore.tracking.pages import NOTE, VIEW, fenced, trials_view
from netcore.tracking.plan import compare, parent_steps, right_parent, training_steps
from netcore.tracking.projection import (
    STATUS,
    Key,
    Projection,
    Training,
    dataset_input,
    metrics_of,
    milliseconds,
    params_of,
    tags_of,
    trial_run,
)
from netcore.tracking.registry import send_model
from netcore.tracking.steps import (
    Action,
    DeleteRun,
    EndStudyRun,
    LogResults,
    SendFiles,
    SendModel,
    SendModelFile,
    SendWeights,
    TagExperiment,
    WriteStudyRun,
    WriteTraining,
)

_METRICS_PER_CALL = 1_000
_ROUNDS = 6
"""A sync needs one plan for the runs, one for their artifacts; further ones repair what lost answers left twice."""


class Sync:
    """The MLflow side of one study: opens its experiment, and creates the study's run if there is none.

    `progress` is called after each action.
    """

    def __init__(
        self, client: MlflowClient, folder: StudyFolder, progress: Callable[[], object] = lambda: None
    ) -> None:
        self._client, self._progress = client, progress
        self._projection = Projection.of(folder)
        self._experiment = _open_experiment(client, self._projection)
        self._written: dict[Key, str] = {}
        self._held = self._read()
        for step in parent_steps(self._projection, self._held):
            if step.differences:
                self._apply(step.action)
                self._held = self._read()
        parent = right_parent(self._projection, self._held)
        self._parent = str(parent.info.run_id) if parent else ""

    @property
    def written(self) -> int:
        """How many trainings' runs were written."""
        return len(self._written)

    def begin(self) -> None:
        """Show the study as running."""
        self._client.update_run(self._parent, "RUNNING")

    def add(self, record: Record) -> None:
        """Write the run of a trial, unless it is there and right."""
        training = trial_run(record)
        if self._written.get(training.key) == record.digest:
            return
        steps = training_steps(self._client, self._projection, self._held, training, self._parent, deep=False)
        for step in steps:
            if step.differences:
                self._apply(step.action)

    def finish(self, records: list[Record], *, complete: bool, deep: bool = False) -> None:
        """Apply plans until MLflow holds everything that the folder does.

        `complete` states whether the study has all its trials. `deep` also repairs what was changed in MLflow by hand.

        Raises:
            RecordError: model.npz is not whole.
            WorkError: the model registry refuses.
        """
        logged = ""
        for number in range(_ROUNDS):
            held, first = self._read(), number == 0
            plan = compare(self._client, self._projection, held, records, complete=complete, deep=deep and first)
            actions = [step.action for step in plan if step.differences]
            if not actions:
                return
            for action in actions:
                if isinstance(action, LogResults):
                    if action.run_id == logged:  # in vain: MLflow shows a value of a later step or time
                        self._apply(WriteStudyRun(action.run_id))
                        break
                    logged = action.run_id
                self._apply(action)

    def end(self, status: str) -> None:
        """Set the final status of the study's run."""
        self._apply(EndStudyRun(self._parent, status))

    def _read(self) -> Held:
        return read_held(self._client, self._client.get_experiment(self._experiment))

    def _apply(self, action: Action) -> None:
        """Execute one action of a plan."""
        match action:
            case WriteStudyRun(old):
                self._delete(old)
                self._write_study_run()
            case WriteTraining(training, old):
                self._delete(old)
                self._write_training(training)
            case DeleteRun(run_id):
                self._delete(run_id)
            case EndStudyRun(run_id, status):
                self._client.set_terminated(run_id, status)
            case _:
                self._send(action)
        self._progress()

    def _send(self, action: Action) -> None:
        """Send what belongs to a run, or to the experiment."""
        client, folder = self._client, self._projection.folder
        match action:
            case SendWeights(run_id, record):
                client.log_artifact(run_id, str(folder.weights_file(record.number)), "weights")
                client.set_tag(run_id, "netcore.weights", record.weights_sha256)
            case TagExperiment(tags):
                for name, text in tags.items():
                    client.set_experiment_tag(self._experiment, name, text)
            case LogResults(run_id, results, at, tags):
                metrics = [Metric(name, value, at, 0) for name, value in results.items()]
                client.log_batch(run_id, metrics=metrics, tags=[RunTag(*tag) for tag in tags.items()])
            case SendFiles(run_id, names, stated):
                for name in names:
                    client.log_artifact(run_id, str(folder.path / name), str(Path(name).parent).strip(".") or None)
                    self._progress()
                client.set_tag(run_id, "netcore.files", json.dumps(stated))
            case SendModel(run_id):
                send_model(client, self._projection, self._experiment, run_id)
            case SendModelFile(model_id):
                client.log_model_artifact(model_id, str(folder.path / MODEL), "artifacts")

    def _delete(self, run_id: str | None) -> None:
        if run_id:
            self._client.delete_run(run_id)

    def _write_study_run(self) -> None:
        """Write the study's run; its params are written last, because a run that has them all is whole."""
        projection = self._projection
        tags = {
            "netcore.study": projection.name,
            "netcore.question": projection.question,
            "mlflow.source.name": "netcore",
        }
        run = self._client.create_run(self._experiment, tags=tags, run_name=projection.name)
        self._client.log_inputs(run.info.run_id, [dataset_input(projection)])
        params = [Param(name, value) for name, value in sorted(projection.params.items())]
        self._client.log_batch(run.info.run_id, params=params)
        self._parent = str(run.info.run_id)

    def _write_training(self, training: Training) -> None:
        """Write the run of one training: four calls, the last of which ends it."""
        client, (key, name, record) = self._client, training
        provenance, status = record.provenance, STATUS[record.result.state]
        tags = {**tags_of(record, self._projection.name, self._parent), "mlflow.source.name": "netcore", key[0]: key[1]}
        if record.result.failure:
            tags[NOTE] = fenced(record.result.traceback[-4_000:])
        run = client.create_run(self._experiment, milliseconds(provenance.started), tags, name)
        run_id = run.info.run_id
        params = [Param(name, value) for name, value in params_of(record).items()]
        metrics = list(metrics_of(record))
        for start in range(0, max(1, len(metrics)), _METRICS_PER_CALL):
            chunk = metrics[start : start + _METRICS_PER_CALL]
            client.log_batch(run_id, metrics=chunk, params=params if start == 0 else ())
        client.log_inputs(run_id, [dataset_input(self._projection)])
        client.set_terminated(run_id, status, milliseconds(provenance.ended))
        self._held.trainings[key] = [run]
        self._written[key] = record.digest


def _open_experiment(client: MlflowClient, projection: Projection) -> str:
    """Find or create the experiment and return its id; one that was deleted still owns its name and is restored."""
    found = client.get_experiment_by_name(projection.name)
    if found is None:
        tags = {
            "mlflow.experimentKind": "custom_model_development",
            "netcore.study": projection.name,
            "netcore.metric": projection.metric,
        }
        found = client.get_experiment(client.create_experiment(projection.name, tags=tags))
    elif found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    if VIEW not in found.tags:
        view = trials_view(projection.metric, found.creation_time or 0)
        client.set_experiment_tag(found.experiment_id, VIEW, view)
    return str(found.experiment_id)
