"""Runs whose disk is full, or whose folder is read-only or deleted."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import netcore_command, refused
from conftest import Rounds, needs
from injection import Forge, Whole, tables_of, whole_records, write_study

from netcore.files import TEMPORARY

ROOM = 256 * 1024
"""Bytes of the small disk: more than a study takes."""


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder for a while."""
    needs("root, to mount a file system", there=os.geteuid() == 0)
    folder.mkdir(exist_ok=True)
    subprocess.run(["/bin/mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


@pytest.mark.rounds(2, 20)
def test_a_full_disk(forge: Forge, whole: Whole, rounds: Rounds) -> None:
    """However full the disk, a run ends with exit code 1 and the path, nothing half-written; then it goes on."""
    files = [path for path in (whole.done / "results").rglob("*") if path.is_file()]
    takes = sum(-(-path.stat().st_size // 4096) * 4096 for path in files)  # whole pages
    assert takes < ROOM
    for number, folder in enumerate(rounds):
        write_study(folder)
        room = 8192 + (takes - 8192) * number // rounds.number // 4096 * 4096
        with mounted(folder / "results", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs"):
            ballast = folder / "results" / "ballast"
            ballast.write_bytes(bytes(ROOM - room))
            ended = forge.run("search", "tiny.toml", cwd=folder)
            line = ended.one_line()
            assert line.startswith("error: results/tiny")
            cause = "No space left on device"
            assert f": cannot be written ({cause}); fix the cause, then run the same command again" in line
            assert not list(folder.rglob(f"*{TEMPORARY}"))
            whole_records(folder)
            ballast.unlink()
            whole.comes_back(forge, folder)


@pytest.mark.parametrize("what", ["results", "results/tiny"])
def test_a_read_only_folder(forge: Forge, whole: Whole, tmp_path: Path, what: str) -> None:
    """A results folder, or a study's, that is mounted read-only is refused before the first trial, with the remedy."""
    write_study(tmp_path)
    shutil.copytree(whole.done / "results", tmp_path / "results")
    place = tmp_path / what
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    more = ("--trials", "8") if what == "results/tiny" else ()
    with mounted(place, "--bind", str(place)):
        subprocess.run(["/bin/mount", "-o", "remount,ro,bind", str(place)], check=True)
        line = refused(netcore_command("run", "tiny.toml", *more, cwd=tmp_path))
        remedy = "choose another folder with --results, or change its permissions"
        assert line.startswith("results/tiny")
        assert line.endswith(f": cannot be written (Read-only file system); {remedy}")
        assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert forge.run("search", "tiny.toml", cwd=tmp_path).code == 0


@pytest.mark.rounds(2, 20)
def test_a_folder_that_is_deleted_while_the_study_runs(forge: Forge, whole: Whole, rounds: Rounds) -> None:
    """A run whose folder is deleted names what it could not write or find; the same command makes all of it again."""
    lost = 0
    for number, folder in enumerate(rounds):
        write_study(folder)
        process = forge.start("search", "tiny.toml", cwd=folder)
        process.go()
        process.wait_for_records(1 + number % 5)
        shutil.rmtree(folder / "results", ignore_errors=True)
        ended = process.end()
        if ended.code:
            assert ended.one_line(ended.code).startswith("error: results/tiny")
            lost += 1
        shutil.rmtree(folder / "results", ignore_errors=True)
        assert forge.run("search", "tiny.toml", cwd=folder).code == 0
        assert tables_of(folder) == whole.tables
    assert lost > rounds.number / 2
    rounds.tell("injected", lost)
