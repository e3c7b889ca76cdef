"""Claims about netcore.records.record: a record is read back as it was, and any change to it is noticed."""

import dataclasses
import hashlib
import io
import json
import math
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netcore.archive import pack
from netcore.core.params import Params
from netcore.core.sgd import Epoch
from netcore.data import Dataset, load_dataset
from netcore.errors import RecordError
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import METRICS, Metric
from netcore.question.spec import StudySpec
from netcore.records.curves import CURVES
from netcore.records.job import State, TrialJob, TrialResult, failed
from netcore.records.record import (
    Provenance,
    Record,
    differences,
    pack_weights,
    ranked,
    setting_differences,
    unpack_weights,
)
from netcore.workers.trial import run_trial

SPACE: dict[str, Any] = {"learning_rate": 0.1, "hidden_size": 3, "reg": 1e-3, "learning_rate_decay": 0.9}
REMEDY = "`netcore run` moves it aside and trains the trial again"
ALTERED = f"x.npz: is truncated or altered (its checksum does not hold); {REMEDY}"
WHEN = Provenance(started=1.7e9, seconds=0.25, attempts=1, environment={"numpy": "2", "blas": "openblas"})


def job(**changes: Any) -> TrialJob:  # noqa: ANN401
    """Make a job of three epochs of iris, but for the changes asked for."""
    training = {"epochs": 3, "batch_size": 30}
    study = {"study": {"name": "x"}, "data": {"source": "iris"}, "training": training, "space": SPACE}
    made = TrialJob.of(
        StudySpec.model_validate(study),
        7,
        Hyperparameters(**SPACE),
        {2: 0.75, 3: 0.1 + 0.2},
        "d" * 64,
        "k" * 64,
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def iris() -> Dataset:
    """Load iris once."""
    return load_dataset("iris", validation=0.2, test=0.2, seed=0)


@pytest.fixture(scope="module")
def records(iris: Dataset) -> dict[str, Record]:
    """Make one record of each state."""
    rates = {"finished": {}, "pruned": {2: -1.0}, "diverged": {}}
    jobs = {name: job(thresholds=thresholds) for name, thresholds in rates.items()}
    jobs["diverged"] = job(hyperparameters=Hyperparameters(1e30, 3, 1e-3, 0.9))
    made = {name: Record.of(one, run_trial(one, iris), WHEN) for name, one in jobs.items()}
    made["failed"] = Record.of(job(), failed("error", "Traceback …\n\ud800"), WHEN)
    assert {name: str(record.result.state) for name, record in made.items()} == {name: name for name in made}
    return made


STATES = ["finished", "pruned", "diverged", "failed"]


def same(one: Record, other: Record) -> bool:
    """Say whether two records are equal, a NaN being equal to itself."""
    return (
        repr(dataclasses.astuple(one)) == repr(dataclasses.astuple(other))
        and one.job.history_hash == other.job.history_hash
    )


def without_weights(record: Record) -> Record:
    """Give a record as it is read back: the weights are a file of their own."""
    return dataclasses.replace(record, result=dataclasses.replace(record.result, weights=None))


def sealed(body: bytes) -> bytes:
    """Put the right checksum behind whatever bytes."""
    return body + hashlib.sha256(body).hexdigest().encode()


def repacked(record: Record, **changes: Any) -> bytes:  # noqa: ANN401
    """Give a record's file with other members (None: left out) and the right checksum."""
    with zipfile.ZipFile(io.BytesIO(record.to_bytes())) as archive:
        members: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    members |= {name.replace("__", "."): content for name, content in changes.items()}
    return pack({name: content for name, content in members.items() if content is not None})


def npy(array: np.ndarray[Any, Any]) -> bytes:
    """Write an .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def facts(record: Record) -> dict[str, Any]:
    """Give the facts in a record's file."""
    with zipfile.ZipFile(io.BytesIO(record.to_bytes())) as archive:
        content: dict[str, Any] = json.loads(archive.read("record.json"))
    return content


# Round trip


@pytest.mark.parametrize("state", STATES)
def test_round_trip(records: dict[str, Record], state: str) -> None:
    """A record of any state is read back as it was written, to the last bit, but for the weights."""
    record = records[state]
    again = Record.from_bytes(record.to_bytes(), "x.npz")
    assert same(again, without_weights(record))
    assert again.job == record.job
    assert again.to_bytes() == record.to_bytes()


FINITE = st.floats(allow_nan=False, allow_infinity=False)
EPOCHS = st.lists(st.tuples(FINITE, st.floats(), st.floats(), FINITE, FINITE), min_size=1, max_size=5)


@settings(deadline=None, derandomize=True)
@given(
    EPOCHS, FINITE, st.dictionaries(st.integers(1, 99), FINITE), st.text(), st.floats(0, 8e9), st.sampled_from(State)
)
def test_any_record_round_trips(
    curve: list[tuple[float, ...]],
    value: float,
    thresholds: dict[int, float],
    text: str,
    started: float,
    state: State,
) -> None:
    """Whatever figures and texts a record has, they are read back exactly."""
    entries = tuple(Epoch(n, *figures) for n, figures in enumerate(curve, start=1))
    result = TrialResult(state, entries, 1, value, failure=text, traceback=text)
    record = Record.of(job(thresholds=thresholds), result, dataclasses.replace(WHEN, started=started))
    assert same(Record.from_bytes(record.to_bytes(), "x.npz"), record)


@pytest.mark.parametrize("state", STATES)
def test_numpy_opens_it_without_pickle(records: dict[str, Record], state: str) -> None:
    """`numpy.load` with its safe defaults opens a record: the curves are its arrays, one entry per epoch."""
    record = records[state]
    with np.load(io.BytesIO(record.to_bytes()), allow_pickle=False) as archive:
        assert set(archive.files) == {*CURVES, "record.json", "preprocessing.json"}
        for name in CURVES:
            expected = [getattr(epoch, name) for epoch in record.result.curve]
            np.testing.assert_array_equal(archive[name], np.array(expected, np.float64))
        assert json.loads(archive["record.json"])["number"] == 7


def test_records_are_strict_json(records: dict[str, Record]) -> None:
    """The facts are JSON that every reader takes: no NaN stands in them, a value that is none is null."""
    for record in records.values():
        with zipfile.ZipFile(io.BytesIO(record.to_bytes())) as archive:
            json.loads(archive.read("record.json"), parse_constant=pytest.fail)
    assert facts(records["diverged"])["value"] is None


def test_equal_trainings_give_equal_bytes(iris: Dataset, records: dict[str, Record]) -> None:
    """The same trial, made a record again, gives the same file."""
    for name in ("finished", "pruned", "diverged"):
        again = Record.of(records[name].job, run_trial(records[name].job, iris), WHEN)
        assert again.to_bytes() == records[name].to_bytes()


def test_every_nan_is_the_same() -> None:
    """Two divergences that differ only in their NaN's payload or sign are the same record."""
    made = []
    for nan in (math.nan, -math.nan, float(np.frombuffer(b"\x01\0\0\0\0\0\xf8\x7f", np.float64)[0])):
        result = TrialResult(State.DIVERGED, (Epoch(1, 0.1, nan, nan, 0.5, 0.5),))
        made.append(Record.of(job(), result, WHEN))
    assert len({record.digest for record in made}) == 1
    assert len({record.to_bytes() for record in made}) == 1


def test_ended(records: dict[str, Record]) -> None:
    """A trial's end is its start and what it took."""
    assert records["finished"].provenance.ended == 1.7e9 + 0.25


# Folds


@pytest.fixture(scope="module")
def folded() -> Record:
    """Make the record of a trial with three folds."""
    dataset = load_dataset("iris", seed=0, folds=3)
    asked = job(thresholds={})
    return Record.of(asked, run_trial(asked, dataset), WHEN, dataset.preprocessing)


def test_a_record_with_folds_round_trips(folded: Record) -> None:
    """The curves of the folds are read back as they were, and are arrays of shape (folds, epochs)."""
    again = Record.from_bytes(folded.to_bytes(), "x.npz")
    assert again.result.folds == folded.result.folds
    assert len(again.result.folds) == 3
    assert again.to_bytes() == folded.to_bytes()
    with np.load(io.BytesIO(folded.to_bytes()), allow_pickle=False) as archive:
        for name in METRICS:
            expected = [[getattr(epoch, name) for epoch in fold] for fold in folded.result.folds]
            np.testing.assert_array_equal(archive[f"fold_{name}"], np.array(expected))
            assert archive[f"fold_{name}"].shape == (3, 3)


def test_the_digest_covers_the_folds(folded: Record) -> None:
    """Two folds exchanged, or one figure of one fold changed, is another digest, though the mean were the same."""
    first, second, third = folded.result.folds
    nudged = (dataclasses.replace(first[0], val_accuracy=first[0].val_accuracy + 1e-12), *first[1:])
    for folds in ((second, first, third), (nudged, second, third), (first, second), ()):
        result = dataclasses.replace(folded.result, folds=folds)
        assert Record.of(folded.job, result, WHEN).digest != folded.digest


def test_a_flipped_bit_of_a_fold_is_noticed(folded: Record) -> None:
    """Whichever byte of a fold's curves is changed, the record is refused."""
    data = bytearray(folded.to_bytes())
    for offset in range(data.index(b"fold_train_loss"), data.index(b"preprocessing.json"), 3):
        data[offset] ^= 1 << offset % 8
        with pytest.raises(RecordError) as caught:
            Record.from_bytes(bytes(data), "x.npz")
        assert str(caught.value) == ALTERED
        data[offset] ^= 1 << offset % 8


WRONG_FOLDS: dict[str, np.ndarray[Any, Any] | None] = {
    "none": None,
    "an epoch less": np.zeros((3, 2)),
    "a fold less": np.zeros((2, 3)),
    "one curve": np.zeros(3),
    "deeper": np.zeros((3, 3, 1)),
    "float32": np.zeros((3, 3), np.float32),
    "text": np.full((3, 3), "a"),
}


@pytest.mark.parametrize("what", WRONG_FOLDS)
@pytest.mark.parametrize("name", METRICS)
def test_a_record_with_wrong_folds(folded: Record, name: str, what: str) -> None:
    """An array of the folds that is missing, or of another shape or type than the others, is refused in one line."""
    content = WRONG_FOLDS[what]
    member = None if content is None else npy(content)
    with pytest.raises(RecordError, match=r"^x.npz: does not hold a record \([^\n]*\); `netcore run` moves it aside"):
        Record.from_bytes(repacked(folded, **{f"fold_{name}__npy": member}), "x.npz")


# Every change is noticed


@pytest.mark.parametrize("state", STATES)
def test_every_flipped_bit_is_noticed(records: dict[str, Record], state: str) -> None:
    """Whichever single bit of a record is flipped, it is refused by one line that names the file."""
    data = bytearray(records[state].to_bytes())
    bits = range(8 * len(data)) if state == "failed" else range(0, 8 * len(data), 11)
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordError) as caught:
            Record.from_bytes(bytes(data), "x.npz")
        assert str(caught.value) == ALTERED
        data[bit // 8] ^= 1 << bit % 8
    assert same(Record.from_bytes(bytes(data), "x.npz"), without_weights(records[state]))


def test_every_truncation_is_noticed(records: dict[str, Record]) -> None:
    """Wherever a record ends too early, at the front or at the back, it is refused."""
    data = records["finished"].to_bytes()
    for length in range(len(data)):
        for part in (data[:length], data[len(data) - length :]):
            with pytest.raises(RecordError) as caught:
                Record.from_bytes(part, "x.npz")
            assert str(caught.value) == ALTERED


@pytest.mark.parametrize("more", [b"\0", b"0" * 64, b"PK\x05\x06" + bytes(18)])
def test_bytes_before_or_behind_are_noticed(records: dict[str, Record], more: bytes) -> None:
    """A record with anything added is refused, though a zip archive may have bytes before it."""
    data = records["finished"].to_bytes()
    for altered in (data + more, more + data):
        with pytest.raises(RecordError, match="truncated or altered"):
            Record.from_bytes(altered, "x.npz")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=400))
