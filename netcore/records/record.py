"""The record: one file that holds all of one trial, written once and never changed.

It is an ordinary .npz (`numpy.load` opens it): the curves as arrays, what the data's preparation was fitted to, and
everything else in `record.json`, packed and checksummed by `netcore.archive`. The fields of `record.json` are those of
`TrialJob`, `TrialResult` and `Provenance`: their annotations are what a file is checked against.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
from annotated_types import Ge, Lt
from pydantic import ConfigDict, Field, ValidationError, create_model

from netcore.archive import array_of, pack, unpack
from netcore.core.params import Params
from netcore.data.preprocessing import Preprocessing, from_members, to_members
from netcore.errors import RecordError
from netcore.question.hyperparameters import TYPES, Hyperparameters
from netcore.records.curves import arrays_of, read_curves
from netcore.records.job import Count, State, TrialJob, TrialResult

_FORMAT = 3
_REMEDY = "`netcore run` moves it aside and trains the trial again"
_NOT_A_RECORD = (AttributeError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError)

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Provenance:
    """When, where and how a trial was trained; not part of its digest."""

    started: Annotated[float, Ge(0), Lt(9e9)]
    """Seconds since 1970, UTC; before the year 2255, because pandas knows no time much later."""
    seconds: Annotated[float, Ge(0), Lt(1e8)]
    """Duration, by a monotonic clock."""
    attempts: Count
    """The number of workers it took: more than 1 if some died or stalled."""
    environment: dict[str, str]
    """Versions, processor, BLAS."""

    @property
    def ended(self) -> float:
        """Seconds since 1970, UTC."""
        return self.started + self.seconds


@dataclass(frozen=True)
class Record:
    """A trial: its job, its result and its circumstances."""

    job: TrialJob
    result: TrialResult
    provenance: Provenance
    digest: str
    """SHA-256 of hyperparameters, seed, thresholds, state, curves and weights; no times, no environment."""
    weights_sha256: str
    """SHA-256 of the weights file, also if it is not kept; empty if there are no weights."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing, compare=False)
    """What was fitted to prepare the data (of folds, the first): all that new rows need besides the weights."""

    @classmethod
    def of(
        cls, job: TrialJob, result: TrialResult, provenance: Provenance, preprocessing: Preprocessing | None = None
    ) -> "Record":
        """Return the record of a trial that has just ended."""
        weights = "" if result.weights is None else hashlib.sha256(pack_weights(result.weights)).hexdigest()
        return cls(job, result, provenance, _digest(job, result), weights, preprocessing or Preprocessing())

    @property
    def number(self) -> int:
        """The trial's number, counted from 0."""
        return self.job.number

    def to_bytes(self) -> bytes:
        """Return the file's content. The weights are not part of it."""
        facts = vars(self.job) | vars(self.result) | vars(self.provenance)
        content = {"format": _FORMAT, **{name: fact for name, fact in facts.items() if name not in _ARRAYS}}
        content |= {
            "hyperparameters": self.job.hyperparameters._asdict(),
            "value": None if math.isnan(self.result.value) else self.result.value,
            "digest": self.digest,
            "weights_sha256": self.weights_sha256,
        }
        text = json.dumps(content, indent=1, allow_nan=False).encode()
        return pack({"record.json": text, **arrays_of(self.result), **to_members(self.preprocessing)})

    @classmethod
    def from_bytes(cls, data: bytes, place: object) -> "Record":
        """Return the record in a file's content.

        Raises:
            RecordError: the content is truncated, altered, or not a record; `place` names the file.
        """
        members = unpack(data, place, _REMEDY)
        try:
            return cls._from_members(members)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "record.json"
            raise _not_whole(place, f"does not hold a record ({where}: {first['msg']})") from error
        except _NOT_A_RECORD as error:
            raise _not_whole(place, f"does not hold a record ({error!r})") from error

    @classmethod
    def _from_members(cls, members: dict[str, bytes]) -> "Record":
        """Return the record in the members of an archive; raise an error that pydantic or NumPy finds there."""
        content: Any = _Content.model_validate_json(members["record.json"])
        curve, folds = read_curves(members)
        found: dict[str, Any] = {**dict(content), "curve": curve, "folds": folds, "weights": None}
        found["hyperparameters"] = Hyperparameters(**dict(content.hyperparameters))
        found["value"] = math.nan if content.value is None else content.value
        job, result, provenance = (part(**{each.name: found[each.name] for each in fields(part)}) for part in _PARTS)
        _check(job, result)
        return cls(job, result, provenance, content.digest, content.weights_sha256, from_members(members))


