"""The record: one file that holds all of one trial, written once and never changed.

It is an ordinary .npz (`numpy.load` opens it): the curves as arrays, what the data's preparation was fitted to, and
everything else in `record.json`; packed and checksummed as `netcore.archive` says.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Lt
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, create_model

from netcore.archive import array_of, pack, unpack
from netcore.core.params import Params
from netcore.core.sgd import Epoch
from netcore.data.preprocessing import Preprocessing, from_members, to_members
from netcore.errors import RecordError
from netcore.question.hyperparameters import TYPES, Hyperparameters
from netcore.question.metrics import METRICS, Metric
from netcore.records.job import Role, State, TrialJob, TrialResult

__all__ = [
    "CURVES",
    "Provenance",
    "Record",
    "chained",
    "differences",
    "outline",
    "pack_weights",
    "rank",
    "ranked",
    "setting_differences",
    "unpack_weights",
]

CURVES = ("learning_rate", *METRICS)
"""The arrays of a record, one entry per epoch."""

_FORMAT: Literal[3] = 3
_REMEDY = "`netcore run` moves it aside and trains the trial again"
_NOT_A_RECORD = (AttributeError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError)
_NAN = np.float64("nan")


Count = Annotated[int, Ge(0), Lt(2**63)]
Text = InstanceOf[str]
"""A text with any letters: a traceback may hold some that are no Unicode."""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


_Hyperparameters: Any = create_model(
    "Hyperparameters",
    __base__=_Checked,
    **{**TYPES, "hidden_size": Count},  # a baseline without a hidden layer has 0 hidden units
)


class _Training(_Checked, extra="allow"):
    batch_size: Annotated[Count, Ge(1)]
    dtype: Literal["float32", "float64"]


class _Study(_Checked, extra="allow"):
    metric: Literal["val_loss", "val_accuracy"]


class _Settings(_Checked, extra="allow"):
    study: _Study
    training: _Training


class _Facts(_Checked):
    """What record.json may say: whoever makes a record up can make its checksum up too."""

    format: Literal[3]
    trial: Count
    hyperparameters: _Hyperparameters
    seed: Count
    thresholds: dict[Annotated[str, Field(pattern="^[0-9]{1,18}$")], float]
    epochs: Count
    role: Literal["trial", "confirm", "audit"]
    step: Text
    history_hash: Text
    data_digest: Text
    settings: _Settings
    state: Literal["finished", "pruned", "diverged", "failed"]
    best_epoch: Annotated[Count, Ge(1)] | None
    value: float | None
    failure: Text
    traceback: Text
    started: Annotated[float, Ge(0), Lt(9e9)]
    """Before the year 2255: pandas knows no time much later."""
    seconds: Annotated[float, Ge(0), Lt(1e8)]
    attempts: Count
    environment: dict[Text, Text]
    digest: Digest
    weights_sha256: Digest | Literal[""]


@dataclass(frozen=True)
class Provenance:
    """When, where and how a trial was trained: what its digest leaves out."""

    started: float
    """Seconds since 1970, UTC."""
    seconds: float
    """How long it took, by a clock that nobody sets."""
    attempts: int
    """How many workers it took: more than 1 if some died or stalled."""
    environment: dict[str, str]
    """Versions, processor, BLAS."""

    @property
    def ended(self) -> float:
        """Seconds since 1970, UTC."""
        return self.started + self.seconds


@dataclass(frozen=True)
class Record:
    """A trial: what was asked, what came out, and under which circumstances."""

    job: TrialJob
    result: TrialResult
    provenance: Provenance
    digest: str
    """SHA-256 of hyperparameters, seed, thresholds, state, curves and weights; no times, no environment."""
    weights_sha256: str
    """SHA-256 of the weights file, whether it is kept or not; empty where there are no weights."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing, compare=False)
    """What was fitted to prepare the data (of folds, the first): with the weights, all that new rows need."""

    @classmethod
    def of(
        cls, job: TrialJob, result: TrialResult, provenance: Provenance, preprocessing: Preprocessing | None = None
    ) -> "Record":
        """Make the record of a trial that has just ended."""
        weights = "" if result.weights is None else hashlib.sha256(pack_weights(result.weights)).hexdigest()
        return cls(job, result, provenance, _digest(job, result), weights, preprocessing or Preprocessing())

    @property
    def number(self) -> int:
        """Which trial, counted from 0."""
        return self.job.number

    def to_bytes(self) -> bytes:
        """Give the file's content. The weights are not part of it."""
        facts = json.dumps(self._facts(), indent=1, allow_nan=False).encode()
        return pack({"record.json": facts, **_curves(self.result), **to_members(self.preprocessing)})

    @classmethod
    def from_bytes(cls, data: bytes, place: object) -> "Record":
        """Read a file's content.

        Raises:
            RecordError: truncated, altered, or not a record at all; `place` says which file.
        """
        members = unpack(data, place, _REMEDY)
        try:
            facts = json.loads(members["record.json"])
            _Facts.model_validate(facts)
            return cls._from_parts(facts, members)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "record.json"
            raise _not_whole(place, f"does not hold a record ({where}: {first['msg']})") from error
        except _NOT_A_RECORD as error:
            raise _not_whole(place, f"does not hold a record ({error!r})") from error

    def _facts(self) -> dict[str, Any]:
        job, result, provenance = self.job, self.result, self.provenance
        return {
            "format": _FORMAT,
            "trial": job.number,
            "hyperparameters": job.hyperparameters._asdict(),
            "seed": job.seed,
            "thresholds": {str(epoch): value for epoch, value in job.thresholds.items()},
            "epochs": job.epochs,
            "role": job.role,
            "step": job.step,
            "history_hash": job.history_hash,
            "data_digest": job.data_digest,
            "settings": json.loads(job.settings),
            "state": result.state,
            "best_epoch": result.best_epoch,
            "value": None if math.isnan(result.value) else result.value,
            "failure": result.failure,
            "traceback": result.traceback,
            "started": provenance.started,
            "seconds": provenance.seconds,
            "attempts": provenance.attempts,
            "environment": provenance.environment,
            "digest": self.digest,
            "weights_sha256": self.weights_sha256,
        }

    @classmethod
    def _from_parts(cls, facts: dict[str, Any], members: dict[str, bytes]) -> "Record":
        settings = facts["settings"]
        job = TrialJob(
            number=facts["trial"],
            hyperparameters=Hyperparameters(**facts["hyperparameters"]),
            seed=facts["seed"],
            thresholds={int(epoch): value for epoch, value in facts["thresholds"].items()},
            data_digest=facts["data_digest"],
            settings=json.dumps(settings, sort_keys=True),
            epochs=facts["epochs"],
            batch_size=settings["training"]["batch_size"],
            dtype=settings["training"]["dtype"],
            metric=Metric(settings["study"]["metric"]),
            role=Role(facts["role"]),
            step=facts["step"],
            history_hash=facts["history_hash"],
        )
        curve = _read_curve({name: array_of(members[f"{name}.npy"]) for name in CURVES})
        folds = {name: array_of(members[f"fold_{name}.npy"]) for name in METRICS if f"fold_{name}.npy" in members}
        result = TrialResult(
            state=State(facts["state"]),
            curve=curve,
            best_epoch=facts["best_epoch"],
            value=math.nan if facts["value"] is None else facts["value"],
            folds=_read_folds(folds, curve) if folds else (),
            failure=facts["failure"],
            traceback=facts["traceback"],
        )
        if (result.best_epoch or 0) > len(curve):
            raise ValueError(f"best_epoch {result.best_epoch} is beyond the {len(curve)} epochs of the curve")
        if result.state is State.FINISHED and (facts["value"] is None or not result.best_epoch):
            raise ValueError("a finished trial has a value and a best epoch")
        provenance = Provenance(*(facts[name] for name in ("started", "seconds", "attempts", "environment")))
        return cls(job, result, provenance, facts["digest"], facts["weights_sha256"], from_members(members))


