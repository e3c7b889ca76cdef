"""Claims about model.npz: raw rows give the study's own numbers to the bit, and no file is taken for what it is not."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formats import npy, pixels, write_idx
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TREE_KEYS, TREES, trained

from netcore.archive import pack, unpack
from netcore.core import Params, probabilities
from netcore.data import Preprocessing
from netcore.data.sources import read_source
from netcore.errors import DataError, RecordError
from netcore.final.model import Model, read_model

CASES: dict[str, dict[str, Any]] = {
    "mean image": {"source": "digits", "standardize": "pixel-mean", "seed": 1},
    "as they are, float64": {"source": "wine", "standardize": "none", "dtype": "float64", "seed": 2},
    "no hidden units": {"source": "digits", "hidden_size": 0},
    "table": {"source": "table", **TREE_KEYS},
}


@pytest.fixture(scope="module")
def digits() -> Model:
    """Return a net that reads digits."""
    return trained("digits")[0]


@pytest.fixture(scope="module")
def trees() -> Model:
    """Return a net that tells trees apart."""
    return trained("table", **TREE_KEYS)[0]


@pytest.mark.parametrize("case", CASES)
def test_raw_rows_give_the_studys_numbers_to_the_bit(case: str) -> None:
    """Probabilities of raw rows are those of the rows as the study prepared them, bit for bit, read back or not."""
    keys = dict(CASES[case])
    model, dataset = trained(**keys)
    raw = read_source(**{key: keys[key] for key in ("source", *TREE_KEYS) if key in keys}).X
    again = Model.from_bytes(model.to_bytes(), "here")
    place = {row.tobytes(): number for number, row in enumerate(model.prepared(raw))}
    for X in (dataset.X_train, dataset.X_val, dataset.X_test):
        order = [place[row.tobytes()] for row in X]
        rows = raw[order] if isinstance(raw, np.ndarray) else raw.iloc[order]
        expected = probabilities(model.params, X)
        for each in (model, again):
            found = each.probabilities(rows)
            assert found.dtype == expected.dtype
            assert found.tobytes() == expected.tobytes()


def test_pictures_of_an_official_test_set_give_its_numbers(tmp_path: Path) -> None:
    """IDX pictures, as they come, give the probabilities of the prepared test part in its order."""
    write_idx(tmp_path / "idx", rows=60)
    model, dataset = trained("idx", path=str(tmp_path / "idx"))
    expected = probabilities(model.params, dataset.X_test).tobytes()
    assert model.probabilities(pixels(12, 4, 3, seed=12)).tobytes() == expected


def test_a_file_read_back_is_the_same_model(digits: Model) -> None:
    """Everything survives, and writing it again gives the same bytes."""
    again = Model.from_bytes(digits.to_bytes(), "here")
    assert again.to_bytes() == digits.to_bytes()
    for name in ("class_names", "feature_names", "image_shape", "facts"):
        assert getattr(again, name) == getattr(digits, name)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(again.params, digits.params, strict=True))


def test_the_file_opens_with_numpy_alone(digits: Model, tmp_path: Path) -> None:
    """It is an .npz of four arrays, what was fitted, and JSON, no pickle; its last 64 bytes are its checksum."""
    path = tmp_path / "model.npz"
    path.write_bytes(digits.to_bytes())
    content = path.read_bytes()
    assert hashlib.sha256(content[:-64]).hexdigest().encode() == content[-64:]
    with np.load(path, allow_pickle=False) as file:
        assert set(file) == {*Params._fields, "model.json"} | {
            f"preprocessing.{name}" for name in ("json", "mean", "scale")
        }
        assert file["W1"].shape == (64, 8)
        about = json.loads(file["model.json"])
    assert about["facts"]["confirmed"]["seeds"] == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64, bool])
def test_rows_may_come_in_any_shape_and_type(digits: Model, dtype: type) -> None:
    """Flat rows, pictures, pictures with their channel, and tables of the features' columns give the same numbers."""
    flat: Any = pixels(5, 64).astype(dtype)
    expected = digits.probabilities(flat).tobytes()
    frame = pd.DataFrame(flat, columns=list(digits.feature_names))
    frame = frame[frame.columns[::-1]].assign(label="0")
    for rows in (flat.reshape(5, 8, 8), flat.reshape(5, 8, 8, 1), np.asfortranarray(flat), frame):
        assert digits.probabilities(rows).tobytes() == expected


