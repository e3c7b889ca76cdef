"""Claims about what records carry: from a record and its weights alone, raw rows are prepared and classified again."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formats import write_cifar
from models import TREES
from numpy.typing import NDArray

import netcore
from netcore.core import scores
from netcore.data import preprocessing, table_features
from netcore.data.sources import PREPARATION, read_source
from netcore.data.split import split
from netcore.question.spec import StudySpec, dataset_of, load_spec
from netcore.records.record import Record, unpack_weights
from studies import write_study

SOURCES = {
    "pictures less their mean": 'source = "cifar10", path = "{folder}/cifar", standardize = "pixel-mean"',
    "numbers in folds": 'source = "wine", folds = 3',
    "a table in folds": f'source = "table", path = "{TREES}", target = "species", folds = 3',
}


def write_spec(folder: Path, source: str, dtype: str = "float32") -> StudySpec:
    """Write the data of a source and a study of them; return its spec."""
    write_cifar(folder / "cifar", rows=20)
    data, training = SOURCES[source].format(folder=folder), f"epochs = 2, batch_size = 8, dtype = '{dtype}'"
    file = write_study(folder / "x.toml", study="trials = 2", data=data, training=training, learning_rate="1e-6")
    return load_spec(file)


def raw_parts(spec: StudySpec) -> dict[str, Any]:
    """Return the raw rows of each part; of folds, the first fold's. Those of a table come as pandas reads them."""
    keys = spec.data.model_dump()
    how = {name: keys.pop(name) for name in PREPARATION if name in keys}
    raw = read_source(**keys)
    [(train, val), *_], test = split(raw, how["validation"], how.get("test", 0.2), how["folds"], how["seed"], None)
    if not isinstance(raw.X, np.ndarray):
        rows = pd.read_csv(keys["path"])
        return {"train": rows.iloc[train], "val": rows.iloc[val], "test": rows.iloc[test]}
    return {"train": raw.X[train], "val": raw.X[val], "test": (raw.official_test or (raw.X,))[0][test]}


def prepared(record: Record, raw: Any) -> NDArray[Any]:  # noqa: ANN401
    """Prepare raw rows by what a record says, and nothing else."""
    if record.preprocessing.facts["kind"] == "table":
        return table_features.apply(record.preprocessing, raw, record.job.dtype)
    return preprocessing.apply(record.preprocessing, raw, record.job.dtype)


@pytest.mark.parametrize(
    ("source", "dtype"), [*((source, "float32") for source in list(SOURCES)[:2]), ("a table in folds", "float64")]
)
def test_a_record_and_its_weights_are_all_that_new_rows_need(tmp_path: Path, source: str, dtype: str) -> None:
    """Raw rows, prepared by the record's figures, are to the bit what the trial saw; so are the net's scores for them.

    All at once or one by one.
    """
    assert pd.read_csv(TREES).isna().any().sum() > 1
    spec = write_spec(tmp_path, source, dtype)
    netcore.run_study(spec, results=tmp_path, workers=1)
    record = Record.from_bytes((tmp_path / "x" / "trials" / "000001.npz").read_bytes(), "1")
    weights = unpack_weights((tmp_path / "x" / "weights" / "000001.npz").read_bytes(), record, "1")
    dataset = dataset_of(spec)
    for part, raw in raw_parts(spec).items():
        seen = getattr(dataset, f"X_{part}")
        again = prepared(record, raw)
        assert (again.dtype, again.shape, again.tobytes()) == (seen.dtype, seen.shape, seen.tobytes())
        assert scores(weights, again).tobytes() == scores(weights, seen).tobytes()
        for row in range(0, len(raw), 29):
            assert prepared(record, raw[row : row + 1]).tobytes() == seen[row].tobytes()


def test_what_was_fitted_matters(tmp_path: Path) -> None:
    """The claim above can fail: the figures of another fold give other rows."""
    spec = write_spec(tmp_path, "numbers in folds")
    dataset = dataset_of(spec)
    raw = raw_parts(spec)["train"]
    other = preprocessing.apply(dataset.others[0].preprocessing, raw)
    assert other.tobytes() != dataset.X_train.tobytes()
