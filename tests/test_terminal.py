"""What a person sees: a bar on a terminal, plain lines elsewhere, the outcome at the end, one trial in full."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import netcore_command, write_mixed

from netcore.question.spec import StudySpec
from netcore.records.record import Record
from netcore.results.tables import StudyTables
from netcore.run import Run

Mixed = tuple[StudySpec, Path, StudyTables]


def on_a_terminal(*command: str, cwd: Path, columns: int) -> str:
    """Run a command whose standard error is a terminal of so many columns; give what the terminal got."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux: the other side is closed
                break
            if not piece:
                break
            said += piece
    os.close(ours)
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_gets_a_bar(tmp_path: Path, columns: int) -> None:
    """On a terminal a bar shows how many are done, how they ended and the best, uncut, on narrow ones too."""
    write_mixed(tmp_path, 12)
    said = on_a_terminal(sys.executable, "-m", "netcore", "run", "mixed.toml", cwd=tmp_path, columns=columns)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert "12/12" in plain
    words = " ".join(plain.split())
    assert re.search(r"best val_loss \d\.\d{4} \(trial \d+\)", words)
    assert "…" not in plain
    assert "Traceback" not in plain
    assert max(map(len, plain.replace("\r", "\n").split("\n"))) <= columns


def test_elsewhere_it_gets_lines(tmp_path: Path) -> None:
    """Where no terminal is, ten lines at most say how far it is, and none moves a cursor."""
    write_mixed(tmp_path, 20)
    done = netcore_command("run", "mixed.toml", cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if "/20 trials: " in line]
    assert len(lines) == 10
    assert lines[-1].startswith("20/20 trials: ")
    assert "\x1b" not in done.stderr + done.stdout


def test_the_outcome_says_who_won_and_where_everything_is(tmp_path: Path) -> None:
    """At the end: the winner's hyperparameters and figures, the report, and the command that opens the UI."""
    write_mixed(tmp_path, 12)
    said = netcore_command("run", "mixed.toml", cwd=tmp_path).stdout
    for word in ("learning_rate ", "hidden_size ", "reg ", "learning_rate_decay ", "val_loss ", "val_accuracy "):
        assert f"\n  {word}" in said
    assert "test accuracy " in said
    assert "(val_loss, 2 fresh seeds)" in said
    (busy,) = re.findall(r"\n  workers  +busy (\d+|\d\.\d)% of the time  \(in the search\)\n", said)
    assert 0 <= float(busy) <= 100
    assert "results/mixed/report.html" in said
    assert "`netcore ui`" in said


def test_workers_are_busy_only_where_something_is_trained(mixed: Mixed, tmp_path: Path) -> None:
    """A run that finds all its records says nothing of workers; another one knows the share of their time."""
    shutil.copytree(mixed[1].parent, tmp_path / "there")
    assert "\n  workers " not in netcore_command("run", "mixed.toml", cwd=tmp_path / "there").stdout
    with Run(mixed[0], results=tmp_path / "anew", workers=2) as run:
        for _ in run.search(confirm=False):
            pass
    assert run.busy is not None
    assert 0 < run.busy < 1
    assert run.seconds["all workers, while searching"] * run.busy == pytest.approx(trained(run.folder.committed()))


def trained(records: list[Record]) -> float:
    """Give the seconds that trials took."""
    return sum(record.provenance.seconds for record in records)


def test_the_outcome_counts_one_as_one(tmp_path: Path) -> None:
    """With one seed there is a fresh seed, not seeds."""
    write_mixed(tmp_path, 12)
    study = tmp_path / "mixed.toml"
    text = study.read_text(encoding="utf-8")
    study.write_text(re.sub(r"(?m)^seeds *= *2$", "seeds = 1", text), encoding="utf-8")
    said = netcore_command("run", "mixed.toml", cwd=tmp_path).stdout
    assert "(val_loss, 1 fresh seed)" in said


def test_the_outcome_of_an_audit_says_what_it_found(mixed: Mixed, tmp_path: Path) -> None:
    """After an audit: how many trials would have won; the test accuracy only where it is of a net of this study."""
    shutil.copytree(mixed[1].parent, tmp_path / "there")
    command = ("audit", "mixed.toml", "--share", "0.5")
    said = netcore_command(*command, cwd=tmp_path / "there").stdout
    assert re.search(r"\n  audit  +\d+ of \d+ stopped trials? would have won\n", said)
    assert "\n  test accuracy " in said
    test = tmp_path / "there" / "results" / "mixed" / "test.json"
    test.write_text(json.dumps({**json.loads(test.read_text()), "digest": "0" * 64}))
    assert "\n  test accuracy " not in netcore_command(*command, cwd=tmp_path / "there").stdout


def test_show_says_all_of_a_trial(mixed: Mixed) -> None:
    """A finished trial: every hyperparameter to the last digit, and the curve."""
    row = mixed[2].trials.query("state == 'finished'").iloc[0]
    said = netcore_command("show", "mixed", row["trial"], "--results", mixed[1], cwd=mixed[1].parent).stdout
    assert f"trial {row['trial']}: finished" in said
    assert row["digest"] in said
    assert repr(float(row["learning_rate"])) in said
    assert repr(float(row["value"])) in said
    assert said.count("\n") >= 6 + 6  # six epochs


def test_show_says_why_a_trial_failed(mixed: Mixed) -> None:
    """A failed trial: its traceback."""
    failed = mixed[2].trials.query("state == 'failed'")["trial"].iloc[0]
    said = netcore_command("show", "mixed", failed, "--results", mixed[1], cwd=mixed[1].parent).stdout
    assert f"trial {failed}: failed" in said
    assert "Traceback" in said
    assert "Unable to allocate" in said


def test_list_names_every_study(mixed: Mixed, tmp_path: Path) -> None:
    """`list` gives a line for each study; an empty folder says how to make one."""
    said = netcore_command("list", "--results", mixed[1], cwd=tmp_path).stdout
    assert said.startswith("mixed")
    assert "40/40 trials: " in said
    assert "`netcore run digits` makes one" in netcore_command("list", cwd=tmp_path).stdout


def test_a_damaged_study_does_not_hide_the_others(mixed: Mixed, tmp_path: Path) -> None:
    """`list` shows every study it can, then says what is wrong with the rest, exit code 2."""
    shutil.copytree(mixed[1], tmp_path / "results")
    shutil.copytree(tmp_path / "results" / "mixed", tmp_path / "results" / "broken")
    (tmp_path / "results" / "broken" / "trials" / "000003.npz").write_bytes(b"")
    done = netcore_command("list", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("mixed")
    assert done.stderr.startswith("error: results/broken/trials/000003.npz: ")
    (tmp_path / "afile").touch()
    assert netcore_command("list", "--results", "afile", cwd=tmp_path).returncode == 2
