"""Names: wherever one stands, nothing is read as a path that leads out of the results, and nothing is written there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import quick, refused

from netcore.errors import InputError, NetcoreError
from netcore.question.spec import load_spec
from netcore.records.folder import StudyFolder, find_study
from netcore.run import Run

NAMES = {
    "up": "../evil",
    "absolute": "/tmp/netcore-evil",  # noqa: S108  # no file is made
    "above": "..",
    "nothing": "",
    "NUL": "x\0y",
    "two lines": "x\ny",
    "a terminal": "\x1b[2Jx",
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


@pytest.mark.parametrize("what", sorted(set(NAMES) - {"above", "nothing"}))
def test_a_name_without_a_study_is_one_line(own: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of such a name is not found, and nothing is made."""
    monkeypatch.chdir(own)
    before = listing(own.parents[1])
    with pytest.raises(InputError) as caught:
        find_study(NAMES[what], "results")
    one_line(caught.value)
    with pytest.raises(InputError) as caught:
        load_spec(NAMES[what])
    one_line(caught.value)
    assert listing(own.parents[1]) == before


def test_the_commands_say_so_too(own: Path) -> None:
    """One line, exit code 2, for every command that takes a study; the folders around are as they were."""
    before = listing(own.parents[1])
    name = NAMES["up"]
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


def test_another_study_s_name_in_resolved_json(own: Path) -> None:
    """Neither `confirm` nor `audit` writes into another folder."""
    folder = StudyFolder(own / "results" / "x")
    resolved = json.loads(folder.resolved.read_text())
    resolved["settings"]["study"]["name"] = "y"
    folder.resolved.write_text(json.dumps(resolved))
    before = listing(own.parents[1])
    for command in ("confirm", "audit"):
        said = refused(quick(command, "x", cwd=own))
        assert said.startswith("results/x")
    assert listing(own.parents[1]) == before


OTHERS = ["0", "-1", "000000 ", "0000000", "\u0660" * 6, "1e3", "0x1", "..", "000009.npz"]


def test_other_files_beside_the_records_are_none(own: Path) -> None:
    """Only a file with a record's name is a record."""
    folder = StudyFolder(own / "results" / "x")
    for name in OTHERS:
        shutil.copy(folder.trials / "000000.npz", folder.trials / f"{name}.npz")
    assert folder.numbers() == [0, 1]


LINKS: dict[str, Callable[[StudyFolder], Path]] = {
    "plots": lambda folder: folder.plots,
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
