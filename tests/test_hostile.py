"""Files that others have written: whatever they hold, nothing of it is run, and the answer is one line.

Each file that a command reads is replaced by one with a payload that would make a folder, the canary, if it were
unpickled, evaluated or loaded by a library that trusts what it reads.
"""

import ast
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from formats import CIFAR_FILES, FASHION, write_cifar, write_idx
from test_cli_input import Command, quick, refused, server  # noqa: F401  # fixtures

import netcore
from netcore.archive import pack, unpack
from netcore.errors import InputError
from netcore.final.model import read_model
from netcore.question.spec import load_spec
from netcore.records.folder import StudyFolder

STUDY = """
[study]
trials = 2
window = 1
[data]
source = "arrays"
path = "rows.npz"
[training]
epochs = 2
batch_size = 10
[space]
learning_rate = [0.05, 0.1]
hidden_size = 4
reg = 0.0
learning_rate_decay = 1.0
[confirm]
finalists = 1
seeds = 1
"""


class Canary:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Say how to unpickle: by making the folder."""
        return os.mkdir, (str(self.path),)


def code(canary: Path) -> str:
    """Write an expression that makes the folder."""
    return f"__import__('os').mkdir({str(canary)!r})"


def pickled(canary: Path) -> bytes:
    """Write a pickle."""
    return pickle.dumps(Canary(canary))


def joblibbed(canary: Path) -> bytes:
    """Write what scikit-learn's users exchange."""
    buffer = io.BytesIO()
    joblib.dump([Canary(canary)], buffer)
    return buffer.getvalue()


def objects(canary: Path) -> bytes:
    """Write an .npy of objects."""
    array, buffer = np.array([Canary(canary)], object), io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(canary: Path) -> bytes:
    """Write an .npy whose header is a program."""
    text = f"{{'descr': {code(canary)}, 'fortran_order': False, 'shape': (1,)}}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(8)


def yaml(canary: Path) -> bytes:
    """Write YAML that calls."""
    return f"!!python/object/apply:os.mkdir [{str(canary)!r}]\n".encode()


def table(canary: Path) -> bytes:
    """Write a Parquet file with a column of a pickled type, as pyarrow knew it before version 14.0.1."""
    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickled(canary),
    }
    types = pa.schema([pa.field("trial", pa.int64(), metadata=extension), pa.field("kind", pa.int64())])
    rows = pa.table({"trial": [1, 2, 3] * 10, "kind": [0, 1, 2] * 10}, schema=types)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(rows, buffer)
    return buffer.getvalue()


PLAIN: dict[str, Callable[[Path], bytes]] = {
    "pickle": pickled,
    "joblib": joblibbed,
    "objects": objects,
    "header": header,
    "yaml": yaml,
    "code": lambda canary: code(canary).encode(),
}
"""Payloads that are a whole file."""


