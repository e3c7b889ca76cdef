"""ADDRESSES -> FILES: image sets, downloaded into the data folder.

Nothing that comes over a network is trusted. A file is written under a temporary name and renamed only if its SHA-256
is the pinned one, so a file with the right name is whole. Files that already exist are checked in the same way and
never overwritten. A checked archive is the official one; its members are written under the names of the set.
"""

import hashlib
import tarfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from netcore.data.image_sets import ImageSet, Pin
from netcore.errors import DataError, Problem, WorkError
from netcore.files import TEMPORARY, is_file, make_folder, writing

_CANNOT_WRITE = "change its permissions, or set NETCORE_DATA to another folder"
"""The remedy for a data folder that cannot be written."""
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
    missing = _missing(folder, images.files)
    if not missing:
        return 0
    make_folder(folder, _CANNOT_WRITE)
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
        _unpack(archive, images.folder, missing)
    finally:
        if absent:
            with suppress(OSError):
                archive.unlink()
    return len(missing)


def _missing(folder: Path, pins: Sequence[Pin]) -> list[Pin]:
    """Return the files that are missing; check that the existing ones are the pinned ones."""
    missing: list[Pin] = []
    problems: list[Problem] = []
    for pin in pins:
        path = folder / pin.name
        if not is_file(path):
            missing.append(pin)
        elif (found := _sha256(path)) != pin.sha256:
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


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(archive: Path, folder: str, missing: Sequence[Pin]) -> None:
    """Write the missing files of a set from its archive, whose SHA-256 was checked."""
    with tarfile.open(archive) as tar:
        for pin in missing:
            member = tar.extractfile(f"{folder}/{pin.name}")
            with writing(archive.with_name(pin.name), _CANNOT_WRITE) as file:
                file.write(member.read() if member else b"")


def _download(address: str, pin: Pin, folder: Path, missing: Sequence[Pin], patience: float) -> None:
    """Download one file; if that fails, the message asks the user to supply the `missing` ones.

    Raises:
        InputError, WorkError: as in `writing`.
        WorkError: no answer within `patience` seconds, a connection that breaks, or other bytes than the pinned ones.
    """
    from pooch import HTTPDownloader  # noqa: PLC0415  # heavy: only where something is fetched
    from tqdm import tqdm  # noqa: PLC0415

    place, names = address + pin.name, ", ".join(other.name for other in missing)
    remedy = f"try again later, or copy {names} into {folder} and run the same command again"
    # pooch sets the total to the length that the server states; without `disable` the bar is shown in files, too.
    bar: Any = {"total": 1, "desc": pin.name, "unit": "B", "unit_scale": True, "disable": None}
    with writing(folder / pin.name, _CANNOT_WRITE) as file, tqdm(**bar) as progress, ExitStack() as stack:

        def answered(response: Any, **_: object) -> None:  # noqa: ANN401  # requests' type, and requests is pooch's
            stack.callback(response.close)
            response.raw.headers.pop("Content-Encoding", None)  # keep a .gz packed

        options = {"timeout": patience, "headers": {"Accept-Encoding": "identity"}, "hooks": {"response": answered}}
        try:
            HTTPDownloader(progressbar=progress, chunk_size=1 << 16, **options)(place, file, None)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None):  # an error of the disk; network errors have no number here
                raise
            raise WorkError.at(place, f"cannot be downloaded ({_reason(error)})", remedy=remedy) from error
        found = _sha256(Path(file.name))
        if found != pin.sha256:
            raise WorkError.at(place, f"its SHA-256 must be {pin.sha256}", found, f"nothing was kept; {remedy}")


def _reason(error: Exception) -> str:
    """Return why a download failed."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    return f"no network, or the connection broke: {type(error).__name__}"
