"""What the net learns: two weight matrices and two bias vectors, and their initial values.

`init_params` draws the four arrays from a random generator. The gradient of the loss has the parameters' shapes, so it
is a `Params` too.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

FloatArray = NDArray[np.floating[Any]]


class Params(NamedTuple):
    """The parameters of a two-layer net with D inputs, H hidden units and C classes."""

    W1: FloatArray
    """Weights of the first layer, shape (D, H)."""
    b1: FloatArray
    """Biases of the first layer, shape (H,)."""
    W2: FloatArray
    """Weights of the second layer, shape (H, C)."""
    b2: FloatArray
    """Biases of the second layer, shape (C,)."""

    @property
    def hidden_size(self) -> int:
        """The number of hidden units H; 0 is softmax regression, whose W2 has shape (D, C)."""
        return len(self.b1)


def init_params(
    rng: np.random.Generator | np.random.RandomState,
    input_size: int,
    hidden_size: int,
    output_size: int,
    *,
    std: float | None = None,
    dtype: DTypeLike = np.float32,
) -> Params:
    """Draw the initial parameters: normal weights, W1 before W2, and zero biases.

    The shapes follow from D = `input_size`, H = `hidden_size` and C = `output_size`. `rng` is any generator with
    `standard_normal(size)`: NumPy's, or the legacy one that the course uses.

    With `std=None` the standard deviations are those of He et al. 2015 ("Delving Deep into Rectifiers", eq. 10),
    sqrt(2 / fan-in): sqrt(2 / D) for W1 and sqrt(2 / H) for W2. A number is the standard deviation of both. Weights are
    drawn in float64 and rounded to `dtype`, so that float32 and float64 nets start from the same point. With a
    `hidden_size` of 0 the net is softmax regression: W2 multiplies the inputs.
    """
    fan_in = hidden_size or input_size
    std1 = math.sqrt(2.0 / input_size) if std is None else std
    std2 = math.sqrt(2.0 / fan_in) if std is None else std
    W1 = std1 * rng.standard_normal((input_size, hidden_size))
    W2 = std2 * rng.standard_normal((fan_in, output_size))
    return Params(W1.astype(dtype), np.zeros(hidden_size, dtype), W2.astype(dtype), np.zeros(output_size, dtype))
