"""A study in MLflow's pages: a view of its trials with columns, and descriptions with links.

A saved view is a feature of MLflow: a tag of the experiment, which the pages list under *Views* and which a URL can
name. MLflow's default page folds trials under their parent and has no column that distinguishes them. This view opens
in model-training mode; sorted by anything but time, MLflow does not fold trials.
"""

import json
import re
from typing import NamedTuple

from netcore.confirm.candidates import Candidate
from netcore.files import read_file
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.question.metrics import Metric
from netcore.question.spec import question
from netcore.records.folder import StudyFolder
from netcore.records.record import Record

_KEY = "netcore"
VIEW = f"mlflow.sharedViewState.{_KEY}"
"""The tag of an experiment with the view of its trials."""

NOTE = "mlflow.note.content"
"""The tag of a run or an experiment with its description."""

_NAME = "attributes.`Run Name`"


def trials_view(metric: Metric, created: int) -> str:
    """Return the view of a study's trials, the best first, with value, state and hyperparameters as columns.

    `created` is in milliseconds since 1970.
    """
    metrics = [f"best_{name}" for name in sorted(Metric, key=lambda each: each is not metric)]
    kinds = {"metrics": metrics, "params": HYPERPARAMETERS, "tags": ("netcore.state",)}
    columns = {f"{kind}.`{name}`": name for kind, names in kinds.items() for name in names}
    state = {
        "searchFilter": "tags.`netcore.trial` LIKE '%'",
        "orderByKey": f"metrics.`best_{metric}`",
        "orderByAsc": not metric.maximize,
        "startTime": "ALL",
        "selectedColumns": [*columns],
        "columnOrder": [_NAME, *columns],
        # In pixels, about as wide as their headings, so that all fit on a common screen.
        "columnWidths": {_NAME: 110} | {column: max(80, 24 + 7 * len(name)) for column, name in columns.items()},
    }
    return json.dumps({"name": "Trials", "createdAt": created, "state": json.dumps(state)})


def trials_page(address: str, experiment_id: str) -> str:
    """Return the URL of the view of a study's trials."""
    return f"{address}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={_KEY}"


def question_of(folder: StudyFolder) -> str:
    """Return a study's question as Markdown, with a capital letter; empty if the study file has none."""
    text = question(read_file(folder.study_file).decode(errors="replace"))
    return markdown_escaped(text[:1].upper() + text[1:])


def markdown_escaped(text: str) -> str:
    """Escape a text for Markdown, so that it shows no link, picture or tag."""
    return re.sub(r"([\\`*\[\]])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def fenced(text: str) -> str:
    """Return lines as a Markdown code block, even if they contain fences themselves."""
    fence = "`" * (1 + max(2, *map(len, re.findall("`+", text)), 0))
    return f"{fence}\n{text}\n{fence}"


class StudyRun(NamedTuple):
    """The descriptions of a study's run and of its experiment."""

    question: str
    experiment_id: str
    run_id: str

    def note(self, best: Record | None, winner: Candidate | None, results: dict[str, float]) -> str:
        """Return question, result and a link to the report, in the three lines that MLflow shows at first."""
        found = _found(best, winner, results)
        return f"**Question:** {self.question}  \n**Found:** {found}  \n**Report:** {self._link('report.html')}"

    def summary(self) -> str:
        """Return the question and links to the answer in one line, for the top of the experiment's page."""
        return f"{self.question} {self._link()}, {self._link('report.html')}"

    def _link(self, artifact: str = "") -> str:
        """Return a link to the run, or to one of its artifacts; it works on any MLflow server."""
        page = f"#/experiments/{self.experiment_id}/runs/{self.run_id}"
        return f"[{artifact}]({page}/artifacts/{artifact})" if artifact else f"[What was found]({page})"


def _found(best: Record | None, winner: Candidate | None, results: dict[str, float]) -> str:
    """Return the result in one line: the winner of the confirmation, else the best trial."""
    if best is None:
        return "no trial finished"
    metric = best.job.metric
    number, chosen = (winner.trial, winner.hyperparameters) if winner else (best.number, best.job.hyperparameters)
    setting = ", ".join(f"{name} {value:.4g}" for name, value in chosen._asdict().items())
    said = f"trial {number} of {results['trials']:.0f}: {setting}; {metric} "
    said += f"{results[f'confirmed_{metric}']:.4f} with fresh seeds" if winner else f"{best.result.value:.4f}"
    return said + (f", test accuracy {results['test_accuracy']:.4f}" if "test_accuracy" in results else "")
