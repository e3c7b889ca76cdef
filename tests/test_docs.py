"""The documentation speaks the truth: keys, defaults, links, commands, targets, messages and snippets are checked."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_origin

import click
import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Lt
from conftest import netcore_command
from formats import write_cifar, write_idx
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from netcore.cli import commands
from netcore.data import SOURCES
from netcore.question.data_section import (
    ArraysDataSection,
    BundledDataSection,
    Cifar10DataSection,
    IdxDataSection,
    TableDataSection,
)
from netcore.question.spec import (
    Range,
    SpaceSection,
    StartSection,
    StoppingSection,
    StudySection,
    StudySpec,
    TrainingSection,
    dataset_of,
    load_spec,
)
from netcore.records.folder import StudyFolder
from netcore.records.record import CURVES, Record
from netcore.results.tables import AUDIT, CONFIRMATION, CURVE, TRIALS, WEIGHTS, StudyTables
from netcore.search.sampling import SAMPLER_ARGUMENTS
from netcore.tracking.journal import write_journal

ROOT = Path(__file__).parent.parent
STUDY_FILE = ROOT / "docs" / "study-file.md"
DATA = ROOT / "docs" / "data.md"
RESULTS = ROOT / "docs" / "results.md"
TABLES = ROOT / "docs" / "tables.md"
README = ROOT / "README.md"
CONFIRM = ROOT / "docs" / "confirm.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *ROOT.glob("docs/*.md"),
]
STUDIES = sorted(ROOT.glob("studies/*.toml"))
MODELS: dict[str, type[BaseModel]] = {
    "table": StudySpec,
    "`[study]`": StudySection,
    "`[data]`": BundledDataSection,
    "key of `idx`": IdxDataSection,
    "key of `cifar10`": Cifar10DataSection,
    "key of `arrays`": ArraysDataSection,
    "key of `table`": TableDataSection,
    "`[training]`": TrainingSection,
    "`[space]`": SpaceSection,
    "key of a range": Range[float],
    "`[stopping]`": StoppingSection,
    "`[[start]]`": StartSection,
}
"""The models of a study file, by the heading of the section that documents them, or of the table's first column."""

BOUNDS = {Ge: "{} or more", Gt: "above {}", Le: "at most {}", Lt: "below {}"}
"""How the documentation states a bound."""


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Give the fenced blocks of a page, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*block) for block in found]


def spans(page: Path) -> list[str]:
    """Give the code spans of a page, and the commands of its console blocks."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    consoles = "\n".join(block.text for block in blocks(page) if block.language == "console")
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)] + re.findall(
        r"^\$ (.*?)(?:  #.*)?$", consoles, re.MULTILINE
    )


def tables(page: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Give the tables of a page: the heading above each, and its rows by column."""
    heading, rows, columns = "", [], []  # type: tuple[str, list[dict[str, str]], list[str]]
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not columns:
                columns = cells
            elif not set(line) <= set("|-: "):
                rows.append(dict(zip(columns, cells, strict=True)))
            continue
        if columns:
            yield heading, rows
            rows, columns = [], []
        if line.startswith("#"):
            heading = line.lstrip("# ")


def documented(where: str) -> dict[str, dict[str, str]]:
    """Give the rows of the table that documents a model, by key."""
    for heading, rows in tables(STUDY_FILE):
        first = next(iter(rows[0]))
        if where in {first, heading if first == "key" else ""}:
            return {row[first].strip("`"): row for row in rows}
    pytest.fail(f"docs/study-file.md has no table for {where}")


def own_rows(where: str) -> dict[str, dict[str, str]]:
    """Give the rows of a model's keys in its order; a source's keys that every source has stand under `[data]`."""
    rows, model = documented(where), MODELS[where]
    if where.startswith("key of `"):
        shared = {key: row for key, row in documented("`[data]`").items() if key in model.model_fields}
        assert not rows.keys() & shared.keys()
        rows = {key: {**shared, **rows}[key] for key in model.model_fields if key in {*shared, *rows}}
    return rows


