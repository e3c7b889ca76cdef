"""The net that ships as an MLflow model: logged under the study's run, registered under the study's name.

    model.npz ──► logged model (signature, example, environment, metrics, data set) ──► version ──► alias `champion`

Each step looks first whether it is done, so that it can be taken up wherever it stopped. A version is known by the
SHA-256 of its model.npz: one file, one version. The alias is settled once for each file; who moves it by hand is left
alone until there is another net.
"""

import hashlib
import json
import math
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS
from numpy.typing import NDArray

import netcore
from netcore.errors import WorkError
from netcore.files import is_file
from netcore.final.model import MODEL, Model
from netcore.question.metrics import Metric as StudyMetric
from netcore.records.folder import StudyFolder
from netcore.tracking.client import shown_uri, speaking_plainly
from netcore.tracking.pages import DIGEST_LENGTH, as_it_is, question_of

__all__ = ["CHAMPION", "ship"]

CHAMPION = "champion"
"""The alias of the version that serves."""

_REQUIREMENTS = ("mlflow", "numpy", "pandas", "platformdirs")
"""What the model needs besides netcore, which travels with it as code."""
_FLAVOR = "python_function"
_SERVED = Path(__file__).with_name("served.py")


class _Shipment(NamedTuple):
    """A model on its way."""

    client: MlflowClient
    folder: StudyFolder
    name: str
    """The study's."""
    run_id: str
    """The study's own run."""
    data: bytes
    """The content of model.npz."""
    model: Model

    @property
    def digest(self) -> str:
        """SHA-256 of model.npz."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def tags(self) -> dict[str, str]:
        """What logged model and version bear."""
        facts, metric = self.model.facts, self.model.facts.get("metric")
        confirmed = _numbers(facts.get("confirmed"))
        value, seeds = confirmed.get(str(metric)), confirmed.get("seeds")
        tags = {
            "netcore.study": self.name,
            "netcore.final.model": self.digest,
            "netcore.data_digest": facts.get("data_digest") or self.dataset["digest"],
            "netcore.metric": metric,
            "netcore.value": None if value is None else repr(value),
            "netcore.seeds": None if seeds is None else int(seeds),
        }
        return {key: str(tag) for key, tag in tags.items() if tag is not None}

    @property
    def dataset(self) -> dict[str, Any]:
        """What the data were, as resolved.json says."""
        return dict(self.folder.resolved_settings()["data"])


def ship(client: MlflowClient, folder: StudyFolder, name: str, experiment_id: str, run_id: str) -> None:
    """Log and register the study's net, if there is one; what is done is not done again.

    Raises:
        RecordError: model.npz is not whole.
        WorkError: the registry refuses; the model is logged.
    """
    path = folder.path / MODEL
    if not is_file(path):
        return
    data = path.read_bytes()
    it = _Shipment(client, folder, name, run_id, data, Model.from_bytes(data, path))
    logged = _find_logged(it, experiment_id)
    if logged is None:
        made = _log(it, experiment_id)
        logged = _find_logged(it, experiment_id) or made
    with speaking_plainly(f"the model is logged but not registered; `netcore sync {folder.path}` completes it"):
        registered, new = _registered(it), _version(it, logged)
        if MLFLOW_MODEL_VERSIONS not in logged.tags:  # MLflow's server links the two by itself, its database does not
            link = json.dumps([{"name": name, "version": int(new.version)}])
            client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: link})
        _settle_champion(it, registered, new)


def _find_logged(it: _Shipment, experiment_id: str) -> LoggedModel | None:
    """Find the logged model of this file; what was cut short, or made twice when an answer was lost, is deleted."""
    whole = None
    for found in it.client.search_logged_models([experiment_id], f"tags.`netcore.final.model` = '{it.digest}'"):
        if found.status == "READY" and found.source_run_id == it.run_id:
            whole = whole or found
        elif found.status != "READY":
            it.client.delete_logged_model(found.model_id)
    return whole


def _log(it: _Shipment, experiment_id: str) -> LoggedModel:
    """Log the model with what belongs to it; that it is ready is said last."""
    facts = it.model.facts
    params = {key: facts[key] for key in ("candidate", "trial", "seed", "epochs") if key in facts}
    params |= facts.get("hyperparameters") or {}
    logged = it.client.create_logged_model(
        experiment_id,
        it.name.replace(".", "-"),  # MLflow takes no dot here, unlike in the name of a registered model
        it.run_id,
        tags=it.tags,
        params={key: str(value) for key, value in params.items()},
        model_type="classifier",
    )
    with tempfile.TemporaryDirectory() as folder:
        _save(it, logged, Path(folder))
        it.client.log_model_artifacts(logged.model_id, f"{folder}/model")
    try:
        it.client.log_outputs(it.run_id, [LoggedModelOutput(logged.model_id, 0)])
    except MlflowException:  # it refuses what it has: the answer to a first call was lost
        outputs = it.client.get_run(it.run_id).outputs
        if not outputs or logged.model_id not in {output.model_id for output in outputs.model_outputs}:
            raise
    now = round((it.folder.path / MODEL).stat().st_mtime * 1_000)
    name, digest = it.dataset["name"], it.dataset["digest"][:DIGEST_LENGTH]
    metrics = [Metric(key, value, now, 0, logged.model_id, name, digest) for key, value in _metrics(facts).items()]
    it.client.log_batch(it.run_id, metrics=metrics)
    return it.client.finalize_logged_model(logged.model_id, "READY")


def _save(it: _Shipment, logged: LoggedModel, folder: Path) -> None:
    """Write the files of the MLflow model into folder/model.

    netcore itself goes along as code and not as a requirement: a package of its name on an index may be another's.
    """
    from mlflow import pyfunc  # noqa: PLC0415  # slow, and only for a model that is new
    from mlflow.models import Model as Description  # noqa: PLC0415

    (folder / MODEL).write_bytes(it.data)
    description = Description(
        artifact_path=logged.artifact_location,
        run_id=it.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        metadata={"class_names": list(it.model.class_names), **it.tags},
    )
    pyfunc.save_model(
        folder / "model",
        mlflow_model=description,
        python_model=str(_SERVED),
        artifacts={"model": str(folder / MODEL)},
        code_paths=[str(Path(netcore.__file__).parent)],
        pip_requirements=[f"{package}=={version(package)}" for package in _REQUIREMENTS],
        signature=_signature(it.model),
        input_example=_example(it.model),
    )
    # MLflow writes down the version of a pickler, though nothing is pickled, and where on this machine the files lay.
    flavor = description.flavors[_FLAVOR]
    flavor.pop("cloudpickle_version", None)
    flavor["artifacts"]["model"]["uri"], flavor["model_code_path"] = MODEL, _SERVED.name
    description.save(str(folder / "model" / "MLmodel"))


def _signature(model: Model) -> Any:  # noqa: ANN401  # MLflow's ModelSignature, whose import is slow
    """Say what the model takes, raw rows, and what it gives, a column of probabilities for each class.

    Numbers are double: so whole numbers and missing ones fit too. Columns are required, though their cells may be
    missing: an optional column whose name is misspelt would pass for one without any value. Yes and no are of any type:
    as a boolean, MLflow would take a missing one for no.
    """
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec  # noqa: PLC0415
    from mlflow.types.schema import AnyType  # noqa: PLC0415

    if model.is_table:
        columns: list[ColSpec | TensorSpec] = []
        for column in model.preprocessing.facts["columns"]:
            if column["kind"] == "number":
                kind: Any = DataType.double
            elif set(column["categories"]) <= {"False", "True"}:
                kind = AnyType()  # type: ignore[no-untyped-call]
            else:
                kind = DataType.string
            columns.append(ColSpec(kind, column["name"]))
        inputs = Schema(columns)
    else:
        inputs = Schema([TensorSpec(np.dtype(np.float64), (-1, len(model.feature_names)))])
    given = DataType.float if model.params.W1.dtype == np.float32 else DataType.double
    return ModelSignature(inputs, Schema([ColSpec(given, name) for name in model.class_names]))


def _example(model: Model) -> "NDArray[np.float64] | pd.DataFrame":
    """Give a raw row that is typical: of numbers the mean or the median, else 0; of categories the first."""
    fitted = model.preprocessing
    if not model.is_table:
        mean: NDArray[np.float64] = fitted.arrays.get("mean", np.zeros(len(model.feature_names)))
        return mean[np.newaxis]
    medians = iter(fitted.arrays["median"].tolist())
    row = {
        column["name"]: next(medians) if column["kind"] == "number" else column["categories"][0]
        for column in fitted.facts["columns"]
    }
    return pd.DataFrame([row])


def _registered(it: _Shipment) -> RegisteredModel:
    """Find or make the registered model; one that is somebody else's is left alone."""
    found = it.client.search_registered_models(f"name = '{it.name}'")
    if not found:
        return it.client.create_registered_model(it.name, {"netcore.study": it.name}, question_of(it.folder) or None)
    if "netcore.study" not in found[0].tags:
        raise WorkError.at(
            f"MLflow at {shown_uri()}",
            f"has a registered model {it.name!r} that is not netcore's",
            remedy="rename it there, or the study",
        )
    return found[0]


