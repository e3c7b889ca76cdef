"""Question: a thousand tracked trials a minute? And beside the way such studies are usually written?

Command: .venv/bin/python experiments/thousand.py [TRIALS] [USUAL]      (1,000 and 40 trials; some two minutes)

One study, twice: digits, 30 epochs, batches of 100, no early stopping, TPE, all tracked in MLflow on a new SQLite
database. netcore: `netcore run --no-confirm`, from the command's start to its end, tables, figures and report included.
The usual way: `study.optimize` on Optuna's SQLite storage, scikit-learn's MLPClassifier with `partial_fit`, an MLflow
call for each epoch, and a figure of the curve for each trial; one process, as the documentation of each shows it. Its
trials are timed in two halves, one before and one after netcore's, so that both see the same machine.
"""

import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

EPOCHS, BATCH = 30, 100
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


class Cost(NamedTuple):
    """What so many trials took, of all processes."""

    trials: int
    wall: float
    cpu: float


def ours(folder: Path, trials: int) -> Cost:
    """Run netcore's study as a user does."""
    (folder / "thousand.toml").write_text(STUDY.format(trials=trials))
    command = [sys.executable, "-m", "netcore", "run", "thousand.toml", "--no-confirm"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    before, begun = _children_cpu(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    return Cost(trials, time.perf_counter() - begun, _children_cpu() - before)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Usual:
    """The usual stack: each part as its documentation shows it."""

    def __init__(self, folder: Path) -> None:
        import matplotlib as mpl  # noqa: PLC0415  # what the other half does not need
        import mlflow  # noqa: PLC0415
        import optuna  # noqa: PLC0415

        from netcore.data import load_dataset  # noqa: PLC0415

        mpl.use("Agg")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'usual.db'}")
        mlflow.set_experiment("usual")
        self._data, self._folder = load_dataset("digits", seed=0), folder
        sampler = optuna.samplers.TPESampler(seed=0)
        self._study = optuna.create_study(storage=f"sqlite:///{folder / 'optuna.db'}", sampler=sampler)

    def run(self, trials: int) -> Cost:
        """Run some more trials."""
        begun, cpu = time.perf_counter(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.optimize(self._objective, n_trials=trials)
        return Cost(trials, time.perf_counter() - begun, time.process_time() - cpu)

    def _objective(self, trial: "object") -> float:
        import matplotlib.pyplot as plt  # noqa: PLC0415
        import mlflow  # noqa: PLC0415
        import numpy as np  # noqa: PLC0415
        import optuna  # noqa: PLC0415
        from sklearn.metrics import log_loss  # noqa: PLC0415
        from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

        assert isinstance(trial, optuna.Trial)  # noqa: S101  # for the types
        data = self._data
        asked = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
            "hidden_size": trial.suggest_int("hidden_size", 16, 256, log=True),
            "reg": trial.suggest_float("reg", 1e-6, 1e-1, log=True),
            "learning_rate_decay": trial.suggest_float("learning_rate_decay", 0.85, 1.0),
        }
        classes, curve = np.arange(data.classes), []
        with mlflow.start_run():
            mlflow.log_params(asked)
            net = MLPClassifier(
                (asked["hidden_size"],),
                solver="sgd",
                momentum=0.0,
                alpha=asked["reg"],
                batch_size=BATCH,
                learning_rate_init=asked["learning_rate"],
                random_state=trial.number,
            )
            for epoch in range(EPOCHS):
                net.learning_rate_init = asked["learning_rate"] * asked["learning_rate_decay"] ** epoch
                net.partial_fit(data.X_train, data.y_train, classes=classes)
                with np.errstate(all="ignore"):
                    p2 = np.nan_to_num(net.predict_proba(data.X_val), nan=0.1)
                curve.append(float(log_loss(data.y_val, p2, labels=classes)))
                accuracy = float(np.mean(p2.argmax(axis=1) == data.y_val))
                metrics = {"train_loss": net.loss_, "val_loss": curve[-1], "val_accuracy": accuracy}
                mlflow.log_metrics(metrics, step=epoch)
            figure, axes = plt.subplots()
            axes.plot(curve)
            mlflow.log_figure(figure, "curve.png")
            plt.close(figure)
        return min(curve)


def main() -> None:
    """Time both, and say how they compare."""
    asked = [int(text) for text in sys.argv[1:]]
    trials, usual = (*asked, *(1000, 40)[len(asked) :])
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = Usual(folder)
        theirs.run(2)  # tables, imports
        first = theirs.run(usual // 2)
        mine = ours(folder, trials)
        second = theirs.run(usual - usual // 2)
    other = Cost(first.trials + second.trials, first.wall + second.wall, first.cpu + second.cpu)
    print(f"\n{'':<12}{'trials':>8}{'wall':>10}{'per trial':>12}{'CPU per trial':>16}")
    for label, cost in (("netcore", mine), ("usual stack", other)):
        each = f"{1000 * cost.wall / cost.trials:.0f} ms", f"{1000 * cost.cpu / cost.trials:.0f} ms"
        print(f"{label:<12}{cost.trials:>8}{cost.wall:>8.1f} s{each[0]:>12}{each[1]:>16}")
    print(f"\nthroughput: {other.wall / other.trials / (mine.wall / mine.trials):.1f} times the usual stack's")


if __name__ == "__main__":
    main()