def test_the_payloads_bite(tmp_path: Path) -> None:
    """Each payload does make its folder where it is trusted, so the claims below can fail."""
    bites: dict[str, Callable[[Path], object]] = {
        "pickle": lambda canary: pickle.loads(pickled(canary)),  # noqa: S301  # our own, to see that it bites
        "joblib": lambda canary: joblib.load(io.BytesIO(joblibbed(canary))),
        "objects": lambda canary: np.load(io.BytesIO(objects(canary)), allow_pickle=True),
        "header": lambda canary: eval(header(canary)[10:-8]),  # noqa: S307  # the same
        "code": lambda canary: eval(code(canary)),  # noqa: S307  # the same
    }
    for name, bite in bites.items():
        bite(tmp_path / name)
        assert (tmp_path / name).is_dir()
    kept = pa.ipc.read_schema(pyarrow.parquet.read_schema(io.BytesIO(table(tmp_path / "x"))).serialize())
    assert pickled(tmp_path / "x") in kept.field("trial").metadata.values()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which the study has run, confirmed, with all its views. Look, do not touch."""
    from netcore.derived import write_derived_files

    folder = tmp_path_factory.mktemp("ran")
    (folder / "x.toml").write_text(STUDY)
    rng = np.random.default_rng(0)
    np.savez(folder / "rows.npz", X=rng.standard_normal((60, 3)), y=np.arange(60) % 3)
    netcore.run_study(folder / "x.toml", results=folder / "results", workers=1)
    write_derived_files(StudyFolder(folder / "results" / "x"))
    return folder


@pytest.fixture
def own(ran: Path, tmp_path: Path) -> Path:
    """Give a copy of it that a test may damage."""
    shutil.copytree(ran, tmp_path / "own")
    return tmp_path / "own"


def sealed(file: Path, member: str, payload: bytes) -> bytes:
    """Put a payload into one of the members of an archive, under a checksum that holds."""
    members: dict[str, Any] = unpack(file.read_bytes(), file)
    assert member in members
    return pack({**members, member: payload})


READERS = ("list", "show", "report", "verify")
ANSWERS: dict[str, tuple[str, str, dict[str, int]]] = {
    # file, a member of it, and how the commands end that are not content with it
    "record": ("trials/000001.npz", "val_loss.npy", {"list": 2, "show": 2, "report": 2, "verify": 1}),
    "weights": ("weights/000001.npz", "W1.npy", {"verify": 1}),
    "model": ("model.npz", "W2.npy", {"verify": 1}),
    "confirmed": ("confirm/course/trials/000000.npz", "train_loss.npy", {"verify": 1}),
    "resolved.json": ("resolved.json", "", {"list": 2, "report": 2, "verify": 1}),
    "test.json": ("test.json", "", {"verify": 1}),
    "times.json": ("times.json", "", {}),
    "optuna.log": ("optuna.log", "", {}),  # `report` has made it anew
    "tables": ("trials.parquet", "", {}),  # the same
    "study.toml": ("study.toml", "", {"verify": 1}),
}


def line_of(command: str) -> list[str]:
    """Give the whole command."""
    return {"list": ["list"], "show": ["show", "x", "1"], "verify": ["verify", "x", "--quick"]}.get(
        command, [command, "x"]
    )


def see(done: Any, code_: int) -> None:  # noqa: ANN401  # a CompletedProcess
    """Look at how a command ended: with this code, and never with a traceback."""
    assert done.returncode == code_, (done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    if code_ == 2:
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1


def by_hand(folder: StudyFolder, target: str) -> None:
    """Read a file as the commands do, without their other work; whether it is refused is the commands' to show."""
    from netcore.results.parquet import table_findings
    from netcore.tracking.journal import journal_findings

    with suppress(InputError):
        match target:
            case "record":
                folder.read(1)
            case "weights":
                folder.read_weights(folder.read(1))
            case "model":
                read_model(folder.path / "model.npz")
            case "confirmed":
                StudyFolder(folder.path / "confirm" / "course").read(0)
            case "resolved.json" | "study.toml":
                folder.spec()
                load_spec(folder.study_file)
            case "test.json" | "times.json":
                assert folder.test_figures() is None or target == "times.json"
                assert folder.times() is None or target == "test.json"
            case "optuna.log":
                assert list(journal_findings(folder.committed(), folder, complete=True))
            case _:
                assert list(table_findings(folder.committed(), folder, complete=True))


@pytest.mark.parametrize("target", ANSWERS)
def test_a_hostile_file_of_a_study_runs_nothing(quick: Command, own: Path, tmp_path: Path, target: str) -> None:  # noqa: F811
    """Every command that reads answers it in a line or goes without it, and the canary is not there."""
    place, member, answers = ANSWERS[target]
    folder, canary = StudyFolder(own / "results" / "x"), tmp_path / "canary"
    file = folder.path / place
    payloads = {name: make(canary) for name, make in PLAIN.items()} | {"table": table(canary)}
    if member:
        payloads |= {f"{name} inside": sealed(file, member, payloads[name]) for name in ("pickle", "objects", "header")}
    for content in payloads.values():
        file.write_bytes(content)
        by_hand(folder, target)
        assert not canary.exists()
    file.write_bytes(payloads["objects inside" if member else "pickle"])
    for command in READERS:
        see(quick(*line_of(command), cwd=own), answers.get(command, 0))
        assert not canary.exists()


def test_predict_and_replay_refuse_hostile_files(quick: Command, own: Path, tmp_path: Path) -> None:  # noqa: F811
    """The model, the rows, and the record: each is refused in one line."""
    folder, canary = StudyFolder(own / "results" / "x"), tmp_path / "canary"
    whole = (folder.path / "model.npz").read_bytes()
    for name in ("pickle", "objects", "header"):
        (folder.path / "model.npz").write_bytes(sealed(folder.path / "model.npz", "W2.npy", PLAIN[name](canary)))
        refused(quick("predict", "x", "rows.npz", cwd=own))
        (folder.path / "model.npz").write_bytes(whole)
        for suffix in ("npy", "npz", "csv", "parquet", "gz"):
            (own / f"evil.{suffix}").write_bytes(PLAIN[name](canary))
            refused(quick("predict", "x", f"evil.{suffix}", cwd=own))
    (folder.trials / "000001.npz").write_bytes(sealed(folder.trials / "000001.npz", "val_loss.npy", objects(canary)))
    refused(quick("replay", "x", "1", cwd=own))
    assert not canary.exists()


