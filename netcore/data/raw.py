"""Features and labels as a source gives them, before anything is split or prepared."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["IntArray", "RawData"]

IntArray = NDArray[np.intp]


class RawData(NamedTuple):
    """Features and labels as they come, before any split."""

    name: str
    X: "NDArray[Any] | pd.DataFrame"
    """Shape (rows, D): numbers, or a table of columns."""
    y: IntArray
    """Shape (rows,), classes 0 … C-1."""
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    """None of a table: there they are made when its columns are fitted."""
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, where the features are an image's pixels (D is their product)."""
    official_test: tuple[NDArray[Any], IntArray] | None = None
    """Features and labels of the official test set, where there is one."""
    place: str = ""
    """The file or folder, for messages; left out, the name."""
