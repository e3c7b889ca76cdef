"""What is left of a search that was hit: killed, refused by the disk, run twice at once, or given absurd settings."""

import re
import shutil
import signal

import numpy as np
import pytest
from conftest import Rounds, needs, present
from injection import Call, Forge, Whole, killed_until_done, tables_of, whole_records, write_study

from netcore.files import TEMPORARY
from netcore.records.folder import StudyFolder


@pytest.mark.rounds(4, 240)
def test_killed_at_random_moments(forge: Forge, whole: Whole, rounds: Rounds) -> None:
    """Killed by SIGKILL at random and resumed until done, a study verifies, has its tables, and leaves no process."""
    for folder in killed_until_done(rounds, forge, whole, "search", "tiny.toml"):
        whole.comes_back(forge, folder)


def chosen(found: list[Call], rounds: int) -> list[Call]:
    """Choose so many of the calls on files, spread over the search; or simply all calls."""
    if rounds >= len(found):
        return found
    files = [call for call in found if TEMPORARY in call.text]
    return [files[int(place)] for place in np.linspace(0, len(files) - 1, rounds + 2)[1:-1]]


@pytest.fixture(scope="module")
def disk_calls(forge: Forge, whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Return what a search asks of its results folder: every write, fsync, rename and new folder."""
    needs("strace", there=shutil.which("strace") is not None)
    folder = tmp_path_factory.mktemp("calls")
    write_study(folder)
    found = [call for call in forge.start("search", "tiny.toml", cwd=folder).calls() if "results/" in call.text]
    assert tables_of(folder) == whole.tables
    assert {call.name for call in found} >= {"write", "fsync", "rename", "mkdir"}
    return [call for call in found if not call.text.endswith("(File exists)")]


def test_every_file_is_flushed_before_it_has_its_name(disk_calls: list[Call]) -> None:
    """Each file of a study is flushed (fsync) before it gets its name, and then its folder is; so it is with records.

    This is what a loss of power would need. That itself is not tried: a process that is killed leaves its pages to the
    system, which writes them all the same.
    """
    named = [place for place, call in enumerate(disk_calls) if call.name == "rename"]
    assert sum("/trials/" in disk_calls[place].text for place in named) > 6
    for place in named:
        flushed, folder = disk_calls[place - 1], disk_calls[place + 1]
        partial, path = re.findall(r'"([^"]*)"', disk_calls[place].text)
        assert partial.startswith(path)
        assert partial.endswith(TEMPORARY)
        assert flushed.name == folder.name == "fsync"
        assert flushed.text.partition(">")[0].endswith(partial)
        assert folder.text.partition(">")[0].endswith(path.rpartition("/")[0])


@pytest.mark.parametrize("fault", ["SIGKILL", "ENOSPC"])
@pytest.mark.rounds(2, 1000)
def test_hit_at_the_kth_call(forge: Forge, whole: Whole, disk_calls: list[Call], fault: str, rounds: Rounds) -> None:
    """Killed at, or refused, any write, fsync, rename or new folder, a study goes on; what is there is whole.

    An error ends it with exit code 1 and one line that names the path. What could not be flushed has no name: there is
    no record of it. Where only the flush of the folder failed the record is there, whole, and the error is said all the
    same.
    """
    asked = chosen(disk_calls, rounds.number)
    for folder, call in zip(rounds, asked, strict=False):
        write_study(folder)
        process = forge.start("search", "tiny.toml", cwd=folder)
        ended = present(process.hit(call, fault))
        study = StudyFolder(folder / "results" / "tiny")
        if fault == "SIGKILL":
            assert (ended.code, ended.said) == (-signal.SIGKILL, ""), call
        else:
            refused(ended.one_line(), ended.hit)
            assert not list(folder.rglob(f"*{TEMPORARY}")), call
            of_record = re.search(r"/trials/(\d+)\.npz\.", ended.hit)  # its own write, fsync or rename
            if of_record and "confirm" not in ended.hit:
                assert not study.has(int(of_record[1])), call
        assert process.survivors() == []
        whole_records(folder)
        whole.comes_back(forge, folder)
        assert not list(folder.rglob(f"trials/*{TEMPORARY}")), call
    rounds.tell("injected", len(asked))


def refused(line: str, call: str) -> None:
    """Check that a refusal is of the path that the call was about."""
    assert "cannot be written (" in line
    place = line.removeprefix("error: ").partition(":")[0]
    folder = present(re.search(r"(results/[^>\"]*)", call))
    about = folder[1].partition(".npz")[0].partition(".json")[0]
    assert place.startswith("results/")
    assert place.startswith(about[: place.rfind("/")]) or about.startswith(place), (place, call)


@pytest.mark.rounds(1, 20)
def test_two_runs_of_one_study_at_once(forge: Forge, whole: Whole, rounds: Rounds) -> None:
    """Of two runs begun at the same moment one is refused, or finds all done; the study is that of one run."""
    refusals = 0
    with Forge() as other:
        for folder in rounds:
            write_study(folder)
            pair = (
                forge.start("search", "tiny.toml", cwd=folder, output="one.txt"),
                other.start("search", "tiny.toml", cwd=folder, output="other.txt"),
            )
            for process in pair:
                process.go()
            ends = [process.end() for process in pair]
            for code, said, *_ in ends:
                assert (code, said) == (0, "") or (code == 2 and "another `netcore run` of this study" in said), said
            refusals += sum(ended.code == 2 for ended in ends)
            assert min(ended.code for ended in ends) == 0, ends
            whole.comes_back(forge, folder)
    assert refusals > 0
    rounds.tell("measured", f"{refusals} refused")
