"""Verification reports every kind of damage where it is, and nothing else: shown by real damage to a real study.

Damages that do not hide one another are made together, a *round*, and each must be reported by its own check.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from commands import netcore_command
from mlflow import MlflowClient
from synced import STUDY, put, run_of, with_job, with_metrics, with_result

import netcore
from netcore.check.verify import Check, verify
from netcore.cli import commands
from netcore.errors import RecordError
from netcore.final.model import MODEL, read_model
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import dataset_of, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob
from netcore.records.record import Record
from netcore.results.tables import write_tables
from netcore.run import Run
from netcore.tracking import held
from netcore.tracking.client import connect
from netcore.tracking.follow import sync
from netcore.tracking.journal import write_journal
from netcore.workers.trial import run_trial

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

SEARCH = ["records", "settings", "data", "outcomes", "digests", "weights", "history", "proposals"]
CHECKS = [*SEARCH, "confirmation", "audit", "final model", "tables", "optuna.log", "MLflow"]

BEST, OTHERS, PRUNED, DIVERGED = 7, (0, 3), (9, 11), 10
"""Trials of the study in `synced.py`, by how they ended; `test_the_study_has_everything` holds them to it."""

ABSURD: Any = Hyperparameters("fast", 4, None, 0.95)  # type: ignore[arg-type]
"""Not numbers, in a record with a checksum that holds."""

Damage = Callable[[StudyFolder], object]
Case = tuple[Damage, str, str]
"""A damage, the check that must report it, and what the report says (a regular expression)."""


@pytest.fixture
def study(damaged: Path) -> StudyFolder:
    """Return the folder of a study that may be damaged."""
    return StudyFolder(damaged / "results" / "small")


@pytest.fixture
def apart(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """Return the same, as if it had never been sent to MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{study.path}/none.db")
    return study


def checks_of(folder: StudyFolder, *, quick: bool = False) -> dict[str, Check]:
    """Make all checks."""
    return {check.name: check for check in verify(folder, quick=quick) if isinstance(check, Check)}


def problems_of(folder: StudyFolder) -> dict[str, str]:
    """Return the problems by check."""
    return {name: "\n".join(map(str, check.problems)) for name, check in checks_of(folder).items() if check.problems}


def assert_found(folder: StudyFolder, cases: list[Case]) -> dict[str, str]:
    """Make the damages of a round; require that each is reported by its check."""
    for damage, _, _ in cases:
        damage(folder)
    found = problems_of(folder)
    for _, check, text in cases:
        assert re.search(text, found.get(check, "")), (check, text, found)
    return found


def and_(_: StudyFolder) -> None:
    """Make no other damage than the one before."""


def test_all_checks_hold(study: StudyFolder, damaged: Path) -> None:
    """No check fails for an untouched study, nor for one whose data are a file and that was not confirmed."""
    assert list(checks_of(study)) == CHECKS
    assert problems_of(study) == {}
    assert problems_of(StudyFolder(damaged / "results" / "filed")) == {}


def test_the_study_has_everything(study: StudyFolder) -> None:
    """The damaged study has trials of every state, a confirmation, an audit and a final model."""
    states = [each.result.state for each in study.committed()]
    assert set(states) == set(State)
    assert {number for number, state in enumerate(states) if state is State.FINISHED} == {BEST, *OTHERS}
    assert [states[number] for number in (*PRUNED, DIVERGED)] == [State.PRUNED, State.PRUNED, State.DIVERGED]
    assert StudyFolder(study.path / "audit").numbers() == list(PRUNED)
    assert read_model(study.path / MODEL).facts["trial"] == BEST


# Records of the search


def record_as(name: str) -> Damage:
    """Return the copying of trial 3's record to another file name."""
    return lambda folder: shutil.copy(folder.trials / "000003.npz", folder.trials / f"{name}.npz")


def flip(path: Path) -> None:
    """Flip a bit of a file."""
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)


def record(number: int, change: Callable[..., Record], /, *arguments: Any, **changes: Any) -> Damage:  # noqa: ANN401
    """Return a change of a trial's record."""
    return lambda folder: put(folder, change(folder.read(number), *arguments, **changes))


