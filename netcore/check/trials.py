"""Checks of the search: are its records whole, and are they the records of the study that the folder states?

Records come in, findings go out: a `Problem` is wrong, a `Notice` is not. Each check is independent of the others, so
a single mistake is named where it is. The last one asks sampler and stopping rule for every trial again.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from threadpoolctl import threadpool_limits

from netcore.check.outcomes import outcome_problems
from netcore.errors import Problem, RecordError
from netcore.files import TEMPORARY
from netcore.progress import Finding, Notice, Stage
from netcore.question.spec import StudySpec, load_spec
from netcore.records.folder import StudyFolder
from netcore.records.job import TrialJob
from netcore.records.record import Record, chained, differences, ranked, setting_differences
from netcore.search.history import History
from netcore.search.loop import KEPT
from netcore.search.samplers import SAMPLER_ARGUMENTS
from netcore.training.step import STEP

_TRAIN = "`netcore run` trains it again"


def read_records(folder: StudyFolder) -> tuple[list[Record], list[Finding]]:
    """Return all readable records of a folder, in order, and what is wrong with the others."""
    records: list[Record] = []
    found: list[Finding] = []
    for number in folder.numbers():
        try:
            records.append(folder.read(number))
        except RecordError as error:
            found += error.problems
    return records, found


def study_records(folder: StudyFolder, spec: StudySpec) -> tuple[list[Record], list[Finding]]:
    """Return all readable records of a search, and what is wrong with its folder of records.

    An interrupted search has the records of the first trials, and perhaps some of the trials that were in flight. Any
    other gap is a lost record.
    """
    records, found = read_records(folder)
    numbers = folder.numbers()
    names = {f"{number:06d}.npz" for number in numbers}
    strange = (path for path in sorted(folder.trials.glob("*")) if path.name not in names and path.suffix != TEMPORARY)
    found += [Problem(str(path), "is not a record's file name", remedy="move it away") for path in strange]
    known = max(0, numbers[-1] - spec.study.window + 1) if numbers else 0
    for number in sorted({*range(known)} - {*numbers}):
        found.append(Problem(f"trial {number}", "has no record, but later trials were proposed from it", remedy=_TRAIN))
    committed = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], enumerate(numbers)))
    if known <= committed < spec.study.trials:
        late = f" (and {len(numbers) - committed} later ones)" if len(numbers) > committed else ""
        done = f"interrupted: {committed} of {spec.study.trials} trials{late} are verified"
        found.append(Notice(f"{done}; `netcore run` continues"))
    return records, found


def settings(folder: StudyFolder, spec: StudySpec) -> Iterator[Problem]:
    """Compare study.toml with resolved.json, except for the settings that options of the commands may override.

    Raises:
        InputError: study.toml is missing or wrong.
    """
    stated = load_spec(folder.study_file).model_dump(mode="json")
    used = spec.model_dump(mode="json")
    if stated["study"]["name"] == folder.study_file.stem:  # the file states no name
        stated["study"]["name"] = spec.name
    for each in (stated, used):
        del each["confirm"], each["study"]["trials"]
    for change in setting_differences(stated, used):
        yield Problem(str(folder.study_file), "must state the settings of resolved.json", change)
    resolved = folder.resolved_settings()
    expected = {"sampler_arguments": SAMPLER_ARGUMENTS[spec.study.sampler], "training_step": STEP}
    for change in setting_differences({name: resolved.get(name) for name in expected}, expected):
        yield Problem(str(folder.resolved), "must state the values of this version of netcore", change)


def jobs(records: list[Record], spec: StudySpec, digest: str) -> Iterator[Problem]:
    """Compare settings, seed, data digest and training step of each record with the study's."""
    for record in records:
        job = record.job
        asked = TrialJob.of(spec, job.number, job.hyperparameters, job.thresholds, digest, job.history_hash)
        if different := differences(job, asked):
            yield Problem(f"trial {record.number}", "must answer the study's question", "; ".join(different))


