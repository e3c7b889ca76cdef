"""What MLflow holds of a study, read with its own client: all runs in pages of 1,000, with params, tags, last metrics.

The full history of a metric can be read for one run and one metric at a time only, as can an artifact.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException

from netcore.tracking.client import tracking_uri
from netcore.tracking.projection import CONFIRM, TRIAL, Key, sha256_of

_RUNS_PER_PAGE = 1_000


class Held(NamedTuple):
    """The experiment of a study and its runs that are not deleted."""

    experiment: Experiment
    parents: list[Run]
    """The study's own run; more than one if something went wrong."""
    trainings: dict[Key, list[Run]]
    """The runs of each training, likewise."""


def read_held(client: MlflowClient, experiment: Experiment) -> Held:
    """Read the runs of a study that are not deleted, the oldest first."""
    held = Held(experiment, [], {})
    asked = [experiment.experiment_id], f"tags.`netcore.study` = '{experiment.name}'", ViewType.ACTIVE_ONLY
    order, token = ["attributes.start_time ASC", "attributes.run_id ASC"], None
    while True:
        page = client.search_runs(*asked, _RUNS_PER_PAGE, order, token)
        for run in page:
            key = key_of(run)
            (held.trainings.setdefault(key, []) if key else held.parents).append(run)
        if not (token := page.token):
            return held


def key_of(run: Run) -> Key | None:
    """Return which training a run shows; None for the study's own run."""
    return next(((kind, run.data.tags[kind]) for kind in (TRIAL, CONFIRM) if kind in run.data.tags), None)


def history_of(client: MlflowClient, run: Run, name: str) -> set[tuple[int, str]]:
    """Read all values of a metric of a run: step and value (as `repr`, so that NaN equals NaN)."""
    history = client.get_metric_history(run.info.run_id, name)
    return {(metric.step, repr(float(metric.value))) for metric in history}


def artifact_digest(**place: str) -> str:
    """Download an artifact and return its SHA-256, empty if it is missing; `place` is an argument of MLflow's."""
    with tempfile.TemporaryDirectory() as into:
        try:
            return sha256_of(Path(download_artifacts(**place, dst_path=into, tracking_uri=tracking_uri())))
        except (MlflowException, OSError):
            return ""
