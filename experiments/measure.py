"""What the scripts share: run a command and measure it, print a line with its target, write a study file.

The scripts treat netcore as its users do where they can: they run its commands and read its tables, so that a change
inside netcore seldom reaches them. CPU is user and system time of a command and of every process that it waited for.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

STUDIES = Path(__file__).parents[1] / "studies"
DIGITS = STUDIES / "digits.toml"
PLOTS = Path(__file__).parents[1] / "docs" / "figures"
CORES = os.cpu_count() or 1
MEGABYTE = 10**6

SPACE = """
[space]
learning_rate = { low = 1e-3, high = 1.0, log = true }
hidden_size = { low = 16, high = 256, log = true }
reg = { low = 1e-6, high = 1e-1, log = true }
learning_rate_decay = { low = 0.85, high = 1.0 }
"""
"""The search space of studies/digits.toml."""


class Cost(NamedTuple):
    """What a command took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of CPU of all its processes."""
    memory: float
    """Megabytes of its largest process, at most."""
    out: str
    code: int


def cost_of(folder: Path, *command: str | Path, database: str = "mlflow.db", fails: bool = False) -> Cost:
    """Run a command in `folder` and measure it; `database` is a SQLite file there or the address of an MLflow server.

    A command that fails ends the script with its output, unless `fails` says that it may.
    """
    uri = database if "://" in database else f"sqlite:///{database}"
    settings = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryFile("w+") as out:
        begun = time.perf_counter()
        running = subprocess.Popen(command, cwd=folder, env=os.environ | settings, stdout=out, stderr=out)
        _, status, usage = os.wait4(running.pid, 0)
        wall = time.perf_counter() - begun
        running.returncode = code = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if code and not fails:
        sys.exit(f"{' '.join(map(str, command))}: exit code {code}\n{text}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss / MEGABYTE, text, code)


def netcore(folder: Path, *arguments: str | Path, database: str = "mlflow.db", fails: bool = False) -> Cost:
    """Run a netcore command in `folder` and measure it."""
    return cost_of(folder, sys.executable, "-m", "netcore", *arguments, database=database, fails=fails)


def times_of(study: Path) -> dict[str, float]:
    """Return the seconds that netcore itself noted in a study's folder, summed over its runs."""
    times: dict[str, float] = json.loads((study / "times.json").read_text(encoding="utf-8"))
    return times


def write_study(folder: Path, name: str, text: str) -> Path:
    """Write a study file and return its path."""
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def show(what: str, measured: str, target: str = "", *, holds: bool = True) -> None:
    """Print one line: what was measured, the value, the target."""
    print(f"{what:<58} {measured:>12}   {target}{'' if holds else '   MISSED'}", flush=True)


def show_at_most(what: str, value: float, most: float, unit: str, digits: int = 1) -> None:
    """Print a value that should not exceed `most`."""
    show(what, f"{value:.{digits}f} {unit}", f"<= {most:g} {unit}", holds=value <= most)


def show_load() -> None:
    """Print how busy the machine is."""
    print(f"load {os.getloadavg()[0]:.1f} on {CORES} cores", flush=True)


def numbers(text: str) -> range:
    """Parse `3` or `0-4`."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
