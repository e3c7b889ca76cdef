"""Verification of MLflow: is what its own client reads there what the records say?

One look for each run: params, metrics by epoch, tags and status; then the files that the study's own run holds, the
weights, and the model. Each look knows how the way is cleared for `netcore sync`, which by itself leaves alone what
bears the right digest.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from netcore.confirm.confirmation import Confirmed, read_confirmation
from netcore.errors import Finding, Problem, Remark
from netcore.files import is_file
from netcore.final.model import MODEL
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.tracking.client import connect, shown_uri, speaking_plainly, there_is_none, tracking_uri
from netcore.tracking.sync import (
    LOGGED,
    STATUS,
    TRIAL,
    VIEWS,
    Key,
    asked_runs,
    figures_of,
    finite,
    key_of,
    metrics_of,
    params_of,
    settings_of,
    study_runs,
    tags_of,
)

__all__ = ["Look", "clear", "look"]

_OWN = "the study's own run"


class Look(NamedTuple):
    """What was found in one place, and what makes way for the right thing to be written there."""

    findings: Sequence[Finding]
    clear: Callable[[], object] | None = None
    record: Record | None = None
    """The training that it was the run of."""


class _Study(NamedTuple):
    """A study that is looked at."""

    client: MlflowClient
    folder: StudyFolder
    spec: StudySpec
    records: list[Record]
    confirmed: Confirmed
    complete: bool
    """Whether all trials are there and whole: else runs may be missing."""


def look(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Look]:
    """Look at all that MLflow has of a study, run by run.

    `complete` says whether all trials are there and whole: else runs may be missing.

    Raises:
        WorkError: MLflow refuses.
    """
    never = Look([Remark(f"the study was never synced to {shown_uri()}; `netcore sync {folder.path}` does it")])
    if there_is_none():
        yield never
        return
    with speaking_plainly(f"see that it runs, then `netcore verify {folder.path}` again"):
        client, spec = connect(), folder.spec()
        experiment = client.get_experiment_by_name(spec.name)
        if experiment is None:
            yield never
            return
        it = _Study(client, folder, spec, records, read_confirmation(spec, records, folder), complete)
        if experiment.lifecycle_stage != "active":
            yield Look([_problem("experiment", "must not be deleted", "", it)])
            return
        own: list[Run] = []
        trainings: dict[Key, list[Run]] = {}
        for run in study_runs(client, experiment.experiment_id, spec.name):
            key = key_of(run)
            (trainings.setdefault(key, []) if key else own).append(run)
        if not own:
            yield Look([_problem(_OWN, "must be there", "none", it)])
            return
        yield from (_too_many(it, run, _OWN) for run in own[1:])
        yield from _own(it, own[0])
        yield from _trainings(it, trainings, own[0])
        if complete:
            yield _files(it, own[0])
            yield from _model(it, own[0])


def clear(records: list[Record], folder: StudyFolder) -> None:
    """Remove from MLflow what is not as the records have it, so that `netcore sync` writes it anew.

    Raises:
        InputError: a sync of this study is under way.
        WorkError: MLflow refuses.
    """
    with folder.locked("sync"), speaking_plainly(f"see that it runs, then `netcore verify {folder.path}` again"):
        looks = list(look(records, folder, complete=len(records) >= folder.trials_wanted()))
        for each in reversed(looks):  # the study's own run last: what it holds cannot be changed once it is deleted
            if each.clear and any(isinstance(finding, Problem) for finding in each.findings):
                each.clear()


def _trainings(it: _Study, runs: dict[Key, list[Run]], parent: Run) -> Iterator[Look]:
    """Look at the run of each training, and for those that are of none."""
    missing = 0
    for key, (name, record) in asked_runs(it.records, it.confirmed).items():
        there = runs.pop(key, [])
        if not there:
            missing += 1
            if it.complete:
                yield Look([_problem(name, "must have a run", "none", it)])
            continue
        found = [*_unlike(it, there[0], parent, name, record), *_other_weights(it, there[0], name, record)]
        yield Look(found, partial(it.client.delete_run, _id(there[0])), record)
        yield from (_too_many(it, run, name) for run in there[1:])
    if missing and not it.complete:
        yield Look([Remark(f"{missing} runs are not there yet; `netcore sync {it.folder.path}` sends them")])
    unread = {(TRIAL, str(number)) for number in it.folder.numbers()}
    for key, left in runs.items():
        if key not in unread and (key[0] == TRIAL or it.complete):
            yield from (_too_many(it, run, " ".join(key)) for run in left)


def _too_many(it: _Study, run: Run, name: str) -> Look:
    """Say that there is a run where there should be none, or none besides another."""
    found = _problem(name, "must have one run, and none where it has no record", f"run {_id(run)} besides", it)
    return Look([found], partial(it.client.delete_run, _id(run)))


def _unlike(it: _Study, run: Run, parent: Run, name: str, record: Record) -> Iterator[Problem]:
    """Find in what a run is not its record."""
    yield from _other(it, "tag", tags_of(record, it.spec.name, _id(parent)), run.data.tags, name)
    yield from _other(it, "param", params_of(record), run.data.params, name)
    status = STATUS[record.result.state]
    if run.info.status != status:
        yield _problem(name, f"status must be {status}", run.info.status, it)
    shown: dict[str, str] = {}
    curves: dict[str, list[tuple[int, str]]] = {}
    for metric in metrics_of(record):
        shown[metric.key] = repr(float(metric.value))
        curves.setdefault(metric.key, []).append((metric.step, shown[metric.key]))
    last = {key: repr(float(value)) for key, value in run.data.metrics.items()}
    yield from _other(it, "metric", shown, last, name)  # MLflow keeps it apart from its history
    for key in sorted(LOGGED & last.keys() - shown.keys()):
        yield _problem(name, f"metric {key} must not be there: its record gives none", last[key], it)
    for key, curve in curves.items():
        history = it.client.get_metric_history(_id(run), key)
        found = sorted((metric.step, repr(float(metric.value))) for metric in history)
        if found != curve:
            step, ours, theirs = _first_difference(found, curve)
            yield _problem(f"{name}, epoch {step}", f"{key} must be {theirs}, as its record says", ours, it)


def _other_weights(it: _Study, run: Run, name: str, record: Record) -> Iterator[Problem]:
    """Compare the weights that a run says it holds."""
    sent, file = run.data.tags.get("netcore.weights"), f"weights/{record.number:06d}.npz"
    if sent is not None and (sent != record.weights_sha256 or _sha256(it, run, file) != sent):
        yield _problem(name, f"{file} must be the weights that its record states", "others", it)


def _own(it: _Study, run: Run) -> Iterator[Look]:
    """Look at the study's own run: its settings, what came out, and its end."""
    settings = settings_of(it.spec.identity())
    found = list(_other(it, "param", settings, run.data.params, _OWN))
    if it.complete:
        asked = figures_of(it.records, it.confirmed, it.folder).items()
        figures = {key: repr(finite(float(value))) for key, value in asked}
        there = {key: repr(float(value)) for key, value in run.data.metrics.items()}
        found += _other(it, "metric", figures, there, _OWN)
    yield Look(found, partial(it.client.delete_run, _id(run)))
    ends = ("FINISHED",) if it.complete else ("FINISHED", "KILLED")
    if run.info.status not in ends:
        yield Look([_problem(_OWN, f"status must be {' or '.join(ends)}", run.info.status, it)])


