"""MLflow's own server and pages, for one person at this machine: on the loopback interface, with nothing else on."""

import os
import signal
import socket
import subprocess
import sys

from netcore.errors import InputError, WorkError
from netcore.tracking.client import ENVIRONMENT, connect, shown_uri, speaking_plainly, tracking_uri
from netcore.tracking.pages import trials_page

__all__ = ["links", "serve"]

_HOST = "127.0.0.1"


def links(port: int) -> dict[str, str]:
    """Give, for each study that MLflow has, the address of its trials, the best on top.

    Raises:
        WorkError: MLflow cannot be reached.
    """
    address = shown_uri() if tracking_uri().startswith("http") else f"http://{_HOST}:{port}"
    with speaking_plainly("is MLFLOW_TRACKING_URI right, and the server up?"):
        experiments = connect().search_experiments(filter_string="tags.`netcore.study` LIKE '%'")
    return {experiment.name: trials_page(address, experiment) for experiment in experiments}


def serve(port: int) -> int:
    """Serve MLflow on 127.0.0.1 until Ctrl-C; give its exit code.

    Requests whose Host header is not this address are refused. One worker, no background jobs, no telemetry, no
    pickles.

    Raises:
        InputError: the port is taken.
        WorkError: the server ends by itself.
    """
    with socket.socket() as probe:
        if probe.connect_ex((_HOST, port)) == 0:
            raise InputError.at(f"{_HOST}:{port}", "the port is taken", remedy="choose another with --port")
    hosts = f"{_HOST}:{port},localhost:{port}"
    origins = f"http://{_HOST}:{port},http://localhost:{port}"
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--backend-store-uri", tracking_uri()]
    command += ["--host", _HOST, "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", hosts, "--cors-allowed-origins", origins, "--uvicorn-opts", "--log-level warning"]
    with subprocess.Popen(command, env={**ENVIRONMENT, **os.environ}, start_new_session=True) as server:  # noqa: S603
        try:
            code = server.wait()
        except KeyboardInterrupt:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
            return 0
    raise WorkError.at(
        f"{_HOST}:{port}",
        "the MLflow server ended by itself",
        f"exit code {code}",
        "its own message is above",
    )
