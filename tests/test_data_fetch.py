"""Claims about `netcore data fetch`: what is kept is what was pinned, whatever a server, a network or an archive does.

No test needs the internet: a server of this process answers, well or badly, on the loopback interface.
"""

import hashlib
import io
import os
import re
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from commands import netcore_command
from formats import write_idx

from netcore.cli import commands
from netcore.data import load_dataset
from netcore.data.fetch import fetch
from netcore.data.image_sets import IMAGE_SETS, ImageSet, Pin, present
from netcore.errors import DataError, InputError, NetcoreError, WorkError
from netcore.files import TEMPORARY

REAL = Path(os.environ.get("NETCORE_DATA", "nowhere"))  # before the fixtures clear it
ROOT = Path(__file__).parents[1]
LARGE = np.random.default_rng(0).bytes(300_000)

FETCH = """
import resource, signal, sys
from pathlib import Path
from netcore.data.fetch import fetch
from netcore.data.image_sets import ImageSet, Pin
from netcore.errors import NetcoreError
address, folder, sha256, limit = sys.argv[1:]
if int(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the system then answers EFBIG instead of ending the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    fetch(ImageSet("set", address, (Pin("large", sha256),)), Path(folder))
except NetcoreError as error:
    sys.exit(str(error))
"""


def pin(name: str, content: bytes) -> Pin:
    """Pin a file to what it is."""
    return Pin(name, hashlib.sha256(content).hexdigest())


class Server(ThreadingHTTPServer):
    """Serves files from memory; `manner` says how well."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.manner = "well"
        self.asked: list[str] = []
        self.end = threading.Event()

    @property
    def address(self) -> str:
        """Return the address in front of the names of the files."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # as it is declared
        """Print nothing: clients that leave early are what is tested."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_GET(self) -> None:
        """Answer in the server's manner."""
        name, manner = self.path.strip("/"), self.server.manner
        self.server.asked.append(name)
        if manner == "silent":
            self.server.end.wait(10)
            return
        if manner.isdigit():
            self.send_error(int(manner))
            return
        content = self.server.files[name]
        if manner == "moved" and not name.startswith("there"):
            self.server.files[f"there-{name}"] = content
            self.send_response(302)
            self.send_header("Location", f"/there-{name}")
            self.end_headers()
            return
        self.send_response(200)
        if manner == "encoded":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if manner in {"cut", "stall"}:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if manner == "stall":
                self.server.end.wait(10)
            return
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve on the loopback interface; no proxy of the user's stands between."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.end.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny(server: Server, tmp_path: Path) -> ImageSet:
    """Return a set of four small files in the real format, which the server has."""
    folder = write_idx(tmp_path / "published")
    server.files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return ImageSet("tiny", server.address, tuple(pin(*file) for file in server.files.items()))


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(kind: type[NetcoreError], images: ImageSet, data: Path, **options: float) -> str:
    """Return the printable lines with which a fetch ends, after checking its kind."""
    with pytest.raises(NetcoreError) as refused:
        fetch(images, data, **options)
    assert type(refused.value) is kind
    assert all(line.isprintable() for line in str(refused.value).split("\n"))
    return str(refused.value)


# What is kept


def test_what_comes_is_what_is_published(server: Server, tiny: ImageSet, tmp_path: Path) -> None:
    """All files come, under their names, byte for byte, and nothing else; the reader takes them as they are."""
    assert present(tiny, tmp_path) == 0
    assert fetch(tiny, tmp_path) == 4
    assert contents(tmp_path / "tiny") == server.files
    assert present(tiny, tmp_path) == 4
    fetched, published = (
        load_dataset("idx", path=str(tmp_path / name), validation=0.2, seed=0) for name in ("tiny", "published")
    )
    assert np.array_equal(fetched.X_train, published.X_train)


