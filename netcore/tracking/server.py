"""MLflow's own server and pages, for one person at this machine: on the loopback interface, with nothing else on."""

import errno
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

__all__ = ["Address", "links", "serve"]


class Address(NamedTuple):
    """Where the server listens."""

    ip: str
    port: int
    names: tuple[str, ...]
    """What a browser may call this machine."""

    @classmethod
    def of(cls, host: str, port: int) -> Self:
        """Look a host up: it must be this machine.

        Raises:
            InputError: there is no such host, or the port is taken.
        """
        try:
            family, kind, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(found)
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                raise InputError.at(
                    f"{host}:{port}", "the port is taken", remedy="choose another with --port"
                ) from error
            reason = getattr(error, "strerror", None) or error
            remedy = "name an address of this machine with --host, a port that is free with --port"
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
        """Say whether no other machine reaches it."""
        return ip_address(self.ip).is_loopback

    @property
    def shown(self) -> str:
        """Give the address for a browser."""
        return f"http://{self.names[0]}:{self.port}"


def links(shown: str) -> dict[str, str]:
    """Give, for each study that MLflow has, the page of its trials, the best on top; `shown` is where MLflow is.

    Raises:
        WorkError: MLflow cannot be reached.
    """
    with speaking_plainly("is MLFLOW_TRACKING_URI right, and the server up?"):
        experiments = connect().search_experiments(filter_string="tags.`netcore.study` LIKE '%'")
    return {experiment.name: trials_page(shown, experiment) for experiment in experiments}


def serve(address: Address) -> int:
    """Serve MLflow until Ctrl-C; give its exit code.

    Requests whose Host header is not this address are refused. One worker, no background jobs, no telemetry, no
    pickles. The server ends with this process, however that ends.

    Raises:
        WorkError: the server ends by itself.
    """
    hosts = [f"{name}:{address.port}" for name in address.names]
    origins = [f"http://{host}" for host in hosts]
    command = [sys.executable, "-P", "-m", "netcore.tracking.guard", sys.executable, "-P", "-m", "mlflow", "server"]
    command += ["--host", address.ip, "--port", str(address.port), "--workers", "1"]
    command += ["--allowed-hosts", ",".join(hosts), "--cors-allowed-origins", ",".join(origins)]
    command += ["--uvicorn-opts", "--log-level warning"]
    # Not as an argument, which everybody on this machine can read: it may hold a password.
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
