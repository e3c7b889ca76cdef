"""What is left of whole commands that were hit, MLflow and all: killed, refused by the disk, interrupted, doubled."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import Rounds, needs
from injection import Call, Forge, Whole, killed_until_done, tables_of, write_study

import netcore

TOLERATED = 15.0
"""Seconds within which an interrupted command must end on a machine that is busy; the promise is 5."""

TRIALS = 6
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
"""Stands between a process and the clock; what no user sets, CLOCK_MONOTONIC, is left as it is."""


@pytest.fixture(scope="module")
def tracked(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return the study run without any fault, MLflow and all; its database, of thousands of writes, is made before."""
    folder = tmp_path_factory.mktemp("tracked")
    write_study(folder / "empty")
    assert forge.run("database", cwd=folder / "empty").code == 0
    done = shutil.copytree(folder / "empty", folder / "done")
    ended = forge.run("run", "tiny.toml", "--workers", "2", cwd=done)
    assert ended.code == 0, ended.said
    verify_with_mlflow(forge, done)
    return Whole(folder / "empty", done, tables_of(done), ended.seconds)


def verify_with_mlflow(forge: Forge, folder: Path, name: str = "tiny") -> None:
    """Check that `netcore verify` finds nothing wrong, in MLflow either."""
    verified = forge.run("verify", name, cwd=folder)
    assert verified.code == 0, verified.said
    assert "ok      MLflow" in verified.said
    assert "ok      optuna.log" in verified.said


def all_agrees(forge: Forge, tracked: Whole, folder: Path) -> None:
    """Check that a study is the uninterrupted one, in MLflow too, and that a second sync has nothing to do."""
    again = forge.run("sync", "tiny", cwd=folder)
    assert (again.code, again.said.strip()) == (0, "tiny: 0 runs written to sqlite:///mlflow.db")
    verify_with_mlflow(forge, folder)
    assert tables_of(folder) == tracked.tables


@pytest.mark.slow
@pytest.mark.rounds(2, 60)
def test_killed_at_random_moments(forge: Forge, tracked: Whole, rounds: Rounds) -> None:
    """`netcore run`, killed at any moment from its first line to MLflow's last, goes on; no process stays behind."""
    for folder in killed_until_done(rounds, forge, tracked, "run", "tiny.toml", "--workers", "2"):
        all_agrees(forge, tracked, folder)


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C", pytest.param("Ctrl-C twice", marks=pytest.mark.slow)])
@pytest.mark.rounds(1, 20)
def test_interrupted(forge: Forge, tracked: Whole, how: str, rounds: Rounds) -> None:
    """SIGTERM, Ctrl-C and an impatient second Ctrl-C end `netcore run` soon and quietly, and the command goes on."""
    moments = random.Random(how)  # noqa: S311  # moments, not secrets
    interrupted, slowest, span = 0, 0.0, tracked.seconds
    while interrupted < rounds.number:
        folder = shutil.copytree(tracked.empty, rounds.base / str(interrupted))
        process = forge.start("run", "tiny.toml", "--workers", "2", cwd=folder)
        process.go()
        process.wait_for((folder / "results" / "tiny" / ".run.lock").exists)
        time.sleep(moments.uniform(0, span))
        at = time.monotonic()
        if how == "SIGTERM":
            process.signal(signal.SIGTERM)
        else:
            process.interrupt()
        if how == "Ctrl-C twice":
            time.sleep(moments.uniform(0, 0.5))
            process.interrupt()
        ended = process.end()
        seconds = time.monotonic() - at
        if ended.code != 0:  # it was not over before
            assert ended.code == 130, ended.said
            assert "Traceback" not in ended.said, ended.said
            assert "Exception ignored" not in ended.said, ended.said
            assert "interrupted" in ended.said.splitlines()[-1], ended.said
            if 0 < len(list((folder / "results" / "tiny" / "trials").glob("*.npz"))) < TRIALS:
                assert ended.said.endswith("; run the same command again to continue\n"), ended.said
            assert seconds < TOLERATED
            interrupted, slowest = interrupted + 1, max(slowest, seconds)
        else:
            span *= 0.8
        assert process.survivors(5) == []
        again = forge.run("search", "tiny.toml", cwd=folder)
        assert (again.code, again.said) == (0, "")
        assert tables_of(folder) == tracked.tables
        shutil.rmtree(folder)
    rounds.tell("injected", interrupted)
    rounds.tell("measured", f"ended after {slowest:.1f} s at most")


@pytest.fixture(scope="module")
def sync_calls(forge: Forge, tracked: Whole, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Return what a sync of the study asks of MLflow's database and files."""
    needs("strace", there=shutil.which("strace") is not None)
    folder = unsynced(tracked.done, tracked, tmp_path_factory.mktemp("sync-calls"))
    found = forge.start("sync", "tiny", cwd=folder).calls()
    return [call for call in found if "/mlruns" in call.text or "/mlflow.db" in call.text]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["SIGKILL", "ENOSPC"])
