"""Records for the tests of what reads them: one of each state, and one of a trial with folds."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from netcore.archive import pack, unpack
from netcore.data import Dataset, load_dataset
from netcore.question.hyperparameters import Hyperparameters
from netcore.question.spec import StudySpec
from netcore.records.job import TrialJob, failed
from netcore.records.record import Provenance, Record
from netcore.workers.trial import run_trial

SPACE: dict[str, Any] = {"learning_rate": 0.1, "hidden_size": 3, "reg": 1e-3, "learning_rate_decay": 0.9}
WHEN = Provenance(started=1.7e9, seconds=0.25, attempts=1, environment={"numpy": "2", "blas": "openblas"})


def job(**changes: Any) -> TrialJob:  # noqa: ANN401
    """Return a job of three epochs on iris, with some fields changed."""
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


@cache
def iris() -> Dataset:
    """Load iris once."""
    return load_dataset("iris", validation=0.2, test=0.2, seed=0)


@cache
def one_of_each() -> dict[str, Record]:
    """Return one record of each state."""
    rates = {"finished": {}, "pruned": {2: -1.0}, "diverged": {}}
    jobs = {name: job(thresholds=thresholds) for name, thresholds in rates.items()}
    jobs["diverged"] = job(hyperparameters=Hyperparameters(1e30, 3, 1e-3, 0.9))
    made = {name: Record.of(one, run_trial(one, iris()), WHEN) for name, one in jobs.items()}
    made["failed"] = Record.of(job(), failed("error", "Traceback …\n\ud800"), WHEN)
    assert {name: str(record.result.state) for name, record in made.items()} == {name: name for name in made}
    return made


@cache
def with_folds() -> Record:
    """Return the record of a trial with three folds."""
    dataset = load_dataset("iris", seed=0, folds=3)
    asked = job(thresholds={})
    return Record.of(asked, run_trial(asked, dataset), WHEN, dataset.preprocessing)


def facts(record: Record) -> dict[str, Any]:
    """Return the content of a record's record.json."""
    return json.loads(unpack(record.to_bytes(), "")["record.json"])  # type: ignore[no-any-return]


def repacked(record: Record, changes: Mapping[str, bytes | None]) -> bytes:
    """Return a record's file with some members changed (None: left out) and the right checksum."""
    members = {**unpack(record.to_bytes(), ""), **changes}
    return pack({name: content for name, content in members.items() if content is not None})


def with_facts(record: Record, changed: dict[str, Any]) -> bytes:
    """Return a record's file with another record.json and the right checksum."""
    return repacked(record, {"record.json": json.dumps(changed).encode()})


def sealed(body: bytes) -> bytes:
    """Return the bytes, followed by their checksum."""
    return body + hashlib.sha256(body).hexdigest().encode()
