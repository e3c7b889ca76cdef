"""The promise: same study file, same numbers, bit for bit, whatever the workers, the interruptions, the losses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import WITHOUT_STOPPING, Mixed, fingerprint, needs_gp, write_mixed
from synced import put

import netcore
from netcore.errors import InputError, WorkError
from netcore.progress import Notice
from netcore.question.spec import StudySpec, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.records.record import Record
from netcore.results.tables import StudyTables
from netcore.run import Run
from netcore.search.history import History


def copy_of(mixed: Mixed, to: Path) -> StudyFolder:
    """Copy the finished mixed study, to be damaged."""
    shutil.copytree(mixed[1], to / "results")
    return StudyFolder(to / "results" / "mixed")


def continued(
    spec: StudySpec, results: Path, *, fresh: bool = False, retrain: bool = False, retry_failed: bool = False
) -> tuple[list[str], list[int]]:
    """Continue a study; return the notices, and the numbers of the trials whose record is new."""
    folder = StudyFolder(results / spec.name)
    before = {number: (folder.trials / f"{number:06d}.npz").read_bytes() for number in folder.numbers()}
    run = Run(spec, results=results, workers=2, fresh=fresh, retrain=retrain, retry_failed=retry_failed)
    with run:
        notices = [step.text for step in run.search() if isinstance(step, Notice)]
    new = [n for n in folder.numbers() if (folder.trials / f"{n:06d}.npz").read_bytes() != before.get(n)]
    return notices, new


def tamper(folder: StudyFolder, number: int, **changes: Any) -> None:  # noqa: ANN401  # any field of a job
    """Replace a record by one of another job, with a checksum that holds."""
    record = folder.read(number)
    put(folder, Record.of(replace(record.job, **changes), record.result, record.provenance))


@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_and_extensions_change_nothing(mixed: Mixed, tmp_path: Path, workers: int) -> None:
    """One worker, first 10 then 40 trials, and two workers in one go give equal tables; no trial is trained twice.

    In the tables, trials finish, are pruned, diverge and fail.
    """
    netcore.run_study(mixed[0], results=tmp_path, workers=workers, trials=10, confirm=False)
    files = {path: path.read_bytes() for path in (tmp_path / "mixed" / "trials").iterdir()}
    tables = netcore.run_study(mixed[0], results=tmp_path, workers=workers, confirm=False)
    assert fingerprint(tables) == fingerprint(mixed[2])
    assert len(files) == 10
    assert {path: path.read_bytes() for path in files} == files
    assert set(tables.trials["state"]) == set(State)
    assert tables.trials["trial"].tolist() == list(range(40))


@pytest.mark.parametrize("lost", [[0, 17, 39], pytest.param([3, 4, 20, 38], marks=pytest.mark.slow)])
def test_lost_records_come_back_as_they_were(mixed: Mixed, tmp_path: Path, lost: list[int]) -> None:
    """Deleted records are trained again, no other is, and the tables are those of the uninterrupted study."""
    folder = copy_of(mixed, tmp_path)
    for number in lost:
        (folder.trials / f"{number:06d}.npz").unlink()
    notices, new = continued(mixed[0], tmp_path / "results")
    assert (notices, new) == ([], lost)
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(mixed[2])


def test_fewer_trials_and_a_lost_record_lose_no_other(mixed: Mixed, tmp_path: Path) -> None:
    """With fewer trials asked for, only a lost record is trained again; nothing is deleted, all stay in the study."""
    folder = copy_of(mixed, tmp_path)
    (folder.trials / "000003.npz").unlink()
    _, new = continued(mixed[0].with_trials(10), tmp_path / "results")
    assert new == [3]
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(mixed[2])
    assert continued(mixed[0].with_trials(10), tmp_path / "results") == ([], [])
    assert folder.kept_weights() == {int(path.stem) for path in (mixed[1] / "mixed" / "weights").iterdir()}


@pytest.mark.parametrize("sampler", ["qmc", pytest.param("random", marks=pytest.mark.slow)])
def test_samplers_without_history_keep_the_promise_too(tmp_path: Path, sampler: str) -> None:
    """Random and quasi-random studies are equal with 1 and 2 workers, and in two goes."""
    spec = load_spec(write_mixed(tmp_path, 20, {"window = 4": f"window = 4, sampler = '{sampler}'"}))
    whole = netcore.run_study(spec, results=tmp_path / "a", workers=2, confirm=False)
    netcore.run_study(spec, results=tmp_path / "b", workers=1, trials=7, confirm=False)
    assert fingerprint(netcore.run_study(spec, results=tmp_path / "b", workers=1)) == fingerprint(whole)


@pytest.mark.slow
@needs_gp
def test_a_gaussian_process_keeps_the_promise_too(tmp_path: Path) -> None:
    """A study of `gp` is equal with 1 and 2 workers, in one go and in three, and with a record lost."""
    spec = load_spec(write_mixed(tmp_path, changes={"window = 4": "window = 4, sampler = 'gp'"}))
    whole = netcore.run_study(spec, results=tmp_path / "a", workers=2)
    assert {"finished", "pruned", "diverged"} <= set(whole.trials["state"])
    for trials in (5, 17):
        netcore.run_study(spec, results=tmp_path / "b", workers=1, trials=trials)
    folder = StudyFolder(tmp_path / "b" / "mixed")
    (folder.trials / "000013.npz").unlink()
    assert fingerprint(netcore.run_study(spec, results=tmp_path / "b", workers=1)) == fingerprint(whole)


def test_a_record_of_another_proposal_stops_the_run_and_stays(mixed: Mixed, tmp_path: Path) -> None:
    """A record that does not match what is asked stops the run with exit code 2, is named, and is still there."""
    folder = copy_of(mixed, tmp_path)
    (folder.trials / "000005.npz").unlink()
    asked = folder.read(11).job.hyperparameters
    tamper(folder, 11, hyperparameters=asked._replace(reg=0.05))
    before = (folder.trials / "000011.npz").read_bytes()
    with pytest.raises(InputError) as caught:
        continued(mixed[0], tmp_path / "results")
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"mixed: trial 11: its record does not match what is asked: reg is 0.05 where {asked.reg!r} is asked; "
        "`--retrain` moves such records to superseded/ and trains their trials again"
    )
    assert (folder.trials / "000011.npz").read_bytes() == before

    notices, new = continued(mixed[0], tmp_path / "results", retrain=True)
    assert 11 in new
    assert any(text.startswith("trial 11: reg is 0.05") for text in notices)
    assert (folder.superseded / "000011.1.npz").read_bytes() == before
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(mixed[2])


def test_a_record_of_another_question_stops_the_run(mixed: Mixed, tmp_path: Path) -> None:
    """Seed, data and training step of every record are checked, even if no trial has to be asked."""
    folder = copy_of(mixed, tmp_path)
    tamper(folder, 20, seed=4, data_digest="0" * 64, step="other")
    with pytest.raises(InputError, match="trial 20: its record does not match") as caught:
        continued(mixed[0], tmp_path / "results")
    for what in ("seed is 4 where 3 is asked", "data_digest is '" + "0" * 64, "step is 'other' where 'compiled 2' is"):
        assert what in str(caught.value)
    assert folder.read(20).number == 20


@pytest.mark.parametrize("damage", ["flipped", pytest.param("swapped", marks=pytest.mark.slow)])
def test_a_damaged_record_is_moved_aside_and_trained_again(mixed: Mixed, tmp_path: Path, damage: str) -> None:
    """`run` names a damaged record, moves it to superseded/, and trains its trial again."""
    folder = copy_of(mixed, tmp_path)
    path = folder.trials / "000008.npz"
    content = path.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
    path.write_bytes(flipped if damage == "flipped" else (folder.trials / "000009.npz").read_bytes())
    with pytest.raises(InputError, match=r"000008\.npz"):
        netcore.load_study(folder.path)
    notices, new = continued(mixed[0], tmp_path / "results")
    assert new == [8]
    assert len(notices) == 1
    assert str(path) in notices[0]
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(mixed[2])


def test_a_changed_study_file_is_refused(mixed: Mixed, tmp_path: Path) -> None:
    """Another question under the same name is refused, key by key; --fresh moves the old folder aside."""
    folder = copy_of(mixed, tmp_path)
    spec = load_spec(write_mixed(tmp_path, 4, {"epochs = 6": "epochs = 5", "0.95": "0.9"}))
    with pytest.raises(InputError) as caught:
        continued(spec, tmp_path / "results")
    assert [problem.rule for problem in caught.value.problems] == [
        "training.epochs was 6, is 5",
        "space.learning_rate_decay was 0.95, is 0.9",
    ]
    assert all("--fresh" in problem.remedy for problem in caught.value.problems)
    assert len(folder.numbers()) == 40

    continued(spec, tmp_path / "results", fresh=True)
    assert len(folder.numbers()) == 4
    assert len(StudyFolder(tmp_path / "results" / "_superseded" / "mixed.1").numbers()) == 40


def test_what_may_change_may_change(mixed: Mixed, tmp_path: Path) -> None:
    """Trials, limits and what is kept may change; all weights asked for afterwards come back by training."""
    folder = copy_of(mixed, tmp_path)
    changes = {"max_failures = 60": "max_failures = 50, weights = 'all', trial_timeout = 99.0"}
    file = write_mixed(tmp_path, changes=changes)
    notices, new = continued(load_spec(file), tmp_path / "results")
    assert (notices, new) == ([], [])
    states = mixed[2].trials.set_index("trial")["state"]
    assert folder.kept_weights() == set(states.index[states.isin(["finished", "pruned"])])
    assert folder.study_file.read_bytes() == file.read_bytes()
    assert json.loads(folder.resolved.read_text())["settings"]["study"]["weights"] == "all"


def test_the_weights_of_the_five_best_are_kept(mixed: Mixed, tmp_path: Path) -> None:
    """By default the five best finished trials' weights are kept; lost or altered ones come back bit for bit."""
    finished = mixed[2].trials.query("state == 'finished'").sort_values(["value", "trial"])
    folder = copy_of(mixed, tmp_path)
    best = set(finished["trial"].head(5))
    assert folder.kept_weights() == best
    before = {number: folder.weights_file(number).read_bytes() for number in best}
    for number in sorted(best)[:2]:
        folder.weights_file(number).unlink()
    folder.weights_file(max(best)).write_bytes(b"something else")
    continued(mixed[0], tmp_path / "results")
    assert {number: folder.weights_file(number).read_bytes() for number in best} == before


