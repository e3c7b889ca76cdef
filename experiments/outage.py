"""Question: how much longer does a search take while MLflow is away?

Command: .venv/bin/python experiments/outage.py [ROUNDS]   (about a minute a round, six unless told)

The same search of digits in three places, in turn: MLflow is a SQLite file as by default, a port where nothing listens,
a server that accepts and never answers. Only the search is timed: tables, figures and what comes at its end are not.
"""

import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from netcore.question.spec import load_spec
from netcore.run import Run
from netcore.tracking.follow import Follower

DIGITS = Path(__file__).parent.parent / "studies" / "digits.toml"
TRIALS = 24


class Taken(NamedTuple):
    """What a search took."""

    search: float
    follower: float
    """CPU seconds of the follower until the search was over, most of it the import of MLflow."""
    waits: str
    """What the follower could not send."""


def search(address: str, folder: Path) -> Taken:
    """Search with a follower beside it."""
    os.environ["MLFLOW_TRACKING_URI"] = address
    with Run(load_spec(DIGITS).with_trials(TRIALS), results=folder, workers=1) as run, Follower(run.folder) as follower:
        begun = time.perf_counter()
        for _ in run.search(confirm=False):
            pass
        seconds = time.perf_counter() - begun
        times = psutil.Process(follower._process.pid).cpu_times()  # noqa: SLF001  # nobody else asks
        return Taken(seconds, times.user + times.system, follower.finish(TRIALS)[0])


def main(rounds: int) -> None:
    """Measure, and print a table."""
    took: dict[str, list[Taken]] = {}
    with socket.create_server(("127.0.0.1", 0)) as silent, tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            places = {
                "there": f"sqlite:///{folder}/mlflow.db",
                "refuses": "http://127.0.0.1:1",
                "never answers": f"http://127.0.0.1:{silent.getsockname()[1]}",
            }
            for name, address in places.items():
                taken = search(address, Path(folder) / f"{name} {number}".replace(" ", "-"))
                took.setdefault(name, []).append(taken)
    print(
        "| MLflow | search, median | shortest | median, to that with MLflow there | follower's CPU | waits at the end |"
    )
    print("|---|---|---|---|---|---|")
    there = statistics.median(each.search for each in took["there"])
    for name, all_taken in took.items():
        seconds = [each.search for each in all_taken]
        median = statistics.median(seconds)
        cpu = statistics.median(each.follower for each in all_taken)
        times = f"{median:.2f} s | {min(seconds):.2f} s | {median / there:.3f} | {cpu:.2f} s"
        print(f"| {name} | {times} | {all_taken[-1].waits or 'none'} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
