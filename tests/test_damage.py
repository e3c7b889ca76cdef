"""Claims about forged files: with a right checksum and false sizes, they are refused within bounds of memory and time.

`test_record.py` has the claims about damaged records, which the checksum finds.
"""

import hashlib
import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats import npy, npy_header
from models import trained
from recorded import facts, repacked, sealed, with_facts

from netcore.archive import array_of, pack, unpack
from netcore.data import load_dataset
from netcore.data.prepared import open_dataset, prepared
from netcore.errors import RecordError, WorkError
from netcore.final.model import Model
from netcore.question.metrics import METRICS
from netcore.records.curves import CURVES
from netcore.records.record import Record, pack_weights, unpack_weights

BOUND = 100 * 2**20
"""Bytes that reading a file of a few kilobytes may take at most."""


@contextmanager
def bounded() -> Iterator[None]:
    """Check the memory, NumPy's included, and the time that the block takes."""
    begun = time.monotonic()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < BOUND
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begun < 60  # seconds: a bomb takes hours, a busy machine does not


def test_the_bound_bites() -> None:
    """The bound counts memory that is allocated but not touched."""
    with pytest.raises(AssertionError), bounded():
        np.empty(BOUND, np.uint8)


def raw(text: str) -> bytes:
    """Return an .npy with this header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin-1")


ARRAYS: dict[str, bytes] = {
    "8 TB": npy_header((10**12,)),
    "800 MB": npy_header((10**8,)),
    "more than 64 bits": npy_header((2**40, 2**40)),
    "rows of nothing": npy_header((10**12, 0)),
    "nothing of rows": npy_header((0, 10**12)),
    "letters of no size": npy_header((10**12,), "<U0"),
    "bytes of no size": npy_header((10**12,), "|V0"),
    "objects": npy_header((3,), "|O", bytes(24)),
    "negative": raw("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}\n"),
    "yes": raw("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}\n"),
    "no tuple": raw("{'descr': '<f8', 'fortran_order': False, 'shape': 3}\n"),
    "unclosed": raw("{'descr': '<f8', 'fortran_order': False, 'shape': (3,"),
    "deep": raw("(" * 5_000),
    "a sum": raw("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1+" * 2_000 + "1,)}\n"),
    "a string": raw("'''"),
    "indented": raw("  {\n      'a': (\n"),
    "no header": b"\x93NUMPY\x01\x00",
    "version 3": b"\x93NUMPY\x03\x00" + bytes(8),
    "too much": npy_header((3,), content=bytes(25)),
    "too little": npy_header((3,), content=bytes(23)),
}
"""Members whose header does not describe their data."""


@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_is_what_is_there(records: dict[str, Record], folded: Record, what: str) -> None:
    """A header that does not describe the data is refused wherever an array is read, before any allocation."""
    record, model = records["finished"], trained("iris", hidden_size=2)[0]
    with bounded():
        for name in CURVES:
            with pytest.raises(RecordError, match=r"^x.npz: does not hold a record \(.*\)"):
                Record.from_bytes(repacked(record, {f"{name}.npy": ARRAYS[what]}), "x.npz")
        with pytest.raises(RecordError, match=r"^x.npz: does not hold a record \(.*\)"):
            Record.from_bytes(repacked(folded, {"fold_val_loss.npy": ARRAYS[what]}), "x.npz")
        for name in ("W1", "b2", "preprocessing.scale"):
            with pytest.raises(RecordError, match=r"^m.npz: does not contain a model \(.*\)"):
                Model.from_bytes(pack({**unpack(model.to_bytes(), ""), f"{name}.npy": ARRAYS[what]}), "m.npz")


def test_rows_of_nothing_are_no_folds(records: dict[str, Record]) -> None:
    """Folds without an epoch are refused, because rows of no bytes could be of any number."""
    nothing = {f"{name}.npy": npy_header((0,)) for name in CURVES}
    nothing |= {f"fold_{name}.npy": npy_header((10**12, 0)) for name in METRICS}
    data = repacked(records["failed"], nothing)
    with bounded(), pytest.raises(RecordError, match="does not hold a record"):
        Record.from_bytes(data, "x.npz")


@pytest.mark.parametrize("what", ["8 TB", "objects", "negative"])
def test_prepared_data_that_claim_more(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared arrays whose header claims more than the file has are refused in one line."""
    monkeypatch.setenv("NETCORE_CACHE", str(tmp_path))
    with prepared(lambda put: load_dataset("iris", seed=0, put=put)) as dataset, bounded():
        assert dataset.path is not None
        (dataset.path / "0.X_train.npy").write_bytes(ARRAYS[what])
        with pytest.raises(WorkError, match="the prepared data are missing or damaged"):
            open_dataset(dataset.path)


