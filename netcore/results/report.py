"""The report: one HTML file that contains everything about a study and needs no network.

In: the tables and the study's folder. Out: report.html. Its text is in report.html.jinja beside this file, its style in
report.css, sorting and filtering in report.js; this module computes what the template shows. Jinja escapes every text
from outside, so a class may be called `<b>`; a content security policy stops everything that netcore did not write.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from netcore.files import read_file, write_atomically
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.question.spec import question
from netcore.records.folder import StudyFolder
from netcore.records.job import State
from netcore.results.number_format import between, percent, plus_minus, short
from netcore.results.plot_tables import plot_tables_of
from netcore.results.provenance import provenance_of
from netcore.results.sentences import conclusions
from netcore.results.space_review import diverging, edges, searched_importances
from netcore.results.stopping_audit import audited, epochs_saved
from netcore.results.tables import StudyTables
from netcore.results.test_set import reading_of
from netcore.results.winner import answer_of, summarised
from netcore.search.importance import RESAMPLES

_SHOWN_FAILURES = 10


def write_report(tables: StudyTables, folder: StudyFolder, plots: Mapping[str, Path]) -> Path:
    """Write report.html into the study's folder and return its path; `plots` is the result of `draw_all`.

    Raises:
        InputError: the folder has no settings.
        RecordError: the record of a trial in the tables is damaged.
        WorkError: the system refuses.
    """
    templates = Environment(
        loader=PackageLoader("netcore", "results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {each.__name__: each for each in (short, percent, plus_minus, between, base64_of, sha256_of)}
    page = templates.get_template("report.html.jinja").render(_facts(tables, folder, plots))
    write_atomically(folder.report, page.encode())
    return folder.report


def _facts(tables: StudyTables, folder: StudyFolder, plots: Mapping[str, Path]) -> dict[str, Any]:
    """Return everything that the template shows."""
    resolved = folder.resolved_settings()
    settings, data = resolved["settings"], resolved["data"]
    trials = tables.ranked().to_dict("records")
    study_file = read_file(folder.study_file).decode(errors="replace")
    test = folder.test_result()
    found, reading = summarised(tables), reading_of(tables, test, data["class_names"])
    answer = answer_of(tables)
    importances = searched_importances(tables, settings)
    return {
        "name": tables.name,
        "metric": tables.metric,
        "question": question(study_file),
        "answer": answer,
        "confirmation": found,
        "sentences": conclusions(found),
        "test": reading,
        "earlier": test["readings"] if test and not reading else 0,
        "counts": {str(state): int((tables.trials["state"] == state).sum()) for state in State},
        "hyperparameters": HYPERPARAMETERS,
        "standardize": settings["data"].get("standardize"),
        "plots": {name: path.read_bytes() for name, path in plots.items()},
        "plot_tables": plot_tables_of(tables, answer, found, reading, importances),
        "trials": trials,
        "failures": _failures(tables, folder),
        "audit": audited(tables),
        "saved": epochs_saved(tables, settings["training"]["epochs"]),
        "importances": importances,
        "resamples": RESAMPLES,
        "edges": edges(tables, settings["space"]),
        "diverging": diverging(tables),
        "provenance": provenance_of(tables, folder),
        "study_file": study_file,
        "style": (files("netcore.results") / "report.css").read_text(encoding="utf-8"),
        "script": (files("netcore.results") / "report.js").read_text(encoding="utf-8"),
    }


def _failures(tables: StudyTables, folder: StudyFolder) -> dict[int, list[str]]:
    """Return the errors of the first failed trials: the last line of each traceback."""
    failed = tables.trials.loc[tables.trials["state"] == "failed", "trial"]
    results = {number: folder.read(number).result for number in failed[:_SHOWN_FAILURES].tolist()}
    return {number: (r.traceback or r.failure or "").strip().splitlines()[-1:] for number, r in results.items()}


def base64_of(content: bytes) -> str:
    """Return the base64 of an embedded image."""
    return base64.b64encode(content).decode()


def sha256_of(text: str) -> str:
    """Return the hash by which the content security policy allows a style or a script."""
    return base64_of(hashlib.sha256(text.encode()).digest())
