"""Claims about netcore.records.record: a record is read back as it was, and any change to it is noticed."""

import dataclasses
import hashlib
import io
import json
import math
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from formats import npy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recorded import WHEN, facts, iris, job, repacked, sealed, with_facts

from netcore.core.params import Params, init_params
from netcore.core.sgd import Epoch
from netcore.errors import RecordError
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.metrics import METRICS, Metric
from netcore.records.curves import CURVES
from netcore.records.job import State, TrialResult, failed
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

REMEDY = "`netcore run` moves it aside and trains the trial again"
ALTERED = r"is truncated or altered \(its checksum does not hold\)"
NO_RECORD = r"does not hold a record \(.*\)"


STATES = ["finished", "pruned", "diverged", "failed"]


def same(one: Record, other: Record) -> bool:
    """Return whether two records are equal; a NaN equals itself."""
    return (
        repr(dataclasses.astuple(one)) == repr(dataclasses.astuple(other))
        and one.job.history_hash == other.job.history_hash
    )


def without_weights(record: Record) -> Record:
    """Return a record as it is read back: without its weights, which are a file of their own."""
    return dataclasses.replace(record, result=dataclasses.replace(record.result, weights=None))


def refused(data: bytes, what: str) -> None:
    """Check that a record is refused in one line that names the file, the reason and the remedy."""
    with pytest.raises(RecordError) as caught:
        Record.from_bytes(data, "x.npz")
    assert re.fullmatch(f"x.npz: {what}; {re.escape(REMEDY)}", str(caught.value)), str(caught.value)


# Round trip


@pytest.mark.parametrize("state", STATES)
def test_round_trip(records: dict[str, Record], state: str) -> None:
    """A record of any state is read back as it was written, to the last bit, except its weights."""
    record = records[state]
    again = Record.from_bytes(record.to_bytes(), "x.npz")
    assert same(again, without_weights(record))
    assert again.job == record.job
    assert again.to_bytes() == record.to_bytes()


FINITE = st.floats(allow_nan=False, allow_infinity=False)
EPOCHS = st.lists(st.tuples(FINITE, st.floats(), st.floats(), FINITE, FINITE), min_size=1, max_size=5)


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
    """Any numbers and texts are read back exactly."""
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
        content = json.loads(archive["record.json"], parse_constant=pytest.fail)  # JSON has no NaN
    assert content["number"] == 7
    assert (content["value"] is None) == (state in {"diverged", "failed"})


def test_equal_trainings_give_equal_bytes(records: dict[str, Record]) -> None:
    """The same trial trained again gives the same file."""
    for name in ("finished", "pruned", "diverged"):
        again = Record.of(records[name].job, run_trial(records[name].job, iris()), WHEN)
        assert again.to_bytes() == records[name].to_bytes()


def test_every_nan_is_the_same() -> None:
    """Trials that differ only in the payload or sign of a NaN have the same record."""
    made = []
    for nan in (math.nan, -math.nan, float(np.frombuffer(b"\x01\0\0\0\0\0\xf8\x7f", np.float64)[0])):
        result = TrialResult(State.DIVERGED, (Epoch(1, 0.1, nan, nan, 0.5, 0.5),))
        made.append(Record.of(job(), result, WHEN))
    assert len({record.digest for record in made}) == 1
    assert len({record.to_bytes() for record in made}) == 1


# Folds


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
    """Exchanged folds, and one changed number of one fold, give another digest, even if the mean is the same."""
    first, second, third = folded.result.folds
    nudged = (dataclasses.replace(first[0], val_accuracy=first[0].val_accuracy + 1e-12), *first[1:])
    for folds in ((second, first, third), (nudged, second, third), (first, second), ()):
        result = dataclasses.replace(folded.result, folds=folds)
        assert Record.of(folded.job, result, WHEN).digest != folded.digest


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
def test_a_record_with_wrong_folds(folded: Record, what: str) -> None:
    """An array of the folds that is missing, or has another shape or type than the others, is refused."""
    content = WRONG_FOLDS[what]
    for name in METRICS:
        member = None if content is None else npy(content)
        refused(repacked(folded, {f"fold_{name}.npy": member}), NO_RECORD)


# Every change is noticed


