"""`netcore sync`, and its other form that follows a run: a process of its own, so that MLflow never holds up a search.

The follower writes the runs of records as they are committed. Its standard input is the run's: a line `finish` says
that all is done and everything can be made as the folder has it; the end of the pipe, before that or after, says that
the run is gone, and so is the follower, at once. Its standard output says each second how many trials MLflow has,
unless MLflow does not answer: so the run knows how long to wait for it at its end. `done` is its last word.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import IO, Self

from netcore.errors import RecordError, WorkError
from netcore.records.folder import StudyFolder
from netcore.tracking.client import connect, shown_uri, speaking_plainly, writing_ahead

__all__ = ["Follower", "follow", "sync"]

_POLL = 0.3
_LOCK_PATIENCE = 60.0
_PATIENCE = 5.0
"""How long a run that is interrupted waits for its follower."""
_SILENCE = 15.0
"""How long a run that is complete waits for a follower of which it hears nothing."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
"""How long a follower waits before it tries an MLflow that failed again; each time twice as long."""
_HASTE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
"""For the last words of a follower whose run is gone: the next one may be waiting for it."""
_SENT, _DONE = "sent ", "done"


def sync(folder: StudyFolder) -> int:
    """Bring MLflow to what the folder's records say; give the number of runs written.

    Raises:
        InputError: another sync of this study is under way.
        RecordError: a record is not whole.
        WorkError: MLflow refuses; what was written stays, and the next sync goes on.
    """
    with folder.locked("sync"), speaking_plainly(_remedy(folder)), writing_ahead():
        from netcore.tracking.sync import Projection  # noqa: PLC0415  # MLflow takes 1.3 s to import

        records = folder.committed()
        projection = Projection(connect(), folder)
        projection.finish(records, complete=len(records) >= folder.trials_wanted())
        return projection.written


def follow(folder: StudyFolder, commands: IO[str]) -> int:
    """Follow a run until it says `finish`, or is gone; give the number of runs written.

    Where MLflow fails while the run goes on, it is tried again later; at the end of the run, once.

    Raises:
        InputError: another sync of this study is under way.
        WorkError: MLflow refuses.
    """
    line = _Line(commands)
    # The follower of a run that was killed may need a moment to notice; it holds the lock until then.
    with folder.locked("sync", patience=_LOCK_PATIENCE):
        pause = _FIRST_PAUSE
        while True:
            try:
                with speaking_plainly(_remedy(folder)), writing_ahead():
                    written = _project(folder, line)
            except WorkError:
                if line.finish.is_set():
                    raise
            else:
                line.tell_done()
                return written
            finally:
                line.tell()
            line.said.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _project(folder: StudyFolder, line: "_Line") -> int:
    """Write the runs of records as they come, and at the end all the rest."""
    from netcore.tracking.sync import Projection  # noqa: PLC0415  # MLflow takes 1.3 s to import

    projection = Projection(connect(), folder)
    try:
        projection.begin()
        number = 0
        while not line.said.wait(_POLL):
            # A record that is missing or being replaced right now is seen to below.
            with suppress(RecordError):
                while not line.said.is_set():
                    projection.add(folder.read(number))
                    number += 1
                    line.tell(number)
        records = folder.committed()
        for sent, record in enumerate(records, 1):
            projection.add(record)
            line.tell(sent)
        projection.finish(records, complete=len(records) >= folder.trials_wanted())
    except KeyboardInterrupt:
        os.environ |= _HASTE
        projection.end("KILLED")
        raise
    return projection.written


