"""Claims about netcore.question: the content of a study file, and the error for each kind of mistake in it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pydantic
import pytest

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
    """Return a study file with some values changed, left out (None) or added, followed by `more`."""
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
    """Return the spec of a study file with this content."""
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_spec(file)


def mistakes(folder: Path, content: str | bytes, name: str = "x.toml") -> list[str]:
    """Return the lines of the error for a study file, without the folder; none if the file has no mistake."""
    try:
        load(folder, content, name)
    except InputError as error:
        assert error.exit_code == 2  # noqa: PT017  # a mistake may be none
        lines = str(error).split("\n")
        assert len(lines) == len(error.problems)  # noqa: PT017
        return [line.replace(f"{folder}/", "") for line in lines]
    return []


def places(folder: Path, content: str) -> list[str]:
    """Return the places of all mistakes in a study file."""
    return [line.removeprefix("x.toml: ").partition(":")[0] for line in mistakes(folder, content)]


# Valid files


@pytest.mark.parametrize("file", STUDY_FILES, ids=lambda file: file.stem)
def test_every_study_file_loads(file: Path) -> None:
    """Each file in studies/ is valid, has its file's name, keeps its bytes, and opens with its four comments."""
    spec = load_spec(file)
    assert (spec.name, spec.text) == (file.stem, file.read_bytes())
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line[:11] for line in lines[:4]] == ["# Question:", "# Command: ", "# Takes:   ", "# Expect:  "]


