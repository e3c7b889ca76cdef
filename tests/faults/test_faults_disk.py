"""Runs whose disk is full, or whose folder is read-only or deleted."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from injection import Forge, checked, needs, one_line, tables_of, write_study

from netcore.files import TEMPORARY
from netcore.records.folder import StudyFolder

Told = Callable[[str, object], None]
ROOM = 256 * 1024
"""Bytes of the small disk: more than a study takes."""


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    """Give what netcore processes are forked from."""
    with Forge() as one:
        yield one


@pytest.fixture(scope="module")
def whole(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which the study was not disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    write_study(folder)
    assert forge.run("search", "tiny.toml", cwd=folder).code == 0
    return folder


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder, for a while."""
    needs("root, to mount a file system", there=os.geteuid() == 0)
    folder.mkdir(exist_ok=True)
    subprocess.run(["/bin/mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def size_of(folder: Path) -> int:
    """Give the bytes that a folder's files take, in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def nothing_half_written(folder: Path) -> None:
    """Check that each record that is there is whole, and that no rest of a write lies about."""
    assert not list(folder.rglob(f"*{TEMPORARY}"))
    for record in folder.rglob("trials/*.npz"):
        StudyFolder(record.parent.parent).read(int(record.stem))


@pytest.mark.rounds(2, 20)
def test_a_full_disk(forge: Forge, whole: Path, tmp_path: Path, rounds: int, record_property: Told) -> None:
    """However full the disk, a run ends with exit code 1 and the path, nothing half-written; then it goes on."""
    takes = size_of(whole / "results")
    assert takes < ROOM
    full = 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        write_study(folder)
        room = 8192 + (takes - 8192) * number // rounds // 4096 * 4096
        with mounted(folder / "results", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs"):
            ballast = folder / "results" / "ballast"
            ballast.write_bytes(bytes(ROOM - room))
            ended = forge.run("search", "tiny.toml", cwd=folder)
            line = one_line(ended)
            assert ended.said.strip() == line
            assert line.startswith("error: results/tiny")
            cause = "No space left on device"
            assert f": cannot be written ({cause}); fix the cause, then run the same command again" in line
            nothing_half_written(folder / "results")
            full += 1
            ballast.unlink()
            again = forge.run("search", "tiny.toml", cwd=folder)
            assert (again.code, again.said) == (0, "")
            assert tables_of(folder) == tables_of(whole)
            assert checked(folder) == []
    record_property("injected", full)


@pytest.mark.parametrize("what", ["results", "results/tiny"])
def test_a_read_only_folder(forge: Forge, whole: Path, tmp_path: Path, what: str, record_property: Told) -> None:
    """A results folder, or a study's, that is mounted read-only is refused before the first trial, with the remedy."""
    write_study(tmp_path)
    shutil.copytree(whole / "results", tmp_path / "results")
    place = tmp_path / what
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    more = ("--trials", "8") if what == "results/tiny" else ()
    with mounted(place, "--bind", str(place)):
        subprocess.run(["/bin/mount", "-o", "remount,ro,bind", str(place)], check=True)
        done = subprocess.run(
            [sys.executable, "-m", "netcore", "run", "tiny.toml", *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        remedy = "choose another folder with --results, or change its permissions"
        assert done.stderr.startswith("error: results/tiny")
        assert done.stderr.endswith(f": cannot be written (Read-only file system); {remedy}\n")
        assert done.stderr.count("\n") == 1
        assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert forge.run("search", "tiny.toml", cwd=tmp_path).code == 0
    record_property("injected", 1)


@pytest.mark.rounds(2, 20)
def test_a_folder_that_is_deleted_while_the_study_runs(
    forge: Forge, whole: Path, tmp_path: Path, rounds: int, record_property: Told
) -> None:
    """A run whose folder is deleted names what it could not write or find; the same command makes all of it again."""
    lost = 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        write_study(folder)
        process = forge.start("search", "tiny.toml", cwd=folder)
        process.go()
        trials = folder / "results" / "tiny" / "trials"
        process.wait_for_records(trials, 1 + number % 5)
        shutil.rmtree(folder / "results", ignore_errors=True)
        ended = process.end()
        if ended.code:
            line = one_line(ended, ended.code)
            assert ended.said.strip() == line
            assert line.startswith("error: results/tiny")
            lost += 1
        shutil.rmtree(folder / "results", ignore_errors=True)
        assert forge.run("search", "tiny.toml", cwd=folder).code == 0
        assert tables_of(folder) == tables_of(whole)
        shutil.rmtree(folder)
    assert lost > rounds / 2
    record_property("injected", lost)
