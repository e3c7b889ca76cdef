"""Names: wherever one stands, nothing is read as a path that leads out of the results, and nothing is written there."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from commands import quick, refused

import netcore
from netcore.errors import InputError, NetcoreError, RecordError
from netcore.question.spec import load_spec
from netcore.records.folder import StudyFolder, find_study
from netcore.run import Run

NAMES = {
    "up": "../evil",
    "absolute": "/tmp/netcore-evil",  # noqa: S108  # no file is made
    "above": "..",
    "nothing": "",
    "below": "a/b",
    "Windows": "..\\evil",
    "NUL": "x\0y",
    "two lines": "x\ny",
    "a terminal": "\x1b[2Jx",
    "backwards": "x\u202etxt",
    "a wide dot": "\uff0e\uff0e\uff0fx",
    "no letter": "\udcff",
    "an option": "-x",
    "long": "x" * 300,
    "superseded": "_superseded",
}


def listing(folder: Path) -> dict[str, object]:
    """List all that lies in a folder, and what it is."""
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.is_dir() or path.read_bytes()
        for path in folder.rglob("*")
    }


def one_line(error: NetcoreError) -> None:
    """Check that an error is one line, exit code 2, that a terminal only shows."""
    assert error.exit_code == 2
    assert str(error).replace("\u00a0", " ").isprintable()


@pytest.mark.parametrize("what", NAMES)
def test_a_study_s_name_is_one_folder(tmp_path: Path, what: str) -> None:
    """In a study file: refused by the rule of names, and nothing is written."""
    text = (
        'data.source = "iris"\nspace = { learning_rate = 0.1, hidden_size = 3, reg = 0.0, learning_rate_decay = 1.0 }\n'
    )
    escaped = json.dumps(NAMES[what].replace("\udcff", "\ufffd"))
    (tmp_path / "s.toml").write_text(f"study = {{ name = {escaped}, trials = 1 }}\n{text}", encoding="utf-8")
    before = listing(tmp_path)
    with pytest.raises(InputError, match="a name is 1 to 64 letters") as caught:
        netcore.run_study(tmp_path / "s.toml", results=tmp_path / "results", workers=1)
    one_line(caught.value)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("what", sorted(set(NAMES) - {"above", "nothing", "up", "below", "NUL"}))
def test_a_study_file_s_own_name_is_one_folder(tmp_path: Path, what: str) -> None:
    """The name of a file, where it is the study's, is refused by the same rule; or there is no such file."""
    path = tmp_path / f"{NAMES[what].replace('/', '_')}.toml"
    try:
        path.write_text('[data]\nsource = "iris"\n')
    except OSError:
        assert what == "long"
    before = listing(tmp_path)
    with pytest.raises(InputError) as caught:
        load_spec(path)
    one_line(InputError(caught.value.problems[0]))
    assert listing(tmp_path) == before


