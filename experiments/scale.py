"""Question: how does the cost grow with the number of trials, with workers and with data?

Command: .venv/bin/python experiments/scale.py            (the window, simulated: seconds)
         .venv/bin/python experiments/scale.py cluster    (256 Dask workers that sleep: some two minutes, needs Dask)
         .venv/bin/python experiments/scale.py trials     (5,000 real trials: see growth.py)
         .venv/bin/python experiments/scale.py cores      (one worker and two; NETCORE_DATA must name a folder)
         .venv/bin/python experiments/scale.py data       (rows and inputs: half a minute, 1.5 GB of disk)

The window is arithmetic on the loop's rule: trial n is asked when trial n - window has been committed, and commits run
in order. Trials take 10 s ± 50 %, or half of them are stopped early; an ask takes what it does at 1,000 trials; what is
computed is the share of the workers' time in which they train. The cluster is netcore's own loop and engine with a real
Dask scheduler and eight real workers of 32 threads in a process beside, whose trainings sleep instead: to the loop and
to the scheduler that is 256 trials at once. (256 workers in one process keep it busy with themselves.) The data are
noise: what is timed are preparing them, finding them prepared, and an epoch.
"""

import heapq
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

ASK = 0.015
"""Seconds that a proposal takes; they are made one after another."""
TRIAL = 10.0
WORKERS = 256


def utilisation(workers: int, window: int, seconds: NDArray[np.float64]) -> float:
    """Give the share of the workers' time in which they train, from the first ask to the last commit."""
    trials = len(seconds)
    free = [0.0] * workers  # when each worker is done with what it has
    ended, committed = np.zeros(trials), np.zeros(trials)
    clock, busy = 0.0, 0.0
    for number in range(trials):
        if number >= window:
            clock = max(clock, committed[number - window])
        clock += ASK
        begun, took = max(clock, heapq.heappop(free)), float(seconds[number])
        busy += took
        ended[number] = begun + took
        heapq.heappush(free, ended[number])
        committed[number] = max(ended[number], committed[number - 1]) if number else ended[number]
    return float(busy / (workers * committed[-1]))


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


# ---------------------------------------------------------------- a cluster that sleeps


def nap(job: "object", _data: object, _ours: dict[str, str], _timeout: float, attempt: int) -> "tuple[str, object]":
    """Stand in for a training: sleep as long as the trial's number says, and give a worker and some curve."""
    from netcore.core import Epoch  # noqa: PLC0415
    from netcore.records.job import State, TrialJob, TrialResult  # noqa: PLC0415
    from netcore.records.record import Provenance  # noqa: PLC0415
    from netcore.workers.engine import Trained  # noqa: PLC0415
    from netcore.workers.environment import environment  # noqa: PLC0415

    assert isinstance(job, TrialJob)  # noqa: S101  # for the types
    rng = np.random.default_rng(job.number)
    started, seconds = time.time(), rng.uniform(0.5 * TRIAL, 1.5 * TRIAL)
    time.sleep(seconds)
    losses = np.sort(rng.random(job.epochs))[::-1]
    curve = tuple(Epoch(epoch, 0.1, loss, loss, 0.5, 0.5) for epoch, loss in enumerate(losses.tolist(), start=1))
    result = TrialResult(State.FINISHED, curve, len(curve), curve[-1].val_loss)
    return "asleep", Trained(result, Provenance(started, seconds, attempt, environment()))


WORKER = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=8, threads_per_worker={workers} // 8, processes=False, dashboard_address=None,
                           protocol="tcp://", host="127.0.0.1", memory_limit=0)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


def show_cluster(sampler: str, rounds: int = 8) -> None:
    """Run the loop on workers that sleep; print their utilisation and the coordinator's CPU."""
    from netcore import load_spec  # noqa: PLC0415
    from netcore.records.record import Record  # noqa: PLC0415
    from netcore.run import Run  # noqa: PLC0415
    from netcore.workers import cluster  # noqa: PLC0415

    cluster._train = nap  # type: ignore[assignment] # noqa: SLF001  # the experiment's whole point
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as name:
        folder, trials = Path(name), rounds * WORKERS
        command = [sys.executable, "-c", WORKER.format(workers=WORKERS)]
        workers = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert workers.stdin is not None  # noqa: S101  # for the types
        assert workers.stdout is not None  # noqa: S101
        address = workers.stdout.readline().strip()
        (folder / "sleep.toml").write_text(
            f"""
            study = {{ trials = {trials}, window = {3 * WORKERS}, sampler = "{sampler}" }}
            data = {{ source = "iris" }}
            training = {{ epochs = 30, batch_size = 20 }}
            [space]
            learning_rate = {{ low = 1e-3, high = 1.0, log = true }}
            hidden_size = {{ low = 16, high = 256, log = true }}
            reg = {{ low = 1e-6, high = 1e-1, log = true }}
            learning_rate_decay = {{ low = 0.85, high = 1.0 }}
            """
        )
        with Run(load_spec(folder / "sleep.toml"), results=folder, dask=address) as run:
            began, cpu = time.time(), time.process_time()
            records = [step for step in run.search(confirm=False) if isinstance(step, Record)]
            wall, cpu = time.time() - began, time.process_time() - cpu
        workers.stdin.close()
        workers.wait()
    begun = min(record.provenance.started for record in records)
    slept = sum(record.provenance.seconds for record in records)
    ended = max(record.provenance.started + record.provenance.seconds for record in records)
    last = sorted(record.provenance.started for record in records)[-WORKERS]  # from then on there is no work for all
    until = sum(
        max(0.0, min(record.provenance.started + record.provenance.seconds, last) - record.provenance.started)
        for record in records
    )
    print(f"{sampler}: {trials} trials on {WORKERS} workers, window {3 * WORKERS}: {wall:.0f} s")
    print(
        f"  workers asleep (at work) {until / (WORKERS * (last - begun)):.1%} of the time while there was enough to do"
    )
    print(f"  {slept / (WORKERS * (ended - begun)):.1%} from the first start to the last end")
    print(f"  coordinator: {cpu / wall:.2f} cores, {1000 * cpu / trials:.1f} ms per trial")


