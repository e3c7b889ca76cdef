"""`netcore ui`: MLflow's server on this machine alone. A real server, asked over real HTTP."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from commands import netcore_command, refused
from conftest import write_mixed
from servers import Server, ask, served

import netcore
from netcore.errors import InputError
from netcore.question.metrics import Metric
from netcore.tracking.pages import trials_view
from netcore.tracking.server import Address

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a study."""
    folder = tmp_path_factory.mktemp("ui")
    netcore.run_study(write_mixed(folder, 8), results=folder / "results", workers=1)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Sync it, to a database whose address holds a secret, and open the UI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///file:{folder}/mlflow.db?uri=true&token=hush%21")
        assert netcore_command("sync", "mixed", cwd=folder).returncode == 0
        with served(folder) as server:
            yield server


@pytest.mark.slow
def test_it_serves_this_machine_alone(server: Server) -> None:
    """Only the loopback interface is bound, and only its own names are served.

    So a page of another name cannot reach the server through the user's browser (DNS rebinding).
    """
    process = psutil.Process(server.process.pid)
    listening = [
        connection.laddr.ip
        for each in (process, *process.children(recursive=True))
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}"):
        assert ask(server.port, "/", host) == 200
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1:1", f"10.0.0.1:{server.port}", "localhost"):
        assert ask(server.port, "/", host) == 403


def test_an_accuracy_has_the_largest_on_top() -> None:
    """In a study of val_accuracy the order is the other way round, and its column the first."""
    view = json.loads(json.loads(trials_view(Metric.VAL_ACCURACY, 0))["state"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best_val_accuracy`", False)
    assert view["selectedColumns"][0] == "metrics.`best_val_accuracy`"


@pytest.mark.slow
def test_a_secret_in_the_address_is_nowhere_to_be_read(server: Server, folder: Path) -> None:
    """Neither the arguments of any process, nor what the server prints, nor any file of the study, hold it."""
    ui = psutil.Process(server.process.pid)
    arguments = [" ".join(process.cmdline()) for process in (ui, *ui.children(recursive=True))]
    assert len(arguments) >= 3
    assert [line for line in arguments if "hush" in line] == []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "mlflow.db" in files
    assert [path for path in files if b"hush" in path.read_bytes()] == []


@pytest.mark.slow
def test_on_another_address_it_warns_and_does_not_outlive_its_parent(folder: Path) -> None:
    """`--host 0.0.0.0` warns that others can reach it; foreign Host headers are refused; SIGKILL leaves no process."""
    with served(folder, "--host", "0.0.0.0") as server:  # noqa: S104  # that is the question
        (warning,) = [line for line in server.said.splitlines() if line.startswith("warning: ")]
        assert f":{server.port}: everyone who can reach it can read, change and delete everything in MLflow" in warning
        assert ask(server.port, "/", f"{socket.gethostname()}:{server.port}") == 200
        assert ask(server.port, "/", f"127.0.0.1:{server.port}") == 200
        assert ask(server.port, "/", f"evil.example:{server.port}") == 403
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert len(children) >= 3
        server.process.kill()
        assert not psutil.wait_procs(children, timeout=30)[1]


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly(folder: Path) -> None:
    """The command then ends with exit code 0, no traceback and no process left."""
    with served(folder) as server:
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.said
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.example", "", "a b", "\N{SNOWMAN}" * 70])
def test_an_address_that_is_not_this_machines_is_one_clear_line(host: str) -> None:
    """Another machine's address, an unknown name, or none at all."""
    with pytest.raises(InputError, match="cannot be listened on") as caught:
        Address.of(host, 5000)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_taken_port_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    """A port of another program is an error of one line."""
    line = refused(netcore_command("ui", "--port", server.port, cwd=tmp_path, timeout=60))
    assert line.startswith(f"127.0.0.1:{server.port}: cannot be listened on (Address already in use)")
