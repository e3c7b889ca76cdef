"""Claims about `netcore predict`: each format gets the model's own numbers, each mistake one line and exit code 2."""

import csv
import gzip
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import quick
from formats import idx_file, pixels
from models import TREE_KEYS, TREES, run_study_with, trained

from netcore.final.model import MODEL, Model, read_model
from netcore.final.prediction import as_csv, read_rows

FORMATS = ["csv", "parquet", "pictures.npy", "npz", "named.npz", "idx3-ubyte.gz"]
"""Endings of file names."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two studies that have a model, `digits` and `trees`, and one that has none. Look only."""
    made = tmp_path_factory.mktemp("predict")
    run_study_with(made, "digits", 'source = "digits"', trained("digits")[0])
    data = f'source = "table", path = "{TREES}", target = "species", drop = ["plot"]'
    run_study_with(made, "trees", data, trained("table", **TREE_KEYS)[0])
    shutil.copytree(made / "results" / "digits", made / "results" / "bare")
    (made / "results" / "bare" / MODEL).unlink()
    return made


def model_of(folder: Path, study: str) -> Model:
    """Return a study's model."""
    return read_model(folder / "results" / study / MODEL)


def write_pictures(path: Path, rows: "np.ndarray[Any, np.dtype[np.uint8]]", model: Model) -> Path:
    """Write pictures of shape (n, 8, 8) in the format that the name says."""
    flat = rows.reshape(len(rows), -1)
    frame = pd.DataFrame(flat, columns=list(model.feature_names))
    if path.name.endswith(".csv"):
        frame.to_csv(path, index=False)
    elif path.name.endswith(".parquet"):
        frame.to_parquet(path)
    elif path.name.endswith("npy"):
        np.save(path, rows if "pictures" in path.name else flat)
    elif path.name.endswith("npz"):
        np.savez(path, anything=rows) if "named" in path.name else np.savez(path, y=rows[:, 0, 0], X=rows)
    else:
        path.write_bytes(gzip.compress(idx_file(rows)) if path.suffix == ".gz" else idx_file(rows))
    return path


