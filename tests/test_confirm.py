"""Claims about netcore.confirm: fresh seeds, fresh splits, equal to the last bit."""

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synced
from commands import netcore_command, quick, refused
from conftest import present
from sklearn.datasets import load_iris

import netcore
from netcore.confirm.candidates import COURSE, Candidate, candidates
from netcore.confirm.confirmation import read_confirmation, winner_of
from netcore.confirm.final_model import final_training
from netcore.data import prepare
from netcore.data.dataset import RawData
from netcore.data.prepared import cache_folder
from netcore.final.model import MODEL, Model, read_model
from netcore.progress import Notice
from netcore.question.metrics import Metric
from netcore.question.spec import dataset_of, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import Role, State, failed
from netcore.records.record import Record
from netcore.results.tables import StudyTables
from netcore.results.winner import summarised
from netcore.run import Run
from netcore.seeds import Purpose, seed_sequence
from studies import write_study

STUDY = synced.STUDY.replace("high = 1e4", "high = 1.0").replace(", 1_000_000_000_000_000", "")
"""A study file: all trials but those that are pruned finish."""


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyTables]:
    """Return the file and the tables of a confirmed study, which tests must not change."""
    folder = tmp_path_factory.mktemp("confirmed")
    (folder / "small.toml").write_text(STUDY, encoding="utf-8")
    return folder / "small.toml", netcore.run_study(folder / "small.toml", results=folder / "results", workers=2)


@pytest.fixture
def copied(confirmed: tuple[Path, StudyTables], tmp_path: Path) -> Path:
    """Return a copy of its folder, with the study file, which tests may change."""
    shutil.copytree(confirmed[0].parent, tmp_path, dirs_exist_ok=True)
    return tmp_path


def study_of(folder: Path) -> StudyFolder:
    """Return the study's folder."""
    return StudyFolder(folder / "results" / "small")


def found_in(folder: Path) -> dict[Candidate, list[Record]]:
    """Return the records of the confirmation by candidate."""
    study = study_of(folder)
    return read_confirmation(study.spec(), study.committed(), study)


def digests(tables: StudyTables) -> list[str]:
    """Return the digests of a confirmation, in one list."""
    return list(tables.confirmation["digest"])


def audit_of(folder: Path, share: float) -> pd.DataFrame:
    """Audit a share of the pruned trials, and return the table."""
    with Run(load_spec(folder / "small.toml"), results=folder / "results", workers=2, after_search=True) as run:
        for _ in run.audit(share):
            pass
    return netcore.load_study(run.folder.path).audit


def test_every_candidate_is_trained_with_every_seed(confirmed: tuple[Path, StudyTables]) -> None:
    """Two finalists and two baselines, three seeds each; 30 of 150 rows for the test, 30 for validation."""
    table = confirmed[1].confirmation
    best = confirmed[1].trials.query("state == 'finished'").sort_values("value")["trial"].tolist()[:2]
    names = [f"trial {best[0]}", f"trial {best[1]}", "softmax regression", "course defaults"]
    assert list(table["candidate"]) == [name for name in names for _ in range(3)]
    assert list(table["seed"]) == [0, 1, 2] * 4
    assert set(table["state"]) == {"finished"}
    assert set(zip(table["train_rows"], table["val_rows"], strict=True)) == {(90, 30)}
    assert (table["kind"] == "finalist").sum() == 6
    assert list(table["hidden_size"][6:9]) == [0, 0, 0]
    assert tuple(table.iloc[9][["learning_rate", "hidden_size", "reg", "learning_rate_decay"]]) == tuple(COURSE)


def test_it_is_trained_to_the_trial_s_best_epoch_and_judged_there(confirmed: tuple[Path, StudyTables]) -> None:
    """The value is that of the last epoch, which is the trial's best epoch: none is chosen on the validation rows."""
    trials = confirmed[1].trials.set_index("trial")
    for candidate, records in found_in(confirmed[0].parent).items():
        for record in records:
            assert record.job.role is Role.CONFIRM
            assert record.result.value == record.result.curve[-1].val_loss
            assert record.result.best_epoch == len(record.result.curve) == record.job.epochs
            if candidate.trial is not None:
                assert record.job.epochs == trials.loc[candidate.trial, "best_epoch"]


