"""MLflow's server as `netcore ui` starts it, for tests: on a free port, asked over real HTTP."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest


class Server:
    """A `netcore ui` in a folder; it can be killed and started again with the environment of its first start."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "netcore", "ui", "--port", str(self.port), *options]
        self._environment = dict(os.environ)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "ui.log").open("w") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        wait_for(self.port, "/health", self.process)

    def kill(self) -> None:
        """SIGKILL to each of its processes."""
        family = [*psutil.Process(self.process.pid).children(recursive=True), self.process]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What it has printed."""
        return (self.folder / "ui.log").read_text()

    @property
    def link(self) -> str:
        """The first address that it has printed."""
        return next(line.strip() for line in self.said.splitlines() if "http://" in line)


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Server]:
    """Run `netcore ui` in a folder until it is no longer needed; then Ctrl-C."""
    server = Server(folder, *options)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)


def wait_for(port: int, path: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a server answers."""
    for _ in range(1_200):
        assert process.poll() is None, f"the server ended by itself, exit code {process.returncode}"
        with suppress(OSError):
            if ask(port, path, f"127.0.0.1:{port}") == 200:
                return
        time.sleep(0.1)
    pytest.fail("the server did not answer within two minutes")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ask(port: int, path: str, host: str) -> int:
    """Return the status of a request with any Host header."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()
