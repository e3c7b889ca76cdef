"""`netcore verify`: all checks of a study in order, from the records to what is derived from them.

    records  ->  what they follow from (study file, data, proposals)  ->  derived files (final model, tables, MLflow)

A derived file is right if making it again gives the same. Each check is a function that returns findings; this module
only calls them. Nothing is changed, so `netcore verify` may run beside `netcore run`.
"""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

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
from netcore.tracking.journal import journal_findings
from netcore.tracking.sync import mlflow_findings


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

    A slow check first yields its stage, then each record once it has been checked. `quick` leaves out asking the
    sampler again.
    """
    try:
        spec, data = folder.spec(), folder.resolved_settings()["data"]
    except NetcoreError as error:
        yield Check("settings", "", list(error.problems))
        return
    records, found = trials.study_records(folder, spec)
    complete = len(records) >= spec.study.trials and not any(isinstance(each, Problem) for each in found)
    yield from _check("records", f"{len(records)} records are whole, one for each trial", found)

    settings = chain(trials.jobs(records, spec, data["digest"]), trials.settings(folder, spec))
    yield from _check("settings", "study.toml, resolved.json and all records ask the same question", settings)
    claim = f"prepared again, their digest is {data['digest'][:12]}…, as stated"
    yield from _check("data", claim, _data(folder, spec))
    yield from _check("outcomes", "states, best epochs and values follow from the curves", trials.outcomes(records))
    yield from _check("digests", "the digests are those of the content", trials.digests(records, folder))
    yield from _check("weights", "the kept weights belong to their records", trials.weights(records, folder, spec))
    yield from _check("history", "each trial was proposed from the earlier ones", trials.history(records, spec))
    left_out = Notice("left out (--quick): the sampler was not asked again")
    proposals = [left_out] if quick else trials.proposals(records, spec)
    yield from _check("proposals", "sampler and stopping rule propose the same trials and thresholds again", proposals)

    confirmed = followups.confirmation(records, folder, spec)
    yield from _check("confirmation", "its records are the trainings that follow from the trials", confirmed)
    yield from _check("audit", "its records begin with the stopped trials' curves", followups.audit(records, folder))
    final = followups.final_model(records, folder, spec)
    yield from _check("final model", "test.json and model.npz are the winner's", final)

    tables = table_findings(records, folder, complete=complete)
    yield from _check("tables", "the Parquet files are those that the records give", tables)
    journal = journal_findings(trials.unbroken(records), folder, complete=complete)
    yield from _check("optuna.log", "its trials are those that the records give", journal)
    runs = mlflow_findings(records, folder, complete=complete)
    yield from _check("MLflow", f"{shown_uri()} holds what the records give", runs)


def _check(name: str, claim: str, findings: Iterable[Finding | Stage | Record]) -> Iterator[Check | Stage | Record]:
    """Yield the progress of a check, then the check with its findings.

    Errors become findings, even those caused by a file that has a right checksum and absurd content.
    """
    found: list[Finding] = []
    try:
        for each in findings:
            if isinstance(each, Problem | Notice):
                found.append(each)
            else:
                yield each
    except NetcoreError as error:
        found += error.problems
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        rule = f"contain something that netcore never writes ({type(error).__name__}: {error})"
        found.append(Problem("the study's files", rule[:300], remedy="the other checks may show where"))
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
