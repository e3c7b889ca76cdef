"""Question: what does netcore cost beside the training that it is for?

Command: .venv/bin/python experiments/cost.py     (a minute on 2 cores; part of `make bench`)

Runs `netcore run digits` and the commands around it as a user does, each in a temporary folder, and prints for each
value its target. On a busy machine, wall times include the waiting for other programs.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

from measure import CORES, DIGITS, STUDIES, Cost, cost_of, netcore, show, show_at_most, show_load, times_of

from netcore import load_study

HEAVY = ("mlflow", "optuna", "pandas", "matplotlib", "sklearn")


def measure_run(folder: Path) -> Cost:
    """Measure `netcore run digits`, and print the times it noted and what it found."""
    run = netcore(folder, "run", DIGITS)
    study = folder / "results" / "digits"
    trials, spent = load_study(study).trials, times_of(study)
    show_at_most("netcore run digits, wall", run.wall, 30, "s")
    for name, seconds in spent.items():
        show(f"  {name}", f"{seconds:.1f} s")
    show("netcore run digits, CPU of all its processes", f"{run.cpu:.1f} s")
    test = json.loads((study / "test.json").read_text())
    show("  the final model's test accuracy", f"{test['accuracy']:.4f}", ">= 0.96", holds=test["accuracy"] >= 0.96)  # noqa: PLR2004
    show_at_most("the loop, per trial", 1000 * (spent["asking"] + spent["writing"]) / len(trials), 25, "ms")
    return run


def measure_sync(folder: Path) -> Cost:
    """Measure `netcore sync` into a database that has its tables but none of these trials."""
    netcore(folder, "run", STUDIES / "iris.toml", "--trials", "2", "--no-confirm", database="second.db")
    first = netcore(folder, "sync", "digits", database="second.db")
    again = netcore(folder, "sync", "digits", database="second.db")
    trials = len([*(folder / "results" / "digits" / "trials").glob("*.npz")])
    show_at_most("sync, CPU per trial", 1000 * (first.cpu - again.cpu) / trials, 40, "ms")
    show("sync with nothing to do, CPU (imports included)", f"{again.cpu:.1f} s")
    return first


def measure_start(folder: Path) -> None:
    """Measure what a user waits for before anything happens."""
    command = str(Path(sys.executable).with_name("netcore"))
    helps = statistics.median(cost_of(folder, command, "--help").wall for _ in range(10))
    show_at_most("netcore --help, wall (median of 10)", helps, 0.3, "s", 3)
    code = f"import netcore, sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    imports = [cost_of(folder, sys.executable, "-c", code) for _ in range(10)]
    show("import netcore, wall, start of Python included", f"{statistics.median(i.wall for i in imports):.3f} s")
    loaded = imports[0].out.strip()
    show("  heavy libraries that it loads", loaded or "none", "none", holds=not loaded)


def show_shares(folder: Path, run: Cost, sync: Cost) -> None:
    """Split the CPU of `netcore run digits`, each part measured on its own."""
    study = folder / "results" / "digits"
    spent = times_of(study)
    parts = {
        "training": float(load_study(study).trials["seconds"].sum()),
        "asking": spent["asking"],
        "writing": spent["writing"],
        "MLflow's process": sync.cpu,
        "tables, plots, report (and their imports)": netcore(folder, "report", "digits").cpu,
    }
    parts[f"the rest: imports, start of {CORES} workers, MLflow's tables"] = run.cpu - sum(parts.values())
    for name, seconds in parts.items():
        show(f"  {name}", f"{seconds:.1f} s", f"{100 * seconds / run.cpu:.0f} %")


def main() -> None:
    """Measure everything; print each line when it is known."""
    show_load()
    show("what", "measured", "target")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = measure_run(folder)
        sync = measure_sync(folder)
        measure_start(folder)
        print("\nwhere the CPU of `netcore run digits` goes, each part measured on its own")
        show_shares(folder, run, sync)


if __name__ == "__main__":
    main()