@pytest.mark.parametrize("state", [*STATES, "folded"])
def test_every_flipped_bit_is_noticed(records: dict[str, Record], folded: Record, state: str) -> None:
    """A single flipped bit anywhere in a record is noticed; every 61st bit is tried."""
    record = {**records, "folded": folded}[state]
    data = bytearray(record.to_bytes())
    for bit in range(0, 8 * len(data), 61):
        data[bit // 8] ^= 1 << bit % 8
        refused(bytes(data), ALTERED)
        data[bit // 8] ^= 1 << bit % 8
    assert same(Record.from_bytes(bytes(data), "x.npz"), without_weights(record))


def test_every_truncation_is_noticed(records: dict[str, Record]) -> None:
    """A record that is cut at the front or at the end, or has bytes added there, is refused."""
    data = records["finished"].to_bytes()
    for length in (*range(0, len(data), 17), len(data) - 1):
        refused(data[:length], ALTERED)
        refused(data[len(data) - length :], ALTERED)
    for more in (b"\0", b"0" * 64, b"PK\x05\x06" + bytes(18)):
        refused(data + more, ALTERED)
        refused(more + data, ALTERED)


@settings(max_examples=100)
@given(st.binary(max_size=400))
@example(b"")
@example(b"PK\x05\x06" + bytes(16) + b"\x40\0")
def test_any_bytes_with_a_right_checksum_are_no_record(body: bytes) -> None:
    """Any bytes followed by their checksum are a RecordError and nothing else."""
    with pytest.raises(RecordError):
        Record.from_bytes(sealed(body), "x.npz")


@settings(max_examples=150)
@given(st.data())
def test_any_change_with_a_right_checksum_is_read_or_refused(records: dict[str, Record], data: st.DataObject) -> None:
    """Changed bytes with a right checksum give a record or a RecordError, wherever they are in the archive."""
    body = bytearray(records["failed"].to_bytes()[:-64])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        Record.from_bytes(sealed(bytes(body)), "x.npz")
    except RecordError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # it may be a record still


KEYS = list(facts(Record.of(job(), failed("", ""), WHEN)))


def test_a_record_that_lacks_something(records: dict[str, Record]) -> None:
    """A record without record.json, one of its keys, or a curve is refused in one line that names what is missing."""
    record, content = records["finished"], facts(records["finished"])
    for key in KEYS:
        lacking = {name: value for name, value in content.items() if name != key}
        refused(with_facts(record, lacking), rf"does not hold a record \({key}: .*\)")
    for name in (*(f"{curve}.npy" for curve in CURVES), "record.json"):
        refused(repacked(record, {name: None}), rf"does not hold a record \(KeyError\('{name}'\)\)")


@pytest.mark.parametrize("key", KEYS)
def test_a_record_with_a_wrong_fact(records: dict[str, Record], key: str) -> None:
    """A value of another type, with a right checksum, gives a record or a RecordError."""
    wrong: object
    for wrong in (None, [], 0, "text", {"a": 1}, -1.5, True):
        altered = {**facts(records["finished"]), key: wrong}
        try:
            Record.from_bytes(with_facts(records["finished"], altered), "x.npz")
        except RecordError as error:
            assert error.problems[0].place == "x.npz"  # noqa: PT017  # it may still be a record


def test_another_format_is_refused(records: dict[str, Record]) -> None:
    """A record of a format that this version does not know is refused."""
    refused(with_facts(records["finished"], {**facts(records["finished"]), "format": 1}), NO_RECORD)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{", b"[" * 100_000, b'{"trial": 1e999}'])
def test_facts_that_are_none(records: dict[str, Record], content: bytes) -> None:
    """A record.json that is not a JSON object is refused, however deep it is nested."""
    refused(repacked(records["finished"], {"record.json": content}), NO_RECORD)


@pytest.mark.parametrize(
    "array",
    [np.zeros(2), np.zeros((3, 2)), np.zeros(()), np.array(["a", "b", "c"]), np.zeros(3, [("a", "f8")])],
    ids=["short", "matrix", "scalar", "texts", "structured"],
)
def test_a_curve_of_another_shape(records: dict[str, Record], array: np.ndarray[Any, Any]) -> None:
    """A curve that is not one number per epoch is refused."""
    refused(repacked(records["finished"], {"val_loss.npy": npy(array)}), NO_RECORD)


# What the digest covers


def test_the_digest_covers_the_job(records: dict[str, Record]) -> None:
    """Another hyperparameter, seed or threshold gives another digest; the order of thresholds and times do not."""
    result, digest = records["finished"].result, Record.of(job(), records["finished"].result, WHEN).digest
    for change in (
        {"hyperparameters": Hyperparameters(math.nextafter(0.1, 1), 3, 1e-3, 0.9)},
        {"seed": 1},
        {"thresholds": {2: 0.75}},
        {"thresholds": {2: 0.75, 3: 0.3}},
    ):
        assert Record.of(job(**change), result, WHEN).digest != digest
    assert Record.of(job(thresholds={3: 0.1 + 0.2, 2: 0.75}), result, WHEN).digest == digest
    other = Record.of(job(), result, Provenance(0.0, 9.0, 3, {"numpy": "3"}))
    assert other.digest == digest
    assert other.to_bytes() != Record.of(job(), result, WHEN).to_bytes()


def test_the_digest_covers_the_result(records: dict[str, Record]) -> None:
    """Another state, another number of any epoch, and another last bit of any weight give another digest."""
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


# Weights


def test_weights_round_trip(records: dict[str, Record]) -> None:
    """Weights are read back bit for bit, with their type; their file has the SHA-256 in the record."""
    record = records["finished"]
    assert record.result.weights is not None
    data = pack_weights(record.result.weights)
    assert hashlib.sha256(data).hexdigest() == record.weights_sha256
    for array, again in zip(record.result.weights, unpack_weights(data, record, "x.npz"), strict=True):
        assert (again.tobytes(), again.dtype, again.shape) == (array.tobytes(), array.dtype, array.shape)


def test_wrong_weights_are_refused(records: dict[str, Record]) -> None:
    """A weights file that is altered, truncated, empty or another trial's is refused; so is one without weights."""
    weights = records["finished"].result.weights
    assert weights is not None
    data = pack_weights(weights)
    others = pack_weights(Params(*(array + 1 for array in weights)))
    flipped = bytes([*data[:200], data[200] ^ 1, *data[201:]])
    pairs = [("finished", wrong) for wrong in (data[:-1], flipped, others, b"")]
    for state, wrong in [*pairs, ("diverged", data), ("failed", b"")]:
        with pytest.raises(RecordError) as caught:
            unpack_weights(wrong, records[state], "w.npz")
        assert str(caught.value) == f"w.npz: is not the weights file of trial 7; {REMEDY}"


def test_weights_files_are_the_same_in_another_process() -> None:
    """The bytes of a weights file depend on the weights alone: not on the clock, hash seed or process."""
    code = (
        "import hashlib, numpy as np; from netcore.core.params import init_params; "
        "from netcore.records.record import pack_weights; "
        "print(hashlib.sha256(pack_weights(init_params(np.random.default_rng(0), 4, 3, 2))).hexdigest())"
    )
    here = hashlib.sha256(pack_weights(init_params(np.random.default_rng(0), 4, 3, 2))).hexdigest()
    environment = {**os.environ, "TZ": "UTC-9", "PYTHONHASHSEED": "9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == here


def test_the_layout_of_an_array_does_not_matter() -> None:
    """Transposed or strided arrays give the bytes of their contiguous copies."""
    W1 = np.arange(12, dtype=np.float32).reshape(3, 4)
    plain = Params(W1.T.copy(), np.zeros(3, np.float32), W1.copy(), np.zeros(4, np.float32))
    odd = Params(W1.T, np.zeros(6, np.float32)[::2], np.asfortranarray(W1), np.zeros(4, np.float32))
    assert pack_weights(odd) == pack_weights(plain)


# Comparing and ranking


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({}, []),
        ({"seed": 1}, ["seed is 0 where 1 is asked"]),
        ({"step": "other"}, ["step is 'compiled 2' where 'other' is asked"]),
        ({"thresholds": {}}, ["thresholds is {2: 0.75, 3: 0.30000000000000004} where {} is asked"]),
        ({"data_digest": "e"}, [f"data_digest is '{'d' * 64}' where 'e' is asked"]),
        ({"hyperparameters": Hyperparameters(0.1, 4, 1e-3, 0.9)}, ["hidden_size is 3 where 4 is asked"]),
    ],
)
def test_differences_of_jobs(change: dict[str, Any], lines: list[str]) -> None:
    """Each difference between the job of a record and the job that is asked for is one line with both values."""
    assert differences(job(), job(**change)) == lines


def test_differences_of_settings() -> None:
    """Of the settings, only the keys that differ are shown."""
    ours = {"study": {"window": 8}, "stopping": None}
    theirs = {"study": {"window": 4}, "stopping": {"keep": 0.5}}
    lines = ["study.window was 8, is 4", 'stopping was null, is {"keep": 0.5}']
    assert differences(job(settings=ours), job(settings=theirs)) == lines
    assert setting_differences({"a": 1}, {"b": 1}) == ["a was 1, is null", "b was null, is 1"]


def test_only_finished_trials_are_ranked() -> None:
    """The best finished trial comes first, and of two equal ones the earlier; other states are left out."""

    def record(number: int, value: float, state: State = State.FINISHED, metric: Metric = Metric.VAL_LOSS) -> Record:
        return Record.of(job(number=number, metric=metric), TrialResult(state, (), None, value), WHEN)

    trials = [
        *(record(0, 0.5), record(1, 0.25), record(2, 0.1, State.PRUNED), record(3, 0.25)),
        *(record(4, math.nan, State.DIVERGED), record(5, math.nan, State.FAILED)),
    ]
    assert [one.number for one in ranked(trials)] == [1, 3, 0]
    accuracies = [record(n, value, metric=Metric.VAL_ACCURACY) for n, value in enumerate([0.5, 0.75, 0.75])]
    assert [one.number for one in ranked(accuracies)] == [1, 2, 0]
