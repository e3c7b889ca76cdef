"""Reports for several test modules: a study with everything in it, and what a reader sees of its page."""

import shutil
from html.parser import HTMLParser
from pathlib import Path

from netcore.question.spec import StudySpec
from netcore.records.folder import StudyFolder
from netcore.results.plots import draw_all
from netcore.results.report import write_report
from netcore.results.tables import StudyTables, load_study
from netcore.run import Run

Study = tuple[StudyTables, StudyFolder]


def audited_copy(mixed: tuple[StudySpec, Path, StudyTables], results: Path) -> Study:
    """Copy a study, audit half of its pruned trials, and write its report."""
    spec, there, _ = mixed
    shutil.copytree(there / spec.name, results / spec.name)
    with Run(spec, results=results, workers=2) as run:
        for _ in run.audit(0.5):
            pass
    tables = load_study(run.folder.path)
    write_report(tables, run.folder, draw_all(tables, run.folder))
    return tables, run.folder


class Page(HTMLParser):
    """A parsed HTML file: its text, its tags, and everything that a browser would fetch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.titles: list[str] = []
        self.ids: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag, what it would fetch, and its texts."""
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.text += " " if tag in {"td", "th", "dt", "dd"} else ""
        self.sources += [given[name] for name in ("src", "href", "srcset", "action") if name in given]
        self.titles += [given["title"]] if "title" in given else []
        self.ids += [given["id"]] if "id" in given else []
        self.alternatives += [given["alt"]] if "alt" in given else []

    def handle_data(self, data: str) -> None:
        """Collect text, except style and script."""
        self.text += "" if self.lasttag in {"style", "script"} else data
