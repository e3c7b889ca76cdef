"""Question: do all workers share one copy of the training set, and may it be larger than the memory?

Command: .venv/bin/python experiments/memory.py [--quick]     (a minute on 2 cores; quick, as in make bench, 20 seconds)

Two answers. A training set of 600 MB with 8 workers: how much memory do all processes of `netcore run` use together,
with shared pages counted once (the proportional set size in /proc/PID/smaps)? And features of 2 GB where no process may
have more than 1 GB of its own (RLIMIT_DATA: all memory but shared and read-only mappings of files): does a study run,
where NumPy cannot even load the features? It needs 8 GB of free disk, quick 2 GB.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

import numpy as np
import psutil
from measure import MEGABYTE, show, show_at_most, write_study
from numpy.lib.format import open_memmap

STUDY = """
study = {{ trials = {trials} }}
data = {{ source = "arrays", path = ".", validation = 0.1, test = 0.1 }}
training = {{ epochs = {epochs}, batch_size = 1024 }}
space = {{ learning_rate = 0.01, hidden_size = 4, reg = 0.0, learning_rate_decay = 1.0 }}
"""
PATIENCE = 300.0
INPUTS = 1024
"""Features of a row, in float32: 4 KiB."""
RUN = "import sys, netcore; netcore.run_study(sys.argv[1], results=sys.argv[2], workers={workers}, confirm=False)"
LOAD = "import sys, numpy; numpy.load(sys.argv[1].replace('large.toml', 'X.npy'))"


class Memory(NamedTuple):
    """What some processes use, in bytes.

    `data` counts pages of the training set once for each process that sees them, `shared_data` counts each once;
    `everything` counts all pages, each once.
    """

    data: int
    shared_data: int
    everything: int


def write_data(folder: Path, size: int, trials: int = 1, epochs: int = 1) -> Path:
    """Write features of `size` bytes, repeated blocks of noise, with labels and a study file; return the file."""
    rows, block = size // (4 * INPUTS), np.random.default_rng(0).standard_normal((2**12, INPUTS), np.float32)
    X = open_memmap(folder / "X.npy", "w+", np.float32, (rows, INPUTS))
    for start in range(0, rows, len(block)):
        X[start : start + len(block)] = block[: rows - start]
    np.save(folder / "y.npy", np.arange(rows) % 2)
    return write_study(folder, "large", STUDY.format(trials=trials, epochs=epochs))


def start(code: str, study: Path, limit: int | None = None) -> "subprocess.Popen[str]":
    """Start Python on a study file; no process may have more than `limit` bytes of its own."""
    command = [sys.executable, "-c", code, str(study), str(study.parent / "results")]
    forbid = partial(resource.setrlimit, resource.RLIMIT_DATA, (limit, limit)) if limit else None
    # BLAS threads have memory of their own, and a large machine would start many; prepared data go into this folder
    settings = {"OPENBLAS_NUM_THREADS": "2", "TMPDIR": str(study.parent), "NETCORE_CACHE": str(study.parent / "cache")}
    out, error, environment = subprocess.DEVNULL, subprocess.PIPE, os.environ | settings
    return subprocess.Popen(command, env=environment, preexec_fn=forbid, stdout=out, stderr=error, text=True)  # noqa: PLW1509


def memory_of_run(study: Path, workers: int, training_set: int) -> Memory:
    """Run a study and measure all its processes while each worker trains and has seen all training rows."""
    with start(RUN.format(workers=workers), study) as running:
        try:
            deadline = time.monotonic() + PATIENCE
            while running.poll() is None and time.monotonic() < deadline:
                found = [memory_of(process.pid) for process in psutil.Process(running.pid).children(recursive=True)]
                if sum(each.data >= training_set for each in found) == workers:
                    return Memory(*map(sum, zip(memory_of(running.pid), *found, strict=True)))
                time.sleep(0.2)
        finally:
            running.kill()
        raise TimeoutError(f"the workers have not seen all rows: {running.communicate()[1][-1000:]}")


def memory_of(pid: int) -> Memory:
    """Measure a process; the training set is in the files that it maps as X_train."""
    data = shared_data = everything = 0
    mine = False
    try:
        smaps = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8")
    except OSError:  # it has ended
        return Memory(0, 0, 0)
    for line in smaps.splitlines():
        name, _, rest = line.partition(":")
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mine = "X_train" in line
        elif name == "Rss" and mine:
            data += 1024 * int(rest.split()[0])
        elif name == "Pss":
            everything += 1024 * int(rest.split()[0])
            shared_data += 1024 * int(rest.split()[0]) * mine
    return Memory(data, shared_data, everything)


def measure_sharing(folder: Path, training_set: int, workers: int) -> None:
    """Answer the first question."""
    study = write_data(folder, training_set * 10 // 8, trials=workers, epochs=10**6)
    used = memory_of_run(study, workers, training_set * 99 // 100)
    show(
        f"training set of {training_set / MEGABYTE:.0f} MB: seen by {workers} workers, summed",
        f"{used.data / MEGABYTE:.0f} MB",
    )
    show_at_most("  of it in memory", used.shared_data / MEGABYTE, 1.02 * training_set / MEGABYTE, "MB", 0)
    show("  all memory of all these processes", f"{used.everything / MEGABYTE:.0f} MB")


def measure_limited(folder: Path, size: int, limit: int) -> None:
    """Answer the second question."""
    study = write_data(folder, size)
    show(f"features of {size / MEGABYTE:.0f} MB, for each process at most", f"{limit / MEGABYTE:.0f} MB")
    begun = time.monotonic()
    failure = start(RUN.format(workers=1), study, limit).communicate()[1]
    show("  a search of one trial of one epoch", f"{time.monotonic() - begun:.1f} s", holds=not failure)
    error = start(LOAD, study, limit).communicate()[1]
    show("  NumPy loads the features", (error.splitlines() or ["yes"])[-1].partition(":")[0], holds=bool(error))


def main() -> None:
    """Measure both, each in a temporary folder."""
    quick = "--quick" in sys.argv[1:]
    for measure, small, whole in (
        (measure_sharing, (100 * MEGABYTE, 4), (600 * MEGABYTE, 8)),
        (measure_limited, (640 * MEGABYTE, 512 * MEGABYTE), (2 * 1024 * MEGABYTE, 1024 * MEGABYTE)),
    ):
        with tempfile.TemporaryDirectory() as temporary:
            measure(Path(temporary), *(small if quick else whole))


if __name__ == "__main__":
    main()
