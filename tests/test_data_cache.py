"""Claims about netcore.data.prepared: what is mapped is what was prepared, whole or not there."""

import dataclasses
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import netcore_command
from numpy.typing import DTypeLike, NDArray

from netcore.data import Dataset, load_dataset
from netcore.data.prepared import cache_folder, discard, open_dataset, spill, through_cache
from netcore.errors import DataError, WorkError

ROOT = Path(__file__).parents[1]
AGAIN = "run the same command again: it makes them anew and goes on where it stopped"
PARTS = ("X_train", "y_train", "X_val", "y_val", "X_test", "y_test")

CASES: dict[str, Callable[..., Dataset]] = {
    "numbers": partial(load_dataset, "iris", seed=0),
    "pictures": partial(load_dataset, "digits", seed=0, standardize="pixel-mean", dtype="float64"),
    "a table": partial(load_dataset, "table", path=str(ROOT / "studies/data/trees.csv"), target="species", seed=0),
    "folds": partial(load_dataset, "wine", seed=0, folds=3, standardize="none"),
    "folds of a table": partial(
        load_dataset, "table", path=str(ROOT / "studies/data/trees.csv"), target="species", seed=0, folds=4
    ),
}

PREPARE = """
import sys, time
from functools import partial
from pathlib import Path
from netcore.data import load_dataset
from netcore.data.prepared import through_cache

def slowly(put):
    def putting(*arguments):
        Path(sys.argv[1] + ".ready").touch()
        while not Path(sys.argv[2]).exists():
            time.sleep(0.001)
        return put(*arguments)
    return load_dataset("digits", seed=0, put=putting)

print(through_cache(slowly).digest)
"""
"""Prepares digits as soon as a file is there."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a cache of its own."""
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def iris(put: Any, *, seed: int = 0, folds: int | None = None) -> Dataset:  # noqa: ANN401
    """Prepare iris."""
    return load_dataset("iris", seed=seed, folds=folds, put=put)


def content(dataset: Dataset) -> list[Any]:
    """Give everything that a data set says, its arrays as type, shape and bytes."""
    told: list[Any] = []
    for fold in dataset.folds:
        for field in dataclasses.fields(Dataset):
            value = getattr(fold, field.name)
            if isinstance(value, np.ndarray):
                told.append((value.dtype.str, value.shape, value.tobytes()))
            elif field.name not in {"others", "path", "preprocessing"}:
                told.append(value)
        figures = {name: (array.dtype.str, array.tobytes()) for name, array in fold.preprocessing.arrays.items()}
        told += [fold.preprocessing.facts, figures]
    return told


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Give the files of a folder, each with what changes when it is written."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def age(path: Path, days: float) -> None:
    """Make a folder one that was last opened so many days ago."""
    then = time.time() - 24 * 3600 * days
    os.utime(path, (then, then))


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize("case", CASES)
def test_the_cache_gives_the_same_bits(cache: Path, case: str) -> None:
    """Data from the cache are those in memory, bit for bit, whoever opens them; they are mapped, and cannot change."""
    load = CASES[case]
    cached = through_cache(lambda put: load(put=put))
    assert cached.path is not None
    assert cached.path.parent == cache
    assert content(cached) == content(open_dataset(cached.path)) == content(load())
    for fold in cached.folds:
        for part in PARTS:
            array = getattr(fold, part)
            assert isinstance(array, np.memmap)
            assert not array.flags.writeable
            assert array.flags.c_contiguous


def test_parts_without_rows(cache: Path) -> None:
    """An array without elements is cached like any other: folds but the first have no test rows."""
    cached = through_cache(partial(iris, folds=2))
    assert cached.others[0].X_test.shape == (0, 4)
    assert cached.others[0].y_test.shape == (0,)
    assert [path.name for path in cache.iterdir()] == [cached.digest]


def test_a_second_run_writes_nothing_new(cache: Path) -> None:
    """Data that are in the cache already stay there as they are, and nothing is left beside them."""
    first = through_cache(iris)
    before = state(cache)
    assert content(through_cache(iris)) == content(first)
    assert state(cache) == before
    assert [path.name for path in cache.iterdir()] == [first.digest]


