"""Pickles of plain data: numbers, texts, lists, dicts and arrays of bytes, as in CIFAR-10's files.

A pickle is a program for a small machine, and may ask it to import and call anything. Here it may name only what NumPy
builds an array from, and even these names lead to stand-ins: no pickle reaches NumPy, or any other code. The program is
scanned before it runs, so that what it claims cannot take more memory than the file justifies.
"""

import math
import pickle
import pickletools
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray


class _ByteType:
    """The stand-in for `numpy.dtype`: the type of a pixel."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        if code not in {b"u1", "u1"}:
            raise pickle.UnpicklingError(f"it asks for numbers of type {code!r}, pixels are bytes")

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and fields: a byte has none."""


class Array:
    """The stand-in for `numpy.ndarray`: empty until a pickle sets its bytes."""

    array: NDArray[np.uint8] | None = None

    def __init__(self, *_: object) -> None:
        """Ignore what NumPy begins with: the class, an empty shape, a type."""

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  # whatever a pickle holds
        """Set shape, type, order and bytes."""
        _, shape, kind, columns_first, data = state
        if not (isinstance(kind, _ByteType) and isinstance(data, bytes) and math.prod(shape) == len(data)):
            raise pickle.UnpicklingError("its array is not one of bytes, as many as its shape says")
        self.array = np.frombuffer(data, np.uint8).reshape(shape, order="F" if columns_first else "C")


_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy._core.multiarray", "_reconstruct"): Array,  # its name since NumPy 2
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _ByteType,
}
"""All that a pickle may name."""


class _Unpickler(pickle.Unpickler):
    """An unpickler that finds nothing but the stand-ins."""

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401
        """Return the stand-in for a name."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused") from None


def load(data: bytes) -> Any:  # noqa: ANN401  # whatever a pickle holds
    """Return the value of a pickle; Python 2's strings come as bytes, arrays of bytes as `Array`.

    Raises:
        Exception: any kind, if the pickle is damaged or asks for anything else.
    """
    _check_claims(data)
    return _Unpickler(BytesIO(data), encoding="bytes").load()


def _check_claims(data: bytes) -> None:
    """Check that no instruction states a size beyond the file's: Python's unpickler reserves memory for some.

    `pickletools` itself checks the lengths of texts and bytes. A place in the unpickler's memo is a size too: a pickle
    of five bytes can ask for 64 GiB.
    """
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in {"PUT", "LONG_BINPUT", "FRAME"} and int(argument or 0) > len(data):
            raise pickle.UnpicklingError(f"it states a size of {argument} in a file of {len(data):,} bytes")
