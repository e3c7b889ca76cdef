"""What a record names as the code that made it: version, commit, and whether the files were the commit's."""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import Mixed

from netcore.records.folder import StudyFolder
from netcore.workers.environment import _code, environment

VERSION = version("netcore")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, without the user's own settings."""
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PATH": os.environ["PATH"]}
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    command = [shutil.which("git") or "git", *who, *arguments]
    return subprocess.run(command, cwd=folder, env=settings, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a git checkout with one commit."""
    git(tmp_path, "init")
    (tmp_path / "module.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_a_checkout_says_its_commit_and_whether_it_is_clean(checkout: Path) -> None:
    """A changed file is a change, a file that git does not know is none; a tag does not take the commit's place."""
    commit = git(checkout, "rev-parse", "--short=10", "HEAD")
    git(checkout, "tag", "-a", "v1", "-m", "v1")
    (checkout / "notes.txt").write_text("x")
    assert _code(checkout) == f"{VERSION}, commit {commit}, clean"
    (checkout / "module.py").write_text("x = 2\n")
    assert _code(checkout) == f"{VERSION}, commit {commit}, changed"


def test_the_users_own_git_settings_do_not_lead_elsewhere(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a git hook GIT_DIR names another repository; it is this one that is asked."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert _code(checkout).endswith("clean")


def test_without_git_there_is_the_version(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkout, a damaged one, or no git at all: never an error."""
    assert _code(tmp_path / "elsewhere") == VERSION
    monkeypatch.setenv("PATH", "")
    assert _code(checkout) == VERSION
    monkeypatch.undo()
    (checkout / ".git" / "HEAD").write_text("nonsense")
    assert _code(checkout) == VERSION


def test_every_record_contains_it(mixed: Mixed) -> None:
    """Each record names code, versions, processor and BLAS of the worker that trained it."""
    found = StudyFolder(mixed[1] / "mixed").read(0).provenance.environment
    assert found == environment()
    assert {"numpy", "optuna", "netcore", "python", "processor", "blas", "system"} <= found.keys()
    assert all(found.values())
    assert found["code"].startswith(VERSION)
