"""The report: one HTML file with everything a reader of the study needs, and nothing that has to be fetched.

In come the tables and the study's folder (its question, its settings, what the test set said); out comes report.html.
The words are in report.html.jinja beside this file, the looks in report.css, sorting and filtering in report.js; here
is only what they are filled with. Every text that comes from outside is escaped by Jinja, so a class may be called
`<b>`; and a browser is told to run and to show nothing but what is written here.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from netcore.files import write_atomically
from netcore.question.spec import HYPERPARAMETERS, question
from netcore.records.folder import StudyFolder
from netcore.results import words
from netcore.results.canvas import STATES
from netcore.results.edges import diverging, edges
from netcore.results.learned import searched_importances
from netcore.results.numbers import numbers_of
from netcore.results.plots import draw_all
from netcore.results.receipt import receipt
from netcore.results.stopping_cost import audited, epochs_saved
from netcore.results.summary import ranked, winner
from netcore.results.tables import StudyTables
from netcore.results.test_set import Reading, reading_of
from netcore.results.winner import Confirmation, chosen, confirmed
from netcore.search.importance import RESAMPLES, Importance

__all__ = ["write_report"]

_SHOWN_FAILURES = 10

_PREPARED = {
    "feature": "The inputs are standardised.",
    "pixel-mean": "The mean of the training rows is subtracted from the inputs.",
    "none": "The inputs are as they came.",
    None: "The inputs are prepared column by column.",
}
"""By `data.standardize`, which a table does not have."""


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
    templates.filters |= {
        "short": words.short,
        "percent": words.percent,
        "figure": words.figure,
        "plus_minus": words.plus_minus,
        "possible": words.possible,
        "between": words.between,
    }
    page = templates.get_template("report.html.jinja").render(_facts(tables, folder, figures))
    write_atomically(folder.report, page.encode())
    return folder.report


def _facts(tables: StudyTables, folder: StudyFolder, figures: Mapping[str, Path]) -> dict[str, Any]:
    """Gather what the template shows."""
    resolved = folder.resolved_settings()
    settings, data = resolved["settings"], resolved["data"]
    trials = ranked(tables).to_dict("records")
    states = tables.trials["state"].value_counts()
    study_file = folder.study_file.read_text(encoding="utf-8", errors="replace")
    test = folder.test_figures()
    found, reading = confirmed(tables), reading_of(tables, test, data["class_names"])
    number = chosen(tables)
    importances = searched_importances(tables, settings)
    epochs = settings["training"]["epochs"]
    return {
        "name": tables.name,
        "metric": tables.metric,
        "question": question(study_file),
        "best": trials[0] if winner(tables) is not None else None,
        "chosen": next((trial for trial in trials if trial["trial"] == number), None),
        "confirmation": found,
        "sentences": _sentences(found),
        "test": reading,
        "earlier": test.get("readings", 1) if test and not reading else 0,
        "counts": {state: int(states.get(state, 0)) for state in STATES},
        "seconds": float(tables.trials["seconds"].sum()),
        "hyperparameters": HYPERPARAMETERS,
        "prepared": _PREPARED[settings["data"].get("standardize")],
        "figures": {name: base64.b64encode(path.read_bytes()).decode() for name, path in figures.items()},
        "numbers": numbers_of(tables, found, reading, importances),
        "said": _said(tables, found, reading, importances),
        "trials": trials,
        "failures": _failures(tables, folder),
        "audit": audited(tables),
        "saved": epochs_saved(tables, epochs),
        "taken": int(tables.trials["epochs"].sum()),
        "importances": importances,
        "resamples": RESAMPLES,
        "edges": edges(tables, settings["space"]),
        "diverging": diverging(tables),
        "receipt": receipt(tables, folder),
        "study_file": study_file,
        **_inline(),
    }


def _sentences(found: Confirmation | None) -> list[str]:
    """Give what a confirmation comes to, in the order in which it matters."""
    if found is None:
        return []
    said = (words.hidden_layer(found), words.promise(found), words.smallest(found), words.unfinished(found))
    return [sentence for sentence in said if sentence]


def _said(
    tables: StudyTables, found: Confirmation | None, reading: Reading | None, importances: Mapping[str, Importance]
) -> dict[str, str]:
    """Say in words what the figures of a search's findings show, for who cannot see them."""
    said = {"importance": "; ".join(f"{name} {importance.share:.2f}" for name, importance in importances.items())}
    if found:
        figures = ((c.name, words.plus_minus(c.of(tables.metric), tables.metric)) for c in found.candidates)
        said["confirmation"] = f"{tables.metric}: " + "; ".join(f"{name} {figure}" for name, figure in figures)
    if reading:
        said["confusion"] = f"{reading.right} of {reading.rows} rows right"
        for confused in reading.confused(1):
            said["confusion"] += f"; most often {confused.true} was taken for {confused.predicted} ({confused.rows})"
    return said


def _failures(tables: StudyTables, folder: StudyFolder) -> dict[int, list[str]]:
    """Say why trials failed, the first few of them: the last line of a traceback, which names the error."""
    failed = tables.trials.loc[tables.trials["state"] == "failed", "trial"]
    results = {number: folder.read(number).result for number in failed[:_SHOWN_FAILURES].tolist()}
    return {number: (r.traceback or r.failure or "").strip().splitlines()[-1:] for number, r in results.items()}


def _inline() -> dict[str, str]:
    """Give style and script, and the policy that lets a browser apply these two, and show pictures that lie inside."""
    texts = {kind: (files("netcore.results") / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    hashes = {kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for kind, text in texts.items()}
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes['css']}'; script-src 'sha256-{hashes['js']}'"
    )
    return {"style": texts["css"], "script": texts["js"], "policy": policy}