def test_what_is_there_is_not_fetched_again(server: Server, tiny: ImageSet, tmp_path: Path) -> None:
    """A second fetch asks nobody and touches nothing; one lost file is the only one that comes again."""
    fetch(tiny, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny").iterdir()}
    server.asked.clear()
    assert fetch(tiny, tmp_path) == 0
    assert server.asked == []
    lost = tmp_path / "tiny" / tiny.files[2].name
    lost.unlink()
    assert fetch(tiny, tmp_path) == 1
    assert server.asked == [lost.name]
    assert [path for path, when in before.items() if path.stat().st_mtime_ns != when] == [lost]


def test_a_file_that_is_something_else_is_left_alone(server: Server, tiny: ImageSet, tmp_path: Path) -> None:
    """Each is named with both checksums and the remedy; none is overwritten, nothing is fetched; exit code 2."""
    (tmp_path / "tiny").mkdir()
    for number in (0, 3):
        (tmp_path / "tiny" / tiny.files[number].name).write_bytes(b"mine")
    before = contents(tmp_path)
    lines = refusal(DataError, tiny, tmp_path).split("\n")
    mine = hashlib.sha256(b"mine").hexdigest()
    assert lines == [
        f"{tmp_path}/tiny/{tiny.files[number].name}: its SHA-256 must be {tiny.files[number].sha256}, got {mine};"
        " move it away, then run the same command again"
        for number in (0, 3)
    ]
    assert DataError.exit_code == 2
    assert (contents(tmp_path), server.asked) == (before, [])


@pytest.mark.parametrize("manner", ["moved", "encoded"])
def test_servers_of_other_manners(server: Server, tiny: ImageSet, tmp_path: Path, manner: str) -> None:
    """A length that is not said, an address that has moved, a .gz that is called encoded: the bytes are the same."""
    server.manner = manner
    assert fetch(tiny, tmp_path) == 4
    files = {name: content for name, content in server.files.items() if not name.startswith("there")}
    assert contents(tmp_path / "tiny") == files


# What goes wrong on the way


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        ("404", "the server answered 404"),
        ("silent", "no network, or the connection broke: ReadTimeout"),
        ("cut", "no network, or the connection broke: ChunkedEncodingError"),
        ("other bytes", "its SHA-256 must be [0-9a-f]{64}, got [0-9a-f]{64}; nothing was kept"),
    ],
)
def test_a_download_that_fails(server: Server, tmp_path: Path, manner: str, said: str) -> None:
    """One line says what went wrong, of which address, and what to do by hand; nothing is kept; exit code 1."""
    server.manner = manner
    server.files = {"large": LARGE[::-1] if manner == "other bytes" else LARGE}
    begun = time.monotonic()
    line = refusal(WorkError, ImageSet("set", server.address, (pin("large", LARGE),)), tmp_path, patience=0.3)
    assert time.monotonic() - begun < 20  # seconds: by default it is patient for 30
    assert re.match(f"{server.address}large: .*{said}", line)
    by_hand = f"try again later, or copy large into {tmp_path}/set and run the same command again"
    assert line.endswith(by_hand)
    assert WorkError.exit_code == 1
    assert contents(tmp_path) == {}


def test_what_came_before_a_failure_stays(tiny: ImageSet, tmp_path: Path) -> None:
    """Files that are whole are kept; those that are still missing are the ones to be put there by hand."""
    images = replace(tiny, files=(*tiny.files[:3], replace(tiny.files[3], sha256="0" * 64)))
    line = refusal(WorkError, images, tmp_path)
    assert f"or copy {tiny.files[3].name} into" in line
    assert contents(tmp_path / "tiny").keys() == {file.name for file in tiny.files[:3]}


def start(address: str, folder: Path, limit: int = 0) -> "subprocess.Popen[str]":
    """Fetch the large file in a process, whose coverage is not measured: it is killed, or may not write."""
    file = pin("large", LARGE)
    command = [sys.executable, "-c", FETCH, address, folder, file.sha256, limit]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)


