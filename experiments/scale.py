"""Question: how does the cost grow with the number of trials, with workers and with data?

Command: .venv/bin/python experiments/scale.py            (the window, simulated: seconds)
         .venv/bin/python experiments/scale.py cluster    (256 Dask workers that sleep: two minutes; needs Dask)
         .venv/bin/python experiments/scale.py trials [FEW MANY]   (500 and 5,000 trials: ten minutes)
         .venv/bin/python experiments/scale.py cores      (one worker and two; NETCORE_DATA must name a folder)
         .venv/bin/python experiments/scale.py data       (rows and inputs: half a minute, 1.5 GB of disk)

The window is arithmetic on the loop's rule: trial n is asked when trial n - window has been committed, and commits run
in order. Trials take 10 s ± 50 %, or half of them are stopped early. The cluster is netcore's own loop and engine with
a real Dask scheduler and eight real workers of 32 threads in another process, whose trainings sleep: to the loop and to
the scheduler that is 256 trials at once. For the trials, one study of iris is extended from step to step: the times are
those that netcore notes, CPU and memory those of its commands. The data are noise.
"""

import heapq
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

import numpy as np
from measure import SPACE, netcore, show_load, times_of, write_study
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netcore import load_spec
from netcore.core import Epoch
from netcore.data import Dataset
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import dataset_of
from netcore.records.job import State, TrialJob, TrialResult
from netcore.records.record import Provenance, Record
from netcore.run import Run
from netcore.workers import cluster
from netcore.workers.environment import environment
from netcore.workers.trial import run_trial

ASK = 0.015
"""Seconds that a proposal takes at 1,000 trials; proposals are made one after another."""
TRIAL = 10.0
WORKERS = 256


def utilisation(workers: int, window: int, seconds: NDArray[np.float64]) -> float:
    """Return the share of the workers' time in which they train, from the first ask to the last commit."""
    trials = len(seconds)
    free = [0.0] * workers  # when each worker has finished its trial
    committed = np.zeros(trials)
    clock = 0.0
    for number in range(trials):
        clock = ASK + (max(clock, committed[number - window]) if number >= window else clock)
        ended = max(clock, heapq.heappop(free)) + float(seconds[number])
        heapq.heappush(free, ended)
        committed[number] = max(ended, committed[number - 1] if number else 0.0)
    return float(seconds.sum() / (workers * committed[-1]))


def show_windows() -> None:
    """Print a table: workers by window."""
    ratios = (1, 1.25, 1.5, 2, 3, 4, 8)
    for title, early in (("10 s ± 50 %", 0.0), ("the same, and half of them stopped after a tenth", 0.5)):
        print(f"\nshare of the workers' time in which they train; trials of {title}")
        print(f"{'workers':>8}" + "".join(f"{f'{ratio:g} x':>9}" for ratio in ratios) + "   (window / workers)")
        for workers in (2, 8, 32, 128, 256):
            rng = np.random.default_rng(0)
            trials = 40 * workers
            lengths = rng.uniform(0.5 * TRIAL, 1.5 * TRIAL, trials) * np.where(rng.random(trials) < early, 0.1, 1.0)
            shares = [utilisation(workers, int(ratio * workers), lengths) for ratio in ratios]
            print(f"{workers:>8}" + "".join(f"{share:>9.1%}" for share in shares))


# A cluster that sleeps


def nap(job: TrialJob, _data: Dataset, _ours: dict[str, str], _timeout: float, attempt: int) -> tuple[str, Record]:
    """Replace a training: sleep for a time that depends on the trial's number, and return a made-up curve."""
    rng = np.random.default_rng(job.number)
    started, seconds = time.time(), rng.uniform(0.5 * TRIAL, 1.5 * TRIAL)
    time.sleep(seconds)
    losses = np.sort(rng.random(job.epochs))[::-1]
    curve = tuple(Epoch(epoch, 0.1, loss, loss, 0.5, 0.5) for epoch, loss in enumerate(losses.tolist(), start=1))
    result = TrialResult(State.FINISHED, curve, len(curve), curve[-1].val_loss)
    return "asleep", Record.of(job, result, Provenance(started, seconds, attempt, environment()))


