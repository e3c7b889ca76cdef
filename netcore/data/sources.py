"""The sources of data that a study file may name, and the folders in which netcore looks for their files.

A source is a function from its own keys in [data], such as `path`, to `RawData`; `load_dataset` reads one and prepares
it. To add a source, write its function, and give it an entry in `SOURCES`.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
from numpy.typing import DTypeLike

from netcore.data.arrays import read_arrays
from netcore.data.cifar10 import read_cifar10
from netcore.data.dataset import Dataset, Put, RawData, put_in_memory
from netcore.data.idx import read_idx
from netcore.data.preparation import prepare
from netcore.data.table import read_table
from netcore.errors import DataError


def _bundled(name: str, image_shape: tuple[int, int, int] | None = None) -> RawData:
    """Return the data set of this name that comes with scikit-learn; it is never downloaded."""
    from sklearn import datasets  # noqa: PLC0415  # heavy: only where data are loaded

    bunch = getattr(datasets, f"load_{name}")()
    classes, features = (tuple(map(str, names)) for names in (bunch.target_names, bunch.feature_names))
    return RawData(name, bunch.data, bunch.target.astype(np.intp), classes, features, image_shape)


class Source(NamedTuple):
    """A source: how it is read, and its line in `netcore data list`."""

    read: Callable[..., RawData]
    """The function from the source's own keys (`path` as a Path that exists) to its rows."""
    meaning: str


_DIGITS = partial(_bundled, "digits", (8, 8, 1))  # E. Alpaydin and C. Kaynak, UCI, 1998
_IRIS = partial(_bundled, "iris")  # R. A. Fisher, 1936: the data set of the course notes
_WINE = partial(_bundled, "wine")  # S. Aeberhard and M. Forina, UCI, 1992
_CANCER = partial(_bundled, "breast_cancer")  # W. Wolberg et al., UCI, 1995

SOURCES = {
    "digits": Source(_DIGITS, "1,797 handwritten digits of 8 x 8 pixels, 10 classes; comes with scikit-learn"),
    "iris": Source(_IRIS, "150 irises, 4 measurements, 3 species; comes with scikit-learn"),
    "wine": Source(_WINE, "178 wines, 13 chemical measurements, 3 growers; comes with scikit-learn"),
    "breast_cancer": Source(_CANCER, "569 cell samples, 30 measurements, malignant or benign; comes with scikit-learn"),
    "idx": Source(read_idx, "MNIST, Fashion-MNIST and similar sets: a folder of the four official files, .gz or not"),
    "cifar10": Source(read_cifar10, "CIFAR-10: the official folder, pickled or binary"),
    "arrays": Source(read_arrays, "NumPy arrays: an .npz, or a folder of .npy files"),
    "table": Source(read_table, "CSV or Parquet with a target column"),
}
"""By name, as in `data.source`."""

PREPARATION = ("validation", "test", "folds", "seed", "standardize")
"""The keys of [data] for split and preparation; all others belong to the source."""


def read_source(source: str, *, folder: Path | None = None, **keys: Any) -> RawData:  # noqa: ANN401  # each has its own
    """Return the raw rows of one of `SOURCES`, before any split.

    A relative `path` is looked up in `folder` first, then in the data folder.

    Raises:
        DataError: a file is missing, damaged, or in another format.
    """
    if "path" in keys:
        keys["path"] = find_data(keys["path"], folder or Path())
    return SOURCES[source].read(**keys)


def load_dataset(
    source: str,
    *,
    dtype: DTypeLike = np.float32,
    folder: Path | None = None,
    put: Put = put_in_memory,
    draw: int | None = None,
    **keys: Any,  # noqa: ANN401  # each source has its own, checked by the study file's model
) -> Dataset:
    """Return the prepared data set of a study file's [data] table; the arguments are its keys.

    See `read_source` for `folder`, and `prepare` for `dtype`, `put`, `draw` and the keys in `PREPARATION`.

    Raises:
        DataError: a file is missing or damaged, or the data cannot be used for a study.
    """
    how = {name: keys.pop(name) for name in PREPARATION if name in keys}
    return prepare(read_source(source, folder=folder, **keys), **how, dtype=dtype, put=put, draw=draw)


def find_data(path: str, folder: Path) -> Path:
    """Return the file or folder that a study file in `folder` means by `path`.

    Raises:
        DataError: it is neither beside the study file nor in the data folder.
    """
    for place in (folder / path, data_folder() / path):
        if place.exists():
            return place
    remedy = f"put it into {folder.absolute()} or {data_folder()}, or set NETCORE_DATA to the folder that contains it"
    raise DataError.at(path, "there is no such file or folder", remedy=remedy)


def data_folder() -> Path:
    """Return the folder of data that studies share: NETCORE_DATA, or netcore's part of the platform's cache folder."""
    if named := os.environ.get("NETCORE_DATA"):
        return Path(named)
    return platformdirs.user_cache_path("netcore", appauthor=False)
