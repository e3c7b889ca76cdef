"""A tiny study with everything that a study's folder can contain."""

from pathlib import Path

import numpy as np

import netcore
from netcore.derived import write_derived_files
from netcore.records.folder import StudyFolder

ARRAYS = """
[study]
trials = 2
window = 1
[data]
source = "arrays"
path = "rows.npz"
[training]
epochs = 2
batch_size = 10
[space]
learning_rate = [0.05, 0.1]
hidden_size = 4
reg = 0.0
learning_rate_decay = 1.0
[confirm]
finalists = 1
seeds = 1
"""
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
