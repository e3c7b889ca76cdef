"""Claims about netcore.question.spec and its reading: what a study file may say, and the answer to each mistake."""

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path

import pydantic
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from netcore.data import SOURCES
from netcore.errors import InputError
from netcore.question.hyperparameters import HYPERPARAMETERS
from netcore.question.reading import LARGEST
from netcore.question.space_section import Range
from netcore.question.spec import StudySpec, json_schema, load_spec

ROOT = Path(__file__).parents[1]
STUDY_FILES = sorted((ROOT / "studies").glob("*.toml"))

WHOLE: dict[str, dict[str, str]] = {
    "study": {"seed": "0", "trials": "4"},
    "data": {"source": "'iris'"},
    "training": {"epochs": "5", "batch_size": "10"},
    "space": {
        "learning_rate": "{ low = 1e-3, high = 1.0, log = true }",
        "hidden_size": "[4, 8]",
        "reg": "{ low = 0, high = 0.1 }",
        "learning_rate_decay": "0.9",
    },
}


def toml(changes: Mapping[str, str | None] | None = None, *, more: str = "") -> str:
    """Give a study file: a plain one, with some of its values changed, left out (None) or added, and more behind."""
    tables: dict[str, dict[str, str]] = {name: dict(table) for name, table in WHOLE.items()}
    for key, value in (changes or {}).items():
        table, _, name = key.partition(".")
        if value is None:
            del tables[table][name]
        else:
            tables.setdefault(table, {})[name] = value
    lines = (f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in table.items()) for name, table in tables.items())
    return "".join(lines) + more


def load(folder: Path, content: str | bytes, name: str = "x.toml") -> StudySpec:
    """Read a study file with this content."""
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_spec(file)


def mistakes(folder: Path, content: str | bytes, name: str = "x.toml") -> list[str]:
    """Give the lines that a study file with mistakes is answered with, without the folder; none where it is right."""
    try:
        load(folder, content, name)
    except InputError as error:
        assert error.exit_code == 2  # noqa: PT017  # a mistake may be none
        lines = str(error).split("\n")
        assert len(lines) == len(error.problems)  # noqa: PT017
        return [line.replace(f"{folder}/", "") for line in lines]
    return []


# What is right


@pytest.mark.parametrize("file", STUDY_FILES, ids=lambda file: file.stem)
def test_every_study_file_loads(file: Path) -> None:
    """Each file in studies/ is right, bears its file's name, and keeps its exact bytes."""
    spec = load_spec(file)
    assert spec.name == file.stem
    assert spec.text == file.read_bytes()


@pytest.mark.parametrize("file", STUDY_FILES, ids=lambda file: file.stem)
def test_every_study_file_opens_with_its_question(file: Path) -> None:
    """Each file in studies/ begins with its question, its command, the time it takes and what to expect."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line[:11] for line in lines[:4]] == ["# Question:", "# Command: ", "# Takes:   ", "# Expect:  "]


def test_a_name_is_looked_up_in_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a study is the file of that name in ./studies."""
    monkeypatch.chdir(ROOT)
    assert load_spec("digits") == load_spec(ROOT / "studies" / "digits.toml")


def test_defaults(tmp_path: Path) -> None:
    """What a study file may leave out has these values."""
    spec = load(tmp_path, toml({"study.seed": None, "study.trials": None, "training.epochs": None}))
    assert spec.model_dump(exclude={"space"}) == {
        "study": {
            "name": "x",
            "seed": 0,
            "trials": 100,
            "metric": "val_loss",
            "sampler": "tpe",
            "window": 8,
            "weights": "best",
            "max_failures": 3,
            "trial_timeout": 3600.0,
        },
        "data": {
            "source": "iris",
            "validation": 0.2,
            "folds": None,
            "test": 0.2,
            "seed": 0,
            "standardize": "feature",
        },
        "training": {"epochs": 30, "batch_size": 10, "dtype": "float32"},
        "stopping": None,
        "start": (),
        "confirm": {"finalists": 3, "seeds": 10},
    }


def test_tables_may_be_left_out(tmp_path: Path) -> None:
    """Only [data] and [space] must be given."""
    text = toml()
    text = text[text.index("[data]") : text.index("[training]")] + text[text.index("[space]") :]
    spec = load(tmp_path, text)
    assert (spec.study.trials, spec.training.batch_size, spec.name) == (100, 100, "x")


def test_three_forms_of_a_hyperparameter(tmp_path: Path) -> None:
    """A table is a range, a list a choice, a bare number fixes; a number may be written without a dot."""
    space = load(tmp_path, toml({"space.reg": "0", "space.learning_rate": "[1, 0.5]"})).space
    assert space.reg == 0.0
    assert type(space.reg) is float
    assert space.learning_rate == (1.0, 0.5)
    assert space.hidden_size == (4, 8)
    ranged = load(tmp_path, toml()).space.learning_rate
    assert isinstance(ranged, Range)
    assert (ranged.low, ranged.high, ranged.log) == (1e-3, 1.0, True)


