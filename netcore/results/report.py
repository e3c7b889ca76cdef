"""The report: one HTML file with everything a reader of the study needs, and nothing that has to be fetched.

In come the tables and the study's folder (its question, its settings, what the test set said); out comes report.html.
The words and the looks are in report.html.jinja beside this file; here is only what they are filled with. Every text
that comes from outside is escaped by Jinja, so a class may be called `<b>`.
"""

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from netcore.files import write_atomically
from netcore.results.figures import STATES, draw_all
from netcore.results.summary import ranked, winner
from netcore.results.tables import StudyTables
from netcore.study.folder import StudyFolder
from netcore.study.record import Record
from netcore.study.spec import HYPERPARAMETERS, question

__all__ = ["short", "write_report"]

_SHOWN_FAILURES = 10
_LONG = 10**7
"""A whole number this large is written like a float."""


def write_report(tables: StudyTables, folder: StudyFolder, figures: Mapping[str, Path] | None = None) -> Path:
    """Write the study's report.html and say where it is; `figures` is what `draw_all` gave, which is called if need be.

    Raises:
        InputError: the folder holds no settings.
        RecordError: the record of a trial in the tables is not whole.
        WorkError: the system refuses.
    """
    figures = draw_all(tables, folder) if figures is None else figures
    templates = Environment(
        loader=PackageLoader("netcore", "results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["short"] = short
    page = templates.get_template("report.html.jinja").render(_facts(tables, folder, figures))
    write_atomically(folder.report, page.encode())
    return folder.report


def short(value: object) -> str:
    """Write a number with four digits, as people read it; a missing one as a dash."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "—"
    is_long = isinstance(value, int) and value >= _LONG
    return f"{value:.4g}" if isinstance(value, float) or is_long else str(value)


def _facts(tables: StudyTables, folder: StudyFolder, figures: Mapping[str, Path]) -> dict[str, Any]:
    """Gather what the template shows."""
    trials = ranked(tables).to_dict("records")
    states = tables.trials["state"].value_counts()
    best = trials[0] if winner(tables) is not None else None
    test = folder.test_figures()
    resolved = folder.resolved_settings()
    study_file = folder.study_file.read_text(encoding="utf-8", errors="replace")
    records = [folder.read(trial["trial"]) for trial in trials[:1]]
    return {
        "name": tables.name,
        "metric": tables.metric,
        "question": question(study_file),
        "best": best,
        "test": test if test and best and test["digest"] == best["digest"] else None,
        "counts": {state: int(states.get(state, 0)) for state in STATES},
        "seconds": float(tables.trials["seconds"].sum()),
        "hyperparameters": HYPERPARAMETERS,
        "figures": {name: base64.b64encode(path.read_bytes()).decode() for name, path in figures.items()},
        "trials": trials,
        "failures": _failures(tables, folder),
        "study_file": study_file,
        "settings": resolved["settings"],
        "data": resolved["data"],
        "environment": {"training step": resolved["training_step"], **_environment(records)},
    }


def _failures(tables: StudyTables, folder: StudyFolder) -> dict[int, list[str]]:
    """Say why trials failed, the first few of them: the last line of a traceback, which names the error."""
    failed = tables.trials.loc[tables.trials["state"] == "failed", "trial"]
    results = {number: folder.read(number).result for number in failed[:_SHOWN_FAILURES].tolist()}
    return {number: (r.traceback or r.failure or "").strip().splitlines()[-1:] for number, r in results.items()}


def _environment(records: list[Record]) -> dict[str, str]:
    """Say what one trial was trained with; none, before there is one."""
    return dict(records[0].provenance.environment) if records else {}