def test_too_many_failures_stop_the_study(mixed: Mixed, tmp_path: Path) -> None:
    """More than max_failures failed trials end it with exit code 1; the rest of the records is there."""
    spec = load_spec(write_mixed(tmp_path, changes={"max_failures = 60": "max_failures = 1"}))
    for _ in range(2):  # running it again gives the same answer
        with pytest.raises(WorkError, match="at most max_failures = 1 trials may fail, got 2: ") as caught:
            continued(spec, tmp_path / "results")
        assert caught.value.exit_code == 1
    folder = StudyFolder(tmp_path / "results" / "mixed")
    failed = mixed[2].trials.query("state == 'failed'")["trial"].tolist()
    assert folder.numbers() == list(range(failed[1] + 4))  # those in flight at that commit have returned
    assert "Unable to allocate" in folder.read(failed[0]).result.traceback


@pytest.mark.slow
def test_retried_failures_that_fail_again_change_nothing(mixed: Mixed, tmp_path: Path) -> None:
    """--retry-failed runs failed trials again, keeps their old records, and trains nothing else if they fail again."""
    folder = copy_of(mixed, tmp_path)
    failed = mixed[2].trials.query("state == 'failed'")["trial"].tolist()
    _, new = continued(mixed[0], tmp_path / "results", retry_failed=True)
    assert new == failed
    assert sorted(path.name for path in folder.superseded.iterdir()) == [f"{n:06d}.1.npz" for n in failed]
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(mixed[2])