WORKER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=8, threads_per_worker={workers} // 8, processes=False, dashboard_address=None,
                           protocol="tcp://", host="127.0.0.1", memory_limit=0)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


def show_cluster(sampler: str, rounds: int = 8) -> None:
    """Run the loop on workers that sleep; print their utilisation and the coordinator's CPU."""
    cluster._train = nap  # type: ignore[assignment] # noqa: SLF001  # what this experiment replaces
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as name:
        folder, trials = Path(name), rounds * WORKERS
        command = [sys.executable, "-c", WORKER.format(workers=WORKERS)]
        there = {**os.environ, "PYTHONPATH": path}
        workers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=there)
        assert workers.stdin is not None and workers.stdout is not None  # noqa: PT018, S101  # for the types
        address = workers.stdout.readline().strip()
        text = f"""
            study = {{ trials = {trials}, window = {3 * WORKERS}, sampler = "{sampler}" }}
            data = {{ source = "iris" }}
            training = {{ epochs = 30, batch_size = 20 }}
            {SPACE}"""
        with Run(load_spec(write_study(folder, "sleep", text)), results=folder, dask=address) as run:
            began, cpu = time.time(), time.process_time()
            records = [step for step in run.search(confirm=False) if isinstance(step, Record)]
            wall, cpu = time.time() - began, time.process_time() - cpu
        workers.stdin.close()
        workers.wait()
    started = np.array([record.provenance.started for record in records])
    ended = started + [record.provenance.seconds for record in records]
    last = np.sort(started)[-WORKERS]  # from then on there is no work for all
    busy = np.clip(np.minimum(ended, last) - started, 0, None).sum() / (WORKERS * (last - started.min()))
    whole = (ended - started).sum() / (WORKERS * (ended.max() - started.min()))
    print(f"{sampler}: {trials} trials on {WORKERS} workers, window {3 * WORKERS}: {wall:.0f} s")
    print(f"  workers asleep (at work) {busy:.1%} of the time while there was enough to do")
    print(f"  {whole:.1%} from the first start to the last end")
    print(f"  coordinator: {cpu / wall:.2f} cores, {1000 * cpu / trials:.1f} ms per trial")


# Thousands of trials

IRIS = 'study = { trials = 10 }\ndata = { source = "iris" }\ntraining = { epochs = 30, batch_size = 20 }\n'
NEAR = 50
"""A trial's cost at n is the mean over trials n - 50 … n + 50."""
AWAY = "http://127.0.0.1:1"
"""An MLflow that refuses: a run leaves its trials for `netcore sync`, whose cost is then known."""


def costs_at(folder: Path, study: Path, trials: int) -> dict[str, tuple[float, str]]:
    """Extend the study to so many trials and a bit; return what a trial, and what all of them together, cost there."""
    noted = []
    for total in (trials - NEAR, trials + NEAR):
        run = netcore(folder, "run", study, "--no-confirm", "--trials", str(total), database=AWAY, fails=True)
        noted.append(times_of(folder / "results" / study.stem))
        report, sync = (netcore(folder, command, study.stem) for command in ("report", "sync"))
    again, verify = (netcore(folder, command, study.stem) for command in ("sync", "verify"))
    spent = {name: 1000 * (noted[1][name] - noted[0][name]) / (2 * NEAR) for name in ("asking", "writing")}
    costs = {f"a trial: {name}": (value, "ms") for name, value in spent.items()}
    costs["a trial: sync, CPU"] = (1000 * (sync.cpu - again.cpu) / (2 * NEAR), "ms")
    for name, cost in {"run": run, "report": report, "sync, nothing new": again, "verify": verify}.items():
        costs[f"netcore {name}, CPU"] = (cost.cpu, "s")
        costs[f"netcore {name}, memory"] = (cost.memory, "MB")
    return costs


