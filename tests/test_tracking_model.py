"""The final model in MLflow: logged from code, without a pickle; one file, one version; the champion; served."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import present
from formats import pixels
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from models import TREE_KEYS, TREES, run_study_with, trained
from servers import free_port, wait_for

from netcore.errors import RecordError, WorkError
from netcore.final.model import MODEL, read_model
from netcore.records.folder import StudyFolder
from netcore.tracking.follow import sync

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")

TREE_DATA = f'source = "table", path = "{TREES}", target = "species", drop = ["plot"]'


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two studies that have a model, both in MLflow; not to be changed."""
    folder = tmp_path_factory.mktemp("shipped")
    run_study_with(folder, "digits", 'source = "digits"', trained("digits")[0])
    run_study_with(folder, "trees", TREE_DATA, trained("table", **TREE_KEYS)[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for name in ("uv.lock", "pyproject.toml"):  # a project's own, which have nothing to do with the model
            (folder / name).write_text("version = 1\n", encoding="utf-8")
        for study in ("digits", "trees"):
            assert sync(StudyFolder(folder / "results" / study)) == 2
    return folder


@pytest.fixture
def copied(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that folder, to be changed, as the current folder; artifacts are still those of the original."""
    shutil.copytree(shipped / "results", tmp_path / "results")
    shutil.copy(shipped / "mlflow.db", tmp_path)
    monkeypatch.chdir(tmp_path)
    # MLflow keeps what it has opened by its address; a relative one would be that of another test's folder.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def client_of(folder: Path) -> MlflowClient:
    """Open a folder's MLflow."""
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def state(folder: Path, study: str) -> tuple[list[LoggedModel], list[ModelVersion], dict[str, Any]]:
    """Read a study's logged models, versions and registered model, the oldest first."""
    client = client_of(folder)
    experiment = present(client.get_experiment_by_name(study))
    logged = sorted(client.search_logged_models([experiment.experiment_id]), key=lambda model: model.creation_timestamp)
    versions = sorted(client.search_model_versions(f"name = '{study}'"), key=lambda each: int(each.version))
    registered = client.search_registered_models(f"name = '{study}'")
    return logged, versions, dict(registered[0]) if registered else {}


def champion(folder: Path, study: str) -> int:
    """Return the version that has the alias."""
    return int(client_of(folder).get_model_version_by_alias(study, "champion").version)


def retrained(folder: Path, seed: int, **about: Any) -> None:  # noqa: ANN401
    """Give the study of digits another model; `about` changes its facts."""
    model = trained("digits", about={"seed": seed, **about})[0]
    (folder / "results" / "digits" / MODEL).write_bytes(model.to_bytes())


def sync_digits(folder: Path) -> None:
    """Update MLflow, in this process."""
    sync(StudyFolder(folder / "results" / "digits"))


def files_of(folder: Path, study: str) -> Path:
    """Return the folder of a study's logged model."""
    return Path(state(folder, study)[0][0].artifact_location)


@pytest.mark.parametrize("study", ["digits", "trees"])
def test_what_is_logged_holds_no_pickle_and_no_place(shipped: Path, study: str) -> None:
    """Beside the code there are texts and model.npz, byte for byte; no pickler and no folder is named in MLmodel.

    Four packages are required, pinned, and none called netcore: the code goes along, and an index has another of that
    name.
    """
    files = files_of(shipped, study)
    names = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("code/netcore/")} == {
        *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "served.py"),
        *("artifacts/model.npz", "input_example.json", "serving_input_example.json"),
    }
    code = (".py", "py.typed", ".jinja", ".css", ".js", ".mplstyle")
    assert all(name.endswith(code) for name in names if name.startswith("code/"))
    ours = (shipped / "results" / study / MODEL).read_bytes()
    assert (files / "artifacts" / MODEL).read_bytes() == ours
    text = (files / "MLmodel").read_text(encoding="utf-8").replace(str(files), "")
    assert not [word for word in ("pickle", str(shipped), "/netcore/", "/tmp") if word in text]  # noqa: S108
    pinned = [f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas", "platformdirs")]
    assert (files / "requirements.txt").read_text(encoding="utf-8").split() == pinned
    assert "- netcore" not in (files / "conda.yaml").read_text(encoding="utf-8")


def test_metrics_data_set_and_version_are_linked_to_the_model(shipped: Path) -> None:
    """The logged model has the confirmed metrics and the test's, each with the data set; params; the study's run.

    The version has the study's name, SHA-256 of model.npz, digest of the data, alias, a description.
    """
    (logged,), (registered,), about = state(shipped, "digits")
    content = (shipped / "results" / "digits" / MODEL).read_bytes()
    digest = StudyFolder(shipped / "results" / "digits").resolved_settings()["data"]["digest"]
    assert {metric.key: metric.value for metric in logged.metrics or []} == {
        "confirmed_val_loss": 0.5,
        "confirmed_val_accuracy": 0.875,
        "confirmed_low": 0.4,
        "confirmed_high": 0.6,
        "confirmed_seeds": 5,
        "model_test_accuracy": 0.75,
        "model_test_rows": 80,
        "model_test_right": 60,
    }
    assert {(m.dataset_name, m.dataset_digest) for m in logged.metrics or []} == {("digits", digest[:12])}
    assert (logged.params["hidden_size"], logged.params["candidate"]) == ("8", "trial 1")
    assert (str(logged.status), logged.model_type) == ("READY", "classifier")
    run = client_of(shipped).get_run(logged.source_run_id or "")
    assert (run.info.run_name, run.info.status) == ("digits", "FINISHED")
    assert [each.model_id for each in present(run.outputs).model_outputs] == [logged.model_id]
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "digits", "version": 1}]
    tags = {name.removeprefix("netcore."): tag for name, tag in registered.tags.items()}
    assert tags["logged_model"] == logged.model_id
    assert tags["model"] == hashlib.sha256(content).hexdigest()
    assert tags["data_digest"] == digest
    assert (tags["metric"], tags["value"], tags["seeds"]) == ("val_loss", "0.5", "5")
    assert registered.description == "trial 1, val_loss 0.5000 with fresh seeds, test accuracy 0.7500"
    assert about["description"] == "Which net tells them apart?"
    assert champion(shipped, "digits") == 1


