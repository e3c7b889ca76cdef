"""Verification of MLflow: a plan without steps means that MLflow holds what the records say."""

from collections.abc import Iterator

from netcore.errors import Finding, Problem, Remark
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.tracking.client import connect, shown_uri, speaking_plainly, there_is_none
from netcore.tracking.held import read_held
from netcore.tracking.plan import compare
from netcore.tracking.projection import TRIAL, Projection
from netcore.tracking.steps import DeleteRun, Step, WriteStudyRun, WriteTraining


def mlflow_findings(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Finding | Record]:
    """Return what is wrong in MLflow, and each trial once it has been compared.

    While a study is not complete, MLflow may be behind: one remark says so.

    Raises:
        WorkError: MLflow refuses.
    """
    never = Remark(f"the study was never synced to {shown_uri()}; `netcore sync {folder.path}` does it")
    if there_is_none():
        yield never
        return
    with speaking_plainly(f"see that it runs, then `netcore verify {folder.path}` again"):
        client, projection = connect(), Projection.of(folder)
        experiment = client.get_experiment_by_name(projection.name)
        if experiment is None:
            yield never
            return
        if experiment.lifecycle_stage != "active":
            yield Problem(f"{shown_uri()}: experiment", "must not be deleted", remedy=_remedy(folder))
            return
        behind = 0
        steps = compare(client, projection, read_held(client, experiment), records, complete=complete, deep=True)
        for step in steps:
            if step.differences and not complete and not _is_final(step):
                behind += 1
            else:
                yield from _problems(step, folder)
            if isinstance(step.action, WriteTraining) and step.action.training.key[0] == TRIAL:
                yield step.action.training.record
    if behind:
        yield Remark(f"{behind} parts of MLflow are behind the records; `netcore sync {folder.path}` updates them")


def _is_final(step: Step) -> bool:
    """Check whether a part is wrong even while a study is under way: what is there once does not change any more."""
    match step.action:
        case WriteTraining(_, old) | WriteStudyRun(old):
            return old is not None
        case DeleteRun():
            return not step.place.startswith("netcore.confirm")
    return False


def _problems(step: Step, folder: StudyFolder) -> Iterator[Problem]:
    for rule, value in step.differences:
        yield Problem(f"{shown_uri()}: {step.place}", rule, value, _remedy(folder))


def _remedy(folder: StudyFolder) -> str:
    return f"`netcore verify {folder.path} --fix` writes it again"
