"""Question: what does netcore itself cost, next to the training that it is for?

Command: make bench     (.venv/bin/python experiments/cost.py [--quick]; about 3 minutes on 2 cores, quick 1)

One table: what, measured, wanted. Everything happens in a temporary folder. The commands are run as a user runs them;
their CPU is that of the child process and of all that it has waited for. The loop is timed inside a real `Search` whose
engine answers at once; steps and epochs are timed as CPU. Where others use the machine, the walls are theirs too.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar
from unittest.mock import patch

import numpy as np
from threadpoolctl import threadpool_limits

from netcore import load_spec, load_study
from netcore.core import Epoch, Params, TrainConfig, epochs, init_params, sgd_step
from netcore.core.net import Workspace
from netcore.core.params import FloatArray
from netcore.data import Dataset, load_dataset
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob, TrialResult
from netcore.records.record import Provenance, Record
from netcore.search.history import History
from netcore.search.loop import Search
from netcore.workers.engine import Trained, usable_cores
from netcore.workers.environment import environment
from netcore.workers.trial import run_trial

P = ParamSpec("P")
T = TypeVar("T")
Seconds = dict[str, float]
"""By part of the loop."""

STUDIES = Path(__file__).parent.parent / "studies"
DIGITS = STUDIES / "digits.toml"
NETCORE = str(Path(sys.executable).with_name("netcore"))
HEAVY = ("mlflow", "optuna", "pandas", "matplotlib", "sklearn")
NEAR = 20
"""The loop's cost at n trials is the mean over trials n - 20 … n + 20."""


class Cost(NamedTuple):
    """What a command took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of user and system time, of all its processes."""
    out: str


def show(what: str, measured: str, wanted: str = "", *, holds: bool = True) -> None:
    """Print one line of the table."""
    print(f"{what:<58} {measured:>12}   {wanted}{'' if holds else '   MISSED'}", flush=True)


def show_at_most(what: str, value: float, most: float, unit: str, digits: int = 1) -> None:
    """Print a line whose figure must not be greater than `most`."""
    show(what, f"{value:.{digits}f} {unit}", f"<= {most:g} {unit}", holds=value <= most)


def show_share(what: str, value: float, least: float) -> None:
    """Print a line whose figure must not be less than `least`."""
    show(what, f"{value:.4f}", f">= {least:g}", holds=value >= least)


# ---------------------------------------------------------------- commands


def cost_of(folder: Path, *command: str, database: str = "mlflow.db") -> Cost:
    """Run a command in `folder`, with MLflow's database there too."""
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    before, begun = _children_cpu(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, check=True, capture_output=True, text=True)
    return Cost(time.perf_counter() - begun, _children_cpu() - before, done.stdout)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure_run(folder: Path) -> Cost:
    """Measure the whole of `netcore run digits`, and what it found."""
    begun = time.time()
    run = cost_of(folder, NETCORE, "run", str(DIGITS))
    study = StudyFolder(folder / "results" / "digits")
    trials = load_study(study.path).trials
    test = json.loads(study.test.read_text())
    show_at_most("netcore run digits, whole, wall", run.wall, 30, "s")
    moments = [
        begun,
        trials["started"].min().timestamp(),
        trials["ended"].max().timestamp(),
        study.report.stat().st_mtime,
        begun + run.wall,
    ]
    stages = ("until the first trial starts", "search", "tables, figures, report", "MLflow's last part, and the end")
    for stage, (first, last) in zip(stages, pairwise(moments), strict=True):
        show(f"  {stage}", f"{last - first:.1f} s")
    show("netcore run digits, CPU of all its processes", f"{run.cpu:.1f} s")
    winner = trials.set_index("trial").loc[test["trial"]]
    show_share("  its winner's validation accuracy", float(winner["val_accuracy"]), 0.97)
    show_share("  its winner's test accuracy", test["accuracy"], 0.96)
    return run


def measure_sync(folder: Path) -> Cost:
    """Measure the projection of the finished study into a database that has its tables but no digits yet."""
    cost_of(folder, NETCORE, "run", str(STUDIES / "iris.toml"), "--trials", "2", database="second.db")
    first = cost_of(folder, NETCORE, "sync", "digits", database="second.db")
    again = cost_of(folder, NETCORE, "sync", "digits", database="second.db")
    records = len(StudyFolder(folder / "results" / "digits").numbers())
    show_at_most("sync, CPU per trial", 1000 * (first.cpu - again.cpu) / records, 40, "ms")
    show("sync with nothing to do, CPU (imports included)", f"{again.cpu:.1f} s")
    return first


def measure_start(folder: Path) -> None:
    """Measure what a user waits for before anything happens."""
    helps = statistics.median(cost_of(folder, NETCORE, "--help").wall for _ in range(10))
    show_at_most("netcore --help, wall (median of 10)", helps, 0.3, "s", 3)
    code = f"import netcore, sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    imports = [cost_of(folder, sys.executable, "-c", code) for _ in range(10)]
    show("import netcore, wall, Python's own start included", f"{statistics.median(i.wall for i in imports):.3f} s")
    loaded = imports[0].out.strip()
    show("  heavy libraries that it loads", loaded or "none", "none", holds=not loaded)


