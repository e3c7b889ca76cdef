"""Claims about tables: columns are fitted on the training part, applied to the bit, and bad ones are named."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from netcore.data import Dataset, Preprocessing, load_dataset, table_features
from netcore.data import table as tables
from netcore.errors import DataError


def frame(rows: int = 90) -> pd.DataFrame:
    """Make a table: numbers with gaps, whole numbers, texts with gaps, yes and no, and a target."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "length": rng.standard_normal(rows) * 3 + 10,
            "age": rng.integers(20, 70, rows),
            "colour": rng.choice(["red", "green", "blue, light"], rows),
            "fresh": rng.integers(0, 2, rows) == 1,
            "kind": np.array(["ash", "beech", "oak"])[np.arange(rows) % 3],
        }
    )
    made.loc[::7, "length"] = np.nan
    made.loc[3::11, "colour"] = None
    return made


def write(folder: Path, made: pd.DataFrame, suffix: str = ".csv") -> Path:
    """Write a table as CSV or Parquet."""
    path = folder / f"trees{suffix}"
    if suffix == ".csv":
        made.to_csv(path, index=False)
    else:
        made.to_parquet(path)
    return path


def load(path: Path, **keys: Any) -> Dataset:  # noqa: ANN401
    """Load a table."""
    return load_dataset("table", **{"path": str(path), "target": "kind", "validation": 0.2, "seed": 0, **keys})


def refusal(path: Path, **keys: Any) -> str:  # noqa: ANN401
    """Return the one printable line with which a table is refused, without its folder."""
    with pytest.raises(DataError) as refused:
        load(path, **keys)
    line = str(refused.value)
    assert line.isprintable()
    return line.replace(f"{path.parent}/", "")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns(tmp_path: Path, suffix: str) -> None:
    """Numbers are a column each, categories one for each value and one for unknown; the target is the class."""
    dataset = load(write(tmp_path, frame(), suffix))
    assert dataset.feature_names == (
        *("length", "age"),
        *("colour=blue, light", "colour=green", "colour=red", "colour: unknown"),
        *("fresh=False", "fresh=True", "fresh: unknown"),
    )
    assert dataset.class_names == ("ash", "beech", "oak")
    assert [len(y) for y in (dataset.y_train, dataset.y_val, dataset.y_test)] == [54, 18, 18]
    assert dataset.X_train.dtype == np.float32
    np.testing.assert_allclose(dataset.X_train[:, :2].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.X_train[:, :2].std(axis=0), 1, atol=1e-5)
    for columns in (slice(2, 6), slice(6, 9)):
        assert np.all(dataset.X_test[:, columns].sum(axis=1) == 1)
    assert dataset.X_train[:, 5].sum() > 0
    assert dataset.notes == ()


def test_csv_and_parquet_are_the_same_data(tmp_path: Path) -> None:
    """The digest is that of the data, not of the file's format."""
    assert load(write(tmp_path, frame())).digest == load(write(tmp_path, frame(), ".parquet")).digest


def test_a_column_that_turns_into_texts_is_text(tmp_path: Path) -> None:
    """A column of a long CSV that begins with numbers or gaps and turns into texts is text, as the file spells it."""
    made = frame(300_000)
    made["mixed"] = [f"{row % 100}.50" if row < 150_000 else f"n{row % 5}" for row in range(300_000)]
    made["late"] = [None if row < 200_000 else "x" if row % 2 else "y" for row in range(300_000)]
    X = tables.read_table(write(tmp_path, made), "kind").X
    assert isinstance(X, pd.DataFrame)
    assert X["mixed"].tolist() == made["mixed"].tolist()
    assert X["late"].isna().sum() == 200_000
    assert list(X["late"].cat.categories) == ["x", "y"]


def fitted(made: pd.DataFrame) -> tuple[Preprocessing, pd.DataFrame]:
    """Fit on the first sixty rows of a table as it is read, and pass its figures through files."""
    features = made.drop(columns="kind").astype({"fresh": str})
    whole = table_features.fit(features, np.arange(60))
    arrays = {name: np.frombuffer(array.tobytes()) for name, array in whole.arrays.items()}
    return Preprocessing(json.loads(json.dumps(whole.facts)), arrays), features


def transformed(features: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Do the same with scikit-learn's transformers alone; unknown is where no category is."""
    numbers, texts = ["length", "age"], ["colour", "fresh"]
    train = features.iloc[:60]
    columns = [train[[name]].dropna() for name in texts]
    steps = [(name, make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), [name]) for name in numbers]
    parts = [ColumnTransformer(steps).fit(train).transform(features)]
    for name, column in zip(texts, columns, strict=True):
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(column).transform(features[[name]])
        parts += [one_hot, 1 - one_hot.sum(axis=1, keepdims=True)]
    return np.column_stack(parts)


