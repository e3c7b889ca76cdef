"""An MLflow run, read back as the record that it was written from: a replay needs no results folder.

params, tags, metrics by epoch  +  study.toml and resolved.json of the study's run  ->  spec and record
"""

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from netcore.core.sgd import Epoch
from netcore.errors import InputError
from netcore.question.hyperparameters import from_texts
from netcore.question.metrics import METRICS
from netcore.question.spec import StudySpec
from netcore.records.job import Role, State, TrialJob, TrialResult
from netcore.records.record import Provenance, Record
from netcore.tracking.client import connect, missing_database, shown_uri, speaking_plainly
from netcore.tracking.held import key_of
from netcore.tracking.projection import CONFIRM, TRIAL, Key, params_of

_NOT_WHOLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
_SYNC = "run `netcore sync` where its records are"
_STUDY_FILES = ("study.toml", "resolved.json")


def record_of_run(run_id: str) -> tuple[StudySpec, str, Record]:
    """Read the run of a training; return its study's spec, its name, and its record (without weights).

    Data files are looked for in the current folder and in netcore's data folder.

    Raises:
        InputError: there is no such run, it belongs to no training, or something needed is missing from it.
        WorkError: MLflow refuses.
    """
    place = f"{shown_uri()}: run {run_id!a}"
    missing = InputError.at(place, "there is no such run", remedy="set MLFLOW_TRACKING_URI to the MLflow that has it")
    if missing_database():
        raise missing
    with speaking_plainly("see that it runs, then try again"):
        client = connect()
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise missing from error
            raise
        key = key_of(run)
        if key is None:
            raise InputError.at(place, "must be the run of a training", remedy=f"it has the tag {TRIAL} or {CONFIRM}")
        curves = {
            name: {metric.step: metric.value for metric in client.get_metric_history(run_id, name)} for name in METRICS
        }
        text, resolved = (_file_of_parent(client, run, name, place) for name in _STUDY_FILES)
    try:
        settings = json.loads(resolved)
        spec = StudySpec.model_validate(settings["settings"]).located(text, Path.cwd())
        record = _record(run, key, curves, spec, settings["data"]["digest"])
    except _NOT_WHOLE as error:
        what = f"does not hold a training ({type(error).__name__}: {error})"[:300]
        raise InputError.at(place, what, remedy=_SYNC) from error
    for name, value in params_of(record).items():
        if run.data.params.get(name) != value:
            raise InputError.at(place, f"param {name} must be the one of its study's resolved.json", remedy=_SYNC)
    return spec, f"{spec.name}: {' '.join(key).removeprefix('netcore.')}", record


def _file_of_parent(client: MlflowClient, run: Run, name: str, place: str) -> bytes:
    """Download a file of the study's run.

    Raises:
        InputError: the study's run does not hold it.
    """
    parent = run.data.tags.get("mlflow.parentRunId", "")
    with tempfile.TemporaryDirectory() as into:
        try:
            return Path(client.download_artifacts(parent, name, into)).read_bytes()
        except (MlflowException, OSError) as error:
            raise InputError.at(place, f"its study's run must hold {name}", remedy=_SYNC) from error


def _record(run: Run, key: Key, curves: dict[str, dict[int, float]], spec: StudySpec, digest: str) -> Record:
    """Return the record; a metric that is missing or not finite is NaN. `digest` is the digest of the data."""
    params, tags, metrics = run.data.params, run.data.tags, run.data.metrics
    thresholds = {int(epoch): float(value) for epoch, value in json.loads(tags["netcore.thresholds"]).items()}
    job = TrialJob.of(spec, int(key[1].rpartition("/")[2]), from_texts(params), thresholds, digest, "")
    job = replace(job, role=Role.TRIAL if key[0] == TRIAL else Role.CONFIRM, epochs=int(params["epochs"]))
    first, decay = job.hyperparameters.learning_rate, job.hyperparameters.learning_rate_decay
    last = max((step for curve in curves.values() for step in curve), default=0)
    curve = tuple(
        Epoch(epoch, first * decay ** (epoch - 1), *(curves[name].get(epoch, math.nan) for name in METRICS))
        for epoch in range(1, last + 1)
    )
    best_epoch = int(metrics["best_epoch"]) if "best_epoch" in metrics else None
    result = TrialResult(
        state=State(tags["netcore.state"]),
        curve=curve,
        best_epoch=best_epoch,
        value=getattr(curve[best_epoch - 1], job.metric) if best_epoch else math.nan,
        failure=tags.get("netcore.failure", ""),
    )
    provenance = Provenance(run.info.start_time / 1_000, 0.0, 1, json.loads(tags["netcore.environment"]))
    return Record(job, result, provenance, tags["netcore.digest"], tags.get("netcore.weights_sha256", ""))
