"""Question: how much longer does a search take while MLflow is away?

Command: .venv/bin/python experiments/outage.py [ROUNDS]   (about a minute a round; six by default)

`netcore run` searches digits in three places, in turn: MLflow is a SQLite file, as by default; a port where nothing
listens; a server that accepts and never answers. Only the search is timed, from the start of its first trial to the end
of its last.
"""

import socket
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

from measure import DIGITS, netcore

from netcore import load_study

TRIALS = 24


class Taken(NamedTuple):
    """What a run took."""

    search: float
    """Seconds."""
    cpu: float
    """Seconds of CPU of the whole command, MLflow's process included."""
    code: int
    """1 where trials wait for `netcore sync`."""


def search(address: str, folder: Path) -> Taken:
    """Run the study with MLflow at this address."""
    folder.mkdir()
    options = ("--trials", str(TRIALS), "--workers", "1", "--no-confirm")
    run = netcore(folder, "run", DIGITS, *options, database=address, fails=True)
    trials = load_study(folder / "results" / "digits").trials
    return Taken((trials["ended"].max() - trials["started"].min()).total_seconds(), run.cpu, run.code)


def main(rounds: int) -> None:
    """Measure, and print a table."""
    took: dict[str, list[Taken]] = {}
    with socket.create_server(("127.0.0.1", 0)) as silent, tempfile.TemporaryDirectory() as folder:
        places = {
            "there": f"sqlite:///{folder}/mlflow.db",
            "refuses": "http://127.0.0.1:1",
            "never answers": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        for number in range(rounds):
            for name, address in places.items():
                taken = search(address, Path(folder) / f"{name} {number}".replace(" ", "-"))
                took.setdefault(name, []).append(taken)
    print("| MLflow | search, median | shortest | divided by the median with MLflow there | CPU of all | exit code |")
    print("|---|---|---|---|---|---|")
    there = statistics.median(each.search for each in took["there"])
    for name, runs in took.items():
        median, least = statistics.median(run.search for run in runs), min(run.search for run in runs)
        cpu = statistics.median(run.cpu for run in runs)
        print(f"| {name} | {median:.2f} s | {least:.2f} s | {median / there:.3f} | {cpu:.2f} s | {runs[-1].code} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
