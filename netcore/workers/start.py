"""Start the engine that a run asks for: processes of this machine, or the workers of a Dask cluster.

`netcore.run` and `netcore.check.replay` call `engine_for` with the options --workers and --dask; the engine that they
get has one verb, `submit`. This process is limited to one BLAS thread for as long as the engine runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from netcore.data import Dataset
from netcore.errors import InputError
from netcore.question.spec import StudySpec
from netcore.workers.cluster import DaskEngine
from netcore.workers.engine import Engine
from netcore.workers.local import LocalEngine, usable_cores

_MOST_WORKERS = 1_024
"""All workers start at once: a typing error must not fill the machine with processes."""


@contextmanager
def engine_for(spec: StudySpec, dataset: Dataset, workers: int | None, dask: str | None) -> Iterator[Engine]:
    """Start `workers` processes on this machine or, if `dask` is a scheduler's address, connect to that cluster.

    One BLAS thread, because this process makes proposals and splits, and its sums must keep their order. The libraries
    that bring threads are loaded by now; the limit would miss one that is loaded later.

    Raises:
        InputError: both are given, or the cluster does not fit.
        WorkError: the cluster has no worker.
    """
    check_workers(workers, dask)
    timeout = spec.study.trial_timeout
    with threadpool_limits(1):
        if dask is None:
            with LocalEngine(workers or usable_cores(), timeout=timeout, dtype=spec.training.dtype) as local:
                yield local
        else:
            with DaskEngine(dask, dataset, timeout=timeout) as cluster:
                yield cluster


def check_workers(workers: int | None, dask: str | None) -> None:
    """Check the number of workers.

    Raises:
        InputError: it is out of range, or given together with a Dask cluster.
    """
    if workers is not None and workers < 1:
        raise InputError.at("workers", "must be >= 1", workers)
    if workers is not None and workers > _MOST_WORKERS:
        remedy = f"one for each core is enough, here {usable_cores()}"
        raise InputError.at("workers", f"must be <= {_MOST_WORKERS}", workers, remedy)
    if workers is not None and dask is not None:
        raise InputError.at("workers", "must be left out with a Dask cluster, which has its own", workers)