@pytest.mark.parametrize("name", ["learning_rate", "reg"])
def test_a_range_of_numbers_written_whole(tmp_path: Path, name: str) -> None:
    """`{ low = 1, high = 10 }` is a range of all numbers between, not of whole ones, unless it is of hidden_size."""
    ranged = getattr(load(tmp_path, toml({f"space.{name}": "{ low = 1, high = 10 }"})).space, name)
    assert (type(ranged.low), type(ranged.high)) == (float, float)


def test_a_range_of_hidden_size_is_whole(tmp_path: Path) -> None:
    """The bounds of hidden_size stay whole numbers."""
    ranged = load(tmp_path, toml({"space.hidden_size": "{ low = 1, high = 10, log = true }"})).space.hidden_size
    assert isinstance(ranged, Range)
    assert (type(ranged.low), type(ranged.high)) == (int, int)


def test_frozen(tmp_path: Path) -> None:
    """A spec does not change."""
    spec = load(tmp_path, toml())
    with pytest.raises(pydantic.ValidationError):
        spec.study.seed = 3  # type: ignore[misc]  # that it may not is the claim


def test_start_trials(tmp_path: Path) -> None:
    """A [[start]] table inside the space is right, its bounds included; what [space] fixes may be left out or said."""
    inside = "[[start]]\nlearning_rate = 1.0\nhidden_size = 8\nreg = 0\n"
    spec = load(tmp_path, toml(more=inside + inside + "learning_rate_decay = 0.9\n"))
    assert [start.learning_rate_decay for start in spec.start] == [None, 0.9]


# What is wrong: one mistake, one line

GRID = {"study.sampler": "'grid'", "space.learning_rate": "[0.1, 1]", "space.reg": "0"}
START = "[[start]]\nlearning_rate = 0.1\nhidden_size = 4\n"
NAME_RULE = "a name is 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit"
LEAVE_OUT = "leave that rung out, or train longer"
SWAP = "swap or change them; one number alone fixes a hyperparameter"
DATA = ("BundledData", "IdxData", "Cifar10Data", "ArraysData", "TableData")
TABLE = {"data.source": "'table'", "data.path": "'x.csv'", "data.target": "'kind'"}
STANDARDIZE = "data.standardize: must be 'feature', 'pixel-mean' or 'none', got "
PART = "data.validation: must be a share above 0 and below 1, or a number of rows from 1 on, got "
STUDY_KEYS = "max_failures, metric, name, sampler, seed, trial_timeout, trials, weights, window"