@example(b"")
@example(b"PK\x05\x06" + bytes(16) + b"\x40\0")
def test_any_bytes_with_a_right_checksum_are_no_record(body: bytes) -> None:
    """Whatever bytes with the right checksum behind them are a RecordError and nothing else."""
    with pytest.raises(RecordError):
        Record.from_bytes(sealed(body), "x.npz")
    with pytest.raises(RecordError):
        Record.from_bytes(body, "x.npz")


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.data())
def test_any_change_with_a_right_checksum_is_read_or_refused(records: dict[str, Record], data: st.DataObject) -> None:
    """Bytes altered and sealed again give a record or a RecordError, whatever of the archive was hit."""
    body = bytearray(records["failed"].to_bytes()[:-64])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        Record.from_bytes(sealed(bytes(body)), "x.npz")
    except RecordError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # it may be a record still


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_compression_is_a_record_error(records: dict[str, Record], compression: int) -> None:
    """A member whose compressed bytes are damaged, under a right checksum, is a RecordError."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("record.json", json.dumps(facts(records["finished"])))
        archive.comment = b"0" * 64
    start = 30 + len("record.json")
    for offset in range(start, start + 40):
        body = bytearray(buffer.getvalue()[:-64])
        body[offset] ^= 0xFF
        with pytest.raises(RecordError):
            Record.from_bytes(sealed(bytes(body)), "x.npz")


@pytest.mark.parametrize("key", list(facts(Record.of(job(), failed("", ""), WHEN))))
def test_a_record_that_lacks_a_key(records: dict[str, Record], key: str) -> None:
    """A record without one of its facts is refused in one line that names it."""
    lacking = {name: value for name, value in facts(records["finished"]).items() if name != key}
    with pytest.raises(RecordError) as caught:
        Record.from_bytes(repacked(records["finished"], record__json=json.dumps(lacking).encode()), "x.npz")
    assert str(caught.value).startswith("x.npz: ")
    assert str(caught.value).endswith(REMEDY)
    assert key in str(caught.value)


@pytest.mark.parametrize("name", [f"{curve}__npy" for curve in CURVES] + ["record__json"])
def test_a_record_that_lacks_a_member(records: dict[str, Record], name: str) -> None:
    """A record without its facts or one of its curves is refused."""
    with pytest.raises(RecordError, match=r"does not hold a record \(KeyError\("):
        Record.from_bytes(repacked(records["finished"], **{name: None}), "x.npz")


@pytest.mark.parametrize("wrong", [None, [], 0, "text", {}, {"a": 1}, -1.5, True])
@pytest.mark.parametrize("key", list(facts(Record.of(job(), failed("", ""), WHEN))))
def test_a_record_with_a_wrong_fact(records: dict[str, Record], key: str, wrong: object) -> None:
    """A fact of another type, under a right checksum, gives a record or a RecordError, never anything else."""
    altered = {**facts(records["finished"]), key: wrong}
    try:
        Record.from_bytes(repacked(records["finished"], record__json=json.dumps(altered).encode()), "x.npz")
    except RecordError as error:
        assert error.problems[0].place == "x.npz"  # noqa: PT017  # the same


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"null", b"{", b"[" * 100_000, b'{"trial": 1e999}'])
def test_facts_that_are_none(records: dict[str, Record], content: bytes) -> None:
    """Facts that are no JSON object are a RecordError, however deep they nest."""
    with pytest.raises(RecordError, match="does not hold a record"):
        Record.from_bytes(repacked(records["finished"], record__json=content), "x.npz")


def test_another_format_is_refused(records: dict[str, Record]) -> None:
    """A record of a format that this version does not know is refused, not misread."""
    altered = {**facts(records["finished"]), "format": 1}
    with pytest.raises(RecordError):
        Record.from_bytes(repacked(records["finished"], record__json=json.dumps(altered).encode()), "x.npz")


@pytest.mark.parametrize(
    "array",
    [np.zeros(2), np.zeros((3, 2)), np.zeros(()), np.array(["a", "b", "c"]), np.zeros(3, [("a", "f8")])],
    ids=["short", "matrix", "scalar", "texts", "structured"],
)
def test_a_curve_of_another_shape(records: dict[str, Record], array: np.ndarray[Any, Any]) -> None:
    """A curve that is not one number per epoch is refused."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    with pytest.raises(RecordError, match="does not hold a record"):
        Record.from_bytes(repacked(records["finished"], val_loss__npy=buffer.getvalue()), "x.npz")