def nudged(was: Record) -> Record:
    """Return a record with another metric, in the 13th digit, and the digest of before."""
    return with_metrics(was, 1, train_loss=was.result.curve[0].train_loss * (1 + 1e-12))


def digested(was: Record) -> Record:
    """Return a record with another metric and a right digest, as far as that is possible without its weights."""
    other = with_metrics(was, 1, train_loss=0.5)
    return replace(Record.of(other.job, other.result, other.provenance), weights_sha256=was.weights_sha256)


def cut(was: Record) -> Record:
    """Return a record whose curve ends after five epochs."""
    curve = was.result.curve[:5]
    return with_result(was, curve=curve, best_epoch=5, value=curve[-1].val_loss)


def split(was: Record) -> Record:
    """Return a record of two folds, whose mean is not its curve."""
    return with_result(was, folds=(was.result.curve, was.result.curve[::-1]))


def change_study_file(folder: StudyFolder) -> None:
    """Change the number of epochs in study.toml."""
    folder.study_file.write_text(STUDY.replace("epochs = 6", "epochs = 7"))


def change_resolved(folder: StudyFolder) -> None:
    """Change settings and data in resolved.json."""
    resolved = json.loads(folder.resolved.read_text())
    resolved["settings"]["training"]["batch_size"] = 21
    resolved["sampler_arguments"]["n_startup_trials"] = 3
    resolved["data"] |= {"digest": "0" * 64, "rows": {**resolved["data"]["rows"], "train": 91}}
    folder.resolved.write_text(json.dumps(resolved))


IN_RECORDS: dict[str, list[Case]] = {
    "a record lost": [
        (lambda f: (f.trials / "000005.npz").unlink(), "records", "trial 5: has no record, but later trials"),
        (and_, "tables", "trials.parquet: trial 5: has no record"),
        (and_, "optuna.log", "trial 5: has no record"),
    ],
    "files": [
        (record_as("000012"), "records", "must be the record of trial 12, got that of trial 3"),
        (record(6, with_job, hyperparameters=ABSURD), "records", "000006.npz: does not hold a record"),
        (record_as("3 (copy)"), "records", r"3 \(copy\)\.npz: is not a record's file name"),
        (lambda f: flip(f.trials / "000004.npz"), "records", r"000004\.npz: is truncated or altered"),
        (lambda f: flip(f.weights_file(3)), "weights", "is not the weights file of trial 3"),
    ],
    "metrics": [
        (record(BEST, nudged), "digests", "trial 7: must have the digest of its content"),
        (record(PRUNED[0], nudged), "tables", r"curves\.parquet: trial 7, epoch 1, train_loss: must"),
    ],
    "a metric and the digest": [
        (record(BEST, digested), "history", "must have been proposed from trials 0 to . as they are"),
        (and_, "digests", "trial 7: must have the digest of its content"),
        (and_, "optuna.log", r"trial 7: user_attrs must be .*netcore\.digest"),
    ],
    "outcomes": [
        (record(9, with_result, value=0.1), "outcomes", r"9: value must be [\d.]+, as its curve shows, got 0\.1"),
        (record(0, with_result, best_epoch=2), "outcomes", "trial 0: best_epoch must be 6, as its curve shows"),
        (record(11, with_result, state=State.FINISHED), "outcomes", "trial 11: state must be pruned, as its"),
        (
            record(10, with_metrics, 2, learning_rate=0.5),
            "outcomes",
            r"10, epoch 2: learning_rate must be .*, got 0\.5",
        ),
        (record(BEST, with_job, thresholds={2: 1e-9}), "outcomes", "trial 7: epochs must be 2, as its curve"),
        (and_, "proposals", "trial 7: must be the trial that .* got thresholds is {2: 1e-09} where"),
        (record(9, split), "outcomes", "trial 9, epoch 1: train_loss must be the folds' mean"),
        (record(3, cut), "outcomes", "trial 3: epochs must be 6, as its curve shows, got 5"),
        (record(1, with_result, failure=""), "outcomes", "trial 1: a failed trial must have a reason"),
    ],
    "shapes of outcomes": [
        (record(DIVERGED, replace, weights_sha256="0" * 64), "outcomes", "10: must not state a SHA"),
        (record(PRUNED[0], replace, weights_sha256=""), "outcomes", "trial 9: must state a SHA-256"),
        (record(PRUNED[1], with_result, curve=(), best_epoch=None), "outcomes", "trial 11: must have a curve"),
    ],
    "questions": [
        (record(4, with_job, seed=7), "settings", "trial 4: .*question, got seed is 7 where 0 is asked"),
        (record(5, with_job, data_digest="0" * 64), "settings", "trial 5: .* data_digest is '0000"),
        (record(6, with_job, step="other"), "settings", "trial 6: .* step is 'other' where 'compiled"),
        (record(4, with_job, history_hash="0" * 64), "history", "trial 4: must have been proposed from"),
        (lambda f: f.drop_weights(BEST), "weights", r"000007\.npz: is missing"),
        (lambda f: shutil.copy(f.weights_file(3), f.weights_file(40)), "weights", "40.npz: belongs to a trial without"),
    ],
    "study.toml and resolved.json": [
        (change_study_file, "settings", "epochs was 7, is 6"),
        (change_resolved, "settings", "trial 0: must answer the study's question, got .*batch_size was 20, is 21"),
        (and_, "settings", "sampler_arguments.n_startup_trials was 3, is 10"),
        (and_, "data", "data: digest: must be 0000"),
        (and_, "data", "data: rows: must be .*91.*, got .*90.*restore the old files"),
    ],
    "study.toml unreadable": [(lambda f: f.study_file.write_text("["), "settings", "is not valid TOML")],
    "resolved.json unreadable": [(lambda f: f.resolved.write_text("["), "settings", "is missing or damaged")],
}