def test_a_run_goes_on_beside_hostile_files(own: Path, tmp_path: Path) -> None:
    """`run` puts what should be there in its place: the same bits as before."""
    folder, canary = StudyFolder(own / "results" / "x"), tmp_path / "canary"
    before = {name: (folder.path / ANSWERS[name][0]).read_bytes() for name in ("resolved.json", "model", "weights")}
    digests = netcore.load_study(folder.path).trials["digest"].tolist()
    for target in ("record", "weights", "model", "confirmed", "resolved.json", "times.json"):
        place, member, _ = ANSWERS[target]
        file = folder.path / place
        file.write_bytes(sealed(file, member, objects(canary)) if member else pickled(canary))
    netcore.run_study(own / "x.toml", results=own / "results", workers=1)
    assert not canary.exists()
    assert netcore.load_study(folder.path).trials["digest"].tolist() == digests
    assert {name: (folder.path / ANSWERS[name][0]).read_bytes() for name in before} == before


def test_hostile_prepared_data_run_nothing(
    quick: Command,  # noqa: F811
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lies in the cache is compared with what was prepared, and never trusted: `check` makes it anew."""
    cache, canary = tmp_path / "cache", tmp_path / "canary"
    monkeypatch.setenv("NETCORE_CACHE", str(cache))
    see(quick("check", "x.toml", cwd=own, NETCORE_CACHE=str(cache)), 0)
    (folder,) = cache.iterdir()
    for name in ("0.dataset.npz", "0.X_train.npy", "0.y_test.npy"):
        file = folder / name
        payloads = [pickled(canary), objects(canary), header(canary)]
        if name.endswith("npz"):
            payloads += [sealed(file, member, payloads[0]) for member in ("dataset.json", "preprocessing.mean.npy")]
        for content in payloads:
            whole = file.read_bytes()
            file.write_bytes(content)
            see(quick("check", "x.toml", cwd=own, NETCORE_CACHE=str(cache)), 0)
            assert file.read_bytes() == whole
            assert not canary.exists()


FORMATS: dict[str, tuple[str, list[str]]] = {
    "idx": (FASHION[0], ["idx", "--path", "data"]),
    "idx labels": (FASHION[1], ["idx", "--path", "data"]),
    "cifar10": (CIFAR_FILES[0], ["cifar10", "--path", "data"]),
    "cifar10 test": (CIFAR_FILES[-1], ["cifar10", "--path", "data"]),
    "cifar10 binary": (f"{CIFAR_FILES[0]}.bin", ["cifar10", "--path", "data"]),
    "npz": ("x.npz", ["arrays", "--path", "data/x.npz"]),
    "npy": ("X.npy", ["arrays", "--path", "data"]),
    "npy labels": ("y.npy", ["arrays", "--path", "data"]),
    "csv": ("x.csv", ["table", "--path", "data/x.csv", "--target", "kind"]),
    "parquet": ("x.parquet", ["table", "--path", "data/x.parquet", "--target", "kind"]),
}


def write_data(folder: Path, name: str) -> None:
    """Write whole data of a format."""
    folder.mkdir()
    if name.startswith("idx"):
        write_idx(folder, packed=False)
    elif name.startswith("cifar10"):
        write_cifar(folder, rows=20, binary="binary" in name)
    frame = pd.DataFrame({"a": np.arange(30.0), "kind": np.arange(30) % 3})
    frame.to_csv(folder / "x.csv", index=False)
    frame.to_parquet(folder / "x.parquet")
    X, y = np.random.default_rng(0).standard_normal((30, 2)), np.arange(30) % 3
    np.savez(folder / "x.npz", X=X, y=y)
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)


@pytest.mark.parametrize("name", FORMATS)
def test_a_hostile_data_file_runs_nothing(quick: Command, tmp_path: Path, name: str) -> None:  # noqa: F811
    """Of every format: whole data are read, a payload in their place is refused in one line."""
    file, arguments = FORMATS[name]
    write_data(tmp_path / "data", name)
    see(quick("data", "info", *arguments, cwd=tmp_path), 0)
    canary, path = tmp_path / "canary", tmp_path / "data" / file
    payloads = [make(canary) for make in PLAIN.values()]
    if name == "npz":
        for make in (objects, header):
            buffer = io.BytesIO()
            np.savez(buffer, y=np.arange(30) % 3)
            with zipfile.ZipFile(buffer, "a") as archive:
                archive.writestr("X.npy", make(canary))
            payloads.append(buffer.getvalue())
    for content in payloads:
        path.write_bytes(content)
        assert refused(quick("data", "info", *arguments, cwd=tmp_path))
        assert not canary.exists()


def test_a_pickled_type_of_a_parquet_file_is_not_made(quick: Command, tmp_path: Path) -> None:  # noqa: F811
    """A column with a pickled type is read as what it stores."""
    (tmp_path / "x.parquet").write_bytes(table(tmp_path / "canary"))
    done = quick("data", "info", "table", "--path", "x.parquet", "--target", "kind", cwd=tmp_path)
    see(done, 0)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("payload", PLAIN)
@pytest.mark.parametrize("command", ["check", "run", "data info"])
def test_a_hostile_study_file_runs_nothing(
    quick: Command,  # noqa: F811
    tmp_path: Path,
    payload: str,
    command: str,
) -> None:
    """A study file that is a program is no study file."""
    (tmp_path / "x.toml").write_bytes(PLAIN[payload](tmp_path / "canary"))
    assert refused(quick(*command.split(), "x.toml", cwd=tmp_path)).startswith("x.toml: ")
    assert {path.name for path in tmp_path.iterdir()} == {"x.toml"}


def test_values_that_are_programs_are_texts(quick: Command, tmp_path: Path) -> None:  # noqa: F811
    """An expression where a study file has a value is refused by the rule of that value."""
    program = json.dumps(code(tmp_path / "canary"))
    for key in ("path", "source", "features"):
        data = {"source": '"arrays"', "path": '"rows.npz"', "features": '"X"'} | {key: program}
        text = STUDY.partition("[data]")[0] + "[data]\n" + "\n".join(f"{k} = {v}" for k, v in data.items())
        (tmp_path / "x.toml").write_text(text + STUDY.partition('path = "rows.npz"')[2])
        refused(quick("check", "x.toml", cwd=tmp_path))
    (tmp_path / "x.toml").write_text(STUDY.replace("learning_rate = [0.05, 0.1]", f"learning_rate = {program}"))
    refused(quick("check", "x.toml", cwd=tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"x.toml"}


# No module trusts what it reads

TRUSTING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "yaml", "torch"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile", "breakpoint"}
ADMITTED = {
    (
        "data/plain_pickle.py",
        "pickle",
    ): "an unpickler that can build numbers, texts, lists, dicts and arrays of bytes alone",
    ("workers/process.py", "multiprocessing"): "pipes between our own processes, which pickle what they send",
    ("workers/local.py", "multiprocessing"): "starts the process that tracks what workers share; nothing is read",
    ("search/samplers.py", "torch"): "how many threads it takes while it proposes; no file of its is read",
}
"""What of it is there all the same, and why."""


def trusted(source: str) -> set[str]:
    """Name what a module imports or calls that would run what it reads."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & (TRUSTING | {"multiprocessing"})
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").partition(".")[0]} & (TRUSTING | {"multiprocessing"})
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & CALLS
        elif isinstance(node, ast.Attribute):
            found |= {node.attr} & {"read_pickle", "to_pickle", "import_module", "run_path"}
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found |= set() if isinstance(node.value, ast.Constant) and node.value.value is False else {"allow_pickle"}
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            found.add("shell")
    return found


def test_no_module_trusts_what_it_reads() -> None:
    """No module of netcore unpickles, evaluates or loads programs; the exceptions are named, with their reason."""
    home = Path(netcore.__file__).parent
    found = {
        (path.relative_to(home).as_posix(), name) for path in home.rglob("*.py") for name in trusted(path.read_text())
    }
    assert found - {("__init__.py", "import_module")} == set(ADMITTED)


def test_the_unpickler_is_never_the_library_s() -> None:
    """The module that imports pickle calls neither `load` nor `loads`, and no linter's warning is silenced."""
    home = Path(netcore.__file__).parent
    text = (home / "data" / "plain_pickle.py").read_text()
    assert "pickle.load" not in text
    for path in home.rglob("*.py"):
        assert not [
            rule for rule in ("S301", "S307", "S102", "S403", "S506", "S602", "S701") if rule in path.read_text()
        ]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval(x)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=flag)",
        "pd.read_pickle(f)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_the_look_at_the_modules_bites(source: str) -> None:
    """The claim above can fail."""
    assert trusted(source)
