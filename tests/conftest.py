"""What several tests share: a clean environment, a study in which everything happens, and the hash of its tables."""

import atexit
import hashlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import psutil
import pytest
from browser import CHROMIUM, Browser, browser
from hypothesis import HealthCheck, settings
from recorded import job, one_of_each, with_folds
from synced import address, copy, make

import netcore
from netcore.data import Dataset, load_dataset
from netcore.data.prepared import prepared
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import EXTRAS, StudySpec, load_spec
from netcore.records.record import Record
from netcore.results.tables import StudyTables
from netcore.workers.engine import Engine
from studies import run_arrays, study_text

if TYPE_CHECKING:
    from injection import Forge, Whole
    from reports import Study

T = TypeVar("T")

Mixed = tuple[StudySpec, Path, StudyTables]
"""The mixed study, uninterrupted: its spec, its results folder, its tables."""

settings.register_profile(
    "the same examples in every run",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("the same examples in every run")

MIXED = {
    "question": "what does a study do in which trials finish, are pruned, diverge and fail?",
    "training": "epochs = 6, batch_size = 10",
    "learning_rate": "{ low = 1e-3, high = 1e5, log = true }",
    "hidden_size": "[4, 8, 16, 1_000_000_000_000_000]",
    "reg": "{ low = 1e-6, high = 1e-1, log = true }",
    "stopping": "rungs = [2, 4], after = 3",
    "confirm": "finalists = 1, seeds = 2",
}
"""What its study file changes: learning rates that diverge, and a hidden size for which there is no memory."""

WITHOUT_STOPPING = {"stopping = { rungs = [2, 4], after = 3 }\n": ""}

MISSING = [name for name in EXTRAS["gp"] if find_spec(name) is None]
needs_gp = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}: the extra `gp` brings it")
"""For tests in which the Gaussian process proposes: the lock does not have what it needs."""


