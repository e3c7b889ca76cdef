"""Verification of a search: are the records whole, and are they those of the study that the folder states?

Records come in, findings go out: a `Problem` is wrong, a `Remark` is not. A checksum shows that a file is the one that
was written; here the numbers in it are held against one another, and each proposal is made once more. What came after
the search is looked at by `verify_confirm`, the views by `tracking` and `results`. Nothing is changed.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from netcore.core.sgd import Epoch
from netcore.errors import Finding, InputError, Problem, RecordError, Remark
from netcore.files import TEMPORARY
from netcore.question.metrics import METRICS
from netcore.question.spec import StudySpec, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import Role, State, TrialJob, TrialResult
from netcore.records.record import Record, chained, differences, ranked, setting_differences
from netcore.search.history import History
from netcore.search.loop import KEPT
from netcore.search.sampling import SAMPLER_ARGUMENTS
from netcore.training.step import STEP

__all__ = [
    "asked_again",
    "chain",
    "digests",
    "jobs",
    "misfits",
    "outcomes",
    "read_records",
    "settings",
    "weights",
]

_AGAIN = "`netcore run` trains it"


def read_records(folder: StudyFolder, spec: StudySpec) -> tuple[list[Record], list[Finding]]:
    """Read all records that are whole, in order, and find what keeps the others from being so.

    A search that was interrupted has records up to a number, and perhaps some of those that were in flight then.
    Whatever else is missing was lost.
    """
    records: list[Record] = []
    numbers = folder.numbers()
    names = {f"{number:06d}.npz" for number in numbers}
    strange = (path for path in sorted(folder.trials.glob("*")) if path.name not in names and path.suffix != TEMPORARY)
    found: list[Finding] = [Problem(str(path), "is no name of a record", remedy="move it away") for path in strange]
    for number in numbers:
        try:
            records.append(folder.read(number))
        except RecordError as error:
            found += error.problems
    asked = numbers[-1] - spec.study.window + 1 if numbers else 0
    for number in sorted({*range(max(0, asked))} - {*numbers}):
        found.append(Problem(f"trial {number}", "has no record, though a later trial knew of it", remedy=_AGAIN))
    committed, wanted = _length(numbers), spec.study.trials
    if committed < wanted and committed >= asked:
        late = f" ({len(numbers) - committed} that were in flight beside them)" if len(numbers) > committed else ""
        text = f"interrupted: {committed} of {wanted} trials{late} are verified; `netcore run` goes on"
        found.append(Remark(text))
    return records, found


def settings(folder: StudyFolder, spec: StudySpec) -> Iterator[Problem]:
    """Compare what the study file says with resolved.json, but for what the commands' options may override."""
    resolved = folder.resolved_settings()
    try:
        stated = load_spec(folder.study_file).model_dump(mode="json")
    except InputError as error:
        yield from error.problems
        return
    now = spec.model_dump(mode="json")
    if stated["study"]["name"] == folder.study_file.stem:  # what the name of the file gives where it says none
        stated["study"]["name"] = spec.name
    for said in (stated, now):
        del said["confirm"], said["study"]["trials"]
    for change in setting_differences(stated, now):
        yield Problem(str(folder.study_file), "must say what resolved.json says", change)
    expected = {"sampler_arguments": SAMPLER_ARGUMENTS[spec.study.sampler], "training_step": STEP}
    for change in setting_differences({name: resolved.get(name) for name in expected}, expected):
        yield Problem(str(folder.resolved), "must be that of this version", change)


def jobs(records: list[Record], spec: StudySpec, digest: str) -> Iterator[Problem]:
    """Compare settings, seed, data and training step of each record with those of the study."""
    for record in records:
        job = record.job
        asked = TrialJob.of(spec, job.number, job.hyperparameters, job.thresholds, digest, job.history_hash)
        if different := differences(job, asked):
            yield Problem(f"trial {record.number}", "must be of the study's question", "; ".join(different))


def outcomes(records: list[Record]) -> Iterator[Problem]:
    """Find trials whose state, best epoch and value are not what their own curves and thresholds make of them."""
    for record in records:
        yield from misfits(record, f"trial {record.number}")


def misfits(record: Record, place: str) -> Iterator[Problem]:
    """Find what does not fit together in one record."""
    job, result = record.job, record.result
    if result.state is State.FAILED:
        if result.curve or not result.failure or record.weights_sha256:
            yield Problem(place, "a failed trial has a reason, and neither curve nor weights")
        return
    if not result.curve:
        yield Problem(place, f"must have a curve: it is {result.state}")
        return
    rate, decay = job.hyperparameters.learning_rate, job.hyperparameters.learning_rate_decay
    for epoch in result.curve:
        asked = float(rate * decay ** (epoch.epoch - 1))
        if epoch.learning_rate != asked:
            yield Problem(
                f"{place}, epoch {epoch.epoch}", f"learning_rate must be {asked!r}", repr(epoch.learning_rate)
            )
            break
    yield from _uneven_folds(result, place)
    state, best_epoch, value = _made_of(job, result.curve)
    told: dict[str, tuple[object, object]] = {
        "state": (result.state, state),
        "best_epoch": (result.best_epoch, best_epoch),
    }
    if not (result.value == value or (math.isnan(result.value) and math.isnan(value))):
        told["value"] = (result.value, value)
    for name, (ours, theirs) in told.items():
        if ours != theirs:
            yield Problem(place, f"{name} must be {_plain(theirs)}, as its curve says", _plain(ours))
    if (state is State.DIVERGED) == bool(record.weights_sha256):
        yield Problem(place, f"must {'not ' * (state is State.DIVERGED)}state its weights' SHA-256: it is {state}")


