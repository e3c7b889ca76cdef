"""Claims about netcore.files: a file is written completely or not at all, and an error names it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netcore.errors import InputError, NetcoreError, WorkError
from netcore.files import TEMPORARY, make_folder, write_atomically

REMEDY = "fix the cause, then run the same command again: it continues where it stopped"
ELSEWHERE = "choose another folder with --results, or change its permissions"

NO_SPACE = """
import resource, signal, sys
from pathlib import Path
from netcore.errors import InputError, NetcoreError, WorkError
from netcore.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the system then answers EFBIG instead of ending the process
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), bytes(100_000))
except WorkError as error:
    sys.exit(str(error))
"""

KILLED = """
import os, sys
from pathlib import Path
import netcore.files
os.fsync = lambda descriptor: os._exit(9)  # the process ends after the bytes are written, before they have a name
netcore.files.write_atomically(Path(sys.argv[1]), b"new")
"""

WRITER = """
import sys
from pathlib import Path
from netcore.files import write_atomically
for _ in range(150):
    write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 20_000)
"""


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python process, whose coverage is not measured: it may be forbidden to write files."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


@settings(max_examples=25)
@given(st.binary(max_size=2000))
def test_writes_exactly_the_bytes(tmp_path: Path, data: bytes) -> None:
    """The file has exactly the bytes written, and replaces the old one."""
    write_atomically(tmp_path / "a.bin", data)
    assert (tmp_path / "a.bin").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("before", [None, b"old"])
def test_no_space_leaves_nothing_half_written(tmp_path: Path, before: bytes | None) -> None:
    """On a full disk the old file stays unchanged, no temporary file is left, and the error names the file."""
    target = tmp_path / "000001.npz"
    if before is not None:
        target.write_bytes(before)
    process = python(NO_SPACE, target)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.strip() == f"{target}: cannot be written ({os.strerror(errno.EFBIG)}); {REMEDY}"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == ({target.name: before} if before else {})


def test_killed_before_the_rename(tmp_path: Path) -> None:
    """A process killed before the rename leaves the old file and a temporary file."""
    target = tmp_path / "study.toml"
    target.write_bytes(b"old")
    process = python(KILLED, target)
    process.communicate(timeout=60)
    assert process.returncode == 9
    assert target.read_bytes() == b"old"
    (rest,) = set(tmp_path.iterdir()) - {target}
    assert rest.name.endswith(TEMPORARY)


@pytest.mark.parametrize(
    ("place", "kind", "said"),
    [
        ("missing/a.bin", WorkError, f"cannot be written (No such file or directory); {REMEDY}"),
        ("file/a.bin", InputError, f"cannot be written (Not a directory); {ELSEWHERE}"),
        ("folder", InputError, "cannot be written (Is a directory); move the folder of this name away"),
        ("a" * 300, InputError, f"cannot be written (File name too long); {ELSEWHERE}"),
    ],
)
def test_refused_place(tmp_path: Path, place: str, kind: type[NetcoreError], said: str) -> None:
    """A place that cannot be written to is wrong input, any other failure is failed work; no file is left."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(kind) as caught:
        write_atomically(tmp_path / place, b"x")
    assert str(caught.value) == f"{tmp_path / place}: {said}"
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder"}


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Two processes may write the same file at once; readers see only complete files."""
    target = tmp_path / "trials.parquet"
    target.write_bytes(b"a" * 20_000)
    writers = [python(WRITER, target, letter) for letter in "ab"]
    torn = []
    while any(writer.poll() is None for writer in writers):
        seen = target.read_bytes()
        if seen not in {b"a" * 20_000, b"b" * 20_000}:
            torn.append(len(seen))
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert torn == []
    assert [path.name for path in tmp_path.iterdir()] == ["trials.parquet"]


def test_make_folder(tmp_path: Path) -> None:
    """A folder is created with its parents; an existing one is no error."""
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_folder_below_a_file(tmp_path: Path) -> None:
    """A folder that cannot be created is wrong input; the error names it and the reason."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        make_folder(tmp_path / "file" / "below")
    assert str(caught.value) == f"{tmp_path / 'file' / 'below'}: cannot be written (Not a directory); {ELSEWHERE}"
