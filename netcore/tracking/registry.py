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
from pathlib import Path
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from netcore.errors import WorkError
from netcore.final.model import MODEL, Model
from netcore.question.metrics import Metric as StudyMetric
from netcore.tracking.client import shown_uri, speaking_plainly
from netcore.tracking.pages import DIGEST_LENGTH, markdown_escaped, question_of
from netcore.tracking.projection import Projection

CHAMPION = "champion"
"""The alias of the version to serve."""

_VERSIONS = "mlflow.modelVersions"
"""The tag of a logged model with which MLflow's pages link it to its versions."""
_SETTLED = "netcore.settled"
"""The tag of a registered model with the digest for which the alias was last decided."""


class Shelf(NamedTuple):
    """What MLflow holds of one model.npz."""

    logged: LoggedModel | None
    """The logged model that is ready."""
    unready: list[LoggedModel]
    """Those whose transfer was interrupted, or was repeated because an answer was lost."""
    registered: RegisteredModel | None
    """The registered model of the study's name."""
    versions: list[ModelVersion]
    """Its versions of this file, the oldest first; more than one if an answer was lost."""


def shelf_of(client: MlflowClient, projection: Projection, run_id: str, experiment_id: str, digest: str) -> Shelf:
    """Read what MLflow holds of a model.npz with this SHA-256; `run_id` is the study's run.

    Raises:
        WorkError: the registry refuses. It is asked only if the model is logged.
    """
    condition = f"tags.`netcore.model` = '{digest}'"
    found = client.search_logged_models([experiment_id], condition)
    ready = [model for model in found if model.status == "READY" and model.source_run_id == run_id]
    unready = [model for model in found if model.status != "READY"]
    if not ready:
        return Shelf(None, unready, None, [])
    with _registering(projection):
        registered = client.search_registered_models(f"name = '{projection.name}'")
        versions: list[ModelVersion] = client.search_model_versions(f"name = '{projection.name}' AND {condition}")
    versions = sorted(versions, key=lambda version: int(version.version))
    return Shelf(ready[0], unready, registered[0] if registered else None, versions)


def model_differences(shelf: Shelf, digest: str) -> Iterator[tuple[str, str]]:
    """Compare what MLflow holds with what it should hold of a model; return the broken rules, with what was found."""
    if shelf.unready:
        yield "must have no logged model that is not ready", f"{len(shelf.unready)}"
    if shelf.logged is None:
        yield "must be logged as a model", "none"
        return
    if len(shelf.versions) != 1:
        yield "must be registered as one version of the model", f"{len(shelf.versions)}"
    elif _VERSIONS not in shelf.logged.tags:
        yield "must be linked to its version", "no link"
    elif shelf.registered is None or shelf.registered.tags.get(_SETTLED) != digest:
        yield f"must be considered for the alias {CHAMPION}", "another model"