@pytest.mark.parametrize("what", IN_RECORDS)
def test_damage_to_the_search_is_found(apart: StudyFolder, what: str) -> None:
    """Damage to records, weights and settings is reported by the check that owns the rule."""
    assert_found(apart, IN_RECORDS[what])


def retrained(folder: StudyFolder, number: int, **changes: object) -> None:
    """Replace a trial by another that was really trained, with a right digest, and write all files derived from it."""
    was = folder.read(number)
    job: TrialJob = replace(was.job, **changes)  # type: ignore[arg-type]
    dataset = dataset_of(folder.spec())
    put(folder, Record.of(job, run_trial(job, dataset), was.provenance, dataset.preprocessing))
    folder.drop_weights(number)
    shutil.rmtree(folder.path / "audit")
    write_tables(netcore.load_study(folder.path), folder)


def test_only_proposing_again_finds_a_trial_that_was_never_proposed(apart: StudyFolder) -> None:
    """A last trial with other hyperparameters, trained and recorded by the rules, fails this check alone."""
    was = apart.read(11).job.hyperparameters
    retrained(apart, 11, hyperparameters=was._replace(learning_rate=0.012))
    write_journal(apart.committed(), apart)
    found = problems_of(apart)
    assert set(found) == {"proposals"}
    assert found["proposals"] == (
        "trial 11: must be the trial that sampler and stopping rule propose, got "
        f"learning_rate is 0.012 where {was.learning_rate!r} is asked"
    )
    quick = checks_of(apart, quick=True)
    assert not any(check.problems for check in quick.values())
    assert "left out" in str(quick["proposals"].notices[0])


@pytest.mark.slow
def test_one_wrong_proposal_is_one_finding(apart: StudyFolder) -> None:
    """Later trials are proposed again from what the records state, so they are right."""
    was = apart.read(8).job.hyperparameters  # trials 10 and 11 are the first that know of it
    retrained(apart, 8, hyperparameters=was._replace(learning_rate=0.012, hidden_size=4))
    found = problems_of(apart)["proposals"].splitlines()
    assert found[0].startswith("trial 8: ")
    assert not any(line.startswith("trial 9: ") for line in found)


