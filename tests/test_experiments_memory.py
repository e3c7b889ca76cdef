"""Claims about memory, measured as experiments/memory.py does: workers share the data, which may be larger than it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import memory
import pytest

from netcore import load_study

MEGABYTE = 10**6


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder with room for two gigabytes."""
    if shutil.disk_usage(tmp_path).free < 2000 * MEGABYTE:
        pytest.skip("less than 2 GB are free on the disk of the temporary folder")
    yield tmp_path
    shutil.rmtree(tmp_path)  # pytest would keep the gigabytes for three sessions


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no smaps: not Linux")
def test_workers_share_the_memory_of_the_data(folder: Path) -> None:
    """Four workers that each see all of 100 MB use that memory once."""
    used = memory.memory_of_run(
        memory.write_data(folder, 125 * MEGABYTE, trials=4, epochs=10**6), 4, training_set=99 * MEGABYTE
    )
    assert used.data >= 4 * 99 * MEGABYTE
    assert used.shared_data < 1.02 * 100 * MEGABYTE


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory by RLIMIT_DATA")
def test_data_may_be_larger_than_the_memory(folder: Path) -> None:
    """Where a process may have 512 MB a study of 540 MB is searched, and NumPy cannot load the features."""
    study = memory.write_data(folder, 540 * MEGABYTE)
    _, error = memory.start(memory.RUN.format(workers=1), study, 512 * MEGABYTE).communicate()
    assert error == ""
    assert load_study("large", results=folder / "results").trials["state"].tolist() == ["finished"]
    _, error = memory.start(memory.LOAD, study, 512 * MEGABYTE).communicate()
    assert "Unable to allocate" in error
