"""The plan of a sync: what MLflow lacks, what differs from the records, what is superfluous.

    records -> projection ─┐
                           ├─ compare ─> steps ─> `sync` applies them, `netcore verify` prints them
    MLflow  -> held ───────┘

A plan without steps means that MLflow is right. A quick comparison trusts the digest in a run's tags and the status,
which a sync writes last. A deep one also compares every param, every value of every curve, and every artifact.
Histories of metrics are the only part that MLflow cannot return in bulk: a deep comparison asks for four a training.
"""

import json
from collections.abc import Iterator, Mapping

from mlflow import MlflowClient
from mlflow.entities import Run

from netcore.confirm.confirmation import Confirmed, winner_of
from netcore.files import is_file
from netcore.final.model import MODEL
from netcore.question.metrics import METRICS
from netcore.records.record import Record, ranked
from netcore.tracking.held import Held, artifact_digest, history_of, model_file_digest
from netcore.tracking.pages import NOTE, StudyRun, question_of
from netcore.tracking.projection import (
    LOGGED,
    STATUS,
    TRIAL,
    Key,
    Projection,
    Training,
    file_digests,
    finite,
    metrics_of,
    milliseconds,
    params_of,
    results_of,
    sha256_of,
    tags_of,
)
from netcore.tracking.registry import model_differences, shelf_of
from netcore.tracking.steps import (
    DeleteRun,
    Difference,
    EndStudyRun,
    LogResults,
    SendFiles,
    SendModel,
    SendModelFile,
    SendWeights,
    Step,
    TagExperiment,
    WriteStudyRun,
    WriteTraining,
)

_STUDY_RUN = "the study's run"


def compare(
    client: MlflowClient, projection: Projection, held: Held, records: list[Record], *, complete: bool, deep: bool
) -> Iterator[Step]:
    """Compare what MLflow holds of a study with what it should hold; return one step per part, right or wrong.

    While the study's run is missing or wrong, no other part can be right, and none is compared. `complete` states
    whether the study has all its trials: its run is then marked as finished.
    """
    yield from parent_steps(projection, held)
    parent = right_parent(projection, held)
    if parent is None:
        return
    run_id, confirmed = _id(parent), projection.confirmed(records)
    trainings = projection.trainings(records, confirmed)
    kept = {record.number for record in projection.weights(records)}
    for training in trainings.values():
        first, *others = training_steps(client, projection, held, training, run_id, deep=deep)
        yield from (first, *others)
        if training.key[0] == TRIAL and training.record.number in kept and not first.differences:
            (run,) = (run for run in held.trainings[training.key] if first.action == WriteTraining(training, _id(run)))
            yield _weights(client, run, training, deep=deep)
    yield from _superfluous(projection, held, {*trainings})
    yield _files(client, projection, parent, deep=deep)
    yield from _pages(projection, held, parent, records, confirmed)
    status = "FINISHED" if complete else "KILLED"
    wrong = [] if parent.info.status == status else [Difference(f"status must be {status}", parent.info.status)]
    yield Step(_STUDY_RUN, wrong, EndStudyRun(run_id, status))
    yield from _model(client, projection, parent, deep=deep)


def right_parent(projection: Projection, held: Held) -> Run | None:
    """Return the study's run, if there is one with all its params."""
    return next((run for run in held.parents if not _parent_differences(projection, run)), None)


def parent_steps(projection: Projection, held: Held) -> list[Step]:
    """Compare the study's run; all others without a training are superfluous, those of another question included."""
    right = right_parent(projection, held)
    steps = [
        Step(_STUDY_RUN, [Difference("must be the only one", f"run {_id(run)}")], DeleteRun(_id(run)))
        for run in held.parents[right is None :]
        if run is not right
    ]
    if right is not None:
        return steps
    first = next(iter(held.parents), None)
    wrong = [Difference("is missing")] if first is None else _parent_differences(projection, first)
    return [*steps, Step(_STUDY_RUN, wrong, WriteStudyRun(_id(first) if first else None))]


def _parent_differences(projection: Projection, run: Run) -> list[Difference]:
    tags = {"netcore.question": projection.question}
    return [*_unlike("tag", tags, run.data.tags), *_unlike("param", projection.params, run.data.params)]


def training_steps(
    client: MlflowClient, projection: Projection, held: Held, training: Training, parent: str, *, deep: bool
) -> Iterator[Step]:
    """Compare the runs of one training: one must be right, and there must be no other; the step of that one is first.

    `parent` is the id of the study's run.
    """
    runs = held.trainings.get(training.key, [])
    compared = [[*_training_differences(client, projection, training.record, run, parent, deep=deep)] for run in runs]
    right = next((position for position, wrong in enumerate(compared) if not wrong), 0)
    wrong = compared[right] if runs else [Difference("run is missing")]
    yield Step(training.name, wrong, WriteTraining(training, _id(runs[right]) if runs else None))
    for position, run in enumerate(runs):
        if position != right:
            yield Step(training.name, [Difference("must have one run", f"also run {_id(run)}")], DeleteRun(_id(run)))


def _superfluous(projection: Projection, held: Held, wanted: set[Key]) -> Iterator[Step]:
    """Find runs whose training has no record; a record that exists and was not read yet is spared."""
    spared = {(TRIAL, str(number)) for number in projection.folder.numbers()}
    for key in held.trainings.keys() - wanted - spared:
        for run in held.trainings[key]:
            yield Step(" ".join(key), [Difference("has no record", f"run {_id(run)}")], DeleteRun(_id(run)))