def test_a_trial_outside_the_space_does_not_end_the_checks(apart: StudyFolder) -> None:
    """It is reported, and the trials after it cannot be proposed again."""
    was = apart.read(6).job.hyperparameters
    retrained(apart, 6, hyperparameters=was._replace(hidden_size=5))
    found = problems_of(apart)
    assert "trial 6: " in found["proposals"]
    assert "must be within the study's [space], got " in found["optuna.log"]


@pytest.mark.slow
def test_an_interrupted_study_is_verified_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report states how far it goes; older tables are behind, which is not wrong; damage is found all the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(STUDY)
    folder = StudyFolder(Path("results/small"))

    def run_until(number: int) -> dict[str, Check]:
        with Run(load_spec("small.toml"), results="results", workers=1) as run:
            for step in run.search():
                if isinstance(step, Record) and step.number == number:
                    break
        checks = checks_of(folder)
        assert not any(check.problems for check in checks.values())
        return checks

    checks = run_until(5)
    assert re.match(r"interrupted: [67] of 12 trials", str(checks["records"].notices[0]))
    assert "does not exist yet" in str(checks["tables"].notices[0])
    write_tables(netcore.load_study(folder.path), folder)
    write_journal(folder.committed(), folder)
    checks = run_until(9)
    assert "trials behind" in str(checks["tables"].notices[0])
    assert "trials behind" in str(checks["optuna.log"].notices[0])
    record(0, nudged)(folder)
    assert {"digests", "tables"} <= problems_of(folder).keys()


# What follows the search


def change_test(folder: StudyFolder, **facts: object) -> None:
    """Change test.json."""
    folder.test.write_text(json.dumps(json.loads(folder.test.read_text()) | facts))


def change_model(folder: StudyFolder) -> None:
    """Put another net into model.npz, and a better confirmation into its facts."""
    model = read_model(folder.path / MODEL)
    params = model.params._replace(b2=model.params.b2 + np.float32(0.001))
    facts = {**model.facts, "confirmed": {**model.facts["confirmed"], "val_accuracy": 0.99}}
    (folder.path / MODEL).write_bytes(replace(model, params=params, facts=facts).to_bytes())


def confirmed(folder: StudyFolder, name: str) -> StudyFolder:
    """Return the folder with the records of one candidate."""
    return StudyFolder(folder.path / "confirm" / name)


def lose_final_training(folder: StudyFolder) -> None:
    """Lose the record of the final model's training."""
    test = json.loads(folder.test.read_text())
    (confirmed(folder, f"trial-{test['trial']:06d}").trials / f"{test['seed']:06d}.npz").unlink()


def change_audited(folder: StudyFolder) -> None:
    """Change the first epoch of an audited trial; make another one the audit of a trial that was not stopped."""
    audited = StudyFolder(folder.path / "audit")
    record(9, with_metrics, 1, train_accuracy=0.5)(audited)
    record(11, with_job, number=3)(audited)


def change_confirmation(folder: StudyFolder) -> None:
    """Change, lose and damage records of each candidate."""
    record(1, with_job, epochs=5)(confirmed(folder, f"trial-{BEST:06d}"))
    for name in ("softmax", "softmax-pilots"):
        record(2, with_job, seed=1)(confirmed(folder, name))
    course = confirmed(folder, "course")
    record(0, with_metrics, 6, val_loss=0.01)(course)
    (course.trials / "000001.npz").unlink()
    flip(confirmed(folder, "softmax").trials / "000000.npz")


