"""A password in MLflow's address reaches nothing that netcore prints, writes or starts, whatever goes wrong."""

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil
import pytest

from netcore.errors import WorkError
from netcore.tracking.client import shown_uri, speaking_plainly
from studies import ARRAYS

PASSWORD = "hu/sh hu$h@"  # noqa: S105  # the test looks for it
SPELLED = {PASSWORD, quote(PASSWORD, ""), quote(PASSWORD), quote_plus(PASSWORD), "hu%2fsh", "sh hu$h"}
COMMANDS = """
import sys
from netcore.cli import commands
from netcore.errors import NetcoreError
for line in ["run filed.toml --no-confirm", "sync filed", "verify filed", "report filed", "list", "ui --port 5999"]:
    print("$", line, flush=True)
    try:
        commands(line.split(), standalone_mode=False)
    except NetcoreError as error:
        print(error, file=sys.stderr)
"""
"""A process that runs one command after the other, so that they share their imports."""

ADDRESSES = ["http://me:{}@127.0.0.1:1", "postgresql://me:{}@127.0.0.1:1/mlflow", "mysql://127.0.0.1:1/m?password={}"]


@pytest.mark.slow
@pytest.mark.rounds(1, len(ADDRESSES))
def test_a_password_is_nowhere_to_be_read(turn: int, tmp_path: Path) -> None:
    """run, sync, verify, report, list and ui with a server that is not there: no output, file or argument holds it."""
    (tmp_path / "filed.toml").write_text(ARRAYS.replace('"arrays", path = "rows.npz"', '"iris"'))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": ADDRESSES[turn].format(quote(PASSWORD, ""))}
    command = [sys.executable, "-c", COMMANDS]
    arguments: set[str] = set()
    with (tmp_path / "said.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            for each in (child for child in psutil.Process(process.pid).children(recursive=True) if child.is_running()):
                try:
                    arguments.add(" ".join(each.cmdline()))
                except psutil.Error:
                    continue
            time.sleep(0.1)
    said = (tmp_path / "said.log").read_text()
    assert process.returncode == 0, said
    assert said.count("refuses (") >= 4  # run, sync, verify, ui
    assert "2 of 2 trials wait" in said
    assert any("--follow" in each for each in arguments)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "results" / "filed" / "report.html" in files
    for secret in SPELLED:
        assert [each for each in arguments if secret in each] == []
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:hush@host/db", "postgresql://host/db"),
        ("postgresql://host/db?user=me&password=hush", "postgresql://host/db"),
        ("postgresql://me:hu@sh@host/db", "postgresql://host/db"),
        ("postgresql://me:a?hush@host/db", "postgresql://..."),
        ("postgresql://host/db?password=a@hush", "postgresql://..."),
        ("http://me:a#hush@host", "http://..."),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("sqlite:///file:mlflow.db?uri=true&key=hush", "sqlite:///file:mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("mlruns", "mlruns"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, password and everything after a `?` are left out; where they cannot be told apart, so is the rest."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert shown_uri() == shown


@pytest.mark.parametrize("spelled", ["hu%2Fsh%21", "hu/sh!", "hu%2Fsh!", "hu%2fsh%21"])
@pytest.mark.parametrize("address", ["postgresql://me:hu%2Fsh%21@host/db", "mysql://host/db?passwd=hu%2Fsh%21"])
def test_an_error_does_not_spell_a_password(address: str, spelled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a driver writes, and however it encodes the password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(WorkError, match=r"no entry for \*\*\* there") as caught, speaking_plainly("nothing"):
        raise OSError(f"no entry for {spelled} there")
    assert spelled not in str(caught.value)
