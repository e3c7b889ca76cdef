"""MLflow's SQLite file cut short, with flipped bytes, or another thing at its place: said in one line, never believed.

What netcore says of a damaged database is right or an error. The records make it anew: delete the file, `netcore sync`.
NETCORE_FAULTS=all takes the whole numbers.
"""

import random
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from away import faults, problems
from synced import address, run_of

from netcore.errors import WorkError
from netcore.records.folder import StudyFolder
from netcore.records.record import ranked
from netcore.tracking.client import connect
from netcore.tracking.follow import sync
from netcore.tracking.server import links
from netcore.tracking.verify import clear, look

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")

METRICS = (
    "SELECT run_uuid, key, value, is_nan, step FROM metrics",
    "SELECT run_uuid, key, value, is_nan, step FROM latest_metrics",
    "SELECT run_uuid, key, value FROM params",
    "SELECT run_uuid, key, value FROM tags WHERE key LIKE 'netcore.%'",
    "SELECT run_uuid, status, lifecycle_stage FROM runs",
)


def figures(folder: Path) -> list[list[tuple[object, ...]]] | None:
    """Read what counts in the database without MLflow; nothing if SQLite refuses."""
    database = sqlite3.connect(folder / "mlflow.db")
    try:
        return [sorted(database.execute(query), key=repr) for query in METRICS]
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return None
    finally:
        database.close()


def study_of(folder: Path) -> StudyFolder:
    """Give the study that is tracked there."""
    return StudyFolder(folder / "results" / "small")


def said(ask: Callable[[], object]) -> str:
    """Give the line that a command ends in; nothing if it goes well. Nothing else may come."""
    line = ""
    try:
        ask()
    except WorkError as error:
        line = str(error)
    assert "\n" not in line
    assert not line or line.startswith("MLflow at sqlite:///")
    return line


def examine(damaged: Path, synced: Path, *, mend: bool) -> bool:
    """Ask all that reads the database; say whether the damage was noticed."""
    study = study_of(damaged)
    findings: list[str] = []
    noticed = bool(said(lambda: findings.extend(problems(study))))
    if not noticed and not findings:
        found = figures(damaged)
        assert found is None or found == figures(synced)  # what it says holds, does
    said(lambda: links("http://127.0.0.1:5000"))
    said(lambda: sync(study))
    if mend:
        anew(damaged, damaged.with_name("anew"))
    return noticed or bool(findings)


def anew(damaged: Path, to: Path) -> None:
    """Delete the file and sync, in another folder: this process has the database open."""
    shutil.copytree(damaged, to, ignore=shutil.ignore_patterns("mlflow.db*", "mlruns"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(to)
        patch.setenv("MLFLOW_TRACKING_URI", address(to))
        assert sync(study_of(to)) == 24
        assert problems(study_of(to)) == []
    shutil.rmtree(to)


@pytest.mark.parametrize("number", faults(5, 50))
def test_a_database_that_is_cut_short_is_noticed(damaged: Path, synced: Path, number: int) -> None:
    """Truncated anywhere, the database is refused in one line, or verify names what is missing; sync makes it anew."""
    file = damaged / "mlflow.db"
    size = file.stat().st_size
    cut = random.Random(number).randrange(size - size // 50)  # noqa: S311  # what lies in the last pages may be unused
    with file.open("r+b") as database:
        database.truncate(cut)
    assert examine(damaged, synced, mend=number % 5 == 0)


@pytest.mark.parametrize("number", faults(5, 50))
def test_a_flipped_byte_is_noticed_or_changes_nothing(damaged: Path, synced: Path, number: int) -> None:
    """Where verify finds nothing, every metric, param, tag and status is what it was."""
    file = damaged / "mlflow.db"
    content = bytearray(file.read_bytes())
    rng = random.Random(1_000 + number)  # noqa: S311  # no secret
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    file.write_bytes(content)
    examine(damaged, synced, mend=number % 5 == 0 < number)


@pytest.mark.parametrize("number", faults(1, 20))
def test_a_figure_that_was_altered_is_found_and_mended(damaged: Path, number: int) -> None:
    """A bit of a metric's value, in its history or in what the pages show: verify fails, and --fix mends it."""
    file, study, before = damaged / "mlflow.db", study_of(damaged), figures(damaged)
    best = ranked(study.committed())[0]
    value = struct.pack(">d", best.result.value)
    content = bytearray(file.read_bytes())
    places = [at for at in range(len(content)) if content.startswith(value, at)]
    for place in places[number % 3 :]:  # some are of an index, from which nobody reads it
        altered = bytearray(content)
        altered[place + 1 + number % 7] ^= 1 << number % 8
        file.write_bytes(altered)
        if figures(damaged) != before:
            break
    assert figures(damaged) != before
    assert problems(study)
    clear(study.committed(), study)
    sync(study)
    assert problems(study) == []


@pytest.mark.parametrize("what", ["junk", "folder"])
def test_what_is_no_database_is_said(damaged: Path, what: str) -> None:
    """Junk or a folder at its place: verify, sync and ui's links each say so in one line, and at once."""
    file = damaged / "mlflow.db"
    file.unlink()
    file.mkdir() if what == "folder" else file.write_bytes(b"this is no database" * 100)
    study = study_of(damaged)
    for ask in (lambda: problems(study), lambda: sync(study), lambda: links("")):
        assert "refuses (" in said(ask)


def test_an_empty_file_is_none(damaged: Path) -> None:
    """An empty file is as if there were none: verify says that nothing was synced, and sync makes it.

    Beside it lies the journal of a writer that was killed: no page of the old database gets into the new one.
    """
    file, study = damaged / "mlflow.db", study_of(damaged)
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("UPDATE metrics SET value = 1")
        journal = (damaged / "mlflow.db-journal").read_bytes()
        database.rollback()
    database.close()
    (damaged / "mlflow.db-journal").write_bytes(journal)
    file.write_bytes(b"")
    (finding,) = (finding for each in look(study.committed(), study, complete=True) for finding in each.findings)
    assert "never synced" in str(finding)
    assert file.stat().st_size == 0
    assert sync(study) == 24
    assert problems(study) == []


def test_a_database_that_is_read_only_is_said(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify and the links read it as ever; sync, if it has something to write, says in one line that it may not."""
    study = study_of(damaged)
    for number in (0, 1):
        connect().delete_run(run_of(number))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///file:{damaged}/mlflow.db?mode=ro&uri=true")
    assert len(problems(study)) == 2
    assert "small" in links("http://127.0.0.1:5000")
    assert "attempt to write a readonly database" in said(lambda: sync(study))