class _Shipment(NamedTuple):
    """A model on its way."""

    client: MlflowClient
    projection: Projection
    experiment_id: str
    run_id: str
    """The study's run."""
    data: bytes
    """The content of model.npz."""
    model: Model

    @property
    def name(self) -> str:
        """The study's name."""
        return self.projection.name

    @property
    def digest(self) -> str:
        """SHA-256 of model.npz."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def tags(self) -> dict[str, str]:
        """The tags of logged model and version."""
        facts = self.model.facts
        return {
            "netcore.study": self.name,
            "netcore.model": self.digest,
            "netcore.data_digest": facts["data_digest"],
            "netcore.metric": facts["metric"],
            "netcore.value": repr(facts["confirmed"][facts["metric"]]),
            "netcore.seeds": str(facts["confirmed"]["seeds"]),
        }

    def shelf(self) -> Shelf:
        """Read what MLflow holds of it by now."""
        return shelf_of(self.client, self.projection, self.run_id, self.experiment_id, self.digest)


def send_model(client: MlflowClient, projection: Projection, experiment_id: str, run_id: str) -> None:
    """Log and register the final model; what is done is not done again.

    Raises:
        RecordError: model.npz is damaged.
        WorkError: the registry refuses; the model is logged.
    """
    path = projection.folder.path / MODEL
    data = path.read_bytes()
    it = _Shipment(client, projection, experiment_id, run_id, data, Model.from_bytes(data, path))
    shelf = it.shelf()
    for model in shelf.unready:
        client.delete_logged_model(model.model_id)
    logged = shelf.logged or _log(it)
    with _registering(projection):
        _register(it)
        if not it.shelf().versions:
            _create_version(it, logged)
        first, *others = it.shelf().versions
        for other in others:
            client.delete_model_version(it.name, other.version)
        if _VERSIONS not in logged.tags:  # MLflow's server links the two by itself, its database does not
            link = json.dumps([{"name": it.name, "version": int(first.version)}])
            client.set_logged_model_tags(logged.model_id, {_VERSIONS: link})
        _settle_champion(it, first)


def _registering(projection: Projection) -> Any:  # noqa: ANN401  # a context manager
    folder = projection.folder.path
    return speaking_plainly(f"the model is logged but not registered; `netcore sync {folder}` completes it")


def _log(it: _Shipment) -> LoggedModel:
    """Log the model with its metrics and data set; it becomes ready at the end."""
    from netcore.tracking.package import write_package  # noqa: PLC0415  # slow, and only for a model that is new

    facts, data = it.model.facts, it.projection.data
    params = {key: facts[key] for key in ("candidate", "trial", "seed", "epochs")} | facts["hyperparameters"]
    logged = it.client.create_logged_model(
        it.experiment_id,
        it.name.replace(".", "-"),  # MLflow takes no dot here, unlike in the name of a registered model
        it.run_id,
        tags=it.tags,
        params={key: str(value) for key, value in params.items()},
        model_type="classifier",
    )
    with tempfile.TemporaryDirectory() as folder:
        write_package(it.data, it.model, logged, Path(folder))
        it.client.log_model_artifacts(logged.model_id, f"{folder}/model")
    try:
        it.client.log_outputs(it.run_id, [LoggedModelOutput(logged.model_id, 0)])
    except MlflowException:  # it refuses a repetition: the answer to a first call was lost
        outputs = it.client.get_run(it.run_id).outputs
        if not outputs or logged.model_id not in {output.model_id for output in outputs.model_outputs}:
            raise
    now = round((it.projection.folder.path / MODEL).stat().st_mtime * 1_000)
    values = {f"confirmed_{key}": value for key, value in facts["confirmed"].items()}
    values |= {f"model_test_{key}": value for key, value in facts["test"].items()}  # unlike the names of a trial's
    name, digest = data["name"], data["digest"][:DIGEST_LENGTH]
    metrics = [Metric(key, value, now, 0, logged.model_id, name, digest) for key, value in values.items()]
    it.client.log_batch(it.run_id, metrics=metrics)
    return it.client.finalize_logged_model(logged.model_id, "READY")


def _register(it: _Shipment) -> None:
    """Create the registered model if there is none; one that netcore did not register is left alone."""
    found = it.client.search_registered_models(f"name = '{it.name}'")
    if not found:
        question = question_of(it.projection.folder) or None
        it.client.create_registered_model(it.name, {"netcore.study": it.name}, question)
    elif "netcore.study" not in found[0].tags:
        raise WorkError.at(
            f"MLflow at {shown_uri()}",
            f"has a registered model {it.name!r} that is not netcore's",
            remedy="rename it there, or the study",
        )


def _create_version(it: _Shipment, logged: LoggedModel) -> None:
    facts, value = it.model.facts, float(it.tags["netcore.value"])
    description = f"{facts['candidate']}, {facts['metric']} {value:.4f} with fresh seeds"
    it.client.create_model_version(
        it.name,
        logged.artifact_location,
        it.run_id,
        tags={**it.tags, "netcore.logged_model": logged.model_id},
        description=markdown_escaped(f"{description}, test accuracy {facts['test']['accuracy']:.4f}"),
        model_id=logged.model_id,
    )


def _settle_champion(it: _Shipment, new: ModelVersion) -> None:
    """Move the alias to the new version, unless the current champion was confirmed, with as many seeds, as better."""
    registered = it.client.get_registered_model(it.name)
    if registered.tags.get(_SETTLED) == it.digest:
        return
    champion = registered.aliases.get(CHAMPION)
    if champion is None or not _is_worse(it.tags, it.client.get_model_version(it.name, str(champion)).tags):
        it.client.set_registered_model_alias(it.name, CHAMPION, new.version)
    it.client.set_registered_model_tag(it.name, _SETTLED, it.digest)


def _is_worse(new: dict[str, str], old: dict[str, str]) -> bool:
    """Compare confirmed means; no model is worse than one of other data, of another metric, or of fewer seeds."""
    if any(new[key] != old.get(key) for key in ("netcore.data_digest", "netcore.metric")):
        return False
    ours, theirs = (float(tags["netcore.value"]) for tags in (new, old))
    fewer = int(old["netcore.seeds"]) < int(new["netcore.seeds"])
    return not fewer and bool(StudyMetric(new["netcore.metric"]).better(theirs, ours))
