"""Where data come from: one entry for each source that a study file may name, and where their files are looked for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import DTypeLike

from netcore.data.arrays import read_arrays
from netcore.data.bundled import BUNDLED
from netcore.data.cifar10 import read_cifar10
from netcore.data.dataset import Dataset, Put, prepare, put_in_memory
from netcore.data.idx import read_idx
from netcore.data.raw import RawData
from netcore.data.table import read_table
from netcore.errors import DataError

__all__ = ["MEANINGS", "PREPARATION", "SOURCES", "data_folder", "find_data", "load_dataset", "read_source"]

SOURCES: dict[str, Callable[..., RawData]] = {
    **BUNDLED,
    "idx": read_idx,
    "cifar10": read_cifar10,
    "arrays": read_arrays,
    "table": read_table,
}
"""Functions from a source's own keys (`path` as a Path that exists) to its data."""

PREPARATION = ("validation", "test", "folds", "seed", "standardize")
"""Keys of [data] that say how the rows are split and prepared; all others are the source's own."""

MEANINGS = {
    "digits": "1,797 handwritten digits of 8 x 8 pixels, 10 classes; comes with scikit-learn",
    "iris": "150 irises, 4 measurements, 3 species; comes with scikit-learn",
    "wine": "178 wines, 13 chemical measurements, 3 growers; comes with scikit-learn",
    "breast_cancer": "569 cell samples, 30 measurements, malignant or benign; comes with scikit-learn",
    "idx": "MNIST, Fashion-MNIST and their kin: a folder with the four official files, .gz or plain",
    "cifar10": "CIFAR-10: the official folder, pickled or binary",
    "arrays": "NumPy's arrays: an .npz, or a folder of .npy files",
    "table": "CSV or Parquet with a target column",
}
"""What each source is, in a line."""


def read_source(source: str, *, folder: Path | None = None, **keys: Any) -> RawData:  # noqa: ANN401  # each has its own
    """Read one of `SOURCES`: its rows as they come, before any split.

    `folder` is what a relative `path` is relative to; what is not there is looked for in the data folder.

    Raises:
        DataError: a file is missing or not what it should be.
    """
    if "path" in keys:
        keys["path"] = find_data(keys["path"], folder or Path())
    return SOURCES[source](**keys)


def load_dataset(
    source: str,
    *,
    dtype: DTypeLike = np.float32,
    folder: Path | None = None,
    put: Put = put_in_memory,
    draw: int | None = None,
    **keys: Any,  # noqa: ANN401  # each source has its own, checked by the study file's model
) -> Dataset:
    """Load one of `SOURCES` and prepare it: what a study file's [data] table asks for; see `prepare` and `read_source`.

    Raises:
        DataError: a file is missing or not what it should be, or the data are not fit for a study.
    """
    how = {name: keys.pop(name) for name in PREPARATION if name in keys}
    return prepare(read_source(source, folder=folder, **keys), **how, dtype=dtype, put=put, draw=draw)


def find_data(path: str, folder: Path) -> Path:
    """Give the file or folder that a study file means by `path`.

    Raises:
        DataError: it is neither beside the study file nor in the data folder.
    """
    places = [folder / path, data_folder() / path]
    for place in places:
        try:
            if place.exists():
                return place
        except (OSError, ValueError):  # a name that the system does not take
            continue
    where = " or ".join(dict.fromkeys(map(ascii, map(str, (folder.absolute(), data_folder())))))
    raise DataError.at(
        ascii(path).strip("'"),
        "there is no such file or folder",
        remedy=f"put it into {where}, or let NETCORE_DATA name the folder that holds it",
    )


def data_folder() -> Path:
    """Give the folder of data that studies share: NETCORE_DATA, else netcore's part of the platform's cache folder."""
    if named := os.environ.get("NETCORE_DATA"):
        return Path(named)
    return platformdirs.user_cache_path("netcore", appauthor=False)
