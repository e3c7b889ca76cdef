"""A plan carried out or shown: `Sync` applies its steps to MLflow, `mlflow_findings` reports them to `netcore verify`.

A sync is idempotent: it compares, applies the steps of the plan, and compares again until no step is needed. The
follower of a run adds one trial at a time, and lets the whole plan be applied at the end.
"""

from collections.abc import Callable, Iterable, Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment

from netcore.errors import Problem
from netcore.progress import Finding, Notice, Stage
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.tracking.client import connect, missing_database, shown_uri, speaking_plainly
from netcore.tracking.held import read_held
from netcore.tracking.pages import VIEW, trials_view
from netcore.tracking.plan import Plan
from netcore.tracking.projection import Key, Projection, trial_run
from netcore.tracking.writer import Step, Writer

_ROUNDS = 6
"""A sync needs one plan for the runs, one for their artifacts; further ones repair what lost answers left twice."""


class Sync:
    """The MLflow side of one study: opens its experiment, and creates the study's run if there is none.

    `progress` is called after each step, right or repaired.
    """

    def __init__(
        self, client: MlflowClient, folder: StudyFolder, progress: Callable[[Step], object] = lambda _: None
    ) -> None:
        projection = Projection.of(folder)
        self._folder, self._progress = folder, progress
        self._writer = Writer(client, projection, _open_experiment(client, projection))
        self.written: set[Key] = set()
        """The trainings whose runs were written."""
        self._plan = self._read()
        if self._apply(self._plan.study_run()):
            self._plan = self._read()

    def begin(self) -> None:
        """Show the study as running."""
        if self._plan.parent:
            self._writer.client.update_run(self._plan.parent.info.run_id, "RUNNING")

    def add(self, record: Record) -> None:
        """Write the run of a trial, unless it is there and right."""
        self._apply(self._plan.training(trial_run(record)))

    def finish(self, *, deep: bool = False) -> None:
        """Apply plans until MLflow holds everything that the folder does.

        `deep` also repairs what was changed in MLflow by hand.

        Raises:
            RecordError: a record or model.npz is damaged.
            WorkError: the model registry refuses.
        """
        records = self._folder.committed()
        complete = len(records) >= self._folder.spec().study.trials
        for number in range(_ROUNDS):
            plan = self._read(deep=deep and number == 0)
            if not self._apply(plan.steps(records, complete=complete)):
                return

    def _read(self, *, deep: bool = False) -> Plan:
        """Read what MLflow holds, and compare it."""
        client = self._writer.client
        return Plan(self._writer, read_held(client, client.get_experiment(self._writer.experiment_id)), deep)

    def _apply(self, steps: Iterable[Step]) -> bool:
        """Repair what is wrong; return whether anything was."""
        repaired = False
        for step in steps:
            if step.wrong:
                step.repair()
                repaired = True
                if step.training:
                    self.written.add(step.training.key)
            self._progress(step)
        return repaired


def _open_experiment(client: MlflowClient, projection: Projection) -> str:
    """Find or create the experiment, and return its id; one that was deleted still owns its name and is restored."""
    found: Experiment | None = client.get_experiment_by_name(projection.name)
    if found is None:
        tags = {"mlflow.experimentKind": "custom_model_development", "netcore.study": projection.name}
        found = client.get_experiment(client.create_experiment(projection.name, tags=tags))
    elif found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    if VIEW not in found.tags:
        view = trials_view(projection.metric, found.creation_time or 0)
        client.set_experiment_tag(found.experiment_id, VIEW, view)
    return str(found.experiment_id)


def mlflow_findings(
    records: list[Record], folder: StudyFolder, *, complete: bool
) -> Iterator[Finding | Stage | Record]:
    """Return what is wrong in MLflow, and each trial once it has been compared.

    While a study is not complete, MLflow may be behind: one notice says so.

    Raises:
        WorkError: MLflow refuses.
    """
    never = Notice(f"the study was never synced to {shown_uri()}; `netcore sync {folder.path}` does it")
    if missing_database():
        yield never
        return
    remedy = f"`netcore verify {folder.path} --fix` writes it again"
    with speaking_plainly(f"see that it runs, then `netcore verify {folder.path}` again"):
        client, projection = connect(), Projection.of(folder)
        experiment = client.get_experiment_by_name(projection.name)
        if experiment is None:
            yield never
            return
        if experiment.lifecycle_stage != "active":
            yield Problem(f"{shown_uri()}: experiment", "must not be deleted", remedy=remedy)
            return
        yield Stage("runs read", len(records))
        behind = 0
        writer = Writer(client, projection, experiment.experiment_id)
        for step in Plan(writer, read_held(client, experiment), deep=True).steps(records, complete=complete):
            if complete or step.is_final:
                yield from (Problem(f"{shown_uri()}: {step.place}", each, remedy=remedy) for each in step.wrong)
            else:
                behind += bool(step.wrong)
            if step.training and step.training.is_trial:
                yield step.training.record
    if behind:
        yield Notice(f"{behind} parts of MLflow are behind the records; `netcore sync {folder.path}` updates them")