def chained(history_hash: str, digest: str) -> str:
    """Give the hash of what is known after one more trial; it says at once whether two histories are the same."""
    return hashlib.sha256((history_hash + digest).encode()).hexdigest()


def outline(record: Record) -> Record:
    """Give a record without its curves and its environment: what a run keeps of each of thousands of trials."""
    result = replace(record.result, curve=(), folds=())
    return replace(record, result=result, provenance=replace(record.provenance, environment={}))


def rank(record: Record) -> tuple[float, int]:
    """Give the place of a finished trial among others: the smallest is the best, the earlier of two equals first."""
    return (record.job.metric.cost(record.result.value), record.number)


def ranked(records: list[Record]) -> list[Record]:
    """Give the finished trials, the best first. Only finished trials can win."""
    return sorted((record for record in records if record.result.state is State.FINISHED), key=rank)


def differences(found: TrialJob, asked: TrialJob) -> list[str]:
    """Say in what a record's job is not the one that is asked for; the empty list means that the record serves."""
    different = []
    if found.hyperparameters != asked.hyperparameters:
        pairs = zip(found.hyperparameters._fields, found.hyperparameters, asked.hyperparameters, strict=True)
        different += [f"{name} is {ours!r} where {theirs!r} is asked" for name, ours, theirs in pairs if ours != theirs]
    for name in ("seed", "thresholds", "data_digest", "epochs", "role", "step"):
        ours, theirs = getattr(found, name), getattr(asked, name)
        if ours != theirs:
            different.append(f"{name} is {ours!r} where {theirs!r} is asked")
    if found.settings != asked.settings:
        different += setting_differences(json.loads(found.settings), json.loads(asked.settings))
    return different


