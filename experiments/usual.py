"""A study as it is usually written, for `peers.py` to compare: Optuna proposes, MLflow tracks, a loop trains.

    python experiments/usual.py NET TRIALS

One study in the current folder: digits, 30 epochs, batches of 100, TPE on Optuna's SQLite storage, an MLflow call for
each epoch and a plot of the curve for each trial; one process, each part as its documentation shows it. NET is one of
`nets.NETS`. A second call in the same folder adds trials. Prints the best validation loss and that epoch's accuracy.
"""

import logging
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

import matplotlib as mpl
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import optuna
from nets import NETS, MakeNet, Size
from sklearn.metrics import log_loss

from netcore.data import Dataset, load_dataset

EPOCHS, BATCH = 30, 100


def objective(trial: optuna.Trial, data: Dataset, make: MakeNet) -> float:
    """Train one trial; return its best validation loss."""
    asked = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
        "hidden_size": trial.suggest_int("hidden_size", 16, 256, log=True),
        "reg": trial.suggest_float("reg", 1e-6, 1e-1, log=True),
        "learning_rate_decay": trial.suggest_float("learning_rate_decay", 0.85, 1.0),
    }
    classes, curve, accuracies = np.arange(data.classes), [], []
    with mlflow.start_run():
        mlflow.log_params(asked)
        size = Size(int(asked["hidden_size"]), data.classes, BATCH, asked["reg"], trial.number)
        net = make(data.X_train, data.y_train, size)
        for epoch in range(EPOCHS):
            train_loss = net.epoch(asked["learning_rate"] * asked["learning_rate_decay"] ** epoch)
            with np.errstate(all="ignore"):
                p2 = np.nan_to_num(net.probabilities(data.X_val), nan=0.1)
            curve.append(float(log_loss(data.y_val, p2, labels=classes)))
            accuracies.append(float(np.mean(p2.argmax(axis=1) == data.y_val)))
            metrics = {"train_loss": train_loss, "val_loss": curve[-1], "val_accuracy": accuracies[-1]}
            mlflow.log_metrics(metrics, step=epoch)
        figure, axes = plt.subplots()
        axes.plot(curve)
        mlflow.log_figure(figure, "curve.png")
        plt.close(figure)
    trial.set_user_attr("val_accuracy", accuracies[int(np.argmin(curve))])
    return min(curve)


def main(net: str, trials: int) -> None:
    """Run so many trials, in this folder."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    mpl.use("Agg")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_tracking_uri("sqlite:///usual.db")
    mlflow.set_experiment("usual")
    data = load_dataset("digits", seed=0)
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(study_name="usual", storage="sqlite:///optuna.db", sampler=sampler, load_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(lambda trial: objective(trial, data, NETS[net]), n_trials=trials)
    print(study.best_value, study.best_trial.user_attrs["val_accuracy"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
