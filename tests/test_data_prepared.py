"""Claims about netcore.data.prepared: what is mapped is what was prepared, and nothing remains after a run."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import netcore_command

from netcore.data import Dataset, load_dataset
from netcore.data.prepared import open_dataset, prepared, spill
from netcore.errors import DataError, WorkError

ROOT = Path(__file__).parents[1]
TREES = str(ROOT / "studies/data/trees.csv")
PARTS = ("X_train", "y_train", "X_val", "y_val", "X_test", "y_test")

CASES: dict[str, Callable[..., Dataset]] = {
    "numbers": partial(load_dataset, "iris", seed=0),
    "pictures": partial(load_dataset, "digits", seed=0, standardize="pixel-mean", dtype="float64"),
    "folds of a table": partial(load_dataset, "table", path=TREES, target="species", seed=0, folds=4),
}

HOLD = """
import sys
from netcore.data import load_dataset
from netcore.data.prepared import prepared

with prepared(lambda put: load_dataset("iris", seed=0, put=put)) as dataset:
    print(dataset.path, flush=True)
    sys.stdin.read()
"""
"""Prepares iris and holds it until its input ends."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a cache folder of the test's own."""
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def iris(put: Any) -> Dataset:  # noqa: ANN401
    """Prepare iris."""
    return load_dataset("iris", seed=0, put=put)


def content(dataset: Dataset) -> list[Any]:
    """Return everything that a data set holds, its arrays as type, shape and bytes."""
    told: list[Any] = []
    for fold in dataset.folds:
        for field in dataclasses.fields(Dataset):
            value = getattr(fold, field.name)
            if isinstance(value, np.ndarray):
                told.append((value.dtype.str, value.shape, value.tobytes()))
            elif field.name not in {"others", "path", "preprocessing"}:
                told.append(value)
        fitted = {name: (array.dtype.str, array.tobytes()) for name, array in fold.preprocessing.arrays.items()}
        told += [fold.preprocessing.facts, fitted]
    return told


@contextmanager
def holder() -> Iterator["tuple[subprocess.Popen[str], Path]"]:
    """Start a process that holds prepared data; yield it and their folder."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("case", CASES)
def test_prepared_data_are_those_in_memory(cache: Path, case: str) -> None:
    """Prepared data equal those in memory, bit for bit, in every process; they are mapped, and cannot change."""
    load = CASES[case]
    with prepared(lambda put: load(put=put)) as dataset:
        assert dataset.path is not None
        assert dataset.path.parent == cache
        assert content(dataset) == content(open_dataset(dataset.path)) == content(load())
        for fold in dataset.folds:
            for part in PARTS:
                array = getattr(fold, part)
                assert isinstance(array, np.memmap)
                assert not array.flags.writeable
                assert array.flags.c_contiguous


def test_nothing_remains(cache: Path) -> None:
    """At the end of a run the cache folder is empty; a process that has mapped the data keeps them."""
    with prepared(iris) as dataset:
        before = content(dataset)
    assert list(cache.iterdir()) == []
    assert content(dataset) == before


def test_a_failed_preparation_leaves_nothing(cache: Path) -> None:
    """Data that turn out to be unfit after some arrays were written are removed."""

    def prepare(put: Any) -> Dataset:  # noqa: ANN401
        iris(put)
        raise DataError.at("iris", "is not fit")

    with pytest.raises(DataError, match="iris: is not fit"), prepared(prepare):
        pass
    assert list(cache.iterdir()) == []


def test_the_data_of_a_killed_run_go_at_the_next_start(cache: Path) -> None:
    """The next run removes what a killed run left, and nothing that another run holds or that is not netcore's."""
    (cache / "mine").mkdir(parents=True)
    with holder() as (alive, held), holder() as (killed, left):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.is_dir()
        with prepared(iris) as dataset:
            assert not left.exists()
            assert {path for path in cache.iterdir() if path.is_dir()} == {held, dataset.path, cache / "mine"}
        alive.communicate()
    assert [path.name for path in cache.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["0.X_train.npy", "1.X_val.npy", "0.dataset.npz"])
def test_a_worker_that_finds_damaged_data_says_so(cache: Path, name: str) -> None:
    """Data that cannot be mapped are one line with the folder and the remedy."""
    with prepared(lambda put: load_dataset("iris", seed=0, folds=3, put=put)) as dataset:
        assert dataset.path is not None
        assert dataset.path.parent == cache
        (dataset.path / name).write_bytes(b"x")
        with pytest.raises(WorkError) as caught:
            open_dataset(dataset.path)
    remedy = "run the same command again: it prepares them again and continues"
    assert str(caught.value) == f"{dataset.path}: the prepared data are missing or damaged; {remedy}"


def test_spilled_files_have_no_name(cache: Path) -> None:
    """Unpacked bytes take space in the cache folder under no name; if unpacking fails, they are gone."""
    with spill(iter([b"ab", b"cd"])) as file:
        file.seek(0)
        assert file.read() == b"abcd"
        assert list(cache.iterdir()) == []

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise EOFError

    with pytest.raises(EOFError), spill(broken()):
        pass
    assert list(cache.iterdir()) == []


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 64 KiB at a folder."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)  # noqa: S607
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)  # noqa: S607


def refused(folder: Path, cwd: Path, **options: Any) -> str:  # noqa: ANN401
    """Run a study whose data cannot be written; return why. Nothing is trained, nothing remains."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it writes, too
    environment = {**plain, "NETCORE_CACHE": str(folder)}
    done = netcore_command("run", ROOT / "studies" / "digits.toml", cwd=cwd, env=environment, **options)
    assert (done.returncode, done.stdout) == (2, "")
    assert not (cwd / "results").exists()
    assert not folder.is_dir() or list(folder.iterdir()) == []
    start, end = f"error: {folder}: the prepared data cannot be written (", ")\n"
    remedy = "; free some space, or set NETCORE_CACHE to another folder\n"
    assert done.stderr.startswith(start)
    assert done.stderr.endswith(remedy)
    return done.stderr[len(start) : -len(remedy) - len(end) + 1]


def test_no_space(tmp_path: Path) -> None:
    """A full disk is one line, and nothing remains there."""
    with small_disk(tmp_path / "disk"):
        assert refused(tmp_path / "disk", tmp_path) == "No space left on device"


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    """A file in the place of the cache folder is one line."""
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file", tmp_path) == "File exists"
