"""The plan of a sync: what MLflow lacks, what differs from the records, what is superfluous.

    records -> projection ─┐
                           ├─ Plan ─> steps ─> `sync` applies them, `netcore verify` prints them
    MLflow  -> held ───────┘

Each step compares one part of a study and knows the call that puts it right. A plan in which no step is wrong means
that MLflow is right. A quick comparison trusts the digest in a run's tags and the status, which a sync writes last. A
deep one also compares every param, every value of every curve, and every artifact. Histories of metrics are the only
part that MLflow cannot return in bulk: a deep comparison asks for four a training.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from mlflow.entities import Run

from netcore.confirm.confirmation import Confirmed, read_confirmation, winner_of
from netcore.errors import RecordError
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
    Training,
    file_digests,
    metrics_of,
    milliseconds,
    params_of,
    results_of,
    tags_of,
    trainings_of,
)
from netcore.tracking.registry import Shelf
from netcore.tracking.writer import FILES, WEIGHTS, Step, Writer

_STUDY_RUN = "the study's run"


@dataclass(frozen=True)
class Plan:
    """The comparison of what MLflow holds of a study with what it should hold."""

    writer: Writer
    held: Held
    deep: bool = False

    @cached_property
    def parent(self) -> Run | None:
        """The study's run, if there is one with all its params."""
        return next((run for run in self.held.parents if not [*self._parent_differences(run)]), None)

    def steps(self, records: list[Record], *, complete: bool) -> Iterator[Step]:
        """Return one step per part, right or wrong.

        While the study's run is missing or wrong, no other part can be right, and none is compared. `complete` states
        whether the study has all its trials: its run is then marked as finished.
        """
        yield from self.study_run()
        if self.parent is None:
            return
        folder = self.writer.projection.folder
        confirmed, kept = read_confirmation(folder.spec(), records, folder), folder.kept_weights()
        trainings = trainings_of(records, confirmed)
        for training in trainings:
            yield from self.training(training, weights=training.is_trial and training.record.number in kept)
        yield from self._superfluous({training.key for training in trainings})
        yield from self._files(self.parent)
        yield from self._pages(self.parent, records, confirmed)
        status = {"status": "FINISHED" if complete else "KILLED"}
        end = partial(self.writer.client.set_terminated, _id(self.parent), status["status"])
        yield Step(_STUDY_RUN, [*_unlike(status, {"status": self.parent.info.status})], end)
        yield from self._model(self.parent)

    def study_run(self) -> Iterator[Step]:
        """Compare the study's run; a run of another question is wrong."""
        yield from self._one(_STUDY_RUN, self.held.parents, self._parent_differences, self.writer.study_run)

    def training(self, training: Training, *, weights: bool = False) -> Iterator[Step]:
        """Compare the run of one training.

        `weights` states whether the run should also hold the trial's weights.
        """
        parent = _id(self.parent) if self.parent else ""
        differences = partial(self._training_differences, training.record, parent)
        write = partial(self.writer.training, training, parent)
        runs = self.held.trainings.get(training.key, [])
        right = yield from self._one(training.name, runs, differences, write, training)
        if weights and right:
            yield from self._weights(right, training)

    def _one(
        self,
        place: str,
        runs: list[Run],
        differences: Callable[[Run], Iterable[str]],
        write: Callable[[], object],
        training: Training | None = None,
    ) -> Generator[Step, None, Run | None]:
        """Compare the runs of a part that has one: one must be right, and there must be no other. Return the right one.

        A run that is wrong is deleted and written again, because MLflow's params cannot be changed.
        """
        chosen, wrong = None, ["run is missing"]
        for run in runs:
            chosen, wrong = run, [*differences(run)]
            if not wrong:
                break

        def repair() -> None:
            if chosen:
                self.writer.client.delete_run(_id(chosen))
            write()

        yield Step(place, wrong, repair, bool(chosen), training)
        for run in runs:
            if run is not chosen:
                yield self._delete(place, "must have one run, got also", run)
        return None if wrong else chosen

    def _delete(self, place: str, rule: str, run: Run, *, is_final: bool = True) -> Step:
        return Step(place, [f"{rule} run {_id(run)}"], partial(self.writer.client.delete_run, _id(run)), is_final)

    def _superfluous(self, wanted: set[tuple[str, str]]) -> Iterator[Step]:
        """Find runs whose training has no record; a record that exists and was not read yet is spared."""
        spared = {(TRIAL, str(number)) for number in self.writer.projection.folder.numbers()}
        for key in self.held.trainings.keys() - wanted - spared:
            for run in self.held.trainings[key]:
                yield self._delete(" ".join(key), "has no record, got", run, is_final=key[0] == TRIAL)

    def _parent_differences(self, run: Run) -> Iterator[str]:
        """Compare the study's run; its params are written last, so a run that has them all is whole."""
        yield from _unlike({"netcore.question": self.writer.projection.question}, run.data.tags, "tag ")
        yield from _unlike(self.writer.projection.params, run.data.params, "param ")

    def _training_differences(self, record: Record, parent: str, run: Run) -> Iterator[str]:
        """Compare a training's run; its status is written last, so a run that has it is whole."""
        yield from _unlike(tags_of(record, self.writer.projection.name, parent), run.data.tags, "tag ")
        yield from _unlike({"status": STATUS[record.result.state]}, {"status": run.info.status})
        if self.deep:
            yield from _unlike(params_of(record), run.data.params, "param ")
            yield from self._metric_differences(record, run)

    def _metric_differences(self, record: Record, run: Run) -> Iterator[str]:
        """Compare the last value of each metric, which MLflow stores apart, and the whole history of each curve."""
        last: dict[str, str] = {}
        curves: dict[str, set[tuple[int, str]]] = {}
        for metric in metrics_of(record):
            last[metric.key] = repr(float(metric.value))
            curves.setdefault(metric.key, set()).add((metric.step, last[metric.key]))
        shown = {name: repr(float(value)) for name, value in run.data.metrics.items()}
        asked, found = ({name: each.get(name, "none") for name in LOGGED} for each in (last, shown))
        yield from _unlike(asked, found, "metric ")
        for name in METRICS if curves else ():
            history = history_of(self.writer.client, run, name)
            if different := history ^ curves[name]:
                first = min(different)[0]
                ours, theirs = (
                    sorted(value for step, value in each if step == first) for each in (history, curves[name])
                )
                rule = f"epoch {first}: {name} must be {' and '.join(theirs) or 'none'}, as in its record"
                yield f"{rule}, got {' and '.join(ours) or 'none'}"

    def _weights(self, run: Run, training: Training) -> Iterator[Step]:
        """Compare the weights that a trial's run holds; a file that is not the record's is never sent."""
        record, found = training.record, run.data.tags.get(WEIGHTS, "")
        try:
            self.writer.projection.folder.read_weights(record)
        except RecordError:  # `netcore run` makes them again
            return
        file = f"weights/{record.number:06d}.npz"
        if self.deep and found:
            found = artifact_digest(run_id=_id(run), artifact_path=file)
        wrong = _unlike_file(f"{file} must be the weights that its record states", found, record.weights_sha256)
        yield Step(training.name, wrong, partial(self.writer.weights, _id(run), record))

    def _files(self, parent: Run) -> Iterator[Step]:
        """Compare the artifacts of the study's run with the files in the folder, and then the tag that lists them."""
        folder, client = self.writer.projection.folder, self.writer.client
        asked, stated = file_digests(folder), parent.data.tags.get(FILES, "")
        sent = {name: digest for digest, _, name in (line.partition("  ") for line in stated.splitlines())}
        for name, digest in asked.items():
            found = sent.get(name, "")
            if self.deep and found == digest:
                found = artifact_digest(run_id=_id(parent), artifact_path=name)[: len(digest)]
            wrong = _unlike_file(f"{name} must be the file in the folder", found, digest)
            below = name.rpartition("/")[0] or None
            yield Step(_STUDY_RUN, wrong, partial(client.log_artifact, _id(parent), str(folder.path / name), below))
        listed = "\n".join(f"{digest}  {name}" for name, digest in asked.items())
        wrong = [] if stated == listed else [f"tag {FILES} must list the files in the folder"]
        yield Step(_STUDY_RUN, wrong, partial(client.set_tag, _id(parent), FILES, listed))

    def _pages(self, parent: Run, records: list[Record], confirmed: Confirmed) -> Iterator[Step]:
        """Compare what MLflow's pages show: the study's results, its description."""
        folder, experiment = self.writer.projection.folder, self.held.experiment
        results = results_of(records, confirmed, folder)
        page = StudyRun(question_of(folder) or self.writer.projection.name, experiment.experiment_id, _id(parent))
        note = page.note(next(iter(ranked(records)), None), winner_of(confirmed), results)
        shown = {name: repr(float(value)) for name, value in parent.data.metrics.items()}
        changed = {name: value for name, value in results.items() if shown.get(name) != repr(value)}
        wrong = [*_unlike({name: repr(value) for name, value in changed.items()}, shown, "metric ")]
        wrong += _unlike({NOTE: note}, parent.data.tags, "tag ")
        at = milliseconds(max((record.provenance.ended for record in records), default=0.0))
        yield Step(_STUDY_RUN, wrong, partial(self.writer.results, _id(parent), changed, at, note))
        summary = {NOTE: page.summary()}
        write = partial(self.writer.client.set_experiment_tag, experiment.experiment_id, NOTE, page.summary())
        yield Step("experiment", [*_unlike(summary, experiment.tags, "tag ")], write)

    def _model(self, parent: Run) -> Iterator[Step]:
        """Compare the final model, if there is one, with the logged model and its registered version."""
        path = self.writer.projection.folder.path / MODEL
        if not is_file(path):
            return
        shelf = Shelf(self.writer.client, self.writer.projection, _id(parent), parent.info.experiment_id)
        yield from shelf.steps()
        if self.deep and shelf.logged:
            sent = artifact_digest(artifact_uri=f"{shelf.logged.artifact_location}/artifacts/{MODEL}")
            send = partial(self.writer.client.log_model_artifact, shelf.logged.model_id, str(path), "artifacts")
            yield Step(MODEL, _unlike_file("must be the file in the folder", sent, shelf.digest), send)


def _unlike(asked: Mapping[str, str], found: Mapping[str, str], kind: str = "") -> Iterator[str]:
    """Return one text for each value that must be another."""
    for name, value in asked.items():
        if found.get(name) != value:
            yield f"{kind}{name} must be {_cut(value)}, got {_cut(found.get(name, 'none'))}"


def _unlike_file(rule: str, found: str, asked: str) -> list[str]:
    """Return the broken rule if two digests differ; `found` is empty if there is no file."""
    return [] if found == asked else [f"{rule}, got {'another' if found else 'none'}"]


def _cut(text: str) -> str:
    """Return a text, cut to a line of a terminal."""
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004


def _id(run: Run) -> str:
    return str(run.info.run_id)
