"""Question: does the winner's interval contain the true value?

Command: .venv/bin/python experiments/interval_coverage.py [REPETITIONS]      (200 take about 6 minutes)

Whole confirmations, repeated on data whose truth is known: three overlapping Gaussian classes in 8 dimensions. Each
repetition draws 400 rows, searches a grid of 12 settings, confirms the three best with ten seeds, and takes the
winner's mean loss with its 95 % interval. The truth is the expected loss of *that setting trained on that many rows*:
the mean over many nets, each trained on rows of its own and judged on 10,000 fresh rows.
"""

import sys
import tempfile
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

import numpy as np
from measure import write_study
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netcore import run_study
from netcore.core import TrainConfig, epochs, init_params
from netcore.results.intervals import Estimate, corrected_mean, wilson

ROWS, D, CLASSES, EPOCHS, BATCH = 400, 8, 3, 12, 20
TEST, VALIDATION = 80, 80
TRAIN = ROWS - TEST - VALIDATION
RATES, WIDTHS = (0.02, 0.1, 0.5), (2, 8, 32, 128)
NETS, JUDGES = 200, 10_000

STUDY = f"""
study = {{{{ seed = {{seed}}, trials = {len(RATES) * len(WIDTHS)}, sampler = "grid" }}}}
data = {{{{ source = "arrays", path = "rows.npz", test = {TEST}, validation = {VALIDATION} }}}}
training = {{{{ epochs = {EPOCHS}, batch_size = {BATCH} }}}}
[space]
learning_rate = {list(RATES)}
hidden_size = {list(WIDTHS)}
reg = 1e-3
learning_rate_decay = 0.95
"""


class Winner(NamedTuple):
    """The winner of one repetition: learning rate, hidden size and epochs; its loss by ten seeds, and by the search."""

    setting: tuple[float, int, int]
    estimate: Estimate
    searched: float


def draw(rng: np.random.Generator, rows: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Draw rows of the three classes: around the first three unit vectors, with a deviation of 0.6."""
    y = rng.integers(CLASSES, size=rows)
    return np.eye(CLASSES, D)[y] + 0.6 * rng.standard_normal((rows, D)), y


def truth() -> dict[tuple[float, int, int], float]:
    """Return the expected loss by learning rate, hidden size and number of epochs."""
    losses: dict[tuple[float, int, int], list[float]] = defaultdict(list)
    for net in range(NETS):
        rng = np.random.default_rng((1, net))
        (X, y), (X_new, y_new) = draw(rng, TRAIN), draw(rng, JUDGES)
        standardised = [((rows - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32) for rows in (X, X_new)]
        for rate, width in product(RATES, WIDTHS):
            params = init_params(rng, D, width, CLASSES)
            config = TrainConfig(rate, width, 1e-3, 0.95, EPOCHS, BATCH)
            for epoch in epochs(params, standardised[0], y, standardised[1], y_new, config, rng):
                losses[rate, width, epoch.epoch].append(epoch.val_loss)
    return {setting: float(np.mean(values)) for setting, values in losses.items()}


def repetition(number: int, folder: Path) -> Winner:
    """Search and confirm on rows of its own."""
    X, y = draw(np.random.default_rng((2, number)), ROWS)
    np.savez(folder / "rows.npz", X=X, y=y)
    study = write_study(folder, "coverage", STUDY.format(seed=number))
    tables = run_study(study, results=folder / str(number), workers=1)
    finalists = tables.confirmation[tables.confirmation["kind"] == "finalist"]
    trial = int(finalists.groupby("trial")["val_loss"].mean().sort_values().index[0])
    rows = finalists[finalists["trial"] == trial]
    first = rows.iloc[0]
    setting = float(first["learning_rate"]), int(first["hidden_size"]), int(first["epochs"])
    estimate = corrected_mean(rows["val_loss"].to_numpy(), train_rows=TRAIN, test_rows=VALIDATION)
    searched = tables.trials.set_index("trial")["value"][trial]
    return Winner(setting, estimate, float(searched))


def main(repetitions: int) -> None:
    """Print how often the interval contains the truth, with the correction and without, and the search's optimism."""
    known = truth()
    held = plain = 0
    gaps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repetitions):
            winner = repetition(number, Path(folder))
            true, half = known[winner.setting], winner.estimate.half
            if half is None:
                raise RuntimeError("ten seeds give an interval")
            held += abs(true - winner.estimate.mean) <= half
            shrunk = half * np.sqrt(0.1 / (0.1 + VALIDATION / TRAIN))  # as if the ten splits were independent
            plain += abs(true - winner.estimate.mean) <= shrunk
            gaps.append(true - winner.searched)
    low, high = wilson(held, repetitions)
    print(f"with the correction the interval contains the truth in {held} of {repetitions} ({low:.1%} to {high:.1%})")
    print(f"without it in {plain} of {repetitions}")
    print(f"the search's loss was too low by {np.mean(gaps):.4f} on average (deviation {np.std(gaps):.4f})")


if __name__ == "__main__":
    with threadpool_limits(1):
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