def test_the_applier_is_the_transformers_to_the_bit() -> None:
    """On all rows, those with unseen and missing values included, plain figures give what the transformers give."""
    made = frame()
    made.loc[70, "colour"] = "violet"
    made["length"] *= 1e30
    figures, features = fitted(made)
    assert table_features.apply(figures, features, np.float64).tobytes() == transformed(features).tobytes()


def test_new_rows_come_as_they_are(tmp_path: Path) -> None:
    """Raw rows, with other columns, another order, all missing or unseen, become the matrix that training saw."""
    path = write(tmp_path, frame())
    dataset = load(path)
    raw = pd.read_csv(path)
    matrix = table_features.apply(dataset.preprocessing, raw[["kind", "fresh", "colour", "age", "length"]])
    assert {row.tobytes() for row in dataset.X_test} <= {row.tobytes() for row in matrix}
    empty = pd.DataFrame({"length": [None], "age": [None], "colour": [7], "fresh": [None]})
    row = table_features.apply(dataset.preprocessing, empty, np.float64)[0]
    arrays = dataset.preprocessing.arrays
    assert row[:2].tolist() == ((arrays["median"] - arrays["mean"]) / arrays["scale"]).tolist()
    assert row[2:].tolist() == [0, 0, 0, 1, 0, 0, 1]
    with pytest.raises(DataError, match=r"column 'length': must hold numbers, got "):
        table_features.apply(dataset.preprocessing, raw.assign(length="long"))
    with pytest.raises(DataError, match=r"column 'age': is missing; did you mean 'aged'\?"):
        table_features.apply(dataset.preprocessing, raw.rename(columns={"age": "aged"}))


def test_only_the_training_part_is_fitted(tmp_path: Path) -> None:
    """A value that stands in a test row alone moves no figure and makes no category."""
    made = frame()
    before = load(write(tmp_path, made))
    rows = [
        row
        for row in range(90)
        if table_features.apply(before.preprocessing, made)[row].tobytes() in {row.tobytes() for row in before.X_test}
    ]
    made.loc[rows[0], "length"] = 1e6
    made.loc[rows[0], "colour"] = "violet"
    after = load(write(tmp_path, made))
    assert after.X_train.tobytes() == before.X_train.tobytes()
    assert after.feature_names == before.feature_names
    assert after.digest != before.digest


def test_a_column_of_one_value_is_left_out_and_said(tmp_path: Path) -> None:
    """Constant, empty, or a number that is constant but for gaps: such columns go, with a note for each.

    The notes are part of the digest, and where the file lies is not.
    """
    made = frame().assign(same=7, text="x", empty=None, gaps=[1.0, np.nan] * 45)
    (tmp_path / "elsewhere").mkdir()
    assert load(write(tmp_path, made)).digest == load(write(tmp_path / "elsewhere", made)).digest
    dataset = load(write(tmp_path, made))
    assert dataset.feature_names == load(write(tmp_path, frame())).feature_names
    assert [note.partition("column ")[2] for note in dataset.notes] == [
        f"{name!r} has one value in all training rows and is left out" for name in ("same", "text", "empty", "gaps")
    ]


@pytest.mark.parametrize(
    ("values", "names"),
    [([1, 2, 10], ("1", "2", "10")), ([0.0, 1.0, 2.0], ("0", "1", "2")), (["b", "10", "a"], ("10", "a", "b"))],
)
def test_targets(tmp_path: Path, values: list[Any], names: tuple[str, ...]) -> None:
    """Whole numbers are classes in their own order, texts in the alphabet's."""
    made = frame().assign(kind=np.array(values, object)[np.arange(90) % 3])
    assert load(write(tmp_path, made)).class_names == names