def _version(it: _Shipment, logged: LoggedModel) -> ModelVersion:
    """Find or make the version of this file; others of the same, made when an answer was lost, are deleted."""
    if not (found := _versions(it)):
        made = _make_version(it, logged)
        found = _versions(it) or [made]
    first, *others = found
    for other in others:
        it.client.delete_model_version(it.name, other.version)
    return first


def _versions(it: _Shipment) -> list[ModelVersion]:
    found = it.client.search_model_versions(f"name = '{it.name}' AND tags.`netcore.final.model` = '{it.digest}'")
    return sorted(found, key=lambda version: int(version.version))


def _make_version(it: _Shipment, logged: LoggedModel) -> ModelVersion:
    return it.client.create_model_version(
        it.name,
        logged.artifact_location,
        it.run_id,
        tags={**it.tags, "netcore.logged_model": logged.model_id},
        description=_described(it.model.facts),
        model_id=logged.model_id,
    )


def _settle_champion(it: _Shipment, registered: RegisteredModel, new: ModelVersion) -> None:
    """Give the alias to the new version, unless the one that has it was confirmed, with as many seeds, to be better."""
    if registered.tags.get("netcore.settled") == it.digest:
        return
    champion = registered.aliases.get(CHAMPION)
    if champion is None or not _is_worse(it.tags, it.client.get_model_version(it.name, str(champion)).tags):
        it.client.set_registered_model_alias(it.name, CHAMPION, new.version)
    it.client.set_registered_model_tag(it.name, "netcore.settled", it.digest)