def default_of(model: type[BaseModel], key: str) -> object:
    """Give a key's default in the words of the documentation's last column but two."""
    default = model.model_fields[key].default
    if default is PydanticUndefined:
        return "required"
    if default is None or default == ():
        return "none"
    return "the defaults of its keys" if isinstance(default, BaseModel) else default


@pytest.mark.parametrize("where", MODELS)
def test_every_key_is_documented_with_its_default(where: str) -> None:
    """Each table of docs/study-file.md has the keys of its model, all and no other, with their defaults.

    Of the sources with files, it has the keys that the sources of scikit-learn do not have.
    """
    rows, model = own_rows(where), MODELS[where]
    assert set(rows) == set(model.model_fields)
    for key, row in rows.items():
        text = row["default"]
        stated = tomllib.loads(f"x = {text.strip('`')}")["x"] if text.startswith("`") else text
        assert (stated, type(stated)) == ((default := default_of(model, key)), type(default)), key


@pytest.mark.parametrize("where", MODELS)
def test_every_bound_is_documented(where: str) -> None:
    """The rule of a key with a least or a largest value states it."""
    rows = own_rows(where)
    for key, field in MODELS[where].model_fields.items():
        for bound in field.metadata:
            if type(bound) in BOUNDS:
                (limit,) = astuple(bound)
                number = "2³²" if limit == 2**32 else f"{limit:,}"
                rule = rows[key]["rule"].replace("between 0 and 1", "above 0, below 1")
                assert BOUNDS[type(bound)].format(number) in rule, key


@pytest.mark.parametrize("where", MODELS)
def test_every_choice_is_documented(where: str) -> None:
    """The rule of a key that takes one of several words names them all."""
    rows = own_rows(where)
    for key, field in MODELS[where].model_fields.items():
        if get_origin(field.annotation) is Literal:
            words, choices = re.findall(r'`"([\w-]+)"`', rows[key]["rule"]), list(get_args(field.annotation))
            assert set(choices) <= set(words) if key == "source" else words == choices, key


def test_every_source_is_documented() -> None:
    """The rule of data.source names all sources."""
    assert set(re.findall(r'`"(\w+)"`', documented("`[data]`")["source"]["rule"])) == set(SOURCES)


def test_what_may_change_is_documented() -> None:
    """The page names exactly the keys that may change while the question stays the same."""
    assert set(documented("may change")) == {f"study.{key}" for key in StudySpec.MAY_CHANGE} | {"confirm"}


def test_every_sampler_is_documented_with_its_arguments() -> None:
    """The table of samplers says outright what each is built with."""
    stated = {
        name: tomllib.loads("\n".join(re.findall(r"`([^`]+)`", row["explicit arguments"])))
        for name, row in documented("sampler").items()
    }
    assert stated == SAMPLER_ARGUMENTS


def test_the_example_is_a_study_file(tmp_path: Path) -> None:
    """The study file that docs/study-file.md opens with has no mistake."""
    (tmp_path / "my_study.toml").write_text(blocks(STUDY_FILE)[0].text)
    assert load_spec(tmp_path / "my_study.toml").name == "my_study"


def test_the_messages_are_the_real_ones(tmp_path: Path) -> None:
    """Each `netcore check` in docs/study-file.md prints the lines shown below it; the README quotes some of them."""
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    for block in blocks(STUDY_FILE):
        if block.language == "toml" and (name := re.match(r"# (\w+\.toml)\n", block.text)):
            (tmp_path / name[1]).write_text(block.text)
    shown = "".join(block.text for block in blocks(STUDY_FILE) if block.language == "console")
    checks = re.findall(r"^\$ netcore (check [\w.]+)\n((?:(?!\$).*\n)*)", shown, re.MULTILINE)
    assert len(checks) == 2
    for command, said in checks:
        done = netcore_command(*command.split(), cwd=tmp_path)
        assert done.stdout + done.stderr == said
    (quoted,) = [block.text for block in blocks(README) if block.text.startswith("error: ")]
    assert set(quoted.splitlines()) <= set(shown.splitlines())