def make_a_trial_die(folder: StudyFolder, tables: StudyTables) -> tuple[StudyFolder, int]:
    """Replace a finished trial's record by that of a machine in trouble: its worker died."""
    number = int(tables.trials.query("state == 'finished' and trial < 20")["trial"].iloc[-1])
    record = folder.read(number)
    result = replace(
        record.result, state=State.FAILED, curve=(), best_epoch=None, value=float("nan"), failure="worker died"
    )
    put(folder, Record.of(record.job, result, record.provenance))
    return folder, number


def with_a_dead_trial(mixed: Mixed, tmp_path: Path) -> tuple[StudyFolder, int]:
    """Return the mixed study as if a worker had died: all later proposals knew of the failure."""
    folder, number = make_a_trial_die(copy_of(mixed, tmp_path), mixed[2])
    for later in range(number + 4, 40):
        (folder.trials / f"{later:06d}.npz").unlink()
    continued(mixed[0], tmp_path / "results")
    assert fingerprint(netcore.load_study(folder.path)) != fingerprint(mixed[2])
    return folder, number


def test_an_interrupted_retry_continues_as_any_run(mixed: Mixed, tmp_path: Path) -> None:
    """After --retry-failed, stopped and finished by the plain command, the study is the one without the failure."""
    spec, _, tables = mixed
    folder, died = with_a_dead_trial(mixed, tmp_path)
    results = tmp_path / "results"
    with Run(spec, results=results, workers=1, retry_failed=True) as run:
        for step in run.search():
            if isinstance(step, Record) and step.number == died + 2:
                break
    notices, _ = continued(spec, results)
    assert any("its old record is" in text for text in notices)
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(tables)