def test_a_curve_that_says_it_is_huge(records: dict[str, Record]) -> None:
    """A curve whose header asks for more memory than there is, is refused."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with pytest.raises(RecordError, match="does not hold a record"):
        Record.from_bytes(repacked(records["finished"], val_loss__npy=buffer.getvalue() + bytes(24)), "x.npz")


class Canary:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Say how to unpickle: by making a folder."""
        return os.mkdir, (str(self.file),)


def test_a_pickle_in_a_record_is_never_run(records: dict[str, Record], tmp_path: Path) -> None:
    """An array of objects with a right checksum is a RecordError, and nothing of it is run."""
    array, buffer = np.empty(3, object), io.BytesIO()
    array[:] = [Canary(tmp_path / "canary")] * 3
    np.save(buffer, array, allow_pickle=True)
    with pytest.raises(RecordError, match="does not hold a record"):
        Record.from_bytes(repacked(records["finished"], val_loss__npy=buffer.getvalue()), "x.npz")
    with pytest.raises(RecordError):
        Record.from_bytes(sealed(pickle.dumps(Canary(tmp_path / "canary"))), "x.npz")
    raw = repacked(records["finished"], val_loss__npy=pickle.dumps(Canary(tmp_path / "canary")))
    with pytest.raises(RecordError):
        Record.from_bytes(raw, "x.npz")
    assert not (tmp_path / "canary").exists()
    np.load(io.BytesIO(buffer.getvalue()), allow_pickle=True)  # the canary does sing where pickles are run
    assert (tmp_path / "canary").exists()


