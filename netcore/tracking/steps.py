"""The steps of a plan: each names a part of a study in MLflow, what is wrong with it, and the action that repairs it.

Actions are data: `plan` makes them, `sync` executes them, `netcore verify` prints the differences that led to them.
"""

from typing import NamedTuple

from netcore.records.record import Record
from netcore.tracking.projection import Training


class Difference(NamedTuple):
    """One rule that MLflow breaks, and what it holds instead."""

    rule: str
    value: str = ""


class WriteStudyRun(NamedTuple):
    """Write the study's run, in place of one that is wrong (MLflow's params cannot be changed)."""

    old: str | None


class WriteTraining(NamedTuple):
    """Write a training's run, in place of one that is wrong."""

    training: Training
    old: str | None


class DeleteRun(NamedTuple):
    """Delete a run that is there twice, or whose training has no record."""

    run_id: str


class SendWeights(NamedTuple):
    """Send a trial's weights to its run."""

    run_id: str
    record: Record


class TagExperiment(NamedTuple):
    """Set the tags of the experiment that its pages show."""

    tags: dict[str, str]


class LogResults(NamedTuple):
    """Log the study's results, and its description, to the study's run."""

    run_id: str
    results: dict[str, float]
    at: int
    """Their time in MLflow, in milliseconds."""
    tags: dict[str, str]


class SendFiles(NamedTuple):
    """Send files of the study's folder to the study's run; `stated` are all that it holds afterwards, by digest."""

    run_id: str
    names: list[str]
    stated: dict[str, str]


class SendModel(NamedTuple):
    """Log and register the final model."""

    run_id: str


class SendModelFile(NamedTuple):
    """Replace model.npz of the logged model."""

    model_id: str


class EndStudyRun(NamedTuple):
    """Set the final status of the study's run."""

    run_id: str
    status: str


Action = (
    WriteStudyRun
    | WriteTraining
    | DeleteRun
    | SendWeights
    | TagExperiment
    | LogResults
    | SendFiles
    | SendModel
    | SendModelFile
    | EndStudyRun
)


class Step(NamedTuple):
    """One part of a study in MLflow: what is wrong with it, and the action that puts it right."""

    place: str
    differences: list[Difference]
    """Empty if nothing is wrong: the step then is no part of the plan."""
    action: Action

    @property
    def is_missing(self) -> bool:
        """Whether a run is not there at all, as opposed to wrong."""
        return isinstance(self.action, WriteTraining) and self.action.old is None