ONE_MISTAKE: list[tuple[dict[str, str | None], str]] = [
    # unknown keys
    ({"study.trails": "3"}, "study.trails: unknown key; did you mean 'trials'?"),
    ({"study.zzz": "3"}, f"study.zzz: unknown key; known: {STUDY_KEYS}"),
    ({"stoping.rungs": "[1]"}, "stoping: unknown key; did you mean 'stopping'?"),
    (
        {"space.learning_rat": "1"},
        "space.learning_rat: unknown key; did you mean 'learning_rate' or 'learning_rate_decay'?",
    ),
    ({"space.reg": "{ low = 0, high = 1, lo = 1 }"}, "space.reg.lo: unknown key; did you mean 'low' or 'log'?"),
    ({"space.reg": "{ low = 0, high = 1, fixed = 1 }"}, "space.reg.fixed: unknown key; known: high, log, low"),
    # missing
    ({"data.source": None}, "data.source: must be given, got nothing; add it; docs/study-file.md shows how"),
    ({"space.reg": None}, "space.reg: must be given, got nothing; add it; docs/study-file.md shows how"),
    ({"space.reg": "{ low = 1 }"}, "space.reg.high: must be given, got nothing; add it; docs/study-file.md shows how"),
    # types
    ({"study.seed": "'0'"}, "study.seed: must be a valid integer, got '0'"),
    ({"study.trials": "true"}, "study.trials: must be a valid integer, got true"),
    ({"study.name": "3"}, "study.name: must be a valid string, got 3"),
    ({"study.trial_timeout": "'1 h'"}, "study.trial_timeout: must be a valid number, got '1 h'"),
    ({"data.source": "1"}, "data.source: unknown data source, got 1; known: " + ", ".join(sorted(SOURCES))),
    ({"data.validation": "[0.2]"}, "data.validation: must be a valid number, got [0.2]"),
    ({"space.learning_rate": "'0.1'"}, "space.learning_rate: must be a valid number, got '0.1'"),
    ({"space.hidden_size": "[4, 8.5]"}, "space.hidden_size[1]: must be a valid integer, got 8.5"),
    ({"space.reg": "{ low = 1, high = 2, log = 1 }"}, "space.reg.log: must be a valid boolean, got 1"),
    ({"stopping.rungs": "3"}, "stopping.rungs: must be a list, got 3"),
    # ranges
    ({"space.reg": "{ low = 0.1, high = 0.01 }"}, f"space.reg: `low < high` must hold, got low=0.1, high=0.01; {SWAP}"),
    (
        {"space.reg": "{ low = 0.0, high = 1, log = true }"},
        "space.reg: a range with `log = true` starts above 0, got low=0.0; raise `low`, or leave `log` out",
    ),
    ({"space.reg": "[0.1, 0.2, 0.1]"}, "space.reg: a list names each value once, got [0.1, 0.2, 0.1]"),
    ({"space.reg": "[]"}, "space.reg: must have at least one value, got []"),
    # bounds of the hyperparameters, in each of the three forms
    ({"space.hidden_size": "0"}, "space.hidden_size: must be greater than or equal to 1, got 0"),
    (
        {"space.hidden_size": "{ low = 0, high = 9 }"},
        "space.hidden_size.low: must be greater than or equal to 1, got 0",
    ),
    ({"space.reg": "{ low = -1.0, high = 1.0 }"}, "space.reg.low: must be greater than or equal to 0, got -1.0"),
    ({"space.learning_rate_decay": "1.5"}, "space.learning_rate_decay: must be less than or equal to 1, got 1.5"),
    (
        {"space.learning_rate_decay": "{ low = 0.5, high = 1.5 }"},
        "space.learning_rate_decay.high: must be less than or equal to 1, got 1.5",
    ),
    ({"space.learning_rate": "{ low = 0.0, high = 1.0 }"}, "space.learning_rate.low: must be greater than 0, got 0.0"),
    # NaN and infinity
    ({"space.learning_rate": "inf"}, "space.learning_rate: must be a finite number, got inf"),
    ({"space.reg": "[nan]"}, "space.reg[0]: must be a finite number, got nan"),
    ({"data.test": "nan"}, "data.test: must be a finite number, got nan"),
    ({"stopping.rungs": "[1]", "stopping.keep": "nan"}, "stopping.keep: must be a finite number, got nan"),
    # the other bounds
    ({"study.seed": "-1"}, "study.seed: must be greater than or equal to 0, got -1"),
    ({"study.trials": "0"}, "study.trials: must be greater than or equal to 1, got 0"),
    ({"study.trial_timeout": "0"}, "study.trial_timeout: must be greater than 0, got 0"),
    ({"training.epochs": "0"}, "training.epochs: must be greater than or equal to 1, got 0"),
    ({"data.validation": "0.0"}, "data.validation: must be greater than 0, got 0.0"),
    ({"data.test": "1.0"}, "data.test: must be less than 1, got 1.0"),
    (
        {"data.validation": "0.5", "data.test": "0.5"},
        "data: `validation + test < 1` must hold, got validation=0.5, test=0.5",
    ),
    # choices of words
    (
        {"study.sampler": "'tpee'"},
        "study.sampler: must be 'tpe', 'gp', 'random', 'qmc' or 'grid', got 'tpee'",
    ),
    (
        {"study.metric": "'accuracy'"},
        "study.metric: must be 'val_loss' or 'val_accuracy', got 'accuracy'",
    ),
    (
        {"training.dtype": "'float16'"},
        "training.dtype: must be 'float32' or 'float64', got 'float16'",
    ),
    ({"data.source": "'digit'"}, "data.source: unknown data source, got 'digit'; did you mean 'digits'?"),
    ({"data.source": "'zzz'"}, "data.source: unknown data source, got 'zzz'; known: " + ", ".join(sorted(SOURCES))),
    ({"data.standardize": "'features'"}, STANDARDIZE + "'features'"),
    ({"data.path": "'x.csv'"}, "data.path: unknown key; known: folds, seed, source, standardize, test, validation"),
    ({"data.validation": "0"}, PART + "0"),
    ({"data.validation": "-3"}, PART + "-3"),
    ({"data.validation": "true"}, "data.validation: must be a valid number, got true"),
    ({"data.source": "'idx'"}, "data.path: must be given, got nothing; add it; docs/study-file.md shows how"),
    ({"data.source": "'idx'", "data.path": "''"}, "data.path: string must have at least 1 character, got ''"),
    (
        {"data.source": "'idx'", "data.path": "'x'", "data.test": "0.2"},
        "data.test: unknown key; known: folds, path, seed, source, standardize, validation",
    ),
    (
        {"data.source": "'cifar10'", "data.path": "'x'", "data.train_limit": "0"},
        "data.train_limit: must be greater than or equal to 1, got 0",
    ),
    (
        {"data.source": "'table'", "data.path": "'x.csv'"},
        "data.target: must be given, got nothing; add it; docs/study-file.md shows how",
    ),
    ({**TABLE, "data.drop": "'a'"}, "data.drop: must be a list, got 'a'"),
    ({**TABLE, "data.drop": "['a', 3]"}, "data.drop[1]: must be a valid string, got 3"),
    (
        {**TABLE, "data.drop": "['a', 'kind']"},
        "data: the target cannot be in `drop`, got 'kind'; take it out of `drop`",
    ),
    ({**TABLE, "data.tarket": "'a'"}, "data.tarket: unknown key; did you mean 'target' or 'test'?"),
    (
        {**TABLE, "data.standardize": "'none'"},
        "data.standardize: unknown key; known: drop, folds, path, seed, source, target, test, validation",
    ),
    # stopping
    (
        {"stopping.rungs": "[2, 5]"},
        ("stopping.rungs: a rung must come before the last epoch, got 5 with training.epochs=5; " + LEAVE_OUT),
    ),
    ({"stopping.rungs": "[2, 2]"}, "stopping.rungs: rungs are epochs in rising order, got [2, 2]"),
    ({"stopping.rungs": "[1]", "stopping.keep": "0.0"}, "stopping.keep: must be greater than 0, got 0.0"),
    ({"stopping.rungs": "[1]", "stopping.keep": "1"}, "stopping.keep: must be less than 1, got 1"),
    ({"stopping.rungs": "[1]", "stopping.after": "0"}, "stopping.after: must be greater than or equal to 1, got 0"),
    # the grid
    (
        {**GRID, "space.reg": "{ low = 0.1, high = 1.0 }"},
        (
            'space.reg: sampler = "grid" needs a list of values or a bare number, got a range'
            "; list the values to try, or take another sampler"
        ),
    ),
    (
        {**GRID, "study.trials": "5"},
        "study.trials: the grid has 4 combinations and 0 start trials, got trials=5; set trials = 4",
    ),
]


