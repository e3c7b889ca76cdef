"""Claims about netcore.records.folder: the content of a study's folder, its locks, and that nothing is overwritten."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import present
from recorded import WHEN, job

from netcore.core.params import Params, init_params
from netcore.core.sgd import Epoch
from netcore.errors import InputError, RecordError
from netcore.files import TEMPORARY
from netcore.records.folder import StudyFolder, find_study
from netcore.records.job import State, TrialResult
from netcore.records.record import Record
from netcore.seeds import Purpose, generator

HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from netcore.records.folder import StudyFolder
with StudyFolder(Path(sys.argv[1])).locked(*sys.argv[2:]):
    print("locked", flush=True)
    sys.stdin.read()
"""


def weights(number: int) -> Params:
    """Return random weights of a trial."""
    return init_params(generator(0, number, Purpose.WEIGHTS), 4, 3, 3)


def record(number: int, *, value: float = 0.5) -> Record:
    """Return the record of a trial."""
    result = TrialResult(State.FINISHED, (Epoch(1, 0.1, value, value, 0.5, 0.5),), 1, value, weights(number))
    return Record.of(job(number=number), result, WHEN)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Return the empty folder of a study."""
    made = StudyFolder(tmp_path / "results" / "x")
    made.prepare()
    return made


def files(folder: StudyFolder) -> dict[str, bytes]:
    """Return the content of each file in a study's folder, by its path."""
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_numbers(folder: StudyFolder) -> None:
    """The numbers are those of the record files, in order; other files in the folder do not count."""
    for number in (10, 2, 0, 1_000_000):
        folder.write(record(number))
    for name in ("000003.npz.partial", "000004 copy.npz", "a.npz", ".000005.npz", "0\u00b2.npz", "000006.txt", "7.npz"):
        (folder.trials / name).write_bytes(b"")
    assert folder.numbers() == [0, 2, 10, 1_000_000]


def test_read(folder: StudyFolder) -> None:
    """A record is read as it was written, except its weights, which are a file of their own."""
    folder.write(record(3))
    again = folder.read(3)
    assert again.to_bytes() == record(3).to_bytes()
    assert again.result.weights is None


def test_a_missing_record_is_named(folder: StudyFolder) -> None:
    """The error for a missing record names its path."""
    with pytest.raises(RecordError) as caught:
        folder.read(3)
    assert str(caught.value) == f"{folder.trials / '000003.npz'}: cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("there", "committed"),
    [([], []), ([0], [0]), ([1], []), ([0, 1, 2], [0, 1, 2]), ([0, 1, 3, 4], [0, 1]), ([2, 0, 5], [0])],
)
def test_committed_is_the_prefix_without_a_gap(folder: StudyFolder, there: list[int], committed: list[int]) -> None:
    """The committed trials are those up to the first number without a record."""
    for number in there:
        folder.write(record(number))
    assert [one.number for one in folder.committed()] == committed


def test_supersede_never_overwrites(folder: StudyFolder) -> None:
    """All superseded records are kept, each under its own name, whatever names exist already."""
    contents = []
    for value in (0.1, 0.2, 0.3, 0.4):
        folder.write(record(5, value=value))
        contents.append((folder.trials / "000005.npz").read_bytes())
        target = folder.supersede(5)
        assert target.read_bytes() == contents[-1]
        if value == 0.2:  # a gap in the numbering
            target.rename(folder.superseded / "000005.7.npz")
    folder.write(record(6))
    folder.supersede(6)
    kept = [content for name, content in files(folder).items() if name.startswith("superseded/000005")]
    assert sorted(kept) == sorted(contents)
    assert not (folder.trials / "000005.npz").exists()


def test_supersede_takes_the_weights_along(folder: StudyFolder) -> None:
    """The weights of a superseded record are deleted; those of other trials stay."""
    for number in (5, 6):
        folder.write(record(number))
        folder.write_weights(record(number), weights(number))
    folder.supersede(5)
    assert folder.kept_weights() == {6}


def test_weights(folder: StudyFolder) -> None:
    """Weights are written, read back bit for bit, and dropped; dropping missing weights is no error."""
    one = record(3)
    folder.write_weights(one, weights(3))
    assert folder.kept_weights() == {3}
    assert folder.weights_file(3).is_file()
    assert [a.tobytes() for a in folder.read_weights(one)] == [a.tobytes() for a in weights(3)]
    folder.drop_weights(3)
    folder.drop_weights(3)
    assert folder.kept_weights() == set()
    with pytest.raises(RecordError, match="cannot be read"):
        folder.read_weights(one)


