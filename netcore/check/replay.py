"""`netcore replay`: train again what a record describes, and compare to the last bit.

A checksum shows that a record is what was written; only training again shows that its numbers are the net's. Data and
workers are those of `netcore run`. The record holds everything else that a training depends on, so neither a sampler
nor another trial is needed.

    records (of a folder, or read back from MLflow)  ->  Asked  ->  train  ->  Replayed: what differs, in words
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from netcore.confirm.confirmation import read_confirmation, split_of
from netcore.core.params import Params
from netcore.data import Dataset
from netcore.data.prepared import prepared
from netcore.errors import DataError, InputError, RecordError
from netcore.question.spec import StudySpec, dataset_of
from netcore.records.curves import arrays_of
from netcore.records.folder import StudyFolder
from netcore.records.job import MACHINE_FAILURES, Role, TrialResult
from netcore.records.record import Record, ranked, setting_differences
from netcore.seeds import Purpose, generator
from netcore.workers.engine import Engine
from netcore.workers.start import engine_for


class Asked(NamedTuple):
    """A training that is to be replayed."""

    name: str
    record: Record
    weights: Params | None = None
    """The record's weights, if they are kept."""


class Replayed(NamedTuple):
    """The result of a replay."""

    name: str
    record: Record
    differences: tuple[str, ...] = ()
    """How the training differs from its record; empty if they are equal to the last bit."""
    environment: tuple[str, ...] = ()
    """How this machine and its versions differ from the record's, which may explain the differences."""
    skipped: bool = False
    """Whether nothing was trained: the worker had died or run out of time, which no replay repeats."""


def replay(
    spec: StudySpec, asked: list[Asked], workers: int | None = None, dask: str | None = None
) -> Iterator[Replayed]:
    """Train again and compare, the trainings of a confirmation last.

    Raises:
        InputError: the data are missing, or differ from the records'; nothing was trained.
        WorkError: no worker can be started.
    """
    confirming = [each for each in asked if each.record.job.role is Role.CONFIRM]
    with prepared(partial(dataset_of, spec)) as dataset:
        for each in asked:
            if dataset.digest != (stated := each.record.job.data_digest):
                place, rule = f"{each.name}: data {dataset.name}", f"must have the digest {stated[:16]}… of its record"
                raise DataError.at(place, rule, f"{dataset.digest[:16]}…", "restore the data that the study ran on")
        with engine_for(spec, dataset, workers, dask) as engine:
            yield from _train([each for each in asked if each.record.job.role is not Role.CONFIRM], dataset, engine)
            for seed in sorted({each.record.number for each in confirming}):
                with split_of(spec, seed) as split:
                    yield from _train([each for each in confirming if each.record.number == seed], split, engine)


def trials_of(folder: StudyFolder, numbers: Sequence[int]) -> list[Asked]:
    """Return the trials of these numbers.

    Raises:
        InputError: a trial has no record, or a damaged one.
    """
    asked: dict[int, Asked] = {}
    there = folder.numbers()
    for number in numbers:
        if number not in there:
            remedy = f"there are {len(there)}, the last is {there[-1]}" if there else "there is none"
            raise InputError.at(f"{folder.name}: trial {number}", "has no record", remedy=remedy)
        record, weights = folder.read(number), None
        with suppress(RecordError):  # few are kept; without them only the SHA-256 is compared
            weights = folder.read_weights(record)
        asked[number] = Asked(f"trial {number}", record, weights)
    return [*asked.values()]


def best_of(folder: StudyFolder) -> list[Asked]:
    """Return the best trial.

    Raises:
        InputError: no trial has finished, or a record is damaged.
    """
    best = ranked(folder.committed())
    if not best:
        raise InputError.at(folder.name, "no trial has finished, so there is no best one", remedy="name trials instead")
    return trials_of(folder, [best[0].number])


def sample_of(folder: StudyFolder, size: int) -> list[Asked]:
    """Return a sample of trials, drawn with the study's seed; a larger sample contains a smaller one.

    Raises:
        InputError: a record is damaged.
    """
    order = generator(folder.spec().study.seed, 0, Purpose.REPLAY).permutation(len(folder.committed()))
    return trials_of(folder, sorted(order[:size].tolist()))


