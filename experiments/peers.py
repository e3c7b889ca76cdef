"""Question: how long do a step of training and a whole study take, beside scikit-learn, PyTorch, JAX and NumPy?

Command: python experiments/peers.py [--rounds 30] [--studies 3]     (with the extra `peers` installed; 20 minutes)

Steps: the same net, data, batch size, data type (float32) and plain SGD with weight decay for all, on one core and one
thread. Each trains whole epochs of shuffled batches, so that gathering the rows counts for all; they take turns, round
after round, and what is counted is the CPU of the process: what else the machine does meets all alike.

For each peer: the median over the rounds and the smallest, in microseconds a step, and the median of netcore's time by
the peer's in the same round. `products` is how long the matrix products of a step would take at the rate of a large
SGEMM, measured in the same rounds; `rate` is that by netcore's time, as a median and of the smallest.

Whole studies: `peer_studies.py` says what is compared. `--record` keeps the answer beside this file, and draws it. What
is not installed is not compared.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"))
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before anything counts the cores

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn.exceptions
from peer_figure import compared
from peer_nets import NETS, MakeNet, missing
from peer_studies import rounds_of
from threadpoolctl import threadpool_limits

from netcore.core import TrainConfig, epochs, init_params
from netcore.core.sgd import Step
from netcore.results.canvas import file_of
from netcore.training.step import compiled

KEPT = Path(__file__).with_suffix(".json")
PICTURE = Path(__file__).parents[1] / "docs" / "figures" / "peers.png"
Data = tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.int64]]]
LEARNING_RATE, REG, SQUARE = 0.01, 1e-4, 768


class Shape(NamedTuple):
    """A net and its batches."""

    D: int
    H: int
    C: int
    batch: int
    steps: int
    """Steps per epoch."""

    @property
    def flops(self) -> int:
        """Give the additions and multiplications of a step's matrix products."""
        return 2 * self.batch * (2 * self.D * self.H + 3 * self.H * self.C)


SHAPES = {
    f"{shape.D}-{shape.H}-{shape.C}": shape
    for shape in (
        Shape(64, 32, 10, 100, 100),
        Shape(64, 128, 10, 100, 100),
        Shape(784, 50, 10, 200, 60),
        Shape(784, 256, 10, 200, 60),
        Shape(3072, 50, 10, 200, 25),
        Shape(3072, 256, 10, 200, 25),
    )
}


def netcore(step: Step | None) -> Callable[[Shape, Data], Callable[[], object]]:
    """Give an epoch of netcore: of the reference, or of the compiled step. One row validates it."""

    def make(shape: Shape, data: Data) -> Callable[[], object]:
        X, y = data
        params = init_params(np.random.default_rng(0), shape.D, shape.H, shape.C)
        config = TrainConfig(LEARNING_RATE, shape.H, REG, 1.0, epochs=10**9, batch_size=shape.batch)
        training = epochs(params, X, y, X[:1], y[:1], config, np.random.default_rng(0), step=step)
        return lambda: next(training)

    return make


def peer(make: MakeNet) -> Callable[[Shape, Data], Callable[[], object]]:
    """Give an epoch of another library's net."""
    return lambda shape, data: partial(make(*data, shape.H, shape.C, shape.batch, REG, 0).epoch, LEARNING_RATE)


