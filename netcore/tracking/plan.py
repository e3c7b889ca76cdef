"""The plan of a sync: what MLflow lacks, what differs from the records, what is superfluous.

    records -> projection ─┐
                           ├─ Plan ─> steps ─> `sync` applies them, `netcore verify` prints them
    MLflow  -> held ───────┘

A plan without steps means that MLflow is right. A quick comparison trusts the digest in a run's tags and the status,
which a sync writes last. A deep one also compares every param, every value of every curve, and every artifact.
Histories of metrics are the only part that MLflow cannot return in bulk: a deep comparison asks for four a training.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from mlflow.entities import Run

from netcore.confirm.confirmation import Confirmed, winner_of
from netcore.files import is_file
from netcore.final.model import MODEL
from netcore.question.metrics import METRICS
from netcore.records.record import Record, ranked
from netcore.tracking.held import Held, artifact_digest, history_of
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
from netcore.tracking.writer import Writer

_STUDY_RUN = "the study's run"


class Difference(NamedTuple):
    """One rule that MLflow breaks, and what it holds instead."""

    rule: str
    value: str = ""


class Step(NamedTuple):
    """One part of a study in MLflow: what is wrong with it, and the calls that put it right."""

    place: str
    differences: list[Difference]
    """Empty if nothing is wrong: the step then is no part of the plan."""
    repair: Callable[[], object]
    is_final: bool = False
    """Whether a difference is wrong even while a study is under way: the part does not change once it is there."""
    record: Record | None = None
    """The trial whose run was compared."""


@dataclass(frozen=True)
class Plan:
    """The comparison of what MLflow holds of a study with what it should hold."""

    writer: Writer
    held: Held
    deep: bool = False

    @property
    def _projection(self) -> Projection:
        return self.writer.projection

    @cached_property
    def parent(self) -> Run | None:
        """The study's run, if there is one with all its params."""
        return next((run for run in self.held.parents if not self._parent_differences(run)), None)

    def steps(self, records: list[Record], *, complete: bool) -> Iterator[Step]:
        """Return one step per part, right or wrong.

        While the study's run is missing or wrong, no other part can be right, and none is compared. `complete` states
        whether the study has all its trials: its run is then marked as finished.
        """
        yield from self.study_run()
        if self.parent is None:
            return
        confirmed = self._projection.confirmed(records)
        trainings = self._projection.trainings(records, confirmed)
        kept = {(TRIAL, str(record.number)) for record in self._projection.weights(records)}
        for key, training in trainings.items():
            yield from self.training(training, weights=key in kept)
        yield from self._superfluous({*trainings})
        yield self._files(self.parent)
        yield from self._pages(self.parent, records, confirmed)
        status, now = "FINISHED" if complete else "KILLED", self.parent.info.status
        wrong = [] if now == status else [Difference(f"status must be {status}", now)]
        yield Step(_STUDY_RUN, wrong, partial(self.writer.client.set_terminated, _id(self.parent), status))
        yield from self._model(self.parent)

    def study_run(self) -> Iterator[Step]:
        """Compare the study's run; others without a training are superfluous, those of another question included."""
        for run in self.held.parents[self.parent is None :]:
            if run is not self.parent:
                yield self._delete(_STUDY_RUN, "must be the only one", run)
        if self.parent is None:
            first = next(iter(self.held.parents), None)
            wrong = self._parent_differences(first) if first else [Difference("is missing")]
            repair = partial(self.writer.study_run, _id(first) if first else None)
            yield Step(_STUDY_RUN, wrong, repair, is_final=first is not None)

    def training(self, training: Training, *, weights: bool = False) -> Iterator[Step]:
        """Compare the runs of one training: one must be right, and there must be no other.

        `weights` states whether the run should also hold the trial's weights.
        """
        parent, runs = _id(self.parent) if self.parent else "", self.held.trainings.get(training.key, [])
        compared = [[*self._training_differences(training.record, run, parent)] for run in runs]
        right = next((position for position, wrong in enumerate(compared) if not wrong), 0)
        wrong = compared[right] if runs else [Difference("run is missing")]
        repair = partial(self.writer.training, training, parent, _id(runs[right]) if runs else None)
        record = training.record if training.key[0] == TRIAL else None
        yield Step(training.name, wrong, repair, is_final=bool(runs), record=record)
        for run in runs[:right] + runs[right + 1 :]:
            yield self._delete(training.name, "must have one run", run, "also run")
        if weights and not wrong:
            yield self._weights(runs[right], training)

    def _delete(self, place: str, rule: str, run: Run, what: str = "run", *, is_final: bool = True) -> Step:
        return Step(place, [Difference(rule, f"{what} {_id(run)}")], partial(self.writer.delete, _id(run)), is_final)

    def _parent_differences(self, run: Run) -> list[Difference]:
        tags = {"netcore.question": self._projection.question}
        return [*_unlike("tag", tags, run.data.tags), *_unlike("param", self._projection.params, run.data.params)]

    def _superfluous(self, wanted: set[Key]) -> Iterator[Step]:
        """Find runs whose training has no record; a record that exists and was not read yet is spared."""
        spared = {(TRIAL, str(number)) for number in self._projection.folder.numbers()}
        for key in self.held.trainings.keys() - wanted - spared:
            for run in self.held.trainings[key]:
                yield self._delete(" ".join(key), "has no record", run, is_final=key[0] == TRIAL)

    def _training_differences(self, record: Record, run: Run, parent: str) -> Iterator[Difference]:
        status = STATUS[record.result.state]
        yield from _unlike("tag", tags_of(record, self._projection.name, parent), run.data.tags)
        if run.info.status != status:
            yield Difference(f"status must be {status}", run.info.status)
        if run.data.tags.get("netcore.weights", record.weights_sha256) != record.weights_sha256:
            yield Difference("weights must be those that its record states", "others")
        if self.deep:
            yield from _unlike("param", params_of(record), run.data.params)
            yield from self._metric_differences(record, run)

    def _metric_differences(self, record: Record, run: Run) -> Iterator[Difference]:
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
            found = history_of(self.writer.client, run, name)
            if found != curves[name]:
                step, ours, theirs = _first_difference(found, curves[name])
                yield Difference(f"epoch {step}: {name} must be {theirs}, as in its record", ours)

    def _weights(self, run: Run, training: Training) -> Step:
        """Compare the weights that a trial's run holds."""
        record = training.record
        file = f"weights/{record.number:06d}.npz"
        wrong = []
        if run.data.tags.get("netcore.weights") != record.weights_sha256:
            wrong = [Difference(f"{file} must be an artifact", "none")]
        elif self.deep and artifact_digest(run_id=_id(run), artifact_path=file) != record.weights_sha256:
            wrong = [Difference(f"{file} must be the weights that its record states", "others")]
        return Step(training.name, wrong, partial(self.writer.weights, _id(run), record))

    def _files(self, parent: Run) -> Step:
        """Compare the artifacts of the study's run with the files in the folder."""
        asked = file_digests(self._projection.folder)
        try:
            stated = dict(json.loads(parent.data.tags.get("netcore.files", "{}")))
        except ValueError:
            stated = {}
        wrong = {name: "others" if name in stated else "" for name in asked if stated.get(name) != asked[name]}
        if self.deep:
            for name in sorted(asked.keys() - wrong.keys()):
                if artifact_digest(run_id=_id(parent), artifact_path=name)[:16] != asked[name]:
                    wrong[name] = "another"
        found = [Difference(f"{name} must be the file in the folder", value or "none") for name, value in wrong.items()]
        gone = sorted(stated.keys() - asked.keys())
        found += [Difference(f"{name} is no file of the folder any more") for name in gone]
        return Step(_STUDY_RUN, found, partial(self.writer.files, _id(parent), [*wrong], asked))

    def _pages(self, parent: Run, records: list[Record], confirmed: Confirmed) -> Iterator[Step]:
        """Compare what MLflow's pages show: the study's results, its description."""
        folder, experiment = self._projection.folder, self.held.experiment
        results = results_of(records, confirmed, folder)
        page = StudyRun(question_of(folder) or self._projection.name, experiment.experiment_id, _id(parent))
        note = page.note(next(iter(ranked(records)), None), winner_of(confirmed), results)
        shown = {name: repr(finite(float(value))) for name, value in parent.data.metrics.items()}
        wrong = [*_unlike("metric", {name: repr(value) for name, value in results.items()}, shown)]
        wrong += _unlike("tag", {NOTE: note}, parent.data.tags)
        changed = {name: value for name, value in results.items() if shown.get(name) != repr(value)}
        at = milliseconds(max((record.provenance.ended for record in records), default=0.0))
        yield Step(_STUDY_RUN, wrong, partial(self.writer.results, _id(parent), changed, at, note))
        wrong = [*_unlike("tag", {NOTE: page.summary()}, experiment.tags)]
        yield Step("experiment", wrong, partial(self.writer.summary, page.summary()))

    def _model(self, parent: Run) -> Iterator[Step]:
        """Compare the final model, if there is one, with the logged model and its registered version."""
        path = self._projection.folder.path / MODEL
        if not is_file(path):
            return
        digest = sha256_of(path)
        shelf = shelf_of(self.writer.client, self._projection, _id(parent), parent.info.experiment_id, digest)
        found = [Difference(*each) for each in model_differences(shelf, digest)]
        yield Step(MODEL, found, partial(self.writer.model, _id(parent)))
        if self.deep and shelf.logged:
            sent = artifact_digest(artifact_uri=f"{shelf.logged.artifact_location}/artifacts/{MODEL}")
            wrong = [Difference("must be the file in the folder", "another" if sent else "none")]
            repair = partial(self.writer.model_file, shelf.logged.model_id)
            yield Step(MODEL, [] if sent == digest else wrong, repair)


def _first_difference(found: list[tuple[int, str]], asked: list[tuple[int, str]]) -> tuple[int, str, str]:
    """Return the first step at which two curves differ, and the values of each there."""
    step = min({*found} ^ {*asked} or {*found})[0]
    ours, theirs = ([value for at, value in curve if at == step] for curve in (found, asked))
    return step, " and ".join(ours) or "none", " and ".join(theirs) or "none"


def _unlike(kind: str, asked: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Difference]:
    for name, value in asked.items():
        if found.get(name) != value:
            yield Difference(f"{kind} {name} must be {_cut(value)}", _cut(found.get(name, "none")))


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  # a line of a terminal


def _id(run: Run) -> str:
    return str(run.info.run_id)
