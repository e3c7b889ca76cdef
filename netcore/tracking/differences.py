"""Verification of MLflow: a plan without steps means that MLflow holds what the records say."""

from collections.abc import Iterator

from netcore.errors import Problem
from netcore.progress import Finding, Notice
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.tracking.client import connect, shown_uri, speaking_plainly, there_is_none
from netcore.tracking.held import read_held
from netcore.tracking.plan import Plan
from netcore.tracking.projection import Projection
from netcore.tracking.writer import Writer


def mlflow_findings(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Finding | Record]:
    """Return what is wrong in MLflow, and each trial once it has been compared.

    While a study is not complete, MLflow may be behind: one notice says so.

    Raises:
        WorkError: MLflow refuses.
    """
    never = Notice(f"the study was never synced to {shown_uri()}; `netcore sync {folder.path}` does it")
    if there_is_none():
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
        behind = 0
        writer = Writer(client, projection, experiment.experiment_id)
        for step in Plan(writer, read_held(client, experiment), deep=True).steps(records, complete=complete):
            if step.differences and not (complete or step.is_final):
                behind += 1
            else:
                yield from (Problem(f"{shown_uri()}: {step.place}", *each, remedy) for each in step.differences)
            if step.record:
                yield step.record
    if behind:
        yield Notice(f"{behind} parts of MLflow are behind the records; `netcore sync {folder.path}` updates them")