@pytest.mark.slow
def test_a_name_with_a_dot_is_shipped(copied: Path) -> None:
    """MLflow takes no dot in a logged model's name: there it is a dash; registered is the study's own name."""
    run_study_with(copied, "d.v1", 'source = "digits"', trained("digits")[0])
    for _ in range(2):
        sync(StudyFolder(copied / "results" / "d.v1"))
    (logged,), (registered,), about = state(copied, "d.v1")
    assert (logged.name, registered.name, about["name"]) == ("d-v1", "d.v1", "d.v1")
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "d.v1", "version": 1}]
    assert champion(copied, "d.v1") == 1


def test_the_champion_is_the_latest_unless_it_is_worse(copied: Path) -> None:
    """The alias moves to a model that is as good, or of other data, another metric or more seeds, else it stays.

    A second sync of the same model changes nothing, and without model.npz everything stays.
    """
    steps: list[tuple[dict[str, Any], int]] = [
        ({"confirmed": {"val_loss": 0.45, "seeds": 5}}, 2),
        ({"confirmed": {"val_loss": 0.47, "seeds": 5}}, 2),
        ({"confirmed": {"val_loss": 0.45, "seeds": 5}, "candidate": "trial 9"}, 4),
        ({"confirmed": {"val_loss": 0.1, "seeds": 1}}, 5),
        ({"confirmed": {"val_loss": 0.4, "seeds": 10}}, 6),
        ({"confirmed": {"val_loss": 0.9, "seeds": 10}, "data_digest": "f" * 64}, 7),
        ({"confirmed": {"val_accuracy": 0.5, "seeds": 5}, "metric": "val_accuracy", "data_digest": "f" * 64}, 8),
        ({"confirmed": {"val_accuracy": 0.4, "seeds": 5}, "metric": "val_accuracy", "data_digest": "f" * 64}, 8),
    ]
    for seed, (facts, expected) in enumerate(steps):
        retrained(copied, seed, **facts)
        sync_digits(copied)
        assert champion(copied, "digits") == expected, facts
    before = str(state(copied, "digits"))
    sync_digits(copied)
    (copied / "results" / "digits" / MODEL).unlink()
    sync_digits(copied)
    assert str(state(copied, "digits")) == before
    assert [len(part) for part in state(copied, "digits")[:2]] == [9, 9]