def test_prepare_clears_what_interrupted_writes_left(folder: StudyFolder) -> None:
    """Leftovers of interrupted writes are deleted; records stay, and so does a file that may be being written."""
    folder.write(record(0))
    old, young = folder.path / f"report.html.1-0{TEMPORARY}", folder.path / f"report.html.2-0{TEMPORARY}"
    confirmed = folder.path / "confirm" / "course" / "trials"
    confirmed.mkdir(parents=True)
    for rest in (*(place / f"000001.npz.1-0{TEMPORARY}" for place in (folder.trials, confirmed)), old, young):
        rest.write_bytes(b"half")
    os.utime(old, (0, 0))
    before = (folder.trials / "000000.npz").read_bytes()
    folder.prepare()
    assert files(folder) == {"trials/000000.npz": before, young.name: b"half"}


@pytest.fixture
def other_process(folder: StudyFolder) -> Iterator["subprocess.Popen[str]"]:
    """Start another process that holds the study's lock."""
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert present(process.stdout).readline() == "locked\n"
        yield process
        process.kill()


def test_the_lock_refuses_another_process(folder: StudyFolder, other_process: "subprocess.Popen[str]") -> None:
    """While one process runs a study, another is refused until that one is gone; a run does not block a sync."""
    with pytest.raises(InputError) as caught, folder.locked():
        pytest.fail("the lock was taken twice")
    assert str(caught.value) == (
        f"{folder.path}: another `netcore run` of this study is under way"
        "; wait until it ends; `netcore report` and `netcore list` may be used meanwhile"
    )
    with folder.locked("sync"):
        assert other_process.poll() is None
    other_process.kill()
    other_process.wait()
    for _ in range(2):  # an error releases it, too
        with pytest.raises(RuntimeError), folder.locked():
            raise RuntimeError


def test_a_study_is_found_by_name_or_path(tmp_path: Path, folder: StudyFolder) -> None:
    """A study is found by its name in the results folder, or by its folder's own path."""
    folder.study_file.write_bytes(b"")
    assert find_study("x", tmp_path / "results").path == folder.path
    assert find_study(folder.path, "nowhere").path == folder.path


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("digit", "did you mean 'digits'?"),
        ("zzz", "known: digits, iris"),
        ("..", "known: digits, iris"),
        ("d" * 300, "known: digits, iris"),
    ],
)
def test_a_study_that_is_not_there(tmp_path: Path, name: str, remedy: str) -> None:
    """A name without a study is refused; the nearest names are shown."""
    for known in ("digits", "iris"):
        (tmp_path / known).mkdir()
        (tmp_path / known / "study.toml").write_bytes(b"")
    (tmp_path / "no study").mkdir()
    with pytest.raises(InputError) as caught:
        find_study(name, tmp_path)
    assert str(caught.value) == f"{name}: there is no study of this name in {tmp_path}/; {remedy}"


def test_no_study_at_all(tmp_path: Path) -> None:
    """Without any study, the remedy is to run one."""
    with pytest.raises(InputError) as caught:
        find_study("digits", tmp_path / "results")
    said = f"digits: there is no study of this name in {tmp_path / 'results'}/; `netcore run digits` makes it"
    assert str(caught.value) == said


@pytest.mark.parametrize("content", [None, b"{", b"[" * 100_000])
def test_resolved_settings_that_are_not_whole(folder: StudyFolder, content: bytes | None) -> None:
    """A resolved.json that is missing or damaged is refused by its path, with the remedy."""
    if content is not None:
        folder.resolved.write_bytes(content)
    with pytest.raises(InputError) as caught:
        folder.resolved_settings()
    assert str(caught.value) == f"{folder.resolved}: is missing or damaged; `netcore run` writes it again"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.touch()])
def test_only_regular_files_are_read(folder: StudyFolder, make: Callable[[Path], None]) -> None:
    """A pipe would block its reader, a device has no end, and a file may be larger than the memory."""
    path = folder.trials / "000003.npz"
    make(path)
    if path.is_file():
        os.truncate(path, 2**40)
    with pytest.raises(RecordError, match=r"000003\.npz: cannot be read \((it is not a regular file|File too large)\)"):
        folder.read(3)