def test_no_rows_give_no_probabilities(digits: Model) -> None:
    """An empty array of the right width is no mistake."""
    assert digits.probabilities(np.empty((0, 64))).shape == (0, 10)


def test_missing_values_and_new_categories_are_answered(trees: Model) -> None:
    """Of a table, any cell may be missing, and a category may be one that training never saw."""
    rows = pd.DataFrame([dict.fromkeys(trees.columns), {**dict.fromkeys(trees.columns), "bark": "blue"}])
    found = trees.probabilities(rows)
    assert np.allclose(found.sum(axis=1), 1)
    assert found[0].tobytes() == found[1].tobytes()


def table(**changes: Any) -> pd.DataFrame:  # noqa: ANN401
    """Return the first rows of the trees, with changes."""
    return pd.read_csv(TREES).head(3).assign(**changes)


def far(number: float) -> np.ndarray[Any, Any]:
    """Return two rows, the second with a number of one's choice."""
    rows = np.zeros((2, 64))
    rows[1, 3] = number
    return rows


NOT_FINITE = (
    "rows: must be finite numbers that float32 can hold, got 1 that are not, the first in {}; "
    "remove these rows, or fill them in"
)


def tiny(weight: float = 0.0) -> Model:
    """Return a net of one input, one hidden unit and two classes."""
    weights = np.full((1, 1), weight)
    params = Params(weights, np.zeros(1), np.repeat(weights, 2, axis=1), np.zeros(2))
    return Model(params, Preprocessing(), ("a", "b"), ("x",), None, {})


def test_numbers_too_large_for_the_net_are_refused() -> None:
    """Finite rows whose scores are not finite are refused: a probability is never NaN."""
    with pytest.raises(DataError, match=r"rows: must have numbers of the same size as in training, got 1 .* row 2"):
        tiny(1e200).probabilities(np.array([[0.0], [1.0]]))


