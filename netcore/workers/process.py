"""A worker process: the parent's side of its pipe, then what the process itself runs.

The process imports netcore, loads the training step, and trains one job after another until its pipe closes. It ends
when its parent ends, for whatever reason.
"""

import multiprocessing
import os
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from threadpoolctl import threadpool_limits

from netcore.data.prepared import open_dataset
from netcore.errors import WorkError
from netcore.records.job import TrialJob
from netcore.records.record import Record
from netcore.training.step import load
from netcore.workers.engine import LostError, train
from netcore.workers.environment import environment

_START_TIMEOUT = 300.0
"""Seconds that a process may take until it can train."""

_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """One worker process and the parent's side of its pipe."""

    def __init__(self, dtype: str) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs, dtype), daemon=True)
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        """Wait until the process can train.

        Raises:
            WorkError: it ended by itself; another one would too.
            LostError: it was killed.
        """
        try:
            if not self._pipe.poll(_START_TIMEOUT):
                self._process.kill()  # perhaps it is stopped; recv then meets the end of the pipe
            self._pipe.recv()
        except (EOFError, OSError) as error:
            died = self._died()
            if (self._process.exitcode or 0) < 0:
                raise died from error
            raise WorkError.at(
                "worker",
                "a worker process could not start",
                f"exit code {self._process.exitcode}",
                'its own message is above; a script that calls netcore does so under `if __name__ == "__main__":`',
            ) from error

    def train(self, job: TrialJob, data: Path, attempt: int, *, timeout: float) -> Record:
        """Train a job on the prepared data in the folder `data`.

        Raises:
            LostError: the process died, or took longer than `timeout` seconds.
            WorkError: the data are missing.
        """
        try:
            self._pipe.send((job, data, attempt))
            if not self._pipe.poll(timeout):
                raise LostError("timed out", f"the trial ran longer than trial_timeout = {timeout:g} s")
            answer: Record | WorkError = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(answer, WorkError):
            raise answer
        return answer

    def is_dead(self) -> bool:
        """Return whether the process has ended."""
        return not self._process.is_alive()

    def _died(self) -> LostError:
        self._process.join(1)
        return LostError("worker died", f"the worker process died (exit code {self._process.exitcode})")

    def end(self) -> None:
        """Kill the process (SIGKILL also ends one that is stopped) and reap it."""
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, dtype: str) -> None:
    """Run in the worker process: train until the pipe closes or memory runs out."""
    try:
        _answer_jobs(pipe, dtype)
    except MemoryError:
        # No memory is left even for a report. On its way out, the interpreter may try to handle this error for ever
        # (a handler in a long function first allocates a number), so the process ends at once.
        os.write(2, b"netcore: a worker has no memory left\n")
        os._exit(1)


def _answer_jobs(pipe: Connection, dtype: str) -> None:
    """Train the jobs that come through the pipe until it closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load(dtype)  # before the first job: it may have to be compiled, and it loads the BLAS that is limited next
    threadpool_limits(1)
    environment()  # now, while there is memory and no trial waits
    with suppress(EOFError, OSError):
        pipe.send("ready")
        while True:
            pipe.send(_answer(*pipe.recv()))


def _answer(job: TrialJob, data: Path, attempt: int) -> Record | WorkError:
    """Train a job, or return why it cannot be trained: the data are missing, which is not the trial's fault."""
    try:
        dataset = open_dataset(data)
    except WorkError as error:
        return error
    return train(job, dataset, attempt)


def _end_with_parent() -> None:
    """Wait until the parent process has ended, for whatever reason, then end this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
