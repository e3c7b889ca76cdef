"""MLflow slow, silent, refusing, killed, with lost answers: a run never waits for long, and `sync` repairs everything.

A real server and a proxy before it. Whatever happened, in the end each trial has one run, none is left RUNNING, and
`verify` finds nothing. `make faults` makes every round.
"""

import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from away import RUNS, Proxy, drop, forgotten, problems, wrong
from mlflow import MlflowClient
from servers import Server, free_port, served
from synced import runs_in

from netcore.errors import WorkError
from netcore.final.model import MODEL
from netcore.records.folder import StudyFolder
from netcore.tracking import follow as following
from netcore.tracking.follow import Follower, sync

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")


@pytest.fixture
def records(synced: Path) -> StudyFolder:
    """Return the folder of a study that has run; not to be changed."""
    return StudyFolder(synced / "results" / "small")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server."""
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def study(
    records: StudyFolder, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StudyFolder]:
    """Return a copy of the study that the server does not have."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    with forgotten(server.address):
        yield StudyFolder(shutil.copytree(records.path, tmp_path / "results" / "small"))


def without_trials(study: StudyFolder) -> None:
    """Remove all trials."""
    for file in study.trials.iterdir():
        file.unlink()


def without_model(study: StudyFolder, seed: int) -> None:
    """Leave out the model, except in each fifth round: it takes longer than all the rest."""
    if seed % 5:
        (study.path / MODEL).unlink()


def sync_to_the_end(study: StudyFolder) -> list[str]:
    """Sync until it succeeds; return the errors until then."""
    said: list[str] = []
    for _ in range(100):
        try:
            sync(study)
        except WorkError as error:
            said.append(str(error))
        else:
            return said
    pytest.fail(f"a hundred syncs are not enough: {said[-1]}")


def assert_all_there(study: StudyFolder, server: Server) -> None:
    """Check that MLflow agrees with the records, and that a further sync writes nothing."""
    assert sync(study) == 0
    assert wrong(study, server.address) == []


def wait_for(proxy: Proxy, count: int) -> None:
    """Wait for a number of requests."""
    for _ in range(900):
        if proxy.count >= count:
            return
        time.sleep(0.2)
    pytest.fail(f"{proxy.count} of {count} requests came")


def ended(server: Server, tag: str = "netcore.trial") -> set[str]:
    """Return the trials, or the trainings with another tag, whose runs on the server have ended."""
    runs = runs_in(MlflowClient(server.address), "small", f"tags.`{tag}` LIKE '%'")
    return {run.data.tags[tag] for run in runs if run.info.status != "RUNNING"}


@pytest.mark.slow
@pytest.mark.rounds(1, 20)
def test_answers_that_are_lost_leave_nothing_twice(study: StudyFolder, server: Server, turn: int) -> None:
    """A fifth of all answers is lost after the work was done: no run, experiment, model or version is there twice."""
    without_model(study, turn + 1)
    with Proxy(server, drop(0.2, turn + 1)):
        said = sync_to_the_end(study)
    assert all("\n" not in line and "`netcore sync " in line for line in said)
    assert_all_there(study, server)


