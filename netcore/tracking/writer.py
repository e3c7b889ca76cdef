"""The calls to MLflow that write one part of a study: a run, its artifacts, the tags of the experiment.

A run that differs from its record is deleted and written again, because MLflow's params cannot be changed. Its end is
written last, so a run that was interrupted is never taken for a whole one.
"""

import json
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from netcore.final.model import MODEL
from netcore.records.record import Record
from netcore.tracking.pages import NOTE, fenced
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
)
from netcore.tracking.registry import send_model

_METRICS_PER_CALL = 1_000
_SOURCE = {"mlflow.source.name": "netcore"}


class Writer:
    """Writes the parts of one study; `progress` is called after each."""

    def __init__(
        self,
        client: MlflowClient,
        projection: Projection,
        experiment: str,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        self.client, self.projection, self.experiment, self.progress = client, projection, experiment, progress
        self.written: dict[Key, str] = {}
        """The trainings whose runs were written, with their digests."""
        self._logged = ""
        """The run that has got the study's results."""

    def delete(self, run_id: str) -> None:
        """Delete a run that is superfluous or wrong."""
        self.client.delete_run(run_id)

    def study_run(self, old: str | None) -> None:
        """Write the study's run, in place of a wrong one; its params are last: a run that has them all is whole."""
        if old:
            self.delete(old)
        name, projection = self.projection.name, self.projection
        tags = {"netcore.study": name, "netcore.question": projection.question, **_SOURCE}
        run_id = self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id
        self.client.log_inputs(run_id, [dataset_input(projection)])
        self.client.log_batch(run_id, params=[Param(*param) for param in sorted(projection.params.items())])

    def training(self, training: Training, parent: str, old: str | None) -> None:
        """Write the run of one training, in place of a wrong one: four calls, the last of which ends it."""
        if old:
            self.delete(old)
        client, (key, name, record) = self.client, training
        tags = {**tags_of(record, self.projection.name, parent), **_SOURCE, key[0]: key[1]}
        if record.result.failure:
            tags[NOTE] = fenced(record.result.traceback[-4_000:])
        started, ended = milliseconds(record.provenance.started), milliseconds(record.provenance.ended)
        run_id = client.create_run(self.experiment, started, tags, name).info.run_id
        params, metrics = [Param(*param) for param in params_of(record).items()], list(metrics_of(record))
        for start in range(0, max(1, len(metrics)), _METRICS_PER_CALL):  # nearly always one call
            client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_CALL], params=params)
            params = []
        client.log_inputs(run_id, [dataset_input(self.projection)])
        client.set_terminated(run_id, STATUS[record.result.state], ended)
        self.written[key] = record.digest

    def weights(self, run_id: str, record: Record) -> None:
        """Send a trial's weights to its run."""
        file = self.projection.folder.weights_file(record.number)
        self.client.log_artifact(run_id, str(file), "weights")
        self.client.set_tag(run_id, "netcore.weights", record.weights_sha256)

    def files(self, run_id: str, names: list[str], stated: dict[str, str]) -> None:
        """Send files of the study's folder; `stated` are all that the study's run then holds, by digest."""
        folder = self.projection.folder.path
        for name in names:
            self.client.log_artifact(run_id, str(folder / name), str(Path(name).parent).strip(".") or None)
            self.progress()
        self.client.set_tag(run_id, "netcore.files", json.dumps(stated))

    def results(self, run_id: str, results: dict[str, float], at: int, note: str) -> None:
        """Log the study's results and its description; `at` is their time in milliseconds.

        If a run has got them before and they are still wrong, it shows a value of a later step or time, which MLflow
        cannot take back: the run is written again.
        """
        if run_id == self._logged:
            self.study_run(run_id)
            return
        self._logged = run_id
        metrics = [Metric(name, value, at, 0) for name, value in results.items()]
        self.client.log_batch(run_id, metrics=metrics, tags=[RunTag(NOTE, note)])

    def summary(self, text: str) -> None:
        """Write the description at the top of the experiment's page."""
        self.client.set_experiment_tag(self.experiment, NOTE, text)

    def model(self, run_id: str) -> None:
        """Log and register the final model."""
        send_model(self.client, self.projection, self.experiment, run_id)

    def model_file(self, model_id: str) -> None:
        """Replace model.npz of the logged model."""
        self.client.log_model_artifact(model_id, str(self.projection.folder.path / MODEL), "artifacts")
