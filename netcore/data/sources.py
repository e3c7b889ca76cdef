"""Where data come from: one entry for each source that a study file may name."""

from collections.abc import Callable
from functools import partial

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


def _bundled(name: str, image_shape: tuple[int, int, int] | None = None) -> RawData:
    """Load a data set that comes with scikit-learn."""
    from sklearn import datasets  # noqa: PLC0415  # heavy: only where data are loaded

    bunch = getattr(datasets, f"load_{name}")()
    return RawData(
        name=name,
        X=bunch.data,
        y=bunch.target.astype(np.intp),
        class_names=tuple(str(label) for label in bunch.target_names),
        feature_names=tuple(str(feature) for feature in bunch.feature_names),
        image_shape=image_shape,
    )


SOURCES: dict[str, Callable[[], RawData]] = {
    # 1,797 handwritten digits, 8 x 8 pixels of 17 grey levels, 10 classes (E. Alpaydin and C. Kaynak, UCI, 1998)
    "digits": partial(_bundled, "digits", (8, 8, 1)),
    # 150 irises, 4 measurements in centimetres, 3 species (R. A. Fisher, 1936): the course notes' own shape
    "iris": partial(_bundled, "iris"),
}
