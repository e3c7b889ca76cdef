"""The documentation is correct: keys, defaults, links, commands, messages, snippets and their outputs are checked."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import astuple
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_origin

import click
import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Lt
from commands import netcore_command, quick
from formats import write_cifar, write_idx
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from netcore import run_study
from netcore.cli import commands
from netcore.data import SOURCES
from netcore.question.data_section import (
    ArraysDataSection,
    BundledDataSection,
    Cifar10DataSection,
    IdxDataSection,
    TableDataSection,
)
from netcore.question.sections import StoppingSection, StudySection, TrainingSection
from netcore.question.space_section import Range, SpaceSection, StartSection
from netcore.question.spec import StudySpec, dataset_of, load_spec
from netcore.results.tables import AUDIT, CONFIRMATION, CURVE, TRIALS, WEIGHTS, StudyTables
from netcore.search.samplers import SAMPLER_ARGUMENTS

ROOT = Path(__file__).parent.parent
CONTEXT = click.Context(commands)
COMMANDS = {name: found for name in commands.list_commands(CONTEXT) if (found := commands.get_command(CONTEXT, name))}
STUDY_FILE = ROOT / "docs" / "study-file.md"
DATA = ROOT / "docs" / "data.md"
RESULTS = ROOT / "docs" / "results.md"
TABLES = ROOT / "docs" / "tables.md"
README = ROOT / "README.md"
MODEL = ROOT / "docs" / "model.md"
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
"""The models of a study file, by the heading above their table in docs/study-file.md, or by its first column."""

same_numbers = pytest.mark.skipif(
    "avx512f" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"),
    reason="the documentation shows the numbers of a processor with AVX-512",
)
"""For outputs with numbers of the digits study."""

BOUNDS = {Ge: "{} or more", Gt: "above {}", Le: "at most {}", Lt: "below {}"}
"""How the documentation words a bound."""


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*block) for block in found]


def spans(page: Path) -> list[str]:
    """Return the code spans of a page, and the commands of its console blocks."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    consoles = "\n".join(block.text for block in blocks(page) if block.language == "console")
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)] + re.findall(
        r"^\$ (.*?)(?:  #.*)?$", consoles, re.MULTILINE
    )