def predictions(text: str) -> tuple[list[str], list[str], "np.ndarray[Any, np.dtype[np.float32]]"]:
    """Take predictions apart: header, classes, probabilities."""
    header, *lines = csv.reader(io.StringIO(text))
    assert [line[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    return header, [line[1] for line in lines], np.array([line[2:] for line in lines]).astype(np.float32)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_models_numbers(folder: Path, tmp_path: Path, form: str) -> None:
    """The CSV has the class and, to the bit, the probabilities of each row; it names the classes."""
    model, rows = model_of(folder, "digits"), pixels(7, 8, 8)
    path = write_pictures(tmp_path / f"new.{form}", rows, model)
    done = quick("predict", "digits", path, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    header, classes, p2 = predictions(done.stdout)
    assert header == ["row", "class", *(f"p_{number}" for number in range(10))]
    assert p2.tobytes() == model.probabilities(rows).tobytes()
    assert classes == [model.class_names[number] for number in p2.argmax(axis=1)]


def test_a_table_may_have_other_columns_and_they_are_named(folder: Path, tmp_path: Path) -> None:
    """Target, dropped and unknown columns are not looked at, which is said; cells may be missing."""
    frame = pd.read_csv(TREES).head(9).assign(note="x")
    frame.to_csv(tmp_path / "new.csv", index=False)
    done = quick("predict", "trees", tmp_path / "new.csv", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "note: ignored: 'plot', 'species', 'note'\n")
    header, classes, p2 = predictions(done.stdout)
    assert header == ["row", "class", "p_ash", "p_beech", "p_larch", "p_oak"]
    assert p2.tobytes() == model_of(folder, "trees").probabilities(frame).tobytes()
    assert set(classes) <= {"ash", "beech", "larch", "oak"}


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a net that learned from codes, some of which look like numbers, and from yes and no."""
    made = tmp_path_factory.mktemp("codes") / "codes.csv"
    lines = [
        f"{('01', '1', '02', 'A1')[row % 4]},{('true', 'false')[row // 4 % 2]},{'ab'[row % 2]}" for row in range(80)
    ]
    made.write_text("\n".join(["code,ripe,kind", *lines]) + "\n", encoding="utf-8")
    return trained("table", path=str(made), target="kind")[0]


@pytest.mark.parametrize("others", ["", ",,\n", "2.5,false,a\n"])
@pytest.mark.parametrize("row", ["01,true,a", "1,TRUE,a"])
def test_a_row_is_read_the_same_among_any_others(codes: Model, tmp_path: Path, row: str, others: str) -> None:
    """What looks like a number is the category that it was in training, whatever else, gaps too, is in the file."""
    path = tmp_path / "new.csv"
    path.write_text(f"code,ripe,kind\n{row}\n{others}", encoding="utf-8")
    code, ripe, _ = row.split(",")
    expected = codes.prepared(pd.DataFrame({"code": [code], "ripe": [ripe.lower() == "true"]}))
    assert codes.prepared(read_rows(path, codes))[0].tolist() == expected[0].tolist()
    unknown = [name.endswith(": unknown") for name in codes.feature_names]
    assert not expected[0][unknown].any()


def test_out_is_written_whole(folder: Path, tmp_path: Path) -> None:
    """`--out` gets what standard output would; a file that is there is replaced."""
    shown = quick("predict", "trees", TREES, cwd=folder)
    out = tmp_path / "predictions.csv"
    for _ in range(2):
        done = quick("predict", "trees", TREES, "--out", out, "--results", "results", cwd=folder)
        assert (done.returncode, done.stdout) == (0, f"{out}: 400 rows\n")
        assert out.read_text(encoding="utf-8") == shown.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    """`netcore predict … | head -1` ends without a traceback."""
    command = f"{sys.executable} -m netcore predict trees {TREES} | head -1"
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S602
    assert (done.stdout, done.stderr) == (
        "row,class,p_ash,p_beech,p_larch,p_oak\n",
        "note: ignored: 'plot', 'species'\n",
    )


def test_names_that_csv_would_break_are_quoted() -> None:
    """Commas, quotes, line ends and spaces at an end come back from a CSV reader as they were."""
    names = ('a,"b"', "two\nlines", "a\rreturn", " space", "=1+1", "ä", "")
    model, _ = trained("iris")
    wide = Model(
        model.params._replace(W2=np.zeros((8, 7), np.float32), b2=np.arange(7, dtype=np.float32)),
        model.preprocessing,
        names,
        model.feature_names,
        None,
        {},
    )
    p2 = np.eye(7, dtype=np.float32)
    header, *lines = csv.reader(io.StringIO(as_csv(wide, p2).decode(), newline=""))
    assert header == ["row", "class", *(f"p_{name}" for name in names)]
    assert [line[1] for line in lines] == list(names)


def test_no_mlflow_is_needed(folder: Path) -> None:
    """Predicting imports neither MLflow nor Optuna, scikit-learn or matplotlib."""
    code = (
        "import sys; from netcore.cli import commands;"
        f"commands(['predict', 'trees', {str(TREES)!r}], standalone_mode=False);"
        "sys.exit(bool({'mlflow', 'optuna', 'sklearn', 'matplotlib'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)


def refusal(folder: Path, *arguments: object) -> str:
    """Return the one line with which a command is refused."""
    done = quick("predict", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("note: "))
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_a_study_or_model_that_is_not_there_is_one_line(folder: Path) -> None:
    """The line says what makes it, or shows the nearest name."""
    assert refusal(folder, "digit", TREES) == (
        "digit: there is no study of this name in results/; did you mean 'digits'?"
    )
    assert refusal(folder, "bare", TREES) == (
        "results/bare/model.npz: there is no model yet; `netcore run bare` or `netcore confirm bare` makes it"
    )


WRONG_PICTURES: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("nothing.csv", None, "there is no such file; rows are .csv, .parquet, .npy, .npz or IDX"),
    "empty": ("empty.npy", b"", "is empty; write it again with numpy.save or numpy.savez"),
    "no archive": ("none.npz", b"hello", "cannot be read as .npz (File is not a zip file)"),
    "no IDX": ("other.gz", gzip.compress(b"hello"), "must begin with the magic number 00000803, got 68656c6c"),
}


@pytest.mark.parametrize("case", WRONG_PICTURES)
def test_a_file_that_is_no_array_of_the_models_is_one_line(folder: Path, tmp_path: Path, case: str) -> None:
    """The line names the file and what is wrong with it; nothing is written."""
    name, content, line = WRONG_PICTURES[case]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    out = tmp_path / "out.csv"
    assert refusal(folder, "digits", path, "--out", out).startswith(f"{path}: {line}")
    assert not out.exists()


def test_an_archive_with_several_arrays_needs_an_x(folder: Path, tmp_path: Path) -> None:
    """Which array holds the rows is not guessed: the line names those that are there."""
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 64)), b=np.zeros(2))
    assert refusal(folder, "digits", tmp_path / "two.npz") == (
        f"{tmp_path}/two.npz: X: the file has no such array; known: a, b"
    )


def test_every_missing_column_has_its_line(folder: Path, tmp_path: Path) -> None:
    """Several missing columns are said at once."""
    (tmp_path / "new.csv").write_bytes(b"a,height_m\n1,2\n")
    done = quick("predict", "trees", tmp_path / "new.csv", cwd=folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 6
    assert done.stderr.startswith(f"error: {tmp_path}/new.csv: column 'girth_cm': is missing")
    assert done.stderr.endswith(f"error: {tmp_path}/new.csv: columns: 1 more are missing\n")


def test_a_place_that_is_not_for_writing_is_one_line(folder: Path, tmp_path: Path) -> None:
    """A folder, a missing folder, the rows themselves, a name that is too long: one line, and nothing is changed."""
    rows = Path(shutil.copy(TREES, tmp_path / "rows.csv"))
    before = rows.read_bytes()
    assert refusal(folder, "trees", rows, "--out", tmp_path).startswith(
        f"{tmp_path}: cannot be written (Is a directory)"
    )
    assert refusal(folder, "trees", rows, "--out", tmp_path / "no" / "out.csv") == (
        f"{tmp_path}/no/out.csv: its folder does not exist; create {tmp_path}/no, or choose another --out"
    )
    assert refusal(folder, "trees", rows, "--out", rows) == (
        f"{rows}: is the file with the rows; choose another with --out"
    )
    assert refusal(folder, "trees", rows, "--out", tmp_path / ("x" * 250)).endswith(  # longer while it is written
        "x: cannot be written (File name too long); choose another place with --out, or change its permissions"
    )
    assert rows.read_bytes() == before
