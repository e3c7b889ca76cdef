"""Question: does a trial still cost the same when thousands are known?

Command: .venv/bin/python experiments/scale.py trials [--quick]     (ten minutes; quick, as in make bench, two)

One study, for real: iris, 30 epochs a trial, TPE, as many workers as there are cores, MLflow on a new SQLite database.
What a trial costs is the mean over a hundred trials around the 500th and around the 5,000th (quick: 200th and 1,000th):
CPU of the main process for the ask, the record and the commit, and of the follower for its runs in MLflow. Memory is
that of all pages, shared ones divided among those who share them. What is made of all records at once is then made of
the first 500, and of all 5,000: CPU of a process of its own, and the most memory that it held.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from cost import Seconds, Stopwatch, timed
from memory import MEGABYTE, all_memory_of

from netcore import load_spec
from netcore.records.record import Record
from netcore.run import Run
from netcore.tracking.follow import Follower

STUDY = """
[study]
trials = {trials}
[data]
source = "iris"
[training]
epochs = 30
batch_size = 20
[space]
learning_rate = {{ low = 1e-3, high = 1.0, log = true }}
hidden_size = {{ low = 8, high = 64, log = true }}
reg = {{ low = 1e-6, high = 1e-1, log = true }}
learning_rate_decay = {{ low = 0.85, high = 1.0 }}
"""
NEAR = 50
"""A trial's cost at n is the mean over trials n - 50 … n + 50."""
MOST, MOST_WITH_ASK = 2.0, 3.0
"""What is wanted: at most so many times the cost."""
VIEWS = """
import sys
from pathlib import Path
from time import process_time
from netcore.results.plots import draw_all
from netcore.results.report import write_report
from netcore.results.tables import tables_of, write_tables
from netcore.records.folder import StudyFolder
from netcore.tracking.journal import write_journal

def step(name, action):
    taken = []
    while not taken or (sum(taken) < 1 and len(taken) < 5):  # what takes no time is taken again
        begun = process_time()
        made = action()
        taken.append(process_time() - begun)
    print(name, min(taken), sep="=")
    return made

folder = StudyFolder(Path(sys.argv[1]))
records = step("read all records", folder.committed)
tables = step("tables", lambda: tables_of(records, folder))
step("Parquet", lambda: write_tables(tables, folder))
step("Optuna's journal", lambda: write_journal(records, folder))
figures = step("figures", lambda: draw_all(tables, folder))
step("report", lambda: write_report(tables, folder, figures))
"""
"""Makes all views, and says how many seconds of CPU each takes at least."""


class Moment(NamedTuple):
    """What has been spent so far, in seconds, and what is held."""

    wall: Seconds
    cpu: Seconds
    sent: int
    """Trials that the follower has told MLflow of."""
    follower: float
    """Its CPU."""
    memory: tuple[int, int]
    """Of the main process and of the follower, in bytes."""


def moments_of(folder: Path, trials: int) -> list[Moment]:
    """Run the study; give the moment after each commit and, until MLflow has all trials, some more."""
    path = folder / "growth.toml"
    path.write_text(STUDY.format(trials=trials), encoding="utf-8")
    wall, cpu = Stopwatch(), Stopwatch(time.thread_time)
    moments: list[Moment] = []
    memory = (0, 0)
    with Run(load_spec(path), results=folder) as run, Follower(run.folder) as follower, timed(wall), timed(cpu):
        process = psutil.Process(follower._process.pid)  # noqa: SLF001  # to look at it, not to touch it

        def look() -> None:
            nonlocal memory
            if len(moments) % NEAR == NEAR - 1:
                memory = all_memory_of(os.getpid()), all_memory_of(process.pid)
            spent, sent = process.cpu_times(), follower._sent  # noqa: SLF001
            moments.append(Moment({**wall.seconds}, {**cpu.seconds}, sent, spent.user + spent.system, memory))

        for step in run.search(confirm=False):
            if isinstance(step, Record):
                look()
        while moments[-1].sent < trials:
            time.sleep(0.1)
            look()
        follower.finish(trials)
    return moments