def test_other_data_have_a_place_of_their_own(cache: Path) -> None:
    """Each data set lies in a folder named by its digest."""
    digests = {through_cache(partial(iris, seed=seed)).digest for seed in range(3)}
    assert {path.name for path in cache.iterdir()} == digests
    assert len(digests) == 3


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(folder: Path, pattern: str) -> None:
    """Remove some files."""
    for path in folder.glob(pattern):
        path.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a bit of an array": lambda folder: flip(folder / "0.X_train.npy"),
    "a bit of a label of another fold": lambda folder: flip(folder / "1.y_val.npy"),
    "a fold less": lambda folder: remove(folder, "2.dataset.npz"),
    "a bit of the facts": lambda folder: flip(folder / "0.dataset.npz"),
    "an array cut short": lambda folder: os.truncate(folder / "0.X_train.npy", 500),
    "an empty array": lambda folder: os.truncate(folder / "0.X_val.npy", 0),
    "no array": lambda folder: remove(folder, "0.X_test.npy"),
    "no facts": lambda folder: remove(folder, "*.npz"),
    "nothing in it": lambda folder: remove(folder, "*"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_are_made_anew(cache: Path, damage: str) -> None:
    """Whatever is wrong with data in the cache, the next run replaces them; who has mapped them is not disturbed."""
    prepare = partial(iris, folds=3)
    whole = content(load_dataset("iris", seed=0, folds=3))
    path = through_cache(prepare).path
    assert path is not None
    DAMAGES[damage](path)
    assert content(through_cache(prepare)) == whole
    assert [entry.name for entry in cache.iterdir()] == [path.name]


@pytest.mark.parametrize("damage", list(DAMAGES)[3:])
def test_a_worker_that_finds_no_whole_data_says_so(cache: Path, damage: str) -> None:
    """A worker does not read all of the data to see whether they are whole; what it cannot map is said in one line."""
    path = through_cache(partial(iris, folds=3)).path
    assert path is not None
    assert path.parent == cache
    DAMAGES[damage](path)
    with pytest.raises(WorkError) as caught:
        open_dataset(path)
    assert str(caught.value) == f"{path}: the prepared data are gone or damaged; {AGAIN}"


def test_mapped_data_outlive_their_files(cache: Path) -> None:
    """A process that has opened data has them still when the cache is emptied; asked again, it gives the same."""
    path = through_cache(iris).path
    assert path is not None
    opened = open_dataset(path)
    before = content(opened)
    shutil.rmtree(cache)
    assert open_dataset(path) is opened
    assert content(opened) == before == content(through_cache(iris))


def test_discard(cache: Path) -> None:
    """Data that nobody shares go, and who has them mapped keeps them; those that are shared stay."""
    discard(through_cache(iris))
    assert len(list(cache.iterdir())) == 1
    shutil.rmtree(cache)
    dataset = through_cache(iris, shared=False)
    before = content(dataset)
    discard(dataset)
    assert list(cache.iterdir()) == []
    assert content(dataset) == before
    discard(load_dataset("iris", seed=0))  # those in memory have no place to go from


def test_a_failed_preparation_leaves_nothing(cache: Path) -> None:
    """Where the data turn out to be unfit when some of them are written, they go again."""

    def prepare(put: Any) -> Dataset:  # noqa: ANN401
        iris(put)
        raise DataError.at("iris", "is not fit")

    with pytest.raises(DataError, match="iris: is not fit"):
        through_cache(prepare)
    assert list(cache.iterdir()) == []


def test_files_are_on_the_disk_before_they_have_their_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files, then their folder, are flushed before the rename, and the cache's folder after it."""
    done: list[str] = []
    flush, rename = os.fsync, Path.rename

    def name_of(path: Path) -> str:
        return "unfinished" if path.name.startswith(".new-") else path.name

    def flushing(descriptor: int) -> None:
        done.append(f"flush {name_of(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        flush(descriptor)

    def renaming(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "rename", renaming)
    dataset = through_cache(iris)
    assert dataset.path is not None
    files = {f"flush {path.name}" for path in dataset.path.iterdir()}
    assert len(files) == 7
    assert set(done[:7]) == files
    assert done[7:] == ["flush unfinished", "rename", f"flush {cache.name}"]
    through_cache(iris)
    assert len(done) == 10


def test_two_processes_at_once(cache: Path, tmp_path: Path) -> None:
    """Processes that prepare the same data at the same time all get them, and they are kept once."""
    processes = [python(PREPARE, tmp_path / f"{number}", tmp_path / "go") for number in range(4)]
    for number in range(4):
        wait_for(tmp_path / f"{number}.ready")
    (tmp_path / "go").touch()
    digest = load_dataset("digits", seed=0).digest
    assert [process.communicate(timeout=60) for process in processes] == [(f"{digest}\n", "")] * 4
    assert [path.name for path in cache.iterdir()] == [digest]


def test_another_process_was_faster(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that come into the cache between the look and the rename stay, and serve."""
    rename = Path.rename

    def beaten(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        through_cache(iris)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", beaten)
    dataset = through_cache(iris)
    assert content(dataset) == content(load_dataset("iris", seed=0))
    assert [path.name for path in cache.iterdir()] == [dataset.digest]


def test_leftovers_of_a_killed_process_go_after_a_day(cache: Path, tmp_path: Path) -> None:
    """What a killed process has begun is not touched within a day, for it might be alive, and goes after it."""
    process = python(PREPARE, tmp_path / "0", tmp_path / "never")
    wait_for(tmp_path / "0.ready")
    process.kill()
    process.communicate()
    (left,) = cache.iterdir()
    kept = {through_cache(iris).digest}
    assert {path.name for path in cache.iterdir()} == {left.name, *kept}
    age(left, 1.1)
    through_cache(iris)
    assert {path.name for path in cache.iterdir()} == kept


def test_what_nobody_has_opened_for_a_month_goes(cache: Path) -> None:
    """Data that were last opened more than thirty days ago go when others come; opening them counts."""
    old, used, fresh = (through_cache(partial(iris, seed=seed)).path for seed in range(3))
    assert old
    assert used
    assert fresh
    age(old, 30.1)
    age(used, 30.1)
    open_dataset(used)
    age(fresh, 29.9)
    new = through_cache(partial(iris, seed=3)).digest
    assert {path.name for path in cache.iterdir()} == {used.name, fresh.name, new}


def test_what_is_not_netcore_s_is_left_alone(cache: Path) -> None:
    """A folder that is used for other things, too, keeps them, however old they are."""
    for name in ("photos", ".new-york", "0" * 63, "readme.txt"):
        (cache / name).mkdir(parents=True)
        age(cache / name, 400)
    dataset = through_cache(iris)
    assert {path.name for path in cache.iterdir()} == {"photos", ".new-york", "0" * 63, "readme.txt", dataset.digest}


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NETCORE_CACHE, from the current folder; else `prepared` in netcore's part of the platform's cache folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETCORE_CACHE", "here")
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("NETCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    assert cache_folder() == tmp_path / "platform" / "netcore" / "prepared"


def test_spilled_files_have_no_name(cache: Path) -> None:
    """What is unpacked into the cache takes room there, under no name, until nobody needs it."""
    with spill(iter([b"ab", b"cd"])) as file:
        file.seek(0)
        assert file.read() == b"abcd"
        assert list(cache.iterdir()) == []


def blocks(number: int) -> Iterator[bytes]:
    """Give some blocks, then break."""
    yield from [b"x"] * number
    raise EOFError


def test_spilling_what_breaks_off(cache: Path) -> None:
    """An error of whatever gives the blocks is its own, and the file goes."""
    with pytest.raises(EOFError):
        spill(blocks(3))
    assert list(cache.iterdir()) == []


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Let a folder be a disk of 64 KiB."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)  # noqa: S607
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)  # noqa: S607


def refused(folder: Path, cwd: Path, **options: Any) -> str:  # noqa: ANN401
    """Run a study whose data cannot be cached; give why. Nothing is trained, nothing is left."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it writes, too
    environment = {**plain, "NETCORE_CACHE": str(folder)}
    done = netcore_command("run", ROOT / "studies" / "digits.toml", cwd=cwd, env=environment, **options)
    assert (done.returncode, done.stdout) == (2, "")
    assert not (cwd / "results").exists()
    assert not folder.is_dir() or list(folder.iterdir()) == []
    start, end = f"error: {folder}: the prepared data cannot be written (", ")\n"
    remedy = "; free some space, or let NETCORE_CACHE name another folder\n"
    assert done.stderr.startswith(start)
    assert done.stderr.endswith(remedy)
    return done.stderr[len(start) : -len(remedy) - len(end) + 1]


def test_no_space(tmp_path: Path) -> None:
    """On a full disk a run says so in one line, and leaves nothing there."""
    with small_disk(tmp_path / "disk"):
        assert refused(tmp_path / "disk", tmp_path) == "No space left on device"


@pytest.mark.parametrize("limit", [100, 100_000])
def test_files_that_may_not_grow(tmp_path: Path, limit: int) -> None:
    """Where files may not become as large, a run says so in one line, and leaves nothing there."""
    forbid = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    assert refused(tmp_path / "cache", tmp_path, preexec_fn=forbid) == "File too large"


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    """A file where the cache should be, or below which it should be, is said."""
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file", tmp_path) == "File exists"
    assert refused(tmp_path / "file" / "below", tmp_path) == "Not a directory"


def test_no_room_for_what_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An .npz that the cache has no room for is not the file's fault, and the line says so."""
    np.savez_compressed(tmp_path / "x.npz", X=np.zeros((10_000, 10)), y=np.arange(10_000) % 2)
    with small_disk(tmp_path / "disk"):
        monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "disk"))
        with pytest.raises(DataError) as caught:
            load_dataset("arrays", path=str(tmp_path / "x.npz"), seed=0)
    assert str(caught.value) == (
        f"{tmp_path / 'disk'}: the prepared data cannot be written (No space left on device)"
        "; free some space, or let NETCORE_CACHE name another folder"
    )


def test_blocks_become_one_array(cache: Path) -> None:
    """What is put block by block is the blocks one after another, in the type that was asked for."""
    seen: list[NDArray[Any]] = []

    def prepare(put: Any) -> Dataset:  # noqa: ANN401
        def putting(name: str, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterator[NDArray[Any]]) -> Any:  # noqa: ANN401
            if name == "0.X_train":
                seen.append(put("thirds", (3, 2), "<f4", (np.full((1, 2), n / 3) for n in range(3))))
            return put(name, shape, dtype, blocks)

        return iris(putting)

    through_cache(prepare)
    assert list(cache.iterdir()) != []
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0], np.repeat(np.arange(3) / 3, 2).reshape(3, 2).astype(np.float32))
