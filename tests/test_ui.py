"""`netcore ui`: MLflow's server on this machine alone. A real server, asked over real HTTP."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import psutil
import pytest
from conftest import netcore_command, write_mixed
from mlflow import MlflowClient

import netcore

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str, "subprocess.Popen[str]"]]:
    """Run a study, sync it, open the UI; give the port, what the command printed, and its process."""
    folder = tmp_path_factory.mktemp("ui")
    netcore.run_study(write_mixed(folder, 8), results=folder / "results", workers=1)
    assert netcore_command("sync", "mixed", cwd=folder).returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with (folder / "ui.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "netcore", "ui", "--port", str(port)], cwd=folder, text=True, stdout=log, stderr=log
        )
    try:
        wait_for(port, process)
        yield port, (folder / "ui.log").read_text(), process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def wait_for(port: int, process: "subprocess.Popen[str]") -> None:
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


def test_the_server_answers_mlflows_client(server: tuple[int, str, object]) -> None:
    """MLflow's own REST client reads the trials from it."""
    client = MlflowClient(f"http://127.0.0.1:{server[0]}")
    experiment = client.get_experiment_by_name("mixed")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`netcore.trial` LIKE '%'")
    assert {run.data.tags["netcore.trial"] for run in runs} == {str(number) for number in range(8)}
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in runs}
    assert "study.toml" in {item.path for item in client.list_artifacts(parent)}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "10.0.0.1:{port}", "localhost"])
def test_a_foreign_host_header_is_refused(server: tuple[int, str, object], host: str) -> None:
    """A page of another name cannot reach the server through the user's browser (DNS rebinding)."""
    assert ask(server[0], "/", host.format(port=server[0])) == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_its_own_names_are_served(server: tuple[int, str, object], host: str) -> None:
    """The address that the command prints works."""
    assert ask(server[0], "/", host.format(port=server[0])) == 200


def test_it_listens_on_loopback_only(server: tuple[int, str, "subprocess.Popen[str]"]) -> None:
    """No other interface is bound."""
    process = psutil.Process(server[2].pid)
    bound = {
        connection.laddr.ip
        for each in (process, *process.children(recursive=True))
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert bound == {"127.0.0.1"}


def test_the_link_opens_the_trials_unfolded(server: tuple[int, str, object]) -> None:
    """The link that is printed opens model-training mode, trials only, the best on top, of all times."""
    line = next(line.strip() for line in server[1].splitlines() if "http://" in line)
    fragment = urlparse(line).fragment
    query = {key: values[0] for key, values in parse_qs(urlparse(fragment).query).items()}
    assert query == {
        "workflowType": "machine_learning",
        "searchFilter": "tags.`netcore.trial` LIKE '%'",
        "orderByKey": "metrics.`best_val_loss`",
        "orderByAsc": "true",
        "startTime": "ALL",
    }
    assert json.dumps(urlparse(fragment).path).endswith('/runs"')


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    """After Ctrl-C the command ends with exit code 0, no traceback and no process left."""
    netcore.run_study(write_mixed(tmp_path, 2), results=tmp_path / "results", workers=1)
    assert netcore_command("sync", "mixed", cwd=tmp_path).returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with (tmp_path / "ui.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "netcore", "ui", "--port", str(port)],
            cwd=tmp_path,
            text=True,
            stdout=log,
            stderr=log,
        )
    wait_for(port, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "ui.log").read_text()
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_taken_port_is_one_clear_line(server: tuple[int, str, object], tmp_path: Path) -> None:
    """A port that another program has is said so."""
    done = netcore_command("ui", "--port", server[0], cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert f"error: 127.0.0.1:{server[0]}: the port is taken" in done.stderr
