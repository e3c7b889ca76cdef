"""Replay proves a record by training again, to the last bit, and reports how a wrong record differs."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from commands import netcore_command
from synced import put, run_of, runs_in, with_job, with_metrics, with_result

from netcore.check.replay import Asked, Replayed, best_of, compared, confirmation_of, replay, sample_of, trials_of
from netcore.cli import commands
from netcore.errors import InputError
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialResult
from netcore.records.record import Record, pack_weights
from netcore.tracking.client import connect

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def study(damaged: Path) -> StudyFolder:
    """Return the folder of a study that may be damaged."""
    return StudyFolder(damaged / "results" / "small")


def best(folder: StudyFolder) -> Record:
    """Return the record of the best trial."""
    return best_of(folder)[0].record


def replayed(folder: StudyFolder, asked: list[Asked]) -> list[Replayed]:
    """Replay, with two workers."""
    return list(replay(folder.spec(), asked, workers=2))


def command(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(commands, list(map(str, arguments)), standalone_mode=False)


def test_every_trial_and_every_confirmation_is_repeated(study: StudyFolder) -> None:
    """Finished, pruned, diverged and failed trials, finalists and baselines: all equal, to the last bit."""
    asked = [*trials_of(study, study.numbers()), *confirmation_of(study)]
    assert {each.record.result.state for each in asked} == set(State)
    assert len(asked) == 12 + 12
    done = replayed(study, asked)
    assert {each.name for each in done} == {each.name for each in asked}
    assert [each for each in done if each.differences or each.environment or each.skipped] == []


def test_the_command_says_what_is_equal(study: StudyFolder, damaged: Path) -> None:
    """One line for each training, then the sum; exit code 0. It is the same for a study whose data are a file."""
    done = netcore_command("replay", "small", "--best", cwd=damaged)
    record = best(study)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"equal    trial {record.number}: finished, 6 epochs, digest {record.digest[:12]}…\n1 equal\n"
    assert command("replay", "filed", 0, 1).output.endswith("\n2 equal\n")


def test_a_changed_curve_is_found_with_epoch_and_amount(study: StudyFolder) -> None:
    """The report has the first epoch, the largest difference by metric, and how the machines differ; exit code 1."""
    record = best(study)
    third, fifth = record.result.curve[2], record.result.curve[4]
    other = with_metrics(record, 3, val_loss=third.val_loss + 0.25)
    other = with_metrics(other, 5, val_loss=fifth.val_loss - 0.5, train_accuracy=fifth.train_accuracy + 0.125)
    environment = {**record.provenance.environment, "numpy": "1.0"}
    put(study, replace(other, provenance=replace(other.provenance, environment=environment)))
    done = command("replay", "small", record.number)
    assert done.return_value == 1
    now = record.provenance.environment["numpy"]
    assert done.output == (
        f"DIFFERS  trial {record.number}: from epoch 3 on, by at most val_loss 0.5, train_accuracy 0.125\n"
        f'         environment: numpy was "1.0", is "{now}"\n'
        "1 DIFFERS\n"
    )


def test_changed_weights_are_found_with_their_amount(study: StudyFolder) -> None:
    """Where all metrics are equal and the weights are not, the report has the largest difference, if they are kept."""
    record = best(study)
    weights = study.read_weights(record)
    other = weights._replace(W2=weights.W2 + np.float32(0.5))
    again = Record.of(record.job, replace(record.result, weights=other), record.provenance)
    put(study, again)
    study.weights_file(record.number).write_bytes(pack_weights(other))
    (done,) = replayed(study, trials_of(study, (record.number,)))
    assert done.differences == ("the weights differ by at most 0.5",)
    study.drop_weights(record.number)
    (done,) = replayed(study, trials_of(study, (record.number,)))
    assert done.differences == ("the weights differ",)


DIFFERENCES: dict[int, tuple[Callable[[Record], Record], str]] = {
    0: (lambda r: with_result(r, state=State.PRUNED), "state was pruned, is finished"),
    3: (
        lambda r: with_result(r, curve=r.result.curve[:4], best_epoch=4),
        r"best_epoch was 4, is \d; 6 epochs, not 4",
    ),
    7: (lambda r: with_result(r, value=0.5), r"value was 0\.5, is 0\.\d+"),
    9: (
        lambda r: replace(r, digest="0" * 64),
        "all metrics are equal, but the record's digest is not the digest of its content",
    ),
    11: (
        lambda r: with_job(r, hyperparameters=r.job.hyperparameters._replace(reg=0.01)),
        "from epoch 1 on, by at most .*; the weights differ",
    ),
}
"""Changed records by trial, and how the replay describes the difference."""


def test_other_differences_are_reported(study: StudyFolder) -> None:
    """State, best epoch, value, digest, a shorter curve and other hyperparameters are each described."""
    for number, (change, _) in DIFFERENCES.items():
        put(study, change(study.read(number)))
    for done in replayed(study, trials_of(study, tuple(DIFFERENCES))):
        assert re.match(DIFFERENCES[done.record.number][1], "; ".join(done.differences))


def test_a_failure_of_the_machine_is_not_replayed(study: StudyFolder) -> None:
    """Such a trial is not trained but skipped, which is no failure; a worker that dies in a replay proves nothing."""
    record = best(study)
    died = Record.of(record.job, TrialResult(State.FAILED, failure="worker died", traceback="gone"), record.provenance)
    assert compared(Asked("trial", record), died).differences[0] == "it could not be trained here: gone"
    put(study, died)
    done = command("replay", "small", record.number)
    assert done.return_value == 0
    line = f"skipped  trial {record.number}: it failed (worker died), and failures do not repeat\n"
    assert done.output == f"{line}1 skipped\n"


def test_folds_are_compared_one_by_one(study: StudyFolder) -> None:
    """Two trainings of equal means are not equal if those of a fold are not."""
    record = best(study)
    curve = record.result.curve
    one, other = (with_result(record, folds=(curve, folds)) for folds in (curve, curve[::-1]))
    assert compared(Asked("trial", one), one).differences == ()
    assert "from epoch 1 on" in compared(Asked("trial", one), other).differences[0]


def test_a_sample_is_the_seed_s(study: StudyFolder) -> None:
    """It is the same every time, a larger one holds the smaller, and one that is too large is all."""
    samples = [[each.record.number for each in sample_of(study, size)] for size in (3, 3, 5, 99)]
    assert samples[0] == samples[1]
    assert set(samples[0]) < set(samples[2])
    assert samples[3] == list(range(12))
    assert samples[0] != [0, 1, 2]
    assert command("replay", "small", "--sample", 2).output.endswith("\n2 equal\n")


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["small", 99], "small: trial 99: has no record; there are 12, the last is 11"),
        (["filed", "--confirmed"], "filed: has no complete confirmation; run `netcore confirm` first"),
        (["smal", "--best"], "smal: there is no study of this name in results/; did you mean 'small'?"),
    ],
)
def test_a_missing_thing_is_one_line(arguments: list[object], line: str) -> None:
    """The error is one line (exit code 2)."""
    error = command("replay", *arguments).exception
    assert isinstance(error, InputError)
    assert str(error) == line


@pytest.mark.parametrize(
    "arguments", [[], ["small"], ["small", "0", "--best"], ["--all"], ["small", "--run", "x"], ["--run", "x", "--best"]]
)
def test_exactly_one_thing_is_asked_for(arguments: list[str]) -> None:
    """Any other combination of arguments shows the usage."""
    error = command("replay", *arguments).exception
    assert "give a STUDY and one of TRIAL" in str(error)


def test_a_study_without_a_winner_has_no_best(study: StudyFolder) -> None:
    """`--best` of a study without a finished trial is an error."""
    for record in study.committed():
        if record.result.state is State.FINISHED:
            put(study, with_result(record, state=State.PRUNED))
    with pytest.raises(InputError, match="no trial has finished, so there is no best one"):
        best_of(study)


@pytest.mark.slow
def test_other_data_are_refused(study: StudyFolder, damaged: Path) -> None:
    """Missing data, or data that differ from the record's, are one line (exit code 2), and nothing is trained."""
    filed = StudyFolder(study.path.parent / "filed")
    rng = np.random.default_rng(1)
    np.savez(damaged / "rows.npz", X=rng.standard_normal((90, 3)), y=np.arange(90) % 3)
    done = netcore_command("replay", "filed", "--all", cwd=damaged)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"error: trial 0: data rows: must have the digest [0-9a-f]{16}… of its record, got [0-9a-f]{16}…; "
        "restore the data that the study ran on\n",
        done.stderr,
    )
    (damaged / "rows.npz").unlink()
    with pytest.raises(InputError, match=r"rows\.npz: there is no such file or folder"):
        replayed(filed, trials_of(filed, filed.numbers()))