CSV = "length,colour,kind\n" + "".join(f"{row}.5,{'rg'[row % 2]},{'ab'[row // 2 % 2]}\n" for row in range(40))
BAD_CSV: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "trees.csv: is empty; a table begins with a line of column names"),
    "no rows": ("length,kind\n", "trees.csv: must have rows, got none; is this the right file?"),
    "not UTF-8": (
        CSV.replace("3.5,g", "3.5,grün").encode("latin-1"),
        "trees.csv: must be UTF-8 text, got byte 0xfc; save it again as UTF-8",
    ),
    "another column": (
        CSV.replace("9.5,g", "9.5,g,x"),
        "cannot be read as CSV (Error tokenizing data. C error: Expected",
    ),
    "a quote left open": (CSV.replace("\n5.5,g", '\n5.5,"g'), "cannot be read as CSV ("),
    "two of a name": (CSV.replace("colour", "length"), "trees.csv: has two columns named 'length'; rename one of them"),
    "infinity": (
        CSV.replace("\n7.5", "\ninf"),
        "trees.csv: column 'length': numbers must be finite or missing, got 1 infinite values, the first in row 8;",
    ),
    "no target": (CSV.replace(",kind", ",kin"), "has no column data.target = 'kind'; did you mean 'kin'?"),
    "missing target": (
        CSV.replace("\n6.5,r,b", "\n6.5,r,"),
        "column 'kind': the target must have a value in every row, got 1 missing values, the first in row 7;",
    ),
    "amounts": (
        CSV.replace(",a\n", ",1.5\n").replace(",b\n", ",2.5\n"),
        "column 'kind': classes must be whole numbers or texts, got 1.5 in row 1; netcore does classification only",
    ),
    "a rare class": (CSV.replace("0.5,r,a\n", "0.5,r,c\n", 1), "each part (class 'c' has"),
    "nothing to learn from": (
        "kind\n" + "a\nb\n" * 20,
        "trees.csv: must have a column besides the target; there is nothing to learn from",
    ),
    "one value": (
        "x,kind\n" + "1,a\n1,b\n" * 20,
        "trees.csv: must have a column with more than one value, got none; there is nothing to learn",
    ),
    "free text": (
        "x,kind\n" + "".join(f"text {row},{'ab'[row % 2]}\n" for row in range(3000)),
        "column 'x': a column of texts may have at most 1000 different values, got 1800; leave it out with",
    ),
    "free text as target": (
        "x,kind\n" + "".join(f"{row},text {row}\n" for row in range(3000)),
        "column 'kind': the target may have at most 1000 classes, got 3000 different values; is this the right column?",
    ),
}


@pytest.mark.parametrize("what", BAD_CSV)
def test_bad_csv(tmp_path: Path, what: str) -> None:
    """One line that names the file, the row or column, and the remedy."""
    content, said = BAD_CSV[what]
    path = tmp_path / "trees.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in refusal(path)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"drop": ("kind",)}, "column 'kind' is the target and also in data.drop; remove it from drop"),
        ({"drop": ("color",)}, "has no column data.drop = 'color'; did you mean 'colour'?"),
    ],
)
def test_bad_columns(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    """A column that is not there is answered with the nearest names."""
    assert refusal(write(tmp_path, frame()), **keys) == f"trees.csv: {said}"


def test_a_target_of_half_precision(tmp_path: Path) -> None:
    """Classes may be floats of any size; the bounds of whole numbers do not overflow (a warning would be an error)."""
    path = write(tmp_path, frame().assign(kind=np.arange(90) % 3), ".parquet")
    digest = load(path).digest
    pd.read_parquet(path).astype({"kind": np.float16}).to_parquet(path)
    assert load(path).digest == digest


def test_bad_parquet(tmp_path: Path) -> None:
    """Empty, truncated or another format: one line; a column of dates or lists: its name."""
    path = write(tmp_path, frame(), ".parquet")
    whole = path.read_bytes()
    for content in (b"", whole[:-1], CSV.encode()):
        path.write_bytes(content)
        assert refusal(path).startswith("trees.parquet: cannot be read as Parquet (")
    write(tmp_path, frame().assign(day=pd.Timestamp("2000-01-01")), ".parquet")
    assert refusal(path) == (
        "trees.parquet: column 'day': must hold numbers, texts or booleans, got Timestamp in row 1;"
        " leave it out with data.drop"
    )
    write(tmp_path, frame().assign(list=pd.Series([[1, 2]] * 90, dtype=object)), ".parquet")
    assert refusal(path).startswith("trees.parquet: column 'list': must hold numbers, texts or booleans")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    """A folder is answered as one."""
    assert "must be a file, .csv or .parquet, got a folder" in refusal(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is asked of Linux")
def test_a_large_table_in_little_memory(tmp_path: Path) -> None:
    """200,000 rows of 50 columns: a peak of memory of at most four times the file."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.standard_normal((200_000, 49)), columns=[f"x{n}" for n in range(49)])
    path = write(tmp_path, made.assign(kind=rng.choice(["a", "b"], 200_000)))
    code = (
        "import sys; from netcore.data import load_dataset;"
        "load_dataset('table', path=sys.argv[1], target='kind', validation=0.2, seed=0);"
        # Not getrusage: that of a new process begins with the size of the one that has started it.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True, env=os.environ
    )
    assert 1024 * int(done.stdout) <= 4 * path.stat().st_size