def show_trials(few: int, many: int) -> None:
    """Print what trials cost after few and after many."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = write_study(folder, "growth", IRIS + SPACE)
        costs = [costs_at(folder, study, trials) for trials in (few, many)]
    print(f"{'':<36}{f'at {few:,}':>13}{f'at {many:,}':>13}{'times':>9}")
    for what, (before, unit) in costs[0].items():
        after, _ = costs[1][what]
        print(f"{what:<36}{before:>9.1f} {unit:<3}{after:>9.1f} {unit:<3}{after / before:>9.2f}")


# The cores of one machine

CORES = """
study = {{ trials = {trials}, metric = "val_accuracy", sampler = "random" }}
data = {{ source = "idx", path = "fashion-mnist", validation = 5000 }}
training = {{ epochs = 4 }}
[space]
learning_rate = {{ low = 0.05, high = 0.2, log = true }}
hidden_size = [128, 256]
reg = 1e-4
learning_rate_decay = 0.95
"""


def show_cores(trials: int, rounds: int = 3) -> None:
    """Run the same search of Fashion-MNIST with one worker and with two, in turn; print what the second one brings."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    print(f"{trials} trials of 4 epochs on Fashion-MNIST, 55,000 rows")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = load_spec(write_study(folder, "cores", CORES.format(trials=trials)))
        for number in range(rounds):
            for workers, wall in walls.items():
                with Run(spec, results=folder / f"{number}-{workers}", workers=workers) as run:
                    begun = time.perf_counter()
                    for _ in run.search(confirm=False):
                        pass
                    wall.append(time.perf_counter() - begun)
                print(f"  {workers} workers: {wall[-1]:6.2f} s, busy {run.busy or 0:.1%} of the time", flush=True)
    ratios = np.divide(walls[1], walls[2])
    print(f"two workers do {np.median(ratios):.2f} times the work of one ({ratios.min():.2f} to {ratios.max():.2f})")


# Rows and inputs

NOISE = """
study = { trials = 1 }
data = { source = "arrays", path = ".", validation = 0.1, test = 0.1 }
training = { epochs = 2, batch_size = 200 }
space = { learning_rate = 0.01, hidden_size = 50, reg = 1e-4, learning_rate_decay = 0.95 }
"""
SIZES = [(1_000, 64), (10_000, 64), (100_000, 64), (1_000_000, 64), (10_000, 784), (100_000, 784), (10_000, 3072)]
"""Rows and inputs."""


def show_data() -> None:
    """Print what it costs to prepare data and to train on a row, by rows and inputs."""
    print("50 hidden units, batches of 200, float32; ten classes of noise")
    print(f"{'rows':>10}{'inputs':>8}{'MB':>7}{'prepared in':>13}{'a row, each epoch':>19}")
    for number, (rows, inputs) in enumerate([SIZES[0], *SIZES]):
        with tempfile.TemporaryDirectory() as name:
            folder, rng = Path(name), np.random.default_rng(0)
            np.save(folder / "X.npy", rng.standard_normal((rows, inputs), np.float32))
            np.save(folder / "y.npy", np.arange(rows) % 10)
            prepared, trained = data_costs(write_study(folder, "noise", NOISE))
        if number:  # the first waits for imports
            size = 4 * rows * inputs / 1e6
            print(f"{rows:>10,}{inputs:>8}{size:>7.0f}{prepared:>11.2f} s{1e6 * trained:>16.2f} µs", flush=True)


def data_costs(study: Path, rounds: int = 3) -> tuple[float, float]:
    """Return the seconds to prepare a study's data, and the least CPU of a row in an epoch."""
    spec = load_spec(study)
    begun = time.perf_counter()
    dataset = dataset_of(spec)
    prepared = time.perf_counter() - begun
    job = TrialJob.of(spec, 0, Hyperparameters(0.01, 50, 1e-4, 0.95), {}, dataset.digest, "")
    marks = [time.process_time()]
    with threadpool_limits(1):
        for _ in range(rounds):
            run_trial(job, dataset)
            marks.append(time.process_time())
    least = min(after - before for before, after in pairwise(marks))
    return prepared, least / (job.epochs * len(dataset.X_train))


def main(what: str = "", *counts: str) -> None:
    """Print what is asked for."""
    show_load()
    if what == "cluster":
        import scale  # noqa: PLC0415  # by the name under which the workers find it too

        for sampler in ("random", "tpe"):
            scale.show_cluster(sampler, *map(int, counts))
    elif what == "trials":
        show_trials(*(map(int, counts) if counts else (500, 5_000)))
    elif what == "cores":
        show_cores(*(map(int, counts) if counts else (40,)))
    elif what == "data":
        show_data()
    else:
        show_windows()


if __name__ == "__main__":
    main(*sys.argv[1:])
