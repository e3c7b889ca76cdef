"""Claims about the commands' answers to wrong input: one clear line, exit code 2, and nothing trained or written."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import netcore_command, quick, refused

import netcore
from studies import ARRAYS, study_text, write_study

HEAVY = {"mlflow", "optuna", "pandas", "matplotlib", "sklearn", "scipy", "numpy", "pydantic", "pyarrow", "rich"}
COMMANDS = "audit check confirm data list predict replay report run show sync ui verify"
STUDY = study_text(stopping="rungs = [2]")
NOTHING_WRITTEN = {"x.toml"}


def names(folder: Path) -> set[str]:
    """Return the names in a folder."""
    return {path.name for path in folder.iterdir()}


# Study files

WRONG: dict[str, tuple[str, str]] = {
    "the file": (
        "[study\n",
        "x.toml: is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 7)",
    ),
    "its parts together": (
        study_text(study="sampler = 'grid'", reg="0.0"),
        (
            'x.toml: space.learning_rate: sampler = "grid" needs a list of values or a bare number, got a range'
            "; list the values to try, or take another sampler"
        ),
    ),
    "the data": (
        study_text(training="batch_size = 91"),
        "x: training.batch_size: must be at most the 90 rows of the training set, got 91",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_study_file_runs_nothing(tmp_path: Path, what: str) -> None:
    """`run` and `check` answer a mistake in a study file by the same line, and neither folder nor database appears."""
    text, line = WRONG[what]
    (tmp_path / "x.toml").write_text(text)
    for command in ("run", "check"):
        assert refused(quick(command, "x.toml", cwd=tmp_path)) == line
    assert names(tmp_path) == NOTHING_WRITTEN


def test_the_command_itself(tmp_path: Path) -> None:
    """`python -m netcore` answers as the forked commands of the other tests do: here with all mistakes of a file."""
    write_study(tmp_path / "x.toml", study="window = 0, seed = -1", learning_rate_decay="2.0")
    one, other = (run("run", "x.toml", cwd=tmp_path) for run in (netcore_command, quick))
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert (one.returncode, one.stdout) == (2, "")
    assert one.stderr.splitlines() == [
        "error: x.toml: study.seed: must be greater than or equal to 0, got -1",
        "error: x.toml: study.window: must be greater than or equal to 1, got 0",
        "error: x.toml: space.learning_rate_decay: must be less than or equal to 1, got 2.0",
    ]
    assert names(tmp_path) == NOTHING_WRITTEN


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed here")
def test_a_sampler_that_is_not_installed(tmp_path: Path) -> None:
    """Without PyTorch `gp` is refused in one line, before anything is written."""
    write_study(tmp_path / "x.toml", study="sampler = 'gp'")
    said = refused(quick("run", "x.toml", cwd=tmp_path))
    assert said == "x: study.sampler: needs torch, which is not installed, got 'gp'; pip install 'netcore[gp]'"
    assert names(tmp_path) == NOTHING_WRITTEN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runn"], "there is no command 'runn'; did you mean 'run'?"),
        (["run"], "Missing argument 'STUDY'"),
        (["run", "x.toml", "--trials", "0"], "0 is not in the range x>=1"),
        (["show", "x", "--", "-1"], "-1 is not in the range x>=0"),
        (["check"], "give a STUDY, or --schema"),
        (["audit", "x", "--share", "nan"], "must be a number, got nan"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], said: str) -> None:
    """A command, option or argument that there is not is answered by the usage, exit code 2."""
    (tmp_path / "x.toml").write_text(STUDY)
    done = quick(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: ")
    assert f"Error: {said}" in done.stderr or f": {said}" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == NOTHING_WRITTEN


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("run x.toml --workers 100000", "workers: must be <= 1024, got 100000; one for each core is enough, here "),
        (
            "run x.toml --trials 5",
            "x: study.trials: the grid has 4 combinations and 0 start trials, got trials=5; set trials = 4",
        ),
        (
            "run x.toml --results x.toml/results",
            (
                "x.toml/results/x: cannot be written (Not a directory)"
                "; choose another folder with --results, or change its permissions"
            ),
        ),
        (f"list --results {'x' * 300}", f"{'x' * 300}: File name too long"),
    ],
)
def test_refused_options(tmp_path: Path, command: str, line: str) -> None:
    """A value of an option that cannot be is one line, before anything is trained."""
    write_study(tmp_path / "x.toml", study="sampler = 'grid', trials = 4", learning_rate="[0.1, 1.0]")
    assert refused(quick(*command.split(), cwd=tmp_path)).startswith(line)
    assert names(tmp_path) == NOTHING_WRITTEN


def test_results_by_the_environment(tmp_path: Path) -> None:
    """Without --results, NETCORE_RESULTS names the folder of the results."""
    said = quick("list", cwd=tmp_path, NETCORE_RESULTS="elsewhere").stdout
    assert said == "no studies in elsewhere; `netcore run digits` makes one\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_no_space_for_what_is_printed(tmp_path: Path) -> None:
    """A full disk behind the standard output is one line, and exit code 1: the input is not wrong."""
    with Path("/dev/full").open("w") as full:
        line = [sys.executable, "-m", "netcore", "check", "--schema"]
        done = subprocess.run(line, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: the system: No space left on device\n")


# Studies that have run


def test_show(ran: Path) -> None:
    """`show` says what a trial tried and gave, epoch by epoch."""
    done = quick("show", "x", "1", cwd=ran)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trial 1: finished, ")
    assert all(name in done.stdout for name in ("learning_rate", "hidden_size", "reg", "learning_rate_decay"))
    assert len(re.findall(r"^ +[12]  ", done.stdout, re.MULTILINE)) == 2


def test_show_of_a_missing_trial(ran: Path) -> None:
    """`show` of a trial that is not there names the file that is missing."""
    said = refused(quick("show", "x", "99", cwd=ran))
    assert said == "x: trial 99: has no record; there are 2, the last is 1"


@pytest.mark.parametrize("name", ["show", "report", "sync"])
def test_a_study_that_has_not_run(ran: Path, tmp_path: Path, name: str) -> None:
    """The commands that come after a run say so where there was none, with the nearest names."""
    arguments = [name, "xx", "0"] if name == "show" else [name, "xx"]
    assert refused(quick(*arguments, cwd=tmp_path)) == (
        "xx: there is no study of this name in results/; `netcore run xx` makes it"
    )
    assert names(tmp_path) == set()
    assert refused(quick(*arguments, "--results", ran / "results", cwd=tmp_path)) == (
        f"xx: there is no study of this name in {ran / 'results'}/; did you mean 'x'?"
    )
    assert names(tmp_path) == set()


AS_A_USER = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
"""What begins a command that must not read every file; root may."""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
@pytest.mark.parametrize(
    ("name", "command"), [("resolved.json", "report x"), ("trials/000001.npz", "report x"), ("", "show x 1")]
)
def test_what_must_not_be_read_is_not_taken_for_missing(own: Path, name: str, command: str) -> None:
    """A command that reads a study names the folder or file that it may not read; nothing is changed."""
    there = own / "results" / "x" / name
    mode = there.stat().st_mode
    before = {path: path.read_bytes() for path in (own / "results").rglob("*") if path.is_file()}
    there.chmod(0)
    try:
        words = [*AS_A_USER, sys.executable, "-m", "netcore", *command.split()]
        done = subprocess.run(words, cwd=own, capture_output=True, text=True, check=False, timeout=120)
    finally:
        there.chmod(mode)
    said = refused(done)
    assert said.startswith(str(Path("results", "x", name)))
    assert said.endswith(" change its permissions")
    assert {path: path.read_bytes() for path in (own / "results").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_model_that_must_not_be_read_is_not_written_over(own: Path) -> None:
    """The test set is not read for another model either; the search's results are written, then the run ends with 2."""
    study = own / "results" / "x"
    before = [(study / name).read_bytes() for name in ("model.npz", "test.json")]
    (study / "model.npz").chmod(0)
    line = [*AS_A_USER, sys.executable, "-m", "netcore", "run", "x.toml"]
    done = subprocess.run(line, cwd=own, capture_output=True, text=True, check=False, timeout=120)
    (study / "model.npz").chmod(0o600)
    assert done.returncode == 2
    error = "error: results/x/model.npz: cannot be read (Permission denied); change its permissions"
    assert done.stderr.splitlines()[-1] == error
    assert [(study / name).read_bytes() for name in ("model.npz", "test.json")] == before


