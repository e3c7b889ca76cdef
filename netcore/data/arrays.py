"""NumPy arrays as a source: features and labels in an .npz, or in a folder with two .npy files.

The arrays stay on disk, mapped into memory (`npy_files`). Here their shapes and values are checked, and the labels
become classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netcore.data.columns import refuse, whole_numbers
from netcore.data.dataset import RawData
from netcore.data.npy_files import SAVE_AGAIN, map_file, read_member
from netcore.data.preprocessing import chunks
from netcore.errors import DataError
from netcore.files import is_file


def read_arrays(path: Path, features: str = "X", labels: str = "y") -> RawData:
    """Return the arrays `features` and `labels` of an .npz, or of a folder with .npy files of these names.

    Features are numbers of shape (N, D), or images of shape (N, height, width) or (N, height, width, channels).
    Labels are N whole numbers or texts; each different one is a class.

    Raises:
        DataError: a file is missing, damaged, contains objects, or features and labels do not fit each other.
    """
    if path.suffix == ".npy":
        remedy = f"name the folder {path.parent}, and the files by data.features and data.labels"
        raise DataError.at(path, "must be an .npz or a folder of .npy files", "an .npy file", remedy)
    read = read_member if is_file(path) else map_file
    X, x_place = read(path, features)
    y, y_place = read(path, labels)
    if X.dtype.kind not in "biuf" or X.ndim not in {2, 3, 4} or not X.size:
        rule = "features must be numbers of shape (N, D), (N, height, width) or (N, height, width, channels)"
        raise DataError.at(x_place, rule, f"{X.dtype} of shape {X.shape}", "reshape them before saving")
    if y.ndim != 1 or len(y) != len(X):
        rule = f"labels must have shape ({len(X)},), one for each row of the features"
        raise DataError.at(y_place, rule, f"shape {y.shape}", "use numpy.argmax for one-hot rows, ravel for a column")
    image_shape = None
    if X.ndim > 2 and X.shape[3:] in {(), (1,), (3,)}:  # noqa: PLR2004  # images, grey or in colour
        image_shape = (*X.shape[1:3], *(X.shape[3:] or (1,)))
    X = X.reshape(len(X), -1)
    if X.dtype.kind == "f":
        wrong = np.concatenate([np.count_nonzero(~np.isfinite(X[part]), axis=1) for part in chunks(*X.shape)])
        remedy = "remove these rows, or fill them in"
        refuse(wrong, x_place, "features must be finite numbers", "NaN or infinite values", remedy)
    names, classes = np.unique(_labels(y, y_place), return_inverse=True)
    return RawData(
        name=path.resolve().stem,
        X=X,
        y=classes.astype(np.intp),
        class_names=tuple(map(str, names.tolist())),
        feature_names=tuple(f"{features}_{column}" for column in range(X.shape[1])),
        image_shape=image_shape,
        place=str(path),
    )


def _labels(y: NDArray[Any], place: str) -> NDArray[Any]:
    """Return labels, shape (N,), as whole numbers or texts."""
    y = whole_numbers(y, place)
    try:
        "".join(y.tolist() if y.dtype.kind == "U" else ()).encode()
    except ValueError as error:
        raise DataError.at(place, "labels must be Unicode text", remedy=SAVE_AGAIN) from error
    return np.char.decode(y, "latin-1") if y.dtype.kind == "S" else y