def _files(it: _Study, run: Run) -> Look:
    """Look at the files that the study's own run holds: each must be as stated, and as it is in the folder."""
    found: list[Finding] = []
    try:
        stated = dict(json.loads(run.data.tags.get("netcore.files", "{}")))
    except ValueError:
        stated = {}
    seen = filter(is_file, (file for view in VIEWS for file in it.folder.path.glob(view)))
    files = {file.relative_to(it.folder.path).as_posix(): file for file in seen}
    for name in sorted({*files, *stated}):
        ours = hashlib.sha256(files[name].read_bytes()).hexdigest()[:16] if name in files else "no file"
        if stated.get(name) != ours:
            found.append(_problem(name, "must be sent as it is in the folder", "another", it))
        elif (_sha256(it, run, name) or "")[:16] != ours:
            found.append(_problem(name, "must be the file that was sent", "another", it))
    return Look(found, partial(it.client.set_tag, _id(run), "netcore.files", "{}"))


def _model(it: _Study, run: Run) -> Iterator[Look]:
    """Look at the logged model of the net that ships, and for its version."""
    path = it.folder.path / MODEL
    if not is_file(path):
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    condition = f"tags.`netcore.final.model` = '{digest}'"
    logged = [
        model
        for model in it.client.search_logged_models([run.info.experiment_id], condition)
        if (model.status, model.source_run_id) == ("READY", _id(run))
    ]
    if not logged:
        yield Look([_problem(MODEL, "must be logged as a model", "none", it)])
        return
    place = f"{logged[0].artifact_location}/artifacts/{MODEL}"
    sent = _downloaded(lambda into: download_artifacts(place, dst_path=into, tracking_uri=tracking_uri()))
    found: list[Finding] = [] if sent == digest else [_problem(MODEL, "must be as it is in the folder", "another", it)]
    yield Look(found, partial(it.client.log_model_artifact, logged[0].model_id, str(path), "artifacts"))
    versions = it.client.search_model_versions(f"name = '{it.spec.name}' AND {condition}")
    if len(versions) != 1:
        found = [_problem(MODEL, "must be registered as one version of the model", f"{len(versions)}", it)]
        yield Look(found)


def _sha256(it: _Study, run: Run, file: str) -> str | None:
    """Give the SHA-256 of an artifact; None if it is not there."""
    return _downloaded(lambda into: it.client.download_artifacts(_id(run), file, into))


def _downloaded(download: Callable[[str], str]) -> str | None:
    with tempfile.TemporaryDirectory() as into:
        try:
            return hashlib.sha256(Path(download(into)).read_bytes()).hexdigest()
        except (MlflowException, OSError):
            return None


def _other(it: _Study, kind: str, asked: dict[str, str], found: dict[str, str], place: str) -> Iterator[Problem]:
    for name, value in asked.items():
        if found.get(name) != value:
            yield _problem(place, f"{kind} {name} must be {_cut(value)}", _cut(found.get(name, "none")), it)


def _first_difference(found: list[tuple[int, str]], asked: list[tuple[int, str]]) -> tuple[int, str, str]:
    """Give the first step at which two metrics differ, and what they are there."""
    step = min({*found} ^ {*asked} or {*found})[0]
    ours, theirs = ([value for at, value in metric if at == step] for metric in (found, asked))
    return step, " and ".join(ours) or "none", " and ".join(theirs) or "none"


def _problem(place: str, rule: str, value: str, it: _Study) -> Problem:
    return Problem(f"{shown_uri()}: {place}", rule, value, f"`netcore verify {it.folder.path} --fix` writes it again")


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  # a line of a terminal


def _id(run: Run) -> str:
    return str(run.info.run_id)
