"""Applying a plan until MLflow holds what the records say.

A sync is idempotent: it compares, applies the steps of the plan, and compares again until the plan is empty.
"""

from collections.abc import Callable

from mlflow import MlflowClient
from mlflow.entities import Experiment

from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.tracking.held import read_held
from netcore.tracking.pages import VIEW, trials_view
from netcore.tracking.plan import Plan, Step
from netcore.tracking.projection import Projection, trial_run
from netcore.tracking.writer import Writer

_ROUNDS = 6
"""A sync needs one plan for the runs, one for their artifacts; further ones repair what lost answers left twice."""


class Sync:
    """The MLflow side of one study: opens its experiment, and creates the study's run if there is none.

    `progress` is called after each step.
    """

    def __init__(
        self, client: MlflowClient, folder: StudyFolder, progress: Callable[[], object] = lambda: None
    ) -> None:
        projection = Projection.of(folder)
        experiment = _open_experiment(client, projection)
        self._writer = Writer(client, projection, experiment.experiment_id, progress)
        self._plan = self._read()
        for step in self._plan.study_run():
            self._apply(step)
        if self._plan.parent is None:
            self._plan = self._read()

    @property
    def written(self) -> int:
        """How many trainings' runs were written."""
        return len(self._writer.written)

    def begin(self) -> None:
        """Show the study as running."""
        if self._plan.parent:
            self._writer.client.update_run(self._plan.parent.info.run_id, "RUNNING")

    def add(self, record: Record) -> None:
        """Write the run of a trial, unless it is there and right."""
        training = trial_run(record)
        if self._writer.written.get(training.key) != record.digest:
            for step in self._plan.training(training):
                self._apply(step)

    def finish(self, records: list[Record], *, complete: bool, deep: bool = False) -> None:
        """Apply plans until MLflow holds everything that the folder does.

        `complete` states whether the study has all its trials. `deep` also repairs what was changed in MLflow by hand.

        Raises:
            RecordError: model.npz is damaged.
            WorkError: the model registry refuses.
        """
        for number in range(_ROUNDS):
            plan = self._read(deep=deep and number == 0)
            wrong = [step for step in plan.steps(records, complete=complete) if step.differences]
            if not wrong:
                return
            for step in wrong:
                self._apply(step)

    def end(self, status: str) -> None:
        """Set the final status of the study's run."""
        if self._plan.parent:
            self._writer.client.set_terminated(self._plan.parent.info.run_id, status)

    def _read(self, *, deep: bool = False) -> Plan:
        client = self._writer.client
        return Plan(self._writer, read_held(client, client.get_experiment(self._writer.experiment)), deep=deep)

    def _apply(self, step: Step) -> None:
        if step.differences:
            step.repair()
            self._writer.progress()


def _open_experiment(client: MlflowClient, projection: Projection) -> Experiment:
    """Find or create the experiment; one that was deleted still owns its name and is restored."""
    found = client.get_experiment_by_name(projection.name)
    if found is None:
        tags = {"mlflow.experimentKind": "custom_model_development", "netcore.study": projection.name}
        found = client.get_experiment(client.create_experiment(projection.name, tags=tags))
    elif found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    if VIEW not in found.tags:
        view = trials_view(projection.metric, found.creation_time or 0)
        client.set_experiment_tag(found.experiment_id, VIEW, view)
    return found
