"""MLflow as people see it: a real study, `netcore ui`, and a real browser in which links and buttons are clicked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from browser import Browser
from commands import netcore_command
from conftest import write_mixed
from servers import Server, served

import netcore
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.results.tables import StudyTables

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")]

TRIALS = 12
SHOWN = ["best_val_loss", "best_val_accuracy", *HYPERPARAMETERS, "netcore.state"]
CELLS = """
  [...document.querySelectorAll('[role=gridcell]')].filter(cell => cell.getAttribute('col-id').includes({}))
  .sort((a, b) => a.closest('.ag-row').getAttribute('row-index') - b.closest('.ag-row').getAttribute('row-index'))
  .map(cell => cell.innerText.trim().split('\\n').at(-1))
"""
"""The cells of a column of MLflow's list of runs, from top to bottom."""

LINKS = "[...document.querySelectorAll('a')]"
CLOSE = "button[aria-label=Close]"


def cells(column: str) -> str:
    """Return the JavaScript for a column of the list."""
    return CELLS.format(json.dumps(f"`{column}`"))


def complaints(page: Browser) -> list[Any]:
    """Return the errors of the page, except MLflow's own: a server without accounts has no user."""
    said = [event for event in page.seen("Runtime.consoleAPICalled") if event["type"] == "error"]
    logged = [event["entry"] for event in page.seen("Log.entryAdded") if event["entry"]["level"] == "error"]
    own = [entry for entry in logged if not entry.get("url", "").endswith("/mlflow/users/current")]
    return [*page.seen("Runtime.exceptionThrown"), *said, *own]


def strangers(page: Browser) -> list[str]:
    """Return the requests to any other server."""
    asked = [event["request"]["url"] for event in page.seen("Network.requestWillBeSent")]
    return [url for url in asked if urlparse(url).hostname != "127.0.0.1" and not url.startswith(("data:", "blob:"))]


