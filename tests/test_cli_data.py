"""Claims about `netcore data`: it lists the sources, says what is in one, and answers mistakes like all commands."""

from pathlib import Path

import pytest
from commands import quick
from formats import write_idx

from netcore.data import SOURCES, load_dataset

ROOT = Path(__file__).parents[1]

IRIS = """\
iris
  rows      150: 90 train, 30 validation, 30 test
  inputs    4, prepared by feature
  classes   3
  digest    {digest}

  class            train  validation        test       share
  setosa              30          10          10       33.3%
  versicolor          30          10          10       33.3%
  virginica           30          10          10       33.3%
"""

FOLDS = """\
iris
  rows      150: 120 in folds, 30 test
  folds     4, each with 90 rows to train, 30 to validate
  inputs    4, prepared by feature
  classes   3
  digest    {digest}

  class         in folds        test       share
  setosa              40          10       33.3%
  versicolor          40          10       33.3%
  virginica           40          10       33.3%
"""


def test_list_names_every_source(tmp_path: Path) -> None:
    """Each source has a line; below stand the folder where files are looked for, and what it has of each image set."""
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"")
    done = quick("data", "list", cwd=tmp_path, NETCORE_DATA=str(tmp_path))
    sources, sets = (part.splitlines() for part in done.stdout.split("\n\n"))
    assert [line.split()[0] for line in sources] == list(SOURCES)
    assert sets == [
        f"netcore looks for files beside the study file, then in {tmp_path} (or NETCORE_DATA), which has",
        "cifar-10-batches-py  0 of 8 files; `netcore data fetch cifar10` gets the rest",
        "mnist                1 of 4 files; `netcore data fetch mnist` gets the rest",
        "fashion-mnist        0 of 4 files; `netcore data fetch fashion-mnist` gets the rest",
    ]


def test_info_of_a_source(tmp_path: Path) -> None:
    """Rows, inputs, classes and their balance in each part, digest."""
    done = quick("data", "info", "iris", cwd=tmp_path)
    digest = load_dataset("iris", validation=0.2, test=0.2, seed=0).digest
    assert (done.returncode, done.stdout, done.stderr) == (0, IRIS.format(digest=digest), "")


def test_info_of_files(tmp_path: Path) -> None:
    """A source with files is told where they are."""
    write_idx(tmp_path / "tiny")
    done = quick("data", "info", "idx", "--path", "tiny", cwd=tmp_path)
    assert "rows      42: 24 train, 6 validation, 12 test\n  inputs    12 (4 x 3 x 1)" in done.stdout


def test_info_of_a_study_with_folds(tmp_path: Path) -> None:
    """With folds it says which rows they share, how many each trains on and is judged by, and which they do not see."""
    write_idx(tmp_path / "tiny", rows=31)
    study = (ROOT / "studies" / "iris.toml").read_text().replace('source = "iris"', 'source = "iris"\nfolds = 4')
    (tmp_path / "mine.toml").write_text(study)
    done = quick("data", "info", "mine.toml", cwd=tmp_path)
    digest = load_dataset("iris", seed=0, folds=4).digest
    assert (done.returncode, done.stdout, done.stderr) == (0, FOLDS.format(digest=digest), "")
    tiny = 'source = "idx"\npath = "tiny"\nfolds = 4'
    (tmp_path / "mine.toml").write_text(study.replace('source = "iris"\nfolds = 4', tiny))
    done = quick("data", "info", "mine.toml", cwd=tmp_path)
    assert "  rows      43: 31 in folds, 12 test\n" in done.stdout
    assert "  folds     4, each with 23 to 24 rows to train, 7 to 8 to validate\n" in done.stdout


def test_info_of_a_study_file(tmp_path: Path) -> None:
    """Of a study file it is what its [data] says, with paths relative to it."""
    done = quick("data", "info", ROOT / "studies" / "table_example.toml", cwd=tmp_path)
    assert "trees\n  rows      400: 240 train, 80 validation, 80 test\n  inputs    17, prepared by table" in done.stdout


def test_a_column_left_out_is_said(tmp_path: Path) -> None:
    """`info`, `check` and `run` say which columns the preparation left out."""
    rows = "".join(f"{n * n % 7},1,{'ab'[n % 2]}\n" for n in range(40))
    (tmp_path / "x.csv").write_text(f"u,v,kind\n{rows}")
    note = "column 'v' has one value in all training rows and is left out"
    done = quick("data", "info", "table", "--path", "x.csv", "--target", "kind", cwd=tmp_path)
    assert f"  note      x: {note}" in done.stdout
    study = (ROOT / "studies" / "wine.toml").read_text().replace('source = "wine"', 'source = "table"\npath = "x.csv"')
    study = study.replace('"x.csv"', '"x.csv"\ntarget = "kind"').replace("trials = 60", "trials = 1")
    (tmp_path / "mine.toml").write_text(study)
    for command in ("check", "run"):
        done = quick(command, "mine.toml", cwd=tmp_path)
        assert done.returncode == 0
        assert f"note: x: {note}\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["irs"], "error: data.source: unknown data source, got 'irs'; did you mean 'iris'?\n"),
        (["nowhere.toml"], "error: nowhere.toml: there is no such study file\n"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], said: str) -> None:
    """One line, exit code 2."""
    done = quick("data", "info", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """The line names the path, where it was looked for, and the remedy."""
    done = quick("data", "info", "idx", "--path", "mnist", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: mnist: there is no such file or folder; put it into {tmp_path} or ")
    assert done.stderr.endswith("or set NETCORE_DATA to the folder that contains it\n")