def setting_differences(ours: Any, theirs: Any, place: str = "") -> list[str]:  # noqa: ANN401  # any JSON value
    """Say in what two settings differ, key by key."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        below = (setting_differences(ours.get(k), theirs.get(k), f"{place}.{k}".lstrip(".")) for k in keys)
        return [line for lines in below for line in lines]
    return [] if ours == theirs else [f"{place} was {json.dumps(ours)}, is {json.dumps(theirs)}"]


def pack_weights(weights: Params) -> bytes:
    """Give the content of a weights file: W1, b1, W2, b2."""
    return pack(dict(weights._asdict()))


def unpack_weights(data: bytes, record: Record, place: object) -> Params:
    """Read a weights file.

    Raises:
        RecordError: it is not the file that the record speaks of.
    """
    if hashlib.sha256(data).hexdigest() != record.weights_sha256:
        raise _not_whole(place, f"is not the weights file of trial {record.number}")
    members = unpack(data, place, _REMEDY)
    try:
        weights = Params(*(array_of(members[f"{name}.npy"]) for name in Params._fields))
        if [(array.ndim, array.dtype.kind) for array in weights] != [(2, "f"), (1, "f")] * 2:
            raise TypeError("not two matrices and two rows of numbers")  # one kind of answer to both
    except _NOT_A_RECORD as error:
        raise _not_whole(place, f"does not hold weights ({error!r})") from error
    return weights


def _curves(result: TrialResult) -> dict[str, NDArray[np.float64]]:
    """Give the curves as arrays, one number per epoch, and those of folds as arrays of shape (folds, epochs)."""
    arrays = {name: np.array([getattr(epoch, name) for epoch in result.curve], np.float64) for name in CURVES}
    if result.folds:
        for name in METRICS:
            rows = [[getattr(epoch, name) for epoch in curve] for curve in result.folds]
            arrays[f"fold_{name}"] = np.array(rows, np.float64)
    # Every NaN is the same NaN, so that equal trainings give equal bytes.
    return {name: np.where(np.isnan(array), _NAN, array) for name, array in arrays.items()}


def _read_curve(arrays: dict[str, NDArray[Any]]) -> tuple[Epoch, ...]:
    if any(array.dtype != np.float64 or array.ndim != 1 for array in arrays.values()):
        raise ValueError("a curve is a row of float64 numbers")
    columns = zip(*(arrays[name].tolist() for name in CURVES), strict=True)
    return tuple(Epoch(epoch, *figures) for epoch, figures in enumerate(columns, start=1))


def _read_folds(arrays: dict[str, NDArray[Any]], curve: tuple[Epoch, ...]) -> tuple[tuple[Epoch, ...], ...]:
    if not curve or any(array.ndim != 2 or array.shape[1] != len(curve) for array in arrays.values()):  # noqa: PLR2004
        raise ValueError("the curves of folds have a row for each fold and a column for each epoch")  # or rows are free
    rates = np.array([epoch.learning_rate for epoch in curve])
    folds = zip(*(arrays[name] for name in METRICS), strict=True)
    return tuple(_read_curve(dict(zip(CURVES, (rates, *figures), strict=True))) for figures in folds)


def _digest(job: TrialJob, result: TrialResult) -> str:
    """Hash what a trial was and what it gave."""
    asked = [job.hyperparameters._asdict(), job.seed, sorted(job.thresholds.items()), result.state]
    sha = hashlib.sha256(json.dumps(asked).encode())
    arrays = _curves(result) | (result.weights._asdict() if result.weights else {})
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sha.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        sha.update(little.data)
    return sha.hexdigest()


def _not_whole(place: object, what: str) -> RecordError:
    return RecordError.at(place, what, remedy=_REMEDY)
