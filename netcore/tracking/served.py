"""The model as MLflow serves it: this file is copied next to model.npz, and loads it.

MLflow calls this "models from code": it runs the file where the model is loaded, with the copy of netcore that was
logged with the model. Nothing is unpickled. Do not import it: it sets MLflow's model of the process that runs it.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from netcore.errors import DataError
from netcore.final.model import Model, read_model


class Served(PythonModel):
    """Maps raw rows to a table of probabilities, one column per class."""

    _model: Model

    def load_context(self, context: PythonModelContext) -> None:
        """Load model.npz."""
        self._model = read_model(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  # the signature is MLflow's
        model_input: pd.DataFrame,  # or an array, for which MLflow has no type hint
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return the probabilities of raw rows; a server returns the error if the rows do not fit the model."""
        try:
            p2 = self._model.probabilities(model_input)
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame(p2, columns=list(self._model.class_names))


set_model(Served())