# Archives


def local(name: bytes, size: int, crc: int, packed: int = 0) -> bytes:
    """Return a member's own header."""
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, packed, 0, 33, crc, size, size, len(name), 0) + name


def central(name: bytes, size: int, crc: int, at: int, real: int | None = None) -> bytes:
    """Return a member's entry in the directory."""
    held = size if real is None else real
    return (
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, crc, size, held, len(name), 0, 0, 0, 0, 0, at) + name
    )


def archive(body: bytes, directory: list[bytes]) -> bytes:
    """Return an archive with a right checksum."""
    listed = b"".join(directory)
    count = min(len(directory), 0xFFFF)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(listed), len(body), 64)
    return sealed(body + listed + end)


def overlapping(members: int, size: int) -> bytes:
    """Return an archive in which each member contains all later ones, and the same large part."""
    names = [b"%06d" % number for number in range(members)]
    body, headers = bytes(size), []
    for name in reversed(names):
        crc = zlib.crc32(body)
        headers.append((name, len(body), crc))
        body = local(name, len(body), crc) + body
    at, directory = 0, []
    for name, length, crc in reversed(headers):
        directory.append(central(name, length, crc, at))
        at += 30 + len(name)
    return archive(body, directory)


def deflated(size: int) -> bytes:
    """Return an archive with a member that is a thousand times larger when decompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        with made.open("record.json", "w") as member:
            for _ in range(size // 2**20):
                member.write(bytes(2**20))
        made.comment = b"0" * 64
    return sealed(buffer.getvalue()[:-64])


BOMBS: dict[str, Callable[[], bytes]] = {
    "members that overlap": lambda: overlapping(200, 2**20),
    "one of 256 MB, packed": lambda: deflated(2**28),
    "50,000 members": lambda: archive(local(b"a", 0, 0), [central(b"%05d" % n, 0, 0, 0) for n in range(50_000)]),
    "one that says 4 GB": lambda: archive(
        local(b"record.json", 2, 0) + b"{}", [central(b"record.json", 2**32 - 2, 0, 0)]
    ),
    "one that becomes 4 GB": lambda: archive(
        local(b"record.json", 2, 0) + b"{}", [central(b"record.json", 2, 0, 0, 2**32 - 2)]
    ),
    "numbers of a million digits": lambda: pack({"record.json": b'{"trial": ' + b"9" * 10**6 + b"}"}),
    "a million lists": lambda: pack({"record.json": b"[" * 10**6}),
}
"""Files of at most some megabytes."""


def record_of_weights(record: Record, weights: bytes) -> Record:
    """Return a record that says that these bytes are its weights."""
    changed = {**facts(record), "weights_sha256": hashlib.sha256(weights).hexdigest()}
    return Record.from_bytes(with_facts(record, changed), "x.npz")


@pytest.mark.parametrize("what", BOMBS)
def test_an_archive_takes_what_it_has(records: dict[str, Record], what: str) -> None:
    """An archive with false sizes is refused as a record, a model and weights, within the bound."""
    data = BOMBS[what]()
    assert len(data) < 6 * 2**20
    record = record_of_weights(records["finished"], data)
    with bounded():
        for read in (Record.from_bytes, Model.from_bytes, lambda data, place: unpack_weights(data, record, place)):
            with pytest.raises(RecordError, match=r"^x.npz: "):
                read(data, "x.npz")


def test_weights_are_arrays_of_numbers(records: dict[str, Record]) -> None:
    """Forged weights whose record has their SHA-256 are refused if they contain objects or text."""
    params = trained("iris", hidden_size=3)[0].params
    members = unpack(pack_weights(params), "")
    for content in (
        ARRAYS["objects"],
        ARRAYS["8 TB"],
        npy_header((3,), "<U1", bytes(12)),
        npy_header((), "<f8", bytes(8)),
    ):
        data = pack({**members, "b1.npy": content})
        with pytest.raises(RecordError, match="does not hold weights"):
            unpack_weights(data, record_of_weights(records["finished"], data), "w.npz")


def test_arrays_are_read_as_they_were_written() -> None:
    """Arrays of any shape, order and type are read back as they were packed, and are read-only."""
    arrays: list[Any] = [np.arange(6.0).reshape(2, 3), np.zeros((1, 0), np.float32), np.zeros((4, 0)), np.array([2.5])]
    for array in (*arrays, np.arange(3, dtype=">i4")):
        again = array_of(unpack(pack({"x": array}), "")["x.npy"])
        np.testing.assert_array_equal(again, array)
        assert again.dtype == array.dtype
        assert not again.flags.writeable
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(array_of(npy(columns)), columns)
