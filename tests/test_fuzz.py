"""Whatever stands in a study file or in a record: a valid result, or netcore's own errors in printable lines.

Forty of each in every run; ten thousand with `make fuzz`. Study files are damaged in their bytes, their
tokens and their structure, beginning with those of studies/; records in their bytes, and in their facts under a
checksum that holds: any value in any place.
"""

import json
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from formats import damage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcore
from netcore.archive import pack, unpack
from netcore.check import trials as verify
from netcore.data import Dataset
from netcore.errors import InputError, NetcoreError, RecordError
from netcore.question.spec import StudySpec, dataset_of, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import TrialJob
from netcore.records.record import Record, differences, ranked
from netcore.search.history import History
from netcore.search.loop import Search
from netcore.terminal import Tally, say_trial
from netcore.tracking.journal import write_journal
from netcore.workers.engine import Trained

Study = tuple[StudyFolder, Record, Dataset]
STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.toml"))
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
FEW = settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=HEALTH)
MANY = settings(deadline=None, max_examples=10_000, suppress_health_check=HEALTH, database=None)

NUMBERS = st.sampled_from([0, 1, -1, 2, 64, 10**6, 2**31, 2**63 - 1, 2**63, 10**30, 0.5, 1e-308, 1e308, -0.0, 1e-9])
TEXTS = st.sampled_from(
    ["", "x", "val_loss", "digits", "iris", "grid", "qmc", "../x", "a\nb", "\x1b[0m", "\u202e", "é"]
)
VALUES = st.recursive(
    st.booleans() | NUMBERS | TEXTS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["low", "high", "log", "name", "x", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


@contextmanager
def soon() -> Iterator[None]:
    """See that nothing hangs; the bound is far beyond what a busy machine takes."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 60


def refused(error: NetcoreError) -> None:
    """See that an error is lines that a terminal only shows."""
    assert error.exit_code == 2
    assert all(str(problem).replace("\u00a0", " ").isprintable() for problem in error.problems)
    assert error.problems


# Study files


def toml(value: Any) -> str:  # noqa: ANN401  # whatever stands in a study file
    """Write a value as TOML writes it in a line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401  # any JSON value
    """Give the places of all values inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from places(inner, (*at, key))


def changed(value: Any, data: st.DataObject, others: st.SearchStrategy[Any] = VALUES) -> None:  # noqa: ANN401
    """Put another value in some places, take some away, add some."""
    for _ in range(data.draw(st.integers(1, 3))):
        there = list(places(value))
        if not there:
            return
        *way, last = data.draw(st.sampled_from(there))
        inner = value
        for key in way:
            inner = inner[key]
        match data.draw(st.integers(0, 5)):
            case 0:
                del inner[last]
            case 1 if isinstance(inner, dict):
                inner[data.draw(st.text(max_size=4))] = data.draw(others)
            case _:
                inner[last] = data.draw(others)


def by_bytes(text: bytes, data: st.DataObject) -> bytes:
    """Damage bytes."""
    return damage(text, data)


def by_tokens(text: bytes, data: st.DataObject) -> bytes:
    """Swap, double, drop, or exchange words."""
    words = text.decode().replace("\n", " \n ").split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at : at + 1] = data.draw(
            st.just([]) | st.sampled_from(words).map(lambda word: [word]) | VALUES.map(lambda value: [toml(value)])
        )
    return " ".join(words).encode(errors="replace")


def by_structure(text: bytes, data: st.DataObject) -> bytes:
    """Change what it says, and write that as a right TOML file."""
    tables = tomllib.loads(text.decode())
    changed(tables, data)
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in tables.items()).encode(errors="replace")


WAYS: dict[str, Callable[[bytes, st.DataObject], bytes]] = {
    "bytes": by_bytes,
    "tokens": by_tokens,
    "structure": by_structure,
}


def check_study(folder: Path, data: st.DataObject) -> None:
    """Damage a study file, and read it; where it is one still, its first trials are proposed."""
    path, way = data.draw(st.sampled_from(STUDIES)), data.draw(st.sampled_from(sorted(WAYS)))
    (folder / "x.toml").write_bytes(WAYS[way](path.read_bytes(), data))
    with soon():
        try:
            spec = load_spec(folder / "x.toml")
        except InputError as error:
            refused(error)
            return
        settings_ = spec.model_dump(mode="json")
        assert StudySpec.model_validate(json.loads(json.dumps(settings_))).model_dump(mode="json") == settings_
        history = History(spec)
        for number in range(min(2, spec.study.trials)):
            assert all(value >= 0 for value in history.propose(number))


@FEW
@given(data=st.data())
def test_a_damaged_study_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Forty: a spec that proposes, or lines that say what is wrong."""
    check_study(tmp_path, data)


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@MANY
@given(data=st.data())
def test_ten_thousand_damaged_study_files_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Ten thousand of them."""
    check_study(tmp_path, data)


# Records


def check_record(folder: StudyFolder, whole: Record, dataset: Dataset, data: st.DataObject) -> None:
    """Change a record, and read it; where it is one still, do with it what the commands do."""
    path = folder.trials / "000001.npz"
    content = whole.to_bytes()
    if data.draw(st.integers(0, 3)) == 0:
        path.write_bytes(damage(content, data))
    else:
        members: dict[str, Any] = unpack(content, "")
        facts = json.loads(members["record.json"])
        changed(facts, data, VALUES | st.none())
        path.write_bytes(pack({**members, "record.json": json.dumps(facts).encode()}))
    with soon():
        try:
            record = folder.read(1)
        except RecordError as error:
            refused(error)
            return
        use(record, folder, dataset)


class Nobody:
    """An engine that never answers: whoever asks it for a training has come further than these tests look."""

    def submit(self, job: TrialJob, dataset: Dataset, /) -> Future[Trained]:
        """Say that it was asked."""
        raise InputError.at(f"trial {job.number}", "is trained again", dataset.name)


def use(record: Record, folder: StudyFolder, dataset: Dataset) -> None:
    """Show it, rank it, compare it, make tables and journal of it, tell the sampler: all that reads no other file."""
    spec, job = folder.spec(), record.job
    with redirect_stdout(StringIO()):
        say_trial(record)
    tally = Tally(2, spec.study.metric)
    tally.add(record)
    assert str(tally).isprintable()
    assert differences(job, replace(job, seed=job.seed + 1))
    both = folder.committed()
    assert len(ranked(both)) <= 2
    assert len(netcore.load_study(folder.path).trials) == 2
    assert json.loads(record.to_bytes() and json.dumps(record.provenance.environment)) == record.provenance.environment
    for look in (verify.outcomes(both), verify.jobs(both, spec, job.data_digest), verify.history(both, spec)):
        assert all(str(finding).isprintable() for finding in look)
    try:
        write_journal(both, folder)
        list(Search(spec, dataset, folder, Nobody()).run())
    except InputError as error:
        refused(error)


@pytest.fixture
def study(ran: Path, tmp_path: Path) -> Study:
    """Give a copy of a study of two trials, the record of the second, and its data."""
    shutil.copytree(ran, tmp_path / "own")
    folder = StudyFolder(tmp_path / "own" / "results" / "x")
    return folder, folder.read(1), dataset_of(folder.spec())


@FEW
@given(data=st.data())
def test_a_changed_record_is_used_or_refused(study: Study, data: st.DataObject) -> None:
    """Forty: a record that all commands can do with, or one line."""
    check_record(*study, data)


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@MANY
@given(data=st.data())
def test_ten_thousand_changed_records_are_used_or_refused(study: Study, data: st.DataObject) -> None:
    """Ten thousand of them."""
    check_record(*study, data)
