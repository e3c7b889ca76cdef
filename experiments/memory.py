"""Question: do all workers share one copy of the training set, and may it be larger than the memory?

Command: .venv/bin/python experiments/memory.py [--quick]     (a minute on 2 cores; quick, as in make bench, 20 seconds)

Two answers. A training set of 600 MB with 8 workers: how much memory do they take together, each page that several
share counted once (the proportional set size of /proc/PID/smaps)? And features of 2 GB where no process may have more
than 1 GB of its own (RLIMIT_DATA: all memory but shared and read-only mappings of files): does a study run, and does
the same study without the cache not? It needs 8 GB of free disk, quick 2 GB, and gives them back.
"""

import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cost import show, show_at_most
from numpy.lib.format import open_memmap

from netcore import load_spec
from netcore.data import Dataset
from netcore.data.prepared import through_cache
from netcore.question.spec import Hyperparameters, StudySpec, dataset_of
from netcore.records.job import TrialJob
from netcore.workers.engine import LocalEngine

STUDY = """
[study]
trials = 1
[data]
source = "arrays"
path = "."
validation = 0.1
test = 0.1
[training]
epochs = 1
batch_size = 1024
[space]
learning_rate = 0.01
hidden_size = 4
reg = 0.0
learning_rate_decay = 1.0
"""
INPUTS = 1024
"""Features of a row, in float32: 4 KiB."""
MEGABYTE = 10**6

CACHED = "import sys, netcore; netcore.run_study(sys.argv[1], results=sys.argv[2], workers=1, confirm=False)"
IN_MEMORY = (
    "import sys, netcore; from netcore.question.spec import dataset_of; dataset_of(netcore.load_spec(sys.argv[1]))"
)


class Memory(NamedTuple):
    """What some processes take, in bytes."""

    data: int
    """Pages of the data's files, each process's own view: what several see is counted for each of them."""
    shared_data: int
    """The same, what several see counted once."""
    shared: int
    """All pages, what several see counted once."""


def write_study(folder: Path, size: int) -> StudySpec:
    """Write features of `size` bytes, noise in tiles, with labels and a study file."""
    rows, tile = size // (4 * INPUTS), np.random.default_rng(0).standard_normal((2**12, INPUTS), np.float32)
    X = open_memmap(folder / "X.npy", "w+", np.float32, (rows, INPUTS))
    for start in range(0, rows, len(tile)):
        X[start : start + len(tile)] = tile[: rows - start]
    np.save(folder / "y.npy", np.arange(rows) % 2)
    (folder / "large.toml").write_text(STUDY, encoding="utf-8")
    return load_spec(folder / "large.toml")


def memory_of_workers(spec: StudySpec, dataset: Dataset, workers: int) -> Memory:
    """Measure so many workers, and this process, while each is in the middle of training and has seen all the rows."""
    job = TrialJob.of(spec, 0, Hyperparameters(0.01, 4, 0.0, 1.0), {}, dataset.digest, "")
    with LocalEngine(workers, timeout=3600) as engine:
        for number in range(workers):
            engine.submit(replace(job, number=number, epochs=10**6), dataset)
        wait_until_all_is_mapped(dataset, workers)
        processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]
        return Memory(*map(sum, zip(*(memory_of(pid, str(dataset.path)) for pid in processes), strict=True)))


def wait_until_all_is_mapped(dataset: Dataset, workers: int) -> None:
    """Wait until each worker has looked at all training rows."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        children = [child.pid for child in multiprocessing.active_children() if child.pid]
        seen = [memory_of(pid, f"{dataset.path}/0.X_train.npy").data for pid in children]
        if len(seen) == workers and min(seen) >= dataset.X_train.nbytes:
            return
        time.sleep(0.2)
    raise TimeoutError("the workers have not seen all rows within five minutes")


def memory_of(pid: int, files: str) -> Memory:
    """Measure a process; `files` is how the paths of the data's files begin."""
    data = shared_data = 0
    mine = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mine = files in line
        elif mine and line.startswith("Rss:"):
            data += 1024 * int(line.split()[1])
        elif mine and line.startswith("Pss:"):
            shared_data += 1024 * int(line.split()[1])
    return Memory(data, shared_data, all_memory_of(pid))


def all_memory_of(pid: int) -> int:
    """Give the bytes of a process's pages, each that several share divided among them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return 1024 * int(re.findall(r"^Pss: +(\d+)", rollup, re.MULTILINE)[0])


def run_limited(code: str, spec: StudySpec, limit: int) -> "subprocess.CompletedProcess[str]":
    """Run Python on a study file where no process may have more than `limit` bytes of its own."""
    command = [sys.executable, "-c", code, str(spec.folder / "large.toml"), str(spec.folder / "results")]
    forbid = partial(resource.setrlimit, resource.RLIMIT_DATA, (limit, limit))
    threads = {"OPENBLAS_NUM_THREADS": "2"}  # each has memory of its own, and a large machine would start many
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | threads, preexec_fn=forbid
    )


def measure_sharing(folder: Path, training_set: int, workers: int) -> None:
    """Answer the first question."""
    spec = write_study(folder, training_set * 10 // 8)
    begun = time.monotonic()
    dataset = through_cache(partial(dataset_of, spec))
    show(
        f"training set of {dataset.X_train.nbytes / MEGABYTE:.0f} MB, prepared in", f"{time.monotonic() - begun:.1f} s"
    )
    memory = memory_of_workers(spec, dataset, workers)
    everything = sum(array.nbytes for array in (dataset.X_train, dataset.X_val, dataset.X_test))
    show(f"  seen by {workers} workers and the main process, summed", f"{memory.data / MEGABYTE:.0f} MB")
    show_at_most("  of it in memory", memory.shared_data / MEGABYTE, 1.02 * everything / MEGABYTE, "MB", 0)
    show("  all memory of all these processes", f"{memory.shared / MEGABYTE:.0f} MB")


def measure_limited(folder: Path, size: int, limit: int) -> None:
    """Answer the second question."""
    spec = write_study(folder, size)
    show(f"features of {size / MEGABYTE:.0f} MB, for each process at most", f"{limit / MEGABYTE:.0f} MB")
    begun = time.monotonic()
    done = run_limited(CACHED, spec, limit)
    show("  a search of one trial of one epoch", f"{time.monotonic() - begun:.1f} s", holds=done.returncode == 0)
    refused = run_limited(IN_MEMORY, spec, limit)
    said = (refused.stderr.splitlines() or ["nothing"])[-1].partition(":")[0]
    show("  the same data without the cache", said.rpartition(".")[2], holds=refused.returncode != 0)


def main() -> None:
    """Measure both, in a folder that goes again."""
    quick = "--quick" in sys.argv[1:]
    for measure, quickly, whole in (
        (measure_sharing, (100 * MEGABYTE, 4), (600 * MEGABYTE, 8)),
        (measure_limited, (640 * MEGABYTE, 512 * MEGABYTE), (2 * 1024 * MEGABYTE, 1024 * MEGABYTE)),
    ):
        with tempfile.TemporaryDirectory() as temporary:
            os.environ["NETCORE_CACHE"] = f"{temporary}/cache"
            measure(Path(temporary), *(quickly if quick else whole))


if __name__ == "__main__":
    main()