PEERS: dict[str, Callable[[Shape, Data], Callable[[], object]]] = {
    "netcore": netcore(compiled),
    "NumPy": netcore(None),
    **{name: peer(make) for name, make in NETS.items()},
}


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(shape: Shape, rounds: int, peers: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Give the seconds of a step for each peer and round, and the SGEMM rate of each round."""
    rng = np.random.default_rng(0)
    rows = shape.batch * shape.steps
    data = rng.standard_normal((rows, shape.D), np.float32), rng.integers(0, shape.C, rows)
    A, B, C = (rng.standard_normal((SQUARE, SQUARE), np.float32) for _ in range(3))
    works = {name: make(shape, data) for name, make in peers.items()}
    for work in works.values():
        work()  # compiles
    taken: dict[str, list[float]] = {name: [] for name in works}
    rates: list[float] = []
    for _ in range(rounds):
        rates.append(2 * SQUARE**3 / min(seconds(lambda: np.matmul(A, B, out=C)) for _ in range(3)))
        for name, work in works.items():
            taken[name].append(seconds(work) / shape.steps)
    return {name: np.array(values) for name, values in taken.items()}, np.array(rates)


def show_steps(shapes: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Print a line for each shape; give each peer's time by netcore's, the median over the rounds."""
    peers = {name: make for name, make in PEERS.items() if name.partition(",")[0] not in missing()}
    header = " ".join(f"{name:>20s}" for name in peers)
    print(f"{'shape':12s} {'GFLOP/s':>8s} {'products':>9s} {header}  rate (median, of minima)")
    times: dict[str, dict[str, float]] = {}
    for name in shapes:
        shape = SHAPES[name]
        taken, rates = measure(shape, rounds, peers)
        ours, ideal = taken["netcore"], shape.flops / rates
        cells = (f"{np.median(t) * 1e6:7.0f} {t.min() * 1e6:7.0f} {np.median(ours / t):4.2f}" for t in taken.values())
        print(
            f"{name:12s} {np.median(rates) / 1e9:8.0f} {np.median(ideal) * 1e6:9.1f}",
            *(f"{cell:>20s}" for cell in cells),
            f"  {np.median(ideal / ours):.2f} {ideal.min() / ours.min():.2f}",
            flush=True,
        )
        times[name] = {peer: float(np.median(t / ours)) for peer, t in taken.items()}
    return times


def show_studies(rounds: int, trials: int) -> dict[str, dict[str, float]]:
    """Print a line for each stack; give its medians over the rounds."""
    all_rounds = []
    for number, studies in enumerate(rounds_of(rounds, trials), start=1):
        all_rounds.append(studies)
        print(
            f"round {number}:", ", ".join(f"{name} {study.wall:.1f} s" for name, study in studies.items()), flush=True
        )
    first = next(iter(all_rounds[0]))
    print(
        f"\n{f'{trials} trials':32s}{'wall':>9s}{'CPU':>9s}{'times netcore':>15s}{'val_loss':>10s}{'val_accuracy':>14s}"
    )
    medians = {}
    for name in all_rounds[0]:
        wall, cpu, val_loss, val_accuracy = (
            float(np.median(f)) for f in zip(*(s[name] for s in all_rounds), strict=True)
        )
        times = float(np.median([studies[name].wall / studies[first].wall for studies in all_rounds]))
        print(f"{name:32s}{wall:7.1f} s{cpu:7.1f} s{times:15.2f}{val_loss:10.4f}{val_accuracy:14.4f}", flush=True)
        medians[name] = {"wall": wall, "cpu": cpu, "times": times, "val_loss": val_loss, "val_accuracy": val_accuracy}
    return medians


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", nargs="*", default=[*SHAPES], choices=[*SHAPES])
    parser.add_argument("--rounds", type=int, default=30, help="of the steps; 0 leaves them out")
    parser.add_argument("--studies", type=int, default=3, help="rounds of whole studies; 0 leaves them out")
    parser.add_argument("--trials", type=int, default=30, help="of each study")
    parser.add_argument("--record", action="store_true", help="keep the answer in peers.json, and draw it")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # JAX's; who is forked here becomes another program
    threadpool_limits(1)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if missing():
        print(f"not compared, for it is not installed: {', '.join(missing())} (the extra `peers` has them)")
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if asked.rounds:
        found["steps"] = show_steps(asked.shapes, asked.rounds)
    if asked.studies:
        found["trials"], found["studies"] = asked.trials, show_studies(asked.studies, asked.trials)
    if asked.record:
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if asked.record and {"steps", "studies"} <= found.keys():
        PICTURE.write_bytes(file_of(compared(found["steps"], found["studies"], found["trials"]), "png"))


if __name__ == "__main__":
    main()