def test_seeds_are_paired(confirmed: tuple[Path, StudyTables]) -> None:
    """One seed is one split for all candidates; two seeds are two; test rows are the study's own in each."""
    spec = load_spec(confirmed[0])
    study = dataset_of(spec)
    labels = []
    for seed in range(3):
        draw = int(seed_sequence(spec.study.seed, seed, Purpose.CONFIRM_SPLIT).generate_state(1)[0])
        split = dataset_of(spec, draw=draw)
        labels.append(split.X_val.tobytes())
        own, back = (
            one.X_test.astype(np.float64) * one.preprocessing.arrays["scale"] + one.preprocessing.arrays["mean"]
            for one in (study, split)
        )
        np.testing.assert_allclose(back, own, atol=1e-5)
        fitted = {
            json.dumps({name: array.tolist() for name, array in records[seed].preprocessing.arrays.items()})
            for records in found_in(confirmed[0].parent).values()
        }
        assert fitted == {json.dumps({name: array.tolist() for name, array in split.preprocessing.arrays.items()})}
    assert len(set(labels)) == 3


def test_any_number_of_workers_gives_the_same(confirmed: tuple[Path, StudyTables], tmp_path: Path) -> None:
    """The same records, bit for bit, and the same final model."""
    tables = netcore.run_study(confirmed[0], results=tmp_path, workers=3)
    assert digests(tables) == digests(confirmed[1])
    theirs = study_of(confirmed[0].parent)
    assert StudyFolder(tmp_path / "small").test_result() == theirs.test_result()


def test_it_goes_on_where_it_was_interrupted(confirmed: tuple[Path, StudyTables], copied: Path) -> None:
    """Missing and damaged records are trained again, to the same records; the others are not touched."""
    lost = sorted((copied / "results" / "small" / "confirm").glob("trial-*/trials/*.npz"))
    kept = lost.pop(1)
    before = kept.stat().st_mtime_ns
    lost.pop().write_bytes(b"damaged")
    for path in lost:
        path.unlink()
    assert found_in(copied) == {}
    tables = netcore.run_study(copied / "small.toml", results=copied / "results", workers=2)
    assert digests(tables) == digests(confirmed[1])
    assert kept.stat().st_mtime_ns == before


def test_the_winner_is_the_finalist_with_the_best_mean(confirmed: tuple[Path, StudyTables]) -> None:
    """The final model is the winner's net of its median seed; report and final model agree on the winner."""
    table = confirmed[1].confirmation
    means = table[table["kind"] == "finalist"].groupby("candidate")["val_loss"].mean()
    study = study_of(confirmed[0].parent)
    winner = present(winner_of(found_in(confirmed[0].parent)))
    assert winner.name == means.idxmin()
    summary = present(summarised(confirmed[1]))
    assert present(summary.winner).name == winner.name, "the report computes it from the table"
    losses = table[table["candidate"] == winner.name].set_index("seed")["val_loss"]
    test = present(study.test_result())
    assert (test["candidate"], test["seed"]) == (winner.name, losses.sort_values().index[1])


def test_a_baseline_never_wins(confirmed: tuple[Path, StudyTables]) -> None:
    """A baseline with the best mean of all is not the winner."""
    found = found_in(confirmed[0].parent)
    *finalists, softmax, _ = found
    assert winner_of({softmax: found[finalists[0]], finalists[1]: found[finalists[1]]}) == finalists[1]


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_the_final_model_is_of_the_median_seed(confirmed: tuple[Path, StudyTables], seeds: int) -> None:
    """It is the winner's net of its median seed; of two in the middle, the one with the lower value."""
    found = found_in(confirmed[0].parent)
    final = present(final_training({candidate: records[:seeds] for candidate, records in found.items()}))
    values = [record.result.value for record in found[final.candidate][:seeds]]
    assert final.record.result.value == np.quantile(values, 0.5, method="lower")