# ---------------------------------------------------------------- the cores of one machine

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


def show_cores(trials: int = 40, rounds: int = 3) -> None:
    """Run the same search of Fashion-MNIST with one worker and with two, in turn; print what the second one brings."""
    from netcore import load_spec  # noqa: PLC0415
    from netcore.run import Run  # noqa: PLC0415

    walls: dict[int, list[float]] = {1: [], 2: []}
    print(f"{trials} trials of 4 epochs on Fashion-MNIST, 55,000 rows; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cores.toml").write_text(CORES.format(trials=trials))
        for number in range(rounds):
            for workers, wall in walls.items():
                with Run(
                    load_spec(folder / "cores.toml"), results=folder / f"{number}-{workers}", workers=workers
                ) as run:
                    begun = time.perf_counter()
                    for _ in run.search(confirm=False):
                        pass
                    wall.append(time.perf_counter() - begun)
                print(f"  {workers} workers: {wall[-1]:6.2f} s, busy {run.busy or 0:.1%} of the time", flush=True)
    ratios = [one / two for one, two in zip(*walls.values(), strict=True)]
    print(
        f"two workers do {np.median(ratios):.2f} times what one does (median; {min(ratios):.2f} to {max(ratios):.2f})"
    )


# ---------------------------------------------------------------- rows and inputs

NOISE = """
study = { trials = 1 }
data = { source = "arrays", path = ".", validation = 0.1, test = 0.1 }
training = { epochs = 2, batch_size = 200 }
space = { learning_rate = 0.01, hidden_size = 50, reg = 1e-4, learning_rate_decay = 0.95 }
"""
SIZES = [(1_000, 64), (10_000, 64), (100_000, 64), (1_000_000, 64), (10_000, 784), (100_000, 784), (10_000, 3072)]
"""Rows and inputs."""


def show_data(rounds: int = 3) -> None:
    """Print what it costs to prepare data, to find them prepared, and to train on a row, for rows and inputs."""
    print(f"load {os.getloadavg()[0]:.1f}; 50 hidden units, batches of 200, float32; ten classes of noise")
    print(f"{'rows':>10}{'inputs':>8}{'MB':>7}{'prepared in':>13}{'found in':>11}{'a row, each epoch':>19}")
    for number, (rows, inputs) in enumerate([SIZES[0], *SIZES]):
        with tempfile.TemporaryDirectory() as name:
            folder, rng = Path(name), np.random.default_rng(0)
            np.save(folder / "X.npy", rng.standard_normal((rows, inputs), np.float32))
            np.save(folder / "y.npy", np.arange(rows) % 10)
            (folder / "noise.toml").write_text(NOISE)
            with patch.dict(os.environ, {"NETCORE_CACHE": str(folder / "cache")}):
                prepared, found, trained = data_costs(folder / "noise.toml", rounds)
        size = 4 * rows * inputs / 1e6
        if number == 0:  # it waited for imports
            continue
        print(f"{rows:>10,}{inputs:>8}{size:>7.0f}{prepared:>11.2f} s{found:>9.2f} s{1e6 * trained:>16.2f} µs")


def data_costs(study: Path, rounds: int) -> tuple[float, float, float]:
    """Give the seconds to prepare a study's data, to find them prepared, and of CPU for a row in an epoch: the best."""
    from netcore import load_spec  # noqa: PLC0415
    from netcore.data.prepared import through_cache  # noqa: PLC0415
    from netcore.question.spec import Hyperparameters, dataset_of  # noqa: PLC0415
    from netcore.records.job import TrialJob  # noqa: PLC0415
    from netcore.workers.trial import run_trial  # noqa: PLC0415

    spec = load_spec(study)
    walls = []
    for _ in range(2):
        begun = time.perf_counter()
        dataset = through_cache(partial(dataset_of, spec))
        walls.append(time.perf_counter() - begun)
    job = TrialJob.of(spec, 0, Hyperparameters(0.01, 50, 1e-4, 0.95), {}, dataset.digest, "")
    spent = []
    with threadpool_limits(1):
        for _ in range(rounds):
            begun = time.process_time()
            run_trial(job, dataset)
            spent.append(time.process_time() - begun)
    return walls[0], walls[1], min(spent) / (job.epochs * len(dataset.X_train))


def main() -> None:
    """Print what is asked for."""
    if "cluster" in sys.argv[1:]:
        import scale  # noqa: PLC0415  # by its name, under which the workers find it too

        for sampler in ("random", "tpe"):
            scale.show_cluster(sampler)
    elif "trials" in sys.argv[1:]:
        import growth  # noqa: PLC0415  # it needs more than the other two

        growth.main(*((200, 1_000) if "--quick" in sys.argv[1:] else (500, 5_000)))
    elif "cores" in sys.argv[1:]:
        show_cores()
    elif "data" in sys.argv[1:]:
        show_data()
    else:
        show_windows()


if __name__ == "__main__":
    main()
