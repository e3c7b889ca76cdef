"""How a gradient is checked: against central differences, which do not use the equations.

`numerical_gradient` changes one number of an array at a time and evaluates the function; `relative_error` measures the
difference between two arrays.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from netcore.core.params import FloatArray


def numerical_gradient(f: Callable[[FloatArray], float], x: FloatArray, h: float = 1e-5) -> FloatArray:
    """Return the gradient of `f` at `x` by central differences, (f(x + h) - f(x - h)) / 2h for each entry.

    The result has the shape of `x`. `x` is changed in place and restored, so `f` may also refer to it from outside. The
    error is of order h² (truncation) plus eps / h (rounding): about 1e-10 for float64 at the default `h`.
    """
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        try:
            x[index] = value + h
            above = f(x)
            x[index] = value - h
            below = f(x)
        finally:
            x[index] = value
        gradient[index] = (above - below) / (2 * h)
    return gradient


def relative_error(a: ArrayLike, b: ArrayLike) -> float:
    """Return the largest |a - b| / max(1e-8, |a| + |b|) over all entries: 0 for equal arrays, at most 1.

    Raises:
        ValueError: the shapes differ; broadcasting would hide mistakes.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"both arrays must have the same shape, got {a.shape} and {b.shape}")
    if a.size == 0:
        return 0.0
    return float(np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))))