def test_softmax_regression_chooses_its_learning_rate(confirmed: tuple[Path, StudyTables]) -> None:
    """It has the best of three learning rates on the search's split, and the best epoch of that training."""
    study = study_of(confirmed[0].parent)
    pilots = StudyFolder(study.path / "confirm" / "softmax-pilots")
    tried = [pilots.read(number) for number in pilots.numbers()]
    best = min(tried, key=lambda record: record.result.value)
    softmax = candidates(study.spec(), study.committed(), study)[2]
    assert [record.job.hyperparameters.hidden_size for record in tried] == [0, 0, 0]
    rates = [record.job.hyperparameters.learning_rate for record in tried]
    np.testing.assert_allclose(rates, [rates[0], rates[0] / 10, rates[0] / 100])
    assert (softmax.hyperparameters, softmax.epochs) == (best.job.hyperparameters, best.result.best_epoch)


def test_the_test_set_is_read_once(confirmed: tuple[Path, StudyTables], copied: Path) -> None:
    """Running again reads nothing; another final model is counted; it has the means of the latest confirmation."""
    test = present(study_of(copied).test_result())
    netcore.run_study(copied / "small.toml", results=copied / "results", workers=2)
    assert test == study_of(copied).test_result()
    assert (test["readings"], test["rows"], np.sum(test["confusion"])) == (1, 30, 30)
    assert test["right"] == np.trace(test["confusion"])
    spec = load_spec(copied / "small.toml").with_confirm(None, 4)
    tables = netcore.run_study(spec, results=copied / "results", workers=2)
    assert len(tables.confirmation) == 16
    assert set(digests(confirmed[1])) < set(digests(tables))
    again = present(study_of(copied).test_result())
    assert again["readings"] == (1 if again["digest"] == test["digest"] else 2)
    facts = read_model(study_of(copied).path / MODEL).facts
    losses = tables.confirmation.query("candidate == @facts['candidate']")["val_loss"]
    assert (facts["confirmed"]["seeds"], facts["digest"]) == (4, again["digest"])
    assert facts["confirmed"]["val_loss"] == pytest.approx(losses.mean(), rel=1e-12)


def test_a_longer_search_is_confirmed_again(confirmed: tuple[Path, StudyTables], copied: Path) -> None:
    """If the finalists change, there is no confirmation until it is repeated."""
    longer = load_spec(copied / "small.toml").with_trials(30)
    tables = netcore.run_study(longer, results=copied / "results", workers=2, confirm=False)
    best = set(tables.trials.query("state == 'finished'").sort_values("value")["trial"].tolist()[:2])
    before = set(confirmed[1].confirmation["trial"].dropna())
    assert best != before, "the example must change its finalists"
    assert tables.confirmation.empty
    tables = netcore.run_study(longer, results=copied / "results", workers=2)
    assert set(tables.confirmation["trial"].dropna()) == best


