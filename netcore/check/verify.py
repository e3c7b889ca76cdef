"""`netcore verify`: all checks of a study in order, from the records to what is derived from them.

    records  ->  what they follow from (study file, data, proposals)  ->  derived files (final model, tables, MLflow)

A derived file is right if making it again gives the same. Each check is a function that returns findings; this module
only calls them. Nothing is changed, so `netcore verify` may run beside `netcore run`.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from netcore.check import followups, trials
from netcore.data.prepared import prepared
from netcore.errors import NetcoreError, Problem
from netcore.progress import Finding, Notice, Stage
from netcore.question.spec import StudySpec, dataset_of
from netcore.records.folder import StudyFolder
from netcore.records.record import Record
from netcore.results.parquet import table_findings
from netcore.run import described
from netcore.tracking.client import shown_uri
from netcore.tracking.differences import mlflow_findings
from netcore.tracking.journal import journal_findings

_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Check(NamedTuple):
    """A check and its findings."""

    name: str
    claim: str
    """What holds if there is no finding."""
    findings: list[Finding]

    @property
    def problems(self) -> list[Problem]:
        """What is wrong."""
        return [finding for finding in self.findings if isinstance(finding, Problem)]

    @property
    def notices(self) -> list[Notice]:
        """What the user should know although it is not wrong."""
        return [finding for finding in self.findings if isinstance(finding, Notice)]


def verify(folder: StudyFolder, *, quick: bool = False) -> Iterator[Check | Stage | Record]:
    """Check a study; yield each check when it is done, and the progress of slow ones in between.

    `quick` leaves out asking the sampler again.
    """
    try:
        spec, data = folder.spec(), folder.resolved_settings()["data"]
    except NetcoreError as error:
        yield Check("settings", "", list(error.problems))
        return
    records, found = trials.study_records(folder, spec)
    yield Check("records", f"{len(records)} records are whole, one for each trial", found)
    complete = len(records) >= spec.study.trials and not any(isinstance(each, Problem) for each in found)

    claim = "study.toml, resolved.json and all records ask the same question"
    yield _checked("settings", claim, trials.settings(folder, spec), trials.jobs(records, spec, data["digest"]))
    yield _checked("data", f"prepared again, their digest is {data['digest'][:12]}…, as stated", _data(folder, spec))
    yield _checked("outcomes", "states, best epochs and values follow from the curves", trials.outcomes(records))
    yield _checked("digests", "the digests are those of the content", trials.digests(records, folder))
    yield _checked("weights", "the kept weights belong to their records", trials.weights(records, folder, spec))
    yield _checked("history", "each trial was proposed from the earlier ones", trials.history(records, spec))
    if quick:
        yield Check("proposals", "", [Notice("left out (--quick): the sampler was not asked again")])
    else:
        yield from _proposals(records, spec)

    found_later = followups.confirmation(records, folder, spec, data["digest"])
    yield _checked("confirmation", "its records are the trainings that follow from the trials", found_later)
    yield _checked("audit", "its records begin with the stopped trials' curves", followups.audit(records, folder))
    claim = "test.json and model.npz are the winner's"
    yield _checked("final model", claim, followups.final_model(records, folder, spec))
    yield from _derived(records, folder, complete=complete)


def _proposals(records: list[Record], spec: StudySpec) -> Iterator[Check | Stage | Record]:
    claim = "sampler and stopping rule propose the same trials and thresholds again"
    with threadpool_limits(1):  # as in the search: the sampler's sums keep their order
        yield from _slow(
            "proposals", claim, Stage("trials proposed again", len(records)), trials.proposals(records, spec)
        )


def _derived(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Check | Stage | Record]:
    found = table_findings(records, folder, complete=complete)
    yield _checked("tables", "the Parquet files are those that the records give", found)
    found = journal_findings(trials.unbroken(records), folder, complete=complete)
    yield _checked("optuna.log", "its trials are those that the records give", found)
    parts = mlflow_findings(records, folder, complete=complete)
    yield from _slow("MLflow", f"{shown_uri()} holds what the records give", Stage("runs read", len(records)), parts)


def _slow(
    name: str, claim: str, stage: Stage, findings: Iterable[Finding | Record]
) -> Iterator[Check | Stage | Record]:
    """Make a check that yields each record once it has been checked, to show its progress."""
    yield stage
    found: list[Finding] = []
    with _caught(found):
        for each in findings:
            if isinstance(each, Record):
                yield each
            else:
                found.append(each)
    yield Check(name, claim, found)


def _data(folder: StudyFolder, spec: StudySpec) -> Iterator[Problem]:
    """Prepare the data again and compare them with what resolved.json states."""
    stated = folder.resolved_settings()["data"]
    with prepared(partial(dataset_of, spec)) as dataset:
        now = json.loads(json.dumps(described(dataset)))
    for name, value in now.items():
        if stated[name] != value:
            remedy = "the data have changed since the study ran: restore the old files"
            yield Problem(f"data: {name}", f"must be {str(stated[name])[:80]}", str(value)[:80], remedy)


def _checked(name: str, claim: str, *findings: Iterable[Finding]) -> Check:
    found: list[Finding] = []
    with _caught(found):
        for each in findings:
            found += each
    return Check(name, claim, found)


@contextmanager
def _caught(findings: list[Finding]) -> Iterator[None]:
    """Turn errors into findings, even those caused by a file that has a right checksum and absurd content."""
    try:
        yield
    except NetcoreError as error:
        findings += error.problems
    except _UNFORESEEN as error:
        rule = f"contain something that netcore never writes ({type(error).__name__}: {error})"
        findings.append(Problem("the study's files", rule[:300], remedy="the other checks may show where"))
