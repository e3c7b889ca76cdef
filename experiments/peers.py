"""Question: how long do a step of training and a whole study take, beside scikit-learn, PyTorch, JAX and NumPy?

Command: python experiments/peers.py [--rounds 30] [--studies 3]   (with the extra `peers` installed; 20 minutes)
         python experiments/peers.py --thousand [TRIALS]           (1,000 of netcore and of the usual stack; 9 minutes)

Steps: the same net, data, batch size, float32 and plain SGD with weight decay for all, on one core and one thread.
Each trains whole epochs of shuffled batches, so that gathering the rows counts for all. The libraries take turns, and
the CPU of the process is compared. For each: the median over the rounds and the minimum, in microseconds a step, and
the median of netcore's time divided by theirs in the same round. `products` is the time that the matrix products of a
step would take at the rate of a large SGEMM measured in the same rounds; `rate` is `products` divided by netcore's
time, as a median and of the minima.

Whole studies: all search the same space on the same rows: digits, 30 epochs, batches of 100, float32, plain SGD, TPE,
tracked in MLflow on a new SQLite database. Each is a command, timed from its start to its end, on all cores: netcore's
with tables, plots and a report, and `usual.py` with each library's net. `--thousand` compares a thousand trials of
netcore with as many of `usual.py` with scikit-learn, half of them before and half after netcore's, so that both see the
same machine. `--record` keeps the answer in peers.json and draws it. Libraries that are not installed are left out.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"))
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import sklearn.exceptions
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from measure import CORES, PLOTS, SPACE, Cost, cost_of, netcore, show_load, times_of, write_study
from nets import NETS, MakeNet, Size, missing
from threadpoolctl import threadpool_limits

from netcore import load_study
from netcore.core import TrainConfig, epochs, init_params
from netcore.core.sgd import Step
from netcore.results.canvas import BEST, GREY, INK, file_of, new_figure, styled, titled
from netcore.training.step import compiled

KEPT = Path(__file__).with_suffix(".json")
Data = tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.int64]]]
Make = Callable[["Shape", Data], Callable[[], object]]
Numbers = dict[str, dict[str, float]]
LEARNING_RATE, REG, SQUARE = 0.01, 1e-4, 768
STUDY = (
    'study = {{ trials = {trials} }}\ndata = {{ source = "digits" }}\ntraining = {{ epochs = 30, batch_size = 100 }}\n'
)
USUAL = str(Path(__file__).with_name("usual.py"))


# Steps


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
        """Additions and multiplications of a step's matrix products."""
        return 2 * self.batch * (2 * self.D * self.H + 3 * self.H * self.C)


SHAPES = {
    f"{D}-{H}-10": Shape(D, H, 10, batch, steps)
    for D, batch, steps, sizes in ((64, 100, 100, (32, 128)), (784, 200, 60, (50, 256)), (3072, 200, 25, (50, 256)))
    for H in sizes
}


def ours(step: Step | None) -> Make:
    """Return an epoch of netcore, of the compiled step or of the NumPy reference; one row validates it."""

    def make(shape: Shape, data: Data) -> Callable[[], object]:
        X, y = data
        params = init_params(np.random.default_rng(0), shape.D, shape.H, shape.C)
        config = TrainConfig(LEARNING_RATE, shape.H, REG, 1.0, epochs=10**9, batch_size=shape.batch)
        training = epochs(params, X, y, X[:1], y[:1], config, np.random.default_rng(0), step=step)
        return lambda: next(training)

    return make


def peer(make: MakeNet) -> Make:
    """Return an epoch of another library's net."""
    return lambda shape, data: partial(make(*data, Size(shape.H, shape.C, shape.batch, REG)).epoch, LEARNING_RATE)


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU of one call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure_shape(shape: Shape, rounds: int, peers: dict[str, Make]) -> tuple[dict[str, Any], Any]:
    """Return the seconds of a step for each peer and round, and the SGEMM rate of each round."""
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


def show_steps(shapes: list[str], rounds: int) -> Numbers:
    """Print a line for each shape; return each peer's time divided by netcore's, the median over the rounds."""
    libraries = {name: peer(make) for name, make in NETS.items() if name.partition(",")[0] not in missing()}
    peers: dict[str, Make] = {"netcore": ours(compiled), "NumPy": ours(None), **libraries}
    header = " ".join(f"{name:>20s}" for name in peers)
    print(f"{'shape':12s} {'GFLOP/s':>8s} {'products':>9s} {header}  rate (median, of minima)")
    times: Numbers = {}
    for name in shapes:
        taken, rates = measure_shape(SHAPES[name], rounds, peers)
        us, ideal = taken["netcore"], SHAPES[name].flops / rates
        cells = (f"{np.median(t) * 1e6:7.0f} {t.min() * 1e6:7.0f} {np.median(us / t):4.2f}" for t in taken.values())
        print(
            f"{name:12s} {np.median(rates) / 1e9:8.0f} {np.median(ideal) * 1e6:9.1f}",
            *(f"{cell:>20s}" for cell in cells),
            f"  {np.median(ideal / us):.2f} {ideal.min() / us.min():.2f}",
            flush=True,
        )
        times[name] = {peer: float(np.median(t / us)) for peer, t in taken.items()}
    return times


