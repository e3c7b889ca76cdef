"""How MLflow is reached, and where it is: `MLFLOW_TRACKING_URI` if that is set, else sqlite:///mlflow.db right here."""

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from netcore.errors import NetcoreError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["DEFAULT_URI", "ENVIRONMENT", "connect", "shown_uri", "speaking_plainly", "there_is_none", "tracking_uri"]

DEFAULT_URI = "sqlite:///mlflow.db"

_SECRETS = re.compile(r"://\S*@")
"""In an address: a user, with or without password."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Else the lock file of whatever project one stands in would pass for the model's environment.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # MLflow's own default blocks for about four minutes when a server does not answer.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""What netcore sets for MLflow, its server included, where the user has not set it."""


def tracking_uri() -> str:
    """Give MLflow's address."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def shown_uri() -> str:
    """Give MLflow's address without what must not be shown: a user's name and password."""
    scheme, separator, rest = tracking_uri().partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def there_is_none() -> bool:
    """Say whether MLflow is a database that has not been made yet."""
    scheme, _, path = tracking_uri().partition("sqlite:///")
    return not scheme and bool(path) and not Path(path).exists()


def connect() -> "MlflowClient":
    """Open MLflow; its database is made if there is none, which takes some seconds."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback of what it also raises
    from mlflow import MlflowClient  # noqa: PLC0415  # after its settings; and it takes 1.3 s

    if there_is_none():
        _make_database(Path(tracking_uri().removeprefix("sqlite:///")))
    return MlflowClient(tracking_uri())


def _make_database(path: Path) -> None:
    """Make MLflow's SQLite database whole or not at all.

    Its tables take some seconds and thousands of writes; a database that was cut short would never open again.
    """
    from mlflow import MlflowClient  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        MlflowClient(f"sqlite:///{made}").search_experiments()
        with suppress(FileExistsError):  # somebody else was faster: theirs is as good
            path.hardlink_to(made)


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
        reason = " ".join(_SECRETS.sub("://", str(error)).split())
        what = f"refuses ({type(error).__name__}: {reason[:300]})"
        raise WorkError.at(f"MLflow at {shown_uri()}", what, remedy=remedy) from error
