"""The report: complete, self-contained, honest, and deaf to HTML in names."""

import dataclasses
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from netcore.results.report import write_report
from netcore.results.tables import StudyTables, load_study
from netcore.results.words import short
from netcore.study.folder import StudyFolder
from netcore.study.spec import StudySpec, question

Study = tuple[StudyTables, StudyFolder]
NAUGHTY = "<script>alert('x')</script>&amp;"


class Page(HTMLParser):
    """What a browser would see: the text, the tags, and everything that a page could fetch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.titles: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, what it would fetch, and its texts."""
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.text += " " if tag in {"td", "th"} else ""
        self.sources += [given[name] for name in ("src", "href", "srcset", "action") if name in given]
        self.titles += [given["title"]] if "title" in given else []
        self.alternatives += [given["alt"]] if "alt" in given else []

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


@pytest.fixture(scope="module")
def finished(mixed: tuple[StudySpec, Path, StudyTables], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Give a study with trials of every state, in a folder of its own, its report written."""
    spec, results, tables = mixed
    path = tmp_path_factory.mktemp("report") / spec.name
    shutil.copytree(results / spec.name, path)
    write_report(tables, StudyFolder(path))
    return tables, StudyFolder(path)


@pytest.fixture
def study(finished: Study, tmp_path: Path) -> Study:
    """Give the same as a copy that a test may change."""
    tables, folder = finished
    shutil.copytree(folder.path, tmp_path / folder.name)
    return tables, StudyFolder(tmp_path / folder.name)


def only(tables: StudyTables, *states: str) -> StudyTables:
    """Give the tables as if the study had only trials of these states."""
    return dataclasses.replace(
        tables,
        trials=tables.trials[tables.trials["state"].isin(states)],
        curves=tables.curves[:0],
        weights=tables.weights[:0],
    )


def test_nothing_is_fetched(finished: Study) -> None:
    """Pictures lie in the file itself; there is no script, no style sheet, no font to load."""
    page = Page(finished[1].report)
    assert all(source.startswith("data:") for source in page.sources)
    assert not {"script", "iframe", "object", "base"} & set(page.tags)
    html = finished[1].report.read_text(encoding="utf-8")
    assert "@import" not in html
    assert "url(" not in html


def test_every_picture_has_words(finished: Study) -> None:
    """Who cannot see a figure is told what it shows and which trial is the best."""
    page = Page(finished[1].report)
    assert page.tags.count("img") == len(page.alternatives) == len(list(finished[1].figures.glob("*.png")))
    best = int(finished[0].trials.query("state == 'finished'").sort_values("value")["trial"].iloc[0])
    assert all(f"Best: trial {best}, val_loss" in alternative for alternative in page.alternatives)


def test_the_winner_stands_at_the_top(finished: Study) -> None:
    """The question, the best trial with its numbers to the last digit, and what the test set said of it."""
    tables, folder = finished
    page = Page(folder.report)
    best = tables.trials.query("state == 'finished'").sort_values("value").iloc[0]
    assert "What does a study do in which trials finish, are pruned, diverge and fail?" in page.text
    assert f"Best of {len(tables.trials)} trials: trial {best['trial']}" in page.text
    assert {repr(float(best["learning_rate"])), repr(float(best["val_loss"]))} <= set(page.titles)
    test = folder.test_figures()
    assert test is not None
    assert f"{test['right']} of {test['rows']} right" in page.text
    assert "partly luck" in page.text


def test_the_test_figure_of_another_trial_is_not_shown(study: Study) -> None:
    """What the test set said of an earlier winner is not said of this one."""
    tables, folder = study
    folder.test.write_text(json.dumps({**(folder.test_figures() or {}), "digest": "0" * 64}))
    assert "The test set has not been read for this trial." in Page(write_report(tables, folder, {})).text


def test_trials_are_listed_best_first_with_their_states(finished: Study) -> None:
    """One row for each trial: finished ones by value, then the others by state; failures are explained."""
    tables, folder = finished
    page = Page(folder.report)
    assert page.tags.count("tr") == 1 + len(tables.trials)
    counts = tables.trials["state"].value_counts()
    words = page.text.split()
    for state in ("finished", "pruned", "diverged", "failed"):
        assert words.count(state) >= counts[state] > 0
        assert f"{counts[state]} {state}" in page.text
    listing = [word for word in words[words.index("seconds") :] if word in set(counts.index)]
    assert listing[: len(tables.trials)] == [
        s for s in ("finished", "pruned", "diverged", "failed") for _ in range(counts[s])
    ]
    assert "Unable to allocate" in page.text


@pytest.mark.parametrize(
    ("states", "sentence"),
    [(("diverged", "failed"), "No trial finished"), (("pruned",), "No trial finished"), ((), "No trial yet")],
)
def test_a_study_without_a_winner_says_so(study: Study, states: tuple[str, ...], sentence: str) -> None:
    """Nothing finished, or nothing there at all: the report says it in its first heading and names no best trial."""
    tables, folder = study
    page = Page(write_report(only(tables, *states), folder))
    assert sentence in page.text
    assert "Best of" not in page.text


def test_html_in_names_is_text(study: Study) -> None:
    """A class, a data set, a study or its file may hold markup: it is shown, never run."""
    tables, folder = study
    resolved = folder.resolved_settings()
    resolved["data"]["class_names"] = [NAUGHTY, "b"]
    resolved["data"]["name"] = NAUGHTY
    folder.resolved.write_text(json.dumps(resolved))
    folder.study_file.write_text(f"# Question: {NAUGHTY}\n{NAUGHTY}", encoding="utf-8")
    page = Page(write_report(dataclasses.replace(tables, name=NAUGHTY), folder, {}))
    assert "script" not in page.tags
    assert page.text.count(NAUGHTY) == 7  # title, heading, question, the file's two lines, class, data set


def test_equal_studies_give_equal_reports(study: Study) -> None:
    """The report holds no time of writing: written again, from tables read again, it is the same to the byte."""
    _, folder = study
    before = folder.report.read_bytes()
    assert write_report(load_study(folder.path), folder).read_bytes() == before


def test_a_question_may_take_several_lines() -> None:
    """The comment goes on until another keyword, or the comment's end; without the keyword there is no question."""
    assert question("# Question: is it\n#   so?\n# Command: make\n") == "is it so?"
    assert question("# Question: is it so?\n[study]\n# Question: no\n") == "is it so?"
    assert question("[study]\n") == question("") == question("# A comment.\n") == ""


def test_numbers_are_short() -> None:
    """Four digits for what is measured, whole numbers whole, and a dash for what there is not."""
    assert [short(value) for value in (0.123456, 1e-6, 42, 10**15, None, float("nan"), "tpe")] == [
        "0.1235",
        "1e-06",
        "42",
        "1e+15",
        "—",
        "—",
        "tpe",
    ]
