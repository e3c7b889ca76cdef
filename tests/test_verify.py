"""Verification finds what is wrong, wherever it is, and nothing where nothing is: shown by real damage."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import netcore_command
from mlflow import MlflowClient
from synced import STUDY, run_of

import netcore
from netcore.check.verify import Check, mend, verify
from netcore.cli import commands
from netcore.core.sgd import Epoch
from netcore.data import Dataset
from netcore.final.model import MODEL, read_model
from netcore.question.spec import dataset_of, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob
from netcore.records.record import Record
from netcore.results.tables import write_tables
from netcore.run import Run
from netcore.tracking import sync as projection
from netcore.tracking.client import connect
from netcore.tracking.follow import sync
from netcore.tracking.journal import write_journal
from netcore.workers.trial import run_trial

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

CHECKS = [
    "records",
    "settings",
    "data",
    "outcomes",
    "digests",
    "weights",
    "history",
    "proposals",
    "confirmation",
    "audit",
    "net",
    "tables",
    "optuna.log",
    "MLflow",
]


@pytest.fixture
def study(damaged: Path) -> StudyFolder:
    """Give the folder of a study that may be damaged."""
    return StudyFolder(damaged / "results" / "small")


@pytest.fixture
def apart(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """Give the same where no MLflow has ever been."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{study.path}/none.db")
    return study


def checks_of(folder: StudyFolder, *, quick: bool = False) -> dict[str, Check]:
    """Make all checks."""
    return {check.name: check for check in verify(folder, quick=quick) if isinstance(check, Check)}


def problems_of(folder: StudyFolder) -> dict[str, str]:
    """Give what is wrong, by check."""
    return {name: "\n".join(map(str, check.problems)) for name, check in checks_of(folder).items() if check.problems}


def put(folder: StudyFolder, record: Record) -> None:
    """Put a record in the place of another, with a checksum that holds."""
    (folder.trials / f"{record.number:06d}.npz").write_bytes(record.to_bytes())


def number_of(folder: StudyFolder, state: State) -> int:
    """Give a trial that ended so: of those that finished, the best."""
    records = sorted(folder.committed(), key=lambda record: record.result.value)
    return next(record.number for record in records if record.result.state is state)


def with_figure(record: Record, epoch: int, **figures: Any) -> Record:  # noqa: ANN401  # floats
    """Give a record with other figures in one epoch; its digest is that of before."""
    curve = list(record.result.curve)
    curve[epoch - 1] = replace(curve[epoch - 1], **figures)
    return replace(record, result=replace(record.result, curve=tuple(curve)))


def write_files(folder: StudyFolder) -> None:
    """Make the tables and optuna.log as the records have it."""
    write_tables(netcore.load_study(folder.path), folder)
    write_journal(folder.committed(), folder)


def test_all_checks_hold(study: StudyFolder, damaged: Path) -> None:
    """Of a study that nobody touched, every check holds; so it does with data that are a file, and without extras."""
    assert list(checks_of(study)) == CHECKS
    assert problems_of(study) == {}
    assert problems_of(StudyFolder(damaged / "results" / "filed")) == {}


def test_runs_on_further_pages_of_mlflow_are_read(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow gives its runs in pages: all of them count, for the sync and for the checks."""
    monkeypatch.setattr(projection, "_RUNS_PER_PAGE", 5)
    assert sync(study) == 0
    assert problems_of(study) == {}
    connect().set_tag(run_of(0), "netcore.digest", "another")
    connect().delete_run(run_of(max(study.numbers())))
    assert "MLflow" in problems_of(study)
    assert sync(study) == 2


def test_the_study_has_everything(study: StudyFolder) -> None:
    """What follows is shown with every state, a confirmation, an audit and a net that shipped."""
    assert {record.result.state for record in study.committed()} == set(State)
    assert StudyFolder(study.path / "audit").numbers()
    assert (study.path / MODEL).exists()


# Records


def lose(folder: StudyFolder) -> None:
    """Lose a record that later trials knew of."""
    (folder.trials / "000005.npz").unlink()


def double(folder: StudyFolder) -> None:
    """Have a record twice, once under another trial's number."""
    shutil.copy(folder.trials / "000003.npz", folder.trials / "000012.npz")


def double_beside(folder: StudyFolder) -> None:
    """Have a record twice, once under a name of its own."""
    shutil.copy(folder.trials / "000003.npz", folder.trials / "000003 (copy).npz")


def swap(folder: StudyFolder) -> None:
    """Swap two records."""
    one, other = folder.trials / "000003.npz", folder.trials / "000007.npz"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def flip(folder: StudyFolder) -> None:
    """Flip a bit of a record."""
    path = folder.trials / "000004.npz"
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)