@pytest.mark.parametrize(("command", "damage"), [("report x", "truncated"), ("show x 1", "altered")])
def test_a_damaged_record_is_an_error_for_those_who_read(own: Path, command: str, damage: str) -> None:
    """A damaged record is named by a command that only reads, exit code 2, and stays where it is."""
    record = own / "results" / "x" / "trials" / "000001.npz"
    data = record.read_bytes()
    damaged = data[:-7] if damage == "truncated" else data[:100] + bytes([data[100] ^ 1]) + data[101:]
    record.write_bytes(damaged)
    said = refused(quick(*command.split(), cwd=own))
    assert said.startswith("results/x/trials/000001.npz: ")
    assert said.endswith("; `netcore run` moves it aside and trains the trial again")
    assert record.read_bytes() == damaged


def test_a_changed_study_file_is_refused(own: Path) -> None:
    """A study file that has become another question is refused with the remedy, and nothing is written."""
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file() and path.suffix != ".toml"}
    (own / "x.toml").write_text(ARRAYS.replace("epochs = 2", "epochs = 5"))
    assert refused(quick("run", "x.toml", cwd=own)) == (
        "x: results/x answers another question: training.epochs was 2, is 5"
        "; give it another name, or `--fresh` moves the old folder aside"
    )
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file() and path.suffix != ".toml"} == before