# From an MLflow run alone


@pytest.fixture
def elsewhere(damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder, with the address of MLflow and nothing else; delete the results folder."""
    shutil.rmtree(damaged / "results")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("elsewhere")
def test_every_run_is_enough() -> None:
    """Runs of every state, stopped by thresholds or not, and those of a confirmation."""
    runs = runs_in(connect(), "small", "tags.`netcore.trial` LIKE '%'")
    by_state = {run.data.tags["netcore.state"]: run for run in runs}
    assert set(by_state) == set(State)
    assert json.loads(by_state["pruned"].data.tags["netcore.thresholds"]) != {}
    ids = [run.info.run_id for run in by_state.values()]
    ids += [run_of(f"{name}/1", tag="netcore.confirm") for name in ("softmax", "course")]
    for run_id in ids:
        done = command("replay", "--run", run_id)
        assert (done.return_value, done.output.splitlines()[-1]) == (0, "1 equal"), done.output


@pytest.mark.usefixtures("elsewhere")
def test_a_metric_that_was_changed_in_mlflow_is_found() -> None:
    """With its epoch and by how much."""
    client, run_id = connect(), run_of(0)
    (was,) = [metric.value for metric in client.get_metric_history(run_id, "val_loss") if metric.step == 2]
    client.log_metric(run_id, "val_loss", was + 0.5, step=2, timestamp=2**42)
    done = command("replay", "--run", run_id)
    assert done.return_value == 1
    assert "small: trial 0: from epoch 2 on, by at most val_loss 0.5\n" in done.output


def test_data_are_looked_for_here(damaged: Path, elsewhere: Path) -> None:
    """Data files are found in the current folder; other data than the run's are refused (exit code 2)."""
    run_id = run_of(1, "filed")
    error = command("replay", "--run", run_id).exception
    assert re.match(r"rows\.npz: there is no such file or folder; put it into .*elsewhere or ", str(error))
    shutil.copy(damaged / "rows.npz", elsewhere)
    assert command("replay", "--run", run_id).output.endswith("\n1 equal\n")
    np.savez(elsewhere / "rows.npz", X=np.zeros((90, 3)) + np.arange(90)[:, None], y=np.arange(90) % 3)
    error = command("replay", "--run", run_id).exception
    assert isinstance(error, InputError)
    assert "filed: trial 1: data rows: must have the digest" in str(error)


@pytest.mark.usefixtures("elsewhere")
def test_a_run_that_does_not_hold_enough_is_one_line() -> None:
    """A setting that is not the study's, a missing tag, a missing file: the error is one line (exit code 2)."""
    client, run_id = connect(), run_of(0)
    parent = client.get_run(client.get_run(run_id).data.tags["mlflow.parentRunId"])
    file = Path(parent.info.artifact_uri.removeprefix("file://")) / "resolved.json"
    damages: dict[str, Callable[[], object]] = {
        r"param batch_size must be the one of its study's resolved\.json": lambda: file.write_text(
            file.read_text().replace('"batch_size": 20', '"batch_size": 21')
        ),
        r"does not hold a training \(KeyError: 'netcore\.thresholds'\); run `netcore sync`": lambda: client.delete_tag(
            run_id, "netcore.thresholds"
        ),
        r"its study's run must hold resolved\.json; run `netcore sync`": file.unlink,
    }
    for what, damage in damages.items():
        damage()
        error = command("replay", "--run", run_id).exception
        assert isinstance(error, InputError)
        assert re.search(what, str(error)), error


def test_a_wrong_run_id_is_one_line(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing run, the run of no training, and a missing MLflow database, which is not created."""
    parent = connect().get_run(run_of(0)).data.tags["mlflow.parentRunId"]
    for run_id, what in (("x" * 32, "there is no such run"), (parent, "must be the run of a training")):
        error = command("replay", "--run", run_id).exception
        assert isinstance(error, InputError)
        assert what in str(error)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/none.db")
    assert "there is no such run" in str(command("replay", "--run", parent).exception)
    assert list(elsewhere.iterdir()) == []
