"""MLflow and Optuna's journal hold what the records say: read back with their own clients, from real databases."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
from commands import netcore_command
from conftest import Mixed, fingerprint, present, write_mixed
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from synced import runs_in

import netcore
from netcore.records.folder import StudyFolder
from netcore.tracking import client
from netcore.tracking.follow import Follower, sync

STATUS = {"finished": "FINISHED", "pruned": "KILLED", "diverged": "KILLED", "failed": "FAILED"}
TOLD = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
HYPERPARAMETERS = ["learning_rate", "hidden_size", "reg", "learning_rate_decay"]
CURVES = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which `netcore run` has run the mixed study; not to be changed."""
    folder = tmp_path_factory.mktemp("tracked")
    write_mixed(folder)
    done = netcore_command("run", "mixed.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "40 trials in sqlite:///mlflow.db" in done.stdout
    assert {path.name for path in folder.iterdir() if "mlflow" in path.name} == {"mlflow.db"}
    return folder


@pytest.fixture
def copied(tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the tracked folder, to be changed; its runs' artifacts are still those of the original."""
    shutil.copytree(tracked, tmp_path / "copy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/copy/mlflow.db")
    return tmp_path / "copy"


def study_of(folder: Path) -> StudyFolder:
    """Return the mixed study's folder."""
    return StudyFolder(folder / "results" / "mixed")


def all_runs(folder: Path, view: int = ViewType.ALL) -> list[Run]:
    """Read all runs of the mixed study with MLflow's own client."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return sorted(runs_in(client, "mixed", view=view), key=lambda run: run.info.run_id)


def runs_of(folder: Path) -> tuple[MlflowClient, Run, dict[int, Run]]:
    """Read the study's own run, and the trials' by number."""
    found = all_runs(folder, ViewType.ACTIVE_ONLY)
    trials = [run for run in found if "netcore.trial" in run.data.tags]
    (parent,) = [run for run in found if not {"netcore.trial", "netcore.confirm"} & run.data.tags.keys()]
    by_number = {int(run.data.tags["netcore.trial"]): run for run in trials}
    assert len(by_number) == len(trials), "a trial has two runs"
    return MlflowClient(f"sqlite:///{folder}/mlflow.db"), parent, by_number


def test_the_command_gives_the_tables_of_the_function(tracked: Path, mixed: Mixed) -> None:
    """`netcore run` and `run_study` give equal tables: tracking takes no part in the numbers."""
    assert fingerprint(netcore.load_study(tracked / "results" / "mixed")) == fingerprint(mixed[2])


def test_every_trial_in_mlflow_equals_its_rows(tracked: Path) -> None:
    """Params, best metrics, state, status, times and digest of each run are those of the trials table.

    Its metric histories are those of the curves table, where what is not finite is NaN.
    """
    tables = netcore.load_study(tracked / "results" / "mixed")
    client, parent, runs = runs_of(tracked)
    assert sorted(runs) == tables.trials["trial"].tolist()
    for row in tables.trials.to_dict("records"):
        run = runs[row["trial"]]
        assert {name: float(run.data.params[name]) for name in HYPERPARAMETERS} == {n: row[n] for n in HYPERPARAMETERS}
        assert run.info.status == STATUS[row["state"]]
        tags = {"state": row["state"], "study": "mixed", "digest": row["digest"]}
        assert {name: run.data.tags[f"netcore.{name}"] for name in tags} == tags
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert abs(run.info.start_time - row["started"].timestamp() * 1000) <= 1
        assert abs(run.info.end_time - row["ended"].timestamp() * 1000) <= 1
        best = {name: run.data.metrics.get(f"best_{name}") for name in CURVES}
        trained = not pd.isna(row["best_epoch"])
        assert best == ({name: row[name] for name in CURVES} if trained else dict.fromkeys(CURVES))
        assert run.data.metrics.get("best_epoch") == (row["best_epoch"] if trained else None)
        if row["state"] == "failed":
            assert "Unable to allocate" in run.data.tags["mlflow.note.content"]
        expected = tables.curves[tables.curves["trial"] == row["trial"]].set_index("epoch")[CURVES]
        history = {
            name: {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
            for name in CURVES
        }
        found = pd.DataFrame(history, columns=CURVES).rename_axis("epoch").sort_index()
        expected = expected.mask(expected.abs() == float("inf"))
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False, check_index_type=False)


def test_the_trainings_of_a_confirmation_are_runs_of_their_own_kind(tracked: Path) -> None:
    """Each candidate and seed has one run, with its metrics, under the study's run; none of them is a trial."""
    _, parent, _ = runs_of(tracked)
    runs = {run.info.run_name: run for run in all_runs(tracked) if "netcore.confirm" in run.data.tags}
    table = netcore.load_study(tracked / "results" / "mixed").confirmation
    for row in table.to_dict("records"):
        run = runs.pop(f"{row['candidate']}, seed {row['seed']}")
        assert "netcore.trial" not in run.data.tags
        assert run.data.tags["netcore.digest"] == row["digest"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        if row["state"] == "finished":
            assert run.data.metrics["val_loss"] == row["val_loss"]
    assert (len(table), runs) == (6, {})


def test_the_studys_run_holds_what_the_study_made(tracked: Path) -> None:
    """It has the study file, tables, plots and report, the results as metrics, and a description."""
    client, parent, runs = runs_of(tracked)
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert names >= {"study.toml", "resolved.json", "report.html", "trials.parquet", "curves.parquet", "plots"}
    plots = {item.path for item in client.list_artifacts(parent.info.run_id, "plots")}
    assert plots >= {"plots/loss_curves.png", "plots/loss_curves.svg"}
    assert parent.info.status == "FINISHED"
    test = json.loads((tracked / "results" / "mixed" / "test.json").read_text())
    metrics = parent.data.metrics
    assert metrics["test_accuracy"] == test["accuracy"]
    assert metrics["best_val_loss"] == runs[test["trial"]].data.metrics["best_val_loss"]
    assert sum(metrics[f"trials_{state}"] for state in STATUS) == 40
    question, found, report = parent.data.tags["mlflow.note.content"].splitlines()
    assert question.startswith("**Question:** What does a study do in which trials finish")
    assert found.startswith(f"**Found:** trial {test['trial']} of 40: learning_rate ")
    assert f"with fresh seeds, test accuracy {test['accuracy']:.4f}" in found
    assert report.startswith("**Report:** [report.html](#/experiments/")
    tags = client.get_experiment(parent.info.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"  # or MLflow shows other pages
    assert tags["mlflow.note.content"].startswith("What does a study do in which trials finish")
    assert f"/runs/{parent.info.run_id}), [report.html](" in tags["mlflow.note.content"]


def test_the_data_set_and_the_kept_weights_are_there(tracked: Path) -> None:
    """Every run names the data set and its digest; the five best have their weights as artifacts, byte for byte."""
    client, _, runs = runs_of(tracked)
    digest = study_of(tracked).resolved_settings()["data"]["digest"]
    for run in all_runs(tracked):
        (used,) = present(run.inputs).dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("iris", digest[:12])
        assert json.loads(used.dataset.source)["digest"] == digest
    kept = sorted((tracked / "results" / "mixed" / "weights").glob("*.npz"))
    assert len(kept) == 5
    for file in kept:
        sent = client.download_artifacts(runs[int(file.stem)].info.run_id, f"weights/{file.name}")
        assert Path(sent).read_bytes() == file.read_bytes()


def test_optuna_loads_the_study(tracked: Path) -> None:
    """`optuna.load_study` reads optuna.log: states, values, params, curves and times are those of the tables."""
    tables = netcore.load_study(tracked / "results" / "mixed")
    log = tracked / "results" / "mixed" / "optuna.log"
    study = optuna.load_study(study_name="mixed", storage=JournalStorage(JournalFileBackend(str(log))))
    assert study.direction is optuna.study.StudyDirection.MINIMIZE
    for trial, row in zip(study.trials, tables.trials.to_dict("records"), strict=True):
        curve = tables.curves[tables.curves["trial"] == row["trial"]].set_index("epoch")["val_loss"].to_dict()
        assert trial.state is TOLD[row["state"]]
        assert trial.params == {name: row[name] for name in HYPERPARAMETERS if name != "learning_rate_decay"}
        assert trial.user_attrs == {"netcore.state": row["state"], "netcore.digest": row["digest"]}
        assert abs(present(trial.datetime_start).timestamp() - row["started"].timestamp()) < 0.01
        assert trial.intermediate_values == (curve if row["state"] in {"finished", "pruned"} else {})
        if row["state"] == "finished":
            assert trial.value == row["value"]
    assert study.best_trial.number == json.loads((log.parent / "test.json").read_text())["trial"]


def test_a_second_sync_changes_nothing(copied: Path) -> None:
    """A run writes each trial once; a sync after it leaves MLflow as it was, to the last tag."""

    def everything() -> str:
        return json.dumps([run.to_dictionary() for run in all_runs(copied)], default=str)

    before = everything()
    assert not any(run.info.lifecycle_stage == "deleted" for run in all_runs(copied))
    done = netcore_command("sync", "mixed", cwd=copied)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"mixed: 0 runs written to sqlite:///{copied}/mlflow.db\n"
    assert everything() == before


def test_sync_rebuilds_a_lost_database(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is written again as it was, but weights that are not their record's; those are sent once repaired."""
    _, _, before = runs_of(copied)
    number = json.loads(study_of(copied).test.read_text())["trial"]
    file = study_of(copied).weights_file(number)
    right = file.read_bytes()
    file.write_bytes(b"junk")
    # MLflow has opened the old database under its name.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copied}/new/mlflow.db")
    (copied / "new").mkdir()
    assert sync(study_of(copied)) == 46
    client, parent, after = runs_of(copied / "new")
    assert parent.info.status == "FINISHED"
    assert after.keys() == before.keys()
    for trial, run in after.items():
        assert run.data.params == before[trial].data.params
        metrics, metrics_before = pd.Series(run.data.metrics), pd.Series(before[trial].data.metrics)
        pd.testing.assert_series_equal(metrics.sort_index(), metrics_before.sort_index(), check_exact=True)
        assert (run.info.status, run.info.start_time) == (before[trial].info.status, before[trial].info.start_time)
    assert client.list_artifacts(after[number].info.run_id, "weights") == []
    file.write_bytes(right)
    assert sync(study_of(copied)) == 0
    sent = client.download_artifacts(after[number].info.run_id, f"weights/{file.name}")
    assert Path(sent).read_bytes() == right


def test_sync_repairs_what_was_changed_in_mlflow(copied: Path) -> None:
    """Runs that are missing, doubled, half-written, altered or of no trial are repaired; nothing is left RUNNING.

    An experiment that was deleted in MLflow still owns its name: it is restored with its runs.
    """
    client, parent, runs = runs_of(copied)
    experiment = parent.info.experiment_id
    tags = {"netcore.study": "mixed", "mlflow.parentRunId": parent.info.run_id}
    client.delete_run(runs[3].info.run_id)
    client.set_tag(runs[4].info.run_id, "netcore.digest", "0" * 64)
    client.update_run(runs[5].info.run_id, status="RUNNING")
    client.create_run(experiment, tags={**tags, "netcore.trial": "6"})
    client.create_run(experiment, tags={**tags, "netcore.trial": "1234"})
    client.update_run(parent.info.run_id, status="RUNNING")
    sync(study_of(copied))
    _, parent, repaired = runs_of(copied)
    assert sorted(repaired) == list(range(40))
    assert "RUNNING" not in {run.info.status for run in (parent, *repaired.values())}
    changed = {number for number, run in runs.items() if run.info.run_id != repaired[number].info.run_id}
    assert changed == {3, 4, 5}
    client.delete_experiment(experiment)
    sync(study_of(copied))
    assert runs_of(copied)[1].info.status == "FINISHED"
    assert sorted(runs_of(copied)[2]) == list(range(40))


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a memory stick, which has no hard links, the database is created all the same."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert [experiment.name for experiment in client.connect().search_experiments()] == ["Default"]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


# Runs that are extended, stopped or killed, and followers that die


@pytest.mark.slow
def test_an_mlflow_that_refuses_loses_nothing(copied: Path) -> None:
    """The run ends with exit code 1, has all tables, and names the remedy; sync and an extension then work as ever."""
    _, parent_before, before = runs_of(copied)
    (copied / "mlflow.db").rename(copied / "good.db")
    (copied / "mlflow.db").write_bytes(b"this is no database" * 100)
    done = netcore_command("run", "mixed.toml", "--trials", "44", cwd=copied)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"error: MLflow at sqlite:///{copied}/mlflow.db: refuses (" in done.stderr
    assert "`netcore sync results/mixed` sends what is missing" in done.stderr
    assert len(netcore.load_study(copied / "results" / "mixed").trials) == 44
    assert netcore_command("ui", cwd=copied).stderr.startswith("error: MLflow at sqlite:///")
    (copied / "good.db").rename(copied / "mlflow.db")
    assert netcore_command("run", "mixed.toml", "--trials", "45", cwd=copied).returncode == 0
    _, parent, runs = runs_of(copied)
    assert parent.info.run_id == parent_before.info.run_id
    assert sorted(runs) == list(range(45))
    assert {n: runs[n].info.run_id for n in before} == {n: run.info.run_id for n, run in before.items()}
    assert parent.data.metrics["trials"] == 45


def test_the_next_process_removes_what_a_killed_one_left_of_a_database(tmp_path: Path) -> None:
    """MLflow's database is made in a folder beside it; a process that is killed meanwhile leaves that folder."""
    command = [sys.executable, "-c", "from netcore.tracking.client import connect; connect()"]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        while not list(tmp_path.glob(".mlflow-*/*")):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert list(tmp_path.glob(".mlflow-*/*"))
    subprocess.run(command, cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "moments"), [("terminate", (2.5, 4, 5.5)), ("kill", (1.5, 3))])
def test_a_run_after_one_that_was_ended_is_tracked(tmp_path: Path, signal: str, moments: tuple[float, ...]) -> None:
    """A database is created whole or not at all; the folder in which a killed follower made one is removed."""
    write_mixed(tmp_path, 60)
    for seconds in moments:
        command = [sys.executable, "-m", "netcore", "run", "mixed.toml"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        getattr(process, signal)()
        process.wait(30)
    done = netcore_command("run", "mixed.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(runs_of(tmp_path)[2]) == 60
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".mlflow")] == []


@pytest.mark.slow
def test_the_death_of_a_follower_is_reported(tmp_path: Path) -> None:
    """If the process that sends to MLflow is killed, the run has all records and names the remedy."""
    write_mixed(tmp_path, 60)
    command = [sys.executable, "-m", "netcore", "run", "mixed.toml"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    followers: list[psutil.Process] = []
    while process.poll() is None and not followers:
        followers = [child for child in psutil.Process(process.pid).children() if "--follow" in child.cmdline()]
        time.sleep(0.05)
    followers[0].kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: the process that sends to MLflow died (exit code -9); all records are safe" in errors
    assert len(netcore.load_study(tmp_path / "results" / "mixed").trials) == 60


@pytest.mark.slow
def test_a_follower_is_done_before_its_process_is_gone(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine Python's own end may take longer than the patience of the run: that is no outage of MLflow."""
    late = "import atexit, sys, time\nif '--follow' in sys.orig_argv: atexit.register(time.sleep, 60)\n"
    (copied / "sitecustomize.py").write_text(late, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(copied), os.environ.get("PYTHONPATH", "")]))
    begun = time.monotonic()
    with Follower(study_of(copied)) as follower:
        assert follower.finish(40) == ("", "")
    assert time.monotonic() - begun < 60
    assert runs_of(copied)[1].info.status == "FINISHED"


@pytest.mark.slow
def test_python_files_in_the_current_folder_are_not_run(tmp_path: Path) -> None:
    """A click.py beside the study file is the user's own: no process of netcore's imports it."""
    study = write_mixed(tmp_path, 2)
    for name in ("click.py", "types.py", "mlflow.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('hijacked')\n", encoding="utf-8")
    command = [sys.executable, "-P", "-m", "netcore", "run", study.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hijacked" not in done.stderr + done.stdout