AFTERWARDS: dict[str, list[Case]] = {
    "test.json and model.npz": [
        (lambda f: change_test(f, right=30, readings=0), "final model", r"test\.json: right must be 29, got 30"),
        (and_, "final model", r'model\.npz: test must be .*"readings": 0'),
        (lambda f: change_test(f, seed=7, digest="0" * 64), "final model", r"test\.json: seed must be \d, got 7"),
        (and_, "final model", r"test\.json: digest must be "),
        (change_model, "final model", r'model\.npz: confirmed must be .*, got .*"val_accuracy": 0\.99'),
        (and_, "final model", r"model\.npz: weights_sha256 must be "),
        (change_audited, "audit", "audit of trial 9: must begin with the curve of the stopped trial"),
        (and_, "audit", "audit of trial 3: must belong to a pruned trial"),
    ],
    "another confusion": [
        (lambda f: change_test(f, confusion=[[1]]), "final model", r"test\.json: right must be 1, got 29")
    ],
    "no confusion": [(lambda f: change_test(f, confusion="x"), "final model", r"test\.json: is missing or damaged")],
    "model.npz cut short": [
        (lambda f: (f.path / MODEL).write_bytes(b""), "final model", r"model\.npz: is truncated or altered")
    ],
    "the final training lost": [
        (lose_final_training, "final model", r"test\.json: must name a training that has a record")
    ],
    "confirmation": [
        (change_confirmation, "confirmation", r"trial-000007, seed 1: must be the training .*, got epochs is 5 where"),
        (and_, "confirmation", "softmax, seed 2: must be the training .*, got seed is 1 where 0 is asked"),
        (and_, "confirmation", "softmax-pilots, seed 2: must be the training that follows"),
        (and_, "confirmation", r"course, seed 0: value must be 0\.01, as its curve shows"),
        (and_, "confirmation", "course, seed 1: has no record, but a later seed has one"),
        (and_, "confirmation", "is truncated or altered"),
    ],
}


@pytest.mark.parametrize("what", AFTERWARDS)
def test_damage_to_what_follows_the_search_is_found(apart: StudyFolder, what: str) -> None:
    """Confirmation, audit, test.json and model.npz are compared with the trials that they follow from."""
    assert_found(apart, AFTERWARDS[what])


@pytest.mark.slow
def test_a_longer_search_keeps_the_old_confirmation_valid(apart: StudyFolder) -> None:
    """After more trials, confirmation and final model of the shorter search are not wrong, and still checked."""
    netcore.run_study(load_spec("small.toml").with_trials(20), results="results", workers=2, confirm=False)
    write_journal(apart.committed(), apart)
    assert problems_of(apart) == {}
    change_model(apart)
    assert "weights_sha256 must be" in problems_of(apart)["final model"]


# Derived files


def change_tables(folder: StudyFolder) -> None:
    """Change values, rows and columns of each Parquet file."""
    changes: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "trials": lambda t: t.assign(value=t["value"] * (1 + 1e-15), state=t["state"].replace("pruned", "finished")),
        "curves": lambda t: t.iloc[1:],
        "confirmation": lambda t: t.drop(columns="digest"),
        "audit": lambda t: t.astype({"seconds": "float32"}),
        "weights": lambda t: t.assign(value=t["value"].mask(t.index == 5, 0.0)),
    }
    for table, change in changes.items():
        path = folder.path / f"{table}.parquet"
        change(pd.read_parquet(path)).to_parquet(path, index=False)


def log(change: Callable[[list[str]], list[str]]) -> Damage:
    """Return a change of the lines of optuna.log."""
    name = "optuna.log"
    return lambda f: (f.path / name).write_text("".join(change((f.path / name).read_text().splitlines(keepends=True))))


DERIVED: dict[str, list[Case]] = {
    "values": [
        (change_tables, "tables", r"trials\.parquet: trial 0, value: must be [\d.]+, .*, got [\d.]+ \(and \d more\)"),
        (and_, "tables", r"trial 9, state: must be 'pruned', as its record gives, got 'finished'"),
        (and_, "tables", r"curves\.parquet: must have \d+ rows"),
        (and_, "tables", r"confirmation\.parquet: must have the column digest \("),
        (and_, "tables", r"audit\.parquet: must have the column seconds \(float64\), got seconds \(float32\)"),
        (and_, "tables", r"weights\.parquet: trial 7, input .*, unit \d+, value: must be .*, got 0\.0"),
        (
            log(lambda lines: [*lines[:2], lines[2].replace('"state":1', '"state":2'), *lines[3:]]),
            "optuna.log",
            "trial 0: state must be 1, as its record gives, got 2",
        ),
    ],
    "lines and files": [
        (lambda f: (f.path / "trials.parquet").write_bytes(b"PAR1 not at all"), "tables", "is not a Parquet file"),
        (lambda f: (f.path / "curves.parquet").unlink(), "tables", r"curves\.parquet: is missing"),
        (log(lambda lines: lines[:-1]), "optuna.log", "optuna.log: must have 12 trials, got 11"),
    ],
    "the metric of optuna.log": [
        (
            log(lambda lines: [lines[0], *lines[2:]]),
            "optuna.log",
            "must begin with the study's name, direction and metric",
        )
    ],
    "optuna.log no journal": [(log(lambda _: ["{\n"]), "optuna.log", "is not a journal of Optuna")],
    "optuna.log lost": [(lambda f: (f.path / "optuna.log").unlink(), "optuna.log", "is missing")],
}


