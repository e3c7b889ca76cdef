"""The usual stack, as netcore is compared with it: Optuna proposes, MLflow tracks, and a loop trains.

    python experiments/usual.py NET TRIALS

One study in the current folder: digits, 30 epochs, batches of 100, TPE on Optuna's SQLite storage, an MLflow call for
each epoch and a figure of the curve for each trial; one process, each part as its documentation shows it. NET is one of
`peer_nets.NETS`. It prints the best validation loss of all trials, and the accuracy in that epoch.
"""

import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import optuna
from peer_nets import NETS, MakeNet
from sklearn.metrics import log_loss

from netcore.data import load_dataset

EPOCHS, BATCH = 30, 100


class Cost(NamedTuple):
    """What so many trials took, of all processes."""

    trials: int
    wall: float
    cpu: float


class Usual:
    """A study of the usual stack."""

    def __init__(self, folder: Path, net: MakeNet = NETS["scikit-learn"]) -> None:
        mpl.use("Agg")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'usual.db'}")
        mlflow.set_experiment("usual")
        self._data, self._net = load_dataset("digits", seed=0), net
        sampler = optuna.samplers.TPESampler(seed=0)
        self._study = optuna.create_study(storage=f"sqlite:///{folder / 'optuna.db'}", sampler=sampler)
        self.best = (np.inf, 0.0)
        """The best validation loss, and the accuracy in that epoch."""

    def run(self, trials: int) -> Cost:
        """Run some more trials."""
        begun, cpu = time.perf_counter(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.optimize(self._objective, n_trials=trials)
        return Cost(trials, time.perf_counter() - begun, time.process_time() - cpu)

    def _objective(self, trial: optuna.Trial) -> float:
        data, classes = self._data, np.arange(self._data.classes)
        asked = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
            "hidden_size": trial.suggest_int("hidden_size", 16, 256, log=True),
            "reg": trial.suggest_float("reg", 1e-6, 1e-1, log=True),
            "learning_rate_decay": trial.suggest_float("learning_rate_decay", 0.85, 1.0),
        }
        curve = []
        with mlflow.start_run():
            mlflow.log_params(asked)
            rows = data.X_train, data.y_train
            net = self._net(*rows, int(asked["hidden_size"]), data.classes, BATCH, asked["reg"], trial.number)
            for epoch in range(EPOCHS):
                train_loss = net.epoch(asked["learning_rate"] * asked["learning_rate_decay"] ** epoch)
                with np.errstate(all="ignore"):
                    p2 = np.nan_to_num(net.probabilities(data.X_val), nan=0.1)
                curve.append(float(log_loss(data.y_val, p2, labels=classes)))
                accuracy = float(np.mean(p2.argmax(axis=1) == data.y_val))
                metrics = {"train_loss": train_loss, "val_loss": curve[-1], "val_accuracy": accuracy}
                mlflow.log_metrics(metrics, step=epoch)
                self.best = min(self.best, (curve[-1], -accuracy))
            figure, axes = plt.subplots()
            axes.plot(curve)
            mlflow.log_figure(figure, "curve.png")
            plt.close(figure)
        return min(curve)


if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    usual = Usual(Path.cwd(), NETS[sys.argv[1]])
    usual.run(int(sys.argv[2]))
    print(*map(abs, usual.best))
