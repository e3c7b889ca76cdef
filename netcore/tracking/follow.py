"""`netcore sync`, and its other form that follows a run: a process of its own, so that MLflow never holds up a search.

The follower writes the runs of records as they are committed. Its standard input is the run's: a line `finish` says
that all is done and everything can be made as the folder has it; a pipe that closes without it says that the run is
gone, and so is the follower, at once.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Self

from netcore.errors import NetcoreError, RecordError, WorkError
from netcore.study.folder import StudyFolder
from netcore.tracking.client import connect, shown_uri, tracking_uri

__all__ = ["Follower", "follow", "sync"]

_POLL = 0.3
_PATIENCE = 5.0


def sync(folder: StudyFolder) -> int:
    """Bring MLflow to what the folder's records say; give the number of runs written.

    Raises:
        InputError: another sync of this study is under way.
        RecordError: a record is not whole.
        WorkError: MLflow refuses; what was written stays, and the next sync goes on.
    """
    with folder.locked("sync"), _speaking_plainly(folder):
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

    threading.Thread(target=listen, daemon=True).start()
    with folder.locked("sync"), _speaking_plainly(folder):
        from netcore.tracking.sync import Projection  # noqa: PLC0415  # MLflow takes 1.3 s to import

        projection = Projection(connect(), folder)
        projection.begin()
        number = 0
        while not said.wait(_POLL):
            # A record that is missing or being replaced right now is seen to by `finish`.
            with suppress(RecordError):
                while not said.is_set():
                    projection.add(folder.read(number))
                    number += 1
        if finish.is_set():
            records = folder.committed()
            projection.finish(records, complete=len(records) >= folder.trials_wanted())
        else:
            projection.end("KILLED")
        return projection.written


class Follower:
    """This side of a follower: a context manager that lets go of it when the run is over, however that came."""

    def __init__(self, folder: StudyFolder) -> None:
        command = [sys.executable, "-m", "netcore", "sync", "--follow", str(folder.path)]
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
        return self._process.returncode == 0, said.strip()


@contextmanager
def _speaking_plainly(folder: StudyFolder) -> Iterator[None]:
    """Turn whatever MLflow, its database or the network raise into one line; passwords in addresses are left out."""
    try:
        yield
    except (NetcoreError, KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        reason = " ".join(str(error).replace(tracking_uri(), shown_uri()).split())
        raise WorkError.at(
            f"MLflow at {shown_uri()}",
            f"refuses ({type(error).__name__}: {reason[:300]})",
            remedy=f"all records are safe in {folder.path}; `netcore sync {folder.name}` sends what is missing",
        ) from error