def tables(page: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield the tables of a page: the heading above each, and its rows by column."""
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
    """Return the rows of the table that documents a model, by key."""
    for heading, rows in tables(STUDY_FILE):
        first = next(iter(rows[0]))
        if where in {first, heading if first == "key" else ""}:
            return {row[first].strip("`"): row for row in rows}
    pytest.fail(f"docs/study-file.md has no table for {where}")


def own_rows(where: str) -> dict[str, dict[str, str]]:
    """Return the rows of a model's keys; those that all sources share are documented under `[data]`."""
    rows, model = documented(where), MODELS[where]
    if where.startswith("key of `"):
        shared = {key: row for key, row in documented("`[data]`").items() if key in model.model_fields}
        assert not rows.keys() & shared.keys()
        rows |= shared
    return rows


def default_of(model: type[BaseModel], key: str) -> object:
    """Return a key's default as the documentation words it."""
    default = model.model_fields[key].default
    if default is PydanticUndefined:
        return "required"
    if default is None or default == ():
        return "none"
    if isinstance(default, StrEnum):
        return default.value
    return "the defaults of its keys" if isinstance(default, BaseModel) else default


def choices_of(annotation: object) -> list[str]:
    """Return the words that a key accepts, if they are listed in its type."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return [choice.value for choice in annotation]
    return list(get_args(annotation)) if get_origin(annotation) is Literal else []


@pytest.mark.parametrize("where", MODELS)
def test_every_key_is_documented(where: str) -> None:
    """Each table of docs/study-file.md has exactly the keys of its model, with their defaults, bounds and choices."""
    rows, model = own_rows(where), MODELS[where]
    assert set(rows) == set(model.model_fields)
    for key, field in model.model_fields.items():
        text, rule = rows[key]["default"], rows[key].get("rule", "").replace("between 0 and 1", "above 0, below 1")
        stated = tomllib.loads(f"x = {text.strip('`')}")["x"] if text.startswith("`") else text
        assert (stated, type(stated)) == ((default := default_of(model, key)), type(default)), key
        for bound in field.metadata:
            if type(bound) in BOUNDS:
                (limit,) = astuple(bound)
                assert BOUNDS[type(bound)].format("2³²" if limit == 2**32 else f"{limit:,}") in rule, key
        if choices := choices_of(field.annotation):
            words = re.findall(r'`"([\w-]+)"`', rule)
            assert set(choices) <= set(words) if key == "source" else words == choices, key


def test_every_source_is_documented() -> None:
    """The rule of data.source names all sources, and docs/data.md shows each; for scikit-learn's, some."""
    assert set(re.findall(r'`"(\w+)"`', documented("`[data]`")["source"]["rule"])) == set(SOURCES)
    shown = [tomllib.loads(block.text)["data"]["source"] for block in blocks(DATA) if block.language == "toml"]
    assert {*shown} == set(SOURCES) - {"iris", "breast_cancer"}


def test_what_may_change_is_documented() -> None:
    """The page lists exactly the keys that may change while the question stays the same."""
    assert set(documented("may change")) == {f"study.{key}" for key in StudySpec.MAY_CHANGE} | {"confirm"}


def test_every_sampler_is_documented_with_its_arguments() -> None:
    """The table of samplers has the arguments that each is built with."""
    stated = {
        name: tomllib.loads("\n".join(re.findall(r"`([^`]+)`", row["explicit arguments"])))
        for name, row in documented("sampler").items()
    }
    assert stated == SAMPLER_ARGUMENTS


def test_the_example_is_a_study_file(tmp_path: Path) -> None:
    """The first study file in docs/study-file.md is valid."""
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
        done = quick(*command.split(), cwd=tmp_path)
        assert done.stdout + done.stderr == said
    (quoted,) = [block.text for block in blocks(README) if block.text.startswith("error: ")]
    assert set(quoted.splitlines()) <= set(shown.splitlines())


def test_the_data_tables_load(tmp_path: Path) -> None:
    """Each [data] table in docs/data.md loads, with small files in the real formats beside the study file."""
    write_idx(tmp_path / "fashion-mnist", rows=300)
    write_cifar(tmp_path / "cifar-10-batches-py", rows=400)
    rng, y = np.random.default_rng(0), np.arange(90) % 3
    X = rng.standard_normal((90, 4))
    np.savez(tmp_path / "measured.npz", X=X, y=y)
    (tmp_path / "spectra").mkdir()
    np.save(tmp_path / "spectra" / "intensity.npy", X)
    np.save(tmp_path / "spectra" / "substance.npy", y)
    shutil.copy(ROOT / "studies" / "data" / "trees.csv", tmp_path)
    rest = (ROOT / "studies" / "iris.toml").read_text().partition('source = "iris"')[2]
    shown = [block.text for block in blocks(DATA) if block.language == "toml"]
    assert len(shown) == 8
    for text in shown:
        (tmp_path / "mine.toml").write_text(text + rest)
        assert dataset_of(load_spec(tmp_path / "mine.toml")).classes > 1, text


def test_the_snippet_on_new_rows_runs() -> None:
    """The Python in docs/data.md prepares the first five rows of a table."""
    assert printed(snippets(DATA) + "print(X.shape)", ROOT) == "(5, 17)\n"


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_point_at_something(page: Path) -> None:
    """Every relative link or picture leads to an existing file or folder, and every anchor to a heading of it."""
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
    """Every `make` target on a page is in the Makefile."""
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {match[1] for span in spans(page) if (match := re.match(r"make ([a-z]+)\b", span))}
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    """Every netcore command on a page exists, and accepts the options shown with it."""
    general = {"-h", "--help", "--version"}
    options = {name: {o for p in command.params for o in p.opts} for name, command in COMMANDS.items()}
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
    """The guards find a command, option, target, file or heading that does not exist, wherever it is shown."""
    (tmp_path / "page.md").write_text(f"# Somewhere\n\n{text}\n")
    with pytest.raises(AssertionError):
        guard(tmp_path / "page.md")


def test_every_command_is_documented() -> None:
    """Every command, and every visible option of `run`, is mentioned in docs/."""
    text = " ".join(span for page in ROOT.glob("docs/*.md") for span in spans(page))
    run = [p for p in COMMANDS["run"].params if isinstance(p, click.Option) and not p.hidden]
    for name in [f"netcore {command}" for command in COMMANDS] + [p.opts[0] for p in run]:
        assert name in text, name


def test_columns_and_types_are_the_tables() -> None:
    """The tables in docs/tables.md have the columns of the frames, in order, with their types."""
    stated = [
        {row["column"].strip("`"): row["type"] for row in rows} for _, rows in tables(TABLES) if "column" in rows[0]
    ]
    declared = [TRIALS, CURVE, WEIGHTS, CONFIRMATION, AUDIT]
    assert stated == declared
    assert [list(table) for table in stated] == [list(table) for table in declared]


def snippets(page: Path) -> str:
    """Return all Python of a page."""
    return "\n".join(block.text for block in blocks(page) if block.language == "python")


def printed(code: str, folder: Path) -> str:
    """Run Python in a folder and return what it prints."""
    with chdir(folder), redirect_stdout(StringIO()) as said:
        exec(code, {})  # noqa: S102  # our own documentation
    return said.getvalue()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run `netcore run digits` in a new folder; return the folder and the output."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(ROOT / "studies", folder / "studies")
    done = netcore_command("run", "digits", "--workers", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_records_fields_are_documented(mixed: tuple[StudySpec, Path, StudyTables]) -> None:
    """docs/results.md lists the fields of a real record's record.json in order, and the names of its arrays."""
    with np.load(mixed[1] / "mixed" / "trials" / "000000.npz", allow_pickle=False) as record:
        fields = list(json.loads(record["record.json"]))
        arrays = {name for name in record.files if not name.startswith("preprocessing")} - {"record.json"}
    rows = next(rows for _, rows in tables(RESULTS) if "field of `record.json`" in rows[0])
    assert [row["field of `record.json`"].strip("`") for row in rows] == fields
    assert arrays <= set(spans(RESULTS))


@pytest.mark.slow
@same_numbers
def test_the_readme_shows_the_real_outcome(digits: tuple[Path, str]) -> None:
    """`netcore run digits` ends with the lines in the README, except for times."""
    (shown,) = [block.text for block in blocks(README) if block.text.startswith("digits: ")]
    without_times = re.compile(r" in [\d.]+ s$|busy [\d.]+%", re.MULTILINE)
    said = digits[1].replace("\N{NO-BREAK SPACE}", " ").strip()
    assert without_times.sub("", said).splitlines() == without_times.sub("", shown).splitlines()


@pytest.mark.slow
@same_numbers
def test_the_snippets_of_results_print_what_is_shown(digits: tuple[Path, str]) -> None:
    """The Python and the sync in docs/results.md print what the page shows; Optuna knows the best trial."""
    command = [sys.executable, "-c", snippets(RESULTS)]  # a process of its own: it sets MLflow's address
    said = subprocess.run(command, cwd=digits[0], capture_output=True, text=True, check=True).stdout.splitlines()
    assert f"For the digits study this prints `{said[0]}`." in RESULTS.read_text(encoding="utf-8")
    assert said[1] == "52"
    synced = netcore_command("sync", "digits", cwd=digits[0]).stdout
    assert Block("console", f"$ netcore sync digits\n{synced}") in blocks(RESULTS)


@pytest.mark.slow
@same_numbers
def test_the_questions_are_answered_in_three_lines(digits: tuple[Path, str]) -> None:
    """Each block of Python in docs/tables.md after the first has three lines and prints what is shown below it."""
    first, *questions = [block.text for block in blocks(TABLES) if block.language == "python"]
    shown = [block.text for block in blocks(TABLES) if not block.language]
    assert [len(question.splitlines()) for question in questions] == [3] * len(shown) == [3] * 4
    said = re.sub(r" +$", "", printed("\nprint('#')\n".join([first, *questions]), digits[0]), flags=re.MULTILINE)
    assert said.split("#\n")[1:] == shown


@pytest.mark.slow
def test_the_readmes_questions_are_answered(digits: tuple[Path, str]) -> None:
    """The README's three lines of pandas run."""
    (code,) = [block.text for block in blocks(README) if "load_study(" in block.text]
    assert "course defaults" in printed(code, digits[0])


def test_the_final_model_works_as_shown(tmp_path: Path) -> None:
    """The first command and the Python without MLflow in docs/model.md run on a shortened study of the same data."""
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    path = tmp_path / "studies" / "table_example.toml"
    text = path.read_text(encoding="utf-8").replace("trials = 60", "trials = 2").replace("epochs = 40", "epochs = 13")
    path.write_text(text + "[confirm]\nfinalists = 1\nseeds = 1\n", encoding="utf-8")
    run_study(path, results=tmp_path / "results", workers=1)
    shown = next(block.text for block in blocks(MODEL) if block.language == "console")
    command, said = re.fullmatch(r"\$ netcore (.*)\n([^$]*)", shown).groups()  # type: ignore[union-attr]
    done = netcore_command(*command.split(), cwd=tmp_path)
    assert done.stderr + done.stdout == said
    code = "".join(block.text for block in blocks(MODEL) if block.language == "python" and "mlflow" not in block.text)
    assert printed(code, tmp_path).startswith("['ash', 'beech', 'larch', 'oak'] val_loss\n")


def test_the_house_is_as_it_is_drawn() -> None:
    """The tree in ARCHITECTURE.md has every module of netcore, and no other; `__init__.py` stands for its package."""
    text = next(block.text for block in blocks(ARCHITECTURE) if block.text.startswith("netcore/\n"))
    folders, drawn = [""], set()
    for line in text.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders[depth:] = [name]
        path = "".join(folders)
        assert (ROOT / path).exists(), path
        if path.endswith((".py", ".jinja", ".css", ".js", ".mplstyle")):
            drawn.add(path)
    there = [file for kind in ("py", "jinja", "css", "js", "mplstyle") for file in ROOT.glob(f"netcore/**/*.{kind}")]
    packages = {file.relative_to(ROOT).as_posix() for file in ROOT.glob("netcore/**/__init__.py")}
    assert drawn - packages == {file.relative_to(ROOT).as_posix() for file in there} - packages
