"""Whatever happens to a study, in any order: after a complete run, it equals the uninterrupted study.

A state machine starts a study, stops it in the middle, asks for more trials or fewer, loses and damages its files, and
sends it to MLflow, which is lost now and then too. The model is the uninterrupted study of as many trials.
"""

import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self

import pytest
from conftest import fingerprint, iris_on_disk, present
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from synced import address

import netcore
from netcore.check.verify import Check, verify
from netcore.data import Dataset
from netcore.errors import InputError, NetcoreError
from netcore.question.spec import StudySpec, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import TrialJob
from netcore.records.record import Record
from netcore.results.tables import StudyTables, write_tables
from netcore.run import Run
from netcore.tracking.client import connect
from netcore.tracking.follow import sync
from netcore.tracking.held import read_held
from netcore.tracking.journal import write_journal
from netcore.tracking.projection import TRIAL
from netcore.workers.engine import train
from studies import study_text

STUDY = study_text(
    study="trials = 6, window = 3, max_failures = 10",
    training="epochs = 3, batch_size = 30",
    learning_rate="{ low = 1e-2, high = 1e3, log = true }",
    hidden_size="[2, 4]",
    learning_rate_decay="0.9",
    stopping="rungs = [1, 2], after = 2",
)
MOST = 10
"""Trials that a study is extended to."""
REBUILT = ["*.parquet", "optuna.log", "resolved.json", "weights/*.npz", "study.toml"]
"""What a run, or what follows it, makes again."""