def test_the_plain_file_is_right(tmp_path: Path) -> None:
    """The file that the mistakes are put into has none of its own."""
    assert mistakes(tmp_path, toml()) == []
    assert mistakes(tmp_path, toml(GRID)) == []
    assert mistakes(tmp_path, toml(more=START + "reg = 0.1\n")) == []


@pytest.mark.parametrize(("changes", "line"), ONE_MISTAKE, ids=[line.partition(",")[0] for _, line in ONE_MISTAKE])
def test_one_mistake(tmp_path: Path, changes: dict[str, str | None], line: str) -> None:
    """Each mistake is answered by one line: place, rule, value, remedy."""
    assert mistakes(tmp_path, toml(changes)) == [f"x.toml: {line}"]


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (START, "start[0].reg: must be in [0.0, 0.1], got nothing"),
        (START + "reg = 0.2\n", "start[0].reg: must be in [0.0, 0.1], got 0.2"),
        (START.replace("4", "5") + "reg = 0\n", "start[0].hidden_size: must be one of [4, 8], got 5"),
        (
            START + "reg = 0\nlearning_rate_decay = 1\n",
            "start[0].learning_rate_decay: must be 0.9, which [space] fixes, got 1.0",
        ),
    ],
)
def test_start_outside_the_space(tmp_path: Path, start: str, line: str) -> None:
    """A [[start]] trial that the space does not hold is refused."""
    (said,) = mistakes(tmp_path, toml(more=start))
    assert said.startswith(f"x.toml: {line}; ")


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (START + "reg = 0\nrg = 1\n", "start[0].rg: unknown key; did you mean 'reg'?"),
        (START + "reg = -1\n", "start[0].reg: must be greater than or equal to 0, got -1"),
        (START + "reg = 'a'\n", "start[0].reg: must be a valid number, got 'a'"),
        (START + "reg = nan\n", "start[0].reg: must be a finite number, got nan"),
    ],
)
def test_start_with_a_wrong_value(tmp_path: Path, start: str, line: str) -> None:
    """A [[start]] table is checked like every other."""
    assert mistakes(tmp_path, toml(more=start)) == [f"x.toml: {line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("start = 3\n" + toml(), "start: must be a list, got 3"),
        ("start = [3]\n" + toml(), "start[0]: must be a table, got 3"),
        ("stopping = 3\n" + toml(), "stopping: must be a table, got 3"),
        ("range = 3\n" + toml(), "range: unknown key; did you mean 'training'?"),
        ("fixed = 3\n" + toml(), "fixed: unknown key; known: confirm, data, space, start, stopping, study, training"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, line: str) -> None:
    """A value in a table's place, or a key of no table, is a mistake like any other."""
    assert mistakes(tmp_path, text) == [f"x.toml: {line}"]


# All mistakes at once


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Every mistake is reported, in one go and in the order of the tables."""
    text = toml(
        {
            "study.window": "0",
            "study.trails": "1",
            "data.source": "'x'",
            "training.epochs": "'3'",
            "space.hidden_size": "[0, -1]",
            "space.reg": "{ low = 2, high = 1 }",
            "space.learning_rate_decay": None,
        }
    )
    assert [line.removeprefix("x.toml: ").partition(":")[0] for line in mistakes(tmp_path, text)] == [
        "study.window",
        "study.trails",
        "data.source",
        "training.epochs",
        "space.hidden_size[0]",
        "space.hidden_size[1]",
        "space.reg",
        "space.learning_rate_decay",
    ]


def test_all_start_mistakes_at_once(tmp_path: Path) -> None:
    """Every value of every [[start]] table that is outside the space is reported, in one go."""
    wrong = "[[start]]\nlearning_rate = 9\nhidden_size = 5\nreg = 0\n"
    places = [line.removeprefix("x.toml: ").partition(":")[0] for line in mistakes(tmp_path, toml(more=wrong + wrong))]
    assert places == [
        "start[0].learning_rate",
        "start[0].hidden_size",
        "start[1].learning_rate",
        "start[1].hidden_size",
    ]


def test_all_mistakes_between_tables_at_once(tmp_path: Path) -> None:
    """Mistakes that only two tables together show are reported in one go too."""
    text = toml(
        {"study.sampler": "'grid'", "stopping.rungs": "[9]"},
        more="[[start]]\nlearning_rate = 9\nhidden_size = 4\nreg = 0\n",
    )
    places = [line.removeprefix("x.toml: ").partition(":")[0] for line in mistakes(tmp_path, text)]
    assert sorted(places) == ["space.learning_rate", "space.reg", "start[0].learning_rate", "stopping.rungs"]


# The file itself


def test_missing_file(tmp_path: Path) -> None:
    """A path where no file is, is refused by that path."""
    for name in ("x.toml", "below/x", "."):
        path = tmp_path / name
        with pytest.raises(InputError) as caught:
            load_spec(path)
        assert str(caught.value) == f"{path}: there is no such study file"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("digit", "did you mean 'digits'?"),
        ("zzz", "known: digits, iris, smoke"),
        ("", "known: digits, iris, smoke"),
        ("..", "known: digits, iris, smoke"),
        ("\0", "known: digits, iris, smoke"),
        ("d" * 300, "known: digits, iris, smoke"),
    ],
)
def test_unknown_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, remedy: str) -> None:
    """A name that is not in ./studies is refused and the nearest names are shown, however long it is."""
    for study in ("digits", "iris", "smoke"):
        (tmp_path / "studies").mkdir(exist_ok=True)
        (tmp_path / "studies" / f"{study}.toml").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_spec(name)
    place = ascii(name)[1:-1] or "''"
    assert str(caught.value) == f"{place}: there is no study of this name in studies/; {remedy}"


def test_unknown_name_where_there_are_no_studies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where ./studies holds nothing, the remedy is to give a path."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_spec("digits")
    expected = "digits: there is no study of this name in studies/; give the path of a TOML file"
    assert str(caught.value) == expected


def test_path_longer_than_the_system_takes(tmp_path: Path) -> None:
    """A path that no file can have is no such study file, like any other."""
    with pytest.raises(InputError, match="there is no such study file"):
        load_spec(tmp_path / ("d" * 300 + ".toml"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[study]\nseed = \n", "Invalid value (at line 2, column 8)"),
        ("[study\n", "Expected ']' at the end of a table declaration (at line 1, column 7)"),
        ("seed = 1\nseed = 2\n", "Cannot overwrite a value (at line 2, column 9)"),
        ("a = 2020-02-31\n", "Invalid date or datetime (at line 1, column 5)"),
        ("a = 'b", """Expected "'" (at end of document)"""),
        ("a = 1\0", "Expected newline or end of document after a statement (at line 1, column 6)"),
    ],
)
def test_syntax_errors(tmp_path: Path, content: str, what: str) -> None:
    """What is not TOML is refused with line and column."""
    assert mistakes(tmp_path, content) == [f"x.toml: is not valid TOML: {what}"]


@pytest.mark.parametrize(
    ("content", "byte", "offset"),
    [(b"\xff\xfe[study]", "0xff", 0), (b"# caf\xe9\n", "0xe9", 5), (b"a='\xed\xa0\x80'", "0xed", 3)],
)
def test_not_utf8(tmp_path: Path, content: bytes, byte: str, offset: int) -> None:
    """What is not UTF-8 is refused; the first wrong byte is named."""
    assert mistakes(tmp_path, content) == [f"x.toml: must be UTF-8 text, got byte {byte} at offset {offset}"]


def test_size(tmp_path: Path) -> None:
    """A file of 64 KiB is read, one with a byte more is refused."""
    text = toml()
    assert mistakes(tmp_path, text + "#" * (LARGEST - len(text))) == []
    too_large = "x.toml: a study file has at most 65536 bytes, got more; is this the right file?"
    assert mistakes(tmp_path, text + "#" * (LARGEST + 1 - len(text))) == [too_large]
    assert mistakes(tmp_path, b"\xff" * (LARGEST + 1)) == [too_large]


NESTED = {
    "arrays": "a = " + "[" * 30_000,
    "arrays that close": "a = " + "[" * 30_000 + "]" * 30_000,
    "inline tables": "a = " + "{ a = " * 10_000,
    "a dotted key": "a" + ".a" * 3_000 + " = 1",
    "a dotted table": "[a" + ".a" * 3_000 + "]",
    "below a known table": "[space.learning_rate" + ".a" * 3_000 + "]",
    "below a start table": "[[start]]\nreg" + ".a" * 3_000 + " = 1",
}


@pytest.mark.parametrize("form", NESTED)
def test_absurd_nesting(tmp_path: Path, form: str) -> None:
    """Nesting that no study file has is refused in one line, whatever it is made of."""
    text = toml({"space.learning_rate": None}) if "known" in form else toml()
    text = text + NESTED[form] if NESTED[form].startswith("[") else NESTED[form] + "\n" + text
    assert mistakes(tmp_path, text) == ["x.toml: is nested too deeply; a study file has tables of plain values"]


@pytest.mark.parametrize("digits", ["9" * 5000, "0x" + "f" * 5000, "-0b" + "1" * 20_000])
@pytest.mark.parametrize(
    "place", ["study.seed", "study.trials", "space.learning_rate", "space.hidden_size", "study.zzz"]
)
def test_absurd_numbers(tmp_path: Path, place: str, digits: str) -> None:
    """Whole numbers beyond what TOML promises are refused in one line, not a traceback."""
    assert len(mistakes(tmp_path, toml({place: digits}))) == 1


@pytest.mark.parametrize("place", ["study.trials", "training.epochs", "space.hidden_size", "study.window"])
def test_numbers_that_no_float_can_hold(tmp_path: Path, place: str) -> None:
    """A whole number that the search could not compute with is refused before it starts."""
    assert len(mistakes(tmp_path, toml({place: "1" + "0" * 400}))) == 1


@pytest.mark.parametrize("key", [r'"a\nb"', r'"a\u2028b"', r'"\u001b[31ma"', r'"\r"', '""', '"a b"', '"ä"'])
@pytest.mark.parametrize("table", ["", "[study]\n", "[[start]]\n", "[space.reg]\n"])
def test_odd_keys(tmp_path: Path, table: str, key: str) -> None:
    """An unknown key is shown in one printable line, whatever characters it has."""
    text = toml({"space.reg": None}) if "reg" in table else toml()
    content = text + f"{table}{key} = 1\n" if table else f"{key} = 1\n{text}"
    if table == "[study]\n":
        content = text.replace("[study]\n", f"[study]\n{key} = 1\n")
    lines = [line for line in mistakes(tmp_path, content) if "unknown key" in line]
    assert len(lines) == 1
    assert lines[0].isprintable()


# Names


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "0", "a" * 64, "digits.2"])
def test_names_that_are_right(tmp_path: Path, name: str) -> None:
    """A name has 1 to 64 letters, digits, `.`, `_` and `-`."""
    assert load(tmp_path, toml({"study.name": f'"{name}"'})).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "a/b", "", ".", "..", "/tmp/x", "a" * 65, "a\\b", "~", "-x", ".hidden", "_superseded", "a b"),  # noqa: S108
        *("a\0", "a\n", "\n", "а", "a．b", "ａ", "١", "naïve", "a:b", "x*", "\u202ea"),  # noqa: RUF001
    ],
)
def test_names_that_leave_the_results_folder(tmp_path: Path, name: str) -> None:
    """A name that is a path, hidden, too long, or has look-alike letters is refused."""
    said = mistakes(tmp_path, toml({"study.name": json.dumps(name)}))
    assert said == [f"x.toml: study.name: {NAME_RULE}, got {name!r}"]


@pytest.mark.parametrize("file", ["a b.toml", "über.toml", "-x.toml", ".toml"])
def test_file_names_that_make_no_study_name(tmp_path: Path, file: str) -> None:
    """A file whose own name is no study name needs `name`."""
    (said,) = mistakes(tmp_path, toml(), file)
    assert said.startswith(f"{file}: study.name: {NAME_RULE}, got ")
    assert load(tmp_path, toml({"study.name": "'x'"}), file).name == "x"


# with_trials, identity, schema


def test_with_trials(tmp_path: Path) -> None:
    """Another number of trials gives an otherwise equal spec that keeps its bytes; None changes nothing."""
    spec = load(tmp_path, toml({"stopping.rungs": "[1, 2]"}, more=START + "reg = 0.1\n"))
    assert spec.with_trials(None) is spec
    more = spec.with_trials(200)
    assert more.study.trials == 200
    assert more.text == spec.text
    assert more.identity() == spec.identity()
    assert more.with_trials(4) == spec
    assert spec.study.trials == 4


def test_with_trials_is_checked(tmp_path: Path) -> None:
    """A number of trials that the file could not have is refused like in the file, by the study's name."""
    spec = load(tmp_path, toml(GRID))
    for trials, said in {
        5: "x: study.trials: the grid has 4 combinations and 0 start trials, got trials=5; set trials = 4",
        0: "x: study.trials: must be greater than or equal to 1, got 0",
    }.items():
        with pytest.raises(InputError) as caught:
            spec.with_trials(trials)
        assert str(caught.value) == said


IDENTITY_CHANGES: dict[str, tuple[str, bool]] = {
    "study.trials": ("5", False),
    "study.weights": ("'all'", False),
    "study.max_failures": ("0", False),
    "study.trial_timeout": ("1.0", False),
    "study.name": ("'y'", True),
    "study.seed": ("1", True),
    "study.metric": ("'val_accuracy'", True),
    "study.sampler": ("'random'", True),
    "study.window": ("1", True),
    "data.source": ("'digits'", True),
    "data.validation": ("0.3", True),
    "data.test": ("0.3", True),
    "data.folds": ("3", True),
    "data.seed": ("1", True),
    "data.standardize": ("'none'", True),
    "data.path": ("'other'", True),
    "data.train_limit": ("9", True),
    "data.features": ("'Z'", True),
    "data.labels": ("'z'", True),
    "data.target": ("'other'", True),
    "data.drop": ("['a']", True),
    "training.epochs": ("6", True),
    "training.batch_size": ("9", True),
    "training.dtype": ("'float64'", True),
    "space.learning_rate": ("{ low = 1e-3, high = 1.0 }", True),
    "space.hidden_size": ("[8, 4]", True),
    "space.reg": ("0", True),
    "space.learning_rate_decay": ("0.8", True),
    "stopping.rungs": ("[2]", True),
    "stopping.keep": ("0.4", True),
    "stopping.after": ("3", True),
    "confirm.finalists": ("2", False),
    "confirm.seeds": ("1", False),
}


OF_A_SOURCE: dict[str, dict[str, str]] = {
    "data.path": {"data.source": "'idx'", "data.path": "'x'"},
    "data.train_limit": {"data.source": "'cifar10'", "data.path": "'x'"},
    "data.features": {"data.source": "'arrays'", "data.path": "'x.npz'"},
    "data.labels": {"data.source": "'arrays'", "data.path": "'x.npz'"},
    "data.target": TABLE,
    "data.drop": TABLE,
}
"""What else a file says that has a key which not every source has."""


@pytest.mark.parametrize("key", IDENTITY_CHANGES)
def test_identity(tmp_path: Path, key: str) -> None:
    """The question is another one whenever a setting changes, but those of the search's limits and what follows it."""
    value, another = IDENTITY_CHANGES[key]
    stopping: dict[str, str | None] = {"stopping.rungs": "[1]", **OF_A_SOURCE.get(key, {})}
    before, after = load(tmp_path, toml(stopping)), load(tmp_path, toml({**stopping, key: value}))
    assert before.model_dump() != after.model_dump()
    assert (before.identity() != after.identity()) is another


def test_start_is_part_of_the_identity(tmp_path: Path) -> None:
    """Other start trials are another question."""
    assert load(tmp_path, toml(more=START + "reg = 0\n")).identity() != load(tmp_path, toml()).identity()


def test_every_key_is_in_the_identity_test() -> None:
    """The identity's test covers every key that a study file may have."""
    keys = {
        f"{table}.{key}"
        for table, field in StudySpec.model_fields.items()
        if table != "start"
        for section in ([f"{name}Section" for name in DATA] if table == "data" else [f"{table.capitalize()}Section"])
        for key in json.loads(json_schema())["$defs"][section]["properties"]
        if field
    }
    assert keys == set(IDENTITY_CHANGES)


def test_identity_survives_json(tmp_path: Path) -> None:
    """Written as JSON and read again, the identity is the same."""
    spec = load(tmp_path, toml({"stopping.rungs": "[1]"}, more=START + "reg = 0\n"))
    dumped = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert StudySpec.identity_of(dumped) == spec.identity()


@pytest.mark.parametrize("part", ["7", "0.25"])
def test_a_number_of_rows_survives_json(tmp_path: Path, part: str) -> None:
    """A whole number stays one, a share stays one, and what was written as JSON is read again."""
    spec = load(tmp_path, toml({"data.validation": part, "data.source": "'idx'", "data.path": "'x'"}))
    dumped = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert repr(dumped["data"]["validation"]) == part
    assert StudySpec.model_validate(dumped) == StudySpec.model_validate(spec.model_dump())


def test_schema_describes_every_key() -> None:
    """The JSON Schema is one, forbids unknown keys, and says of each key what it is for."""
    schema = json.loads(json_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == set(StudySpec.model_fields)
    sections = {name: node for name, node in schema["$defs"].items() if name.endswith("Section")}
    assert set(sections) == {
        f"{name}Section" for name in (*DATA, "Study", "Training", "Space", "Stopping", "Start", "Confirm")
    }
    for name, section in sections.items():
        assert section["additionalProperties"] is False
        if name != "StartSection":
            assert all(node.get("description") for node in section["properties"].values())
    assert (
        set(sections["SpaceSection"]["properties"])
        == set(HYPERPARAMETERS)
        == set(sections["StartSection"]["properties"])
    )
    sources = schema["properties"]["data"]["discriminator"]["mapping"]
    assert set(sources) == set(SOURCES)


def test_schema_bounds_ranges() -> None:
    """An editor learns from the schema that a range's ends keep the hyperparameter's bounds and type."""
    schema = json.loads(json_schema())
    text = json.dumps(schema["$defs"]["SpaceSection"]["properties"]["hidden_size"])
    ranges = [node for name, node in schema["$defs"].items() if name.startswith("Range") and name in text]
    assert [node["properties"]["low"].get("type") for node in ranges] == ["integer"]
    assert [node["properties"]["low"].get("minimum") for node in ranges] == [1]


# Anything else

SCALARS = (
    st.none().map(lambda _: "nan")
    | st.integers(-(2**70), 2**70).map(str)
    | st.floats().map(lambda x: repr(x) if "e" not in repr(x) or "." in repr(x) else repr(x).replace("e", ".0e"))
    | st.booleans().map(lambda b: str(b).lower())
    | st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=True) if text.isascii() else '"x"')
    | st.dates(date(1, 1, 1)).map(str)
    | st.times().map(time.isoformat)
    | st.datetimes().map(datetime.isoformat)
)
KEYS = st.sampled_from(
    [
        *("study", "data", "training", "space", "stopping", "start", "low", "high", "log", "range", "choice", "fixed"),
        *("name", "seed", "trials", "metric", "sampler", "window", "source", "epochs", "rungs", "keep", "after", "zzz"),
        *HYPERPARAMETERS,
    ]
) | st.text(max_size=5)


