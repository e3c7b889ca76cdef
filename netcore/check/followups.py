"""Checks of what follows a search: the records of confirmation and audit, the final model and its test result.

Each record belongs to a training that follows from the trials. So the jobs are derived again, and each record is
compared with its job. Records of an earlier, shorter search or of more seeds stay valid and are checked too. Model and
test.json are built again from the winner's record and compared.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from netcore.archive import pack
from netcore.check.outcomes import outcome_problems
from netcore.check.trials import digests, read_records
from netcore.confirm.audit import audit_task
from netcore.confirm.candidates import (
    PILOTS_FOLDER,
    Candidate,
    confirm_task,
    course,
    finalist,
    pilots,
    softmax,
)
from netcore.confirm.confirmation import read_confirmation
from netcore.confirm.final_model import FinalTraining, facts_of, final_training, result_on_test_set
from netcore.data.preprocessing import Preprocessing, to_members
from netcore.errors import Problem, RecordError
from netcore.files import is_file
from netcore.final.model import MODEL, read_model
from netcore.progress import Finding, Notice
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob
from netcore.records.record import Record, differences, pack_weights, ranked

_CONFIRM = "`netcore confirm` trains it again"
_REBUILD = "delete the file, and `netcore confirm` writes it again"


def confirmation(records: list[Record], folder: StudyFolder, spec: StudySpec) -> Iterator[Finding]:
    """Check the records of a confirmation, and whether it is complete."""
    home = folder.path / "confirm"
    if not home.is_dir():
        yield Notice("the study has not been confirmed")
        return
    for path in sorted(home.iterdir()):
        below = StudyFolder(path)
        there, problems = read_records(below)
        yield from problems
        asked = _jobs(path.name, there, records, folder, spec)
        if asked is None:
            yield Notice(f"{path} is not checked, because it belongs to no candidate of this search")
            continue
        for record in there:
            yield from _record_problems(record, asked(record.number), f"{path.name}, seed {record.number}", below)
        for seed in sorted({*range(max(below.numbers(), default=0))} - {*below.numbers()}):
            yield Problem(f"{path.name}, seed {seed}", "has no record, but a later seed has one", remedy=_CONFIRM)
    if not read_confirmation(spec, records, folder):
        yield Notice("it is incomplete, or belongs to an earlier search; `netcore confirm` continues")


def audit(records: list[Record], folder: StudyFolder) -> Iterator[Finding]:
    """Check the records of an audit: each begins with the curve of its stopped trial, bit for bit."""
    below = StudyFolder(folder.path / "audit")
    there, problems = read_records(below)
    yield from problems
    if not (there or problems):
        yield Notice("the stopping rule has not been audited")
    stopped = {record.number: record for record in records if record.result.state is State.PRUNED}
    for record in there:
        place = f"audit of trial {record.number}"
        if record.number not in stopped:
            yield Problem(place, "must belong to a pruned trial", remedy="move its record away")
            continue
        trial = stopped[record.number]
        yield from _record_problems(record, audit_task(trial, folder).job, place, below)
        ours, theirs = (repr(r.result.curve[: len(trial.result.curve)]) for r in (record, trial))
        if ours != theirs:
            yield Problem(place, "must begin with the curve of the stopped trial")


def final_model(records: list[Record], folder: StudyFolder, spec: StudySpec) -> Iterator[Finding]:
    """Build test.json and the facts in model.npz again, and compare; compare the weights with the winner's record.

    Raises:
        RecordError: model.npz is damaged, or test.json names no training that has a record.
    """
    path, test = folder.test, folder.test_result()
    if not (is_file(path) or is_file(folder.path / MODEL)):
        yield Notice("there is no final model: the test set has not been read")
        return
    if test is None:
        yield Problem(str(path), "is missing or damaged", remedy="`netcore confirm` reads the test set again")
        return
    confirmed = read_confirmation(spec, records, folder)
    final = final_training(confirmed)
    if confirmed and final is None:
        yield Problem(str(path), "must not exist, because no finalist finished", remedy="move it away")
        return
    final = final or _named(test, records, folder)
    model = read_model(folder.path / MODEL)
    record, data = final.record, folder.resolved_settings()["data"]
    again = result_on_test_set(final, test["confusion"], test["readings"])
    yield from _unlike(test, again | {"rows": data["rows"]["test"]}, path)
    facts = facts_of(spec, final, confirmed.get(final.candidate, [record]), test)
    if not confirmed:  # an earlier search, perhaps with another number of seeds
        del facts["confirmed"]
    found = model.facts | _content(model.class_names, pack_weights(model.params), model.preprocessing)
    asked = facts | _content(data["class_names"], b"", record.preprocessing) | {"weights_sha256": record.weights_sha256}
    yield from _unlike(found, asked, folder.path / MODEL)


def _content(class_names: Iterable[str], weights: bytes, preprocessing: Preprocessing) -> dict[str, Any]:
    """Return what model.npz holds besides facts, in a form that a report can show."""
    return {
        "class_names": list(class_names),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "preprocessing": hashlib.sha256(pack(to_members(preprocessing))).hexdigest(),
    }


def _candidates(records: list[Record], folder: StudyFolder, spec: StudySpec) -> dict[str, Candidate]:
    """Return all candidates that this search may have, by the name of the folder with their records."""
    tried, _ = read_records(StudyFolder(folder.path / "confirm" / PILOTS_FOLDER))
    baselines = [course(spec), *([softmax(tried)] if tried else [])]
    return {candidate.folder: candidate for candidate in [*map(finalist, ranked(records)), *baselines]}


def _jobs(
    name: str, there: list[Record], records: list[Record], folder: StudyFolder, spec: StudySpec
) -> Callable[[int], TrialJob] | None:
    """Return the jobs, by number, of the records in the folder of this name; None if it belongs to no candidate.

    The pilots of softmax regression come from one finished trial, the best of some search length.
    """
    if name == PILOTS_FOLDER:
        asked = [[task.job for task in pilots(spec, record, folder)] for record in ranked(records)]
        found = [jobs for jobs in asked if there and there[0].job in jobs] or asked
        return (lambda number: found[0][number]) if found else None
    candidate = _candidates(records, folder, spec).get(name)
    digest = folder.resolved_settings()["data"]["digest"]
    return candidate and (lambda seed: confirm_task(spec, digest, folder, candidate, seed).job)


def _record_problems(record: Record, asked: TrialJob, place: str, below: StudyFolder) -> Iterator[Problem]:
    """Compare a record with the job that it should have, and its parts with each other."""
    if different := differences(record.job, asked):
        yield Problem(place, "must be the training that follows from the trials", "; ".join(different), _CONFIRM)
    yield from outcome_problems(record, place)
    found = digests([record], below)  # no weights are kept here, so only trials without weights can be checked
    yield from (Problem(place, each.rule, each.value) for each in found if isinstance(each, Problem))


def _named(test: dict[str, Any], records: list[Record], folder: StudyFolder) -> FinalTraining:
    """Return the candidate and the record that test.json names, whatever search they come from.

    Raises:
        RecordError: test.json names no training that has a record.
    """
    for candidate in map(finalist, ranked(records)):
        below = StudyFolder(folder.path / "confirm" / candidate.folder)
        if candidate.trial == test["trial"] and test["seed"] in below.numbers():
            return FinalTraining(candidate, below.read(test["seed"]))
    raise RecordError.at(folder.test, "must name a training that has a record", remedy=_CONFIRM)


def _unlike(found: dict[str, Any], asked: dict[str, Any], path: Path) -> Iterator[Problem]:
    """Report each entry of a file that must have another value; entries that are not asked for may have any."""
    for name, value in asked.items():
        if found.get(name) != value:
            yield Problem(str(path), f"{name} must be {_shown(value)}", _shown(found.get(name)), _REBUILD)


def _shown(value: object) -> str:
    """Return a value as JSON, cut to two lines of a terminal."""
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."  # noqa: PLR2004