@pytest.mark.parametrize("what", DERIVED)
def test_damage_to_a_derived_file_is_found_and_nothing_else(apart: StudyFolder, what: str) -> None:
    """A changed table or optuna.log is reported with row and column; no other check fails."""
    cases = DERIVED[what]
    assert set(assert_found(apart, cases)) == {check for _, check, _ in cases}


# MLflow


def artifact(client: MlflowClient, run_id: str, name: str) -> Path:
    """Return the path of a run's artifact."""
    return Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / name


def own_run(client: MlflowClient) -> str:
    """Return the id of the study's own run."""
    return str(client.get_run(run_of(0)).data.tags["mlflow.parentRunId"])


def double_run(client: MlflowClient) -> None:
    """Write a run twice."""
    run = client.get_run(run_of(3))
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("netcore.")}
    client.create_run(run.info.experiment_id, tags={**tags, "mlflow.parentRunId": own_run(client)})


def stray_run(client: MlflowClient) -> None:
    """Write a run without a record."""
    run = client.get_run(run_of(1))
    client.create_run(run.info.experiment_id, tags={"netcore.study": "small", "netcore.trial": "77"})


def change_sent_model(client: MlflowClient) -> None:
    """Change the model that was logged."""
    (model,) = client.search_logged_models([client.get_run(run_of(0)).info.experiment_id])
    flip(Path(model.artifact_location.removeprefix("file://")) / "artifacts" / MODEL)


IN_MLFLOW: list[tuple[Callable[[MlflowClient], object], str]] = [
    (lambda c: c.delete_run(run_of(2)), r"trial 2: run is missing"),
    (double_run, r"trial 3: must have one run, got also run \w+"),
    (stray_run, r"netcore\.trial 77: has no record, got run \w+"),
    (
        lambda c: c.log_metric(run_of(0), "val_loss", 0.123, step=2, timestamp=1),
        r"trial 0: epoch 2: val_loss must be [\d.]+, as in its record, got .*0\.123",
    ),
    (
        lambda c: c.log_metric(run_of(4), "best_val_loss", 0.001),
        r"trial 4: metric best_val_loss must be none, got 0\.001",
    ),
    (lambda c: c.update_run(run_of(5), "RUNNING"), r"trial 5: status must be \w+, got RUNNING"),
    (lambda c: c.set_tag(run_of(6), "netcore.state", "finished"), r"trial 6: tag netcore\.state must be "),
    (lambda c: c.delete_run(run_of("course/1", tag="netcore.confirm")), r"course defaults, seed 1: run is missing"),
    (
        lambda c: flip(artifact(c, run_of(BEST), "weights/000007.npz")),
        r"trial 7: weights/000007\.npz must be the weights that its record states",
    ),
    (lambda c: c.update_run(own_run(c), "RUNNING"), r"the study's run: status must be FINISHED, got RUNNING"),
    (
        lambda c: flip(artifact(c, own_run(c), "trials.parquet")),
        r"trials\.parquet must be the file in the folder, got another",
    ),
    (change_sent_model, r"model\.npz: must be the file in the folder, got another"),
]


def test_damage_in_mlflow_is_found_and_nothing_else(study: StudyFolder) -> None:
    """Runs, metrics, tags and artifacts that were deleted, doubled or changed are reported; no other check fails."""
    client = connect()
    for damage, _ in IN_MLFLOW:
        damage(client)
    found = problems_of(study)
    assert list(found) == ["MLflow"], found
    for _, text in IN_MLFLOW:
        assert re.search(text, found["MLflow"]), (text, found["MLflow"])


