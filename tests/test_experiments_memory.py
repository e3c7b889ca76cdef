"""Claims about memory, measured as experiments/memory.py does: workers share the data, which may be larger than it."""

import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from netcore import load_study
from netcore.data.prepared import through_cache
from netcore.question.spec import dataset_of

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

import memory  # a script, found by its folder

MEGABYTE = 10**6


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder with a cache of its own and room for two gigabytes."""
    if shutil.disk_usage(tmp_path).free < 2000 * MEGABYTE:
        pytest.skip("less than 2 GB are free on the disk of the temporary folder")
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "cache"))
    yield tmp_path
    shutil.rmtree(tmp_path)  # pytest would keep the gigabytes for three sessions


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no smaps_rollup: not Linux")
def test_workers_share_the_memory_of_the_data(folder: Path) -> None:
    """Four workers that train on 100 MB take these once, though each sees all of them."""
    spec = memory.write_study(folder, 125 * MEGABYTE)
    dataset = through_cache(partial(dataset_of, spec))
    assert dataset.X_train.nbytes > 99 * MEGABYTE
    taken = memory.memory_of_workers(spec, dataset, 4)
    everything = sum(array.nbytes for array in (dataset.X_train, dataset.X_val, dataset.X_test))
    assert taken.data > 4 * dataset.X_train.nbytes
    assert taken.shared_data < 1.02 * everything


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory by RLIMIT_DATA")
def test_data_may_be_larger_than_the_memory(folder: Path) -> None:
    """Where a process may have 512 MB a study of 540 MB is searched; without the cache there is no room."""
    spec = memory.write_study(folder, 540 * MEGABYTE)
    done = memory.run_limited(memory.CACHED, spec, 512 * MEGABYTE)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_study("large", results=folder / "results").trials["state"].tolist() == ["finished"]
    refused = memory.run_limited(memory.IN_MEMORY, spec, 512 * MEGABYTE)
    assert "Unable to allocate" in refused.stderr