def confirmation_of(folder: StudyFolder) -> list[Asked]:
    """Return the trainings of a confirmation.

    Raises:
        InputError: the confirmation is incomplete, or a record is damaged.
    """
    confirmed = read_confirmation(folder.spec(), folder.committed(), folder)
    if not confirmed:
        raise InputError.at(folder.name, "has no complete confirmation", remedy="run `netcore confirm` first")
    pairs = ((candidate, record) for candidate, records in confirmed.items() for record in records)
    return [Asked(f"{candidate.name}, seed {record.number}", record) for candidate, record in pairs]


def compared(asked: Asked, again: Record) -> Replayed:
    """Compare a record with the record of the replay."""
    ours, theirs = asked.record.result, again.result
    found: list[str] = []
    if theirs.failure in MACHINE_FAILURES:
        found.append(f"it could not be trained here: {theirs.traceback.strip()[:200]}")
    for name in ("state", "best_epoch"):
        old, new = getattr(ours, name), getattr(theirs, name)
        if old != new:
            found.append(f"{name} was {old}, is {new}")
    found += _curve_differences(ours, theirs)
    if asked.record.weights_sha256 != again.weights_sha256:
        found.append(f"the weights differ{_distance(asked.weights, theirs.weights)}")
    if not found and not _same(ours.value, theirs.value):
        found.append(f"value was {ours.value!r}, is {theirs.value!r}")
    if not found and asked.record.digest != again.digest:
        found.append("all metrics are equal, but the record's digest is not the digest of its content")
    environment = setting_differences(asked.record.provenance.environment, again.provenance.environment)
    return Replayed(asked.name, asked.record, tuple(found), tuple(environment))


def _train(asked: list[Asked], dataset: Dataset, engine: Engine) -> Iterator[Replayed]:
    """Train on one data set; return all results in order."""
    futures = [
        None if each.record.result.failure in MACHINE_FAILURES else engine.submit(each.record.job, dataset)
        for each in asked
    ]
    for each, future in zip(asked, futures, strict=True):
        if future is None:
            yield Replayed(each.name, each.record, skipped=True)
        else:
            yield compared(each, future.result())


def _curve_differences(ours: TrialResult, theirs: TrialResult) -> list[str]:
    """Report other lengths of two curves, the first epoch that differs, and the largest difference by metric."""
    lengths = len(theirs.curve), len(ours.curve)
    found = [] if lengths[0] == lengths[1] else ["{} epochs, not {}".format(*lengths)]
    first, amounts = min(lengths), []
    old, new = ({name: array[..., :first] for name, array in arrays_of(each).items()} for each in (ours, theirs))
    for name in (name for name in old if name in new):  # MLflow has no curves of folds
        differ = ~_same(old[name], new[name])
        if differ.any():
            by = np.abs(old[name][differ] - new[name][differ])
            amounts.append(f"{name} {np.nan_to_num(by, nan=np.inf).max():.3g}")
            first = min(first, differ.nonzero()[-1].min())
    if amounts:
        found.append(f"from epoch {first + 1} on, by at most {', '.join(amounts)}")
    return found


def _same(one: Any, other: Any) -> Any:  # noqa: ANN401  # numbers, or arrays of one shape
    """Compare two values; all that are not finite are equal, as MLflow has no infinity (digests tell them apart)."""
    return (one == other) | ~(np.isfinite(one) | np.isfinite(other))


def _distance(ours: Params | None, theirs: Params | None) -> str:
    """Return the largest difference of two nets' weights, as text; empty if one is not kept, or their shapes differ."""
    if ours is None or theirs is None or [w.shape for w in ours] != [w.shape for w in theirs]:
        return ""
    pairs = zip(ours, theirs, strict=True)
    return f" by at most {max(float(np.max(np.abs(one - other), initial=0.0)) for one, other in pairs):.3g}"
