"""How MLflow is reached, and where it is: `MLFLOW_TRACKING_URI` if that is set, else sqlite:///mlflow.db right here."""

import logging
import os
import re
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from netcore.errors import NetcoreError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy.engine import Engine

__all__ = [
    "DEFAULT_URI",
    "ENVIRONMENT",
    "connect",
    "settle_database",
    "shown_uri",
    "speaking_plainly",
    "there_is_none",
    "tracking_uri",
    "writing_ahead",
]

DEFAULT_URI = "sqlite:///mlflow.db"

_USER = re.compile(r"://\S*@")
"""In an address: a user, with or without password."""

_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
"""In the name of what stands behind an address's `?`: its value is nobody's business."""

_PATIENCE = 30.0
"""So many seconds a database server has for its first answer: as many as MLflow's server has for any."""

_LOOKED_AT = 1_000
"""Rows of each index that SQLite looks at."""

_LOCAL = frozenset({"ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems of one machine's own disks, as Linux calls them. (By its devices, btrfs cannot be told.)"""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It would print an address for each run, with user and password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Else the lock file of whatever project one stands in would pass for the model's environment.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # By its own default MLflow blocks for some minutes where a server does not answer; here it is half of one.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # A server that is overloaded may ask for an hour.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
"""What netcore sets for MLflow, its server included, where the user has not set it."""


def tracking_uri() -> str:
    """Give MLflow's address."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def shown_uri() -> str:
    """Give MLflow's address without what must not be shown: user and password, and all behind a `?`."""
    scheme, separator, rest = tracking_uri().partition("://")
    shown, *query = re.split(r"[?#]", rest, maxsplit=1)
    if "@" in "".join(query):  # a password that is not encoded, or half of one
        return f"{scheme}{separator}..."
    return scheme + separator + (shown if scheme.startswith("sqlite") else shown.rpartition("@")[2])


def there_is_none() -> bool:
    """Say whether MLflow is a database that has not been made yet; an empty file is none."""
    path = _database()
    if path is None:
        return False
    try:
        return path.stat().st_size == 0 and path.is_file()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False  # MLflow will say what is wrong with it


def connect() -> "MlflowClient":
    """Open MLflow; its database is made if there is none, which takes some seconds."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback of what it also raises
    from mlflow import MlflowClient  # noqa: PLC0415  # after its settings; and it takes 1.3 s
    from mlflow.store.db.db_types import DATABASE_ENGINES  # noqa: PLC0415
    from mlflow.store.db.utils import create_sqlalchemy_engine  # noqa: PLC0415

    uri, path = tracking_uri(), _database()
    if path is not None and there_is_none():
        _make_database(path)
    if re.split(r"[+:]", uri)[0] in DATABASE_ENGINES:
        # Where a database does not open, MLflow itself tries ten times, which takes 100 s and many lines.
        _try_database(create_sqlalchemy_engine(uri))  # type: ignore[no-untyped-call]
    return MlflowClient(uri)


@contextmanager
def writing_ahead() -> Iterator[None]:
    """Let SQLite, if that is what MLflow is, write into a log first for as long as netcore writes.

    A commit then waits for the disk once instead of five times, is as durable, and whoever reads holds up nobody. All
    who open the database at that time share the log's index as memory, so this is for file systems of this machine
    alone. At the end the log is worked in, and the database is one file in SQLite's default mode, which works anywhere.
    Where somebody else has it open, the next one to come does that.
    """
    path = _database()
    if path is None:
        yield
        return
    from sqlalchemy import event  # noqa: PLC0415  # slow, and MLflow brings it
    from sqlalchemy.engine import Connection, Engine  # noqa: PLC0415

    engines: set[Engine] = set()

    def write_ahead(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            _write_ahead(connection, path)

    def note(connection: Connection) -> None:
        url = connection.engine.url
        if url.get_backend_name() == "sqlite" and Path((url.database or "").removeprefix("file:")) == path:
            engines.add(connection.engine)

    event.listen(Engine, "connect", write_ahead)
    event.listen(Engine, "engine_connect", note)
    try:
        yield
    finally:
        event.remove(Engine, "connect", write_ahead)
        event.remove(Engine, "engine_connect", note)
        for engine in engines:
            engine.dispose()  # whoever has it open keeps the log
        with suppress(OSError, sqlite3.Error):
            if not there_is_none() and _is_of_this_machine(path):
                with closing(sqlite3.connect(path, timeout=0)) as database:
                    database.execute("PRAGMA journal_mode = DELETE")


def _write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    """Let a connection use the log, if it is one to the database at `path`: others in this process have their own."""
    with suppress(OSError, sqlite3.Error):  # it may be busy, and slow is not wrong
        _, _, file = connection.execute("PRAGMA database_list").fetchone()
        if file and path.samefile(file) and _is_of_this_machine(path):
            (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.execute(f"PRAGMA busy_timeout = {patience}")


def _is_of_this_machine(path: Path) -> bool:
    """Say whether a file lies on a disk that no other machine writes to, as far as Linux tells."""
    device = path.stat().st_dev
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    halves = (line.partition(" - ") for line in mounts if line)
    kinds = {source.split()[0] for mount, _, source in halves if mount.split()[2] == number}
    return bool(kinds) and kinds <= _LOCAL


def _try_database(engine: "Engine") -> None:
    """Open a database once. Drivers may wait for a silent server for ever, so it is not this thread that waits.

    Raises:
        Exception: whatever the driver raises.
        TimeoutError: the server takes connections and does not answer.
    """
    opened: Future[None] = Future()

    def attempt() -> None:
        try:
            engine.connect().close()
            engine.dispose()
        except Exception as error:  # noqa: BLE001  # whoever waits must learn of it
            opened.set_exception(error)
        else:
            opened.set_result(None)

    threading.Thread(target=attempt, daemon=True).start()  # a daemon: the end of the command does not wait for it
    try:
        opened.result(_PATIENCE)
    except TimeoutError as error:
        if opened.done():  # the driver's own
            raise
        raise TimeoutError(f"it has not answered for {_PATIENCE:g} s") from error


def _database() -> Path | None:
    """Give the file of MLflow's SQLite database; None where MLflow is something else."""
    scheme, _, path = tracking_uri().partition("sqlite:///")
    path = path.partition("?")[0].removeprefix("file:")
    return None if scheme or path in {"", ":memory:"} else Path(path)


def _make_database(path: Path) -> None:
    """Make MLflow's SQLite database whole or not at all.

    Its tables take some seconds and thousands of writes; a database that was cut short would never open again.
    """
    from mlflow import MlflowClient  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        MlflowClient(f"sqlite:///{made}").search_experiments()
        if there_is_none():
            # What a database that was deleted has left: SQLite would put its pages into the new one.
            for rest in ("", "-journal", "-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
        try:
            path.hardlink_to(made)
        except FileExistsError:
            pass  # somebody else was faster: theirs is as good
        except OSError:  # a file system without links: a memory stick, some networks
            if there_is_none():
                made.replace(path)


def settle_database() -> None:
    """Let MLflow's SQLite database count what its tables hold, if that is what MLflow is.

    As long as it has not, it looks for a metric of one run among those of all runs that bear the same name: with each
    trial, MLflow's pages and `netcore verify` become slower for all of them.
    """
    path = _database()
    if path is None or there_is_none():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:  # it may be busy, and slow is not wrong
        database.execute(f"PRAGMA analysis_limit = {_LOOKED_AT}")
        database.execute("ANALYZE")


@contextmanager
def speaking_plainly(remedy: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or the network raise into one line; passwords in addresses are left out.

    Raises:
        WorkError: instead of anything that is not netcore's own.
    """
    try:
        yield
    except NetcoreError:
        raise
    except Exception as error:
        reason = " ".join(_without_secrets(str(error)).split())
        what = f"refuses ({type(error).__name__}: {reason[:300]})"
        raise WorkError.at(f"MLflow at {shown_uri()}", what, remedy=remedy) from error


def _without_secrets(text: str) -> str:
    """Leave out users of addresses, and the password wherever it stands, however it is spelled."""
    text = _USER.sub("://", text)
    for secret in sorted(_secrets(), key=len, reverse=True):
        spelled = "".join(f"(?:{re.escape(letter)}|{_encoded(letter)})" for letter in secret)
        text = re.sub(spelled, "***", text, flags=re.IGNORECASE)
    return text


def _encoded(letter: str) -> str:
    return "".join(f"%{byte:02x}" for byte in letter.encode()) + (r"|\+" if letter == " " else "")


def _secrets() -> set[str]:
    """Give what is secret in MLflow's address, and beside it, as it is meant."""
    address, _, query = tracking_uri().partition("?")
    user, _, _ = address.partition("://")[2].rpartition("@")
    found = [unquote(user.partition(":")[2])]
    found += [value for name, value in parse_qsl(query) if _SECRET.search(name)]
    found += [os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("PASSWORD", "TOKEN")]
    return {secret for secret in found if secret}
