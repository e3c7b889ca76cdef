"""Small nets, really trained on really prepared data, as they would ship; and studies that have one."""

from pathlib import Path
from typing import Any

import numpy as np

import netcore
from netcore.core import TrainConfig, epochs, init_params
from netcore.data import Dataset, load_dataset
from netcore.final.model import MODEL, Model
from studies import write_study

TREES = Path(__file__).parents[1] / "studies" / "data" / "trees.csv"
TREE_KEYS: dict[str, Any] = {"path": str(TREES), "target": "species", "drop": ["plot"]}


def facts(dataset: Dataset, **others: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what a confirmation records about a net."""
    return {
        "study": dataset.name,
        "metric": "val_loss",
        "candidate": "trial 1",
        "trial": 1,
        "seed": 12,
        "data_digest": dataset.digest,
        "hyperparameters": {"learning_rate": 0.1, "hidden_size": 8, "reg": 1e-4, "learning_rate_decay": 0.95},
        "epochs": 3,
        "confirmed": {"val_loss": 0.5, "val_accuracy": 0.875, "low": 0.4, "high": 0.6, "seeds": 5},
        "test": {"accuracy": 0.75, "rows": 80, "right": 60},
        **others,
    }


def trained(
    source: str,
    *,
    hidden_size: int = 8,
    dtype: str = "float32",
    seed: int = 0,
    about: dict[str, Any] | None = None,
    **keys: Any,  # noqa: ANN401
) -> tuple[Model, Dataset]:
    """Train for three epochs; give the model, and the data that it was trained on. `about` changes its facts."""
    dataset = load_dataset(source, validation=0.2, seed=seed, dtype=dtype, **keys)
    rng = np.random.default_rng(seed)
    params = init_params(rng, dataset.input_size, hidden_size, dataset.classes, dtype=dtype)
    config = TrainConfig(0.1, hidden_size, 1e-4, 0.95, 3, 20)
    for _ in epochs(params, dataset.X_train, dataset.y_train, dataset.X_val, dataset.y_val, config, rng):
        pass
    names = (dataset.class_names, dataset.feature_names, dataset.image_shape)
    return Model(params, dataset.preprocessing, *names, facts(dataset, **(about or {}))), dataset


def run_study_with(folder: Path, name: str, data: str, model: Model) -> Path:
    """Run a study of two trials, let it have a model, and give its folder, in `folder`/results."""
    question = "which net tells them apart?"
    path = write_study(folder / f"{name}.toml", question, study="trials = 2", data=data, training="epochs = 2")
    netcore.run_study(path, results=folder / "results", workers=1, confirm=False)
    made = folder / "results" / name
    (made / MODEL).write_bytes(model.to_bytes())
    return made
