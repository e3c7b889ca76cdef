"""Files that others have written: whatever they hold, nothing of it is run, and the answer is one line.

Each file that a command reads is replaced by one with a payload that would make a folder, the canary, if it were
unpickled, evaluated or loaded by a library that trusts what it reads.
"""

import ast
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from commands import Done, quick, refused
from formats import DATA, npy, write_data

import netcore
from netcore.archive import pack, unpack
from netcore.data import load_dataset
from netcore.errors import DataError
from netcore.records.folder import StudyFolder
from studies import ARRAYS


class Canary:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Return how to unpickle: by making the folder."""
        return os.mkdir, (str(self.path),)


def code(canary: Path) -> str:
    """Write an expression that makes the folder."""
    return f"__import__('os').mkdir({str(canary)!r})"


def pickled(canary: Path) -> bytes:
    """Write a pickle."""
    return pickle.dumps(Canary(canary))


def objects(canary: Path) -> bytes:
    """Write an .npy of objects."""
    return npy(np.array([Canary(canary)], object))


def header(canary: Path) -> bytes:
    """Write an .npy whose header is a program."""
    text = f"{{'descr': {code(canary)}, 'fortran_order': False, 'shape': (1,)}}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(8)


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
    "objects": objects,
    "header": header,
    "code": lambda canary: code(canary).encode(),
}
"""Payloads that are a whole file."""


def test_the_payloads_bite(tmp_path: Path) -> None:
    """Each payload does make its folder where it is trusted, so the claims below can fail."""
    bites: dict[str, Callable[[Path], object]] = {
        "pickle": lambda canary: pickle.loads(pickled(canary)),  # noqa: S301  # our own, to see that it bites
        "objects": lambda canary: np.load(io.BytesIO(objects(canary)), allow_pickle=True),
        "header": lambda canary: eval(header(canary)[10:-8]),  # noqa: S307  # the same
        "code": lambda canary: eval(code(canary)),  # noqa: S307  # the same
    }
    for name, bite in bites.items():
        bite(tmp_path / name)
        assert (tmp_path / name).is_dir()
    kept = pa.ipc.read_schema(pyarrow.parquet.read_schema(io.BytesIO(table(tmp_path / "x"))).serialize())
    assert pickled(tmp_path / "x") in kept.field("trial").metadata.values()


def sealed(file: Path, member: str, payload: bytes) -> bytes:
    """Put a payload into one of the members of an archive, under a checksum that holds."""
    members: dict[str, Any] = unpack(file.read_bytes(), file)
    assert member in members
    return pack({**members, member: payload})


FILES: dict[str, tuple[str, str, dict[str, int]]] = {
    # file, a member of it, and the exit codes of the commands that read it
    "record": ("trials/000001.npz", "val_loss.npy", {"list": 2, "show x 1": 2, "replay x 1": 2}),
    "weights": ("weights/000001.npz", "W1.npy", {"verify x --quick": 1}),
    "model": ("model.npz", "W2.npy", {"predict x rows.npz": 2}),
    "confirmed": ("confirm/course/trials/000000.npz", "train_loss.npy", {"verify x --quick": 1}),
    "resolved.json": ("resolved.json", "", {"list": 2, "report x": 2}),
    "test.json": ("test.json", "", {"verify x --quick": 1}),
    "times.json": ("times.json", "", {"report x": 0}),
    "optuna.log": ("optuna.log", "", {"report x": 0}),  # it is a derived file, written again
    "tables": ("trials.parquet", "", {"report x": 0}),  # the same
}


def check(done: Done, code_: int) -> None:
    """Check how a command ended: with this code, without a traceback, and with one error if it refuses its input."""
    assert done.returncode == code_, (done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    if code_ == 2:
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize("target", FILES)
def test_a_hostile_file_of_a_study_runs_nothing(own: Path, tmp_path: Path, target: str) -> None:
    """Every command that reads it refuses it in one line or writes it again; the canary does not appear."""
    place, member, answers = FILES[target]
    file, canary = own / "results" / "x" / place, tmp_path / "canary"
    payload = table(canary) if target == "tables" else pickled(canary)
    file.write_bytes(sealed(file, member, objects(canary)) if member else payload)
    for command, code_ in answers.items():
        check(quick(*command.split(), cwd=own), code_)
        assert not canary.exists()


READERS = ("list", "show x 0", "report x", "verify x --quick", "predict x rows.npz")
PLACES = ["study.toml", *{place: "" for place, _, _ in FILES.values()}]
"""Every file of a study."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "commands"),
    [
        *((place, "a pipe", READERS) for place in PLACES),
        *((place, "/dev/zero", READERS) for place in ("resolved.json", "trials/000001.npz")),
        *((place, "a pipe", ("sync x", "run x.toml")) for place in ("resolved.json", "trials/000001.npz", "model.npz")),
    ],
)
def test_no_command_waits_for_a_file_of_a_study(own: Path, name: str, kind: str, commands: tuple[str, ...]) -> None:
    """A pipe that nobody writes to, and a device without an end, in the place of any file: every command ends."""
    place = own / "results" / "x" / name
    for command in commands:
        place.unlink(missing_ok=True)
        if kind == "a pipe":
            os.mkfifo(place)
        else:
            place.symlink_to(kind)
        done = quick(*command.split(), cwd=own)
        assert done.returncode in {0, 1, 2}, (command, done.stderr)
        assert "Traceback" not in done.stderr, (command, done.stderr)


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_predict_refuses_hostile_rows(own: Path, tmp_path: Path, suffix: str) -> None:
    """New rows that are a pickle are refused in one line, and nothing is written."""
    content = objects if suffix in {"npy", "npz"} else pickled
    (own / f"rows.{suffix}").write_bytes(content(tmp_path / "canary"))
    refused(quick("predict", "x", f"rows.{suffix}", "--out", "out.csv", cwd=own))
    assert not (tmp_path / "canary").exists()
    assert not (own / "out.csv").exists()


