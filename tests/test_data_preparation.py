"""Claims about what records carry: from a record and its weights alone, raw rows are prepared and classified again."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formats import write_cifar
from numpy.typing import NDArray

import netcore
from netcore.core import scores
from netcore.data import preprocessing, table_features
from netcore.data.sources import PREPARATION, read_source
from netcore.data.split import split
from netcore.question.spec import StudySpec, dataset_of, load_spec
from netcore.records.record import Record, unpack_weights

STUDY = """
[study]
trials = 2
[data]
{data}
[training]
epochs = 2
batch_size = 8
dtype = "{dtype}"
[space]
learning_rate = 1e-6
hidden_size = [5, 6]
reg = 1e-3
learning_rate_decay = 1.0
"""
CIFAR = 'source = "cifar10"\npath = "{folder}/cifar"\n'
SOURCES = {
    "pictures less their mean": CIFAR + 'standardize = "pixel-mean"',
    "numbers in folds": 'source = "wine"\nfolds = 3',
    "a table in folds": 'source = "table"\npath = "{folder}/trees.csv"\ntarget = "species"\nfolds = 3',
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures, grey and coloured, and a table with numbers, categories and gaps."""
    folder = tmp_path_factory.mktemp("files")
    write_cifar(folder / "cifar", rows=20)
    trees = pd.read_csv(Path(__file__).parents[1] / "studies" / "data" / "trees.csv")
    assert trees.isna().any().sum() > 1
    trees.to_csv(folder / "trees.csv", index=False)
    return folder


def raw_parts(spec: StudySpec) -> dict[str, Any]:
    """Give the raw rows of each part; of folds, the first fold's. Those of a table come as pandas reads them."""
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
def test_a_record_and_its_weights_are_all_that_new_rows_need(
    files: Path, tmp_path: Path, source: str, dtype: str
) -> None:
    """Raw rows, prepared by the record's figures, are to the bit what the trial saw; so are the net's scores for them.

    All at once or one by one.
    """
    text = STUDY.format(data=SOURCES[source].format(folder=files), dtype=dtype)
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    spec = load_spec(tmp_path / "x.toml")
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
    (tmp_path / "x.toml").write_text(STUDY.format(data=SOURCES["numbers in folds"], dtype="float32"), encoding="utf-8")
    spec = load_spec(tmp_path / "x.toml")
    dataset = dataset_of(spec)
    raw = raw_parts(spec)["train"]
    other = preprocessing.apply(dataset.others[0].preprocessing, raw)
    assert other.tobytes() != dataset.X_train.tobytes()
