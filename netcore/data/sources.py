"""Where data come from: one function for each source that a study file may name."""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from netcore.data.dataset import Dataset, RawData, prepare

__all__ = ["SOURCES", "load_dataset"]


def load_dataset(source: str, *, validation: float, test: float, seed: int, dtype: DTypeLike = np.float32) -> Dataset:
    """Load one of `SOURCES` and prepare it: what a study file's [data] table asks for.

    Raises:
        DataError: the data are not fit for a study.
    """
    return prepare(SOURCES[source](), validation=validation, test=test, seed=seed, dtype=dtype)


def _digits() -> RawData:
    """1,797 handwritten digits, 8 x 8 pixels of 17 grey levels, 10 classes (E. Alpaydin and C. Kaynak, UCI, 1998)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # heavy: only where data are loaded

    bunch = load_digits()
    return RawData(
        name="digits",
        X=bunch.data,
        y=bunch.target.astype(np.intp),
        class_names=tuple(str(name) for name in bunch.target_names),
        feature_names=tuple(bunch.feature_names),
        image_shape=(8, 8, 1),
    )


def _iris() -> RawData:
    """150 irises, 4 measurements in centimetres, 3 species (R. A. Fisher, 1936): the course notes' own shape."""
    from sklearn.datasets import load_iris  # noqa: PLC0415

    bunch = load_iris()
    return RawData(
        name="iris",
        X=bunch.data,
        y=bunch.target.astype(np.intp),
        class_names=tuple(str(name) for name in bunch.target_names),
        feature_names=tuple(bunch.feature_names),
        image_shape=None,
    )


SOURCES: dict[str, Callable[[], RawData]] = {"digits": _digits, "iris": _iris}
