"""What a person sees of a study in MLflow's pages: its trials as a view with columns, and descriptions with links.

A saved view is MLflow's own: an experiment's tag, which its pages show under *Views*, and which an address can name.
MLflow's plain page opens in another mode, with trials folded away under their parent and no column that tells them
apart. This one opens in model-training mode. Sorted by anything but time, MLflow leaves trials unfolded.
"""

import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from netcore.confirm.candidates import Candidate
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.question.metrics import Metric
from netcore.question.spec import question
from netcore.records.folder import StudyFolder
from netcore.records.record import Record

if TYPE_CHECKING:
    from mlflow.entities import Experiment

__all__ = [
    "DIGEST_LENGTH",
    "NOTE",
    "VIEW",
    "StudyRun",
    "as_it_is",
    "fenced",
    "question_of",
    "trials_page",
    "trials_view",
]

_KEY = "netcore"
VIEW = f"mlflow.sharedViewState.{_KEY}"
"""The tag of an experiment that holds the view of its trials."""

NOTE = "mlflow.note.content"
"""The tag of a run, or of an experiment, that holds its description."""

DIGEST_LENGTH = 12
"""How much of a data set's digest there is room for; MLflow itself takes up to 36 characters."""

_NAME = "attributes.`Run Name`"


def trials_view(metric: Metric, created: int) -> str:
    """Give the view of a study's trials, the best on top: value, state and hyperparameters as columns.

    `created` is in milliseconds since 1970.
    """
    figures = [f"best_{name}" for name in sorted(Metric, key=lambda each: each is not metric)]
    kinds = {"metrics": figures, "params": HYPERPARAMETERS, "tags": ("netcore.state",)}
    columns = {f"{kind}.`{name}`": name for kind, names in kinds.items() for name in names}
    state = {
        **_trials(metric),
        "orderByAsc": not metric.maximize,
        "selectedColumns": [*columns],
        "columnOrder": [_NAME, *columns],
        # In pixels, about as wide as their headings: so that all fit on a common screen.
        "columnWidths": {_NAME: 110} | {column: max(80, 24 + 7 * len(name)) for column, name in columns.items()},
    }
    return json.dumps({"name": "Trials", "createdAt": created, "state": json.dumps(state)})


def trials_page(address: str, experiment: "Experiment") -> str:
    """Give the address of a study's trials; should its view have been deleted, without columns."""
    metric = Metric(experiment.tags.get("netcore.metric", Metric.VAL_LOSS))
    query = {"workflowType": "machine_learning"}
    if VIEW in experiment.tags:
        query["viewStateShareKey"] = _KEY
    else:
        query |= {**_trials(metric), "orderByAsc": "false" if metric.maximize else "true"}
    return f"{address}/#/experiments/{experiment.experiment_id}/runs?{urlencode(query, quote_via=quote)}"


def _trials(metric: str) -> dict[str, str]:
    return {
        "searchFilter": "tags.`netcore.trial` LIKE '%'",
        "orderByKey": f"metrics.`best_{metric}`",
        "startTime": "ALL",
    }


def question_of(folder: StudyFolder) -> str:
    """Give a study's question as Markdown, with a capital letter; nothing if it asks none."""
    text = question(folder.study_file.read_text(encoding="utf-8", errors="replace"))
    return as_it_is(text[:1].upper() + text[1:])


def as_it_is(text: str) -> str:
    """Give a text as Markdown that shows it and does nothing: no link, no picture, no tag."""
    return re.sub(r"([\\`*\[\]])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def fenced(text: str) -> str:
    """Give lines as a block of code that ends where they end, whatever fences stand in them."""
    fence = "`" * (1 + max(2, *map(len, re.findall("`+", text)), 0))
    return f"{fence}\n{text}\n{fence}"


class StudyRun(NamedTuple):
    """The study's own run: what is said of it, and where."""

    question: str
    experiment_id: str
    run_id: str

    def note(self, best: Record | None, winner: Candidate | None, figures: dict[str, float]) -> str:
        """Say in three lines what was asked, what was found, where the report is: MLflow shows no more unasked."""
        found = _found(best, winner, figures)
        return f"**Question:** {self.question}  \n**Found:** {found}  \n**Report:** {self._link('report.html')}"

    def summary(self) -> str:
        """Say in one line what was asked, and where the answer is, for the top of the experiment's page."""
        return f"{self.question} {self._link()}, {self._link('report.html')}"

    def _link(self, artifact: str = "") -> str:
        """Give a link to the run, or to one of its files as MLflow shows it; it works wherever MLflow is served."""
        page = f"#/experiments/{self.experiment_id}/runs/{self.run_id}"
        return f"[{artifact}]({page}/artifacts/{artifact})" if artifact else f"[What was found]({page})"


def _found(best: Record | None, winner: Candidate | None, figures: dict[str, float]) -> str:
    """Say what a search has found: the winner of its confirmation, else its best trial."""
    if best is None:
        return "no trial finished"
    metric = best.job.metric
    number, chosen = (winner.trial, winner.hyperparameters) if winner else (best.number, best.job.hyperparameters)
    setting = ", ".join(f"{name} {value:.4g}" for name, value in chosen._asdict().items())
    said = f"trial {number} of {figures['trials']:.0f}: {setting}; {metric} "
    said += f"{figures[f'confirmed_{metric}']:.4f} with fresh seeds" if winner else f"{best.result.value:.4f}"
    return said + (f", test accuracy {figures['test_accuracy']:.4f}" if "test_accuracy" in figures else "")
