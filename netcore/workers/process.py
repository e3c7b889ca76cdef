"""A worker process: the parent's side of its pipe, then what the process itself runs.

The process imports netcore, loads the training step, and trains one job after another until its pipe closes. It ends
when its parent ends, for whatever reason.
"""

import multiprocessing
import os
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from threadpoolctl import threadpool_limits

from netcore.data.prepared import open_dataset
from netcore.errors import WorkError
from netcore.records.job import TrialJob, TrialResult, failed
from netcore.training.step import load
from netcore.workers.environment import environment
from netcore.workers.trial import run_trial

_START_TIMEOUT = 300.0
"""Seconds that a process may take until it can train."""

_SPAWN = multiprocessing.get_context("spawn")


class LostError(Exception):
    """A worker died or stalled in the middle of a trial."""

    def __init__(self, failure: str, what: str, started: float, seconds: float) -> None:
        super().__init__(what)
        self.failure, self.started, self.seconds = failure, started, seconds


class Worker:
    """One worker process and the parent's side of its pipe."""

    def __init__(self, dtype: str) -> None:
        self.environment: dict[str, str] = {}
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
        started, begun = time.time(), time.monotonic()
        try:
            if not self._pipe.poll(_START_TIMEOUT):
                self._process.kill()  # perhaps it is stopped; recv then meets the end of the pipe
            self.environment = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(1)
            if (self._process.exitcode or 0) < 0:
                raise self._died(started, begun) from error
            raise WorkError.at(
                "worker",
                "a worker process could not start",
                f"exit code {self._process.exitcode}",
                'its own message is above; a script that calls netcore does so under `if __name__ == "__main__":`',
            ) from error

    def train(self, job: TrialJob, data: Path, timeout: float) -> tuple[TrialResult, float, float]:
        """Return the result, the time at which it started and the seconds it took.

        Raises:
            LostError: the process died, or took longer than `timeout` seconds.
            WorkError: the data are missing.
        """
        started, begun = time.time(), time.monotonic()
        try:
            self._pipe.send((job, data))
            if self._pipe.poll(timeout):
                answer: tuple[TrialResult, float, float] | WorkError = self._pipe.recv()
                if isinstance(answer, WorkError):
                    raise answer
                return answer
        except (EOFError, OSError) as error:
            self._process.join(1)
            raise self._died(started, begun) from error
        what = f"the trial ran longer than trial_timeout = {timeout:g} s"
        raise LostError("timed out", what, started, time.monotonic() - begun)

    def is_dead(self) -> bool:
        """Return whether the process has ended."""
        return not self._process.is_alive()

    def _died(self, started: float, begun: float) -> LostError:
        what = f"the worker process died (exit code {self._process.exitcode})"
        return LostError("worker died", what, started, time.monotonic() - begun)

    def end(self) -> None:
        """Kill the process (SIGKILL also ends one that is stopped) and reap it."""
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, dtype: str) -> None:
    """Run in the worker process: train until the pipe closes or memory runs out."""
    try:
        _train(pipe, dtype)
    except MemoryError:
        # No memory is left even for a report. On its way out, the interpreter may try to handle this error for ever
        # (a handler in a long function first allocates a number), so the process ends at once.
        os.write(2, b"netcore: a worker has no memory left\n")
        os._exit(1)


def _train(pipe: Connection, dtype: str) -> None:
    """Train the jobs that come through the pipe until it closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load(dtype)  # before the first job: it may have to be compiled, and it loads the BLAS that is limited next
    threadpool_limits(1)
    with suppress(EOFError, OSError):
        pipe.send(environment())
        while True:
            pipe.send(_answer(*pipe.recv()))


def _answer(job: TrialJob, data: Path) -> tuple[TrialResult, float, float] | WorkError:
    """Train a trial; return the result, the time at which it started and the seconds it took, or why it cannot run."""
    started, begun = time.time(), time.perf_counter()
    try:
        result = run_trial(job, open_dataset(data))
    except WorkError as error:  # the data are missing: not the trial's fault
        return error
    except Exception:  # noqa: BLE001  # any error of the trial belongs in its record
        result = failed("error", traceback.format_exc())
    return result, started, time.perf_counter() - begun


def _end_with_parent() -> None:
    """Wait until the parent process has ended, for whatever reason, then end this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