# Whole studies


def run_ours(folder: Path, trials: int, *options: str) -> Cost:
    """Run netcore's study `peers` in a folder."""
    study = write_study(folder, "peers", STUDY.format(trials=trials) + SPACE)
    return netcore(folder, "run", study, "--no-confirm", *options)


def run_usual(folder: Path, trials: int, net: str = "scikit-learn") -> Cost:
    """Run so many trials of the usual stack in a folder."""
    return cost_of(folder, sys.executable, USUAL, net, str(trials))


def stacks() -> dict[str, Callable[[Path, int], Cost]]:
    """Return what is compared: netcore with all cores and with one, and the usual stack with each library installed."""

    def with_workers(workers: int) -> Callable[[Path, int], Cost]:
        return lambda folder, trials: run_ours(folder, trials, "--workers", str(workers))

    names = [name for name in ("scikit-learn", "PyTorch", "JAX") if name not in missing()]
    numbers = sorted({CORES, 1}, reverse=True)
    return {f"netcore, {n} worker{'s' * (n > 1)}": with_workers(n) for n in numbers} | {
        f"Optuna, MLflow, {name}": partial(run_usual, net=name) for name in names
    }


def study(run: Callable[[Path, int], Cost], trials: int) -> dict[str, float]:
    """Run a study in a new folder; return its wall time and CPU, and the best trial's loss and accuracy."""
    with tempfile.TemporaryDirectory() as name:
        cost = run(Path(name), trials)
        if (Path(name) / "results").exists():
            best = load_study("peers", results=f"{name}/results").trials.sort_values("value").iloc[0]
            found = {each: float(best[each]) for each in ("val_loss", "val_accuracy")}
        else:
            found = dict(zip(("val_loss", "val_accuracy"), map(float, cost.out.split()[-2:]), strict=True))
        return {"wall": cost.wall, "cpu": cost.cpu, **found}


def show_studies(rounds: int, trials: int) -> Numbers:
    """Run all stacks in turn, and print a line for each; return its medians over the rounds."""
    for run in stacks().values():
        study(run, 1)  # brings the files into the system's cache
    all_rounds = []
    for number in range(1, rounds + 1):
        all_rounds.append({name: study(run, trials) for name, run in stacks().items()})
        walls = ", ".join(f"{name} {found['wall']:.1f} s" for name, found in all_rounds[-1].items())
        print(f"round {number}: {walls}", flush=True)
    first = next(iter(all_rounds[0]))
    print(f"\n{f'{trials} trials':32s}{'wall':>9s}{'CPU':>9s}{'times netcore':>15s}{'val_loss':>10s}{'accuracy':>10s}")
    medians: Numbers = {}
    for name in all_rounds[0]:
        it = {key: float(np.median([each[name][key] for each in all_rounds])) for key in all_rounds[0][name]}
        it["times"] = float(np.median([each[name]["wall"] / each[first]["wall"] for each in all_rounds]))
        cells = (
            f"{it['wall']:7.1f} s{it['cpu']:7.1f} s{it['times']:15.2f}{it['val_loss']:10.4f}{it['val_accuracy']:10.4f}"
        )
        print(f"{name:32s}{cells}")
        medians[name] = it
    return medians


def show_thousand(trials: int) -> None:
    """Compare so many tracked trials of netcore with as many of the usual stack."""
    with tempfile.TemporaryDirectory() as name:
        folder, half = Path(name), trials // 2
        run_usual(folder, 2)  # makes the databases' tables
        first = run_usual(folder, half)
        mine = run_ours(folder, trials)
        second = run_usual(folder, trials - half)
        spent, study = times_of(folder / "results" / "peers"), folder / "results" / "peers"
        trained = float(load_study(study).trials["seconds"].sum())
        sync = netcore(folder, "sync", "peers", database="again.db")
    print(f"\nof netcore's {mine.wall:.1f} s and {mine.cpu:.1f} s of CPU on all cores:")
    print(f"  {sync.cpu:6.1f} s   MLflow's process: CPU of `netcore sync`, with imports and the making of its tables")
    for what, took in {"training, all workers together": trained, **spent}.items():
        print(f"  {took:6.1f} s   {what}")
    print(f"\n{'':<12}{'trials':>8}{'wall':>10}{'per trial':>12}{'CPU per trial':>16}")
    rows = ("netcore", mine.wall, mine.cpu), ("usual stack", first.wall + second.wall, first.cpu + second.cpu)
    for label, wall, cpu in rows:
        each = f"{1000 * wall / trials:.0f} ms", f"{1000 * cpu / trials:.0f} ms"
        print(f"{label:<12}{trials:>8}{wall:>8.1f} s{each[0]:>12}{each[1]:>16}")
    print(f"\nthroughput: {(first.wall + second.wall) / mine.wall:.1f} times the usual stack's")