def test_killed_in_the_middle(server: Server, tmp_path: Path) -> None:
    """What a killed fetch leaves bears no file's name, is not taken for one, and is gone when it is old."""
    server.files, server.manner = {"large": LARGE}, "stall"
    with start(server.address, tmp_path) as process:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in (tmp_path / "set").glob("*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
    rests = list((tmp_path / "set").iterdir())
    assert [path.name for path in rests if not path.name.endswith(TEMPORARY)] == []
    assert len(rests) == 1
    server.manner = "well"
    for rest in rests:
        os.utime(rest, (0, time.time() - 7200))
    young = tmp_path / "set" / f"large.1-1{TEMPORARY}"
    young.write_bytes(b"another fetch is writing this")
    assert fetch(ImageSet("set", server.address, (pin("large", LARGE),)), tmp_path) == 1
    assert contents(tmp_path / "set") == {"large": LARGE, young.name: young.read_bytes()}


def test_no_space(server: Server, tmp_path: Path) -> None:
    """Where the system takes no more bytes, the file is named, not the server, and nothing is left."""
    server.files = {"large": LARGE}
    process = start(server.address, tmp_path, limit=100_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith(f"{tmp_path}/set/large: cannot be written (File too large); fix the cause")
    assert contents(tmp_path) == {}


def test_a_data_folder_that_cannot_be(tiny: ImageSet, tmp_path: Path) -> None:
    """A data folder below a file is wrong input, and the remedy is that of data."""
    (tmp_path / "file").write_bytes(b"")
    line = refusal(InputError, tiny, tmp_path / "file")
    assert line.startswith(f"{tmp_path}/file/tiny: cannot be written (Not a directory)")
    assert line.endswith("or set NETCORE_DATA to another folder")


# Archives

MEMBERS = {f"batch_{number}": bytes([number]) * 1000 for number in range(3)}


def archive_of(members: dict[str, bytes]) -> bytes:
    """Write a .tar.gz of a folder with these members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def packed(server: Server, archive: bytes) -> ImageSet:
    """Publish an archive, and give the set that pins it: what it holds is then the only thing to be refused for."""
    server.files["set.tar.gz"] = archive
    return ImageSet("set", server.address, tuple(pin(*file) for file in MEMBERS.items()), pin("set.tar.gz", archive))


def test_an_archive_is_read_member_by_member(server: Server, tmp_path: Path) -> None:
    """The set's files come out of it, nothing else does, and it goes; existing files are not fetched again."""
    images = packed(server, archive_of({"other": b"x", **MEMBERS}))
    assert fetch(images, tmp_path) == 3
    assert contents(tmp_path / "set") == MEMBERS
    assert fetch(images, tmp_path) == 0
    (tmp_path / "set" / "batch_1").unlink()
    assert fetch(images, tmp_path) == 1
    assert contents(tmp_path / "set") == MEMBERS
    assert server.asked == ["set.tar.gz"] * 2


def test_an_archive_put_there_by_hand(server: Server, tmp_path: Path) -> None:
    """It is used without a network, and stays; one that is something else is refused and stays."""
    images = packed(server, archive_of(MEMBERS))
    by_hand = tmp_path / "set" / "set.tar.gz"
    by_hand.parent.mkdir()
    by_hand.write_bytes(b"mine")
    assert refusal(DataError, images, tmp_path).startswith(f"{by_hand}: its SHA-256 must be ")
    assert contents(tmp_path / "set") == {"set.tar.gz": b"mine"}
    by_hand.write_bytes(server.files["set.tar.gz"])
    assert fetch(images, tmp_path) == 3
    assert contents(tmp_path / "set") == {**MEMBERS, **server.files}
    assert server.asked == []


# The pins


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_checked_pins_are_those_of_the_official_files(name: str) -> None:
    """Each pin that is called checked is compared with the file itself."""
    folder = REAL / IMAGE_SETS[name].folder
    if not folder.is_dir():
        pytest.skip(f"NETCORE_DATA names no folder with {IMAGE_SETS[name].folder}")
    for file in IMAGE_SETS[name].files:
        if file.checked:
            assert replace(pin(file.name, (folder / file.name).read_bytes()), checked=True) == file


def test_the_documentation_says_which_pins_are_checked() -> None:
    """The table in docs/data.md has the folder of each set, its address, and the names of the pins not checked."""
    lines = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").splitlines()
    for name, images in IMAGE_SETS.items():
        pins = [*images.files, *([images.archive] if images.archive else [])]
        names = [f"`{file.name}`" for file in pins if not file.checked]
        others = "all" if len(names) == len(pins) else ", ".join(names) or "none"
        assert f"| `{name}` | `{images.folder}` | <{images.address}> | {others} |" in lines


# The command


def test_the_command(tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where the files are and how many are new; `data list` counts them."""
    monkeypatch.setenv("NETCORE_DATA", str(tmp_path))
    monkeypatch.setitem(IMAGE_SETS, "mnist", tiny)
    for new in (4, 0):
        done = CliRunner().invoke(commands, ["data", "fetch", "mnist"])
        assert (done.exit_code, done.stdout) == (0, f"mnist: 4 files in {tmp_path}/tiny, {new} of them new\n")
    assert "tiny                 4 of 4 files\n" in CliRunner().invoke(commands, ["data", "list"]).stdout


def test_the_command_without_a_network(tmp_path: Path) -> None:
    """One error line, exit code 1, no traceback; here a proxy that nobody serves stands between."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    proxies = {"http_proxy": nobody, "https_proxy": nobody, "no_proxy": "", "NO_PROXY": ""}
    environment = {**os.environ, **proxies, "NETCORE_DATA": str(tmp_path)}
    done = netcore_command("data", "fetch", "cifar10", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    first, line = done.stderr.splitlines()
    assert first.startswith("cifar10: checking ")
    assert line.startswith("error: https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz: cannot be downloaded")
    assert f"or copy cifar-10-python.tar.gz into {tmp_path}/cifar-10-batches-py" in line


def test_what_fetches_is_loaded_where_something_is_fetched() -> None:
    """Neither netcore nor the module itself imports pooch, or what it brings."""
    code = "import netcore, netcore.cli, netcore.data.fetch, sys; print({'pooch', 'requests', 'tqdm'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
