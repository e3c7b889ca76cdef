"""Whole tracked studies side by side, for `peers.py`: netcore's command beside the usual stack with each library's net.

All search the same space on the same rows: digits, 30 epochs, batches of 100, float32, plain SGD with penalty and
decay, TPE, tracked in MLflow on a new SQLite database. Each is a command, timed from its start to its end: imports, the
making of the database, and what it draws are in it (netcore: tables, figures and a report; the others: a curve for each
trial). They take turns, round after round, on all cores; a process that trains does so with one thread.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from peer_nets import missing
from thousand import STUDY

from netcore import load_study

NETCORE = [sys.executable, "-m", "netcore", "run", "study.toml", "--no-confirm"]
CORES = os.cpu_count() or 1
NETS = ("scikit-learn", "PyTorch", "JAX")


class Study(NamedTuple):
    """What a whole study took, in seconds of all its processes, and what it found."""

    wall: float
    cpu: float
    val_loss: float
    """The best of all trials."""
    val_accuracy: float
    """In the epoch of that loss."""


def stacks(trials: int) -> dict[str, list[str]]:
    """Give the command of each stack whose libraries are there."""
    usual = str(Path(__file__).with_name("usual.py"))
    ours = {
        f"netcore, {n} worker{'s' * (n > 1)}": [*NETCORE, "--workers", str(n)] for n in sorted({CORES, 1}, reverse=True)
    }
    theirs = {name: [sys.executable, usual, name, str(trials)] for name in NETS if name not in missing()}
    return ours | {f"Optuna, MLflow, {name}": command for name, command in theirs.items()}


def study(command: list[str], trials: int) -> Study:
    """Run a stack's study in a new folder, on all cores: `peers.py` itself keeps to one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(STUDY.format(trials=trials), encoding="utf-8")
        settings = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
        unpinned = partial(os.sched_setaffinity, 0, range(CORES)) if hasattr(os, "sched_setaffinity") else None
        before, begun = _children_cpu(), time.perf_counter()
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=unpinned,
        )
        wall, cpu = time.perf_counter() - begun, _children_cpu() - before
        if done.returncode:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
        if "netcore" not in command:
            val_loss, val_accuracy = map(float, done.stdout.split()[-2:])
            return Study(wall, cpu, val_loss, val_accuracy)
        best = load_study("study", results=folder / "results").trials.sort_values("value").iloc[0]
        return Study(wall, cpu, float(best["val_loss"]), float(best["val_accuracy"]))


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rounds_of(rounds: int, trials: int) -> Iterator[dict[str, Study]]:
    """Run all stacks so often, in turn; a short round before brings what they read into the system's cache."""
    for command in stacks(1).values():
        study(command, 1)
    for _ in range(rounds):
        yield {name: study(command, trials) for name, command in stacks(trials).items()}