def test_an_alias_moved_by_hand_is_left_alone(copied: Path) -> None:
    """Until there is another model, the alias is where a person put it; an older file is decided again."""
    first = (copied / "results" / "digits" / MODEL).read_bytes()
    retrained(copied, 1, confirmed={"val_loss": 0.5, "seeds": 5})
    sync_digits(copied)
    assert champion(copied, "digits") == 2
    client_of(copied).set_registered_model_alias("digits", "champion", "1")
    sync_digits(copied)
    assert champion(copied, "digits") == 1
    client_of(copied).set_registered_model_alias("digits", "champion", "2")
    (copied / "results" / "digits" / MODEL).write_bytes(first)
    sync_digits(copied)
    assert champion(copied, "digits") == 1
    assert len(state(copied, "digits")[1]) == 2


def test_a_logging_that_was_cut_short_is_repeated(copied: Path) -> None:
    """A logged model that never became ready is deleted, and the file is logged once."""
    retrained(copied, 4)
    digest = hashlib.sha256((copied / "results" / "digits" / MODEL).read_bytes()).hexdigest()
    client = client_of(copied)
    (whole,), _, _ = state(copied, "digits")
    cut = client.create_logged_model(whole.experiment_id, "digits", whole.source_run_id, {"netcore.model": digest})
    sync_digits(copied)
    logged, versions, _ = state(copied, "digits")
    assert len(logged) == len(versions) == 2
    assert cut.model_id not in {model.model_id for model in logged}
    assert {str(model.status) for model in logged} == {"READY"}


