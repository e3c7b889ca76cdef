"""MLflow and Optuna's journal show what the records say: read back with their own clients, from real databases."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
from conftest import fingerprint, netcore_command, write_mixed
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import netcore
from netcore.errors import WorkError
from netcore.records.folder import StudyFolder
from netcore.results.tables import StudyTables
from netcore.tracking import client
from netcore.tracking.follow import Follower

STATUS = {"finished": "FINISHED", "pruned": "KILLED", "diverged": "KILLED", "failed": "FAILED"}
TOLD = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
HYPERPARAMETERS = ["learning_rate", "hidden_size", "reg", "learning_rate_decay"]
CURVES = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which `netcore run` has run the mixed study, with everything it makes. Look, do not touch."""
    folder = tmp_path_factory.mktemp("tracked")
    write_mixed(folder)
    done = netcore_command("run", "mixed.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "40 trials in sqlite:///mlflow.db" in done.stdout
    assert "Traceback" not in done.stderr
    assert {path.name for path in folder.iterdir() if "mlflow" in path.name} == {"mlflow.db"}
    return folder


def runs_of(folder: Path, view: int = ViewType.ACTIVE_ONLY) -> tuple[MlflowClient, Run, dict[int, Run]]:
    """Read a study's runs with MLflow's own client: the parent, and the trials by number."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("mixed")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], run_view_type=view, max_results=1000)
    trials = [run for run in found if "netcore.trial" in run.data.tags]
    parents = [run for run in found if not {"netcore.trial", "netcore.confirm"} & run.data.tags.keys()]
    assert len(parents) == 1
    by_number = {int(run.data.tags["netcore.trial"]): run for run in trials}
    assert len(by_number) == len(trials), "a trial has two runs"
    return client, parents[0], by_number


def everything(folder: Path) -> str:
    """Dump all that MLflow has of a study, deleted runs included."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("mixed")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, max_results=1000)
    return json.dumps([run.to_dictionary() for run in sorted(found, key=lambda r: r.info.run_id)], default=str)


@pytest.fixture
def copied(tracked: Path, tmp_path: Path) -> Path:
    """Give a copy of the tracked folder, to be changed; its runs' artifacts are still those of the original."""
    shutil.copytree(tracked, tmp_path / "copy")
    return (tmp_path / "copy").resolve()


def test_the_command_gives_the_tables_of_the_function(tracked: Path, mixed: tuple[object, Path, StudyTables]) -> None:
    """`netcore run` and `run_study` give equal tables; tracking takes no part in the numbers."""
    assert fingerprint(netcore.load_study(tracked / "results" / "mixed")) == fingerprint(mixed[2])


def test_every_trial_in_mlflow_equals_its_row(tracked: Path) -> None:
    """Params, best figures, state, status, times and digest of each run are those of the trials table."""
    tables = netcore.load_study(tracked / "results" / "mixed")
    _, parent, runs = runs_of(tracked)
    assert sorted(runs) == tables.trials["trial"].tolist()
    for row in tables.trials.to_dict("records"):
        run = runs[row["trial"]]
        assert {name: float(run.data.params[name]) for name in HYPERPARAMETERS} == {n: row[n] for n in HYPERPARAMETERS}
        assert run.info.status == STATUS[row["state"]]
        assert run.data.tags["netcore.state"] == row["state"]
        assert run.data.tags["netcore.study"] == "mixed"
        assert run.data.tags["netcore.digest"] == row["digest"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert abs(run.info.start_time - row["started"].timestamp() * 1000) <= 1
        assert abs(run.info.end_time - row["ended"].timestamp() * 1000) <= 1
        best = {name: run.data.metrics.get(f"best_{name}") for name in CURVES}
        if pd.isna(row["best_epoch"]):
            assert set(best.values()) == {None}
        else:
            assert best == {name: row[name] for name in CURVES}
            assert run.data.metrics["best_epoch"] == row["best_epoch"]
        if row["state"] == "failed":
            assert "Unable to allocate" in run.data.tags["mlflow.note.content"]


def test_the_trainings_of_a_confirmation_are_runs_of_their_own_kind(tracked: Path) -> None:
    """Each candidate and seed has one run, with its figures, under the study's run; none of them is a trial."""
    client, parent, _ = runs_of(tracked)
    found = client.search_runs([parent.info.experiment_id], "tags.`netcore.confirm` LIKE '%'", max_results=1000)
    table = netcore.load_study(tracked / "results" / "mixed").confirmation
    names = [f"{row['candidate']}, seed {row['seed']}" for row in table.to_dict("records")]
    runs = {run.info.run_name: run for run in found}
    assert sorted(runs) == sorted(names)
    assert len(found) == len(table) == 6
    for name, row in zip(names, table.to_dict("records"), strict=True):
        assert "netcore.trial" not in runs[name].data.tags
        assert runs[name].data.tags["netcore.digest"] == row["digest"]
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
        if row["state"] == "finished":
            assert runs[name].data.metrics["val_loss"] == row["val_loss"]


def test_a_run_writes_each_trial_once(tracked: Path) -> None:
    """What was written while the study ran is right, and is not written again at its end."""
    client, parent, _ = runs_of(tracked)
    deleted = client.search_runs([parent.info.experiment_id], run_view_type=ViewType.DELETED_ONLY, max_results=1000)
    assert deleted == []


def test_a_run_that_is_stopped_while_mlflow_makes_its_database_leaves_none(tmp_path: Path) -> None:
    """The database is made whole or not at all: a stop at any moment of its making does not spoil it for later."""
    write_mixed(tmp_path, 200)
    for seconds in (2.5, 4, 5.5):
        command = [sys.executable, "-m", "netcore", "run", "mixed.toml"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.terminate()
        assert process.wait(30) in {0, 130}
    done = netcore_command("run", "mixed.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(runs_of(tmp_path)[2]) == 200
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".mlflow")] == []


def test_a_run_after_a_kill_waits_for_the_follower_of_the_killed_one(tmp_path: Path) -> None:
    """SIGKILL while MLflow is being imported, then the same command at once: the second run is tracked like any."""
    write_mixed(tmp_path, 60)
    for seconds in (1.5, 3):
        command = [sys.executable, "-m", "netcore", "run", "mixed.toml"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.kill()
        process.wait()
    done = netcore_command("run", "mixed.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(runs_of(tmp_path)[2]) == 60


def test_a_follower_that_dies_is_said_so(tmp_path: Path) -> None:
    """If the process that sends to MLflow is killed, the run ends well but for that, and says how to send the rest."""
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


def test_a_follower_is_done_before_its_process_is_gone(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine Python's own end may take longer than the patience of the run: that is no outage of MLflow."""
    late = "import atexit, sys, time\nif '--follow' in sys.orig_argv: atexit.register(time.sleep, 60)\n"
    (copied / "sitecustomize.py").write_text(late, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(copied), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copied}/mlflow.db")
    begun = time.monotonic()
    with Follower(StudyFolder(copied / "results" / "mixed")) as follower:
        assert follower.finish(40) == ("", "")
    assert time.monotonic() - begun < 60
    assert runs_of(copied)[1].info.status == "FINISHED"


def test_python_files_in_the_current_folder_are_not_run(tmp_path: Path) -> None:
    """A click.py beside the study file is the user's own business: no process of netcore's imports it."""
    study = write_mixed(tmp_path, 2)
    for name in ("click.py", "types.py", "mlflow.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('hijacked')\n", encoding="utf-8")
    command = [sys.executable, "-P", "-m", "netcore", "run", study.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hijacked" not in done.stderr + done.stdout


def test_weights_that_are_not_the_records_are_not_sent(copied: Path) -> None:
    """Altered weights never reach MLflow; once mended, the right ones do."""
    number = json.loads((copied / "results" / "mixed" / "test.json").read_text())["trial"]
    file = copied / "results" / "mixed" / "weights" / f"{number:06d}.npz"
    right = file.read_bytes()
    (copied / "mlflow.db").unlink()
    file.write_bytes(b"junk")
    assert netcore_command("sync", "mixed", cwd=copied).returncode == 0
    client, _, runs = runs_of(copied)
    assert client.list_artifacts(runs[number].info.run_id, "weights") == []
    file.write_bytes(right)
    assert netcore_command("sync", "mixed", cwd=copied).returncode == 0
    (artifact,) = client.list_artifacts(runs[number].info.run_id, "weights")
    assert Path(client.download_artifacts(runs[number].info.run_id, artifact.path)).read_bytes() == right


def test_every_curve_in_mlflow_equals_its_rows(tracked: Path) -> None:
    """The metric histories of each run are those of the curves table; what is not finite is NaN.

    Its learning rate is none of them: it follows from two params.
    """
    tables = netcore.load_study(tracked / "results" / "mixed")
    client, _, runs = runs_of(tracked)
    for number, run in runs.items():
        assert "learning_rate" not in run.data.metrics
        expected = tables.curves[tables.curves["trial"] == number].set_index("epoch")[CURVES]
        expected = expected.mask(expected.abs() == float("inf"))
        history = {
            name: {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
            for name in CURVES
        }
        found = pd.DataFrame(history, columns=CURVES).rename_axis("epoch").sort_index()
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False, check_index_type=False)


def test_the_parent_holds_what_the_study_made(tracked: Path) -> None:
    """The parent run has the study file, tables, figures and report, the outcome as metrics, and a note."""
    client, parent, runs = runs_of(tracked)
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert names >= {"study.toml", "resolved.json", "report.html", "trials.parquet", "curves.parquet", "plots"}
    assert {item.path for item in client.list_artifacts(parent.info.run_id, "plots")} >= {
        "plots/loss_curves.png",
        "plots/loss_curves.svg",
    }
    assert parent.info.status == "FINISHED"
    test = json.loads((tracked / "results" / "mixed" / "test.json").read_text())
    assert parent.data.metrics["test_accuracy"] == test["accuracy"]
    assert parent.data.metrics["best_val_loss"] == runs[test["trial"]].data.metrics["best_val_loss"]
    assert sum(parent.data.metrics[f"trials_{state}"] for state in STATUS) == 40
    note = parent.data.tags["mlflow.note.content"]
    question, found, report = note.splitlines()
    assert question.startswith("**Question:** What does a study do in which trials finish")
    assert found.startswith(f"**Found:** trial {test['trial']} of 40: learning_rate ")
    assert f"with fresh seeds, test accuracy {test['accuracy']:.4f}" in found
    assert report.startswith("**Report:** [report.html](#/experiments/")
    summary = client.get_experiment(parent.info.experiment_id).tags["mlflow.note.content"]
    assert summary.startswith("What does a study do in which trials finish")
    assert f"/runs/{parent.info.run_id}), [report.html](" in summary


def test_the_data_set_and_the_kept_weights_are_there(tracked: Path) -> None:
    """Every run names the data set and its digest; the five best have their weights as artifacts, byte for byte."""
    client, parent, runs = runs_of(tracked)
    digest = json.loads((tracked / "results" / "mixed" / "resolved.json").read_text())["data"]["digest"]
    for run in (parent, *runs.values()):
        inputs = client.get_run(run.info.run_id).inputs
        assert inputs is not None
        (used,) = inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("iris", digest[:12])
        assert json.loads(used.dataset.source)["digest"] == digest
    kept = sorted((tracked / "results" / "mixed" / "weights").glob("*.npz"))
    assert len(kept) == 5
    for file in kept:
        (artifact,) = client.list_artifacts(runs[int(file.stem)].info.run_id, "weights")
        assert (
            Path(client.download_artifacts(runs[int(file.stem)].info.run_id, artifact.path)).read_bytes()
            == file.read_bytes()
        )


def test_the_experiment_is_of_the_model_training_kind(tracked: Path) -> None:
    """The experiment says that it trains models, or MLflow would show it as one of another kind."""
    client, parent, _ = runs_of(tracked)
    assert client.get_experiment(parent.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_second_sync_changes_nothing(copied: Path) -> None:
    """`netcore sync` run twice leaves MLflow as it was, to the last tag."""
    before = everything(copied)
    for _ in range(2):
        done = netcore_command("sync", "mixed", cwd=copied)
        assert (done.returncode, done.stdout) == (0, "mixed: 0 runs written to sqlite:///mlflow.db\n")
    assert everything(copied) == before


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a memory stick, say, which knows no hard links, the database is made all the same."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert [experiment.name for experiment in client.connect().search_experiments()] == ["Default"]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_sync_rebuilds_a_lost_database(copied: Path) -> None:
    """With the database deleted, `netcore sync` writes every run again, as they were."""
    _, _, before = runs_of(copied)
    (copied / "mlflow.db").unlink()
    done = netcore_command("sync", "mixed", cwd=copied)
    assert done.stdout == "mixed: 46 runs written to sqlite:///mlflow.db\n"
    _, parent, after = runs_of(copied)
    assert parent.info.status == "FINISHED"
    assert after.keys() == before.keys()
    for number, run in after.items():
        assert run.data.params == before[number].data.params
        metrics, metrics_before = pd.Series(run.data.metrics), pd.Series(before[number].data.metrics)
        pd.testing.assert_series_equal(metrics.sort_index(), metrics_before.sort_index(), check_exact=True)
        assert run.info.status == before[number].info.status
        assert run.info.start_time == before[number].info.start_time


def test_sync_mends_what_was_changed_in_mlflow(copied: Path) -> None:
    """Runs that are missing, doubled, half-written, altered or of no trial are put right; nothing is left RUNNING."""
    client, parent, runs = runs_of(copied)
    experiment = parent.info.experiment_id
    tags = {"netcore.study": "mixed", "mlflow.parentRunId": parent.info.run_id}
    client.delete_run(runs[3].info.run_id)
    client.set_tag(runs[4].info.run_id, "netcore.digest", "0" * 64)
    client.update_run(runs[5].info.run_id, status="RUNNING")
    client.create_run(experiment, tags={**tags, "netcore.trial": "6"})
    client.create_run(experiment, tags={**tags, "netcore.trial": "1234"})
    client.update_run(parent.info.run_id, status="RUNNING")
    done = netcore_command("sync", "mixed", cwd=copied)
    assert done.stdout == "mixed: 3 runs written to sqlite:///mlflow.db\n"
    _, parent, mended = runs_of(copied)
    assert sorted(mended) == list(range(40))
    assert mended[6].info.run_id == runs[6].info.run_id
    assert "RUNNING" not in {run.info.status for run in (parent, *mended.values())}


def test_an_extended_study_keeps_its_runs(copied: Path) -> None:
    """More trials add runs to the same parent; the ones that are there are not touched."""
    _, parent_before, before = runs_of(copied)
    done = netcore_command("run", "mixed.toml", "--trials", "44", cwd=copied)
    assert done.returncode == 0, done.stderr
    _, parent, runs = runs_of(copied)
    assert parent.info.run_id == parent_before.info.run_id
    assert sorted(runs) == list(range(44))
    assert {n: runs[n].info.run_id for n in before} == {n: run.info.run_id for n, run in before.items()}
    assert parent.data.metrics["trials"] == 44


def test_an_experiment_deleted_in_the_ui_comes_back(copied: Path) -> None:
    """A deleted experiment still owns its name: sync brings it back with its runs."""
    client, parent, _ = runs_of(copied)
    client.delete_experiment(parent.info.experiment_id)
    done = netcore_command("sync", "mixed", cwd=copied)
    assert done.returncode == 0, done.stderr
    assert len(runs_of(copied)[2]) == 40


def test_an_mlflow_that_refuses_loses_nothing(copied: Path) -> None:
    """With MLflow out of order, the run ends with exit code 1, all tables made, and says what to do; then sync does."""
    (copied / "mlflow.db").write_bytes(b"this is no database" * 100)
    done = netcore_command("run", "mixed.toml", "--trials", "45", cwd=copied)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: MLflow at sqlite:///mlflow.db: refuses (" in done.stderr
    assert "`netcore sync results/mixed` sends what is missing" in done.stderr
    assert len(netcore.load_study(copied / "results" / "mixed").trials) == 45
    (copied / "mlflow.db").unlink()
    assert netcore_command("sync", "mixed", cwd=copied).returncode == 0
    assert len(runs_of(copied)[2]) == 45


def test_a_password_in_the_address_is_never_shown(copied: Path) -> None:
    """The address of a database is shown without user and password, in errors too."""
    address = "postgresql://me:hush@127.0.0.1:1/mlflow"
    done = netcore_command("sync", "mixed", cwd=copied, env={**os.environ, "MLFLOW_TRACKING_URI": address})
    assert done.returncode == 1
    assert "hush" not in done.stdout + done.stderr
    assert "error: MLflow at postgresql://127.0.0.1:1/mlflow: refuses" in done.stderr
    address = "http://me:hush@127.0.0.1:1"
    done = netcore_command("ui", cwd=copied, env={**os.environ, "MLFLOW_TRACKING_URI": address})
    assert done.returncode == 1
    assert "hush" not in done.stdout + done.stderr
    assert done.stderr.startswith("error: MLflow at http://127.0.0.1:1: refuses")


def test_a_database_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing: after a while that is one clear line, whatever its driver would do."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql+psycopg://me:hush@127.0.0.1:{silent.getsockname()[1]}/mlflow"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setattr(client, "_PATIENCE", 0.5)
        begun = time.monotonic()
        with pytest.raises(WorkError) as caught, client.speaking_plainly("try again"):
            client.connect()
        assert time.monotonic() - begun < 60  # psycopg's own patience is 130 s
    assert str(caught.value).endswith("refuses (TimeoutError: it has not answered for 0.5 s); try again")
    assert "hush" not in str(caught.value)


def test_a_database_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    """`netcore ui` beside a file that is no database says so; no traceback."""
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    done = netcore_command("ui", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow at sqlite:///mlflow.db: refuses")
    assert "Traceback" not in done.stderr


def test_optuna_loads_the_study(tracked: Path) -> None:
    """`optuna.load_study` reads optuna.log: states, values, params, curves and times are those of the tables."""
    tables = netcore.load_study(tracked / "results" / "mixed")
    log = tracked / "results" / "mixed" / "optuna.log"
    study = optuna.load_study(study_name="mixed", storage=JournalStorage(JournalFileBackend(str(log))))
    assert study.direction is optuna.study.StudyDirection.MINIMIZE
    assert len(study.trials) == len(tables.trials)
    for trial, row in zip(study.trials, tables.trials.to_dict("records"), strict=True):
        curve = tables.curves[tables.curves["trial"] == row["trial"]].set_index("epoch")["val_loss"]
        assert trial.state is TOLD[row["state"]]
        assert trial.params == {name: row[name] for name in HYPERPARAMETERS if name != "learning_rate_decay"}
        assert trial.user_attrs == {"netcore.state": row["state"], "netcore.digest": row["digest"]}
        assert trial.datetime_start is not None
        assert abs(trial.datetime_start.timestamp() - row["started"].timestamp()) < 0.01
        if row["state"] in {"finished", "pruned"}:
            assert trial.intermediate_values == curve.to_dict()
        else:
            assert trial.intermediate_values == {}
        if row["state"] == "finished":
            assert trial.value == row["value"]
    assert study.best_trial.number == json.loads((log.parent / "test.json").read_text())["trial"]
