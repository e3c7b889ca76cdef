"""The calls to MLflow that write one part of a study: a run, its artifacts, its results.

What shows that a run is whole is written last, so a run that was interrupted is never taken for a whole one: the status
of a training's run, the params of the study's run, the tag with the digest of an artifact.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from netcore.records.record import Record
from netcore.tracking.pages import NOTE, fenced
from netcore.tracking.projection import (
    STATUS,
    Projection,
    Training,
    metrics_of,
    milliseconds,
    params_of,
    tags_of,
)

WEIGHTS = "netcore.weights"
"""The tag of a trial's run with the SHA-256 of the weights that it holds."""

FILES = "netcore.files"
"""The tag of the study's run with the files that it holds: one line each, digest and name."""

_METRICS_PER_CALL = 1_000
_Texts = dict[str, str]


class Step(NamedTuple):
    """One part of a study in MLflow: what is wrong with it, and the call that puts it right."""

    place: str
    """The part's name, for people."""
    wrong: list[str]
    """The rules that the part breaks, each with what MLflow holds instead; empty if the part is right."""
    repair: Callable[[], object]
    is_final: bool = False
    """Whether a difference is wrong even while a study is under way: the part does not change once it is there."""
    training: Training | None = None
    """The training whose run was compared."""


@dataclass(frozen=True)
class Writer:
    """Writes the parts of one study."""

    client: MlflowClient
    projection: Projection
    experiment_id: str

    def study_run(self) -> None:
        """Write the study's run."""
        tags = {"netcore.study": self.projection.name, "netcore.question": self.projection.question}
        self._run(self.projection.name, tags, self.projection.params)

    def training(self, training: Training, parent: str) -> None:
        """Write the run of one training: four calls, the last of which ends it."""
        (kind, value), name, record = training
        tags = {**tags_of(record, self.projection.name, parent), kind: value}
        if record.result.failure:
            tags[NOTE] = fenced(record.result.traceback[-4_000:])
        started, ended = milliseconds(record.provenance.started), milliseconds(record.provenance.ended)
        run_id = self._run(name, tags, params_of(record), [*metrics_of(record)], started)
        self.client.set_terminated(run_id, STATUS[record.result.state], ended)

    def _run(
        self, name: str, tags: _Texts, params: _Texts, metrics: Sequence[Metric] = (), started: int | None = None
    ) -> str:
        """Write a run with the data set as its input, and return its id; `started` is in milliseconds since 1970."""
        tags = {**tags, "mlflow.source.name": "netcore"}
        run_id = str(self.client.create_run(self.experiment_id, started, tags, name).info.run_id)
        self.client.log_inputs(run_id, [self.projection.dataset])
        entries = [Param(*param) for param in params.items()]
        for start in range(0, max(1, len(metrics)), _METRICS_PER_CALL):  # nearly always one call
            self.client.log_batch(run_id, metrics[start : start + _METRICS_PER_CALL], entries)
        return run_id

    def weights(self, run_id: str, record: Record) -> None:
        """Send a trial's weights to its run."""
        file = self.projection.folder.weights_file(record.number)
        self.client.log_artifact(run_id, str(file), "weights")
        self.client.set_tag(run_id, WEIGHTS, record.weights_sha256)

    def results(self, run_id: str, results: dict[str, float], at: int, note: str) -> None:
        """Log the study's results and its description; `at` is their time in milliseconds.

        MLflow shows the value of a metric's last step, and takes none back: each value gets a step of its own.
        """
        metrics = []
        for name, value in results.items():
            steps = (metric.step for metric in self.client.get_metric_history(run_id, name))
            metrics.append(Metric(name, value, at, max(steps, default=-1) + 1))
        self.client.log_batch(run_id, metrics, tags=[RunTag(NOTE, note)])