def test_a_name_is_looked_up_in_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a study is the file of that name in ./studies."""
    monkeypatch.chdir(ROOT)
    assert load_spec("digits") == load_spec(ROOT / "studies" / "digits.toml")


def test_three_forms_of_a_hyperparameter(tmp_path: Path) -> None:
    """A table is a range, a list is a choice, a bare number fixes; a float may be written without a dot."""
    space = load(tmp_path, toml({"space.reg": "0", "space.learning_rate": "[1, 0.5]"})).space
    assert (repr(space.reg), space.learning_rate, space.hidden_size) == ("0.0", (1.0, 0.5), (4, 8))
    ranged = load(tmp_path, toml()).space.learning_rate
    assert isinstance(ranged, Range)
    assert (ranged.low, ranged.high, ranged.log) == (1e-3, 1.0, True)


@pytest.mark.parametrize(("name", "kind"), [("learning_rate", float), ("reg", float), ("hidden_size", int)])
def test_a_range_has_the_type_of_its_hyperparameter(tmp_path: Path, name: str, kind: type) -> None:
    """`{ low = 1, high = 10 }` is a range of floats, except for hidden_size."""
    ranged = getattr(load(tmp_path, toml({f"space.{name}": "{ low = 1, high = 10 }"})).space, name)
    assert (type(ranged.low), type(ranged.high)) == (kind, kind)


def test_frozen(tmp_path: Path) -> None:
    """A spec cannot be changed."""
    spec = load(tmp_path, toml())
    with pytest.raises(pydantic.ValidationError):
        spec.study.seed = 3  # type: ignore[misc]  # that this is refused is the claim


def test_start_trials(tmp_path: Path) -> None:
    """A [[start]] table may contain the bounds of a range; what [space] fixes may be left out or repeated."""
    inside = "[[start]]\nlearning_rate = 1.0\nhidden_size = 8\nreg = 0\n"
    spec = load(tmp_path, toml(more=inside + inside + "learning_rate_decay = 0.9\n"))
    assert [start.learning_rate_decay for start in spec.start] == [None, 0.9]


# One mistake, one line

GRID = {"study.sampler": "'grid'", "space.learning_rate": "[0.1, 1]", "space.reg": "0"}
START = "[[start]]\nlearning_rate = 0.1\nhidden_size = 4\n"
NAME_RULE = "a name is 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit"
DATA = ("BundledData", "IdxData", "Cifar10Data", "ArraysData", "TableData")
TABLE = {"data.source": "'table'", "data.path": "'x.csv'", "data.target": "'kind'"}
KNOWN_SOURCES = ", ".join(sorted(SOURCES))
ADD = "must be given; add it; docs/study-file.md shows how"

ONE_MISTAKE: list[tuple[dict[str, str | None], str]] = [
    # unknown keys: of a table, of a range, of no table, of another data source
    ({"study.trails": "3"}, "study.trails: unknown key; did you mean 'trials'?"),
    (
        {"study.zzz": "3"},
        (
            "study.zzz: unknown key; known: max_failures, metric, name, sampler, seed, trial_timeout, "
            "trials, weights, window"
        ),
    ),
    ({"stoping.rungs": "[1]"}, "stoping: unknown key; did you mean 'stopping'?"),
    ({"space.reg": "{ low = 0, high = 1, fixed = 1 }"}, "space.reg.fixed: unknown key; known: high, log, low"),
    ({"data.path": "'x.csv'"}, "data.path: unknown key; known: folds, seed, source, standardize, test, validation"),
    ({**TABLE, "data.tarket": "'a'"}, "data.tarket: unknown key; did you mean 'target' or 'test'?"),
    # missing keys
    ({"data.source": None}, f"data.source: unknown data source, got nothing; known: {KNOWN_SOURCES}"),
    ({"space.reg": None}, f"space.reg: {ADD}"),
    ({"space.reg": "{ low = 1 }"}, f"space.reg.high: {ADD}"),
    ({"data.source": "'idx'"}, f"data.path: {ADD}"),
    # types, in each form of a value
    ({"study.trials": "true"}, "study.trials: must be a valid integer, got true"),
    ({"study.name": "3"}, "study.name: must be a valid string, got 3"),
    ({"data.source": "1"}, f"data.source: unknown data source, got 1; known: {KNOWN_SOURCES}"),
    ({"data.validation": "true"}, "data.validation: must be a valid number, got true"),
    ({"space.learning_rate": "'0.1'"}, "space.learning_rate: must be a valid number, got '0.1'"),
    ({"space.hidden_size": "[4, 8.5]"}, "space.hidden_size[1]: must be a valid integer, got 8.5"),
    ({"space.reg": "{ low = 1, high = 2, log = 1 }"}, "space.reg.log: must be a valid boolean, got 1"),
    ({"stopping.rungs": "3"}, "stopping.rungs: must be a list, got 3"),
    ({**TABLE, "data.drop": "['a', 3]"}, "data.drop[1]: must be a valid string, got 3"),
    # bounds, in each form of a value
    ({"space.hidden_size": "0"}, "space.hidden_size: must be greater than or equal to 1, got 0"),
    ({"space.reg": "{ low = -1.0, high = 1.0 }"}, "space.reg.low: must be greater than or equal to 0, got -1.0"),
    ({"space.learning_rate_decay": "1.5"}, "space.learning_rate_decay: must be less than or equal to 1, got 1.5"),
    ({"space.learning_rate": "[0.0]"}, "space.learning_rate[0]: must be greater than 0, got 0.0"),
    ({"space.reg": "[]"}, "space.reg: must have at least one value, got []"),
    ({"space.learning_rate": "inf"}, "space.learning_rate: must be a finite number, got inf"),
    ({"space.reg": "[nan]"}, "space.reg[0]: must be a finite number, got nan"),
    ({"study.seed": "-1"}, "study.seed: must be greater than or equal to 0, got -1"),
    ({"study.trials": "0"}, "study.trials: must be greater than or equal to 1, got 0"),
    ({"study.trial_timeout": "0"}, "study.trial_timeout: must be greater than 0, got 0"),
    ({"training.epochs": "0"}, "training.epochs: must be greater than or equal to 1, got 0"),
    ({"data.validation": "0"}, "data.validation: must be greater than or equal to 1, got 0"),
    ({"data.folds": "1"}, "data.folds: must be greater than or equal to 2, got 1"),
    ({"data.validation": "0.0"}, "data.validation: must be greater than 0, got 0.0"),
    ({"data.test": "1.0"}, "data.test: must be less than 1, got 1.0"),
    ({"data.source": "'idx'", "data.path": "''"}, "data.path: String should have at least 1 character, got ''"),
    ({"stopping.rungs": "[1]", "stopping.keep": "1"}, "stopping.keep: must be less than 1, got 1"),
    ({"stopping.rungs": "[1]", "stopping.after": "0"}, "stopping.after: must be greater than or equal to 1, got 0"),
    # words
    ({"study.sampler": "'tpee'"}, "study.sampler: must be 'tpe', 'gp', 'random', 'qmc' or 'grid', got 'tpee'"),
    ({"study.metric": "'accuracy'"}, "study.metric: must be 'val_loss' or 'val_accuracy', got 'accuracy'"),
    ({"data.source": "'digit'"}, "data.source: unknown data source, got 'digit'; did you mean 'digits'?"),
    # own rules
    (
        {"space.reg": "{ low = 0.1, high = 0.01 }"},
        (
            "space.reg: `low < high` must hold, got low=0.1, high=0.01"
            "; swap or change them; one number alone fixes a hyperparameter"
        ),
    ),
    (
        {"space.reg": "{ low = 0.0, high = 1, log = true }"},
        "space.reg: a range with `log = true` starts above 0, got low=0.0; raise `low`, or leave `log` out",
    ),
    ({"space.reg": "[0.1, 0.2, 0.1]"}, "space.reg: a list names each value once, got [0.1, 0.2, 0.1]"),
    (
        {"data.validation": "0.5", "data.test": "0.5"},
        "data: `validation + test < 1` must hold, got validation=0.5, test=0.5",
    ),
    (
        {"data.folds": "3", "data.validation": "0.3"},
        ("data: `validation` and `folds` exclude one another, got validation=0.3, folds=3; leave one of them out"),
    ),
    (
        {**TABLE, "data.drop": "['a', 'kind']"},
        "data: the target cannot be in `drop`, got 'kind'; take it out of `drop`",
    ),
    (
        {"stopping.rungs": "[2, 5]"},
        (
            "stopping.rungs: a rung must come before the last epoch, got 5 with training.epochs=5"
            "; leave that rung out, or train longer"
        ),
    ),
    ({"stopping.rungs": "[2, 2]"}, "stopping.rungs: rungs are epochs in rising order, got [2, 2]"),
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
    """The files that the mistakes are put into have none of their own."""
    for text in (toml(), toml(GRID), toml(more=START + "reg = 0.1\n")):
        assert mistakes(tmp_path, text) == []


@pytest.mark.parametrize(("changes", "line"), ONE_MISTAKE, ids=[line.partition(",")[0] for _, line in ONE_MISTAKE])
def test_one_mistake(tmp_path: Path, changes: dict[str, str | None], line: str) -> None:
    """Each mistake gives one line: place, rule, value, remedy."""
    assert mistakes(tmp_path, toml(changes)) == [f"x.toml: {line}"]


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("", "reg: must be in [0.0, 0.1], got nothing; change it, or widen the range"),
        ("reg = 0.2\n", "reg: must be in [0.0, 0.1], got 0.2; change it, or widen the range"),
        ("reg = 0\nhidden_size = 5\n", "hidden_size: must be one of [4, 8], got 5; change it, or add it to the list"),
        (
            "reg = 0\nlearning_rate_decay = 1\n",
            "learning_rate_decay: must be 0.9, which [space] fixes, got 1.0; leave it out",
        ),
        ("reg = 0\nrg = 1\n", "rg: unknown key; did you mean 'reg'?"),
        ("reg = -1\n", "reg: must be greater than or equal to 0, got -1"),
    ],
)
def test_start_mistakes(tmp_path: Path, start: str, line: str) -> None:
    """A [[start]] trial outside the space is refused, and its table is checked like every other."""
    base = START.replace("hidden_size = 4\n", "") if "hidden_size" in start else START
    assert mistakes(tmp_path, toml(more=base + start)) == [f"x.toml: start[0].{line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("start = 3\n", "start: must be a list, got 3"),
        ("start = [3]\n", "start[0]: must be a table, got 3"),
        ("stopping = 3\n", "stopping: must be a table, got 3"),
        ("range = 3\n", "range: unknown key; did you mean 'training'?"),
        ("fixed = 3\n", "fixed: unknown key; known: confirm, data, space, start, stopping, study, training"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, line: str) -> None:
    """A value in place of a table, and a key outside all tables, are mistakes like any other."""
    assert mistakes(tmp_path, text + toml()) == [f"x.toml: {line}"]


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """All mistakes of all tables are reported at once, in the order of the tables."""
    wrong = {
        "study.window": "0",
        "study.trails": "1",
        "data.source": "'x'",
        "training.epochs": "'3'",
        "space.hidden_size": "[0, -1]",
        "space.reg": "{ low = 2, high = 1 }",
        "space.learning_rate_decay": None,
    }
    lists = {"space.hidden_size": ["space.hidden_size[0]", "space.hidden_size[1]"]}
    assert places(tmp_path, toml(wrong)) == [place for key in wrong for place in lists.get(key, [key])]


def test_all_contradictions_at_once(tmp_path: Path) -> None:
    """Settings that are valid alone but contradict one another are reported at once, in every [[start]] table."""
    wrong = "[[start]]\nlearning_rate = 9\nhidden_size = 5\nreg = 0\n"
    text = toml({"study.sampler": "'grid'", "stopping.rungs": "[9]"}, more=wrong + wrong)
    starts = [f"start[{number}].{name}" for number in (0, 1) for name in ("learning_rate", "hidden_size")]
    assert sorted(places(tmp_path, text)) == ["space.learning_rate", "space.reg", *sorted(starts), "stopping.rungs"]


# The file itself


@pytest.mark.parametrize("name", ["x.toml", "below/x", ".", "d" * 300 + ".toml"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    """A path without a file is refused, also if no file can have it."""
    with pytest.raises(InputError) as caught:
        load_spec(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: there is no such study file"


@pytest.mark.parametrize("name", ["digit", "zzz", "", "..", "\0", "d" * 300])
def test_unknown_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """A name that is not in ./studies is refused with the nearest names; without studies, the remedy is a path."""
    monkeypatch.chdir(tmp_path)
    line = f"{ascii(name)[1:-1] or repr('')}: there is no study of this name in studies/; "
    with pytest.raises(InputError) as caught:
        load_spec(name)
    assert str(caught.value) == line + "give the path of a TOML file"
    (tmp_path / "studies").mkdir()
    for study in ("digits", "iris"):
        (tmp_path / "studies" / f"{study}.toml").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        load_spec(name)
    assert str(caught.value) == line + ("did you mean 'digits'?" if name == "digit" else "known: digits, iris")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[study]\nseed = \n", "is not valid TOML: Invalid value (at line 2, column 8)"),
        (b"a = 'b", """is not valid TOML: Expected "'" (at end of document)"""),
        (b"\xff\xfe[study]", "must be UTF-8 text, got byte 0xff at offset 0"),
        (b"# caf\xe9\n", "must be UTF-8 text, got byte 0xe9 at offset 5"),
    ],
)
def test_not_toml(tmp_path: Path, content: bytes, what: str) -> None:
    """A file that is not TOML is refused with line and column, one that is not UTF-8 with the first wrong byte."""
    assert mistakes(tmp_path, content) == [f"x.toml: {what}"]


def test_size(tmp_path: Path) -> None:
    """A file of 64 KiB is read; one byte more is refused."""
    text = toml()
    assert mistakes(tmp_path, text + "#" * (LARGEST - len(text))) == []
    too_large = "x.toml: a study file has at most 65536 bytes, got more; is this the right file?"
    assert mistakes(tmp_path, text + "#" * (LARGEST + 1 - len(text))) == [too_large]


NESTED = {
    "arrays": "a = " + "[" * 30_000,
    "a dotted key": "a" + ".a" * 3_000 + " = 1",
    "below a known table": "[space.learning_rate" + ".a" * 3_000 + "]",
}


@pytest.mark.parametrize("form", NESTED)
def test_absurd_nesting(tmp_path: Path, form: str) -> None:
    """A file that is nested too deeply is refused in one line."""
    text = toml({"space.learning_rate": None}) if "known" in form else toml()
    text = text + NESTED[form] if NESTED[form].startswith("[") else NESTED[form] + "\n" + text
    assert mistakes(tmp_path, text) == ["x.toml: is nested too deeply; a study file has tables of plain values"]


@pytest.mark.parametrize("digits", ["1" + "0" * 400, "9" * 5000, "-0b" + "1" * 20_000])
@pytest.mark.parametrize("place", ["study.trials", "space.hidden_size", "study.zzz"])
def test_absurd_numbers(tmp_path: Path, place: str, digits: str) -> None:
    """A whole number of more than 64 bits is refused in one line."""
    assert len(mistakes(tmp_path, toml({place: digits}))) == 1


@pytest.mark.parametrize("key", [r'"a\nb"', r'"\u001b[31ma"', '""', '"ä"'])
@pytest.mark.parametrize("table", ["[start]", "[space.reg]"])
def test_odd_keys(tmp_path: Path, table: str, key: str) -> None:
    """An unknown key is shown in one printable line, whatever its characters are."""
    text = toml({"space.reg": None}) + f"{table.replace('[start]', '[[start]]')}\n{key} = 1\n"
    (line,) = [line for line in mistakes(tmp_path, text) if "unknown key" in line]
    assert line.isprintable()


# Names


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "0", "a" * 64])
def test_valid_names(tmp_path: Path, name: str) -> None:
    """A name has 1 to 64 letters, digits, `.`, `_` and `-`."""
    assert load(tmp_path, toml({"study.name": f'"{name}"'})).name == name


@pytest.mark.parametrize("name", ["../x", "/x", "", "..", "a" * 65, "a\\b", ".a", "-a", "a b", "a\0", "a\n", "а", "١"])  # noqa: RUF001
def test_names_that_leave_the_results_folder(tmp_path: Path, name: str) -> None:
    """A name that is a path, hidden or too long, or has look-alike letters, is refused."""
    said = mistakes(tmp_path, toml({"study.name": json.dumps(name)}))
    assert said == [f"x.toml: study.name: {NAME_RULE}, got {name!r}"]


@pytest.mark.parametrize("file", ["a b.toml", "über.toml", ".toml"])
def test_file_names_that_are_no_study_name(tmp_path: Path, file: str) -> None:
    """A file whose own name cannot be a study's name needs `name`."""
    (said,) = mistakes(tmp_path, toml(), file)
    assert said.startswith(f"{file}: study.name: {NAME_RULE}, got ")
    assert load(tmp_path, toml({"study.name": "'x'"}), file).name == "x"


