"""ADDRESSES -> FILES: image sets, downloaded into the data folder.

Nothing that comes over a network is trusted. A file is written under a temporary name and renamed only if its size and
SHA-256 are the pinned ones, so a file with the right name is whole. Files that already exist are checked in the same
way and never overwritten.
"""

import hashlib
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

from netcore.data.image_archive import CANNOT_WRITE, take_members
from netcore.data.image_sets import ImageSet, Pin, unpacked
from netcore.errors import DataError, Problem, WorkError
from netcore.files import TEMPORARY, is_file, make_folder, writing

_PIECE = 1 << 16
_OLD = 3600.0
"""Seconds after which a temporary file belongs to a killed download."""


def fetch(images: ImageSet, data: Path, *, patience: float = 30.0) -> int:
    """Download the missing files of an image set into its folder in the data folder; return how many were missing.

    Existing files stay as they are. An archive in the folder is used and kept; a downloaded one is removed afterwards.
    `patience` is the time, in seconds, that the server may be silent.

    Raises:
        DataError: an existing file or the archive is not the pinned one; nothing was overwritten.
        InputError: the folder cannot be written.
        WorkError: no network, no answer, other bytes than the pinned ones, or no space; no partial file is left.
    """
    folder = data / images.folder
    _refuse_unpacked(folder, images.files)
    missing = _missing(folder, images.files)
    if not missing:
        return 0
    make_folder(folder, CANNOT_WRITE)
    _clear(folder)
    if images.archive is None:
        for number, pin in enumerate(missing):
            _download(images.address, pin, folder, missing[number:], patience)
        return len(missing)
    archive = folder / images.archive.name
    absent = _missing(folder, [images.archive])
    if absent:
        _download(images.address, images.archive, folder, absent, patience)
    try:
        take_members(archive, images, missing)
    finally:
        if absent:
            with suppress(OSError):
                archive.unlink()
    return len(missing)


def _refuse_unpacked(folder: Path, pins: Sequence[Pin]) -> None:
    """Check that no unpacked file exists: it would be read instead of the packed one, which alone can be checked."""
    plain = [path for pin in pins if (path := unpacked(folder / pin.name)).name != pin.name and is_file(path)]
    if plain:
        remedy = "move it away to download the packed one, or use the folder as it is"
        raise DataError(*(Problem(str(path), "is unpacked and cannot be checked", remedy=remedy) for path in plain))


def _missing(folder: Path, pins: Sequence[Pin]) -> list[Pin]:
    """Return the files that are missing; check that the existing ones are the pinned ones."""
    missing: list[Pin] = []
    problems: list[Problem] = []
    for pin in pins:
        path = folder / pin.name
        if not is_file(path):
            missing.append(pin)
            continue
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError.at(path, f"cannot be read ({error.strerror or error})", remedy=CANNOT_WRITE) from error
        if found != pin.sha256:
            remedy = "move it away, then run the same command again"
            problems.append(Problem(str(path), f"its SHA-256 must be {pin.sha256}", found, remedy))
    if problems:
        raise DataError(*problems)
    return missing


def _clear(folder: Path) -> None:
    """Remove the temporary files of killed downloads; a file that is still being written is never old."""
    for rest in folder.glob(f"*{TEMPORARY}"):
        with suppress(OSError):
            if time.time() - rest.stat().st_mtime > _OLD:
                rest.unlink()


def _download(address: str, pin: Pin, folder: Path, missing: Sequence[Pin], patience: float) -> None:
    """Download one file; if that fails, the message asks the user to supply the `missing` ones."""
    from pooch import HTTPDownloader  # noqa: PLC0415  # heavy: only where something is fetched
    from tqdm import tqdm  # noqa: PLC0415

    place, names = address + pin.name, ", ".join(other.name for other in missing)
    remedy = f"try again later, or copy {names} into {folder} and run the same command again"
    bar = {"desc": pin.name, "unit": "B", "unit_scale": True, "disable": None}  # None: shown on a terminal only
    with ExitStack() as stack:
        file = stack.enter_context(writing(folder / pin.name, CANNOT_WRITE))
        progress = stack.enter_context(tqdm(total=pin.size, **bar))

        def answered(response: Any, **_: object) -> None:  # noqa: ANN401  # requests' type, and requests is pooch's
            stack.callback(response.close)
            response.raw.headers.pop("Content-Encoding", None)  # keep a .gz packed

        options = {"timeout": patience, "headers": {"Accept-Encoding": "identity"}, "hooks": {"response": answered}}
        incoming = _Incoming(file, pin, place, remedy)
        try:
            HTTPDownloader(progressbar=progress, chunk_size=_PIECE, **options)(place, incoming, None)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None):  # an error of the disk; network errors have no number here
                raise
            raise WorkError.at(place, _reason(error, incoming.size, pin), remedy=remedy) from error
        incoming.check()


def _reason(error: Exception, came: int, pin: Pin) -> str:
    """Return why a download failed; `came` is the number of bytes that arrived."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    kind = type(error).__name__
    if came:
        return f"the download stopped after {came:,} of {pin.size:,} bytes ({kind})"
    return f"cannot be reached: no network, or no answer ({kind})"


class _Incoming:
    """A file that is being downloaded: counted and hashed on its way to the disk; surplus bytes are refused."""

    def __init__(self, file: BinaryIO, pin: Pin, place: str, remedy: str) -> None:
        self._file, self._pin, self._place, self._remedy = file, pin, place, remedy
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Write the next piece."""
        self.size += len(piece)
        if self.size > self._pin.size:
            raise self._wrong("more bytes")
        self._hash.update(piece)
        self._file.write(piece)

    def flush(self) -> None:
        """Do nothing; pooch calls this after each piece."""

    def check(self) -> None:
        """Check that the whole file came, with the pinned hash."""
        if self._hash.hexdigest() != self._pin.sha256:
            raise self._wrong(f"{self.size:,} with {self._hash.hexdigest()}")

    def _wrong(self, got: str) -> WorkError:
        """Return the error of a file with other content."""
        rule = f"must be {self._pin.size:,} bytes with SHA-256 {self._pin.sha256}"
        return WorkError.at(self._place, rule, got, f"nothing was kept; {self._remedy}")
