"""MLflow with faults: a proxy before a real server that delays, loses or refuses answers, and what is then wrong."""

import http.client
import http.server
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import pytest
from mlflow import MlflowClient
from servers import Server, free_port
from synced import runs_in

from netcore.errors import Problem
from netcore.files import is_file
from netcore.final.model import MODEL
from netcore.records.folder import StudyFolder
from netcore.tracking.sync import mlflow_findings

RUNS = 12 + 12
"""Trials of the small study, and the trainings of its confirmation."""

Fault = Callable[[int], str | float]
"""What happens to the n-th request: `answer`, `refuse`, `lose` (the answer), `hang`, or seconds until the answer."""


class Proxy:
    """The connection to a server, with faults."""

    def __init__(self, server: Server, fault: Fault = lambda _: "answer") -> None:
        self.fault = fault
        self.count = 0
        """The number of requests."""
        self.address = f"http://127.0.0.1:{free_port()}"
        self._server = server
        self._patch = pytest.MonkeyPatch()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Listen, and let MLflow be reached here."""
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                proxy.pass_on(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # http.server's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
                """Print nothing."""

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Print nothing about clients that hang up."""

        self._listener = Listener(("127.0.0.1", int(self.address.rpartition(":")[2])), Handler)
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()

        self._patch.setenv("MLFLOW_TRACKING_URI", self.address)
        return self

    def __exit__(self, *_: object) -> None:
        """Refuse connections from now on."""
        self._patch.undo()
        self._over.set()
        self._listener.shutdown()
        self._listener.server_close()

    def pass_on(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Treat one request as the fault demands."""
        number, self.count = self.count, self.count + 1
        what = self.fault(number)
        body = _body(request)
        request.close_connection = True
        if what == "hang":
            self._over.wait()
        if what in {"hang", "refuse"}:
            return
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        with suppress(OSError, http.client.HTTPException):
            headers = {k: v for k, v in request.headers.items() if k.lower() not in {"transfer-encoding", "connection"}}
            headers["Content-Length"] = str(len(body))
            headers["Host"] = f"127.0.0.1:{self._server.port}"
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if what == "lose":
                return
            if isinstance(what, float):
                time.sleep(what)
            request.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in {"transfer-encoding", "content-length", "connection"}:
                    request.send_header(key, value)
            request.send_header("Content-Length", str(len(content)))
            request.send_header("Connection", "close")
            request.end_headers()
            request.wfile.write(content)
        connection.close()


def _body(request: http.server.BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def drop(share: float, seed: int) -> Fault:
    """Lose a share of all answers, after the server has done the work."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    return lambda _: "lose" if rng.random() < share else "answer"


def problems(study: StudyFolder) -> list[str]:
    """Return what `netcore verify` finds wrong in MLflow."""
    return [str(each) for each in mlflow_findings(study.committed(), study, complete=True) if isinstance(each, Problem)]


def wrong(study: StudyFolder, address: str) -> list[str]:
    """Return what is wrong, double or still running in MLflow, as its own client shows it."""
    client = MlflowClient(address)
    runs = runs_in(client, "small")
    found = [f"{run.info.run_name} is {run.info.status}" for run in runs if run.info.status in {"RUNNING", "SCHEDULED"}]
    trials = sorted(int(run.data.tags.get("netcore.trial", -1)) for run in runs)
    if trials != [-1] * (RUNS - 12 + 1) + list(range(12)):
        found.append(f"runs are of the trials {trials}")
    if {len(run.inputs.dataset_inputs) for run in runs if run.inputs} != {1}:
        found.append("a run has not one data set")
    models = client.search_logged_models([runs[0].info.experiment_id])
    shipped = [MODEL] if is_file(study.path / MODEL) else []
    if [model.status for model in models] != ["READY"] * len(shipped):
        found.append(f"logged models are {[str(model.status) for model in models]}")
    versions = client.search_model_versions("name = 'small'")
    if len(versions) != len(shipped):
        found.append(f"{len(versions)} versions")
    return found + problems(study)


@contextmanager
def forgotten(address: str) -> Iterator[None]:
    """Rename the study on the server, for its next test."""
    try:
        yield
    finally:
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name("small")
        if experiment:
            client.rename_experiment(experiment.experiment_id, f"was {experiment.experiment_id}")
        for model in client.search_registered_models("name = 'small'"):
            client.delete_registered_model(model.name)
