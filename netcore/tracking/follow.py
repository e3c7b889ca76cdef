"""`netcore sync`, and its form that follows a run: a process of its own, so that MLflow never delays a search.

The follower writes runs as records are committed. A pipe and a file connect it with its run.

    run ──► follower   `finish`: all is done, apply the plan of the whole folder.
                       The end of the pipe, before or after: the run is gone, and the follower ends at once.
    follower ──► run   a file with a line for each step: `sent trial N` once MLflow has this trial, `sent` for anything
                       else, `done` at the end, or the lines of an error.

At its end the run waits for `done` as long as steps follow each other within a fixed time.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from netcore.errors import RecordError, WorkError
from netcore.records.folder import StudyFolder
from netcore.tracking.client import connect, shown_uri, speaking_plainly

if TYPE_CHECKING:
    from netcore.tracking.writer import Step

PATIENCE = 60.0
"""How many seconds a run that is complete waits for the next step of its follower.

A server that does not answer is reported sooner, by MLflow's own timeout (`client.ENVIRONMENT`). The longest step of
the follower itself is to create a database, on a slow disk or a busy machine.
"""

_POLL = 0.2
_LOCK_PATIENCE = 60.0
_END_PATIENCE = 5.0
"""How many seconds a run that is interrupted waits for its follower to end."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
"""How many seconds a follower waits after MLflow failed before it tries again; the pause doubles each time."""
_SENT, _TRIAL_SENT, _DONE = "sent", "sent trial ", "done"


def sync(folder: StudyFolder, *, deep: bool = False) -> int:
    """Update MLflow from the folder's records; return the number of runs written.

    `deep` compares every value, and so repairs what was changed in MLflow, too.

    Raises:
        InputError: another sync of this study is running.
        RecordError: a record is damaged.
        WorkError: MLflow refuses; what was written stays, and the next sync continues.
    """
    with folder.locked("sync"), speaking_plainly(_remedy(folder)):
        from netcore.tracking.sync import Sync  # noqa: PLC0415  # MLflow takes 1.3 s to import

        syncing = Sync(connect(), folder)
        syncing.finish(deep=deep)
        return len(syncing.written)


def follow(folder: StudyFolder, commands: IO[str]) -> int:
    """Follow a run until it sends `finish` or is gone; return the number of runs written.

    If MLflow fails while the run continues, the follower tries again later; at the end of the run, it tries once.

    Raises:
        InputError: another sync of this study is running.
        WorkError: MLflow refuses.
    """
    finish = threading.Event()
    threading.Thread(target=_listen, args=(commands, finish), daemon=True).start()
    # The follower of a run that was killed may need a moment to notice; it holds the lock until then.
    with folder.locked("sync", patience=_LOCK_PATIENCE):
        pause = _FIRST_PAUSE
        while True:
            try:
                with speaking_plainly(_remedy(folder)):
                    written = _follow(folder, finish)
            except WorkError:
                if finish.is_set():
                    raise
            else:
                _send(_DONE)  # the end of this process may take long on a busy machine
                return written
            finish.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _follow(folder: StudyFolder, finish: threading.Event) -> int:
    """Write the runs of records as they are committed, and everything else at the end."""
    from netcore.tracking.sync import Sync  # noqa: PLC0415  # MLflow takes 1.3 s to import

    syncing = Sync(connect(), folder, _report)
    syncing.begin()
    number = 0
    while not finish.wait(_POLL):
        with suppress(RecordError):  # a record that is missing, or is just being replaced, is written later
            while not finish.is_set():
                syncing.add(folder.read(number))
                number += 1
    syncing.finish()
    return len(syncing.written)


def _listen(commands: IO[str], finish: threading.Event) -> None:
    """Pass on `finish`; once the run is gone, end this process, even within an import of MLflow or a call to it."""
    if commands.readline().strip() == "finish":
        finish.set()
        while os.read(commands.fileno(), 1):  # sys.stdin itself must not be read while Python ends
            pass
    # SIGINT may be ignored here: a shell does so for what a script starts in the background.
    signal.raise_signal(signal.SIGTERM)


def _report(step: "Step") -> None:
    """Report a step to the run: the trial that MLflow now has, or anything else."""
    training = step.training
    _send(f"{_TRIAL_SENT}{training.record.number}" if training and training.is_trial else _SENT)


def _send(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # unlike sys.stdout, it has no buffer to lose


class Follower:
    """The run's side: a context manager that ends the follower when the run is over, for whatever reason."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._output = tempfile.NamedTemporaryFile()  # noqa: SIM115  # `__exit__` closes it
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-P", "-m", "netcore", "sync", "--follow", "--", str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is the run's to handle
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=_END_PATIENCE)  # closes its input, so it ends
        self._process.kill()
        self._process.wait()
        self._output.close()

    def finish(self, trials: int) -> tuple[str, str]:
        """Let the follower apply the whole plan; return what is not in MLflow and why, or two empty texts.

        `trials` is how many trials the study has.
        """
        if self._process.stdin:  # it stays open: its end means that the run is gone
            with suppress(OSError):  # the follower may have died
                self._process.stdin.write("finish\n")
                self._process.stdin.flush()
        lines, heard = self._lines(), time.monotonic()
        while self._process.poll() is None and _DONE not in lines and time.monotonic() - heard < PATIENCE:
            time.sleep(_POLL)
            before, lines = lines, self._lines()
            heard = heard if lines == before else time.monotonic()
        lines = self._lines()
        if _DONE in lines:
            return "", ""
        waiting = trials - len({line for line in lines if line.startswith(_TRIAL_SENT)})
        what = f"{waiting} of {trials} trials wait" if waiting else "all trials are there, but not all that follows"
        return what, self._failure([line for line in lines if not line.startswith(_SENT)])

    def _failure(self, errors: list[str]) -> str:
        """Return the follower's error, or one that describes how it ended."""
        code = self._process.poll()
        if code is None:
            self._process.kill()
            return f"error: MLflow at {shown_uri()}: has not answered for {PATIENCE:.0f} s; {_remedy(self._folder)}"
        died = f"error: the process that sends to MLflow died (exit code {code}); {_remedy(self._folder)}"
        return "\n".join(errors).strip() or died

    def _lines(self) -> list[str]:
        """Return what the follower has written so far."""
        return Path(self._output.name).read_text("utf-8", errors="replace").splitlines()


def _remedy(folder: StudyFolder) -> str:
    return f"all records are safe in {folder.path}; `netcore sync {folder.path}` sends what is missing"