REFUSED: dict[str, tuple[str, object, str]] = {
    "narrow": (
        "digits",
        np.zeros((2, 63)),
        "rows: must have 64 columns, or be images of shape (8, 8), got an array of shape (2, 63)",
    ),
    "texts": ("digits", np.full((2, 64), "a"), "rows: must be numbers, got <U1"),
    "NaN": ("digits", far(np.nan), NOT_FINITE.format("row 2, pixel_0_3")),
    "too large for the type": ("digits", far(1e200), NOT_FINITE.format("row 2, pixel_0_3")),
    "a table without columns": (
        "digits",
        pd.DataFrame({"pixel_0": [1], "pixel_0_1": [2]}),
        "column 'pixel_0_0': is missing; did you mean 'pixel_0'?",
    ),
    "an array": (
        "trees",
        np.zeros((2, 7)),
        (
            "rows: must be a table with the columns 'height_m', 'girth_cm', 'density', 'leaf_cm', 'bark', 'soil', "
            "'felled', got an array"
        ),
    ),
    "a misspelt column": (
        "trees",
        table().rename(columns={"height_m": "heigth_m"}),
        "column 'height_m': is missing; did you mean 'heigth_m'?",
    ),
    "text among numbers": (
        "trees",
        table(height_m=[1.5, "tall", None]),
        "column 'height_m': must hold numbers, got 'tall' in row 2",
    ),
    "infinity": ("trees", table(density=[0.5, 0.6, np.inf]), NOT_FINITE.format("row 3, density")),
    "two columns of one name": (
        "trees",
        pd.concat([table(), table()[["bark"]]], axis=1),
        "columns: must have different names; rename them",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_do_not_fit_are_refused(digits: Model, trees: Model, case: str) -> None:
    """The first line names what is wrong, how much of it, and where it begins."""
    name, rows, line = REFUSED[case]
    with pytest.raises(DataError) as refused:
        {"digits": digits, "trees": trees}[name].probabilities(rows)  # type: ignore[arg-type]
    assert str(refused.value).splitlines()[0] == line


def test_a_truncated_or_altered_file_is_refused(digits: Model) -> None:
    """A file whose checksum does not hold is refused in one line with its remedy."""
    data = digits.to_bytes()
    for damaged in (b"", data[:1000], data[:-1], data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]):
        with pytest.raises(RecordError) as refused:
            Model.from_bytes(damaged, "m.npz")
        assert str(refused.value) == (
            "m.npz: is truncated or altered (its checksum does not hold); "
            "`netcore run` or `netcore confirm` makes it again"
        )


def members_of(model: Model) -> dict[str, Any]:
    """Return the members of a model's file, as bytes."""
    return unpack(model.to_bytes(), "here")


def about(model: Model, **changes: object) -> dict[str, bytes]:
    """Return a model's model.json with changes."""
    return {"model.json": json.dumps({**json.loads(members_of(model)["model.json"]), **changes}).encode()}


def fitted(model: Model, **changes: object) -> dict[str, bytes]:
    """Return a model's preprocessing.json with changes."""
    facts = json.loads(members_of(model)["preprocessing.json"])
    return {"preprocessing.json": json.dumps({**facts, **changes}).encode()}


HOSTILE: dict[str, Any] = {
    "another format": lambda m: about(m, format=2),
    "no JSON": lambda _: {"model.json": b"{"},
    "too many classes": lambda m: about(m, class_names=[*m.class_names, "x"]),
    "too few features": lambda m: about(m, feature_names=m.feature_names[1:]),
    "weights of another shape": lambda _: {"W1.npy": npy(np.zeros((64, 9), np.float32))},
    "a preparation that is a list": lambda _: {"preprocessing.json": b"[]"},
    "means of another length": lambda _: {"preprocessing.mean.npy": npy(np.zeros(63))},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_whole_file_with_other_content_is_refused(digits: Model, case: str) -> None:
    """A good checksum does not make a model: what does not belong together is refused in one line, nothing is run."""
    with pytest.raises(RecordError) as refused:
        Model.from_bytes(pack({**members_of(digits), **HOSTILE[case](digits)}), "m.npz")
    line = str(refused.value)
    assert line.startswith("m.npz: does not contain a model (")
    assert "\n" not in line
    assert len(line) < 500


@pytest.mark.parametrize("name", ["model.json", "W1.npy", "preprocessing.json"])
def test_a_file_without_a_member_is_refused(digits: Model, name: str) -> None:
    """Each member is needed."""
    members = members_of(digits)
    del members[name]
    with pytest.raises(RecordError, match="does not contain a model"):
        Model.from_bytes(pack(members), "m.npz")


def test_a_table_with_other_columns_is_refused(trees: Model) -> None:
    """The fitted columns must give the net's own features."""
    columns = [*trees.preprocessing.facts["columns"]]
    columns[4] = {"name": "bark", "kind": "category", "categories": ["a"]}
    with pytest.raises(RecordError, match="does not contain a model"):
        Model.from_bytes(pack({**members_of(trees), **fitted(trees, columns=columns)}), "m.npz")


@settings(max_examples=50)
@given(content=st.binary(max_size=200), name=st.sampled_from(["model.json", "W1.npy", "preprocessing.json"]))
def test_no_content_is_more_than_a_refusal(content: bytes, name: str) -> None:
    """Whatever bytes stand in a member, the answer is one line."""
    with pytest.raises(RecordError) as refused:
        Model.from_bytes(pack({**members_of(tiny()), name: content}), "m.npz")
    assert "\n" not in str(refused.value)


def test_what_json_cannot_hold_is_not_written(digits: Model) -> None:
    """A fact that is NaN is refused when the file is made, not when it is read."""
    model = Model(digits.params, digits.preprocessing, digits.class_names, digits.feature_names, None, {"x": np.nan})
    with pytest.raises(ValueError, match="JSON"):
        model.to_bytes()


def test_a_model_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in the place of the file is refused."""
    with pytest.raises(RecordError, match="cannot be read"):
        read_model(tmp_path)


def test_numpy_is_all_that_an_array_model_needs() -> None:
    """Importing the module brings neither pandas nor MLflow, Optuna or scikit-learn; it brings nothing unknown."""
    code = (
        "import sys, numpy.random; before = {*sys.modules}; import netcore.final.model;"
        "names = {name.partition('.')[0] for name in {*sys.modules} - before};"
        "print(sorted(names - {*sys.stdlib_module_names, 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['filelock', 'netcore', 'platformdirs']\n"