# The plot

TIMES = "\N{MULTIPLICATION SIGN}"
LOOKS = {
    "NumPy": ("o", "#56B4E9"),
    "JAX": ("s", "#009E73"),
    "PyTorch": ("D", "#E69F00"),
    "PyTorch, compiled": ("d", "#CC79A7"),
    "scikit-learn": ("^", "#0072B2"),
}
"""Marker and colour of each peer."""
_as_times = FuncFormatter(lambda value, _: f"{value:g} {TIMES}")


@styled
def compared(steps: Numbers, studies: Numbers, trials: int) -> Figure:
    """Draw a row of marks for each shape, and below a bar for each stack."""
    figure = new_figure(7.4)
    above, below = figure.subplots(2, 1, height_ratios=[1.25, 1])
    _draw_steps(above, steps)
    _draw_studies(below, studies, trials)
    return titled(figure, "Beside other libraries: time, as a multiple of netcore's")


def _draw_steps(axes: Axes, steps: Numbers) -> None:
    places = np.arange(len(steps))[::-1]
    for place, times in zip(places, steps.values(), strict=True):
        axes.plot([min(times.values()), max(times.values())], [place, place], color="#D8D8D8", linewidth=1.2, zorder=1)
    for name, (marker, colour) in LOOKS.items():
        points = [(times[name], place) for place, times in zip(places, steps.values(), strict=True) if name in times]
        if points:
            look: dict[str, Any] = {"color": colour, "markersize": 8, "markeredgecolor": "white", "label": name}
            axes.plot(*zip(*points, strict=True), marker, **look)
    axes.axvline(1, color=BEST, linewidth=2, label="netcore")
    axes.set_yticks(places, [" → ".join(name.split("-")) for name in steps])
    ends = [time for times in steps.values() for time in times.values()]
    axes.set(xscale="log", xlim=(min(ends) / 1.1, 1.25 * max(ends)), ylim=(-0.6, len(steps) - 0.4))
    axes.xaxis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20, 50]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_as_times)
    axes.set_title("one step of training (inputs → hidden units → classes)", loc="left", fontsize=11, color=INK)
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.legend(loc="lower right", ncols=2, frameon=True, framealpha=1, edgecolor="none")


def _draw_studies(axes: Axes, studies: Numbers, trials: int) -> None:
    places = np.arange(len(studies))[::-1]
    for place, (name, it) in zip(places, studies.items(), strict=True):
        _, colour = LOOKS.get(name.rpartition(", ")[2], ("", BEST))
        axes.barh(place, it["times"], height=0.62, color=colour)
        text = f" {it['times']:.1f} {TIMES}   {it['wall']:.0f} s ({it['cpu']:.0f} s of CPU)"
        axes.text(it["times"], place, text, va="center", fontsize=9.5, color=INK)
    axes.axvline(1, color=GREY, linewidth=1, zorder=0)
    axes.set_yticks(places, list(studies))
    axes.set_xlim(0, 1.45 * max(it["times"] for it in studies.values()))
    axes.xaxis.set_major_formatter(_as_times)
    title = f"a whole study of {trials} trials, tracked, from command to end"
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.grid(visible=False)
    axes.tick_params(length=0)


# The command


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=[*SHAPES], choices=[*SHAPES])
    parser.add_argument("--rounds", type=int, default=30, help="of the steps; 0 leaves them out")
    parser.add_argument("--studies", type=int, default=3, help="rounds of whole studies; 0 leaves them out")
    parser.add_argument("--trials", type=int, default=30, help="of each study")
    parser.add_argument("--thousand", type=int, nargs="?", const=1000, help="compare this many trials and stop")
    parser.add_argument("--record", action="store_true", help="keep the answer in peers.json, and draw it")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and draw."""
    asked = options()
    warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # JAX's, though the fork only starts another program
    show_load()
    if asked.thousand:
        show_thousand(asked.thousand)
        return
    if missing():
        print(f"not installed, so left out: {', '.join(missing())} (the extra `peers` has them)")
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if asked.studies:
        found["trials"], found["studies"] = asked.trials, show_studies(asked.studies, asked.trials)
    if asked.rounds:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with threadpool_limits(1):
            found["steps"] = show_steps(asked.shapes, asked.rounds)
    if asked.record:
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if asked.record and {"steps", "studies"} <= found.keys():
        (PLOTS / "peers.png").write_bytes(file_of(compared(found["steps"], found["studies"], found["trials"]), "png"))


if __name__ == "__main__":
    main()