def test_a_wrong_metric_of_the_study_s_own_run_is_repaired(study: StudyFolder) -> None:
    """MLflow cannot take a metric back: the deep sync of `--fix` logs the right value as a later one."""
    client = connect()
    client.log_metric(own_run(client), "trials_finished", 9, timestamp=2**42)
    assert re.search(r"study's run: metric trials_finished must be \d\.0, got 9\.0", problems_of(study)["MLflow"])
    sync(study, deep=True)
    assert problems_of(study) == {}


@pytest.mark.slow
def test_runs_on_further_pages_of_mlflow_are_read(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow returns runs in pages; sync and verify read all of them."""
    monkeypatch.setattr(held, "_RUNS_PER_PAGE", 5)
    assert sync(study) == 0
    connect().set_tag(run_of(0), "netcore.digest", "another")
    connect().delete_run(run_of(max(study.numbers())))
    assert "MLflow" in problems_of(study)
    assert sync(study) == 2


def test_a_study_that_was_never_synced_is_a_remark(apart: StudyFolder) -> None:
    """It is no problem, and verify makes no database."""
    (notice,) = checks_of(apart)["MLflow"].findings
    assert "the study was never synced to sqlite:///" in str(notice)
    assert not (apart.path / "none.db").exists()


def test_a_deleted_experiment_is_reported(study: StudyFolder) -> None:
    """It is not taken for a study that was never synced."""
    client = connect()
    client.delete_experiment(client.get_run(run_of(0)).info.experiment_id)
    assert "experiment: must not be deleted" in problems_of(study)["MLflow"]


def test_an_unreachable_mlflow_is_one_problem(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """All other checks are made; the password of the address is not shown."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hush@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    found = problems_of(study)
    assert list(found) == ["MLflow"]
    assert found["MLflow"].startswith("MLflow at http://127.0.0.1:1: refuses (")
    assert found["MLflow"].endswith(f"see that it runs, then `netcore verify {study.path}` again")
    assert "hush" not in found["MLflow"]


# The command


def bytes_of(folder: StudyFolder) -> dict[str, str]:
    """Hash all files that are not derived from records."""
    kept = [*folder.path.rglob("trials/*.npz"), *folder.weights.iterdir(), folder.test, folder.path / MODEL]
    kept += [folder.study_file, folder.resolved]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.mark.slow
def test_fix_rebuilds_derived_files_and_touches_no_record(study: StudyFolder, damaged: Path) -> None:
    """`verify --fix` reports what FAILED, rebuilds derived files and all that is wrong in MLflow, and checks again.

    It runs in a process of its own: MLflow remembers where the artifacts of a run are, here those of the original.
    """
    for damage_run, _ in IN_MLFLOW:
        damage_run(connect())
    for damage, _, _ in DERIVED["lines and files"]:
        damage(study)
    before = bytes_of(study)
    done = netcore_command("verify", "small", "--quick", "--fix", cwd=damaged)
    assert done.returncode == 0, done.stdout + done.stderr
    found, repaired = done.stdout.split("3 of 14 checks FAILED\n")
    assert re.search(r"^FAILED  tables        results/small/curves.parquet: is missing; ", found, re.MULTILINE)
    assert "FAILED" not in repaired
    assert repaired.endswith("14 checks, none failed\n")
    assert bytes_of(study) == before


def test_fix_cannot_repair_a_record(apart: StudyFolder) -> None:
    """The command reports it, ends with the record's error, and leaves the record as it is."""
    flip(apart.trials / "000004.npz")
    before = bytes_of(apart)
    done = CliRunner().invoke(commands, ["verify", "small", "--fix"], standalone_mode=False)
    assert "FAILED  records       results/small/trials/000004.npz: is truncated or altered" in done.stdout
    assert isinstance(done.exception, RecordError)
    assert str(done.exception).startswith("results/small/trials/000004.npz: is truncated or altered")
    assert bytes_of(apart) == before