def test_fresh_twice_after_an_old_folder_was_deleted(own: Path) -> None:
    """`--fresh` finds a free place for the old folder, whichever earlier ones have been deleted."""
    from netcore.question.spec import load_spec
    from netcore.run import Run

    spec = load_spec(own / "x.toml")
    for _ in range(2):
        with Run(spec, results=own / "results", fresh=True):
            pass
    aside = own / "results" / "_superseded"
    assert len(names(aside)) == 2
    shutil.rmtree(aside / "x.1")
    with Run(spec, results=own / "results", fresh=True):
        pass
    assert len(names(aside)) == 2


# What is right


def test_check_of_a_right_file(tmp_path: Path) -> None:
    """`check` says in one line what would run, and writes nothing."""
    (tmp_path / "x.toml").write_text(STUDY)
    done = quick("check", "x.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "x: 3 trials of 4 epochs on iris (90 rows to train, 30 to validate, 30 to test)\n"
    assert names(tmp_path) == NOTHING_WRITTEN


def test_check_schema(tmp_path: Path) -> None:
    """`check --schema` prints JSON, and a pipe that closes early is no error."""
    done = quick("check", "--schema", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    tables = {"study", "data", "training", "space", "stopping", "start", "confirm"}
    assert set(json.loads(done.stdout)["properties"]) == tables
    line = f"{sys.executable} -m netcore check --schema | head -c 1"
    piped = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S607
    assert (piped.stdout, piped.stderr) == ("{", "")


def test_list(ran: Path, tmp_path: Path) -> None:
    """`list` gives one line for each study; where there is none it says how to make one."""
    done = quick("list", cwd=ran)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"x +2/2 trials: 2 finished, best val_loss \d\.\d{4} \(trial [01]\)\n", done.stdout)
    nothing = quick("list", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (0, "no studies in results; `netcore run digits` makes one\n")
    assert names(tmp_path) == set()


def test_help_lists_the_commands(tmp_path: Path) -> None:
    """`--help` names every command with what it does, and so does each command's own help."""
    done = quick("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(re.findall(r"^  (\w+)  +\S", done.stdout.partition("Commands:")[2], re.MULTILINE)) == COMMANDS.split()
    for name in COMMANDS.split():
        helped = quick(name, "--help", cwd=tmp_path)
        assert helped.returncode == 0
        assert re.match(rf"Usage: \S.* {name} \[OPTIONS\]", helped.stdout)


def loaded(*line: str, cwd: Path) -> set[str]:
    """Return the top-level names of everything a Python process imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *line], cwd=cwd, capture_output=True, text=True, check=True
    )
    return {row.split("|")[-1].strip().partition(".")[0] for row in done.stderr.splitlines() if "|" in row}


@pytest.mark.parametrize("line", [["-m", "netcore", "--help"], ["-c", "import netcore"]])
def test_nothing_heavy_is_loaded(tmp_path: Path, line: list[str]) -> None:
    """`--help` and `import netcore` load no heavy library."""
    names = loaded(*line, cwd=tmp_path)
    assert "netcore" in names
    assert names & HEAVY == set()


def test_the_check_for_heavy_libraries_bites(tmp_path: Path) -> None:
    """Touching a public name loads its library, and the check above sees it."""
    assert "pydantic" in loaded("-c", "import netcore; netcore.load_spec", cwd=tmp_path)


def test_public_names() -> None:
    """The package shows its public names, all of them there, and no other attribute."""
    assert dir(netcore) == ["Objective", "load_spec", "load_study", "run_study"]
    assert all(callable(getattr(netcore, name)) for name in dir(netcore))
    with pytest.raises(AttributeError, match="module 'netcore' has no attribute 'nonsense'"):
        _ = netcore.nonsense


def test_version(tmp_path: Path) -> None:
    """`--version` says the package's version."""
    from importlib.metadata import version

    assert version("netcore") in quick("--version", cwd=tmp_path).stdout
