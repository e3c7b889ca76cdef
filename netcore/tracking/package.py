"""The final model as files of an MLflow model: model.npz, the code that loads it, signature, example, environment.

netcore itself travels as code and is not a requirement: a package index may have another package of that name.
Nothing is pickled. MLflow imports this module only when there is a new model to send.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import pyfunc
from mlflow.entities import LoggedModel
from mlflow.models import Model as Description
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType
from numpy.typing import NDArray

import netcore
from netcore.final.model import MODEL, Model

_REQUIREMENTS = ("mlflow", "numpy", "pandas", "platformdirs")
"""The packages that the model needs besides netcore."""
_FLAVOR = "python_function"
_SERVED = Path(__file__).with_name("served.py")


def write_package(data: bytes, model: Model, logged: LoggedModel, folder: Path) -> None:
    """Write the files of the MLflow model into folder/model; `data` is the content of model.npz."""
    (folder / MODEL).write_bytes(data)
    description = Description(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        metadata={"class_names": list(model.class_names), **logged.tags},
    )
    pyfunc.save_model(
        folder / "model",
        mlflow_model=description,
        python_model=str(_SERVED),
        artifacts={"model": str(folder / MODEL)},
        code_paths=[str(Path(netcore.__file__).parent)],
        pip_requirements=[f"{package}=={version(package)}" for package in _REQUIREMENTS],
        signature=_signature(model),
        input_example=_example(model),
    )
    # MLflow records the version of a pickler, though nothing is pickled, and the files' paths on this machine.
    flavor = description.flavors[_FLAVOR]
    flavor.pop("cloudpickle_version", None)
    flavor["artifacts"]["model"]["uri"], flavor["model_code_path"] = MODEL, _SERVED.name
    description.save(str(folder / "model" / "MLmodel"))


def _signature(model: Model) -> ModelSignature:
    """Return the types of the inputs, raw rows, and of the outputs, one column of probabilities per class.

    Numbers are double, which also holds whole numbers and missing ones. Columns are required, though their cells may be
    missing: an optional column whose name is misspelt would pass for one without any value. A column of booleans may
    have any type: MLflow would read a missing boolean as false.
    """
    if model.is_table:
        inputs = Schema([_column(column) for column in model.preprocessing.facts["columns"]])
    else:
        inputs = Schema([TensorSpec(np.dtype(np.float64), (-1, len(model.feature_names)))])
    output = DataType.float if model.params.W1.dtype == np.float32 else DataType.double
    return ModelSignature(inputs, Schema([ColSpec(output, name) for name in model.class_names]))


def _column(column: dict[str, Any]) -> ColSpec | TensorSpec:
    """Return the type of a table's column."""
    kind: Any = DataType.string
    if column["kind"] == "number":
        kind = DataType.double
    elif set(column["categories"]) <= {"False", "True"}:
        kind = AnyType()  # type: ignore[no-untyped-call]
    return ColSpec(kind, column["name"])


def _example(model: Model) -> "NDArray[np.float64] | pd.DataFrame":
    """Return a typical raw row: the mean or median of numbers, else 0; the first category."""
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
