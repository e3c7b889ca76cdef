"""`netcore verify`: one check after the other, from the records outwards.

    records  ->  what they follow from (study file, data, proposals)  ->  what was made of them (net, tables, MLflow)

Each check is a function of its own that gives findings, where it belongs; here they are only put in a row. Nothing is
changed, and `netcore verify` reads beside a run.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from netcore.check import confirmation_holds as after
from netcore.check import records_hold as search
from netcore.data.prepared import prepared
from netcore.errors import Finding, NetcoreError, Problem, Remark
from netcore.progress import Stage
from netcore.question.spec import StudySpec, dataset_of
from netcore.records.folder import StudyFolder
from netcore.records.job import Role
from netcore.records.record import Record
from netcore.run import described

__all__ = ["Check", "mend", "verify"]

_NOT_OURS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Check(NamedTuple):
    """A check that has been made."""

    name: str
    claim: str
    """What holds if nothing was found."""
    findings: list[Finding]

    @property
    def problems(self) -> list[Problem]:
        """What is wrong."""
        return [finding for finding in self.findings if isinstance(finding, Problem)]

    @property
    def remarks(self) -> list[Remark]:
        """What one should know besides."""
        return [finding for finding in self.findings if isinstance(finding, Remark)]


def verify(folder: StudyFolder, *, quick: bool = False) -> Iterator[Check | Stage | Record]:
    """Make all checks of a study; in between, say what takes long and how far it is. `quick` asks no sampler again."""
    try:
        spec, data = folder.spec(), folder.resolved_settings()["data"]
    except NetcoreError as error:
        yield Check("settings", "", list(error.problems))
        return
    records, findings = search.read_records(folder, spec)
    yield Check("records", f"{len(records)} whole records, one for each trial", findings)
    complete = len(records) >= spec.study.trials and not any(isinstance(each, Problem) for each in findings)

    claim = "study.toml, resolved.json and all records ask the same question"
    yield _checked("settings", claim, search.settings(folder, spec), search.jobs(records, spec, data["digest"]))
    yield _checked("data", f"prepared anew, their digest is {data['digest'][:12]}…, as stated", _data(folder, spec))
    yield _checked("outcomes", "states, best epochs and values follow from the curves", search.outcomes(records))
    yield _checked("digests", "the digests are those of the content", search.digests(records, folder))
    yield _checked("weights", "those that are kept are those of their records", search.weights(records, folder, spec))
    yield _checked("history", "each trial knew of the trials before it as they are", search.chain(records, spec))
    if quick:
        yield Check("proposals", "", [Remark("left out (--quick): no sampler was asked again")])
    else:
        yield Stage("trials asked again", len(records))
        different: list[Finding] = []
        with _caught(different), threadpool_limits(1):  # its sums kept their order then, too
            for record, differences in search.asked_again(records, spec):
                if differences:
                    place = f"trial {record.number}"
                    rule = "must be the trial that sampler and stopping rule ask for"
                    different.append(Problem(place, rule, "; ".join(differences)))
                yield record
        yield Check(
            "proposals", "asked again, sampler and stopping rule give the same trials and thresholds", different
        )

    confirmation = after.confirmation(records, folder, spec, data["digest"])
    yield _checked("confirmation", "its records are the trainings that follow from the trials", confirmation)
    yield _checked("audit", "its records go on with the trials that were stopped", after.audited(records, folder))
    yield _checked("net", "test.json and model.npz are the winner's", after.shipped(records, folder, spec))
    yield from _views(records, folder, complete=complete)


def mend(folder: StudyFolder) -> None:
    """Make room in MLflow for what its runs should be; the views that are files are simply written again.

    Raises:
        InputError: the folder does not say what the study asks.
        WorkError: MLflow refuses.
    """
    from netcore.tracking.verify import clear  # noqa: PLC0415  # MLflow takes 1.3 s to import

    clear(folder.committed(), folder)


def _views(records: list[Record], folder: StudyFolder, *, complete: bool) -> Iterator[Check | Stage | Record]:
    from netcore.check.tables_hold import tables  # noqa: PLC0415  # pandas: only when it is needed
    from netcore.tracking.client import shown_uri  # noqa: PLC0415
    from netcore.tracking.journal import journal_findings  # noqa: PLC0415

    found = tables(records, folder, complete=complete)
    yield _checked("tables", "the Parquet files hold what the records give", found)
    found = journal_findings(records, folder, complete=complete)
    yield _checked("optuna.log", "Optuna loads the trials as it was told of them", found)

    yield Stage("runs read", len(records))
    findings: list[Finding] = []
    with _caught(findings):
        from netcore.tracking.verify import look  # noqa: PLC0415  # MLflow takes 1.3 s to import

        for each in look(records, folder, complete=complete):
            findings += each.findings
            if each.record and each.record.job.role is Role.TRIAL:
                yield each.record
    yield Check("MLflow", f"what {shown_uri()} holds is what the records say", findings)


def _data(folder: StudyFolder, spec: StudySpec) -> Iterator[Problem]:
    """Prepare the data anew and compare them with what resolved.json states of them."""
    stated = folder.resolved_settings()["data"]
    with prepared(partial(dataset_of, spec)) as dataset:
        now = json.loads(json.dumps(described(dataset)))
    for name, value in now.items():
        if stated[name] != value:
            remedy = "the data have changed since the study ran: put the old ones back"
            yield Problem(f"data: {name}", f"must be {str(stated[name])[:80]}", str(value)[:80], remedy)


def _checked(name: str, claim: str, *findings: Iterable[Finding]) -> Check:
    """Make a check."""
    found: list[Finding] = []
    with _caught(found):
        for each in findings:
            found += each
    return Check(name, claim, found)


@contextmanager
def _caught(findings: list[Finding]) -> Iterator[None]:
    """Make findings of errors, also of those over something that a checksum holds for and no netcore has written."""
    try:
        yield
    except NetcoreError as error:
        findings += error.problems
    except _NOT_OURS as error:
        rule = f"hold something that no netcore has written ({type(error).__name__}: {error})"
        findings.append(Problem("the study's files", rule[:300], remedy="the other checks may say where"))
