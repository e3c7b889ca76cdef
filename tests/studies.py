"""The study file of the tests, and a tiny study with everything that a study's folder can contain."""

from pathlib import Path

import numpy as np

import netcore
from netcore.derived import write_derived_files
from netcore.records.folder import StudyFolder

SECTIONS = {"study": "trials = 3", "data": 'source = "iris"', "training": "epochs = 4, batch_size = 10"}
SPACE = {
    "learning_rate": "{ low = 1e-2, high = 1.0, log = true }",
    "hidden_size": "[4, 8]",
    "reg": "1e-4",
    "learning_rate_decay": "0.95",
}


def study_text(question: str = "", **changes: str) -> str:
    """Return a study file of a few short trials on iris.

    `changes` holds the keys of a section, as TOML writes them inside a table, and the values of hyperparameters.
    """
    space = ", ".join(f"{name} = {changes.pop(name, plain)}" for name, plain in SPACE.items())
    sections = {**SECTIONS, "space": space, **changes}
    comment = f"# Question: {question}\n" if question else ""
    return comment + "".join(f"{name} = {{ {keys} }}\n" for name, keys in sections.items())


def write_study(file: Path, question: str = "", **changes: str) -> Path:
    """Write such a study file; return its path."""
    file.write_text(study_text(question, **changes), encoding="utf-8")
    return file


ARRAYS = study_text(
    study="trials = 2, window = 1",
    data='source = "arrays", path = "rows.npz"',
    training="epochs = 2, batch_size = 10",
    learning_rate="[0.05, 0.1]",
    hidden_size="4",
    reg="0.0",
    confirm="finalists = 1, seeds = 1",
)
"""A study file of two trials on rows.npz."""


def write_arrays(folder: Path, name: str) -> Path:
    """Write the study file and its data into a folder; return the file."""
    X = np.random.default_rng(0).standard_normal((60, 3))
    np.savez(folder / "rows.npz", X=X, y=np.arange(60) % 3)
    file = folder / f"{name}.toml"
    file.write_text(ARRAYS)
    return file


def run_arrays(folder: Path) -> Path:
    """Run the study `x` in a folder, with its confirmation and derived files; return the folder."""
    netcore.run_study(write_arrays(folder, "x"), results=folder / "results", workers=1)
    write_derived_files(StudyFolder(folder / "results" / "x"))
    return folder