# ---------------------------------------------------------------- the loop


class Stopwatch:
    """Adds up the seconds that are spent in the functions it wraps, by name; `clock` says of what."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock

    def around(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """Give the same function, timed."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            begun = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += self._clock() - begun

        return timed


class ReadyEngine:
    """An engine that answers at once, with curves that depend on the hyperparameters as those of digits do."""

    def submit(self, job: TrialJob, _dataset: Dataset) -> Future[Trained]:
        """Give a future that is done."""
        future: Future[Trained] = Future()
        future.set_result(Trained(_ready(job), Provenance(0.0, 0.05, 1, environment())))
        return future


def _ready(job: TrialJob) -> TrialResult:
    hyperparameters, rng = job.hyperparameters, np.random.default_rng(job.number)
    off = np.log10(hyperparameters.learning_rate / 0.5) ** 2 + max(0.0, np.log10(hyperparameters.reg / 1e-4)) ** 2
    losses = (0.05 + 0.1 * off) * (1 + 5 * np.exp(-np.arange(job.epochs) / 3)) + rng.normal(0, 0.003, job.epochs)
    best, state, kept = np.minimum.accumulate(losses), State.FINISHED, job.epochs
    for rung, threshold in job.thresholds.items():
        if best[rung - 1] > threshold:
            state, kept = State.PRUNED, rung
            break
    curve = tuple(
        Epoch(number, hyperparameters.learning_rate, float(loss), float(loss), 0.97, 0.97)
        for number, loss in enumerate(losses[:kept], start=1)
    )
    weights = init_params(rng, 64, hyperparameters.hidden_size, 10)
    return TrialResult(state, curve, int(losses[:kept].argmin()) + 1, float(best[kept - 1]), weights)


@contextmanager
def timed(stopwatch: Stopwatch) -> Iterator[None]:
    """Time the loop's parts from outside."""
    parts: list[tuple[type, str, str]] = [
        (History, "propose", "ask"),
        (History, "thresholds", "ask"),
        (StudyFolder, "write", "record"),
        (StudyFolder, "write_weights", "record"),
        (History, "commit", "commit"),
        (ReadyEngine, "submit", "engine"),
    ]
    with ExitStack() as stack:
        for owner, method, name in parts:
            stack.enter_context(patch.object(owner, method, stopwatch.around(name, getattr(owner, method))))
        stack.enter_context(patch.object(Record, "of", staticmethod(stopwatch.around("record", Record.of))))
        yield


def loop_seconds(folder: Path, trials: int) -> list[Seconds]:
    """Search with ready-made results; after each commit, the seconds spent so far: by part, in `all`, and as CPU."""
    window = load_spec(DIGITS).study.window
    spec = load_spec(DIGITS).with_trials(trials + window)  # so that each of these commits is followed by an ask
    dataset = load_dataset(**spec.data.model_dump())
    study, stopwatch = StudyFolder(folder / f"loop-{trials}"), Stopwatch()
    study.prepare()
    with threadpool_limits(1), timed(stopwatch):
        begun, cpu = time.perf_counter(), time.process_time()
        return [
            {**stopwatch.seconds, "all": time.perf_counter() - begun, "CPU of it all": time.process_time() - cpu}
            for _ in Search(spec, dataset, study, ReadyEngine()).run()
        ]


def measure_loop(folder: Path, wanted: dict[int, float]) -> Seconds:
    """Measure ask + record + commit around some numbers of trials; give the seconds of the first 100 trials by part."""
    after = loop_seconds(folder, max(wanted) + NEAR)
    for trials, most in wanted.items():
        first, last = after[trials - NEAR], after[trials + NEAR]
        parts = {name: 1000 * (last[name] - first[name]) / (2 * NEAR) for name in last}
        show_at_most(f"the loop, per trial, at {trials:,} trials", parts.pop("all") - parts.pop("engine"), most, "ms")
        for name, value in parts.items():
            show(f"  {name}", f"{value:.1f} ms")
    return after[99]


# ---------------------------------------------------------------- training


def median_seconds(action: Callable[[], object], repeats: int = 9, least: float = 0.05) -> float:
    """Give the median, over `repeats` bursts of at least `least` seconds, of the CPU that `action` takes."""
    action()
    begun = time.process_time()
    action()
    times = max(1, round(least / (time.process_time() - begun)))
    bursts = []
    for _ in range(repeats):
        begun = time.process_time()
        for _ in range(times):
            action()
        bursts.append((time.process_time() - begun) / times)
    return statistics.median(bursts)


