"""MLflow's own server and pages, for one person at this machine: on the loopback interface by default."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple, Self

from netcore.errors import InputError, WorkError
from netcore.tracking.client import ENVIRONMENT, connect, speaking_plainly, tracking_uri
from netcore.tracking.pages import trials_page

_ENDS_WITH_US = 'exec 3<&0; { cat <&3; kill 0; } & exec "$@" </dev/null 3<&-'
"""A shell script that runs a command and ends its whole process group when standard input closes.

Standard input is a pipe from this process, which the system closes however this process ends.
"""


class Address(NamedTuple):
    """Where the server listens."""

    ip: str
    port: int
    names: tuple[str, ...]
    """The host names by which a browser may address this machine."""

    @classmethod
    def of(cls, host: str, port: int) -> Self:
        """Look up a host, which must be this machine.

        Raises:
            InputError: the host does not exist, or the port is taken.
        """
        try:
            family, kind, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(found)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            remedy = "name an address of this machine with --host, a free port with --port"
            raise InputError.at(f"{host}:{port}", f"cannot be listened on ({reason})", remedy=remedy) from error
        ip = str(found[0])
        names = [host, ip]
        if ip_address(ip).is_loopback:
            names = [ip, "localhost"]
        elif ip_address(ip).is_unspecified:
            own = socket.gethostname()
            names = [own, "localhost", "127.0.0.1", "::1"]
            with suppress(OSError):
                names += [str(each[4][0]) for each in socket.getaddrinfo(own, port, type=socket.SOCK_STREAM)]
        return cls(ip, port, tuple(f"[{name}]" if ":" in name else name for name in dict.fromkeys(names)))

    @property
    def is_loopback(self) -> bool:
        """Check that no other machine can reach it."""
        return ip_address(self.ip).is_loopback

    @property
    def shown(self) -> str:
        """Return the address for a browser."""
        return f"http://{self.names[0]}:{self.port}"


def links(shown: str) -> dict[str, str]:
    """Return the page of the trials, the best first, of each study in MLflow; `shown` is MLflow's address.

    Raises:
        WorkError: MLflow cannot be reached.
    """
    with speaking_plainly("is MLFLOW_TRACKING_URI right, and the server up?"):
        experiments = connect().search_experiments(filter_string="tags.`netcore.study` LIKE '%'")
    return {experiment.name: trials_page(shown, experiment.experiment_id) for experiment in experiments}


def serve(address: Address) -> int:
    """Serve MLflow until Ctrl-C; return the exit code.

    Requests whose Host header is not this address are refused. One worker, no background jobs, no telemetry, no
    pickles. The server ends with this process, even if that is killed.

    Raises:
        WorkError: the server ends by itself.
    """
    hosts = [f"{name}:{address.port}" for name in address.names]
    origins = [f"http://{host}" for host in hosts]
    command = ["sh", "-c", _ENDS_WITH_US, "sh", sys.executable, "-P", "-m", "mlflow", "server"]
    command += ["--host", address.ip, "--port", str(address.port), "--workers", "1"]
    command += ["--allowed-hosts", ",".join(hosts), "--cors-allowed-origins", ",".join(origins)]
    command += ["--uvicorn-opts", "--log-level warning"]
    # Not as an argument, which every user of this machine can read: the address may hold a password.
    environment = {**ENVIRONMENT, **os.environ, "MLFLOW_BACKEND_STORE_URI": tracking_uri()}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True) as server:  # noqa: S603
        try:
            code = server.wait()
        except KeyboardInterrupt:
            if server.stdin:
                server.stdin.close()
            server.wait()
            return 0
    raise WorkError.at(
        address.shown, "the MLflow server ended by itself", f"exit code {code}", "its own message is above"
    )