# with_trials, identity, schema


def test_with_trials(tmp_path: Path) -> None:
    """Another number of trials returns an otherwise equal spec with the same bytes; None changes nothing."""
    spec = load(tmp_path, toml({"stopping.rungs": "[1, 2]"}, more=START + "reg = 0.1\n"))
    assert spec.with_trials(None) is spec
    more = spec.with_trials(200)
    assert (more.study.trials, more.text, more.identity()) == (200, spec.text, spec.identity())
    assert more.with_trials(4) == spec
    assert spec.study.trials == 4


def test_with_trials_is_checked(tmp_path: Path) -> None:
    """A number of trials that the file could not have is refused, by the study's name."""
    spec = load(tmp_path, toml(GRID))
    with pytest.raises(InputError, match=r"^x: study.trials: the grid has 4 combinations .*; set trials = 4$"):
        spec.with_trials(5)


MAY_CHANGE: dict[str, str] = {
    "study.trials": "5",
    "study.weights": "'all'",
    "study.max_failures": "0",
    "study.trial_timeout": "1.0",
    "confirm.finalists": "2",
    "confirm.seeds": "1",
}
IDENTITY: dict[str, str] = {
    "study.name": "'y'",
    "study.seed": "1",
    "study.metric": "'val_accuracy'",
    "study.sampler": "'random'",
    "study.window": "1",
    "data.source": "'digits'",
    "data.validation": "0.3",
    "data.test": "0.3",
    "data.folds": "3",
    "data.seed": "1",
    "data.standardize": "'none'",
    "data.path": "'other'",
    "data.train_limit": "9",
    "data.features": "'Z'",
    "data.labels": "'z'",
    "data.target": "'other'",
    "data.drop": "['a']",
    "training.epochs": "6",
    "training.batch_size": "9",
    "training.dtype": "'float64'",
    "space.learning_rate": "{ low = 1e-3, high = 1.0 }",
    "space.hidden_size": "[8, 4]",
    "space.reg": "0",
    "space.learning_rate_decay": "0.8",
    "stopping.rungs": "[2]",
    "stopping.keep": "0.4",
    "stopping.after": "3",
}
IDX, ARRAYS = ({"data.source": f"'{source}'", "data.path": "'x'"} for source in ("idx", "arrays"))
OF_A_SOURCE: dict[str, dict[str, str]] = {
    "data.path": IDX,
    "data.train_limit": {**IDX, "data.source": "'cifar10'"},
    "data.features": ARRAYS,
    "data.labels": ARRAYS,
    "data.target": TABLE,
    "data.drop": TABLE,
}
"""The other settings of a file with a key that not every source has."""