# What the digest covers


@pytest.mark.parametrize(
    "change",
    [
        {"hyperparameters": Hyperparameters(0.1, 3, 1e-3, 0.8)},
        {"hyperparameters": Hyperparameters(math.nextafter(0.1, 1), 3, 1e-3, 0.9)},
        {"seed": 1},
        {"thresholds": {2: 0.75}},
        {"thresholds": {2: 0.75, 3: 0.3}},
    ],
)
def test_the_digest_covers_the_job(records: dict[str, Record], change: dict[str, Any]) -> None:
    """Another hyperparameter, seed or threshold is another digest, though the result were the same."""
    result = records["finished"].result
    assert Record.of(job(**change), result, WHEN).digest != Record.of(job(), result, WHEN).digest


def test_the_digest_covers_the_result(records: dict[str, Record]) -> None:
    """Another state, any figure of any epoch, or any weight by its last bit is another digest."""
    record = records["finished"]
    result = record.result
    assert result.weights is not None
    others = [dataclasses.replace(result, state=State.PRUNED), dataclasses.replace(result, curve=result.curve[:-1])]
    for n, epoch in enumerate(result.curve):
        for name in CURVES:
            change: dict[str, Any] = {name: math.nextafter(getattr(epoch, name), math.inf)}
            nudged = dataclasses.replace(epoch, **change)
            others.append(dataclasses.replace(result, curve=(*result.curve[:n], nudged, *result.curve[n + 1 :])))
    for name, array in result.weights._asdict().items():
        changed = array.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(np.inf))
        others.append(dataclasses.replace(result, weights=result.weights._replace(**{name: changed})))
    digests = {Record.of(record.job, other, WHEN).digest for other in others}
    assert len(digests) == len(others)
    assert record.digest not in digests