class AtOnce:
    """An engine that trains in this process, as soon as it is asked: the same net, the same numbers, no worker."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Record]:
        """Train."""
        future: Future[Record] = Future()
        future.set_result(train(job, dataset, 1))
        return future

    def news(self) -> list[str]:
        """Return nothing."""
        return []


def views(folder: StudyFolder) -> StudyTables:
    """Write tables and optuna.log, as a command does after a run."""
    tables = netcore.load_study(folder.path)
    write_tables(tables, folder)
    write_journal(folder.committed(), folder)
    return tables


@cache
def spec_of() -> StudySpec:
    """Read the study file."""
    folder = Path(mkdtemp(prefix="netcore-machine-"))
    (folder / "tiny.toml").write_text(STUDY)
    return load_spec(folder / "tiny.toml")


@cache
def uninterrupted(trials: int) -> tuple[str, tuple[str, ...]]:
    """Return fingerprint and digests of an uninterrupted study of this many trials."""
    results = Path(mkdtemp(prefix="netcore-whole-"))
    with Run(spec_of().with_trials(trials), results=results, workers=1) as run:
        for _ in run.search(confirm=False):
            pass
    tables = netcore.load_study(run.folder.path)
    shutil.rmtree(results)
    return fingerprint(tables), tuple(tables.trials["digest"])


@cache
def empty_database() -> Path:
    """Make an MLflow database once; copies of it are what is lost and found."""
    folder = Path(mkdtemp(prefix="netcore-empty-"))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own
        patch.setenv("MLFLOW_TRACKING_URI", address(folder))
        connect()
    return folder / "mlflow.db"


class Machine(RuleBasedStateMachine):
    """A study, and what may happen to it."""

    mlflow = False

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(mkdtemp(prefix="netcore-state-"))
        self.folder = StudyFolder(self.home / "results" / "tiny")
        self.databases = 0
        self.trials = spec_of().study.trials
        self.complete = False
        """Whether a run has ended well since the last thing that happened."""
        self.patch = pytest.MonkeyPatch()
        self.patch.chdir(self.home)
        self.patch.setattr("netcore.workers.start.LocalEngine", AtOnce)
        self.patch.setattr("netcore.run.prepared", prepared_once)
        self.patch.setattr("netcore.check.verify.prepared", prepared_once)

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.patch.undo()
        shutil.rmtree(self.home)

    # What people do

    def _run(self, most: int | None = None) -> None:
        """Run the study, or the given number of commits, then stop as a killed process does."""
        try:
            self._search(most)
        except InputError as error:  # resolved.json was damaged so that it asks another question
            assert "answers another question" in str(error)  # noqa: PT017
            self.folder.resolved.unlink()
            self._search(most)

    def _search(self, most: int | None) -> None:
        with Run(spec_of().with_trials(self.trials), results=self.home / "results", workers=1) as run:
            steps: Iterator[Any] = run.search(confirm=False)
            for done, _ in enumerate((step for step in steps if isinstance(step, Record)), start=1):
                if done == most:
                    return
        self.complete = True
        views(self.folder)

    @initialize()
    def start(self) -> None:
        """Begin; nothing is there yet."""
        self._run(most=1)

    @rule()
    def run(self) -> None:
        """Run it to its end."""
        self._run()

    @rule(most=st.integers(1, 6))
    def run_and_stop(self, most: int) -> None:
        """Run it, and stop in the middle."""
        self.complete = False
        self._run(most)

    @rule(trials=st.integers(1, MOST))
    def ask_for(self, trials: int) -> None:
        """Ask for more trials, or fewer."""
        self.trials, self.complete = trials, False

    # What machines do

    def _one(self, number: int, pattern: str) -> Path | None:
        files = sorted(self.folder.path.glob(pattern))
        return files[number % len(files)] if files else None

    @rule(number=st.integers(0, MOST))
    def lose_a_record(self, number: int) -> None:
        """A record is gone."""
        if path := self._one(number, "trials/*.npz"):
            path.unlink()
            self.complete = False

    @rule(
        name=st.sampled_from(["trials/*.npz", *REBUILT, "superseded/*"]),
        number=st.integers(0, MOST),
        where=st.floats(0, 0.999),
        bit=st.integers(0, 7),
        cut=st.booleans(),
    )
    def damage_a_file(self, name: str, number: int, where: float, bit: int, *, cut: bool) -> None:
        """A record, or a file that is made again, is cut short, or one of its bits is flipped."""
        if path := self._one(number, name):
            data = bytearray(path.read_bytes())
            at = int(where * len(data))
            if data and not cut:
                data[at] ^= 1 << bit
            path.write_bytes(data[:at] if cut else data)
            self.complete = False

    @rule(name=st.sampled_from(REBUILT))
    def lose_what_is_made_again(self, name: str) -> None:
        """All of these are gone."""
        for path in self.folder.path.glob(name):
            path.unlink()
            self.complete = False

    # What is checked

    @precondition(lambda self: not self.complete)
    @rule()
    def verify_beside(self) -> None:
        """Whatever has happened, `verify` says what it sees and ends: no traceback, nothing changed."""
        before = {path: path.read_bytes() for path in self.folder.path.rglob("*") if path.is_file()}
        for _ in self._checks():
            pass
        assert {path: path.read_bytes() for path in self.folder.path.rglob("*") if path.is_file()} == before

    def _checks(self) -> list[Check]:
        made = (step for step in verify(self.folder) if isinstance(step, Check))
        return list(made if self.mlflow else islice(made, 13))  # the last one is of MLflow

    @invariant()
    def a_study_that_has_run_is_the_uninterrupted_one(self) -> None:
        """Tables, digests and every check, for as many trials as there are."""
        if not self.complete:
            return
        tables = netcore.load_study(self.folder.path)
        there = len(tables.trials)
        assert there >= self.trials
        assert (fingerprint(tables), tuple(tables.trials["digest"])) == uninterrupted(there)
        if len(self.folder.numbers()) == there:  # else one was lost beyond the trials that are asked for
            assert [problem for check in self._checks()[:13] for problem in check.problems] == []


def prepared_once(*_: object) -> AbstractContextManager[Dataset]:
    """Return the data, prepared once."""
    return nullcontext(iris_on_disk())


class Tracked(Machine):
    """The same, with MLflow."""

    mlflow = True

    @initialize()
    def begin(self) -> None:
        """Begin with an empty MLflow."""
        self.lose_mlflow()

    @rule()
    def lose_mlflow(self) -> None:
        """MLflow's database is gone, and an empty one in its place."""
        self.databases += 1
        place = self.home / f"mlflow-{self.databases}"
        place.mkdir()
        shutil.copy(empty_database(), place / "mlflow.db")
        self.patch.setenv("MLFLOW_TRACKING_URI", address(place))

    @precondition(lambda self: self.folder.resolved.exists())
    @rule()
    def send(self) -> None:
        """Send it to MLflow: exactly one run for each committed trial, or one line that says what is wrong."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow warns of its own
                sync(self.folder)
        except NetcoreError as error:
            assert not self.complete  # damaged, and said so
            assert error.exit_code in {1, 2}  # noqa: PT017
            return
        client = connect()
        held = read_held(client, present(client.get_experiment_by_name("tiny")))
        sent = [number for (kind, number), runs in held.trainings.items() for _ in runs if kind == TRIAL]
        assert sorted(sent) == sorted(str(record.number) for record in self.folder.committed())
        assert len(held.parents) == 1

    @precondition(lambda self: self.complete)
    @rule()
    def verify_and_fix(self) -> None:
        """`verify --fix` leaves nothing that is wrong."""
        views(self.folder)
        sync(self.folder, deep=True)
        assert [problem for check in self._checks() for problem in check.problems] == []


SETTINGS = settings(derandomize=False, print_blob=True, database=None, suppress_health_check=list(HealthCheck))
FEW = settings(SETTINGS, derandomize=True, max_examples=3, stateful_step_count=12)
ONE = settings(FEW, max_examples=1, stateful_step_count=10)


def test_steps() -> None:
    """Nothing that happens to a study's folder changes the study."""
    run_state_machine_as_test(Machine, settings=FEW)


@pytest.mark.slow
def test_tracked_steps() -> None:
    """Nor does anything that happens to MLflow."""
    run_state_machine_as_test(Tracked, settings=ONE)


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
def test_more_steps() -> None:
    """The same, for longer."""
    run_state_machine_as_test(Machine, settings=settings(SETTINGS, max_examples=30, stateful_step_count=30))
    run_state_machine_as_test(Tracked, settings=settings(SETTINGS, max_examples=8, stateful_step_count=25))