def change_curve(folder: StudyFolder, state: State = State.FINISHED) -> None:
    """Change a figure of a trial, and leave its digest."""
    record = folder.read(number_of(folder, state))
    put(folder, with_figure(record, 1, train_loss=record.result.curve[0].train_loss * (1 + 1e-12)))


def change_curve_and_digest(folder: StudyFolder) -> None:
    """Change a figure of a trial and make its digest right, as far as that goes without its weights."""
    record = folder.read(number_of(folder, State.FINISHED))
    other = with_figure(record, 1, train_loss=0.5)
    put(folder, replace(Record.of(other.job, other.result, other.provenance), weights_sha256=record.weights_sha256))


def change_value(folder: StudyFolder) -> None:
    """State another value than the curve's best."""
    record = folder.read(number_of(folder, State.PRUNED))
    put(folder, replace(record, result=replace(record.result, value=0.1)))


def change_state(folder: StudyFolder) -> None:
    """Call a pruned trial finished."""
    record = folder.read(number_of(folder, State.PRUNED))
    put(folder, replace(record, result=replace(record.result, state=State.FINISHED)))


def change_rate(folder: StudyFolder) -> None:
    """State another learning rate than follows from the hyperparameters."""
    record = folder.read(number_of(folder, State.DIVERGED))
    put(folder, with_figure(record, 2, learning_rate=0.5))


def change_ceilings(folder: StudyFolder) -> None:
    """State thresholds that would have stopped a trial which went on."""
    record = folder.read(number_of(folder, State.FINISHED))
    put(folder, replace(record, job=replace(record.job, thresholds={2: 1e-9})))


def change_job(folder: StudyFolder, **changes: Any) -> None:  # noqa: ANN401  # any field of a job
    """State another job."""
    record = folder.read(4)
    put(folder, replace(record, job=replace(record.job, **changes)))


def change_weights(folder: StudyFolder) -> None:
    """Change one of the weights that are kept."""
    path = folder.weights_file(number_of(folder, State.FINISHED))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)


def lose_weights(folder: StudyFolder) -> None:
    """Lose the weights of one of the best."""
    folder.drop_weights(number_of(folder, State.FINISHED))


def swap_states_of_study_file(folder: StudyFolder) -> None:
    """Change the study file."""
    folder.study_file.write_text(STUDY.replace("epochs = 6", "epochs = 7"))


def change_resolved(folder: StudyFolder, *keys: str, value: object) -> None:
    """Change resolved.json."""
    resolved = json.loads(folder.resolved.read_text())
    inner = resolved
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    folder.resolved.write_text(json.dumps(resolved))