@pytest.mark.parametrize("what", sorted(set(NAMES) - {"above", "nothing"}))
def test_a_name_without_a_study_is_one_line(own: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by such a name, or in a results folder of such a name, a study is not there, and nothing is made."""
    monkeypatch.chdir(own)
    before = listing(own.parents[1])
    for name, results in ((NAMES[what], "results"), ("x", NAMES[what]), (NAMES[what], NAMES[what])):
        with pytest.raises(InputError) as caught:
            find_study(name, results)
        one_line(caught.value)
    with pytest.raises(InputError) as caught:
        load_spec(NAMES[what])
    one_line(caught.value)
    assert listing(own.parents[1]) == before


@pytest.mark.parametrize("what", ["up", "no letter"])
def test_the_commands_say_so_too(own: Path, what: str) -> None:
    """One line, exit code 2, for every command that takes a study; the folders around are as they were."""
    before = listing(own.parents[1])
    name = os.fsencode(NAMES[what]).decode(errors="surrogateescape")
    for command in (
        ["show", name, "0"],
        ["report", name],
        ["verify", name],
        ["sync", name],
        ["replay", name, "0"],
        ["confirm", name],
        ["audit", name],
        ["predict", name, "rows.npz"],
        ["run", name],
        ["check", name],
    ):
        refused(quick(*command, cwd=own))
    refused(quick("report", "x", "--results", f"{name}/nowhere", cwd=own))
    assert listing(own.parents[1]) == before


@pytest.mark.parametrize("what", ["long", "a terminal"])
def test_a_results_folder_of_such_a_name(own: Path, what: str) -> None:
    """`list` finds no studies there, in one line; `run` makes it where the system takes its name, else says so."""
    name = os.fsencode(NAMES[what]).decode(errors="surrogateescape")
    done = quick("list", "--results", name, cwd=own)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert done.stdout.strip().isprintable()
    refused(quick("run", "x.toml", "--results", f"rows.npz/{name}", cwd=own))


@pytest.mark.parametrize("what", NAMES)
def test_a_name_in_resolved_json_leads_nowhere(own: Path, what: str) -> None:
    """A study's name that was changed by hand in resolved.json: the file is not whole, nothing is made anywhere."""
    folder = StudyFolder(own / "results" / "x")
    resolved = json.loads(folder.resolved.read_text())
    resolved["settings"]["study"]["name"] = NAMES[what]
    folder.resolved.write_text(json.dumps(resolved))
    before = listing(own.parents[1])
    for use in (folder.spec, folder.resolved_settings, lambda: netcore.load_study(folder.path)):
        with pytest.raises(InputError, match="is missing or damaged") as caught:
            use()
        one_line(caught.value)
    assert listing(own.parents[1]) == before


@pytest.mark.parametrize("name", [None, "y"])
def test_another_study_s_name_in_resolved_json(own: Path, name: str | None) -> None:
    """None, or that of another study: neither `confirm` nor `audit` writes into another folder."""
    folder = StudyFolder(own / "results" / "x")
    resolved = json.loads(folder.resolved.read_text())
    resolved["settings"]["study"]["name"] = name
    folder.resolved.write_text(json.dumps(resolved))
    before = listing(own.parents[1])
    for command in ("confirm", "audit"):
        said = refused(quick(command, "x", cwd=own))
        assert said.startswith("results/x")
    assert listing(own.parents[1]) == before


@pytest.mark.parametrize("where", ["../../../..", "x\0y", 7])
def test_the_folder_in_resolved_json_is_only_looked_into(own: Path, where: object) -> None:
    """Where the study file lay says where its data are looked for: they are not there, in one line."""
    folder = StudyFolder(own / "results" / "x")
    resolved = json.loads(folder.resolved.read_text()) | {"folder": where}
    folder.resolved.write_text(json.dumps(resolved))
    before = listing(own.parents[1])
    from netcore.check.replay import replay, trials_of

    with pytest.raises(InputError) as caught:
        list(replay(folder.spec(), trials_of(folder, (0,)), 1))
    one_line(caught.value)
    assert listing(own.parents[1]) == before


NUMBERS = {"another's": 1, "huge": 2**63, "a path": "../../x"}


@pytest.mark.parametrize("what", NUMBERS)
def test_a_record_s_number_is_that_of_its_file(own: Path, what: str) -> None:
    """A record that says it is another trial is refused, and a run moves it aside under the number of its file."""
    folder = StudyFolder(own / "results" / "x")
    record = folder.read(0)
    job = replace(record.job, number=NUMBERS[what])  # type: ignore[arg-type]
    (folder.trials / "000000.npz").write_bytes(replace(record, job=job).to_bytes())
    with pytest.raises(RecordError) as caught:
        folder.read(0)
    one_line(caught.value)
    netcore.run_study(own / "x.toml", results=own / "results", workers=1, confirm=False)
    assert {path.name for path in folder.superseded.iterdir()} == {"000000.1.npz"}
    assert folder.numbers() == [0, 1]
    assert folder.read(0).digest == record.digest


OTHERS = ["0", "-1", "000000 ", "0000000", "\u0660" * 6, "1e3", "0x1", "..", "000009.npz"]


def test_other_files_beside_the_records_are_none(own: Path) -> None:
    """Only a file with a record's name is a record."""
    folder = StudyFolder(own / "results" / "x")
    for name in OTHERS:
        shutil.copy(folder.trials / "000000.npz", folder.trials / f"{name}.npz")
    assert folder.numbers() == [0, 1]


LINKS: dict[str, Callable[[StudyFolder], Path]] = {
    "plots": lambda folder: folder.plots,
    "trials": lambda folder: folder.trials,
    "weights": lambda folder: folder.weights,
    "confirm": lambda folder: folder.path / "confirm",
    "a record": lambda folder: folder.trials / "000000.npz",
    "the study file": lambda folder: folder.study_file,
}


@pytest.mark.parametrize("what", LINKS)
@pytest.mark.parametrize("leads", ["somewhere", "nowhere"])
def test_no_link_leads_out_of_a_study_s_folder(own: Path, what: str, leads: str) -> None:
    """A link in a study's folder that leads elsewhere is refused by its path, by a run and by whoever reads."""
    folder = StudyFolder(own / "results" / "x")
    link, elsewhere = LINKS[what](folder), own / "elsewhere"
    if link.exists() and leads == "somewhere":
        link.rename(elsewhere)
    elif link.exists():
        shutil.rmtree(link) if link.is_dir() else link.unlink()
    elif leads == "somewhere":
        elsewhere.mkdir()
    link.symlink_to(elsewhere, target_is_directory=True)
    before = listing(own)
    rule = "must not be a link that leads out of the study's folder"
    if (folder.path / "study.toml").is_file():
        with pytest.raises(InputError, match=rule):
            find_study("x", own / "results")
    with pytest.raises(InputError, match=rule) as caught, Run(load_spec(own / "x.toml"), results=own / "results"):
        pass
    one_line(caught.value)
    assert caught.value.problems[0].place == str(link)
    assert listing(own) == before


def test_links_that_stay_are_no_matter(own: Path) -> None:
    """A link inside the folder, and a results folder or study's folder that is one, are the user's own business."""
    folder = StudyFolder(own / "results" / "x")
    (folder.path / "optuna.log.lock").symlink_to(folder.path / "optuna.log")
    (own / "results").rename(own / "far")
    (own / "results").symlink_to(own / "far")
    (own / "far" / "x").rename(own / "disk")
    (own / "far" / "x").symlink_to(own / "disk")
    assert find_study("x", own / "results").numbers() == [0, 1]
