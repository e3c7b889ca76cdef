"""The report in a real browser: it fetches nothing, logs no errors, and its table can be sorted and filtered."""

import json
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from conftest import Mixed
from reports import Study

COMPLAINTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
SHOWN = "[...document.querySelectorAll('#trials-table tbody tr')].filter(row => !row.hidden)"
COLUMN = "{}.map(row => row.cells[{}].title || row.cells[{}].textContent)"


@pytest.fixture
def report(reported: Study) -> Path:
    """Return the report of a study with trials of every state, confirmed and audited."""
    return reported[1].report


@pytest.fixture
def opened(page: Browser, report: Path) -> Browser:
    """Return the report, just opened in a wide window."""
    page.look()
    page.open(report)
    return page


def column(opened: Browser, number: int) -> list[str]:
    """Return a column of the visible rows, to the last digit."""
    values: list[str] = opened.ask(COLUMN.format(SHOWN, number, number))
    return values


def numbers(values: list[str]) -> list[float]:
    """Return the numbers of a column, without missing ones."""
    return [float(value) for value in values if value != "—"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nothing_leaves_the_file_and_nothing_is_wrong(page: Browser, report: Path, width: int, scheme: str) -> None:
    """In a wide and a narrow window: no request but for the file itself, no message on the console, nothing cut off."""
    page.look(width=width, scheme=scheme)
    page.open(report)
    asked = [event["request"]["url"] for event in page.seen("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert page.seen(*COMPLAINTS) == []
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")


def test_a_request_and_a_complaint_would_be_seen(page: Browser, tmp_path: Path) -> None:
    """The two checks above can fail: a picture from elsewhere and an error in a script are noticed."""
    (tmp_path / "page.html").write_text("<img src='missing.png'><script>throw Error('x')</script>")
    page.open(tmp_path / "page.html")
    assert any("missing.png" in event["request"]["url"] for event in page.seen("Network.requestWillBeSent"))
    assert page.seen("Runtime.exceptionThrown")


def test_the_policy_keeps_other_scripts_and_addresses_out(opened: Browser) -> None:
    """If markup got into the page, the browser would neither run nor fetch it; the policy allows nothing by default."""
    policy = opened.ask("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    opened.ask("document.body.insertAdjacentHTML('beforeend', `<img src='http://127.0.0.1:9/x.png' onerror='evil=1'>`)")
    opened.ask("document.body.append(Object.assign(document.createElement('script'), {textContent: 'evil = 1'}))")
    assert opened.ask("new Promise(done => setTimeout(() => done(typeof evil), 200))") == "undefined"
    said = json.dumps(opened.seen("Log.entryAdded"))
    assert "Content Security Policy" in said


def test_every_plot_is_loaded_and_has_a_table(opened: Browser) -> None:
    """Each image is loaded, and has a link to an existing table of its numbers."""
    figures: list[dict[str, Any]] = opened.ask(
        "[...document.querySelectorAll('figure')].map(figure => ({"
        " loaded: figure.querySelector('img').naturalWidth,"
        " table: document.querySelector(figure.querySelector('figcaption a').getAttribute('href')) !== null}))"
    )
    assert len(figures) >= 9
    assert all(figure["loaded"] > 0 and figure["table"] for figure in figures)


def test_a_link_to_folded_numbers_unfolds_them(opened: Browser) -> None:
    """Following the link beneath the confirmation shows its table."""
    details = "document.querySelector('#numbers-confirmation').closest('details').open"
    assert opened.ask(details) is False
    opened.click("a[href='#numbers-confirmation']")
    assert opened.ask("new Promise(done => setTimeout(done, 100))") is None
    assert opened.ask(details) is True


def test_clicks_sort_by_any_column(opened: Browser) -> None:
    """A first click sorts upwards, a second downwards; aria-sort says which; missing values stay last."""
    heading = "#trials-table th:nth-child(7)"
    assert opened.ask(f"document.querySelector('{heading}').textContent") == "value"
    for direction, reverse in (("ascending", False), ("descending", True)):
        opened.click(f"{heading} button")
        values = column(opened, 6)
        assert numbers(values) == sorted(numbers(values), reverse=reverse)
        assert "—" not in values[: len(numbers(values))]
        assert opened.ask("[...document.querySelectorAll('[aria-sort]')].map(h => h.ariaSort)") == [direction]
    opened.click("#trials-table th:nth-child(2) button")
    assert column(opened, 1) == sorted(column(opened, 1))
    assert opened.ask("document.querySelectorAll('[aria-sort]').length") == 1


def test_the_keyboard_sorts_and_filters(opened: Browser) -> None:
    """From the filter, Tab leads over the states to the headings; Enter and the space bar press them."""
    opened.ask("document.querySelector('#filter-text').focus()")
    opened.write("pruned")
    assert set(column(opened, 1)) == {"pruned"}
    for _ in range(50):
        opened.press("Tab")
        if opened.ask("document.activeElement.matches('#trials-table th:first-child button')"):
            break
    opened.press("Enter")
    trials = numbers(column(opened, 0))
    assert trials == sorted(trials)
    opened.press(" ")
    assert numbers(column(opened, 0)) == sorted(trials, reverse=True)


def test_clicks_filter_by_state_and_words_by_text(opened: Browser, mixed: Mixed) -> None:
    """Trials of an unticked state are hidden; each word must begin a cell; the page shows the count."""
    trials = mixed[2].trials
    finished = int((trials["state"] == "finished").sum())
    for state in ("pruned", "diverged", "failed"):
        opened.click(f"[name=state][value={state}]")
    assert column(opened, 1) == ["finished"] * finished
    said = "document.querySelector('#shown').textContent"
    assert opened.ask(said) == f"{finished} of {len(trials)} trials"
    opened.click("#filter-text")
    opened.write("no such thing")
    assert opened.ask(said) == f"0 of {len(trials)} trials"


def test_the_answer_is_on_the_first_screen(opened: Browser, report: Path) -> None:
    """Winner, confirmed metrics, baselines and test accuracy are visible without scrolling, on a telephone too."""
    for width, height in ((1280, 800), (390, 844)):
        opened.look(width=width, height=height)
        opened.open(report)
        answer = "document.querySelectorAll('#answer, .metrics dd, .baselines dd')"
        bottoms = opened.ask(f"[...{answer}].map(part => part.getBoundingClientRect().bottom)")
        assert len(bottoms) == 6
        assert max(bottoms) < height


def test_it_prints_whole(opened: Browser, tmp_path: Path) -> None:
    """On paper there is no form, and no part of a table is hidden behind a scroll bar."""
    opened.send("Emulation.setEmulatedMedia", media="print")
    assert opened.ask("getComputedStyle(document.querySelector('#filter')).display") == "none"
    assert opened.ask("getComputedStyle(document.querySelector('.table')).maxHeight") == "none"
    opened.print(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    opened.send("Emulation.setEmulatedMedia", media="")
