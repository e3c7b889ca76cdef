"""`netcore replay`: train again what a record, or an MLflow run, tells of, and compare to the last bit.

The engine is that of `netcore run`, and so are the data: what they are must be what the record states, or nothing is
trained. What a trial depends on stands in its record, so that no sampler is asked and no other trial is needed.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from netcore.check.comparison import Asked, Replayed, compared, is_covered
from netcore.confirm.confirmation import read_confirmation, split_of
from netcore.data import Dataset
from netcore.data.prepared import prepared
from netcore.errors import DataError, InputError, RecordError
from netcore.question.spec import StudySpec, dataset_of
from netcore.records.folder import StudyFolder
from netcore.records.job import Role
from netcore.records.record import Record, ranked
from netcore.seeds import Purpose, generator
from netcore.workers.engine import Engine
from netcore.workers.start import engine_for

__all__ = ["all_of", "best_of", "confirmation_of", "replay", "sample_of", "trials_of"]


def replay(
    spec: StudySpec, asked: list[Asked], workers: int | None = None, dask: str | None = None
) -> Iterator[Replayed]:
    """Train again, and say of each training in what it is not its record.

    Raises:
        InputError: the data are not there, or are not those of the records; nothing was trained.
        WorkError: no worker can be started.
    """
    on_splits: dict[int, list[Asked]] = {}
    on_own: list[Asked] = []
    for each in asked:
        of_seed = on_splits.setdefault(each.record.number, []) if each.record.job.role is Role.CONFIRM else on_own
        of_seed.append(each)
    with prepared(partial(dataset_of, spec)) as dataset:
        for each in asked:
            _refuse_other_data(dataset, each)
        with engine_for(spec, dataset, workers, dask) as engine:
            yield from _again(on_own, dataset, engine)
            for seed, of_seed in sorted(on_splits.items()):
                with split_of(spec, seed) as split:
                    yield from _again(of_seed, split, engine)


def trials_of(folder: StudyFolder, numbers: tuple[int, ...]) -> list[Asked]:
    """Give the trials of these numbers.

    Raises:
        InputError: one of them has no record, or none that is whole.
    """
    there = folder.numbers()
    for number in numbers:
        if number not in there:
            remedy = f"there are {len(there)}, the last is {there[-1]}" if there else "there is none"
            raise InputError.at(f"{folder.name}: trial {number}", "has no record", remedy=remedy)
    return [_of_trial(folder.read(number), folder) for number in dict.fromkeys(numbers)]


def best_of(folder: StudyFolder) -> list[Asked]:
    """Give the best trial.

    Raises:
        InputError: none has finished, or a record is not whole.
    """
    best = ranked(folder.committed())[:1]
    if not best:
        raise InputError.at(folder.name, "no trial has finished, so there is no best one", remedy="name trials instead")
    return [_of_trial(record, folder) for record in best]


def sample_of(folder: StudyFolder, size: int) -> list[Asked]:
    """Give so many trials, or all if there are fewer, chosen by the study's seed; a larger sample holds the smaller.

    Raises:
        InputError: a record is not whole.
    """
    records = folder.committed()
    order = generator(folder.spec().study.seed, 0, Purpose.REPLAY).permutation(len(records))
    return [_of_trial(records[place], folder) for place in sorted(order[:size])]


def all_of(folder: StudyFolder) -> list[Asked]:
    """Give all trials.

    Raises:
        InputError: a record is not whole.
    """
    return [_of_trial(folder.read(number), folder) for number in folder.numbers()]


def confirmation_of(folder: StudyFolder) -> list[Asked]:
    """Give the trainings of a confirmation.

    Raises:
        InputError: it is not complete, or a record is not whole.
    """
    confirmed = read_confirmation(folder.spec(), folder.committed(), folder)
    if not confirmed:
        raise InputError.at(folder.name, "has no complete confirmation", remedy="`netcore confirm` makes it")
    pairs = ((candidate, record) for candidate, records in confirmed.items() for record in records)
    return [Asked(f"{candidate.name}, seed {record.number}", record) for candidate, record in pairs]


def _of_trial(record: Record, folder: StudyFolder) -> Asked:
    weights = None
    with suppress(RecordError):  # they are kept of a few trials only, and a comparison needs their SHA-256 alone
        weights = folder.read_weights(record)
    return Asked(f"trial {record.number}", record, weights)


def _refuse_other_data(dataset: Dataset, asked: Asked) -> None:
    stated = asked.record.job.data_digest
    if dataset.digest != stated:
        place = f"{asked.name}: data {dataset.name}"
        rule = f"must have the digest {stated[:16]}… that its record states"
        raise DataError.at(place, rule, f"{dataset.digest[:16]}…", "put the data back that the study ran on")


def _again(asked: list[Asked], dataset: Dataset, engine: Engine) -> Iterator[Replayed]:
    """Train on one data set what is covered by the promise; give all in order."""
    futures = [engine.submit(each.record.job, dataset) if is_covered(each.record) else None for each in asked]
    for each, future in zip(asked, futures, strict=True):
        if future is None:
            yield Replayed(each.name, each.record, skipped=True)
            continue
        result, provenance = future.result()
        yield compared(each, Record.of(each.record.job, result, provenance), result.weights)
