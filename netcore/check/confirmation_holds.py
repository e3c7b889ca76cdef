"""Verification of what came after a search: confirmation, audit, the test set, and the net that ships.

Each of their records is the training of a job that follows from the trials: so the jobs are made again here, and held
against the records. What a longer search, or more seeds, left behind stays valid and is looked at, too.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from netcore.archive import pack
from netcore.check.records_hold import digests, misfits
from netcore.confirm.audit import audit_task
from netcore.confirm.candidates import (
    COURSE_FOLDER,
    PILOTS_FOLDER,
    SOFTMAX_FOLDER,
    Candidate,
    confirm_task,
    course,
    finalist,
    pilots,
    softmax,
)
from netcore.confirm.confirmation import read_confirmation
from netcore.confirm.final_model import facts_of, final_training
from netcore.data.preprocessing import to_members
from netcore.errors import Finding, Problem, RecordError, Remark
from netcore.files import is_file
from netcore.final.model import MODEL, Model, read_model
from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialJob
from netcore.records.record import Record, differences, pack_weights, ranked

__all__ = ["audited", "confirmation", "shipped"]

_CONFIRM = "`netcore confirm` trains it again"


def confirmation(records: list[Record], folder: StudyFolder, spec: StudySpec, digest: str) -> Iterator[Finding]:
    """Look at the records of a confirmation, and at whether it is complete."""
    home = folder.path / "confirm"
    if not home.is_dir():
        yield Remark("the study has not been confirmed")
        return
    for path in sorted(home.iterdir()):
        below = StudyFolder(path)
        there, problems = _whole(below)
        yield from problems
        if path.name == PILOTS_FOLDER:
            yield from _pilots(there, below, records, folder, spec)
            continue
        candidate = _candidate(path.name, records, folder, spec)
        if candidate is None:
            yield Remark(f"{path} is of no candidate that the records know, and is not looked at")
            continue
        for record in there:
            asked = confirm_task(spec, digest, folder, candidate, record.number).job
            yield from _unlike(record, asked, f"{path.name}, seed {record.number}", below)
        for seed in sorted({*range(max(below.numbers(), default=0))} - {*below.numbers()}):
            yield Problem(f"{path.name}, seed {seed}", "has no record, though a later seed has", remedy=_CONFIRM)
    if not read_confirmation(spec, records, folder):
        yield Remark("it is not that of the search as it is, or not complete; `netcore confirm` goes on with it")


def audited(records: list[Record], folder: StudyFolder) -> Iterator[Finding]:
    """Look at the records of an audit: each goes on with the stopped trial, bit for bit."""
    below = StudyFolder(folder.path / "audit")
    there, problems = _whole(below)
    yield from problems
    if not (there or problems):
        yield Remark("the stopping rule has not been audited")
    stopped = {record.number: record for record in records if record.result.state is State.PRUNED}
    for record in there:
        place = f"audit of trial {record.number}"
        if record.number not in stopped:
            yield Problem(place, "must be of a trial that was stopped")
            continue
        trial = stopped[record.number]
        yield from _unlike(record, audit_task(trial, folder).job, place, below)
        ours, theirs = (repr(r.result.curve[: len(trial.result.curve)]) for r in (record, trial))
        if ours != theirs:
            yield Problem(place, "must begin with the curve of the stopped trial")


def shipped(records: list[Record], folder: StudyFolder, spec: StudySpec) -> Iterator[Finding]:
    """Look at the net that ships: that test.json and model.npz are those of the winner, and fit together."""
    path, test = folder.test, folder.test_figures()
    if not (is_file(path) or is_file(folder.path / MODEL)):
        yield Remark("no net has shipped: the test set has not been read")
        return
    confirmed = read_confirmation(spec, records, folder)
    chosen = final_training(confirmed)
    if test is None:
        yield Problem(str(path), "is missing or not whole", remedy="`netcore confirm` reads the test set again")
        return
    if confirmed and chosen is None:
        yield Problem(str(path), "must not be there: no finalist has finished", remedy="move it away")
        return
    try:
        record = chosen.record if chosen else _named(test, folder)
        candidate = chosen.candidate if chosen else _candidate(_home(test), records, folder, spec)
        model = read_model(folder.path / MODEL)
    except RecordError as error:
        yield from error.problems
        return
    facts = {
        "candidate": candidate.name if candidate else test.get("candidate"),
        "trial": candidate.trial if candidate else test.get("trial"),
        "seed": record.number,
        "digest": record.digest,
        "data_digest": record.job.data_digest,
    }
    rows = folder.resolved_settings()["data"]["rows"]["test"]
    yield from _unlike_facts(test, {**facts, "rows": rows}, path)
    yield from _unlike_facts(test, _counted(test), path)
    told = {name: test.get(name) for name in ("accuracy", "rows", "right", "readings")}
    facts |= {"hyperparameters": record.job.hyperparameters._asdict(), "epochs": record.job.epochs, "test": told}
    if chosen:
        facts = facts_of(spec, chosen, confirmed[chosen.candidate], told)
    yield from _unlike_facts(model.facts, facts, folder.path / MODEL)
    yield from _other_model(model, record, folder)


def _whole(folder: StudyFolder) -> tuple[list[Record], list[Problem]]:
    """Read a folder's records, those that are whole, and say what is wrong with the others."""
    records: list[Record] = []
    problems: list[Problem] = []
    for number in folder.numbers():
        try:
            records.append(folder.read(number))
        except RecordError as error:
            problems += error.problems
    return records, problems