def _is_worse(new: dict[str, str], old: dict[str, str]) -> bool:
    """Compare confirmed means; of other data, by another metric, or than a mean of fewer seeds, nothing is worse."""
    if any(new.get(key) != old.get(key) for key in ("netcore.data_digest", "netcore.metric")):
        return False
    if "netcore.value" not in old:
        return False
    if "netcore.value" not in new:
        return True
    if int(old.get("netcore.seeds", 0)) < int(new.get("netcore.seeds", 0)):
        return False
    ours, theirs = float(new["netcore.value"]), float(old["netcore.value"])
    return bool(StudyMetric(new["netcore.metric"]).better(theirs, ours))


def _metrics(facts: dict[str, Any]) -> dict[str, float]:
    """Give the figures of a model under the names that they bear in MLflow, apart from those of trials."""
    confirmed, test = _numbers(facts.get("confirmed")), _numbers(facts.get("test"))
    return {f"confirmed_{key}": value for key, value in confirmed.items()} | {
        f"model_test_{key}": value for key, value in test.items()
    }


def _numbers(facts: object) -> dict[str, float]:
    """Give the finite numbers of a table of facts."""
    items = facts.items() if isinstance(facts, dict) else ()
    numbers = {key: value for key, value in items if isinstance(value, int | float) and not isinstance(value, bool)}
    return {key: float(value) for key, value in numbers.items() if math.isfinite(value)}


def _described(facts: dict[str, Any]) -> str:
    """Say in a line what a version is."""
    metric, confirmed, test = facts.get("metric"), _numbers(facts.get("confirmed")), _numbers(facts.get("test"))
    parts = [str(facts["candidate"])] if "candidate" in facts else []
    parts += [f"{metric} {confirmed[metric]:.4f} with fresh seeds"] if metric in confirmed else []
    parts += [f"test accuracy {test['accuracy']:.4f}"] if "accuracy" in test else []
    return as_it_is(", ".join(parts) or json.dumps(facts)[:1_000])
