"""Does the winner's interval hold the truth? The whole confirmation, repeated on data whose truth is known.

Three Gaussian classes that overlap, in 8 dimensions. Each repetition draws 400 rows, searches a grid of 12 settings,
confirms the three best with ten seeds, and takes the winner's mean loss with its 95 % interval. The truth is the
expected loss of *that setting trained on that many rows*: the mean over many nets, each trained on rows of its own and
judged on 10,000 rows that nobody trained on.

    python experiments/interval_coverage.py [REPETITIONS]      (200 take about 4 minutes on one core)
"""

import os
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import Future
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netcore.confirm.confirmation import confirm, read_confirmation, winner_of
from netcore.core import TrainConfig, epochs, init_params
from netcore.data import Dataset, prepare
from netcore.data.dataset import RawData
from netcore.data.prepared import through_cache
from netcore.question.spec import Hyperparameters, dataset_of, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import TrialJob
from netcore.records.record import Provenance, Record
from netcore.results.statistics import Estimate, corrected_mean, wilson
from netcore.search.loop import Search
from netcore.workers.engine import Trained
from netcore.workers.trial import run_trial

ROWS, D, CLASSES, EPOCHS, BATCH = 400, 8, 3, 12, 20
TEST, VALIDATION = 80, 80
TRAIN = ROWS - TEST - VALIDATION
RATES, WIDTHS = (0.02, 0.1, 0.5), (2, 8, 32, 128)
NETS, JUDGES = 200, 10_000

STUDY = f"""
[study]
name = "coverage"
trials = {len(RATES) * len(WIDTHS)}
sampler = "grid"
[data]
source = "arrays"
path = "rows.npz"
test = {TEST}
validation = {VALIDATION}
[training]
epochs = {EPOCHS}
batch_size = {BATCH}
[space]
learning_rate = {list(RATES)}
hidden_size = {list(WIDTHS)}
reg = 1e-3
learning_rate_decay = 0.95
"""


class HereEngine:
    """An engine that trains in this process, at once."""

    def submit(self, job: TrialJob, dataset: Dataset) -> Future[Trained]:
        """Give a future that is done."""
        future: Future[Trained] = Future()
        future.set_result(Trained(run_trial(job, dataset), Provenance(0.0, 0.0, 1, {})))
        return future


def draw(rng: np.random.Generator, rows: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Draw rows of the three classes: around the first three unit vectors, with a deviation of 0.6."""
    y = rng.integers(CLASSES, size=rows)
    return np.eye(CLASSES, D)[y] + 0.6 * rng.standard_normal((rows, D)), y


def truth() -> dict[tuple[float, int, int], float]:
    """Give the expected loss by learning rate, hidden size and number of epochs."""
    losses: dict[tuple[float, int, int], list[float]] = defaultdict(list)
    for net in range(NETS):
        rng = np.random.default_rng((1, net))
        rows, judges = draw(rng, TRAIN + VALIDATION), draw(rng, JUDGES)
        names = tuple(map(str, range(CLASSES)))
        raw = RawData("truth", *rows, names, tuple(map(str, range(D))), None, official_test=judges)
        data = prepare(raw, validation=VALIDATION, seed=net)
        for rate, width in product(RATES, WIDTHS):
            params = init_params(rng, D, width, CLASSES)
            config = TrainConfig(rate, width, 1e-3, 0.95, EPOCHS, BATCH)
            for epoch in epochs(params, data.X_train, data.y_train, data.X_test, data.y_test, config, rng):
                losses[rate, width, epoch.epoch].append(epoch.val_loss)
    return {setting: float(np.mean(values)) for setting, values in losses.items()}


def repetition(number: int, folder: Path) -> tuple[Hyperparameters, int, Estimate, float]:
    """Search and confirm on rows of its own; give the winner's setting, its epochs, its estimate, and its promise."""
    X, y = draw(np.random.default_rng((2, number)), ROWS)
    np.savez(folder / "rows.npz", X=X, y=y)
    (folder / "coverage.toml").write_text(STUDY.replace("[data]", f"seed = {number}\n[data]", 1), encoding="utf-8")
    spec = load_spec(folder / "coverage.toml")
    study, engine = StudyFolder(folder / str(number)), HereEngine()
    study.prepare()
    dataset = through_cache(partial(dataset_of, spec))
    records = [step for step in Search(spec, dataset, study, engine).run() if isinstance(step, Record)]
    for _ in confirm(spec, dataset, records, study, engine):
        pass
    confirmed = read_confirmation(spec, records, study)
    winner = winner_of(confirmed)
    if winner is None:
        raise RuntimeError("nothing finished")
    losses = np.array([record.result.curve[-1].val_loss for record in confirmed[winner]])
    promised = records[winner.trial or 0].result.value
    return (
        winner.hyperparameters,
        winner.epochs,
        corrected_mean(losses, train_rows=TRAIN, test_rows=VALIDATION),
        promised,
    )


def main(repetitions: int) -> None:
    """Print how often the interval holds the truth, with the correction and without, and how the search flatters."""
    known = truth()
    held = plain = 0
    gaps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NETCORE_CACHE"] = f"{folder}/cache"
        for number in range(repetitions):
            asked, trained, estimate, promised = repetition(number, Path(folder))
            true = known[asked.learning_rate, asked.hidden_size, trained]
            if estimate.interval is None or estimate.half is None:
                raise RuntimeError("ten seeds give an interval")
            held += estimate.interval.holds(true)
            shrunk = estimate.half * np.sqrt(0.1 / (0.1 + VALIDATION / TRAIN))  # as if the ten splits were independent
            plain += abs(true - estimate.mean) <= shrunk
            gaps.append(true - promised)
    low, high = wilson(held, repetitions)
    print(f"with the correction the interval holds the truth in {held} of {repetitions} ({low:.1%} to {high:.1%})")
    print(f"without it in {plain} of {repetitions}")
    print(
        f"the search promised a loss that was too low by {np.mean(gaps):.4f} on average (deviation {np.std(gaps):.4f})"
    )


if __name__ == "__main__":
    with threadpool_limits(1):
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
