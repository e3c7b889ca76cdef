"""Script in names: wherever a name or a message of another's comes into the report or MLflow's notes, it is a text."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import Browser
from reports import Page

import netcore
from netcore.records.folder import StudyFolder
from netcore.records.job import State, TrialResult
from netcore.records.record import Record
from netcore.results.plots import draw_all
from netcore.results.report import write_report
from netcore.tracking.pages import fenced, markdown_escaped, question_of
from studies import write_study

NAUGHTY = [
    "<script>evil=1</script>",
    '"><img src=x onerror="evil=1">',
    "{{7*7}}",
    "</script><script>evil=1</script>",
    "<svg onload=evil=1>",
    "javascript:evil=1",
    "<a href='javascript:evil=1'>x</a>",
    "<iframe srcdoc='<script>parent.evil=1</script>'>",
    "' onmouseover='evil=1",
    "<!--",
    "&lt;script&gt;",
    "$\\mathrm{x}$",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Return a study in which every name is such a text: classes, columns, categories, its question,
    a failed trial's message, versions, the times of its run; its report is written.
    """
    home = tmp_path_factory.mktemp("naughty")
    rng, rows = np.random.default_rng(0), 12 * len(NAUGHTY)
    kinds = np.array(NAUGHTY)[np.arange(rows) % len(NAUGHTY)]
    columns: dict[str, Any] = {name: rng.standard_normal(rows) for name in NAUGHTY}
    columns |= {"cat": rng.permutation(kinds), "kind": kinds}
    pd.DataFrame(columns).to_csv(home / "rows.csv", index=False)
    study = write_study(
        home / "naughty.toml",
        " ".join(NAUGHTY),
        study="trials = 3, window = 1",
        data="source = 'table', path = 'rows.csv', target = 'kind'",
        training="epochs = 2, batch_size = 20",
        confirm="finalists = 1, seeds = 1",
    )
    netcore.run_study(study, results=home / "results", workers=1)
    made = StudyFolder(home / "results" / "naughty")
    worst = min(made.committed(), key=lambda record: record.result.value).number
    for number in {0, 1, 2} - {worst}:
        record = made.read(number)
        message = "\n".join(NAUGHTY * 3)
        result = TrialResult(State.FAILED, failure=NAUGHTY[0], traceback=f"{message}\n{' '.join(NAUGHTY)}")
        machine = {name: name for name in NAUGHTY}
        made.write(Record.of(record.job, result, replace(record.provenance, environment=machine)))
    resolved = json.loads(made.resolved.read_text())
    resolved["sampler_arguments"] = {name: name for name in NAUGHTY}
    made.resolved.write_text(json.dumps(resolved))
    made.add_times(dict.fromkeys(NAUGHTY, 1.0))
    tables = netcore.load_study(made.path)
    write_report(tables, made, draw_all(tables, made))
    return made


def test_names_are_texts_in_the_report(folder: StudyFolder) -> None:
    """Read by a parser, the report has its own script, no handler, no frame, and each name as it was given."""
    page = Page(folder.report)
    assert page.tags.count("script") == 1
    assert page.tags.count("style") == 1
    assert not {"iframe", "svg", "object", "embed", "base", "a:href"} & set(page.tags)
    assert page.tags.count("meta") == 4
    assert not [source for source in page.sources if source.startswith(("javascript:", "http", "x"))]
    for name in NAUGHTY:
        assert name in page.text


def test_no_script_but_the_report_s_own_runs(page: Browser, folder: StudyFolder) -> None:
    """In a browser: nothing of a name has run, nothing was asked for, no node has a handler, and none is active."""
    page.look()
    page.open(folder.report)
    assert page.ask("new Promise(done => setTimeout(() => done(typeof evil), 300))") == "undefined"
    assert page.ask("document.scripts.length") == 1
    active = "iframe, object, embed, svg, base, form[action], a[href^='javascript' i], img:not([src^='data:image/png'])"
    assert page.ask(f"document.querySelectorAll({json.dumps(active)}).length") == 0
    handlers = "[...document.querySelectorAll('*')].flatMap(n => n.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert page.ask(handlers) == []
    asked = [event["request"]["url"] for event in page.seen("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [folder.report.as_uri()]
    assert page.seen("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []


def test_the_look_in_the_browser_bites(page: Browser, folder: StudyFolder, tmp_path: Path) -> None:
    """Were a name not escaped, and were there no policy, its script would run, and be seen."""
    html = folder.report.read_text().replace("http-equiv", "data-was")
    shutil.copy(folder.report, tmp_path / "report.html")
    (tmp_path / "report.html").write_text(html.replace("<main>", f"<main>{NAUGHTY[0]}{NAUGHTY[1]}", 1))
    page.open(tmp_path / "report.html")
    assert page.ask("new Promise(done => setTimeout(() => done(typeof evil), 300))") == "number"
    assert page.ask("document.scripts.length") == 2


@pytest.mark.parametrize("text", [*NAUGHTY, "[x](javascript:evil)", "![x](http://e/x.png)", "`x`", "**x**", "\\[x](y)"])
def test_markdown_shows_a_text_and_does_nothing(text: str) -> None:
    """In MLflow's notes no bracket, tag, or fence of a name has a meaning; read back, it is the text."""
    shown = markdown_escaped(text)
    assert not re.search(r"[<>]", shown)
    assert not re.search(r"(?<!\\)(\\\\)*[\[\]`*]", shown)
    plain = re.sub(r"\\([\\`*\[\]])", r"\1", shown)
    assert plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


@pytest.mark.parametrize("text", ["x", "```", "a\n```\n<b>\n````\n", "`" * 40])
def test_a_traceback_stays_within_its_fence(text: str) -> None:
    """The fence is longer than any in the text, so that nothing in it ends it."""
    fence, *inside, last = fenced(text).split("\n")
    assert fence == last
    assert set(fence) == {"`"}
    assert len(fence) >= 3
    assert "\n".join(inside) == text
    assert fence not in text


def test_the_question_is_a_text_in_mlflow(folder: StudyFolder) -> None:
    """What a study asks comes into the notes as it is, whatever bytes its file has."""
    assert "<" not in question_of(folder)
    text = folder.study_file.read_bytes()
    folder.study_file.write_bytes(b"# Question: \xff [x](y)\n" + text)
    try:
        assert question_of(folder) == "\ufffd \\[x\\](y)"
    finally:
        folder.study_file.write_bytes(text)