@pytest.mark.parametrize("key", [*IDENTITY, *MAY_CHANGE])
def test_identity(tmp_path: Path, key: str) -> None:
    """Every changed setting is another question, except the limits of the search and the confirmation."""
    stopping: dict[str, str | None] = {"stopping.rungs": "[1]", **OF_A_SOURCE.get(key, {})}
    changed = {**stopping, key: (IDENTITY | MAY_CHANGE)[key]}
    before, after = load(tmp_path, toml(stopping)), load(tmp_path, toml(changed))
    assert before.model_dump() != after.model_dump()
    assert (before.identity() != after.identity()) is (key in IDENTITY)


def test_every_key_is_in_the_identity_test() -> None:
    """The test of the identity covers every key that a study file may have."""
    schema = json.loads(json_schema())["$defs"]
    sections = {name: [f"{name.capitalize()}Section"] for name in StudySpec.model_fields if name != "start"}
    sections["data"] = [f"{name}Section" for name in DATA]
    keys = {f"{table}.{key}" for table, names in sections.items() for n in names for key in schema[n]["properties"]}
    assert keys == {*IDENTITY, *MAY_CHANGE}


@pytest.mark.parametrize("part", ["7", "0.25"])
def test_identity_survives_json(tmp_path: Path, part: str) -> None:
    """Written as JSON and read again, the spec and its identity, start trials included, are the same."""
    changes = {"stopping.rungs": "[1]", "data.validation": part, **IDX}
    spec = load(tmp_path, toml(changes, more=START + "reg = 0\n"))
    assert spec.identity() != load(tmp_path, toml(changes)).identity()
    dumped = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert repr(dumped["data"]["validation"]) == part
    assert StudySpec.identity_of(dumped) == spec.identity()
    assert StudySpec.model_validate(dumped) == StudySpec.model_validate(spec.model_dump())


def test_schema_describes_every_key() -> None:
    """The JSON Schema forbids unknown keys, describes each key, and states bounds and types of ranges."""
    schema = json.loads(json_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == set(StudySpec.model_fields)
    assert set(schema["properties"]["data"]["discriminator"]["mapping"]) == set(SOURCES)
    sections = {name: node for name, node in schema["$defs"].items() if name.endswith("Section")}
    tables = ("Study", "Training", "Space", "Stopping", "Start", "Confirm")
    assert set(sections) == {f"{name}Section" for name in (*DATA, *tables)}
    for name, section in sections.items():
        assert section["additionalProperties"] is False
        assert name == "StartSection" or all(node.get("description") for node in section["properties"].values())
    for name in ("SpaceSection", "StartSection"):
        assert set(sections[name]["properties"]) == set(HYPERPARAMETERS)
    text = json.dumps(sections["SpaceSection"]["properties"]["hidden_size"])
    (ranged,) = [node for name, node in schema["$defs"].items() if name.startswith("Range") and name in text]
    assert (ranged["properties"]["low"]["type"], ranged["properties"]["low"]["minimum"]) == ("integer", 1)
