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

from netcore.files import write_atomically
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.question.spec import question
from netcore.records.folder import StudyFolder
from netcore.results.canvas import STATES
from netcore.results.number_format import between, percent, plus_minus, short
from netcore.results.plot_tables import plot_tables_of
from netcore.results.provenance import provenance_of
from netcore.results.ranking import best_trial, ranked
from netcore.results.sentences import conclusions
from netcore.results.space_review import diverging, edges, searched_importances
from netcore.results.stopping_audit import audited, epochs_saved
from netcore.results.tables import StudyTables
from netcore.results.test_set import Reading, reading_of
from netcore.results.winner import ConfirmationSummary, answer_of, summarised
from netcore.search.importance import RESAMPLES, Importance

_SHOWN_FAILURES = 10

_PREPARED = {
    "feature": "The inputs are standardised.",
    "pixel-mean": "The mean of the training rows is subtracted from the inputs.",
    "none": "The inputs are not preprocessed.",
    None: "Each column of the table is prepared on its own.",
}
"""The preprocessing of the inputs, by `data.standardize`; a table has no such key."""


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
    templates.filters |= {each.__name__: each for each in (short, percent, plus_minus, between)}
    page = templates.get_template("report.html.jinja").render(_facts(tables, folder, plots))
    write_atomically(folder.report, page.encode())
    return folder.report


def _facts(tables: StudyTables, folder: StudyFolder, plots: Mapping[str, Path]) -> dict[str, Any]:
    """Return everything that the template shows."""
    resolved = folder.resolved_settings()
    settings, data = resolved["settings"], resolved["data"]
    trials = ranked(tables).to_dict("records")
    states = tables.trials["state"].value_counts()
    study_file = folder.study_file.read_text(encoding="utf-8", errors="replace")
    test = folder.test_result()
    found, reading = summarised(tables), reading_of(tables, test, data["class_names"])
    answer = answer_of(tables)
    importances = searched_importances(tables, settings)
    epochs = settings["training"]["epochs"]
    return {
        "name": tables.name,
        "metric": tables.metric,
        "question": question(study_file),
        "best": trials[0] if best_trial(tables) is not None else None,
        "answer": answer,
        "answering": next((trial for trial in trials if answer and trial["trial"] == answer.trial), None),
        "confirmation": found,
        "sentences": conclusions(found),
        "test": reading,
        "earlier": test["readings"] if test and not reading else 0,
        "counts": {state: int(states.get(state, 0)) for state in STATES},
        "seconds": float(tables.trials["seconds"].sum()),
        "hyperparameters": HYPERPARAMETERS,
        "prepared": _PREPARED[settings["data"].get("standardize")],
        "plots": {name: base64.b64encode(path.read_bytes()).decode() for name, path in plots.items()},
        "plot_tables": plot_tables_of(tables, answer, found, reading, importances),
        "descriptions": _descriptions(tables, found, reading, importances),
        "trials": trials,
        "failures": _failures(tables, folder),
        "audit": audited(tables),
        "saved": epochs_saved(tables, epochs),
        "taken": int(tables.trials["epochs"].sum()),
        "importances": importances,
        "resamples": RESAMPLES,
        "edges": edges(tables, settings["space"]),
        "diverging": diverging(tables),
        "provenance": provenance_of(tables, folder),
        "study_file": study_file,
        **_inline(),
    }


def _descriptions(
    tables: StudyTables,
    found: ConfirmationSummary | None,
    reading: Reading | None,
    importances: Mapping[str, Importance],
) -> dict[str, str]:
    """Return in words what some plots show, for their alternative texts."""
    texts = {"importance": "; ".join(f"{name} {importance.share:.2f}" for name, importance in importances.items())}
    if found:
        means = (f"{c.name} {plus_minus(c.of(tables.metric), tables.metric)}" for c in found.candidates)
        texts["confirmation"] = f"{tables.metric}: " + "; ".join(means)
    if reading:
        texts["confusion"] = f"{reading.right} of {reading.rows} rows right"
        for confused in reading.confused(1):
            error = f"{confused.true} predicted as {confused.predicted} ({confused.rows})"
            texts["confusion"] += f"; most frequent error: {error}"
    return texts


def _failures(tables: StudyTables, folder: StudyFolder) -> dict[int, list[str]]:
    """Return the errors of the first failed trials: the last line of each traceback."""
    failed = tables.trials.loc[tables.trials["state"] == "failed", "trial"]
    results = {number: folder.read(number).result for number in failed[:_SHOWN_FAILURES].tolist()}
    return {number: (r.traceback or r.failure or "").strip().splitlines()[-1:] for number, r in results.items()}


def _inline() -> dict[str, str]:
    """Return style and script, and a policy by which a browser applies these two and embedded images only."""
    texts = {kind: (files("netcore.results") / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    hashes = {kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for kind, text in texts.items()}
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes['css']}'; script-src 'sha256-{hashes['js']}'"
    )
    return {"style": texts["css"], "script": texts["js"], "policy": policy}
