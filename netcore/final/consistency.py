"""Whether the parts of a model fit together: shapes, types, names, finite numbers.

A file with a correct checksum may still have been put together by hand. Such a file is refused when it is read, not
when it predicts nonsense.
"""

import math

import numpy as np

from netcore.core.params import Params
from netcore.data import table_features
from netcore.data.preprocessing import Preprocessing

_FITTED = {"none": set(), "pixel-mean": {"mean"}, "feature": {"mean", "scale"}, "table": {"median", "mean", "scale"}}
"""The arrays of each kind of preprocessing."""


def check_params(params: Params, D: int, C: int) -> None:
    """Check that the weights are finite, of one float type, and have the shapes of D inputs and C classes.

    Raises:
        ValueError: they do not.
    """
    H = params.hidden_size
    shapes = Params((D, H), (H,), (H or D, C), (C,))  # type: ignore[arg-type]  # the shapes under the arrays' names
    for name, array, shape in zip(Params._fields, params, shapes, strict=True):
        if array.dtype not in (np.float32, np.float64) or array.dtype != params.W1.dtype:
            raise ValueError(f"{name} is of type {array.dtype}")
        if array.shape != shape:
            raise ValueError(f"{name} is of shape {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")


def check_names(class_names: tuple[str, ...], feature_names: tuple[str, ...]) -> None:
    """Check that there are two or more different class names and one or more feature names, all of them texts.

    Raises:
        ValueError: there are not.
    """
    for what, names, least in (("class", class_names, 2), ("feature", feature_names, 1)):
        if len(names) < least or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{what} names are not {least} texts or more")
    if len(set(class_names)) < len(class_names):
        raise ValueError("two classes have one name")


def check_image_shape(image_shape: tuple[int, int, int] | None, D: int) -> None:
    """Check that height, width and channels are whole numbers whose product is D.

    Raises:
        ValueError: they are not.
    """
    if image_shape is not None and (
        [type(length) for length in image_shape] != [int] * 3 or min(image_shape) < 1 or math.prod(image_shape) != D
    ):
        raise ValueError(f"image shape {image_shape} does not have {D} pixels")


def check_preprocessing(fitted: Preprocessing, feature_names: tuple[str, ...]) -> None:
    """Check that the fitted arrays are those of the kind, finite, and of the right length.

    Raises:
        KeyError: the kind is unknown, or a column has no name.
        ValueError: the arrays or columns do not fit.
    """
    kind = fitted.facts["kind"]
    if set(fitted.arrays) != _FITTED[kind]:
        raise ValueError(f"preprocessing {kind!r} has the arrays {sorted(fitted.arrays)}")
    length = len(feature_names) if kind != "table" else _numeric_columns(fitted, feature_names)
    for name, array in fitted.arrays.items():
        if array.dtype != np.float64 or array.shape != (length,) or not np.isfinite(array).all():
            raise ValueError(f"preprocessing has no {length} finite numbers as {name}")


def _numeric_columns(fitted: Preprocessing, feature_names: tuple[str, ...]) -> int:
    """Return the number of numeric columns of a table, after checking that its columns give the features."""
    columns = fitted.facts["columns"]
    for texts in ([column["name"] for column in columns], *(column.get("categories", []) for column in columns)):
        if type(texts) is not list or not all(isinstance(text, str) for text in texts):
            raise ValueError("columns and categories are not lists of texts")
        if len(set(texts)) < len(texts):
            raise ValueError("two columns, or two categories, have one name")
    if table_features.feature_names(fitted) != feature_names:
        raise ValueError("the columns of the table do not give the features")
    return sum(column["kind"] == "number" for column in columns)