def _candidate(name: str, records: list[Record], folder: StudyFolder, spec: StudySpec) -> Candidate | None:
    """Give the candidate whose records are in a folder of this name; None if the records know none."""
    if name == COURSE_FOLDER:
        return course(spec)
    if name == SOFTMAX_FOLDER:
        tried, _ = _whole(StudyFolder(folder.path / "confirm" / PILOTS_FOLDER))
        return softmax(tried) if tried else None
    return next((found for found in map(finalist, ranked(records)) if found.folder == name), None)


def _pilots(
    there: list[Record], below: StudyFolder, records: list[Record], folder: StudyFolder, spec: StudySpec
) -> Iterator[Finding]:
    """Find the trial that the learning rates of softmax regression come from: the best, of this search or a shorter."""
    asked = [[task.job for task in pilots(spec, record, folder)] for record in ranked(records)]
    best = next(
        (jobs for jobs in asked if there and jobs[there[0].number : there[0].number + 1] == [there[0].job]), None
    )
    for record in there:
        place = f"{PILOTS_FOLDER}, {record.number}"
        if best is None or record.number >= len(best):
            yield Problem(place, "must have its hyperparameters from a finished trial", remedy=_CONFIRM)
        else:
            yield from _unlike(record, best[record.number], place, below)


def _unlike(record: Record, asked: TrialJob, place: str, below: StudyFolder) -> Iterator[Problem]:
    """Compare a record with the job that it should be, and with itself."""
    if different := differences(record.job, asked):
        yield Problem(place, "must be the training that is asked for", "; ".join(different))
    yield from misfits(record, place)
    found = digests([record], below)  # no weights are kept here: what diverged or failed has none
    yield from (Problem(place, each.rule, each.value) for each in found if isinstance(each, Problem))


def _home(test: dict[str, Any]) -> str:
    """Name the folder, below confirm/, of the candidate that test.json speaks of."""
    trial = test.get("trial")
    return f"trial-{trial:06d}" if isinstance(trial, int) else ""


def _named(test: dict[str, Any], folder: StudyFolder) -> Record:
    """Give the record that test.json speaks of.

    Raises:
        RecordError: there is none.
    """
    below, seed = StudyFolder(folder.path / "confirm" / _home(test)), test.get("seed")
    if not isinstance(seed, int) or seed not in below.numbers():
        raise RecordError.at(folder.test, "must speak of a training that has a record", remedy=_CONFIRM)
    return below.read(seed)


def _counted(test: dict[str, Any]) -> dict[str, Any]:
    """Give what follows from the confusion matrix."""
    try:
        confusion = np.array(test["confusion"], np.int64)
        rows, right = int(confusion.sum()), int(np.trace(confusion))
        return {"rows": rows, "right": right, "accuracy": right / rows}
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return {"confusion": "a table of counts"}


def _other_model(model: Model, record: Record, folder: StudyFolder) -> Iterator[Problem]:
    """Find in what model.npz is not the net of this record, prepared for these data."""
    path, data = folder.path / MODEL, folder.resolved_settings()["data"]
    yield from _unlike_facts({"class_names": list(model.class_names)}, {"class_names": data["class_names"]}, path)
    sha = hashlib.sha256(pack_weights(model.params)).hexdigest()
    if sha != record.weights_sha256:
        yield Problem(str(path), "must have the weights that its record states", sha)
    ours, theirs = (pack(to_members(fitted)) for fitted in (model.preprocessing, record.preprocessing))
    if ours != theirs:
        yield Problem(str(path), "must prepare rows as its record states")


def _unlike_facts(found: dict[str, Any], asked: dict[str, Any], path: Path) -> Iterator[Problem]:
    for name, value in asked.items():
        if found.get(name) != value:
            yield Problem(str(path), f"{name} must be {_shown(value)}", _shown(found.get(name)))


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."  # noqa: PLR2004  # two lines of a terminal