def step_seconds(inputs: int, hidden: int, batch: int) -> float:
    """Measure the CPU of one step of gradient descent on random rows."""
    rng = np.random.default_rng(0)
    params = init_params(rng, inputs, hidden, 10)
    X, y = rng.standard_normal((batch, inputs), np.float32), rng.integers(10, size=batch)
    workspace = Workspace.for_rows(batch, params)
    return median_seconds(lambda: sgd_step(params, X, y, learning_rate=1e-4, reg=1e-4, workspace=workspace))


def products(params: Params, X: FloatArray, workspace: Workspace) -> None:
    """Do the five matrix products of a step, and nothing else."""
    p1, p2, dz1, gradient = workspace.p1, workspace.p2, workspace.dz1, workspace.gradient
    np.matmul(X, params.W1, out=p1)
    np.matmul(p1, params.W2, out=p2)
    np.matmul(p1.T, p2, out=gradient.W2)
    np.matmul(p2, params.W2.T, out=dz1)
    np.matmul(X.T, dz1, out=gradient.W1)


def epoch_seconds(hidden: int) -> tuple[float, float]:
    """Measure an epoch of digits: the whole of it, and its matrix products alone."""
    spec = load_spec(DIGITS)
    data = load_dataset(**spec.data.model_dump())
    size = spec.training.batch_size
    params = init_params(np.random.default_rng(0), data.input_size, hidden, data.classes)
    config = TrainConfig(1e-3, hidden, 1e-4, 1.0, 1_000_000, size)
    training = epochs(
        params, data.X_train, data.y_train, data.X_val, data.y_val, config, np.random.default_rng(0)
    )  # without end, for as long as it is timed
    workspace = Workspace.for_rows(size, params)
    starts = [*range(0, len(data.X_train), size), len(data.X_train)]
    batches = [(data.X_train[start:stop], workspace.first(stop - start)) for start, stop in pairwise(starts)]

    def products_alone() -> None:
        for X, buffers in batches:
            products(params, X, buffers)
        _ = (data.X_val @ params.W1) @ params.W2

    return median_seconds(lambda: next(training)), median_seconds(products_alone)


def measure_training() -> None:
    """Measure steps and epochs, float32, one BLAS thread, as CPU."""
    with threadpool_limits(1):
        for inputs, hidden, batch in ((64, 32, 100), (64, 128, 100), (784, 50, 200), (784, 256, 200)):
            seconds = step_seconds(inputs, hidden, batch)
            show(f"a step of the reference, {inputs}-{hidden}-10, batch {batch}", f"{1e6 * seconds:.0f} µs")
        for hidden in (32, 128):
            whole, alone = epoch_seconds(hidden)
            show(f"an epoch of digits, {hidden} hidden units", f"{1000 * whole:.2f} ms")
            show("  matrix products in it", f"{100 * alone / whole:.0f} %")


# ---------------------------------------------------------------- where the time goes


def training_seconds(study: StudyFolder) -> float:
    """Train all trials of a study again, here, and give the CPU that it took."""
    data = load_dataset(**load_spec(DIGITS).data.model_dump())
    with threadpool_limits(1):
        begun = time.process_time()
        for record in study.committed():
            run_trial(record.job, data)
        return time.process_time() - begun


def measure_shares(folder: Path, run: Cost, sync: Cost, loop: Seconds) -> None:
    """Split the CPU of `netcore run digits` by what it was for, as measured apart."""
    study = StudyFolder(folder / "results" / "digits")
    load = f"from netcore.run import dataset_of, load_spec; dataset_of(load_spec({str(DIGITS)!r}))"
    main = cost_of(folder, sys.executable, "-c", load).cpu
    worker = cost_of(folder, sys.executable, "-c", "import netcore.workers.engine").cpu
    workers = usable_cores()
    parts = {
        "training": training_seconds(study),
        "asks": loop["ask"],
        "records": loop["record"],
        "commits": loop["commit"],
        "MLflow's process": sync.cpu,
        "tables, figures, report (and their imports)": cost_of(folder, NETCORE, "report", "digits").cpu,
        f"imports and start, {workers} workers included": main + workers * worker,
    }
    parts["not accounted for (MLflow's new tables, pipes)"] = run.cpu - sum(parts.values())
    for name, seconds in parts.items():
        show(f"  {name}", f"{seconds:.1f} s", f"{100 * seconds / run.cpu:.0f} %")


def main() -> None:
    """Measure everything, and print the table as it comes."""
    quick = "--quick" in sys.argv[1:]
    machine = environment()
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{machine['processor']}, {usable_cores()} cores, {platform.system()}, {load}")
    print(f"Python {machine['python']}, NumPy {machine['numpy']}, BLAS {machine['blas']}, Optuna {machine['optuna']}\n")
    show("what", "measured", "wanted")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = measure_run(folder)
        loop = measure_loop(folder, {100: 25} if quick else {100: 25, 2000: 80})
        sync = measure_sync(folder)
        measure_start(folder)
        measure_training()
        print("\nwhere the CPU of `netcore run digits` goes, each part measured apart")
        measure_shares(folder, run, sync, loop)


if __name__ == "__main__":
    main()