@pytest.mark.parametrize(
    "change", [{"started": 0.0}, {"seconds": 9.0}, {"attempts": 3}, {"environment": {"numpy": "3"}}]
)
def test_the_digest_covers_no_times(records: dict[str, Record], change: dict[str, Any]) -> None:
    """When, where and after how many attempts a trial was trained is in its record, not in its digest."""
    record = records["finished"]
    other = Record.of(record.job, record.result, dataclasses.replace(WHEN, **change))
    assert other.digest == record.digest
    assert other.to_bytes() != record.to_bytes()


def test_the_order_of_ceilings_does_not_matter(records: dict[str, Record]) -> None:
    """The same thresholds in another order are the same digest."""
    result = records["finished"].result
    one, other = (
        Record.of(job(thresholds=thresholds), result, WHEN) for thresholds in ({2: 0.5, 3: 0.4}, {3: 0.4, 2: 0.5})
    )
    assert one.digest == other.digest


# Weights


def test_weights_round_trip(records: dict[str, Record]) -> None:
    """Weights are read back to the bit, with their type; the file is the one that the record speaks of."""
    record = records["finished"]
    assert record.result.weights is not None
    data = pack_weights(record.result.weights)
    assert hashlib.sha256(data).hexdigest() == record.weights_sha256
    again = unpack_weights(data, record, "x.npz")
    assert [(a.tobytes(), a.dtype, a.shape) for a in again] == [
        (a.tobytes(), a.dtype, a.shape) for a in record.result.weights
    ]


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_no_weights(records: dict[str, Record], state: str) -> None:
    """A trial without weights has no checksum of any, and no file is taken for them."""
    assert records[state].weights_sha256 == ""
    with pytest.raises(RecordError, match="is not the weights file of trial 7"):
        unpack_weights(b"", records[state], "x.npz")


