"""Question: a thousand tracked trials a minute? And beside the way such studies are usually written?

Command: .venv/bin/python experiments/thousand.py [TRIALS] [USUAL]   (1,000 trials of each; nine minutes)

One study, twice: digits, 30 epochs, batches of 100, no early stopping, TPE, all tracked in MLflow on a new SQLite
database. netcore: `netcore run --no-confirm`, from the command's start to its end, tables, figures and report included.
The usual way: `study.optimize` on Optuna's SQLite storage, scikit-learn's MLPClassifier with `partial_fit`, an MLflow
call for each epoch, and a figure of the curve for each trial; one process, as the documentation of each shows it. Its
trials are timed in two halves, one before and one after netcore's, so that both see the same machine. They cost more
the more there are, as netcore's do: fewer of them would be another question.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from usual import BATCH, EPOCHS, Cost, Usual

STUDY = f"""
[study]
trials = {{trials}}
[data]
source = "digits"
[training]
epochs = {EPOCHS}
batch_size = {BATCH}
[space]
learning_rate = {{{{ low = 1e-3, high = 1.0, log = true }}}}
hidden_size = {{{{ low = 16, high = 256, log = true }}}}
reg = {{{{ low = 1e-6, high = 1e-1, log = true }}}}
learning_rate_decay = {{{{ low = 0.85, high = 1.0 }}}}
"""


def ours(folder: Path, trials: int) -> Cost:
    """Run netcore's study as a user does."""
    (folder / "thousand.toml").write_text(STUDY.format(trials=trials))
    command = [sys.executable, "-m", "netcore", "run", "thousand.toml", "--no-confirm"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    before, begun = _children_cpu(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    return Cost(trials, time.perf_counter() - begun, _children_cpu() - before)


def where_it_went(folder: Path, mine: Cost) -> None:
    """Say what netcore's CPU went to: what workers and main process noted, and the same sync once more, by itself."""
    study = folder / "results" / "thousand"
    spent = json.loads((study / "times.json").read_text())
    trained = float(pd.read_parquet(study / "trials.parquet")["seconds"].sum())
    before = _children_cpu()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///again.db"}
    subprocess.run([sys.executable, "-m", "netcore", "sync", "thousand"], cwd=folder, env=environment, check=True)
    sent = _children_cpu() - before
    print(f"\nof netcore's {mine.wall:.1f} s and {mine.cpu:.1f} s of CPU on all cores:")
    print(f"  {sent:6.1f} s of CPU   MLflow's process, its start and the making of its tables included")
    print(f"  {trained:6.1f} s          training, both workers, as long as they took")
    for what in ("asking", "writing", "tables, figures, report", "waiting for MLflow"):
        print(f"  {spent[what]:6.1f} s          {what}")


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Time both, and say how they compare."""
    asked = [int(text) for text in sys.argv[1:]]
    trials, usual = (*asked, *(1000, 1000)[len(asked) :])
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = Usual(folder)
        theirs.run(2)  # tables, imports
        first = theirs.run(usual // 2)
        mine = ours(folder, trials)
        second = theirs.run(usual - usual // 2)
        where_it_went(folder, mine)
    other = Cost(first.trials + second.trials, first.wall + second.wall, first.cpu + second.cpu)
    print(f"\n{'':<12}{'trials':>8}{'wall':>10}{'per trial':>12}{'CPU per trial':>16}")
    for label, cost in (("netcore", mine), ("usual stack", other)):
        each = f"{1000 * cost.wall / cost.trials:.0f} ms", f"{1000 * cost.cpu / cost.trials:.0f} ms"
        print(f"{label:<12}{cost.trials:>8}{cost.wall:>8.1f} s{each[0]:>12}{each[1]:>16}")
    print(f"\nthroughput: {other.wall / other.trials / (mine.wall / mine.trials):.1f} times the usual stack's")


if __name__ == "__main__":
    main()