@pytest.mark.slow
def test_confirm_is_run_s_last_part(confirmed: tuple[Path, StudyTables], tmp_path: Path) -> None:
    """`netcore run --no-confirm` and `netcore confirm` later, from any folder, end where `netcore run` does."""
    (tmp_path / "small.toml").write_bytes(confirmed[0].read_bytes())
    ran = netcore_command("run", "small.toml", "--no-confirm", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "confirm" not in ran.stderr
    assert study_of(tmp_path).test_result() is None
    (tmp_path / "elsewhere").mkdir()
    done = netcore_command("confirm", "small", "--results", "../results", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert digests(netcore.load_study(tmp_path / "results" / "small")) == digests(confirmed[1])


def test_an_incomplete_search_is_not_confirmed(copied: Path) -> None:
    """One line with the remedy, exit code 2, nothing trained; the same for an audit."""
    study = study_of(copied)
    shutil.rmtree(study.path / "confirm")
    (study.trials / "000007.npz").unlink()
    before = study.resolved.read_bytes()
    for command in (["confirm"], ["audit"], ["confirm", "--seeds", "1"]):
        line = refused(quick(*command, "small", cwd=copied))
        assert line == "small: its search must be complete, got 7 of 12 trials; `netcore run` continues it"
    assert study.resolved.read_bytes() == before
    assert not (study.path / "confirm").exists()


@pytest.mark.parametrize(
    ("rates", "kinds"), [("[1e30, 2e30]", []), ("[1e30, 0.1]", ["finalist", "baseline", "baseline"])]
)
def test_where_trials_diverge(tmp_path: Path, rates: str, kinds: list[str]) -> None:
    """Without a finished trial there is no result, and a notice; a single finished trial is the only finalist."""
    text = STUDY.replace("{ low = 1e-2, high = 1.0, log = true }", rates).replace("[4, 16]", "4")
    text = text.replace("trials = 12", "trials = 2, sampler = 'grid'").replace("seeds = 3", "seeds = 1")
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    with Run(load_spec(tmp_path / "small.toml"), results=tmp_path / "results", workers=1) as run:
        notices = [str(step) for step in run.search() if not isinstance(step, Record)]
    assert any("nothing to confirm" in notice for notice in notices) is not bool(kinds)
    tables = netcore.load_study(run.folder.path)
    assert tables.confirmation["kind"].tolist() == kinds
    assert tables.trials[["value", "best_epoch"]].notna().to_numpy().any() == bool(kinds)
    assert bool(len(tables.weights)) is bool(kinds)
    assert (run.folder.test_result() is None) is not bool(kinds)


@pytest.mark.slow
def test_prepared_data_do_not_remain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run the cache folder holds the compiled training step, and no data."""
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.toml").write_text(STUDY, encoding="utf-8")
    netcore.run_study(tmp_path / "small.toml", results=tmp_path / "results", workers=1)
    assert {path.name[:4] for path in cache_folder().iterdir()} == {"code"}


@pytest.mark.slow
def test_descriptors_do_not_grow_with_the_seeds(tmp_path: Path) -> None:
    """At most two splits are open at a time: 200 seeds need no more than the descriptors of a few."""
    file = write_study(tmp_path / "x.toml", confirm="finalists = 1, seeds = 200")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 60, hard))
    try:
        tables = netcore.run_study(file, results=tmp_path / "results", workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(tables.confirmation) >= 600


def test_an_audited_trial_is_the_same_trial_trained_on(copied: Path) -> None:
    """Its curve continues that of the pruned trial, bit for bit; a larger share contains the smaller one."""
    study = study_of(copied)
    stopped = [record for record in study.committed() if record.result.state is State.PRUNED]
    assert len(stopped) >= 3
    first, table = set(audit_of(copied, 0.01)["trial"]), audit_of(copied, 1)
    assert len(first) == 1
    assert set(table["trial"]) == {record.number for record in stopped} >= first
    for record in stopped:
        whole = StudyFolder(study.path / "audit").read(record.number)
        length = len(record.result.curve)
        assert (len(whole.result.curve), whole.result.curve[:length]) == (6, record.result.curve)
        row = table.set_index("trial").loc[record.number]
        assert (row["stopped_at"], row["epochs"]) == (length, 6)
        assert row["value"] == Metric.VAL_LOSS.best_so_far(whole.result.curve, 6)


def test_without_pruned_trials_there_is_nothing_to_audit(tmp_path: Path) -> None:
    """A note says so, and it is no error."""
    text = STUDY.partition("stopping = ")[0].replace("trials = 12", "trials = 2")
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    with Run(load_spec(tmp_path / "small.toml"), results=tmp_path / "results", workers=1) as run:
        list(run.search(confirm=False))
        (note,) = run.audit(0.2)
    assert note == Notice("the stopping rule stopped no trial, so there is nothing to audit")


def test_deleting_test_json_does_not_undo_a_reading(copied: Path) -> None:
    """Without test.json the readings are still counted; without model.npz the same net is trained again."""
    study = study_of(copied)
    model, before = (study.path / MODEL).read_bytes(), present(study.test_result())
    study.test.unlink()
    netcore.run_study(copied / "small.toml", results=copied / "results", workers=2)
    again = present(study.test_result())
    assert again["readings"] == before["readings"] + 1
    (study.path / MODEL).unlink()
    netcore.run_study(copied / "small.toml", results=copied / "results", workers=2)
    assert study.test_result() == again
    assert read_model(study.path / MODEL).params.W1.tobytes() == Model.from_bytes(model, "before").params.W1.tobytes()


def test_a_failure_of_the_machine_is_tried_again(confirmed: tuple[Path, StudyTables], copied: Path) -> None:
    """A training of a confirmation whose worker died is repeated by the next run."""
    below = StudyFolder(next((copied / "results" / "small" / "confirm").glob("trial-*")))
    record = below.read(1)
    died = Record.of(record.job, failed("worker died", "killed"), record.provenance, record.preprocessing)
    synced.put(below, died)
    tables = netcore.run_study(copied / "small.toml", results=copied / "results", workers=1)
    assert digests(tables) == digests(confirmed[1])


def test_a_damaged_audit_record_is_left_out(copied: Path) -> None:
    """It is missing in the table until the next audit trains it again."""
    study, whole = study_of(copied), audit_of(copied, 1)
    next((study.path / "audit" / "trials").glob("*.npz")).write_bytes(b"damaged")
    assert len(netcore.load_study(study.path).audit) == len(whole) - 1
    assert audit_of(copied, 1)["value"].tolist() == whole["value"].tolist()


def test_a_draw_that_leaves_a_class_out_is_drawn_again() -> None:
    """Classes so small that some draws miss one: every draw gives a split with all classes, and the same one again."""
    y = np.repeat([0, 1, 2, 3], [16, 3, 18, 7])
    X = np.random.default_rng(0).standard_normal((len(y), 3))
    raw = RawData("few", X, y, ("a", "b", "c", "d"), ("x", "y", "z"), None)
    for draw in range(40):
        one, same = (prepare(raw, validation=0.48, test=0.37, seed=2, draw=draw) for _ in range(2))
        assert one.digest == same.digest
        assert all(len(np.unique(labels)) == 4 for labels in one.labels)


@pytest.mark.slow
def test_a_confirmation_that_fails_does_not_cost_the_search(copied: Path) -> None:
    """Tables and report are written, then the error is printed."""
    study = study_of(copied)
    shutil.rmtree(study.path / "confirm")
    (study.path / "confirm").touch()
    for view in ("report.html", "trials.parquet"):
        (study.path / view).unlink(missing_ok=True)
    done = netcore_command("run", "small.toml", cwd=copied)
    assert done.returncode == 2
    assert "confirm" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (study.path / "report.html").exists()
    assert (study.path / "trials.parquet").exists()


def test_results_may_lie_behind_a_link(confirmed: tuple[Path, StudyTables], tmp_path: Path) -> None:
    """If results are behind a symbolic link, the data beside the study file are still found."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "results").symlink_to(tmp_path / "far" / "away")
    np.savez(tmp_path / "project" / "rows.npz", X=load_iris().data, y=load_iris().target)
    text = confirmed[0].read_text().replace('source = "iris"', 'source = "arrays", path = "rows.npz"')
    (tmp_path / "project" / "small.toml").write_text(text.replace("trials = 12", "trials = 3"))
    netcore.run_study(
        tmp_path / "project" / "small.toml", results=tmp_path / "project" / "results", workers=1, confirm=False
    )
    folder = StudyFolder(tmp_path / "project" / "results" / "small")
    assert dataset_of(folder.spec()).digest == folder.resolved_settings()["data"]["digest"]
