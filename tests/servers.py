"""MLflow's server as `netcore ui` starts it, for tests: on a free port, asked over real HTTP."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest


class Server(NamedTuple):
    """A `netcore ui` that answers."""

    port: int
    said: str
    """What the command printed until then."""
    process: "subprocess.Popen[str]"

    @property
    def link(self) -> str:
        """The first address that the command printed."""
        return next(line.strip() for line in self.said.splitlines() if "http://" in line)


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Server]:
    """Run `netcore ui` in a folder until it is no longer needed; then Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with (folder / "ui.log").open("w") as log:
        command = [sys.executable, "-m", "netcore", "ui", "--port", str(port), *options]
        process = subprocess.Popen(command, cwd=folder, text=True, stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield Server(port, (folder / "ui.log").read_text(), process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _wait_for(port: int, process: "subprocess.Popen[str]") -> None:
    """Wait until the server answers."""
    for _ in range(600):
        assert process.poll() is None, "the server ended by itself"
        try:
            if ask(port, "/health", f"127.0.0.1:{port}") == 200:
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server did not answer within a minute")


def ask(port: int, path: str, host: str) -> int:
    """Give the status of a request with a Host header of one's choice."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()