@pytest.fixture(scope="module")
def folder(page: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001  # no browser, no study
    """Return a folder in which `netcore run` has run a study: its final model registered in MLflow."""
    folder = tmp_path_factory.mktemp("seen")
    write_mixed(folder, TRIALS)
    done = netcore_command("run", "mixed.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def tables(folder: Path) -> StudyTables:
    """Return the study's tables."""
    return netcore.load_study(folder / "results" / "mixed")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Return its `netcore ui`."""
    with served(folder) as server:
        yield server


@pytest.fixture
def opened(page: Browser, server: Server) -> Browser:
    """Return the page that the printed link opens, in the window of a common screen, as a first visitor sees it.

    MLflow opens its assistant once in each browser: it is closed.
    """
    page.look(width=1440, height=900)
    page.open("about:blank")
    page.open(server.link)
    page.wait_for(f"{cells('Run Name')}.length == {TRIALS}")
    if page.ask("localStorage['mlflow.assistant.panelOpen_v1'] === 'true'"):
        page.wait_for(f"document.querySelector('{CLOSE}')")
        page.click(CLOSE)
    return page


def test_the_link_lists_the_trials(opened: Browser, tables: StudyTables) -> None:
    """Each trial has a line, the best on top, unfolded; parent and confirmation have none; nobody else is asked."""
    ranked = tables.trials.sort_values("value")
    names = opened.ask(cells("Run Name"))
    with_value = int(ranked["value"].notna().sum())
    assert names[:with_value] == [f"trial {number}" for number in ranked["trial"][:with_value]]
    assert sorted(names) == sorted(f"trial {number}" for number in ranked["trial"])
    assert complaints(opened) == []
    assert strangers(opened) == []


def test_values_hyperparameters_and_state_are_columns(opened: Browser, tables: StudyTables) -> None:
    """Without a click they stand beside the trials, in this order, to the last digit, all of them on the screen."""
    headings = "[...document.querySelectorAll('.ag-header-cell')].filter(cell => cell.innerText)"
    opened.wait_for(f"{headings}.some(cell => cell.innerText.trim() === 'netcore.state')")
    places = opened.ask(f"{headings}.map(cell => [cell.getBoundingClientRect().right, cell.innerText.trim()])")
    shown = [name for right, name in sorted(places) if right < 1440]
    assert [name for name in shown if name not in {"Run Name", "Created", "Duration"}] == SHOWN
    best = tables.trials.sort_values("value").iloc[0]
    for name in ("best_val_loss", "learning_rate", "reg"):
        assert float(opened.ask(cells(name))[0]) == best[name.removeprefix("best_")]
    assert opened.ask(cells("netcore.state"))[0] == best["state"]


def test_another_column_is_chosen_from_the_menu(opened: Browser, tables: StudyTables) -> None:
    """Columns, a name, a click: the metric is in the list."""
    opened.click("button", "Columns")
    opened.wait_for("document.activeElement.placeholder === 'Search columns'")
    opened.write("best_train_loss")
    opened.wait_for("document.querySelector('[role=dialog] strong')?.innerText === 'best_train_loss'")
    opened.click("[role=dialog] strong")
    opened.ask("document.querySelector('.ag-center-cols-viewport').scrollLeft = 9_999")
    opened.wait_for(f"{cells('best_train_loss')}.length")
    best = tables.trials.sort_values("value").iloc[0]
    assert float(opened.ask(cells("best_train_loss"))[0]) == best["train_loss"]


def test_a_trials_curves_are_drawn(opened: Browser, tables: StudyTables) -> None:
    """From the list to the trial, to its charts: val_loss is a curve with a point for each epoch."""
    best = tables.trials.sort_values("value").iloc[0]
    opened.click("a", f"trial {best['trial']}")
    opened.wait_for("document.querySelector('[role=tab]')")
    opened.click("[role=tab]", "Model metrics")
    opened.wait_for("document.querySelector('input[placeholder=\"Search metric charts\"]')")
    opened.click("input[placeholder='Search metric charts']")
    opened.write("val_loss")
    chart = "[...document.querySelectorAll('[data-testid=experiment-view-compare-runs-card]')]"
    chart += ".find(card => card.innerText.startsWith('val_loss'))"
    opened.wait_for(f"{chart}?.querySelectorAll('.scatterlayer .point').length == {best['epochs']}")
    assert complaints(opened) == []


def test_the_way_from_the_question_to_the_report(opened: Browser, server: Server, tables: StudyTables) -> None:
    """The question stands above the trials, with links; the study's run says in three lines what was found, and where.

    All three are seen without unfolding anything.
    """
    above = LINKS + ".find(link => link.innerText === '{}')"
    opened.wait_for(above.format("What was found"))
    assert opened.ask(f"{above.format('What was found')}.closest('p').innerText.includes('What does a study do')")
    page = opened.ask(f"{above.format('What was found')}.href")
    report = opened.ask(f"{above.format('report.html')}.href")
    assert page.startswith(f"http://127.0.0.1:{server.port}/")
    opened.open("about:blank")  # these links open a tab of their own
    opened.open(page)
    opened.wait_for(above.format("report.html"))
    note = f"{above.format('report.html')}.closest('p')"
    question, found, where = opened.ask(f"{note}.innerText").splitlines()
    assert question.startswith("Question: What does a study do in which trials finish")
    winner = tables.confirmation["trial"].iloc[0]
    assert found.startswith(f"Found: trial {winner} of {TRIALS}: learning_rate ")
    assert where == "Report: report.html"
    assert opened.ask(f"{above.format('report.html')}.href") == report
    assert opened.ask("!document.body.innerText.includes('Show more')")
    opened.open("about:blank")
    opened.open(report)
    opened.wait_for("document.querySelector('iframe')")


def to_the_files(opened: Browser) -> None:
    """Go from a trial to the study's run, and to its files, by clicks."""
    opened.click("a", "trial 0")
    opened.wait_for(f"{LINKS}.some(link => link.innerText === 'mixed' && link.href.includes('/runs/'))")
    opened.click("a[href*='/runs/']", "mixed")
    opened.wait_for("document.querySelector('h1, h2').innerText.includes('mixed')")
    opened.click("[role=tab]", "Artifacts")
    opened.wait_for("document.querySelector('[artifact-name]')")


def test_the_report_works_in_mlflows_frame(opened: Browser, tables: StudyTables) -> None:
    """MLflow shows the report in a sandbox; there, too, its policy lets its own script run, and it has no complaint.

    It is whole, a click sorts its trials, and a link unfolds the numbers that it leads to.
    """
    to_the_files(opened)
    opened.click("[artifact-name='report.html']")
    opened.wait_for("document.querySelector('iframe')")
    assert opened.ask("document.querySelector('iframe').sandbox.value") == "allow-scripts"
    opened.events.clear()
    with opened.inside("iframe"):
        opened.wait_for("document.readyState === 'complete'")
        assert opened.ask("[...document.images].every(picture => picture.naturalWidth > 0)")
        assert opened.ask("document.querySelector('#trials-table th button') !== null")
        opened.click("#trials-table th button", "learning_rate")
        opened.wait_for("document.querySelector('[aria-sort]')")
        column = "[...document.querySelectorAll('#trials-table tbody tr')].map(row => +row.cells[2].title)"
        assert opened.ask(column) == sorted(tables.trials["learning_rate"])
        opened.click("a[href='#numbers-confirmation']")
        opened.wait_for("document.querySelector('#numbers-confirmation').closest('details').open")
    assert opened.seen("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []


def test_a_picture_opens(opened: Browser) -> None:
    """A click on a file of plots/ shows the picture, whole."""
    to_the_files(opened)
    opened.click("[artifact-name=plots]")
    picture = "[artifact-name='loss_curves.png']"
    opened.wait_for(f'document.querySelector("{picture}")')
    opened.click(picture)
    opened.wait_for(
        "[...document.images].some(picture => picture.src.startsWith('blob:') && picture.naturalWidth > 600)"
    )
    assert complaints(opened) == []


def test_the_model_has_its_alias(opened: Browser) -> None:
    """Model registry, the study's name: version 1 is the champion; its page names the run, and the run the model."""
    opened.click("a", "Model registry")
    opened.wait_for("document.querySelector('[role=dialog]')")
    opened.click("[role=dialog] button", "Try it now")  # MLflow introduces its registry once in each browser
    opened.wait_for(
        f"!document.querySelector('[role=dialog]').offsetWidth && {LINKS}.some(link => link.href.endsWith('/mixed'))"
    )
    opened.click("a[href$='/models/mixed']", "mixed")
    opened.wait_for("document.body.innerText.includes('What does a study do in which trials finish')")
    opened.wait_for("document.body.innerText.includes('@\\u00a0champion')")
    opened.click("a", "Version 1")
    opened.wait_for(f"{LINKS}.some(link => link.innerText === 'mixed' && link.href.includes('/runs/'))")
    opened.wait_for("document.body.innerText.includes('with fresh seeds, test accuracy')")
    opened.click("a[href*='/runs/']", "mixed")
    opened.wait_for(f"{LINKS}.some(link => link.href.includes('/models/m-'))")
    assert complaints(opened) == []
