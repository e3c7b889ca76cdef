"""Whatever happens to a file of data, its reader gives data or one line of netcore's own: no other error, no call.

Ten damaged files of each format in every run; ten thousand with `make fuzz`.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formats import batch_file, damage, idx_file, pixels, write_cifar, write_idx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netcore.data import load_dataset
from netcore.errors import DataError

X, Y = np.random.default_rng(0).standard_normal((30, 2)), np.arange(30) % 3
FRAME = pd.DataFrame({"a": X[:, 0], "b": np.array(["x", "y", "z"])[Y], "kind": Y})


def npz() -> bytes:
    """Write a packed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=X, y=Y)
    return buffer.getvalue()


def npy(array: Any) -> bytes:  # noqa: ANN401
    """Write an .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def parquet() -> bytes:
    """Write a Parquet file."""
    buffer = io.BytesIO()
    FRAME.to_parquet(buffer)
    return buffer.getvalue()


def arrays_folder(folder: Path) -> Path:
    """Write two .npy files."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", Y)
    return folder


TABLE: dict[str, Any] = {"target": "kind"}
FORMATS: dict[str, tuple[str, Callable[[Path], object], str, bytes, dict[str, Any]]] = {
    "idx": ("idx", lambda f: write_idx(f, packed=False), "train-images-idx3-ubyte", idx_file(pixels(30, 4, 3)), {}),
    "idx.gz": ("idx", write_idx, "train-labels-idx1-ubyte.gz", b"", {}),
    "cifar10 py": (
        "cifar10",
        lambda f: write_cifar(f, rows=20),
        "data_batch_1",
        batch_file(pixels(3, 3072), [1, 2, 3]),
        {},
    ),
    "cifar10 bin": ("cifar10", lambda f: write_cifar(f, rows=20, binary=True), "data_batch_1.bin", b"", {}),
    "packed npz": ("arrays", lambda f: f.mkdir(exist_ok=True), "x.npz", npz(), {}),
    "npy": ("arrays", arrays_folder, "X.npy", npy(X), {}),
    "npy labels": ("arrays", arrays_folder, "y.npy", npy(np.array(["a", "b", "c"])[Y]), {}),
    "csv": ("table", lambda f: f.mkdir(exist_ok=True), "x.csv", FRAME.to_csv(index=False).encode(), TABLE),
    "parquet": ("table", lambda f: f.mkdir(exist_ok=True), "x.parquet", parquet(), TABLE),
}
"""By name: the source, what writes its folder, the file that is damaged, what it holds, and the source's keys."""


def check(name: str, folder: Path, data: st.DataObject) -> None:
    """Damage one file and load."""
    source, write, file, content, keys = FORMATS[name]
    root = folder / "data"
    if not root.exists():
        write(root)
        (folder / "whole").write_bytes(content or (root / file).read_bytes())
    path = root / file
    path.write_bytes(damage((folder / "whole").read_bytes(), data))
    whole = path if path.suffix in {".npz", ".csv", ".parquet"} else root
    try:
        load_dataset(source, path=str(whole), validation=0.2, seed=0, **keys)
    except DataError as error:
        assert str(error).isprintable()  # noqa: PT017  # both ends are right, and the line must be


HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, derandomize=True, max_examples=10, suppress_health_check=HEALTH)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Ten damaged files of each format: data, or one printable line."""
    check(name, tmp_path, data)


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, max_examples=10_000, suppress_health_check=HEALTH, database=None)
@given(data=st.data())
def test_ten_thousand_damaged_files_are_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Ten thousand damaged files of each format: data, or one printable line."""
    check(name, tmp_path, data)


@pytest.mark.parametrize("name", FORMATS)
def test_the_whole_file_is_read(tmp_path: Path, name: str) -> None:
    """What is damaged above is right before, or the claims above would say nothing."""
    source, write, file, content, keys = FORMATS[name]
    write(tmp_path / "data")
    path = tmp_path / "data" / file
    if content and name != "cifar10 py":
        path.write_bytes(content)
    whole = path if path.suffix in {".npz", ".csv", ".parquet"} else tmp_path / "data"
    assert load_dataset(source, path=str(whole), validation=0.2, seed=0, **keys).classes >= 3
