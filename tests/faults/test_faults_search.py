"""What is left of a search that was hit: killed, refused by the disk, run twice at once, or given absurd settings."""

import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from injection import Call, Forge, calls, checked, hit, needs, one_line, survivors, tables_of, write_study

import netcore
from netcore.files import TEMPORARY
from netcore.records.folder import StudyFolder
from netcore.records.job import State

Told = Callable[[str, object], None]


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    """Return what netcore processes are forked from."""
    with Forge() as one:
        yield one


@pytest.fixture(scope="module")
def whole(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """Return the hash of the uninterrupted study's tables, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("whole")
    write_study(folder)
    ended = forge.run("search", "tiny.toml", cwd=folder, workers=2)
    assert (ended.code, ended.said) == (0, "")
    assert checked(folder) == []
    states = set(netcore.load_study("tiny", results=folder / "results").trials["state"])
    assert {State.FINISHED, State.DIVERGED, State.FAILED} <= states
    return tables_of(folder), ended.seconds


@pytest.mark.rounds(4, 240)
def test_killed_at_random_moments(
    forge: Forge, whole: tuple[str, float], tmp_path: Path, rounds: int, record_property: Told
) -> None:
    """Killed by SIGKILL at random and resumed until done, a study verifies, has its tables, and leaves no process."""
    moments = random.Random(rounds)  # noqa: S311  # moments, not secrets
    kills = studies = 0
    while kills < rounds:
        folder = tmp_path / f"study-{studies}"
        write_study(folder)
        code, killed = -signal.SIGKILL, 0
        while code != 0:
            process = forge.start("search", "tiny.toml", cwd=folder, workers=2)
            process.go()
            if kills < rounds and killed < 10:
                time.sleep(moments.uniform(0, whole[1]))
                process.signal(signal.SIGKILL)
            code, said, *_ = process.end()
            assert code in {0, -signal.SIGKILL}, said
            assert "Traceback" not in said, said
            kills, killed = kills + (code != 0), killed + (code != 0)
            assert survivors(process.mark) == []
        assert checked(folder) == []
        assert tables_of(folder) == whole[0]
        shutil.rmtree(folder)
        studies += 1
    record_property("injected", kills)
    record_property("measured", f"{studies} studies")


def chosen(found: list[Call], rounds: int) -> list[Call]:
    """Choose so many of the calls on files, spread over the search; or simply all calls."""
    if rounds >= len(found):
        return found
    files = [call for call in found if TEMPORARY in call.text]
    return [files[int(place)] for place in np.linspace(0, len(files) - 1, rounds + 2)[1:-1]]


@pytest.fixture(scope="module")
def disk_calls(forge: Forge, whole: tuple[str, float], tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Return what a search asks of its results folder: every write, fsync, rename and new folder."""
    needs("strace", there=shutil.which("strace") is not None)
    folder = tmp_path_factory.mktemp("calls")
    write_study(folder)
    found = [call for call in calls(forge.start("search", "tiny.toml", cwd=folder)) if "results/" in call.text]
    assert tables_of(folder) == whole[0]
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
def test_hit_at_the_kth_call(
    forge: Forge,
    whole: tuple[str, float],
    disk_calls: list[Call],
    tmp_path: Path,
    fault: str,
    rounds: int,
    record_property: Told,
) -> None:
    """Killed at, or refused, any write, fsync, rename or new folder, a study goes on; what is there is whole.

    An error ends it with exit code 1 and one line that names the path. What could not be flushed has no name: there is
    no record of it. Where only the flush of the folder failed the record is there, whole, and the error is said all the
    same.
    """
    asked = chosen(disk_calls, rounds)
    for number, call in enumerate(asked):
        folder = tmp_path / str(number)
        write_study(folder)
        process = forge.start("search", "tiny.toml", cwd=folder)
        ended = hit(process, call, fault)
        assert ended is not None
        study = StudyFolder(folder / "results" / "tiny")
        if fault == "SIGKILL":
            assert (ended.code, ended.said) == (-signal.SIGKILL, ""), call
        else:
            refused(ended.said, one_line(ended), ended.hit)
            assert not list(folder.rglob(f"*{TEMPORARY}")), call
            of_record = re.search(r"/trials/(\d+)\.npz\.", ended.hit)  # its own write, fsync or rename
            if of_record and "confirm" not in ended.hit:
                assert not study.has(int(of_record[1])), call
        assert survivors(process.mark) == []
        for record in (folder / "results").rglob("trials/*.npz"):
            StudyFolder(record.parent.parent).read(int(record.stem))  # or it raises
        again = forge.run("search", "tiny.toml", cwd=folder)
        assert (again.code, again.said) == (0, ""), (call, again)
        assert not list(folder.rglob(f"trials/*{TEMPORARY}")), call
        assert tables_of(folder) == whole[0], call
        assert checked(folder) == [], call
        shutil.rmtree(folder)
    record_property("injected", len(asked))


def refused(said: str, line: str, call: str) -> None:
    """Check that a refusal is one line, of the path that the call was about."""
    assert said.strip() == line, said
    assert "cannot be written (" in line
    place = line.removeprefix("error: ").partition(":")[0]
    folder = re.search(r"(results/[^>\"]*)", call)
    assert folder is not None
    about = folder[1].partition(".npz")[0].partition(".json")[0]
    assert place.startswith("results/")
    assert place.startswith(about[: place.rfind("/")]) or about.startswith(place), (place, call)


@pytest.mark.rounds(1, 20)
def test_two_runs_of_one_study_at_once(
    forge: Forge, whole: tuple[str, float], tmp_path: Path, rounds: int, record_property: Told
) -> None:
    """Of two runs begun at the same moment one is refused, or finds all done; the study is that of one run."""
    refusals = 0
    with Forge() as other:
        for number in range(rounds):
            folder = tmp_path / str(number)
            pair = []
            for one, output in ((forge, "one.txt"), (other, "other.txt")):
                write_study(folder)
                pair.append(one.start("search", "tiny.toml", cwd=folder, output=output))
            for process in pair:
                process.go()
            ends = [process.end() for process in pair]
            for code, said, *_ in ends:
                assert (code, said) == (0, "") or (code == 2 and "another `netcore run` of this study" in said), said
            refusals += sum(ended.code == 2 for ended in ends)
            assert min(ended.code for ended in ends) == 0, ends
            assert tables_of(folder) == whole[0]
            assert checked(folder) == []
    assert refusals > 0
    record_property("injected", rounds)
    record_property("measured", f"{refusals} refused")
