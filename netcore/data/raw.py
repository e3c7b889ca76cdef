"""Features and labels as a source reads them, before anything is split or prepared.

Sources return a `RawData`; `preparation` turns it into a `Dataset`.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

IntArray = NDArray[np.intp]


class RawData(NamedTuple):
    """The rows of a source: N rows, D features, C classes."""

    name: str
    X: "NDArray[Any] | pd.DataFrame"
    """Shape (N, D): an array of numbers, or a table."""
    y: IntArray
    """Shape (N,), classes 0 … C-1."""
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    """D names; empty for a table, whose features are named when its columns are fitted."""
    image_shape: tuple[int, int, int] | None
    """Height, width, channels, if the features are pixels (D is their product)."""
    official_test: tuple[NDArray[Any], IntArray] | None = None
    """Features and labels of the official test set, if there is one."""
    place: str = ""
    """The file or folder, for messages; if empty, the name is used."""
