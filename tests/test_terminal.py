"""The output of commands: a bar on a terminal, lines elsewhere, the outcome at the end, one trial in full."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from commands import netcore_command, quick
from conftest import Mixed, present, write_mixed

from netcore.run import Run


def on_a_terminal(*command: str, cwd: Path, columns: int) -> str:
    """Run a command whose standard error is a terminal with this many columns; return what it wrote there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # Linux: the other side is closed
            while piece := os.read(ours, 65536):
                said += piece
    os.close(ours)
    assert process.returncode == 0, said
    return said.decode()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    """Return what `netcore run` printed of a study of 20 trials, without a terminal."""
    folder = tmp_path_factory.mktemp("finished")
    write_mixed(folder, 20)
    return netcore_command("run", "mixed.toml", cwd=folder)


@pytest.mark.slow
def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    """On a narrow terminal a bar shows the number of trials, their states and the best one, uncut."""
    write_mixed(tmp_path, 12)
    output = on_a_terminal(sys.executable, "-m", "netcore", "run", "mixed.toml", cwd=tmp_path, columns=80)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert "12/12" in plain
    words = " ".join(plain.split())
    assert re.search(r"best val_loss \d\.\d{4} \(trial \d+\)", words)
    assert "…" not in plain
    assert "Traceback" not in plain
    assert max(map(len, plain.replace("\r", "\n").split("\n"))) <= 80


def test_without_a_terminal_there_are_lines(finished: "subprocess.CompletedProcess[str]") -> None:
    """Without a terminal at most ten lines show the progress, and none moves the cursor."""
    lines = [line for line in finished.stderr.splitlines() if "/20 trials: " in line]
    assert len(lines) == 10
    assert lines[-1].startswith("20/20 trials: ")
    assert "\x1b" not in finished.stderr + finished.stdout


def test_the_outcome_has_the_winner_and_all_places(finished: "subprocess.CompletedProcess[str]") -> None:
    """At the end: the winner's hyperparameters and metrics, the report, and the command that opens the UI."""
    output = finished.stdout
    for word in ("learning_rate ", "hidden_size ", "reg ", "learning_rate_decay ", "val_loss ", "val_accuracy "):
        assert f"\n  {word}" in output
    assert re.search(r"\n\n  winner +trial \d+ ", output)
    assert "test accuracy " in output
    assert "(val_loss, 2 fresh seeds)" in output
    (busy,) = re.findall(r"\n  workers  +busy (\d+|\d\.\d)% of the time  \(in the search\)\n", output)
    assert 0 <= float(busy) <= 100
    assert "results/mixed/report.html" in output
    assert "`netcore ui`" in output


@pytest.mark.slow
def test_before_a_confirmation_there_is_no_winner(mixed: Mixed, tmp_path: Path) -> None:
    """The first row is the best trial of the search; a run that trains nothing has no row about workers."""
    shutil.copytree(mixed[1].parent, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "results" / "mixed" / "confirm")
    output = netcore_command("run", "mixed.toml", "--no-confirm", cwd=tmp_path / "copy").stdout
    best = mixed[2].trials.query("state == 'finished'").sort_values("value")["trial"].iloc[0]
    assert re.search(rf"\n\n  best trial +trial {best} ", output)
    assert "winner" not in output
    assert "\n  workers " not in output


def test_busy_is_the_share_of_the_workers_time(mixed: Mixed, tmp_path: Path) -> None:
    """The seconds of all workers, times their busy share, are the seconds of all trials."""
    with Run(mixed[0], results=tmp_path, workers=2) as run:
        for _ in run.search(confirm=False):
            pass
    busy, trained = present(run.busy), sum(record.provenance.seconds for record in run.folder.committed())
    assert 0 < busy < 1
    assert run.seconds["all workers, while searching"] * busy == pytest.approx(trained)


@pytest.mark.slow
def test_the_outcome_has_the_audit(mixed: Mixed, tmp_path: Path) -> None:
    """After an audit: how many trials would have won; the test accuracy only if it belongs to a net of this study."""
    shutil.copytree(mixed[1].parent, tmp_path / "copy")
    command = ("audit", "mixed.toml", "--share", "0.5")
    said = netcore_command(*command, cwd=tmp_path / "copy").stdout
    assert re.search(r"\n  audit  +\d+ of \d+ pruned trials? would have beaten the best trial\n", said)
    assert "\n  test accuracy " in said
    test = tmp_path / "copy" / "results" / "mixed" / "test.json"
    test.write_text(json.dumps({**json.loads(test.read_text()), "digest": "0" * 64}))
    assert "\n  test accuracy " not in netcore_command(*command, cwd=tmp_path / "copy").stdout


def test_show_prints_a_whole_trial(mixed: Mixed) -> None:
    """A finished trial: every hyperparameter to the last digit, and the curve; a failed one: its traceback."""
    row = mixed[2].trials.query("state == 'finished'").iloc[0]
    said = quick("show", "mixed", row["trial"], "--results", mixed[1], cwd=mixed[1].parent).stdout
    assert f"trial {row['trial']}: finished" in said
    assert row["digest"] in said
    assert repr(float(row["learning_rate"])) in said
    assert repr(float(row["value"])) in said
    assert said.count("\n") >= 6 + 6  # six epochs
    failed = mixed[2].trials.query("state == 'failed'")["trial"].iloc[0]
    said = quick("show", "mixed", failed, "--results", mixed[1], cwd=mixed[1].parent).stdout
    assert f"trial {failed}: failed" in said
    assert "Traceback" in said
    assert "Unable to allocate" in said


def test_a_damaged_study_does_not_hide_the_others(mixed: Mixed, tmp_path: Path) -> None:
    """`list` prints every readable study, then the errors of the others; without a study, how to make one."""
    assert "`netcore run digits` makes one" in quick("list", cwd=tmp_path).stdout
    shutil.copytree(mixed[1], tmp_path / "results")
    shutil.copytree(tmp_path / "results" / "mixed", tmp_path / "results" / "broken")
    (tmp_path / "results" / "broken" / "trials" / "000003.npz").write_bytes(b"")
    done = quick("list", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("mixed")
    assert "40/40 trials: " in done.stdout
    assert done.stderr.startswith("error: results/broken/trials/000003.npz: ")
