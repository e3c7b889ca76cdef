"""The connection to MLflow, at `MLFLOW_TRACKING_URI` or else sqlite:///mlflow.db in the current folder.

netcore sets MLflow's options where the user has not, tries a database once before MLflow does so ten times, and turns
whatever MLflow, a driver or the network raises into one line without passwords.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from netcore.errors import NetcoreError, WorkError
from netcore.temporary import temporary_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"

_USER = re.compile(r"://\S*@")
"""The user in an address, with or without password."""

_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
"""The names of an address's query parameters whose values are secret."""

_DATABASES = frozenset({"mssql", "mysql", "postgresql", "sqlite"})
"""The databases that MLflow works with."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It would print an address for each run, with user and password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Otherwise MLflow takes the lock file of the project in the current folder for the model's environment.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # By default MLflow waits some minutes for a server that does not answer; here it is half a minute.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # An overloaded server may ask for an hour.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
"""MLflow's settings, for its server too, where the user has not set them."""


def tracking_uri() -> str:
    """Return MLflow's address."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def shown_uri() -> str:
    """Return MLflow's address without user, password and everything after a `?`."""
    scheme, separator, rest = tracking_uri().partition("://")
    shown, *query = re.split(r"[?#]", rest, maxsplit=1)
    if "@" in "".join(query):  # a password that is not encoded, or a part of one
        return f"{scheme}{separator}..."
    return scheme + separator + (shown if scheme.startswith("sqlite") else shown.rpartition("@")[2])


def missing_database() -> Path | None:
    """Return the file of MLflow's SQLite database if it does not exist yet or is empty; None if MLflow can be asked."""
    scheme, _, name = tracking_uri().partition("sqlite:///")
    path = Path(name.partition("?")[0].removeprefix("file:"))
    if scheme or path.name in {"", ":memory:"}:
        return None
    there = os.path.exists(path)  # noqa: PTH110  # unlike Path.exists, it is false where the path may not be read
    return None if there and (path.is_dir() or path.stat().st_size) else path


def connect() -> "MlflowClient":
    """Connect to MLflow; a SQLite database that does not exist is created, which takes some seconds."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # it logs the tracebacks of what it also raises
    from mlflow import MlflowClient  # noqa: PLC0415  # after its settings; and it takes 1.3 s

    uri = tracking_uri()
    if path := missing_database():
        _make_database(path)
    if re.split(r"[+:]", uri)[0] in _DATABASES:
        _try_database(uri)
    return MlflowClient(uri)


def _try_database(uri: str) -> None:
    """Open a database once; where that fails, MLflow itself would try ten times, for 100 s.

    Raises:
        Exception: whatever the driver raises.
    """
    from sqlalchemy import create_engine  # noqa: PLC0415  # slow, and MLflow brings it

    engine = create_engine(uri)
    engine.connect().close()
    engine.dispose()


def _make_database(path: Path) -> None:
    """Create MLflow's SQLite database whole or not at all.

    Creating its tables takes some seconds and thousands of writes; a database that was cut short never opens again.
    """
    from mlflow import MlflowClient  # noqa: PLC0415

    with temporary_folder(path.parent, ".mlflow-") as folder:
        made = folder / path.name
        MlflowClient(f"sqlite:///{made}").search_experiments()
        if missing_database():  # otherwise another process was faster, and its database is as good
            # SQLite would write the pages that a deleted database has left into the new one.
            for rest in ("-journal", "-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            made.replace(path)


@contextmanager
def speaking_plainly(remedy: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or the network raises into one line without the passwords of addresses.

    Raises:
        WorkError: in place of any error that is not netcore's own.
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
    """Remove the users of addresses, and the secrets wherever they are, however they are encoded."""
    text = _USER.sub("://", unquote(text))
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***").replace(secret.replace(" ", "+"), "***")
    return text


def _secrets() -> set[str]:
    """Return the secrets in MLflow's address and environment, decoded."""
    address, _, query = tracking_uri().partition("?")
    user, _, _ = address.partition("://")[2].rpartition("@")
    found = [unquote(user.partition(":")[2])]
    found += [value for name, value in parse_qsl(query) if _SECRET.search(name)]
    found += [os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("PASSWORD", "TOKEN")]
    return {secret for secret in found if secret}