@pytest.mark.slow
def test_a_trial_that_came_back_as_another_is_noticed(mixed: Mixed, tmp_path: Path) -> None:
    """Stopped when no record is missing, but one is no longer what later trials knew of, a study goes on from there."""
    spec, _, tables = mixed
    folder, died = with_a_dead_trial(mixed, tmp_path)
    folder.supersede(died)
    with Run(spec, results=tmp_path / "results", workers=1) as run:
        for step in run.search():
            if isinstance(step, Record) and step.number == died:
                break
    assert folder.numbers() == list(range(spec.study.trials))
    continued(spec, tmp_path / "results")
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(tables)


@pytest.mark.slow
def test_an_idle_run_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete study asks no sampler again, even after records have served in another history than their own."""
    changes = {"window = 4": "window = 4, sampler = 'random'"} | WITHOUT_STOPPING
    spec = load_spec(write_mixed(tmp_path, 20, changes))
    tables = netcore.run_study(spec, results=tmp_path / "results", workers=2)
    folder, _ = make_a_trial_die(StudyFolder(tmp_path / "results" / "mixed"), tables)
    _, new = continued(spec, tmp_path / "results", retry_failed=True)
    assert len(new) == 1 + tables.trials["state"].eq("failed").sum()  # a random proposal depends on no other trial
    assert fingerprint(netcore.load_study(folder.path)) == fingerprint(tables)
    asked: list[int] = []
    monkeypatch.setattr(History, "propose", lambda _, number: asked.append(number))
    continued(spec, tmp_path / "results")
    assert asked == []


def test_a_refused_question_leaves_the_old_one(mixed: Mixed, tmp_path: Path) -> None:
    """With resolved.json lost, a changed file is still refused, by the records, and the folder keeps its question."""
    folder = copy_of(mixed, tmp_path)
    folder.resolved.unlink()
    other = load_spec(write_mixed(tmp_path, changes={"epochs = 6": "epochs = 5"}))
    with pytest.raises(InputError, match=r"training\.epochs was 6, is 5"):
        continued(other, tmp_path / "results")
    assert folder.study_file.read_bytes() == mixed[0].text
    assert continued(mixed[0], tmp_path / "results") == ([], [])
