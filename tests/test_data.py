"""Claims about netcore.data: the split is stratified and seeded, the scale is the training part's, the digest whole."""

import dataclasses
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netcore.data import Dataset, Preprocessing, load_dataset, prepare
from netcore.data.dataset import FloatArray, RawData, digest_of
from netcore.errors import DataError

SHARES: dict[str, Any] = {"validation": 0.2, "test": 0.2, "seed": 0}
PARTS = ("train", "val", "test")
REFUSED = (
    r"{}: cannot be split so that every class is in each part \([^\n]*\)"
    "; set larger or smaller shares for data.validation and data.test"
)


@cache
def loaded(source: str) -> Dataset:
    """Load a data set with the default shares, once."""
    return load_dataset(source, validation=0.2, test=0.2, seed=0)


def toy(counts: tuple[int, ...] = (30, 20, 10), *, seed: int = 0) -> RawData:
    """Draw features for so many rows of each class."""
    y = np.repeat(np.arange(len(counts)), counts)
    X = 3.0 + 5.0 * np.random.default_rng(seed).standard_normal((len(y), 4))
    names = tuple("abcdefgh"[: len(counts)])
    return RawData("toy", X, y, names, ("p", "q", "r", "s"), None)


def parts(dataset: Dataset) -> list[tuple[FloatArray, Any]]:
    """Return features and labels of the three parts."""
    return [(getattr(dataset, f"X_{part}"), getattr(dataset, f"y_{part}")) for part in PARTS]


@pytest.mark.parametrize(
    ("source", "rows", "inputs", "classes", "image"),
    [("digits", (1079, 359, 359), 64, 10, (8, 8, 1)), ("iris", (90, 30, 30), 4, 3, None)],
)
def test_shapes(
    source: str, rows: tuple[int, ...], inputs: int, classes: int, image: tuple[int, int, int] | None
) -> None:
    """Every row is in one of the three parts; sizes, names and image shape are those of the data set."""
    dataset = loaded(source)
    assert [X.shape for X, _ in parts(dataset)] == [(n, inputs) for n in rows]
    assert [y.shape for _, y in parts(dataset)] == [(n,) for n in rows]
    assert (dataset.input_size, dataset.classes, dataset.image_shape) == (inputs, classes, image)
    assert len(dataset.feature_names) == inputs
    assert dataset.name == source
    assert all(X.dtype == np.float32 and X.flags.c_contiguous for X, _ in parts(dataset))


def test_stratified() -> None:
    """Each class has its share of every part, to within two rows."""
    dataset = loaded("digits")
    everything = np.concatenate([y for _, y in parts(dataset)])
    shares = np.bincount(everything) / len(everything)
    for _, y in parts(dataset):
        assert np.abs(np.bincount(y, minlength=dataset.classes) - shares * len(y)).max() < 2


def test_every_row_is_used_once() -> None:
    """The parts are disjoint and together the whole: no row is lost, none is in two parts."""
    raw = toy()
    raw = raw._replace(X=np.column_stack([raw.X, np.arange(60.0)]), feature_names=("p", "q", "r", "s", "number"))
    dataset = prepare(raw, validation=0.2, test=0.3, seed=5, dtype=np.float64)
    numbers = np.concatenate([X[:, 4] for X, _ in parts(dataset)])
    scale = np.diff(np.sort(numbers))
    np.testing.assert_allclose(scale, scale[0])
    order = np.argsort(numbers)
    np.testing.assert_array_equal(np.concatenate([y for _, y in parts(dataset)])[order], raw.y)
    assert [len(y) for _, y in parts(dataset)] == [30, 12, 18]


def drawn(seed: int) -> list[list[int]]:
    """Return the numbers of the rows that a seed puts into training, validation and test, of 60 rows."""
    numbered = toy()._replace(X=np.tile(np.arange(60.0)[:, None], 4))
    tagged = [X[:, 0] for X, _ in parts(prepare(numbered, validation=0.2, test=0.2, seed=seed, dtype=np.float64))]
    everything = np.sort(np.concatenate(tagged))
    return [np.searchsorted(everything, part).tolist() for part in tagged]


@pytest.mark.parametrize("part", ["val", "test"])
def test_the_scale_knows_nothing_of_the_other_parts(part: str) -> None:
    """Other figures in the validation or test rows change those rows alone: the training rows stay to the bit."""
    raw = toy()
    before = prepare(raw, **SHARES)
    rows = drawn(0)[PARTS.index(part)]
    changed = raw.X.copy()
    changed[rows] = 1e6
    after = prepare(raw._replace(X=changed), **SHARES)
    assert after.X_train.tobytes() == before.X_train.tobytes()
    assert getattr(after, f"X_{part}").min() > 1e4
    assert after.digest != before.digest


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(Dataset) if field.name not in {"digest", "path"}]
)
def test_the_digest_covers_every_field(field: str) -> None:
    """Each field of a data set is part of its digest."""
    dataset = loaded("wine")
    value = getattr(dataset, field)
    other: Any = value + 1 if isinstance(value, np.ndarray) else "other"
    if isinstance(value, Preprocessing):
        other = Preprocessing(value.facts, {**value.arrays, "scale": value.arrays["scale"] * 2})
    if field == "others":
        other = (loaded("iris"),)
    assert digest_of(dataset) == dataset.digest
    assert digest_of(dataclasses.replace(dataset, **{field: other})) != dataset.digest


@settings(max_examples=10)
@given(st.integers(0, 2**63 - 1))
def test_the_split_is_a_function_of_its_seed(seed: int) -> None:
    """The same seed draws the same rows, another seed draws others for every part."""
    one, other = drawn(seed), drawn((seed + 1) % 2**63)
    assert drawn(seed) == one
    assert all(set(rows) != set(others) for rows, others in zip(one, other, strict=True))


def test_the_split_leaves_the_global_generator_alone() -> None:
    """Preparing data draws nothing from NumPy's global generator and does not depend on it."""
    np.random.seed(1)  # noqa: NPY002  # the global state is what must not matter
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    first = prepare(toy(), **SHARES).digest
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert prepare(toy(), **SHARES).digest == first


@pytest.mark.parametrize("few", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_every_class_is_in_every_part_or_it_is_refused(few: int, seed: int) -> None:
    """A class with too few rows for three parts is a DataError of one line; else each part has rows of each class."""
    refused, seen = "", []
    try:
        dataset = prepare(toy((60, 40, few), seed=seed), validation=0.2, test=0.2, seed=seed)
        seen = [set(y.tolist()) for _, y in parts(dataset)]
    except DataError as error:
        refused = str(error)
    assert seen in ([], [{0, 1, 2}] * 3)
    if few >= 3:
        assert not refused
    if refused:
        assert re.fullmatch(REFUSED.format("toy"), refused)


@pytest.mark.parametrize(("validation", "test"), [(0.001, 0.2), (0.2, 0.001), (0.49, 0.5)])
def test_shares_that_leave_a_part_too_small(validation: float, test: float) -> None:
    """A part with fewer rows than classes, an empty one included, is a DataError of one line."""
    with pytest.raises(DataError) as caught:
        load_dataset("iris", validation=validation, test=test, seed=0)
    assert re.fullmatch(REFUSED.format("iris"), str(caught.value))
    assert caught.value.exit_code == 2