def test_weights_files_are_the_same_in_another_process() -> None:
    """The bytes of a weights file are a function of the weights: no clock, no order, no machine is in them."""
    code = (
        "import hashlib, numpy as np; from netcore.core.params import init_params; "
        "from netcore.records.record import pack_weights; "
        "print(hashlib.sha256(pack_weights(init_params(np.random.default_rng(0), 4, 3, 2))).hexdigest())"
    )
    from netcore.core.params import init_params

    here = hashlib.sha256(pack_weights(init_params(np.random.default_rng(0), 4, 3, 2))).hexdigest()
    for zone in ("UTC-9", "UTC+7"):
        environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": zone[-1]}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == here


def test_the_layout_of_an_array_does_not_matter() -> None:
    """Transposed or strided arrays give the bytes of their contiguous copies."""
    W1 = np.arange(12, dtype=np.float32).reshape(3, 4)
    plain = Params(W1.T.copy(), np.zeros(3, np.float32), W1.copy(), np.zeros(4, np.float32))
    odd = Params(W1.T, np.zeros(6, np.float32)[::2], np.asfortranarray(W1), np.zeros(4, np.float32))
    assert pack_weights(odd) == pack_weights(plain)


def test_altered_weights_are_noticed(records: dict[str, Record]) -> None:
    """A weights file that is altered, truncated or another trial's is refused and named."""
    record = records["finished"]
    assert record.result.weights is not None
    data = pack_weights(record.result.weights)
    others = pack_weights(Params(*(array + 1 for array in record.result.weights)))
    flipped = bytes([*data[:200], data[200] ^ 1, *data[201:]])
    for wrong in (data[:-1], flipped, others, b""):
        with pytest.raises(RecordError) as caught:
            unpack_weights(wrong, record, "weights/000007.npz")
        assert str(caught.value) == f"weights/000007.npz: is not the weights file of trial 7; {REMEDY}"


# Comparing and ranking


def test_a_record_serves_the_job_it_was_made_for(records: dict[str, Record]) -> None:
    """Between a job and the one read back from its record there is no difference."""
    again = Record.from_bytes(records["finished"].to_bytes(), "x.npz").job
    assert differences(again, records["finished"].job) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed is 0 where 1 is asked"),
        ({"step": "other"}, "step is 'compiled 2' where 'other' is asked"),
        ({"thresholds": {}}, "thresholds is {2: 0.75, 3: 0.30000000000000004} where {} is asked"),
        ({"data_digest": "e"}, f"data_digest is '{'d' * 64}' where 'e' is asked"),
        ({"hyperparameters": Hyperparameters(0.1, 4, 1e-3, 0.9)}, "hidden_size is 3 where 4 is asked"),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], said: str) -> None:
    """Each difference between what a record is of and what is asked is said, with both values."""
    assert differences(job(), job(**change)) == [said]


def test_settings_that_differ_are_said_key_by_key() -> None:
    """Of the settings, only the keys that differ are shown."""
    ours = {"study": {"window": 8}, "stopping": None}
    theirs = {"study": {"window": 4}, "stopping": {"keep": 0.5}}
    said = ["study.window was 8, is 4", 'stopping was null, is {"keep": 0.5}']
    assert differences(job(settings=ours), job(settings=theirs)) == said
    assert setting_differences({"a": 1}, {"b": 1}) == ["a was 1, is null", "b was null, is 1"]


def test_only_finished_trials_are_ranked() -> None:
    """The best finished trial comes first, the earlier of two equals before the later; no other state can win."""

    def record(number: int, value: float, state: State = State.FINISHED, metric: Metric = Metric.VAL_LOSS) -> Record:
        return Record.of(job(number=number, metric=metric), TrialResult(state, (), None, value), WHEN)

    trials = [
        *(record(0, 0.5), record(1, 0.25), record(2, 0.1, State.PRUNED), record(3, 0.25)),
        *(record(4, math.nan, State.DIVERGED), record(5, math.nan, State.FAILED)),
    ]
    assert [one.number for one in ranked(trials)] == [1, 3, 0]
    accuracies = [record(n, value, metric=Metric.VAL_ACCURACY) for n, value in enumerate([0.5, 0.75, 0.75])]
    assert [one.number for one in ranked(accuracies)] == [1, 2, 0]
