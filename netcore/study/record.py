"""The record: one file that holds all of one trial, written once and never changed.

It is an ordinary .npz (`numpy.load` opens it): the curves as arrays, what the data's preparation was fitted to, and
everything else in `record.json`; packed and checksummed as `netcore.archive` says.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netcore.archive import array_of, pack, unpack
from netcore.core.params import Params
from netcore.core.training import Epoch
from netcore.errors import RecordError
from netcore.study.spec import Hyperparameters
from netcore.study.trial import State, TrialJob, TrialResult

__all__ = [
    "CURVES",
    "Provenance",
    "Record",
    "chained",
    "differences",
    "pack_weights",
    "rank",
    "ranked",
    "setting_differences",
    "unpack_weights",
]

CURVES = ("learning_rate", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
"""The arrays of a record, one entry per epoch."""

_FORMAT = 1
_REMEDY = "`netcore run` moves it aside and trains the trial again"
_NOT_A_RECORD = (AttributeError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError)
_NAN = np.float64("nan")


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
    """SHA-256 of hyperparameters, seed, ceilings, state, curves and weights; no times, no environment."""
    weights_sha256: str
    """SHA-256 of the weights file, whether it is kept or not; empty where there are no weights."""

    @classmethod
    def of(cls, job: TrialJob, result: TrialResult, provenance: Provenance) -> "Record":
        """Make the record of a trial that has just ended."""
        weights = "" if result.weights is None else hashlib.sha256(pack_weights(result.weights)).hexdigest()
        return cls(job, result, provenance, _digest(job, result), weights)

    @property
    def number(self) -> int:
        """Which trial, counted from 0."""
        return self.job.number

    def to_bytes(self) -> bytes:
        """Give the file's content. The weights are not part of it."""
        members: dict[str, bytes | NDArray[Any]] = dict(_curves(self.result.curve))
        return pack({"record.json": json.dumps(self._facts(), indent=1, allow_nan=False).encode(), **members})

    @classmethod
    def from_bytes(cls, data: bytes, place: object) -> "Record":
        """Read a file's content.

        Raises:
            RecordError: truncated, altered, or not a record at all; `place` says which file.
        """
        members = unpack(data, place, _REMEDY)
        try:
            facts = json.loads(members.pop("record.json"))
            arrays = {name.removesuffix(".npy"): array_of(content) for name, content in members.items()}
            return cls._from_parts(facts, arrays)
        except _NOT_A_RECORD as error:
            raise _not_whole(place, f"does not hold a record ({error!r})") from error

    def _facts(self) -> dict[str, Any]:
        job, result, provenance = self.job, self.result, self.provenance
        return {
            "format": _FORMAT,
            "trial": job.number,
            "hyperparameters": job.hyperparameters._asdict(),
            "seed": job.seed,
            "ceilings": {str(epoch): value for epoch, value in job.ceilings.items()},
            "step": job.step,
            "known": job.known,
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
    def _from_parts(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "Record":
        if facts["format"] != _FORMAT:
            raise ValueError(f"format {facts['format']} is not {_FORMAT}")
        if any(array.dtype != np.float64 or array.ndim != 1 for array in arrays.values()):
            raise ValueError("a curve is a row of float64 numbers")
        settings = facts["settings"]
        job = TrialJob(
            number=facts["trial"],
            hyperparameters=Hyperparameters(**facts["hyperparameters"]),
            seed=facts["seed"],
            ceilings={int(epoch): value for epoch, value in facts["ceilings"].items()},
            data_digest=facts["data_digest"],
            settings=json.dumps(settings, sort_keys=True),
            epochs=settings["training"]["epochs"],
            batch_size=settings["training"]["batch_size"],
            dtype=settings["training"]["dtype"],
            metric=settings["study"]["metric"],
            step=facts["step"],
            known=facts["known"],
        )
        columns = (arrays[name].tolist() for name in CURVES)
        result = TrialResult(
            state=State(facts["state"]),
            curve=tuple(
                Epoch(epoch, rate, *figures)
                for epoch, (rate, *figures) in enumerate(zip(*columns, strict=True), start=1)
            ),
            best_epoch=facts["best_epoch"],
            value=math.nan if facts["value"] is None else facts["value"],
            failure=facts["failure"],
            traceback=facts["traceback"],
        )
        provenance = Provenance(*(facts[name] for name in ("started", "seconds", "attempts", "environment")))
        return cls(job, result, provenance, facts["digest"], facts["weights_sha256"])


def chained(known: str, digest: str) -> str:
    """Give the hash of what is known after one more trial; it says at once whether two histories are the same."""
    return hashlib.sha256((known + digest).encode()).hexdigest()


def rank(record: Record) -> tuple[float, int]:
    """Give the place of a finished trial among others: the smallest is the best, the earlier of two equals first."""
    return (-record.result.value if record.job.maximize else record.result.value, record.number)


def ranked(records: list[Record]) -> list[Record]:
    """Give the finished trials, the best first. Only finished trials can win."""
    return sorted((record for record in records if record.result.state is State.FINISHED), key=rank)


def differences(found: TrialJob, asked: TrialJob) -> list[str]:
    """Say in what a record's job is not the one that is asked for; the empty list means that the record serves."""
    different = []
    if found.hyperparameters != asked.hyperparameters:
        pairs = zip(found.hyperparameters._fields, found.hyperparameters, asked.hyperparameters, strict=True)
        different += [f"{name} is {ours!r} where {theirs!r} is asked" for name, ours, theirs in pairs if ours != theirs]
    for name in ("seed", "ceilings", "data_digest", "step"):
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
    return Params(*(array_of(members[f"{name}.npy"]) for name in Params._fields))


def _curves(curve: tuple[Epoch, ...]) -> dict[str, NDArray[np.float64]]:
    """Give the curves as arrays. Every NaN is the same NaN, so that equal trainings give equal bytes."""
    columns = {name: np.array([getattr(epoch, name) for epoch in curve], np.float64) for name in CURVES}
    return {name: np.where(np.isnan(column), _NAN, column) for name, column in columns.items()}


def _digest(job: TrialJob, result: TrialResult) -> str:
    """Hash what a trial was and what it gave."""
    asked = [job.hyperparameters._asdict(), job.seed, sorted(job.ceilings.items()), result.state]
    sha = hashlib.sha256(json.dumps(asked).encode())
    arrays = _curves(result.curve) | (result.weights._asdict() if result.weights else {})
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sha.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        sha.update(little.data)
    return sha.hexdigest()


def _not_whole(place: object, what: str) -> RecordError:
    return RecordError.at(place, what, remedy=_REMEDY)
