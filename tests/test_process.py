"""A process as a shell may start or end it: interrupts that arrive at any moment, standard files that are closed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from synced import runs_in

from studies import write_study

DROPS = """
import os, signal, sys, weakref
from netcore.cli.app import main

class Target:
    def __del__(self):
        os.kill(os.getpid(), NUMBER)

def drop(*_):
    HOW

def callback(_):
    os.kill(os.getpid(), NUMBER)
    for _ in range(10):
        pass  # the handler runs here, and its exception is dropped

signal.signal(signal.SIGUSR1, drop)
main()
"""
HOW = {
    "weakref": "target = type('T', (), {})(); watch = weakref.ref(target, callback); del target",
    "__del__": "Target()",
}


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("weakref", signal.SIGINT),
        pytest.param("weakref", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("__del__", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_that_python_drops_ends_the_run(tmp_path: Path, how: str, number: signal.Signals) -> None:
    """In a weak reference's callback and in `__del__`, Python drops the exception; the run ends with 130 anyway."""
    write_study(tmp_path / "long.toml", study="trials = 100000")
    program = DROPS.replace("NUMBER", str(int(number))).replace("HOW", HOW[how])
    command = [sys.executable, "-c", program, "run", "long.toml", "--workers", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as run:
        try:
            while not list(tmp_path.glob("results/long/trials/*.npz")):
                assert run.poll() is None
                time.sleep(0.05)
            run.send_signal(signal.SIGUSR1)
            _, said = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted after ")
    assert "Exception ignored" not in said


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("mkdir gone; cd gone; rmdir ../gone", "the current folder was deleted: change to another one"),
        ("ulimit -n 20", "Too many open files"),
    ],
)
def test_a_worker_that_cannot_be_started_ends_the_run(tmp_path: Path, first: str, reason: str) -> None:
    """Whatever the system refuses a new worker ends the run, soon, with one line and exit code 1."""
    study = write_study(tmp_path / "x.toml")
    line = [sys.executable, "-m", "netcore", "run", str(study), "--workers", "1", f"--results={tmp_path}/results"]
    script = ["/bin/sh", "-c", f'{first}; exec "$@"', "sh", *line]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files_harm_nothing(tmp_path: Path, closed: str) -> None:
    """Without standard output or error, and with a results folder whose name begins with a dash, a study runs."""
    write_study(tmp_path / "x.toml")
    line = [sys.executable, "-m", "netcore", "run", "x.toml", "--workers", "1", "--no-confirm", "--results=-x"]
    done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *line], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert len(list((tmp_path / "-x" / "x" / "trials").glob("*.npz"))) == 3
    assert len(runs_in(MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"), "x", "tags.`netcore.trial` LIKE '%'")) == 3
