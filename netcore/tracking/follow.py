"""`netcore sync`, and its other form that follows a run: a process of its own, so that MLflow never holds up a search.

The follower writes the runs of records as they are committed. Its standard input is the run's: a line `finish` says
that all is done and everything can be made as the folder has it; a pipe that closes without it says that the run is
gone, and so is the follower, at once.
"""

import _thread
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Self

from netcore.errors import RecordError
from netcore.study.folder import StudyFolder
from netcore.tracking.client import connect, speaking_plainly

__all__ = ["Follower", "follow", "sync"]

_POLL = 0.3
_LOCK_PATIENCE = 60.0
_PATIENCE = 5.0


def sync(folder: StudyFolder) -> int:
    """Bring MLflow to what the folder's records say; give the number of runs written.

    Raises:
        InputError: another sync of this study is under way.
        RecordError: a record is not whole.
        WorkError: MLflow refuses; what was written stays, and the next sync goes on.
    """
    with folder.locked("sync"), speaking_plainly(_remedy(folder)):
        from netcore.tracking.sync import Projection  # noqa: PLC0415  # MLflow takes 1.3 s to import

        records = folder.committed()
        projection = Projection(connect(), folder)
        projection.finish(records, complete=len(records) >= folder.trials_wanted())
        return projection.written


def follow(folder: StudyFolder, commands: IO[str]) -> int:
    """Follow a run until it says `finish`, or is gone; give the number of runs written.

    Raises:
        InputError: another sync of this study is under way.
        WorkError: MLflow refuses.
    """
    said, finish = threading.Event(), threading.Event()

    def listen() -> None:
        if commands.readline().strip() == "finish":
            finish.set()
        said.set()
        if not finish.is_set():
            # Whatever is under way, importing MLflow and making its database included; SIGINT may be ignored.
            _thread.interrupt_main(signal.SIGTERM)

    threading.Thread(target=listen, daemon=True).start()
    # The follower of a run that was killed may need a moment to notice; it holds the lock until then.
    with folder.locked("sync", patience=_LOCK_PATIENCE), speaking_plainly(_remedy(folder)):
        from netcore.tracking.sync import Projection  # noqa: PLC0415  # MLflow takes 1.3 s to import

        projection = Projection(connect(), folder)
        try:
            projection.begin()
            number = 0
            while not said.wait(_POLL):
                # A record that is missing or being replaced right now is seen to by `finish`.
                with suppress(RecordError):
                    while not said.is_set():
                        projection.add(folder.read(number))
                        number += 1
            records = folder.committed()
            projection.finish(records, complete=len(records) >= folder.trials_wanted())
        except KeyboardInterrupt:
            projection.end("KILLED")
            raise
        return projection.written


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            try:
                self._process.communicate(timeout=_PATIENCE / 2)
            except subprocess.TimeoutExpired:
                self._process.terminate()
            try:
                self._process.communicate(timeout=_PATIENCE / 2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()

    def finish(self) -> tuple[bool, str]:
        """Let everything be made as the folder has it; say whether that went well, and what the follower said."""
        said, _ = self._process.communicate("finish\n")
        code = self._process.returncode
        died = f"error: the process that sends to MLflow died (exit code {code}); {_remedy(self._folder)}"
        return code == 0, said.strip() or died


def _remedy(folder: StudyFolder) -> str:
    return f"all records are safe in {folder.path}; `netcore sync {folder.path}` sends what is missing"
