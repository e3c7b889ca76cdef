"""Claims about the commands' answers to wrong input: one clear line, exit code 2, and nothing trained or written."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import netcore_command, quick, refused

import netcore
from netcore.archive import pack

STUDY = """
[study]
trials = 3
window = 2
[data]
source = "iris"
[training]
epochs = 4
batch_size = 10
[space]
learning_rate = { low = 0.01, high = 1.0, log = true }
hidden_size = [4, 8]
reg = { low = 1e-6, high = 0.1, log = true }
learning_rate_decay = 0.9
[stopping]
rungs = [2]
"""
HEAVY = {"mlflow", "optuna", "pandas", "matplotlib", "sklearn", "scipy", "numpy", "pydantic", "pyarrow", "rich"}
COMMANDS = "audit check confirm data list predict replay report run show sync ui verify"
GRID = STUDY.replace("trials = 3", "trials = 3\nsampler = 'grid'")
NOTHING_WRITTEN = {"x.toml"}


def names(folder: Path) -> set[str]:
    """Give the names of what lies in a folder."""
    return {path.name for path in folder.iterdir()}


# Study files

WRONG: dict[str, tuple[str, str]] = {
    "syntax": ("[study\n", "is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
    "size": (STUDY + "#" * 65536, "a study file has at most 65536 bytes, got more; is this the right file?"),
    "nesting": ("a = " + "[" * 9999, "is nested too deeply; a study file has tables of plain values"),
    "batch": (
        STUDY.replace("batch_size = 10", "batch_size = 91"),
        "x: training.batch_size: must be at most the 90 rows of the training set, got 91",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_study_file_runs_nothing(tmp_path: Path, what: str) -> None:
    """`run` answers a mistake in the study file by its line, and neither folder nor database appears."""
    text, line = WRONG[what]
    (tmp_path / "x.toml").write_text(text)
    said = refused(quick("run", "x.toml", cwd=tmp_path))
    assert said in (f"x.toml: {line}", line)
    assert names(tmp_path) == NOTHING_WRITTEN


def test_the_command_itself(tmp_path: Path) -> None:
    """`python -m netcore` answers as the forked commands of the other tests do."""
    (tmp_path / "x.toml").write_text(WRONG["syntax"][0])
    one, other = (run("run", "x.toml", cwd=tmp_path) for run in (netcore_command, quick))
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    refused(one)
    assert names(tmp_path) == NOTHING_WRITTEN


def test_several_mistakes_are_several_lines(tmp_path: Path) -> None:
    """`run` says all mistakes of a file, one line each."""
    (tmp_path / "x.toml").write_text(STUDY.replace("window = 2", "window = 0\nseed = -1").replace("= 0.9", "= 2.0"))
    done = quick("run", "x.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: x.toml: study.seed: must be greater than or equal to 0, got -1",
        "error: x.toml: study.window: must be greater than or equal to 1, got 0",
        "error: x.toml: space.learning_rate_decay: must be less than or equal to 1, got 2.0",
    ]
    assert names(tmp_path) == NOTHING_WRITTEN


@pytest.mark.parametrize("what", ["syntax", "grid", "batch"])
def test_check_finds_what_run_finds(tmp_path: Path, what: str) -> None:
    """`check` gives the answer that `run` gives, whether the file, its parts together, or the data show the mistake."""
    (tmp_path / "x.toml").write_text(GRID if what == "grid" else WRONG[what][0])
    one, other = (quick(name, "x.toml", cwd=tmp_path) for name in ("check", "run"))
    assert (one.returncode, one.stderr, one.stdout) == (other.returncode, other.stderr, other.stdout)
    assert one.returncode == 2
    assert names(tmp_path) == NOTHING_WRITTEN


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed here")
def test_a_sampler_that_is_not_installed(tmp_path: Path) -> None:
    """Without PyTorch `gp` is refused in one line, before anything is written."""
    (tmp_path / "x.toml").write_text(STUDY.replace("trials = 3", "sampler = 'gp'"))
    said = refused(quick("run", "x.toml", cwd=tmp_path))
    assert said == "x: study.sampler: needs torch, which is not installed, got 'gp'; pip install 'netcore[gp]'"
    assert names(tmp_path) == NOTHING_WRITTEN


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused."""
    (tmp_path / "x.toml").write_bytes(b"\x89PNG\r\n")
    assert refused(quick("run", "x.toml", cwd=tmp_path)) == "x.toml: must be UTF-8 text, got byte 0x89 at offset 0"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("missing.toml", "missing.toml: there is no such study file"),
        ("digit", "digit: there is no study of this name in studies/; did you mean 'digits'?"),
        ("", "'': there is no study of this name in studies/; known: digits, iris"),
    ],
)
def test_a_study_that_is_not_there(tmp_path: Path, name: str, line: str) -> None:
    """`run` of a file or name that is not there says so, with the nearest names."""
    (tmp_path / "studies").mkdir()
    for known in ("digits", "iris"):
        (tmp_path / "studies" / f"{known}.toml").write_bytes(b"")
    assert refused(quick("run", name, cwd=tmp_path)) == line
    assert names(tmp_path) == {"studies"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runn"], "there is no command 'runn'; did you mean 'run'?"),
        (["run"], "Missing argument 'STUDY'"),
        (["run", "x.toml", "--trials", "0"], "0 is not in the range x>=1"),
        (["show", "x", "--", "-1"], "-1 is not in the range x>=0"),
        (["check"], "give a STUDY, or --schema"),
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


def test_more_workers_than_a_machine_has(tmp_path: Path) -> None:
    """A slip of the finger does not fill the machine with processes."""
    (tmp_path / "x.toml").write_text(STUDY)
    said = refused(quick("run", "x.toml", "--workers", "100000", cwd=tmp_path))
    assert "workers: must be <= 1024, got 100000; one for each core is enough, here " in said
    assert names(tmp_path) == NOTHING_WRITTEN


def test_trials_beyond_the_grid(tmp_path: Path) -> None:
    """`--trials` is checked like the file's own number."""
    lists = STUDY.replace("{ low = 0.01, high = 1.0, log = true }", "[0.1, 1.0]")
    lists = lists.replace("{ low = 1e-6, high = 0.1, log = true }", "0.0").replace("window = 2", "sampler = 'grid'")
    (tmp_path / "x.toml").write_text(lists)
    said = refused(quick("run", "x.toml", "--trials", "5", cwd=tmp_path))
    assert said == "x: study.trials: the grid has 4 combinations and 0 start trials, got trials=5; set trials = 4"
    assert names(tmp_path) == NOTHING_WRITTEN


@pytest.mark.parametrize("by", ["option", "environment"])
def test_results_that_cannot_be_written(tmp_path: Path, by: str) -> None:
    """A results folder that cannot be made is refused before anything is trained."""
    (tmp_path / "x.toml").write_text(STUDY)
    (tmp_path / "file").write_bytes(b"")
    if by == "option":
        done = quick("run", "x.toml", "--results", "file/results", cwd=tmp_path)
    else:
        done = quick("run", "x.toml", cwd=tmp_path, NETCORE_RESULTS="file/results")
    assert refused(done) == (
        "file/results/x: cannot be written (Not a directory)"
        "; choose another folder with --results, or change its permissions"
    )
    assert names(tmp_path) == {*NOTHING_WRITTEN, "file"}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs the limit of a process on the size of its files")
def test_no_space(tmp_path: Path) -> None:
    """A system that takes no more bytes ends the run with exit code 1 and one line that names the file."""
    (tmp_path / "x.toml").write_text(STUDY)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it writes, too
    done = subprocess.run(
        [sys.executable, "-m", "netcore", "run", "x.toml", "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1600, 1600)),
        env={**plain, "MLFLOW_TRACKING_URI": "sqlite:///elsewhere.db"},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.match(r"error: results/x/\S+: cannot be written \(File too large\); fix the cause, ", lines[0])
    assert not list(tmp_path.rglob("*.partial"))
    assert all(path.stat().st_size <= 1600 for path in (tmp_path / "results").rglob("*") if path.is_file())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_no_space_for_what_is_printed(tmp_path: Path) -> None:
    """A full disk behind the standard output is one line, and exit code 1: the input is not wrong."""
    with Path("/dev/full").open("w") as full:
        line = [sys.executable, "-m", "netcore", "check", "--schema"]
        done = subprocess.run(line, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: the system: No space left on device\n")


# Studies that have run


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which the study has run. Look, do not touch."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "x.toml").write_text(STUDY)
    netcore.run_study(folder / "x.toml", results=folder / "results", workers=1)
    return folder


@pytest.fixture
def own(ran: Path, tmp_path: Path) -> Path:
    """Give a copy of it that a test may damage."""
    shutil.copytree(ran, tmp_path / "own")
    return tmp_path / "own"


def test_show(ran: Path) -> None:
    """`show` says what a trial tried and gave, epoch by epoch."""
    done = quick("show", "x", "1", cwd=ran)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trial 1: finished, ")
    assert all(name in done.stdout for name in ("learning_rate", "hidden_size", "reg", "learning_rate_decay"))
    assert len(re.findall(r"^ +[1-4]  ", done.stdout, re.MULTILINE)) == 4


def test_a_results_folder_with_an_impossible_name(tmp_path: Path) -> None:
    """A name that the system refuses is one line."""
    said = refused(quick("list", "--results", "x" * 300, cwd=tmp_path))
    assert said == f"{'x' * 300}: File name too long"


def test_a_share_must_be_a_number(ran: Path) -> None:
    """`audit --share nan` is refused: NaN is in no range."""
    done = quick("audit", "x", "--share", "nan", cwd=ran)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Invalid value for --share: must be a number, got nan\n")


def test_show_of_a_missing_trial(ran: Path) -> None:
    """`show` of a trial that is not there names the file that is missing."""
    said = refused(quick("show", "x", "99", cwd=ran))
    assert said == "x: trial 99: has no record; there are 3, the last is 2"


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


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("resolved.json", ["report x"]),
        ("trials/000001.npz", ["report x"]),
        ("", ["show x 1"]),
    ],
)
def test_what_must_not_be_read_is_not_taken_for_missing(own: Path, name: str, commands: list[str]) -> None:
    """Whoever reads a study, or goes on with it, says which folder or file it may not read; nothing is changed."""
    there = own / "results" / "x" / name
    mode = there.stat().st_mode
    as_a_user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []  # root reads all
    before = {path: path.read_bytes() for path in (own / "results").rglob("*") if path.is_file()}
    there.chmod(0)
    try:
        for command in commands:
            words = [*as_a_user, sys.executable, "-m", "netcore", *command.split()]
            done = subprocess.run(words, cwd=own, capture_output=True, text=True, check=False, timeout=120)
            (error,) = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
            assert error.startswith(f"error: {Path('results', 'x', name)}")
            assert error.endswith(" change its permissions")
            assert done.returncode == 2
            assert "Traceback" not in done.stderr
    finally:
        there.chmod(mode)
    assert {path: path.read_bytes() for path in (own / "results").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("report", "truncated"),
        ("show", "altered"),
        ("list", "pickled"),
    ],
)
def test_a_damaged_record_is_an_error_for_those_who_read(own: Path, name: str, damage: str) -> None:
    """A damaged record is named by every command that only reads, exit code 2, and stays where it is."""
    record = own / "results" / "x" / "trials" / "000001.npz"
    data = record.read_bytes()
    damaged = {
        "truncated": data[:-7],
        "altered": data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "pickled": pack({"record.json": b"cposix\nmkdir\n(S'canary'\ntR."}),
    }[damage]
    record.write_bytes(damaged)
    done = quick(*{"show": ["show", "x", "1"], "list": ["list"]}.get(name, [name, "x"]), cwd=own)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: results/x/trials/000001.npz: ")
    assert line.endswith("; `netcore run` moves it aside and trains the trial again")
    assert record.read_bytes() == damaged
    assert not (own / "canary").exists()


def test_a_changed_study_file_is_refused(own: Path) -> None:
    """A study file that has become another question is refused, each difference in a line, and nothing is written."""
    before = {path: path.read_bytes() for path in (own / "results").rglob("*") if path.is_file()}
    (own / "x.toml").write_text(STUDY.replace("epochs = 4", "epochs = 5").replace("= 0.9", "= 0.8"))
    done = quick("run", "x.toml", cwd=own)
    remedy = "; give it another name, or `--fresh` moves the old folder aside"
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: x: results/x answers another question: training.epochs was 4, is 5{remedy}",
        f"error: x: results/x answers another question: space.learning_rate_decay was 0.9, is 0.8{remedy}",
    ]
    assert {path: path.read_bytes() for path in (own / "results").rglob("*") if path.is_file()} == before
    assert not (own / "mlflow.db").exists()


@pytest.mark.parametrize("content", [b"{", b'{"settings": {}}'])
def test_resolved_settings_that_are_not_whole(own: Path, content: bytes) -> None:
    """`list` and `report` name a damaged resolved.json; a run writes it again, as that message promises."""
    resolved = own / "results" / "x" / "resolved.json"
    whole = resolved.read_bytes()
    resolved.write_bytes(content)
    said = "results/x/resolved.json: is missing or damaged; `netcore run` writes it again"
    assert refused(quick("list", cwd=own)) == said
    tables = netcore.run_study(own / "x.toml", results=own / "results", workers=1)
    assert len(tables.trials) == 3
    assert resolved.read_bytes() == whole


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
    assert re.fullmatch(r"x +3/3 trials: 3 finished, best val_loss 0\.\d{4} \(trial [0-2]\)\n", done.stdout)
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
    """Give the top-level names of everything a Python process imports."""
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