def digests(records: list[Record], folder: StudyFolder) -> Iterator[Finding]:
    """Compute each trial's digest anew from what it is the digest of, as far as that is there."""
    left = 0
    for record in records:
        result = record.result
        if record.weights_sha256:
            try:
                result = replace(result, weights=folder.read_weights(record))
            except RecordError:  # `weights` says what is wrong with them
                left += 1
                continue
        again = Record.of(record.job, result, record.provenance)
        if again.digest != record.digest:
            yield Problem(f"trial {record.number}", "must have the digest of its content", record.digest)
        if again.weights_sha256 != record.weights_sha256:
            yield Problem(f"trial {record.number}", "must state its weights' SHA-256", record.weights_sha256)
    if left:
        text = f"{len(records) - left} of {len(records)} computed anew; the weights of the others are not kept:"
        yield Remark(f"{text} `netcore replay {folder.name} --all` trains them again and compares")


def weights(records: list[Record], folder: StudyFolder, spec: StudySpec) -> Iterator[Problem]:
    """Look at the weights that are kept, and for those that should be."""
    by_number = {record.number: record for record in records}
    kept = folder.kept_weights()
    for number in sorted(kept & by_number.keys()):
        try:
            folder.read_weights(by_number[number])
        except RecordError as error:
            yield from (replace(problem, remedy="`netcore run` makes it again") for problem in error.problems)
    if len(records) >= spec.study.trials:
        for number in sorted(kept - by_number.keys()):
            yield Problem(str(folder.weights_file(number)), "is of a trial without a record", remedy="move it away")
        wanted = [r for r in records if r.weights_sha256] if spec.study.weights == "all" else ranked(records)[:KEPT]
        for record in wanted:
            if record.number not in kept:
                path = str(folder.weights_file(record.number))
                yield Problem(path, "must be kept and is not there", remedy="`netcore run` makes it again")


def chain(records: list[Record], spec: StudySpec) -> Iterator[Problem]:
    """Find the first trial that was proposed knowing other trials than the records show."""
    known = [""]
    for record in _unbroken(records):
        latest = record.number - spec.study.window
        if record.job.history_hash != known[max(0, latest + 1)]:
            what = f"must have known trials 0 to {latest} as they are" if latest >= 0 else "must have known no trial"
            yield Problem(f"trial {record.number}", what, "another history")
            return
        known.append(chained(known[-1], record.digest))


def asked_again(records: list[Record], spec: StudySpec) -> Iterator[tuple[Record, list[str]]]:
    """Go through the search once more: give each record, and in what it is not the trial that is asked for there.

    The sampler and the stopping rule know the trials that they knew then, and no other. It ends at the first trial
    without a record, or where a record cannot be told to the sampler.
    """
    there, window = _unbroken(records), spec.study.window
    history = History(spec)
    for number, record in enumerate(there):
        if number >= window:
            history.commit(number - window, there[number - window].result)
        asked = replace(record.job, hyperparameters=history.propose(number), thresholds=history.thresholds())
        yield record, differences(record.job, asked)
        if record.job.hyperparameters != asked.hyperparameters:  # the next are asked knowing what the records say
            history = History(spec)
            committed = max(0, number - window + 1)
            try:
                for earlier in there[:committed]:
                    history.commit_next(earlier)
                for earlier in there[committed : number + 1]:
                    history.in_flight(earlier.job.hyperparameters)
            except RecordError:  # outside the space
                return


def _unbroken(records: list[Record]) -> list[Record]:
    """Give the records up to the first number that has none."""
    return [record for _, record in takewhile(lambda pair: pair[0] == pair[1].number, enumerate(records))]


def _length(numbers: list[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], enumerate(numbers)))


def _made_of(job: TrialJob, curve: tuple[Epoch, ...]) -> tuple[State | str, int | None, float]:
    """Say what a curve makes of its trial: state, best epoch and value."""
    *before, last = [math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss) for epoch in curve]
    costs: list[float] = [job.metric.cost(getattr(epoch, job.metric)) for epoch in curve]
    reached = (rung for rung in sorted(job.thresholds) if 0 < rung < job.epochs and rung <= len(before) + last)
    stops = [rung for rung in reached if min(costs[:rung]) > job.metric.cost(job.thresholds[rung])]
    if not all(before) or stops[:1] not in ([], [len(curve)]):
        return "one of an earlier end", None, math.nan
    if not last:
        return State.DIVERGED, None, math.nan
    ends: State | str = State.PRUNED if stops else State.FINISHED
    if not stops and len(curve) != job.epochs:
        ends = "none yet"
    best = len(costs) if job.role is Role.CONFIRM else costs.index(min(costs)) + 1
    return ends, best, getattr(curve[best - 1], job.metric)


def _uneven_folds(result: TrialResult, place: str) -> Iterator[Problem]:
    """Find the first epoch whose figures are not the means of those of the folds."""
    for epoch, *of_folds in zip(result.curve, *result.folds, strict=True) if result.folds else ():
        for name in METRICS:
            ours, mean = getattr(epoch, name), sum(getattr(fold, name) for fold in of_folds) / len(of_folds)
            if not (ours == mean or (math.isnan(ours) and math.isnan(mean))):
                yield Problem(f"{place}, epoch {epoch.epoch}", f"{name} must be the folds' mean {mean!r}", repr(ours))
                return


def _plain(value: object) -> str:
    return str(value) if isinstance(value, str) else repr(value)