class _Line:
    """The follower's side of the two pipes between it and its run."""

    def __init__(self, commands: IO[str]) -> None:
        self.said, self.finish = threading.Event(), threading.Event()
        self._commands = commands
        self._sent = 0
        self._main = threading.main_thread().ident or 0
        for task in (self._listen, self._beat):
            threading.Thread(target=task, daemon=True).start()

    def tell(self, sent: int | None = None) -> None:
        """Say how many trials MLflow has."""
        if sent is not None:
            self._sent = sent
        with suppress(OSError):  # nobody listens any more
            os.write(1, f"{_SENT}{self._sent}\n".encode())  # unlike sys.stdout, it may be cut off at any moment

    def tell_done(self) -> None:
        """Say that MLflow has everything; the end of this process may take long where others use the machine."""
        with suppress(OSError):
            os.write(1, f"{_DONE}\n".encode())

    def _listen(self) -> None:
        if self._commands.readline().strip() == "finish":
            self.finish.set()
            self.said.set()
            while os.read(self._commands.fileno(), 1):  # sys.stdin itself may not be waited for when Python ends
                pass
        self.said.set()
        # The run is gone. Whatever is under way ends, importing MLflow and waiting for its answer included. SIGINT may
        # be ignored: the shell of a script says so to what it starts in the background.
        signal.pthread_kill(self._main, signal.SIGTERM)

    def _beat(self) -> None:
        """Say it anew each second, unless the follower stands still in one and the same call."""
        before = None
        while True:
            now = _whereabouts(self._main)
            if now != before:
                self.tell()
            before = now
            time.sleep(1)


def _whereabouts(thread: int) -> tuple[FrameType | None, int]:
    """Say where in its code a thread is; in a request to a server, with all its retries, it is in one place."""
    frame = innermost = sys._current_frames().get(thread)  # noqa: SLF001  # Python's own way
    while frame:
        if frame.f_globals.get("__name__") == "requests.sessions":
            return frame, 0
        frame = frame.f_back
    return innermost, innermost.f_lasti if innermost else 0


class Follower:
    """This side of a follower: a context manager that lets go of it when the run is over, however that came."""

    def __init__(self, folder: StudyFolder) -> None:
        command = [sys.executable, "-P", "-m", "netcore", "sync", "--follow", str(folder.path)]
        self._folder = folder
        # A session of its own: Ctrl-C in the terminal is the run's to handle.
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._sent = 0
        self._done = False
        self._over = threading.Event()
        """Set once there is nothing to wait for any more."""
        self._said: list[str] = []
        self._heard = time.monotonic()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin:
            with suppress(OSError):  # it may have died
                self._process.stdin.close()
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_PATIENCE / 2)
            except subprocess.TimeoutExpired:
                end()
        self._process.wait()
        self._reader.join()

    def finish(self, trials: int) -> tuple[str, str]:
        """Let everything be made as the folder has it; if that fails, say what of so many trials waits, and why."""
        self._finish()
        begun = time.monotonic()
        while self._reader.is_alive() and not self._done and time.monotonic() - max(begun, self._heard) < _SILENCE:
            self._over.wait(_POLL)
        if self._done:
            return "", ""
        remedy = _remedy(self._folder)
        if self._reader.is_alive():
            self._process.kill()
            why = f"error: MLflow at {shown_uri()}: has not answered for {_SILENCE:.0f} s; {remedy}"
        elif (code := self._process.wait()) == 0:
            return "", ""
        else:
            died = f"error: the process that sends to MLflow died (exit code {code}); {remedy}"
            why = "".join(self._said).strip() or died
        waiting = trials - self._sent
        if not waiting:
            return "all trials are there, but not all of what was made of them", why
        return f"{waiting} of {trials} trials wait", why

    def _finish(self) -> None:
        """Say the last word. The pipe stays open: its end says that the run is gone."""
        if self._process.stdin:
            with suppress(OSError):  # it may have died
                self._process.stdin.write("finish\n")
                self._process.stdin.flush()

    def _listen(self) -> None:
        if self._process.stdout:
            with self._process.stdout as pipe:
                for text in pipe:
                    self._heard = time.monotonic()
                    if text.startswith(_SENT):
                        self._sent = int(text.removeprefix(_SENT))
                    elif text.strip() == _DONE:
                        self._done = True
                        self._over.set()
                    else:
                        self._said.append(text)
        self._over.set()


def _remedy(folder: StudyFolder) -> str:
    return f"all records are safe in {folder.path}; `netcore sync {folder.path}` sends what is missing"