def outcomes(records: list[Record]) -> Iterator[Problem]:
    """Check that each trial's state, best epoch and value follow from its own curve and thresholds."""
    for record in records:
        yield from outcome_problems(record, f"trial {record.number}")


def digests(records: list[Record], folder: StudyFolder) -> Iterator[Finding]:
    """Compute the digests again, of all trials whose weights are kept or that have none."""
    left = 0
    for record in records:
        result = record.result
        if record.weights_sha256:
            try:
                result = replace(result, weights=folder.read_weights(record))
            except RecordError:  # `weights` reports them
                left += 1
                continue
        again = Record.of(record.job, result, record.provenance)
        if again.digest != record.digest:
            yield Problem(f"trial {record.number}", "must have the digest of its content", record.digest)
    if left:
        text = f"{len(records) - left} of {len(records)} computed again; the weights of the others are not kept:"
        yield Notice(f"{text} `netcore replay {folder.name} --all` trains them again and compares")


def weights(records: list[Record], folder: StudyFolder, spec: StudySpec) -> Iterator[Problem]:
    """Check the weights files: each belongs to its record, and none is missing or superfluous."""
    by_number = {record.number: record for record in records}
    kept = folder.kept_weights()
    for number in sorted(kept & by_number.keys()):
        try:
            folder.read_weights(by_number[number])
        except RecordError as error:
            yield from (replace(problem, remedy=_TRAIN) for problem in error.problems)
    if len(records) < spec.study.trials:
        return
    for number in sorted(kept - by_number.keys()):
        yield Problem(str(folder.weights_file(number)), "belongs to a trial without a record", remedy="move it away")
    wanted = [r for r in records if r.weights_sha256] if spec.study.weights == "all" else ranked(records)[:KEPT]
    for number in sorted({record.number for record in wanted} - kept):
        yield Problem(str(folder.weights_file(number)), "is missing", remedy=_TRAIN)


def history(records: list[Record], spec: StudySpec) -> Iterator[Problem]:
    """Find the first trial whose history hash is not the hash of the trials that it was proposed from."""
    hashes = [""]
    for record in unbroken(records):
        latest = record.number - spec.study.window
        if record.job.history_hash != hashes[max(0, latest + 1)]:
            known = f"trials 0 to {latest} as they are" if latest >= 0 else "no earlier trial"
            yield Problem(f"trial {record.number}", f"must have been proposed from {known}", "another history hash")
            return
        hashes.append(chained(hashes[-1], record.digest))


def proposals(records: list[Record], spec: StudySpec) -> Iterator[Problem | Stage | Record]:
    """Ask sampler and stopping rule for each trial again; return what is wrong, and each record once it is checked.

    They know the trials that they knew then, and no other. The check ends at the first trial without a record.

    Raises:
        RecordError: a trial is outside the search space, so later ones cannot be proposed again.
    """
    yield Stage("trials proposed again", len(records))
    there, window = unbroken(records), spec.study.window
    known = History(spec)
    with threadpool_limits(1):  # as in the search: the sampler's sums keep their order
        for number, record in enumerate(there):
            if number >= window:
                known.commit(number - window, there[number - window].result)
            asked = replace(record.job, hyperparameters=known.propose(number), thresholds=known.thresholds())
            if different := differences(record.job, asked):
                rule = "must be the trial that sampler and stopping rule propose"
                yield Problem(f"trial {number}", rule, "; ".join(different))
            yield record
            if record.job.hyperparameters != asked.hyperparameters:  # later trials follow from what the records say
                known = _history_of(there[: number + 1], spec)


def _history_of(records: list[Record], spec: StudySpec) -> History:
    """Return the history after the last of these trials was proposed."""
    known, committed = History(spec), max(0, len(records) - spec.study.window)
    for record in records[:committed]:
        known.commit_next(record)
    for record in records[committed:]:
        known.in_flight(record.job.hyperparameters)
    return known


def unbroken(records: list[Record]) -> list[Record]:
    """Return the records before the first gap."""
    return [record for _, record in takewhile(lambda pair: pair[0] == pair[1].number, enumerate(records))]