def _training_differences(
    client: MlflowClient, projection: Projection, record: Record, run: Run, parent: str, *, deep: bool
) -> Iterator[Difference]:
    status = STATUS[record.result.state]
    yield from _unlike("tag", tags_of(record, projection.name, parent), run.data.tags)
    if run.info.status != status:
        yield Difference(f"status must be {status}", run.info.status)
    if run.data.tags.get("netcore.weights", record.weights_sha256) != record.weights_sha256:
        yield Difference("weights must be those that its record states", "others")
    if not deep:
        return
    yield from _unlike("param", params_of(record), run.data.params)
    last: dict[str, str] = {}
    curves: dict[str, list[tuple[int, str]]] = {}
    for metric in metrics_of(record):
        last[metric.key] = repr(float(metric.value))
        curves.setdefault(metric.key, []).append((metric.step, last[metric.key]))
    shown = {name: repr(float(value)) for name, value in run.data.metrics.items()}
    yield from _unlike("metric", last, shown)  # MLflow stores the last value apart from the history
    for name in sorted(LOGGED & shown.keys() - last.keys()):
        yield Difference(f"metric {name} must be absent, as in its record", shown[name])
    for name in METRICS if curves else ():
        found = history_of(client, run, name)
        if found != curves[name]:
            step, ours, theirs = _first_difference(found, curves[name])
            yield Difference(f"epoch {step}: {name} must be {theirs}, as in its record", ours)


def _first_difference(found: list[tuple[int, str]], asked: list[tuple[int, str]]) -> tuple[int, str, str]:
    """Return the first step at which two curves differ, and the values of each there."""
    step = min({*found} ^ {*asked} or {*found})[0]
    ours, theirs = ([value for at, value in curve if at == step] for curve in (found, asked))
    return step, " and ".join(ours) or "none", " and ".join(theirs) or "none"


def _weights(client: MlflowClient, run: Run, training: Training, *, deep: bool) -> Step:
    """Compare the weights that a trial's run holds."""
    record = training.record
    file = f"weights/{record.number:06d}.npz"
    wrong = []
    if run.data.tags.get("netcore.weights") != record.weights_sha256:
        wrong = [Difference(f"{file} must be an artifact", "none")]
    elif deep and artifact_digest(client, _id(run), file) != record.weights_sha256:
        wrong = [Difference(f"{file} must be the weights that its record states", "others")]
    return Step(training.name, wrong, SendWeights(_id(run), record))


def _files(client: MlflowClient, projection: Projection, parent: Run, *, deep: bool) -> Step:
    """Compare the artifacts of the study's run with the files in the folder."""
    asked = file_digests(projection.folder)
    try:
        stated = dict(json.loads(parent.data.tags.get("netcore.files", "{}")))
    except ValueError:
        stated = {}
    wrong = {name: "others" if name in stated else "" for name in asked if stated.get(name) != asked[name]}
    if deep:
        sent = [name for name in asked if name not in wrong]
        wrong |= {name: "another" for name in sent if artifact_digest(client, _id(parent), name)[:16] != asked[name]}
    found = [Difference(f"{name} must be the file in the folder", value or "none") for name, value in wrong.items()]
    found += [Difference(f"{name} is no file of the folder any more") for name in sorted(stated.keys() - asked.keys())]
    return Step(_STUDY_RUN, found, SendFiles(_id(parent), [*wrong], asked))


def _pages(
    projection: Projection, held: Held, parent: Run, records: list[Record], confirmed: Confirmed
) -> Iterator[Step]:
    """Compare what MLflow's pages show: the study's results, its description."""
    experiment, results = held.experiment, results_of(records, confirmed, projection.folder)
    page = StudyRun(question_of(projection.folder) or projection.name, experiment.experiment_id, _id(parent))
    note = page.note(next(iter(ranked(records)), None), winner_of(confirmed), results)
    shown = {name: repr(finite(float(value))) for name, value in parent.data.metrics.items()}
    wrong = [*_unlike("metric", {name: repr(value) for name, value in results.items()}, shown)]
    wrong += _unlike("tag", {NOTE: note}, parent.data.tags)
    changed = {name: value for name, value in results.items() if shown.get(name) != repr(value)}
    at = milliseconds(max((record.provenance.ended for record in records), default=0.0))
    yield Step(_STUDY_RUN, wrong, LogResults(_id(parent), changed, at, {NOTE: note}))
    tags = {NOTE: page.summary()}
    yield Step("experiment", [*_unlike("tag", tags, experiment.tags)], TagExperiment(tags))


def _model(client: MlflowClient, projection: Projection, parent: Run, *, deep: bool) -> Iterator[Step]:
    """Compare the final model, if there is one, with the logged model and its registered version."""
    path = projection.folder.path / MODEL
    if not is_file(path):
        return
    digest = sha256_of(path)
    shelf = shelf_of(client, projection, _id(parent), parent.info.experiment_id, digest)
    yield Step(MODEL, [Difference(*each) for each in model_differences(shelf, digest)], SendModel(_id(parent)))
    if deep and shelf.logged:
        sent = model_file_digest(f"{shelf.logged.artifact_location}/artifacts/{MODEL}")
        wrong = [] if sent == digest else [Difference("must be the file in the folder", "another" if sent else "none")]
        yield Step(MODEL, wrong, SendModelFile(shelf.logged.model_id))


def _unlike(kind: str, asked: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Difference]:
    for name, value in asked.items():
        if found.get(name) != value:
            yield Difference(f"{kind} {name} must be {_cut(value)}", _cut(found.get(name, "none")))


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  # a line of a terminal


def _id(run: Run) -> str:
    return str(run.info.run_id)