DAMAGE: dict[str, tuple[Callable[[StudyFolder], object], str, str]] = {
    "a record lost": (lose, "records", "trial 5: has no record, though a later trial knew of it"),
    "a lost record, in the tables": (lose, "tables", "trials.parquet: must have 11 rows"),
    "a lost record, in optuna.log": (lose, "optuna.log", "trial 5: has no record"),
    "a record under another number": (double, "records", r"must be the record of trial 12, got that of trial 3"),
    "a record twice": (double_beside, "records", r"000003 \(copy\)\.npz: is no name of a record"),
    "records swapped": (swap, "records", "must be the record of trial 3, got that of trial 7"),
    "a bit flipped": (flip, "records", r"000004\.npz: is truncated or altered"),
    "a curve changed": (change_curve, "digests", "must have the digest of its content"),
    "a changed curve, in the tables": (
        change_curve,
        "tables",
        r"curves\.parquet: trial \d+, epoch 1, train_loss: must",
    ),
    "a curve changed whose weights are not kept": (
        partial(change_curve, state=State.PRUNED),
        "tables",
        r"curves\.parquet: trial \d+, epoch 1, train_loss: must",
    ),
    "curve and digest changed": (change_curve_and_digest, "history", "must have known trials 0 to . as they are"),
    "another digest, with weights": (change_curve_and_digest, "digests", "must have the digest of its content"),
    "another digest, in optuna.log": (change_curve_and_digest, "optuna.log", r"user_attrs must be .*netcore\.digest"),
    "a value changed": (change_value, "outcomes", r"value must be [\d.]+, as its curve says, got 0\.1"),
    "a state changed": (change_state, "outcomes", "state must be pruned, as its curve says, got finished"),
    "a learning rate changed": (change_rate, "outcomes", r"epoch 2: learning_rate must be .*, got 0\.5"),
    "thresholds changed": (change_ceilings, "outcomes", "state must be one of an earlier end, as its curve says"),
    "thresholds changed, asked again": (change_ceilings, "proposals", "thresholds is {2: 1e-09} where"),
    "another seed": (partial(change_job, seed=7), "settings", "trial 4: .*question, got seed is 7 where 0 is asked"),
    "other data": (partial(change_job, data_digest="0" * 64), "settings", "data_digest is '0000"),
    "another step": (partial(change_job, step="other"), "settings", "step is 'other' where 'compiled 2' is asked"),
    "another history": (
        partial(change_job, history_hash="0" * 64),
        "history",
        "trial 4: must have known trials 0 to 2",
    ),
    "weights changed": (change_weights, "weights", r"is not the weights file of trial \d"),
    "weights lost": (lose_weights, "weights", "must be kept and is not there"),
    "study file changed": (swap_states_of_study_file, "settings", "got training.epochs was 7, is 6"),
    "study file unreadable": (lambda f: f.study_file.write_text("["), "settings", "is not valid TOML"),
    "resolved.json unreadable": (lambda f: f.resolved.write_text("["), "settings", "is missing or not whole"),
    "resolved settings changed": (
        lambda f: change_resolved(f, "settings", "training", "batch_size", value=21),
        "settings",
        "trial 0: must be of the study's question, got training.batch_size was 20, is 21",
    ),
    "another sampler": (
        lambda f: change_resolved(f, "sampler_arguments", "n_startup_trials", value=3),
        "settings",
        "sampler_arguments.n_startup_trials was 3, is 10",
    ),
    "another data digest": (
        lambda f: change_resolved(f, "data", "digest", value="0" * 64),
        "data",
        "data: digest: must be 0000",
    ),
    "other rows": (
        lambda f: change_resolved(f, "data", "rows", "train", value=91),
        "data",
        "data: rows: must be .*91.*, got .*90",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_where_it_is(apart: StudyFolder, what: str) -> None:
    """What was changed behind the study's back is named by the check whose business it is."""
    damage, check, text = DAMAGE[what]
    damage(apart)
    found = problems_of(apart)
    assert check in found, found
    assert re.search(text, found[check]), found[check]


def retrained(folder: StudyFolder, number: int, **changes: object) -> None:
    """Replace a trial by another that was really trained, with a digest that is right, and make the tables of it."""
    record = folder.read(number)
    job: TrialJob = replace(record.job, **changes)  # type: ignore[arg-type]
    dataset: Dataset = dataset_of(folder.spec())
    put(folder, Record.of(job, run_trial(job, dataset), record.provenance, dataset.preprocessing))
    folder.drop_weights(number)
    shutil.rmtree(folder.path / "audit")
    write_tables(netcore.load_study(folder.path), folder)


def test_only_asking_again_finds_a_trial_that_was_never_proposed(apart: StudyFolder) -> None:
    """A last trial of other hyperparameters, trained and recorded by the rules, is found by nothing else."""
    was = apart.read(11).job.hyperparameters
    retrained(apart, 11, hyperparameters=was._replace(learning_rate=0.012))
    write_journal(apart.committed(), apart)
    found = problems_of(apart)
    assert set(found) == {"proposals"}
    assert found["proposals"] == (
        "trial 11: must be the trial that sampler and stopping rule ask for, got "
        f"learning_rate is 0.012 where {was.learning_rate!r} is asked"
    )
    quick = checks_of(apart, quick=True)
    assert not any(check.problems for check in quick.values())
    assert "left out" in str(quick["proposals"].remarks[0])


def test_after_a_trial_that_was_never_proposed_the_others_are_still_asked(apart: StudyFolder) -> None:
    """One wrong proposal is one finding: later trials are asked knowing what the records say."""
    was = apart.read(8).job.hyperparameters  # trials 10 and 11 would be the first to know of it
    retrained(apart, 8, hyperparameters=was._replace(learning_rate=0.012, hidden_size=4))
    found = problems_of(apart)["proposals"].splitlines()
    assert found[0].startswith("trial 8: ")
    assert not any(line.startswith("trial 9: ") for line in found)


def test_a_proposal_outside_the_space_does_not_end_the_checks(apart: StudyFolder) -> None:
    """It is named, and what cannot be asked after it is not."""
    was = apart.read(6).job.hyperparameters
    retrained(apart, 6, hyperparameters=was._replace(hidden_size=5))
    found = problems_of(apart)
    assert "trial 6: " in found["proposals"]
    assert "must be within the study's [space], got " in found["optuna.log"]


def test_an_interrupted_study_is_verified_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said how far that is; its tables, if older, are behind and not wrong; damage is found all the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(STUDY)
    with Run(load_spec("small.toml"), results="results", workers=1) as run:
        for step in run.search():
            if isinstance(step, Record) and step.number == 5:
                break
    folder = StudyFolder(Path("results/small"))
    checks = checks_of(folder)
    assert not any(check.problems for check in checks.values())
    assert re.match(r"interrupted: [67] of 12 trials", str(checks["records"].remarks[0]))
    assert "is not there yet" in str(checks["tables"].remarks[0])
    write_files(folder)
    assert not checks_of(folder)["tables"].findings
    with Run(load_spec("small.toml"), results="results", workers=1) as run:
        for step in run.search():
            if isinstance(step, Record) and step.number == 9:
                break
    checks = checks_of(folder)
    assert not any(check.problems for check in checks.values())
    assert "trials behind" in str(checks["tables"].remarks[0])
    assert "trials behind" in str(checks["optuna.log"].remarks[0])
    change_curve(folder)
    assert {"digests", "tables"} <= problems_of(folder).keys()


def test_what_no_netcore_has_written_ends_in_a_finding(apart: StudyFolder) -> None:
    """A record whose checksum holds over something else than numbers is answered like any damage."""
    was = apart.read(6).job.hyperparameters
    absurd: dict[str, Any] = {"learning_rate": "fast", "reg": None}
    change_job(apart, hyperparameters=was._replace(**absurd), thresholds={0: None, 2: "low"})
    found = problems_of(apart)
    assert "does not hold a record" in found["records"]


# What came after the search


def change_test(folder: StudyFolder, **facts: object) -> None:
    """Change test.json."""
    folder.test.write_text(json.dumps(json.loads(folder.test.read_text()) | facts))


def change_model(folder: StudyFolder) -> None:
    """Ship another net."""
    model = read_model(folder.path / MODEL)
    params = model.params._replace(b2=model.params.b2 + np.float32(0.001))
    (folder.path / MODEL).write_bytes(replace(model, params=params).to_bytes())


def promise_more(folder: StudyFolder) -> None:
    """Let the model say of itself that more was confirmed."""
    model = read_model(folder.path / MODEL)
    facts = {**model.facts, "confirmed": {**model.facts["confirmed"], "val_accuracy": 0.99}}
    (folder.path / MODEL).write_bytes(replace(model, facts=facts).to_bytes())


def change_confirmed(folder: StudyFolder, name: str, number: int, **changes: Any) -> None:  # noqa: ANN401
    """Change the job of a record of the confirmation."""
    below = StudyFolder(folder.path / "confirm" / name)
    record = below.read(number)
    put(below, replace(record, job=replace(record.job, **changes)))


def change_confirmed_curve(folder: StudyFolder) -> None:
    """Change the value of a record of the confirmation, and its curve with it."""
    below = StudyFolder(folder.path / "confirm" / "course")
    record = below.read(1)
    put(below, with_figure(record, 6, val_loss=0.01))


def lose_shipped(folder: StudyFolder) -> None:
    """Lose the record of the net that ships."""
    test = json.loads(folder.test.read_text())
    (folder.path / "confirm" / f"trial-{test['trial']:06d}" / "trials" / f"{test['seed']:06d}.npz").unlink()


def change_audited(folder: StudyFolder) -> None:
    """Let an audited trial begin otherwise than the trial."""
    below = StudyFolder(folder.path / "audit")
    record = below.read(below.numbers()[0])
    put(below, with_figure(record, 1, train_accuracy=0.5))


AFTERWARDS: dict[str, tuple[Callable[[StudyFolder], object], str, str]] = {
    "more rows right": (
        lambda f: change_test(f, right=30, accuracy=1.0),
        "net",
        r"test\.json: right must be 29, got 30",
    ),
    "another confusion": (lambda f: change_test(f, confusion=[[1]]), "net", r"test\.json: rows must be 1, got 30"),
    "fewer readings": (lambda f: change_test(f, readings=0), "net", r'model\.npz: test must be .*"readings": 0'),
    "another promise": (promise_more, "net", r'model\.npz: confirmed must be .*, got .*"val_accuracy": 0\.99'),
    "no confusion": (lambda f: change_test(f, confusion="x"), "net", r"test\.json: is missing or not whole"),
    "another seed": (lambda f: change_test(f, seed=7), "net", "seed must be "),
    "another digest": (lambda f: change_test(f, digest="0" * 64), "net", r"test\.json: digest must be "),
    "test.json unreadable": (lambda f: f.test.write_text("["), "net", r"test\.json: is missing or not whole"),
    "another net": (change_model, "net", r"model\.npz: must have the weights that its record states"),
    "model cut short": (lambda f: (f.path / MODEL).write_bytes(b""), "net", r"model\.npz: is truncated or altered"),
    "its record lost": (lose_shipped, "net", r"must speak of a training that has a record"),
    "a finalist's job": (
        lambda f: change_confirmed(f, f"trial-{number_of(f, State.FINISHED):06d}", 1, epochs=5),
        "confirmation",
        r"trial-\d+, seed 1: must be the training that is asked for, got epochs is 5 where",
    ),
    "a baseline's job": (
        lambda f: change_confirmed(f, "softmax", 2, seed=1),
        "confirmation",
        "softmax, seed 2: must be the training that is asked for, got seed is 1 where 0 is asked",
    ),
    "a pilot's job": (
        lambda f: change_confirmed(f, "softmax-pilots", 2, seed=1),
        "confirmation",
        "softmax-pilots, 2: must be the training that is asked for",
    ),
    "a curve": (change_confirmed_curve, "confirmation", "course, seed 1: value must be 0.01, as its curve says"),
    "a seed lost": (
        lambda f: (f.path / "confirm/course/trials/000001.npz").unlink(),
        "confirmation",
        "course, seed 1: has no record, though a later seed has",
    ),
    "a record cut short": (
        lambda f: (f.path / "confirm/course/trials/000001.npz").write_bytes(b""),
        "confirmation",
        "is truncated or altered",
    ),
    "an audited curve": (change_audited, "audit", "must begin with the curve of the stopped trial"),
}


@pytest.mark.parametrize("what", AFTERWARDS)
def test_damage_to_what_came_after_is_found(apart: StudyFolder, what: str) -> None:
    """Confirmation, audit, test.json and model.npz are held against the trials that they follow from."""
    damage, check, text = AFTERWARDS[what]
    damage(apart)
    found = problems_of(apart)
    assert check in found, found
    assert re.search(text, found[check]), found[check]


def test_a_longer_search_does_not_spoil_the_old_confirmation(apart: StudyFolder) -> None:
    """Until it is confirmed anew, what is there is that of the shorter search: said, and not wrong."""
    netcore.run_study(load_spec("small.toml").with_trials(20), results="results", workers=2, confirm=False)
    write_journal(apart.committed(), apart)
    checks = checks_of(apart)
    assert {name: check.problems for name, check in checks.items() if check.problems} == {}


# Views


def edit(folder: StudyFolder, table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a table on the disk."""
    path = folder.path / f"{table}.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def edit_log(folder: StudyFolder, change: Callable[[list[str]], list[str]]) -> None:
    """Change optuna.log."""
    path = folder.path / "optuna.log"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def last_digit(lines: list[str]) -> list[str]:
    """Change one of the last digits of a value that Optuna was told: the very last may be no other number."""
    place, found = next(
        (place, found) for place, line in enumerate(lines) if (found := re.search(r'"value":(\d\.\d+),', line))
    )
    digit = str((int(found[1][-3]) + 1) % 10)
    lines[place] = lines[place].replace(found[0], f'"value":{found[1][:-3]}{digit}{found[1][-2:]},')
    return lines


VIEWS: dict[str, tuple[Callable[[StudyFolder], object], str, str]] = {
    "a value": (
        lambda f: edit(f, "trials", lambda t: t.assign(value=t["value"] * (1 + 1e-15))),
        "tables",
        r"trials\.parquet: trial 0, value: must be [\d.]+, as its record says, got [\d.]+ \(and \d more\)",
    ),
    "a state": (
        lambda f: edit(f, "trials", lambda t: t.assign(state=t["state"].replace("pruned", "finished"))),
        "tables",
        r"trials\.parquet: trial \d+, state: must be 'pruned', as its record says, got 'finished'",
    ),
    "a row lost": (lambda f: edit(f, "curves", lambda t: t.iloc[1:]), "tables", r"curves\.parquet: must have \d+ rows"),
    "a column lost": (
        lambda f: edit(f, "confirmation", lambda t: t.drop(columns="digest")),
        "tables",
        r"confirmation\.parquet: must have the columns candidate, ",
    ),
    "another type": (
        lambda f: edit(f, "audit", lambda t: t.astype({"seconds": "float32"})),
        "tables",
        r"audit\.parquet: seconds: must be of type float64, got float32",
    ),
    "a weight": (
        lambda f: edit(f, "weights", lambda t: t.assign(value=t["value"].mask(t.index == 5, 0.0))),
        "tables",
        r"weights\.parquet: trial \d+, input .*, unit \d+, value: must be .*, got 0\.0",
    ),
    "no Parquet": (
        lambda f: (f.path / "trials.parquet").write_bytes(b"PAR1 not at all"),
        "tables",
        r"trials\.parquet: is no Parquet file",
    ),
    "a table lost": (lambda f: (f.path / "trials.parquet").unlink(), "tables", r"trials\.parquet: is missing"),
    "a line of optuna.log": (lambda f: edit_log(f, last_digit), "optuna.log", r"trial \d+: values must be "),
    "optuna.log's first trial lost": (
        lambda f: edit_log(f, lambda lines: lines[:2] + lines[3:]),
        "optuna.log",
        "trial 11: is missing",
    ),
    "optuna.log's last line lost": (
        lambda f: edit_log(f, lambda lines: lines[:-1]),
        "optuna.log",
        "trial 11: is missing",
    ),
    "optuna.log no log": (lambda f: edit_log(f, lambda _: ["{\n", "{\n"]), "optuna.log", "cannot be loaded by Optuna"),
    "optuna.log lost": (lambda f: (f.path / "optuna.log").unlink(), "optuna.log", "is missing"),
}


@pytest.mark.parametrize("what", VIEWS)
def test_damage_to_a_file_that_is_a_view_is_found_and_nothing_else(apart: StudyFolder, what: str) -> None:
    """A table or optuna.log that was changed is named, with row and column; no other check says anything."""
    damage, check, text = VIEWS[what]
    damage(apart)
    found = problems_of(apart)
    assert list(found) == [check], found
    assert re.search(text, found[check]), found[check]


def test_a_study_that_was_never_synced_is_said_so(apart: StudyFolder) -> None:
    """It is no failure, and no database is made by looking."""
    (remark,) = checks_of(apart)["MLflow"].findings
    assert "the study was never synced to sqlite:///" in str(remark)
    assert not (apart.path / "none.db").exists()


def change_history(client: MlflowClient) -> None:
    """Log a metric once more, at an epoch that has one."""
    client.log_metric(run_of(0), "val_loss", 0.123, step=2, timestamp=1)


def artifact(client: MlflowClient, run_id: str, name: str) -> Path:
    """Give the place of a run's file."""
    return Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / name


def change_artifact(client: MlflowClient) -> None:
    """Change a file of the study's own run."""
    with artifact(client, own_run(client), "trials.parquet").open("ab") as file:
        file.write(b" ")


def change_sent_weights(client: MlflowClient) -> None:
    """Change the weights of a run."""
    run = client.get_run(run_of(0))
    (path,) = artifact(client, run.info.run_id, "weights").iterdir()
    path.write_bytes(path.read_bytes()[::-1])


def change_sent_model(client: MlflowClient) -> None:
    """Change the model that was logged."""
    (model,) = client.search_logged_models([client.get_run(run_of(0)).info.experiment_id])
    path = Path(model.artifact_location.removeprefix("file://")) / "artifacts" / MODEL
    path.write_bytes(path.read_bytes()[::-1])


def own_run(client: MlflowClient) -> str:
    """Give the id of the study's own run."""
    return str(client.get_run(run_of(0)).data.tags["mlflow.parentRunId"])


def failed_run(client: MlflowClient) -> str:
    """Give the id of the run of a trial that failed."""
    experiment = client.get_run(run_of(0)).info.experiment_id
    return str(client.search_runs([experiment], "tags.`netcore.state` = 'failed'")[0].info.run_id)


def double_run(client: MlflowClient) -> None:
    """Have a run twice."""
    run = client.get_run(run_of(3))
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("netcore.")}
    client.create_run(run.info.experiment_id, tags={**tags, "mlflow.parentRunId": own_run(client)})


def stray_run(client: MlflowClient) -> None:
    """Have a run of no record."""
    run = client.get_run(run_of(1))
    client.create_run(run.info.experiment_id, tags={"netcore.study": "small", "netcore.trial": "77"})


IN_MLFLOW: dict[str, tuple[Callable[[MlflowClient], object], str]] = {
    "a run lost": (lambda c: c.delete_run(run_of(2)), r"trial 2: must have a run, got none"),
    "a run twice": (double_run, r"trial 3: must have one run, and none where it has no record, got run \w+ besides"),
    "a run of nothing": (stray_run, r"netcore\.trial 77: must have one run, and none where it has no record"),
    "a metric": (change_history, r"trial 0, epoch 2: val_loss must be [\d.]+, as its record says, got .*0\.123"),
    "a metric of no record": (
        lambda c: c.log_metric(failed_run(c), "best_val_loss", 0.001),
        r"trial \d+: metric best_val_loss must not be there: its record gives none, got 0\.001",
    ),
    "a run RUNNING": (lambda c: c.update_run(run_of(5), "RUNNING"), r"trial 5: status must be \w+, got RUNNING"),
    "a tag": (lambda c: c.set_tag(run_of(6), "netcore.state", "finished"), r"trial 6: tag netcore\.state must be "),
    "a confirmation's run": (
        lambda c: c.delete_run(run_of("course/1", tag="netcore.confirm")),
        r"course defaults, seed 1: must have a run",
    ),
    "weights": (change_sent_weights, r"trial 0: weights/000000\.npz must be the weights that its record states"),
    "the study RUNNING": (
        lambda c: c.update_run(own_run(c), "RUNNING"),
        r"the study's own run: status must be FINISHED, got RUNNING",
    ),
    "the study's metric": (
        lambda c: c.log_metric(own_run(c), "trials_finished", 9, timestamp=2**42),
        r"the study's own run: metric trials_finished must be \d\.0, got 9\.0",
    ),
    "a file": (change_artifact, r"trials\.parquet: must be the file that was sent"),
    "the model": (change_sent_model, r"model\.npz: must be as it is in the folder"),
}


@pytest.mark.parametrize("what", IN_MLFLOW)
def test_damage_in_mlflow_is_found_and_nothing_else(study: StudyFolder, what: str) -> None:
    """Whatever was deleted, doubled, changed or left open in MLflow is named; no other check says anything."""
    damage, text = IN_MLFLOW[what]
    damage(connect())
    found = problems_of(study)
    assert list(found) == ["MLflow"], found
    assert re.search(text, found["MLflow"]), found["MLflow"]


def test_a_deleted_experiment_is_not_taken_for_one_that_never_was(study: StudyFolder) -> None:
    """It is named, with the remedy."""
    client = connect()
    client.delete_experiment(client.get_run(run_of(0)).info.experiment_id)
    assert "experiment: must not be deleted" in problems_of(study)["MLflow"]


def bytes_of(folder: StudyFolder) -> dict[str, str]:
    """Hash all that is no view."""
    kept = [*folder.path.rglob("trials/*.npz"), *folder.weights.iterdir(), folder.test, folder.path / MODEL]
    kept += [folder.study_file, folder.resolved]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_fix_mends_the_views_and_touches_no_record(study: StudyFolder, damaged: Path) -> None:
    """After damage to every view the command says what FAILED, makes them anew, and all is well, records untouched."""
    own = own_run(connect())
    for name in [name for name in IN_MLFLOW if name != "the study's metric"]:  # that alone costs the study its own run
        IN_MLFLOW[name][0](connect())
    for what in ("a value", "a table lost", "a line of optuna.log"):
        VIEWS[what][0](study)
    before = bytes_of(study)
    done = netcore_command("verify", "small", "--quick", "--fix", cwd=damaged)
    assert done.returncode == 0, done.stdout + done.stderr
    found, mended = done.stdout.split("3 of 14 checks FAILED\n")
    assert re.search(r"^FAILED  tables        results/small/trials.parquet: is missing; ", found, re.MULTILINE)
    assert re.search(r"^FAILED  MLflow        and \d more$", found, re.MULTILINE)
    assert "FAILED" not in mended
    assert connect().get_run(own).info.lifecycle_stage == "active"
    assert mended.endswith("14 checks, none failed\n")
    assert bytes_of(study) == before


def test_a_study_s_own_run_that_is_wrong_makes_way(study: StudyFolder) -> None:
    """MLflow's metrics cannot be changed back: the run is deleted, for a sync to write anew, whatever else is wrong."""
    client = connect()
    own = own_run(client)
    for name in ("the study's metric", "a file", "the model"):
        IN_MLFLOW[name][0](client)
    mend(study)
    assert client.get_run(own).info.lifecycle_stage == "deleted"
    assert client.get_run(run_of(0)).info.lifecycle_stage == "active"


def test_fix_cannot_mend_a_record(apart: StudyFolder) -> None:
    """The command says so, exit code 1, and leaves it as it is."""
    flip(apart)
    before = bytes_of(apart)
    done = CliRunner().invoke(commands, ["verify", "small", "--fix"], standalone_mode=False)
    assert done.return_value == 1
    assert "FAILED  records       results/small/trials/000004.npz: is truncated or altered" in done.stdout
    assert "error: results/small/trials/000004.npz: is truncated or altered" in done.stderr
    assert bytes_of(apart) == before


def test_an_mlflow_that_is_away_is_one_failed_line(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the rest is checked."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hush@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    checks = checks_of(study)
    (problem,) = checks["MLflow"].problems
    assert str(problem).startswith("MLflow at http://127.0.0.1:1: refuses (")
    assert problem.remedy == f"see that it runs, then `netcore verify {study.path}` again"
    assert "hush" not in str(problem)
    assert [name for name, check in checks.items() if check.problems] == ["MLflow"]


def test_an_epoch_of_folds_is_their_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With folds everything holds too, and a mean that is none is found."""
    monkeypatch.chdir(tmp_path)
    text = STUDY.replace('source = "iris"', 'source = "iris"\nfolds = 3').replace("trials = 12", "trials = 4")
    (tmp_path / "small.toml").write_text(text.replace("max_failures", 'weights = "all"\nmax_failures'))
    folder = StudyFolder(Path("results/small"))
    netcore.run_study("small.toml", results="results", workers=1)
    write_journal(folder.committed(), folder)
    assert problems_of(folder) == {}
    record = folder.read(number_of(folder, State.FINISHED))
    curve: list[Epoch] = list(record.result.curve)
    put(folder, with_figure(record, 2, train_loss=curve[1].train_loss * 1.5))
    assert re.search("epoch 2: train_loss must be the folds' mean", problems_of(folder)["outcomes"])
