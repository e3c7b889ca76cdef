"""`netcore sync`, and its form that follows a run: a process of its own, so that MLflow never delays a search.

The follower writes runs as records are committed. A pipe and a file connect it with its run.

    run ──► follower   `finish`: all is done, apply the plan of the whole folder.
                       The end of the pipe, before or after: the run is gone, and the follower ends at once.
    follower ──► run   a file with `sent N` after each step: how many trials MLflow has; `done` at the end.

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
from typing import IO, Self

from netcore.errors import RecordError, WorkError
from netcore.records.folder import StudyFolder
from netcore.tracking.client import connect, shown_uri, speaking_plainly

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
_SENT, _DONE = "sent ", "done"


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

        records = folder.committed()
        syncing = Sync(connect(), folder)
        syncing.finish(records, complete=len(records) >= folder.spec().study.trials, deep=deep)
        return syncing.written


def follow(folder: StudyFolder, commands: IO[str]) -> int:
    """Follow a run until it sends `finish` or is gone; return the number of runs written.

    If MLflow fails while the run continues, the follower tries again later; at the end of the run, it tries once.

    Raises:
        InputError: another sync of this study is running.
        WorkError: MLflow refuses.
    """
    line = _Line(commands)
    # The follower of a run that was killed may need a moment to notice; it holds the lock until then.
    with folder.locked("sync", patience=_LOCK_PATIENCE):
        pause = _FIRST_PAUSE
        while True:
            try:
                with speaking_plainly(_remedy(folder)):
                    written = _follow(folder, line)
            except WorkError:
                if line.finish.is_set():
                    raise
            else:
                line.send(_DONE)  # the end of this process may take long on a busy machine
                return written
            line.woken.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _follow(folder: StudyFolder, line: "_Line") -> int:
    """Write the runs of records as they are committed, and everything else at the end."""
    from netcore.tracking.sync import Sync  # noqa: PLC0415  # MLflow takes 1.3 s to import

    syncing = Sync(connect(), folder, line.tell)
    try:
        syncing.begin()
        number = 0
        while not line.woken.wait(_POLL):
            # A record that is missing, or is just being replaced, is written below.
            with suppress(RecordError):
                while not line.woken.is_set():
                    syncing.add(folder.read(number))
                    number += 1
                    line.tell(number)
        records = folder.committed()
        for sent, record in enumerate(records, 1):
            syncing.add(record)
            line.tell(sent)
        syncing.finish(records, complete=len(records) >= folder.spec().study.trials)
    except KeyboardInterrupt:
        syncing.end("KILLED")
        raise
    return syncing.written


class _Line:
    """The follower's side of the connection with its run."""

    def __init__(self, commands: IO[str]) -> None:
        self.woken, self.finish = threading.Event(), threading.Event()
        self._commands = commands
        self._sent = 0
        self._main = threading.main_thread().ident or 0
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, sent: int | None = None) -> None:
        """Send how many trials MLflow has."""
        self._sent = self._sent if sent is None else sent
        self.send(f"{_SENT}{self._sent}")

    def send(self, text: str) -> None:
        """Write a line for the run."""
        os.write(1, f"{text}\n".encode())  # unlike sys.stdout, it has no buffer to lose

    def _listen(self) -> None:
        if self._commands.readline().strip() == "finish":
            self.finish.set()
            self.woken.set()
            while os.read(self._commands.fileno(), 1):  # sys.stdin itself must not be read while Python ends
                pass
        self.woken.set()
        # The run is gone: end, even within an import of MLflow or a call to it. SIGINT may be ignored here: a shell
        # does so for what a script starts in the background.
        signal.pthread_kill(self._main, signal.SIGTERM)


class Follower:
    """The run's side: a context manager that ends the follower when the run is over, for whatever reason."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # `__exit__` closes it
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-P", "-m", "netcore", "sync", "--follow", str(folder.path)],
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
        waiting = trials - max((int(line.removeprefix(_SENT)) for line in lines if line.startswith(_SENT)), default=0)
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
        """Return what the follower has written so far; it continues writing at the same position of the file."""
        output = self._output.fileno()
        return os.pread(output, os.fstat(output).st_size, 0).decode(errors="replace").splitlines()


def _remedy(folder: StudyFolder) -> str:
    return f"all records are safe in {folder.path}; `netcore sync {folder.path}` sends what is missing"