def test_a_run_replaces_hostile_files(own: Path, tmp_path: Path) -> None:
    """`run` writes the files of a study again, with the same bits as before."""
    folder, canary = StudyFolder(own / "results" / "x"), tmp_path / "canary"
    before = {name: (folder.path / FILES[name][0]).read_bytes() for name in ("resolved.json", "model", "weights")}
    digests = netcore.load_study(folder.path).trials["digest"].tolist()
    for target in ("record", "weights", "model", "confirmed", "resolved.json", "times.json"):
        place, member, _ = FILES[target]
        file = folder.path / place
        file.write_bytes(sealed(file, member, objects(canary)) if member else pickled(canary))
    netcore.run_study(own / "x.toml", results=own / "results", workers=1)
    assert not canary.exists()
    assert netcore.load_study(folder.path).trials["digest"].tolist() == digests
    assert {name: (folder.path / FILES[name][0]).read_bytes() for name in before} == before


@pytest.mark.parametrize("form", DATA)
def test_a_hostile_data_file_runs_nothing(tmp_path: Path, form: str) -> None:
    """A payload in place of a file of data is refused in one line, and does not run."""
    canary, (path, load) = tmp_path / "canary", write_data(tmp_path / "data", form)
    payloads = [make(canary) for make in PLAIN.values()]
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, X=np.array([Canary(canary)] * 30, object), y=np.arange(30) % 3)
        payloads.append(buffer.getvalue())
    for content in payloads:
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load()
        assert str(caught.value).isprintable()
        assert not canary.exists()


def test_a_pickled_type_of_a_parquet_file_is_ignored(tmp_path: Path) -> None:
    """A column with a pickled type is read as the numbers that it stores."""
    (tmp_path / "x.parquet").write_bytes(table(tmp_path / "canary"))
    assert load_dataset("table", path=str(tmp_path / "x.parquet"), target="kind", seed=0).classes == 3
    assert not (tmp_path / "canary").exists()


def test_a_hostile_study_file_runs_nothing(tmp_path: Path) -> None:
    """A payload is not a study file, and an expression is not a value: one line, exit code 2, nothing written."""
    file, program = tmp_path / "x.toml", json.dumps(code(tmp_path / "canary"))
    file.write_bytes(pickled(tmp_path / "canary"))
    assert refused(quick("run", "x.toml", cwd=tmp_path)).startswith("x.toml: ")
    for value in ('"arrays"', '"rows.npz"', "[0.05, 0.1]"):
        file.write_text(ARRAYS.replace(value, program))
        refused(quick("check", "x.toml", cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["x.toml"]


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
    """Return what a module imports or calls that would run what it reads."""
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


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "eval(x)",
        "np.load(f, allow_pickle=flag)",
        "pd.read_pickle(f)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_the_look_at_the_modules_bites(source: str) -> None:
    """The claim above can fail."""
    assert trusted(source)
