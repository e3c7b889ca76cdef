"""The final model in MLflow: logged under the study's run, registered under the study's name.

    model.npz ──► logged model (signature, example, environment, metrics, data set) ──► version ──► alias `champion`

Each step first checks whether it is done, so an interrupted transfer continues where it stopped. A version is
identified by the SHA-256 of its model.npz: one file, one version. The alias is decided once per file; an alias moved by
hand stays until there is another model.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from netcore.errors import WorkError
from netcore.files import read_file
from netcore.final.model import MODEL, Model
from netcore.question.metrics import Metric as StudyMetric
from netcore.tracking.client import shown_uri
from netcore.tracking.pages import markdown_escaped, question_of
from netcore.tracking.projection import Projection, milliseconds
from netcore.tracking.writer import Step

CHAMPION = "champion"
"""The alias of the version to serve."""

_LINKS = "mlflow.modelVersions"
"""The tag of a logged model with which MLflow's pages link it to its versions."""
_MODEL = "netcore.model"
"""The tag of logged models and versions with the SHA-256 of their model.npz."""
_SETTLED = "netcore.settled"
"""The tag of a registered model with the digest for which the alias was last decided."""


class Shelf:
    """One model.npz in MLflow: what it holds of the file, and the calls that send what is missing.

    `run_id` is the study's run.
    """

    def __init__(self, client: MlflowClient, projection: Projection, run_id: str, experiment_id: str) -> None:
        self._client, self._projection, self._run_id, self._experiment_id = client, projection, run_id, experiment_id
        self._name, self._path = projection.name, projection.folder.path / MODEL
        self._data = read_file(self._path)
        self.digest = hashlib.sha256(self._data).hexdigest()
        """SHA-256 of model.npz."""
        found = client.search_logged_models([experiment_id], f"tags.`{_MODEL}` = '{self.digest}'")
        ready = (model for model in found if model.status == "READY")
        self.logged = next((model for model in ready if model.source_run_id == run_id), None)
        """The logged model, if it is there and ready."""
        self._unready = [model for model in found if model.status != "READY"]
        """Those whose transfer was interrupted, or was repeated because an answer was lost."""

    def steps(self) -> Iterator[Step]:
        """Return one step per stage of the way to the registry; a stage is compared once those before it are right."""
        for model in self._unready:
            wrong = [f"must have no logged model that is not ready, got {model.model_id}"]
            yield Step(MODEL, wrong, partial(self._client.delete_logged_model, model.model_id))
        yield Step(MODEL, [] if self.logged else ["must be logged as a model"], self._log)
        if self.logged is None:
            return
        wrong = [] if self._versions() else ["must be registered as a version of the model"]
        yield Step(MODEL, wrong, partial(self._register, self.logged))
        if not (versions := self._versions()):
            return
        for other in versions[1:]:
            delete = partial(self._client.delete_model_version, self._name, other.version)
            yield Step(MODEL, [f"must be registered as one version, got also version {other.version}"], delete)
        # MLflow's server links the two by itself, its database does not.
        wrong = [] if _LINKS in self.logged.tags else ["must be linked to its version"]
        links = {_LINKS: json.dumps([{"name": self._name, "version": int(versions[0].version)}])}
        yield Step(MODEL, wrong, partial(self._client.set_logged_model_tags, self.logged.model_id, links))
        registered = self._client.get_registered_model(self._name)
        wrong = [] if registered.tags.get(_SETTLED) == self.digest else [f"must be considered for the alias {CHAMPION}"]
        yield Step(MODEL, wrong, partial(self._settle_champion, registered, versions[0]))

    def _versions(self) -> list[ModelVersion]:
        """Read the registered versions of this file, the oldest first; more than one if an answer was lost."""
        found = self._client.search_model_versions(f"name = '{self._name}' AND tags.`{_MODEL}` = '{self.digest}'")
        return sorted(found, key=lambda version: int(version.version))

    @cached_property
    def _model(self) -> Model:
        """The model in the file.

        Raises:
            RecordError: model.npz is damaged.
        """
        return Model.from_bytes(self._data, self._path)

    @property
    def _tags(self) -> dict[str, str]:
        """The tags of logged model and version."""
        facts = self._model.facts
        return {
            "netcore.study": self._name,
            _MODEL: self.digest,
            "netcore.data_digest": facts["data_digest"],
            "netcore.metric": facts["metric"],
            "netcore.value": repr(facts["confirmed"][facts["metric"]]),
            "netcore.seeds": str(facts["confirmed"]["seeds"]),
        }

    def _log(self) -> None:
        """Log the model with its metrics and data set; it becomes ready at the end."""
        from netcore.tracking.package import write_package  # noqa: PLC0415  # slow, and only for a model that is new

        client, facts, dataset = self._client, self._model.facts, self._projection.dataset.dataset
        params = {key: facts[key] for key in ("candidate", "trial", "seed", "epochs")} | facts["hyperparameters"]
        logged = client.create_logged_model(
            self._experiment_id,
            self._name.replace(".", "-"),  # MLflow takes no dot here, unlike in the name of a registered model
            self._run_id,
            tags=self._tags,
            params={key: str(value) for key, value in params.items()},
            model_type="classifier",
        )
        with tempfile.TemporaryDirectory() as folder:
            write_package(self._data, self._model, logged, Path(folder))
            client.log_model_artifacts(logged.model_id, f"{folder}/model")
        try:
            client.log_outputs(self._run_id, [LoggedModelOutput(logged.model_id, 0)])
        except MlflowException:  # it refuses a repetition: the answer to a first call was lost
            outputs = client.get_run(self._run_id).outputs
            if not outputs or logged.model_id not in {output.model_id for output in outputs.model_outputs}:
                raise
        at = milliseconds(self._path.stat().st_mtime)
        values = {f"confirmed_{key}": value for key, value in facts["confirmed"].items()}
        values |= {f"model_test_{key}": value for key, value in facts["test"].items()}  # unlike the names of a trial's
        used = logged.model_id, dataset.name, dataset.digest
        client.log_batch(self._run_id, [Metric(key, value, at, 0, *used) for key, value in values.items()])
        self.logged = client.finalize_logged_model(logged.model_id, "READY")

    def _register(self, logged: LoggedModel) -> None:
        """Create a version of the registered model, and that model if there is none.

        Raises:
            WorkError: netcore did not register the model that has this name.
        """
        found = self._client.search_registered_models(f"name = '{self._name}'")
        if not found:
            question = question_of(self._projection.folder) or None
            self._client.create_registered_model(self._name, {"netcore.study": self._name}, question)
        elif "netcore.study" not in found[0].tags:
            place, what = f"MLflow at {shown_uri()}", f"has a registered model {self._name!r} that is not netcore's"
            raise WorkError.at(place, what, remedy="rename it there, or the study")
        facts = self._model.facts
        value, accuracy = facts["confirmed"][facts["metric"]], facts["test"]["accuracy"]
        description = (
            f"{facts['candidate']}, {facts['metric']} {value:.4f} with fresh seeds, test accuracy {accuracy:.4f}"
        )
        self._client.create_model_version(
            self._name,
            logged.artifact_location,
            self._run_id,
            tags={**self._tags, "netcore.logged_model": logged.model_id},
            description=markdown_escaped(description),
            model_id=logged.model_id,
        )

    def _settle_champion(self, registered: RegisteredModel, new: ModelVersion) -> None:
        """Move the alias to a new version, unless the champion was confirmed, with as many seeds, as better."""
        champion = registered.aliases.get(CHAMPION)
        old = self._client.get_model_version(self._name, str(champion)).tags if champion else {}
        if not _is_worse(new.tags, old):
            self._client.set_registered_model_alias(self._name, CHAMPION, new.version)
        self._client.set_registered_model_tag(self._name, _SETTLED, self.digest)


def _is_worse(new: dict[str, str], old: dict[str, str]) -> bool:
    """Compare confirmed means; no model is worse than one of other data, of another metric, or of fewer seeds."""
    if any(new[key] != old.get(key) for key in ("netcore.data_digest", "netcore.metric")):
        return False
    ours, theirs = (float(tags["netcore.value"]) for tags in (new, old))
    fewer = int(old["netcore.seeds"]) < int(new["netcore.seeds"])
    return not fewer and bool(StudyMetric(new["netcore.metric"]).better(theirs, ours))