@pytest.mark.rounds(1, 25)
def test_sync_hit_at_the_kth_call(
    forge: Forge, tracked: Whole, sync_calls: list[Call], fault: str, rounds: Rounds
) -> None:
    """`netcore sync`, killed at or refused any call on MLflow's database or files, is made good by the next one."""
    assert len(sync_calls) > 500
    injected, places = 0, np.linspace(3, len(sync_calls) - 3, rounds.number + 2)[1:-1]
    for folder, place in zip(rounds, places, strict=True):
        call = sync_calls[int(place)]
        unsynced(tracked.done, tracked, folder)
        process = forge.start("sync", "tiny", cwd=folder)
        ended = process.hit(call, fault)
        if ended is None:
            continue
        injected += 1
        if fault == "SIGKILL":
            assert (ended.code, ended.said) == (-signal.SIGKILL, ""), call
        elif ended.code:
            line = ended.one_line()
            assert line.startswith("error: MLflow at sqlite:///mlflow.db: refuses ("), line
            assert re.search(r"`netcore sync results/tiny` (sends what is missing|completes it)", line), line
        assert process.survivors() == []
        mended = forge.run("sync", "tiny", cwd=folder)
        assert mended.code == 0, (call, mended)
        all_agrees(forge, tracked, folder)
    assert injected > rounds.number * 0.8
    rounds.tell("injected", injected)
    rounds.tell("measured", f"of {len(sync_calls)} calls")


def unsynced(done: Path, tracked: Whole, to: Path) -> Path:
    """Copy the studies of a folder, beside an MLflow that knows nothing of them."""
    shutil.copytree(done / "results", to / "results")
    shutil.copy(done / "tiny.toml", to)
    shutil.copy(tracked.empty / "mlflow.db", to)
    return to


@pytest.mark.slow
@pytest.mark.rounds(1, 20)
def test_two_studies_into_one_mlflow(forge: Forge, tracked: Whole, rounds: Rounds) -> None:
    """Two studies sent to one SQLite file at the same moment both arrive, and neither has a run of the other's."""
    other_done = shutil.copytree(tracked.done, rounds.base / "other")
    write_study(other_done, "other", seed=2)
    assert forge.run("search", "other.toml", cwd=other_done).code == 0
    assert forge.run("report", "other", cwd=other_done).code == 0
    others = tables_of(other_done, "other")
    with Forge() as second:
        for folder in rounds:
            unsynced(other_done, tracked, folder)
            pair = (
                forge.start("sync", "tiny", cwd=folder, output="tiny.txt"),
                second.start("sync", "other", cwd=folder, output="other.txt"),
            )
            for process in pair:
                process.go()
            for ended in [process.end() for process in pair]:
                assert ended.code == 0, ended.said
            for name, tables in (("tiny", tracked.tables), ("other", others)):
                verify_with_mlflow(forge, folder, name)
                assert tables_of(folder, name) == tables


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.rounds(1, 5)
def test_the_clock_is_set_by_an_hour(forge: Forge, tracked: Whole, hours: int, rounds: Rounds) -> None:
    """Set an hour back or forth in the middle, no time-out fires, and tables and MLflow are those of a quiet study."""
    needs("libfaketime", there=bool(LIBRARIES))
    for folder in rounds:
        shutil.copytree(tracked.empty, folder, dirs_exist_ok=True)
        ended = run_while_the_clock_is_set(folder, hours)
        assert (ended.returncode, ended.stderr) == (0, "")
        trials = netcore.load_study("tiny", results=folder / "results").trials
        assert 3000 < (trials["started"].max() - trials["started"].min()).total_seconds() < 4200
        assert trials["seconds"].between(0, 100).all()
        assert forge.run("report", "tiny", cwd=folder).code == 0
        sent = forge.run("sync", "tiny", cwd=folder)
        assert sent.code == 0, sent.said
        all_agrees(forge, tracked, folder)


def run_while_the_clock_is_set(folder: Path, hours: int) -> "subprocess.CompletedProcess[str]":
    """Run the study; its processes see another time of day once the third record is there."""
    path = write_study(folder)
    text = path.read_text(encoding="utf-8").replace("window = 2", "window = 2, trial_timeout = 300")
    path.write_text(text, encoding="utf-8")
    code = "import netcore\nif __name__ == '__main__':\n    netcore.run_study('tiny.toml', workers=1)\n"
    (folder / "go.py").write_text(code, encoding="utf-8")
    clock = folder / "clock"
    clock.write_text("+0", encoding="utf-8")
    faked = {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    process = subprocess.Popen(
        [sys.executable, "go.py"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **faked, "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
    )
    trials = folder / "results" / "tiny" / "trials"
    while process.poll() is None and len(list(trials.glob("*.npz"))) < 3:
        time.sleep(0.001)
    (folder / "next").write_text(f"{hours:+d}h", encoding="utf-8")
    (folder / "next").rename(clock)
    said, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)