@pytest.mark.parametrize("number", range(8))
def test_the_data_tables_load(number: int, tmp_path: Path) -> None:
    """Each [data] table that docs/data.md shows loads, from small files in the real formats beside the study file."""
    shown = [block.text for block in blocks(DATA) if block.language == "toml"]
    assert len(shown) == 8
    write_idx(tmp_path / "fashion-mnist", rows=300)
    write_cifar(tmp_path / "cifar-10-batches-py", rows=400)
    rng, y = np.random.default_rng(0), np.arange(90) % 3
    X = rng.standard_normal((90, 4))
    np.savez(tmp_path / "measured.npz", X=X, y=y)
    (tmp_path / "spectra").mkdir()
    np.save(tmp_path / "spectra" / "intensity.npy", X)
    np.save(tmp_path / "spectra" / "substance.npy", y)
    shutil.copy(ROOT / "studies" / "data" / "trees.csv", tmp_path)
    text = shown[number] + (ROOT / "studies" / "iris.toml").read_text().partition('source = "iris"')[2]
    (tmp_path / "mine.toml").write_text(text)
    spec = load_spec(tmp_path / "mine.toml")
    assert dataset_of(spec).classes > 1


def test_the_snippet_on_new_rows_runs() -> None:
    """The Python of docs/data.md gives the matrix of the first five rows."""
    code = "\n".join(block.text for block in blocks(DATA) if block.language == "python")
    done = subprocess.run(
        [sys.executable, "-c", code + "print(X.shape)"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("(5, 17)\n", "")


def test_every_source_has_an_example() -> None:
    """The tables of docs/data.md show each source."""
    shown = [tomllib.loads(block.text)["data"]["source"] for block in blocks(DATA) if block.language == "toml"]
    assert {*shown} == set(SOURCES) - {"iris", "breast_cancer"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_study_files_open_with_their_question(path: Path) -> None:
    """Every study file says at its top what it asks, how it is run, how long it takes, and what to expect."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [line.split()[1] for line in lines[:4] if re.match(r"# \w+: +\S", line)]
    assert found == ["Question:", "Command:", "Takes:", "Expect:"]


def slug(heading: str) -> str:
    """Give the anchor of a heading, as it is made where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_point_at_something(page: Path) -> None:
    """Every relative link or picture is a file or folder that exists, and every anchor a heading of it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    for target in targets:
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    """Every `make` target that a page names is one of the Makefile's."""
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {match[1] for span in spans(page) if (match := re.match(r"make ([a-z]+)\b", span))}
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    """Every netcore command that a page names exists, and takes the options it is shown with."""
    general = {"-h", "--help", "--version"}
    options = {name: {o for p in command.params for o in p.opts} for name, command in commands.commands.items()}
    for span in spans(page):
        words = [word for word in span.split() if word != ">"]
        given = {word.partition("=")[0].rstrip(",.;") for word in words if word.startswith("-")}
        if words[0] == "netcore" and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in options, span
            assert given <= options[words[1]] | general, span
        elif words[0] == "netcore":
            assert given <= general, span
        elif words[0].startswith("--"):
            assert given <= general.union(*options.values()), span


@pytest.mark.parametrize(
    ("guard", "text"),
    [
        (test_commands_and_options_exist, "`netcore runs digits`"),
        (test_commands_and_options_exist, "```console\n$ netcore run digits --worker 3\n```"),
        (test_commands_and_options_exist, "`--refresh`"),
        (test_make_targets_exist, "`make tests`"),
        (test_relative_links_point_at_something, "[there](nowhere.md)"),
        (test_relative_links_point_at_something, "[there](#nowhere)"),
    ],
)
def test_the_guards_can_fail(tmp_path: Path, guard: Callable[[Path], None], text: str) -> None:
    """A command, option, target, file or heading that does not exist is found, in prose and in a console block."""
    (tmp_path / "page.md").write_text(f"# Somewhere\n\n{text}\n")
    with pytest.raises(AssertionError):
        guard(tmp_path / "page.md")


def test_every_command_is_documented() -> None:
    """Every command, and every option of `run` that a user is shown, stands in docs/."""
    pages = (STUDY_FILE, DATA, RESULTS, TABLES, CONFIRM, RELIABILITY)
    text = " ".join(span for page in pages for span in spans(page))
    run = [p for p in commands.commands["run"].params if isinstance(p, click.Option) and not p.hidden]
    for name in [f"netcore {command}" for command in commands.commands] + [p.opts[0] for p in run]:
        assert name in text, name


def test_columns_and_types_are_the_tables() -> None:
    """The tables of docs/tables.md have the columns of the frames, in order, with their types."""
    stated = [
        {row["column"].strip("`"): row["type"] for row in rows} for _, rows in tables(TABLES) if "column" in rows[0]
    ]
    declared = [TRIALS, CURVE, WEIGHTS, CONFIRMATION, AUDIT]
    assert stated == declared
    assert [list(table) for table in stated] == [list(table) for table in declared]


def test_the_records_fields_are_documented(mixed: tuple[StudySpec, Path, StudyTables]) -> None:
    """The page lists the fields of a real record's record.json, all and no other, in order, and its arrays."""
    record: Record = StudyFolder(mixed[1] / "mixed").read(0)
    fields = next(rows for _, rows in tables(RESULTS) if "field of `record.json`" in rows[0])
    assert [row["field of `record.json`"].strip("`") for row in fields] == list(record._facts())
    assert set(CURVES) <= set(spans(RESULTS))


@pytest.fixture(scope="module")
def kept(mixed: tuple[StudySpec, Path, StudyTables], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a real study, and with every view of it."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(mixed[1], folder / "results")
    study = StudyFolder(folder / "results" / "mixed")
    write_journal(study.committed(), study)
    assert netcore_command("sync", "mixed", cwd=folder).returncode == 0
    return folder


def said_by(code: str, folder: Path) -> str:
    """Run Python that is written for the digits study, on the mixed one; give what it prints."""
    command = [sys.executable, "-c", code.replace("digits", "mixed")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_snippets_run(kept: Path, mixed: tuple[StudySpec, Path, StudyTables]) -> None:
    """All Python of docs/results.md, one after the other, runs against a real study with every view of it."""
    said = said_by("\n".join(block.text for block in blocks(RESULTS) if block.language == "python"), kept)
    best = mixed[2].trials.query("state == 'finished'").sort_values("value")["trial"].iloc[0]
    assert f"\n{best}\n" in said


def test_the_questions_are_answered_in_three_lines(kept: Path) -> None:
    """Each block of docs/tables.md after the first has three lines, runs, and prints what is shown but for numbers."""
    first, *questions = [block.text for block in blocks(TABLES) if block.language == "python"]
    shown = [block.text for block in blocks(TABLES) if not block.language]
    assert len(questions) == len(shown) == 4
    answers = said_by("\nprint('#')\n".join([first, *questions]), kept).split("#\n")[1:]
    for question, output, said in zip(questions, shown, answers, strict=True):
        assert len(question.splitlines()) == 3
        assert re.findall(r"[a-z_]{3,}", said) == re.findall(r"[a-z_]{3,}", output)


def test_the_readmes_questions_are_answered(kept: Path, mixed: tuple[StudySpec, Path, StudyTables]) -> None:
    """The README asks a study three questions, in a line each, and gets answers."""
    (code,) = [block.text for block in blocks(README) if "load_study(" in block.text]
    assert code.count("print(") == 3
    said = said_by(code, kept)
    assert all(candidate in said for candidate in mixed[2].confirmation["candidate"])


def test_the_house_is_as_it_is_drawn() -> None:
    """The tree in ARCHITECTURE.md names every module of netcore, and none that is not there."""
    text = next(block.text for block in blocks(ARCHITECTURE) if block.text.startswith("netcore/\n"))
    folders, drawn = [""], set()
    for line in text.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders[depth:] = [name]
        path = "".join(folders)
        assert (ROOT / path).exists(), path
        if path.endswith((".py", ".jinja", ".css", ".js")):
            drawn.add(path)
    there = [file for kind in ("py", "jinja", "css", "js") for file in ROOT.glob(f"netcore/**/*.{kind}")]
    assert drawn == {file.relative_to(ROOT).as_posix() for file in there}
