"""Tiny files in the formats of the real ones, written as their authors wrote them; and damage to any file."""

import gzip
import io
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from numpy.typing import NDArray

from netcore.data import Dataset, load_dataset

Bytes = NDArray[np.uint8]

CIFAR_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def pixels(rows: int, *shape: int, seed: int = 0) -> Bytes:
    """Draw pictures of noise."""
    return np.random.default_rng(seed).integers(0, 256, (rows, *shape), np.uint8)


def idx_file(array: Bytes) -> bytes:
    """Write an IDX file of unsigned bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, *, rows: int = 30, test_rows: int = 12, packed: bool = True) -> Path:
    """Write the four files: pictures of 4 by 3, three classes in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", rows), ("t10k", test_rows)):
        files = {f"{part}-images-idx3-ubyte": pixels(n, 4, 3, seed=n)}
        files[f"{part}-labels-idx1-ubyte"] = (np.arange(n) % 3).astype(np.uint8)
        for name, array in files.items():
            data = idx_file(array)
            (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return folder


def write_cifar(folder: Path, *, rows: int = 40, binary: bool = False) -> Path:
    """Write the six batches, each with so many rows, ten classes in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(CIFAR_FILES):
        data, labels = pixels(rows, 3072, seed=seed), [row % 10 for row in range(rows)]
        if binary:
            (folder / f"{name}.bin").write_bytes(np.column_stack([np.array(labels, np.uint8), data]).tobytes())
        else:
            (folder / name).write_bytes(batch_file(data, labels))
    return folder


def python2_string(data: bytes) -> bytes:
    """Write a string as Python 2 pickles it."""
    short = len(data) < 256
    return (b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data


def python2_list(numbers: list[int]) -> bytes:
    """Write a list of small numbers."""
    return b"](" + b"".join(b"K" + bytes([number]) for number in numbers) + b"e"


def python2_array(data: Bytes) -> bytes:
    """Write an array as NumPy under Python 2 pickles it: three names, `_reconstruct`, `ndarray` and `dtype`."""
    n, D = data.shape
    dtype = b"cnumpy\ndtype\n" + python2_string(b"u1") + b"K\x00K\x01\x87R(K\x03" + python2_string(b"|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + python2_string(b"b") + b"\x87R"
    state = b"(K\x01" + struct.pack("<ci", b"J", n) + struct.pack("<ci", b"J", D) + b"\x86" + dtype + b"\x89"
    return empty + state + python2_string(data.tobytes()) + b"tb"


def python2_pickle(items: dict[bytes, bytes]) -> bytes:
    """Write a dict of protocol 2 from the pickled values of its keys."""
    return b"\x80\x02}(" + b"".join(python2_string(key) + value for key, value in items.items()) + b"u."


def batch_file(data: Bytes, labels: list[int]) -> bytes:
    """Write a file as CIFAR-10's authors did."""
    label = python2_string(b"training batch 1 of 5")
    return python2_pickle({b"batch_label": label, b"labels": python2_list(labels), b"data": python2_array(data)})


def npy(array: object) -> bytes:
    """Return the bytes of an .npy file; an array of objects is pickled."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


def npy_header(shape: object, descr: str = "<f8", content: bytes = b"") -> bytes:
    """Return an .npy file whose header claims a shape, whatever its content is."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + content


X, Y = np.random.default_rng(0).standard_normal((30, 2)), np.arange(30) % 3
TEXTS = np.array(["x", "y", "z"])[Y]
FRAME = pd.DataFrame({"a": X[:, 0], "b": TEXTS, "kind": Y})


def write_arrays(folder: Path) -> None:
    """Write a folder of arrays, whose labels are texts."""
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", TEXTS)


DATA: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "idx": ("idx", IMAGES, partial(write_idx, packed=False)),
    "idx.gz": ("idx", f"{LABELS}.gz", write_idx),
    "cifar10 py": ("cifar10", "data_batch_1", partial(write_cifar, rows=20)),
    "cifar10 bin": ("cifar10", "data_batch_1.bin", partial(write_cifar, rows=20, binary=True)),
    "packed npz": ("arrays", "x.npz", lambda folder: np.savez_compressed(folder / "x.npz", X=X, y=Y)),
    "npy": ("arrays", "X.npy", write_arrays),
    "npy labels": ("arrays", "y.npy", write_arrays),
    "csv": ("table", "x.csv", lambda folder: FRAME.to_csv(folder / "x.csv", index=False)),
    "parquet": ("table", "x.parquet", lambda folder: FRAME.to_parquet(folder / "x.parquet")),
}
"""By name: the source that reads the format, one of its files, and what writes all of them."""


def write_data(folder: Path, form: str) -> tuple[Path, Callable[[], Dataset]]:
    """Write data of three or more classes in a new folder; return one of the files, and what loads the data."""
    source, name, write = DATA[form]
    folder.mkdir()
    write(folder)
    keys: dict[str, Any] = {"target": "kind"} if source == "table" else {}
    whole = folder / name if source == "table" or name.endswith(".npz") else folder
    load = partial(load_dataset, source, path=str(whole), seed=0, **keys)
    assert load().classes >= 3
    return folder / name, load


def damage(content: bytes, data: st.DataObject) -> bytes:
    """Change, cut, insert, or swap bytes, the first ones more often than others: there the structure is."""
    changed = bytearray(content)
    places = (
        st.integers(0, max(0, len(content) - 1)) | st.integers(0, 200) | st.integers(len(content) - 200, len(content))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        place = min(max(0, data.draw(places)), max(0, len(changed) - 1))
        match data.draw(st.integers(0, 4)):
            case 0 | 1:
                changed[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
            case 2:
                changed[place:place] = data.draw(st.binary(max_size=8))
            case 3:
                del changed[place : place + data.draw(st.integers(1, 40))]
            case _:
                changed = changed[:place]
    return bytes(changed)