@pytest.mark.slow
@pytest.mark.rounds(1, 10)
def test_without_retries_each_lost_answer_fails_and_sync_continues(
    study: StudyFolder, server: Server, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the first ten answers is lost, then each fortieth, and MLflow does not try again: the next sync does."""
    (study.path / MODEL).unlink()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Proxy(server, lambda n: "lose" if n % 40 == (5 + turn) % 10 else "answer"):
        said = sync_to_the_end(study)
    assert len(said) >= 3
    assert_all_there(study, server)


@pytest.mark.slow
def test_a_slow_mlflow_is_waited_for(study: StudyFolder, server: Server) -> None:
    """Each answer is late, one by 8 s: the run waits, and everything is there."""
    (study.path / MODEL).unlink()
    with Proxy(server, lambda n: 8.0 if n == 20 else 0.08), Follower(study) as follower:
        assert follower.finish(12) == ("", "")
    assert_all_there(study, server)


@pytest.mark.slow
@pytest.mark.rounds(1, 9)
def test_an_mlflow_that_falls_silent_is_not_waited_for(study: StudyFolder, server: Server, turn: int) -> None:
    """Requests are never answered: the run reports the exact number of trials that wait, `sync` sends them."""
    (study.path / MODEL).unlink()
    after = (20 + 7 * turn) % 76
    with Proxy(server, lambda n: "hang" if n >= after else "answer") as proxy:
        begun = time.monotonic()
        with Follower(study) as follower:
            waiting, why = follower.finish(12)
        assert time.monotonic() - begun < following.PATIENCE
    there = len(ended(server)) if after else 0
    confirmed = len(ended(server, "netcore.confirm")) if after else 0
    most = "all trials are there, but not all that follows"
    assert waiting == (most if there == 12 else f"{12 - there} of 12 trials wait")
    assert why.startswith(f"error: MLflow at {proxy.address}: refuses (")
    assert "; all records are safe in " in why
    assert sync(study) == RUNS - there - confirmed
    assert_all_there(study, server)


@pytest.mark.slow
def test_an_mlflow_that_refuses_and_comes_back_is_used_again(
    study: StudyFolder, server: Server, records: StudyFolder
) -> None:
    """Away when the run begins, there a little later: the follower sends the trials while the run continues."""
    without_trials(study)
    (study.path / MODEL).unlink()
    with Proxy(server, lambda _: "refuse") as proxy, Follower(study) as follower:
        for file in sorted((records.path / "trials").iterdir())[:6]:
            shutil.copy(file, study.path / "trials")
        wait_for(proxy, 3)  # one attempt, with its retries
        proxy.fault = lambda _: "answer"
        wait_for(proxy, 30)  # six trials, four calls each
        for file in sorted((records.path / "trials").iterdir())[6:]:
            shutil.copy(file, study.path / "trials")
        assert follower.finish(12) == ("", "")
    assert wrong(study, server.address) == []


def test_an_mlflow_that_is_not_there_costs_a_run_nothing(records: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is closed from first to last: all trials wait, and one line names the reason."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with Follower(records) as follower:
        waiting, why = follower.finish(12)
    assert waiting == "12 of 12 trials wait"
    assert why.startswith("error: MLflow at http://127.0.0.1:")
    assert "\n" not in why


@pytest.mark.slow
def test_a_password_goes_no_further_than_to_the_server(
    study: StudyFolder, server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With user and password in the server's address a sync succeeds, prints neither, and stores neither."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address.replace("//", "//me:hush%21@"))
    assert sync(study) == RUNS
    assert problems(study) == []
    said = capfd.readouterr()
    assert "hush" not in said.out + said.err
    assert "View run" not in said.out + said.err
    files = [path for top in (server.folder, study.path) for path in top.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [path for path in files if b"hush" in path.read_bytes()] == []


@pytest.mark.slow
@pytest.mark.rounds(1, 12)
def test_a_server_that_is_killed(study: StudyFolder, server: Server, turn: int, records: StudyFolder) -> None:
    """SIGKILL at a random moment, back at once, after 5 s, after 30 s, or not before the run has ended."""
    without_trials(study)
    without_model(study, turn + 1)
    gap = (None, 0, 5, 30)[turn % 4]

    def fail() -> None:
        time.sleep(random.Random(turn).uniform(2, 9))  # noqa: S311  # no secret
        server.kill()
        if gap is not None:
            time.sleep(gap)
            server.start()

    outage = threading.Thread(target=fail)
    with Follower(study) as follower:
        outage.start()
        for file in sorted((records.path / "trials").iterdir()):
            shutil.copy(file, study.path / "trials")
            time.sleep(0.5)
        waiting, why = follower.finish(12)
    outage.join()
    if gap is None:
        server.start()
    assert bool(waiting) == bool(why)
    assert "Traceback" not in why
    sync_to_the_end(study)
    assert wrong(study, server.address) == []