def test_a_registry_that_refuses_costs_nothing_else(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is logged; the line says what is missing and shows no password; the next sync completes it."""
    retrained(copied, 6)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "postgresql://me:hush@127.0.0.1:1/registry")
    with pytest.raises(WorkError) as refused:
        sync_digits(copied)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"MLflow at sqlite:///{copied}/mlflow.db: refuses (")
    assert line.endswith(f"`netcore sync {copied}/results/digits` sends what is missing")
    assert "hush" not in line
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    logged, versions, _ = state(copied, "digits")
    assert (len(logged), len(versions)) == (2, 1)
    run = client_of(copied).get_run(logged[1].source_run_id or "")
    assert run.info.status == "FINISHED"
    sync_digits(copied)
    again, versions, _ = state(copied, "digits")
    assert [model.model_id for model in again] == [model.model_id for model in logged]
    assert len(versions) == champion(copied, "digits") == 2


def test_a_registered_model_that_is_not_netcores_is_left_alone(copied: Path) -> None:
    """Its name is taken, which is an error; everything else is done."""
    client_of(copied).delete_registered_model("digits")
    client_of(copied).create_registered_model("digits")
    retrained(copied, 7)
    with pytest.raises(WorkError) as refused:
        sync_digits(copied)
    what = "has a registered model 'digits' that is not netcore's; rename it there, or the study"
    assert str(refused.value) == f"MLflow at sqlite:///{copied}/mlflow.db: {what}"
    assert [len(part) for part in state(copied, "digits")[:2]] == [2, 0]


def test_a_damaged_model_is_not_sent(copied: Path) -> None:
    """The line names the file; the runs are written."""
    retrained(copied, 5)
    path = copied / "results" / "digits" / MODEL
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecordError, match=r"model\.npz: is truncated or altered"):
        sync_digits(copied)
    assert len(state(copied, "digits")[0]) == 1


ELSEWHERE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
LOAD = """
import json, sys
from pathlib import Path
sys.path = [place for place in sys.path if not (Path(place or ".") / "netcore").is_dir()]
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
example = mlflow.models.Model.load(sys.argv[1]).load_input_example(sys.argv[1])
import netcore
assert Path(netcore.__file__).is_relative_to(sys.argv[1]), netcore.__file__
assert not {"optuna", "sklearn", "matplotlib"} & {*sys.modules}
print(json.dumps(model.predict(example).to_dict("split")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("study", ["digits", "trees"])
def test_the_model_brings_its_own_netcore(shipped: Path, study: str) -> None:
    """Where no netcore is installed, the model loads with the code beside it, and answers its own input example."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, files_of(shipped, study)],
        capture_output=True,
        text=True,
        check=False,
        cwd=shipped / "results",
        env={**environment, **ELSEWHERE},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    model = read_model(shipped / "results" / study / MODEL)
    assert tuple(found["columns"]) == model.class_names
    assert np.isclose(sum(found["data"][0]), 1)


@contextmanager
def serving(folder: Path, study: str) -> Iterator[int]:
    """Serve a study's champion as the documentation describes; return the port."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{study}@champion"]
    command += ["--env-manager", "local", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **ELSEWHERE, "PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    with (folder / f"{study}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder / "results", env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(port, "/ping", process)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def servers(shipped: Path) -> Iterator[dict[str, int]]:
    """Serve both studies; return their ports."""
    with serving(shipped, "digits") as digits, serving(shipped, "trees") as trees:
        yield {"digits": digits, "trees": trees}


def ask(port: int, body: object) -> Any:  # noqa: ANN401
    """Post JSON; return the answer's predictions, or code and message of a refusal."""
    address, headers = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # it is http
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["message"]


@pytest.mark.slow
def test_pictures_are_answered_over_http(shipped: Path, servers: dict[str, int]) -> None:
    """Rows of pixels, whole numbers, get the model's own probabilities by class; what does not fit is refused."""
    model, rows = read_model(shipped / "results" / "digits" / MODEL), pixels(9, 64)
    for key in ("inputs", "instances"):
        found = pd.DataFrame(ask(servers["digits"], {key: rows.tolist()}))
        assert tuple(found.columns) == model.class_names
        assert np.abs(found.to_numpy() - model.probabilities(rows)).max() <= 1e-6
    code, said = ask(servers["digits"], {"inputs": rows[:, 1:].tolist()})
    assert (code, "does not match expected shape (-1, 64)" in said) == (400, True)
    code, said = ask(servers["digits"], {"inputs": [[1e300] + [0] * 63]})
    line = "rows: must be finite numbers that float32 can hold, got 1 that are not, the first in row 1, pixel_0_0"
    assert (code, line in said) == (400, True)


@pytest.mark.slow
def test_a_table_is_answered_over_http(shipped: Path, servers: dict[str, int]) -> None:
    """Categories, missing values as null, whole numbers among doubles: the model's own probabilities by class."""
    model, frame = read_model(shipped / "results" / "trees" / MODEL), pd.read_csv(TREES)
    assert frame.isna().to_numpy().any()
    body = {"dataframe_split": json.loads(frame.to_json(orient="split", index=False))}
    assert "null" in json.dumps(body)
    found = pd.DataFrame(ask(servers["trees"], body))
    assert tuple(found.columns) == model.class_names
    assert np.abs(found.to_numpy() - model.probabilities(frame)).max() <= 1e-6
    rows: list[dict[str, Any]] = [{**dict.fromkeys(model.columns), "girth_cm": 52, "bark": "blue"}] * 2
    found = pd.DataFrame(ask(servers["trees"], {"dataframe_records": rows}))
    assert np.abs(found.to_numpy() - model.probabilities(pd.DataFrame(rows))).max() <= 1e-6
    misspelt = [{("heigth_m" if name == "height_m" else name): None for name in model.columns}]
    code, said = ask(servers["trees"], {"dataframe_records": misspelt})
    assert (code, "missing inputs ['height_m']" in said) == (400, True)