# The fields of record.json: those of the three parts, but two arrays that are members and one that is a file.
_PARTS: tuple[Any, ...] = (TrialJob, TrialResult, Provenance)
_ARRAYS = {"curve", "folds", "weights"}
_DECLARED = {name: kind for part in _PARTS for name, kind in get_type_hints(part, include_extras=True).items()}
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_TRIED = {**TYPES, "hidden_size": Count}  # a baseline without a hidden layer has 0 hidden units
_DECLARED |= {
    "format": Literal[3],
    "hyperparameters": create_model("Hyperparameters", __config__=_STRICT, **_TRIED),
    "value": float | None,
    "digest": Digest,
    "weights_sha256": Digest | Literal[""],
}
_Content: Any = create_model(
    "Record", __config__=_STRICT, **{name: kind for name, kind in _DECLARED.items() if name not in _ARRAYS}
)


def _check(job: TrialJob, result: TrialResult) -> None:
    """Raise ValueError if parts of a record contradict one another."""
    training, study = job.settings["training"], job.settings["study"]
    if (job.batch_size, job.dtype, job.metric) != (training["batch_size"], training["dtype"], study["metric"]):
        raise ValueError("batch_size, dtype and metric are not those of the settings")
    if (result.best_epoch or 0) > len(result.curve):
        raise ValueError(f"best_epoch {result.best_epoch} is beyond the {len(result.curve)} epochs of the curve")
    if result.state is State.FINISHED and (math.isnan(result.value) or not result.best_epoch):
        raise ValueError("a finished trial has a value and a best epoch")


def chained(history_hash: str, digest: str) -> str:
    """Return the history hash after one more trial: equal hashes mean equal histories."""
    return hashlib.sha256((history_hash + digest).encode()).hexdigest()


def outline(record: Record) -> Record:
    """Return a record without its curves and its environment: what a run keeps in memory of each trial."""
    result = replace(record.result, curve=(), folds=())
    return replace(record, result=result, provenance=replace(record.provenance, environment={}))


def rank(record: Record) -> tuple[float, int]:
    """Return the key that sorts finished trials, the best first; of two equal values, the earlier trial comes first."""
    return (record.job.metric.cost(record.result.value), record.number)


def ranked(records: list[Record]) -> list[Record]:
    """Return the finished trials, the best first. Only finished trials can win."""
    return sorted((record for record in records if record.result.state is State.FINISHED), key=rank)


def differences(found: TrialJob, asked: TrialJob) -> list[str]:
    """Return in what a record's job differs from the job that is asked for; the empty list means that they match."""
    # batch_size, dtype and metric are among the settings.
    plain = ("seed", "thresholds", "data_digest", "epochs", "role", "step")
    pairs = {name: (getattr(found.hyperparameters, name), getattr(asked.hyperparameters, name)) for name in TYPES}
    pairs |= {name: (getattr(found, name), getattr(asked, name)) for name in plain}
    different = [f"{name} is {one!r} where {other!r} is asked" for name, (one, other) in pairs.items() if one != other]
    return different + setting_differences(found.settings, asked.settings)


def setting_differences(ours: Any, theirs: Any, place: str = "") -> list[str]:  # noqa: ANN401  # any JSON value
    """Return the differences of two settings, one line per key."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        below = (setting_differences(ours.get(k), theirs.get(k), f"{place}.{k}".lstrip(".")) for k in keys)
        return [line for lines in below for line in lines]
    return [] if ours == theirs else [f"{place} was {json.dumps(ours)}, is {json.dumps(theirs)}"]


def pack_weights(weights: Params) -> bytes:
    """Return the content of a weights file: W1, b1, W2, b2."""
    return pack(dict(weights._asdict()))


def unpack_weights(data: bytes, record: Record, place: object) -> Params:
    """Return the weights in a weights file's content.

    Raises:
        RecordError: the content is not what the record's SHA-256 says.
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


def _digest(job: TrialJob, result: TrialResult) -> str:
    """Return the SHA-256 of what was asked of a trial and what it gave."""
    asked = [job.hyperparameters._asdict(), job.seed, sorted(job.thresholds.items()), result.state]
    sha = hashlib.sha256(json.dumps(asked).encode())
    arrays = arrays_of(result) | (result.weights._asdict() if result.weights else {})
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sha.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        sha.update(little.data)
    return sha.hexdigest()


def _not_whole(place: object, what: str) -> RecordError:
    return RecordError.at(place, what, remedy=_REMEDY)