def _table(items: dict[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(key)} = {value}" for key, value in items.items()) + "}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + ", ".join(items) + "]")
        | st.dictionaries(KEYS, inner, max_size=4).map(_table)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=5).map(_table) | VALUES, max_size=6).map(
    lambda items: "".join(f"{json.dumps(key)} = {value}\n" for key, value in items.items())
)
FUZZ = settings(
    deadline=None, derandomize=True, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(DOCUMENTS)
def test_any_toml_is_read_or_refused(tmp_path: Path, text: str) -> None:
    """Whatever TOML says, it is a study or an InputError of printable lines, one for each problem."""
    assert all(line.isprintable() for line in mistakes(tmp_path, text.encode("utf-8", "surrogatepass")))


@FUZZ
@given(st.data())
def test_any_value_in_a_right_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever stands in one place of a file that is right otherwise, it is a study or an InputError."""
    table = data.draw(st.sampled_from([*WHOLE, "stopping"]))
    key = data.draw(st.sampled_from(list(WHOLE.get(table, {"rungs": "", "keep": ""}))))
    assert all(line.isprintable() for line in mistakes(tmp_path, toml({f"{table}.{key}": data.draw(VALUES)})))


@FUZZ
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"")
@example(b"\xef\xbb\xbf" + toml().encode())
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever bytes a file has, it is a study or an InputError of printable lines."""
    assert all(line.isprintable() for line in mistakes(tmp_path, content))