def present(value: T | None) -> T:
    """Return a value, after checking that there is one."""
    assert value is not None
    return value


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make faults` ask for the whole number of faults."""
    parser.addoption("--faults", action="store_true", help="inject every fault as often as `make faults` does")


def rounds_of(config: pytest.Config, marker: pytest.Mark | None) -> int:
    """Return the rounds of a test: `@pytest.mark.rounds(few, many)`, of which `make faults` takes many."""
    few, many = present(marker).args
    return int(many if config.getoption("faults") else few)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make each round of a test that asks for its number a test of its own."""
    if "turn" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("rounds")
        metafunc.parametrize("turn", range(rounds_of(metafunc.config, marker)))


def needs(what: str, *, there: bool) -> None:
    """Skip a test if the machine lacks something that .ci/system-packages installs; with NETCORE_REQUIRE_ALL, fail."""
    if not there and not os.environ.get("NETCORE_REQUIRE_ALL"):
        pytest.skip(f"left out: it needs {what}")
    assert there, f"NETCORE_REQUIRE_ALL is set, and there is no {what}"


class Rounds:
    """How often a test injects its fault, each time in a new folder; `tell` notes what `make faults` prints."""

    def __init__(self, number: int, base: Path, tell: Callable[[str, object], None]) -> None:
        self.number, self.base, self.tell = number, base, tell

    def __iter__(self) -> Iterator[Path]:
        """Yield the folders."""
        for number in range(self.number):
            folder = self.base / str(number)
            folder.mkdir()
            yield folder
            shutil.rmtree(folder)
        self.tell("injected", self.number)


@pytest.fixture
def rounds(request: pytest.FixtureRequest, tmp_path: Path, record_property: Callable[[str, object], None]) -> Rounds:
    """Return the rounds of a test."""
    number = rounds_of(request.config, request.node.get_closest_marker("rounds"))
    return Rounds(number, tmp_path, record_property)


@pytest.fixture(scope="session")
def forge() -> "Iterator[Forge]":
    """Return the process that the netcore processes of the faults are forked from."""
    from injection import Forge

    with Forge() as one:
        yield one


@pytest.fixture(scope="session")
def whole(forge: "Forge", tmp_path_factory: pytest.TempPathFactory) -> "Whole":
    """Return the study of the faults, searched without any fault."""
    from injection import Whole

    return Whole.of(forge, tmp_path_factory.mktemp("whole"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say, after `make faults`, what was injected how often, and what was measured."""
    if not config.getoption("faults"):
        return
    terminalreporter.section("faults injected")
    for outcome in ("passed", "failed"):
        times: Counter[str] = Counter()
        measured: dict[str, str] = {}
        for report in terminalreporter.stats.get(outcome, []):
            said = dict(report.user_properties)
            if report.when == "call":
                # A test that says nothing is one of several cases, each with one fault.
                name = report.nodeid.rpartition("/")[2]
                name = name if "injected" in said else name.partition("[")[0]
                times[name] += said.get("injected", 1)
                measured[name] = said.get("measured", "")
        for name, number in times.items():
            terminalreporter.write_line(f"{outcome}  {number:>5}  {name}  {measured[name]}")


@pytest.fixture(autouse=True, scope="session")
def plain_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's own settings and cache out of the tests; and let Ctrl-C work in a job of a shell's background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("MLFLOW_", "NETCORE_")) and name not in {"NETCORE_DATA", "NETCORE_REQUIRE_ALL"}:
                patch.delenv(name)
        # The processes that run tests side by side share one cache: the training step is compiled once.
        base = tmp_path_factory.getbasetemp()
        base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        patch.setenv("NETCORE_CACHE", str(base / "cache"))
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


def write_mixed(folder: Path, trials: int = 40, changes: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Write the study file in which everything happens; `changes` are texts, and what to write instead of each."""
    text = study_text(**MIXED, study=f"seed = 3, trials = {trials}, window = 4, max_failures = 60")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "mixed.toml").write_text(text, encoding="utf-8")
    return folder / "mixed.toml"


_PREPARED = ExitStack()
atexit.register(_PREPARED.close)


@cache
def iris_on_disk() -> Dataset:
    """Return iris as workers map it, for as long as the tests run."""
    return _PREPARED.enter_context(
        prepared(lambda put: load_dataset("iris", validation=0.2, test=0.2, seed=0, put=put))
    )


def submit(engine: Engine, number: int, *, epochs: int = 2, hidden_size: int = 8) -> Future[Record]:
    """Submit a job on iris; with 10 million epochs, its worker is still busy when a test acts on it."""
    asked = Hyperparameters(0.01, hidden_size, 0.0, 1.0)
    changes = {"number": number, "hyperparameters": asked, "thresholds": {}, "epochs": epochs}
    return engine.submit(job(**changes), iris_on_disk())


def trained(engine: Engine, number: int, *, epochs: int = 2, hidden_size: int = 8) -> Record:
    """Run such a job to its end."""
    return submit(engine, number, epochs=epochs, hidden_size=hidden_size).result(240)


def fingerprint(tables: StudyTables) -> str:
    """Hash all of a study's tables but the times."""
    trials = tables.trials.drop(columns=["seconds", "started", "ended"])
    text = "\n".join(frame.to_csv(float_format="%.17g") for frame in (trials, tables.curves, tables.weights))
    return hashlib.sha256(text.encode()).hexdigest()


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    """Return the worker processes of a process, of this one by default."""
    workers = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child)
    return workers


def training_workers(pid: int | None = None) -> list[psutil.Process]:
    """Return those workers of a process that have received a job: a worker maps the prepared data for its first one."""
    training = []
    for worker in workers_of(pid):
        with suppress(psutil.Error):  # it has ended meanwhile
            if any(".npy" in mapped.path for mapped in worker.memory_maps()):
                training.append(worker)
    return training


@pytest.fixture(scope="session")
def records() -> dict[str, Record]:
    """Return one record of each state."""
    return one_of_each()


@pytest.fixture(scope="session")
def folded() -> Record:
    """Return the record of a trial with three folds."""
    return with_folds()


@pytest.fixture(scope="session")
def reported(mixed: Mixed, tmp_path_factory: pytest.TempPathFactory) -> "Study":
    """Return the mixed study, audited and reported, in a folder of its own. Tests must not change it."""
    from reports import audited_copy

    return audited_copy(mixed, tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the study of `studies.py` has run, with all derived files; tests must not change it."""
    return run_arrays(tmp_path_factory.mktemp("ran"))


@pytest.fixture
def own(ran: Path, tmp_path: Path) -> Path:
    """Return a copy of it, two folders deep, that a test may change."""
    shutil.copytree(ran, tmp_path / "deep" / "own")
    return tmp_path / "deep" / "own"


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    """Return the mixed study, which tests must not change."""
    folder = tmp_path_factory.mktemp("mixed")
    spec = load_spec(write_mixed(folder))
    return spec, folder / "results", netcore.run_study(spec, results=folder / "results", workers=2)


@pytest.fixture(scope="session")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two studies and the MLflow that they were sent to; tests must not change it."""
    folder = tmp_path_factory.mktemp("synced")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", address(folder))
        return make(folder)


@pytest.fixture
def damaged(synced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it that a test may change, as the current folder."""
    folder = copy(synced, tmp_path / "copy")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address(folder))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser."""
    needs("Chromium", there=bool(CHROMIUM))
    with browser(tmp_path_factory.mktemp("browser")) as started:
        yield started