def at(moments: list[Moment], trial: int) -> dict[str, float]:
    """Give the milliseconds that a trial costs there, by part, and the megabytes that are held."""
    first, last = moments[trial - NEAR], moments[trial + NEAR]
    parts = {name: (last.cpu[name] - first.cpu[name]) / (2 * NEAR) for name in ("ask", "record", "commit")}
    parts["record, wall"] = (last.wall["record"] - first.wall["record"]) / (2 * NEAR)
    sent = {moment.sent: moment.follower for moment in reversed(moments)}  # the first moment of each
    begun, ended = np.interp((trial - NEAR, trial + NEAR), sorted(sent), [sent[number] for number in sorted(sent)])
    parts["sync"] = (ended - begun) / (2 * NEAR)
    held = next(moment for moment in moments if moment.sent >= trial)
    return {name: 1000 * seconds for name, seconds in parts.items()} | {
        "main process": last.memory[0] / MEGABYTE,
        "follower": held.memory[1] / MEGABYTE,
    }


def show(what: str, few: float, many: float, unit: str, most: float | None) -> None:
    """Print a line: with few trials, with many, and how many times as much that is."""
    wanted = "" if most is None else f"<= {most:g}{'' if many <= most * few else '   MISSED'}"
    print(f"{what:<42}{few:>9.1f} {unit:<3}{many:>9.1f} {unit:<3}{many / few:>8.2f}   {wanted}", flush=True)


def show_trials(moments: list[Moment], few: int, many: int) -> None:
    """Print what a trial costs after few and after many."""
    before, after = at(moments, few), at(moments, many)
    for name in ("record", "record, wall", "commit", "sync"):
        show(f"a trial's {name}", before[name], after[name], "ms", MOST)
    parts = ("record", "commit", "sync")
    few_ms, many_ms = (sum(each[name] for name in parts) for each in (before, after))
    show("- all of these, CPU", few_ms, many_ms, "ms", MOST)
    show("a trial's ask", before["ask"], after["ask"], "ms", None)
    show("- all of these with the ask, CPU", few_ms + before["ask"], many_ms + after["ask"], "ms", MOST_WITH_ASK)
    for name in ("main process", "follower"):
        show(f"memory of the {name}", before[name], after[name], "MB", MOST)


class Spent(NamedTuple):
    """What a process took."""

    cpu: float
    memory: float
    """The most that it held, in megabytes."""
    out: str


def spent_by(folder: Path, *arguments: str) -> Spent:
    """Run Python in `folder`; others that it starts do not count."""
    with tempfile.TemporaryFile("w+") as out:
        files = [(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, out.fileno(), 2)]
        pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=files)
        _, status, usage = os.wait4(pid, 0)
        out.seek(0)
        said = out.read()
    if status:
        sys.exit(f"{' '.join(arguments)}, in {folder}:\n{said}")
    return Spent(usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss / MEGABYTE, said)


def views_of(study: Path) -> Iterator[tuple[str, float, str]]:
    """Make of a study's records what is made of all at once; give what, how much, and the unit."""
    views = spent_by(study, "-c", VIEWS, str(study))
    for line in views.out.splitlines():
        name, _, seconds = line.partition("=")
        yield name, float(seconds), "s"
    yield "memory of all these, at most", views.memory, "MB"
    for name, command in (("sync with nothing new", "sync"), ("verify", "verify")):
        if command == "sync":
            spent_by(study, "-m", "netcore", "sync", str(study))
        done = spent_by(study, "-m", "netcore", command, str(study))
        yield f"netcore {name}, CPU", done.cpu, "s"
        yield "- memory, at most", done.memory, "MB"


def show_views(study: Path, few: int, many: int) -> None:
    """Print what it takes to make everything of the first few trials, and of many."""
    part = study.parent / f"first-{few}" / study.name
    shutil.copytree(study, part)
    for folder, trials in ((part, few), (study, many)):
        for record in (folder / "trials").glob("*.npz"):
            if int(record.stem) >= trials:
                record.unlink()
    made = []
    for folder in (part, study):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder.parent}/mlflow.db"
        made.append([*views_of(folder)])
    for (name, before, unit), (_, after, _) in zip(*made, strict=True):
        show(name, before, after, unit, MOST if unit == "MB" else MOST * many / few)


def main(few: int, many: int) -> None:
    """Run the study, and print how things grow."""
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':<42}{f'at {few:,}':>12}{f'at {many:,}':>13}{'times':>8}   wanted")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
        window = 8
        show_trials(moments_of(folder, many + NEAR + window), few, many)
        show_views(folder / "growth", few, many)
