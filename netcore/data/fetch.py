"""ADDRESSES -> FILES: image sets, brought into the data folder from where they are published.

Nothing that comes over a network is believed. A file grows under a temporary name and takes its own when its size and
its SHA-256 are those that are pinned, so what bears the name is whole. An archive is never unpacked: it is read member
by member, if it holds exactly what it should, and nothing in it chooses a path.
"""

import hashlib
import tarfile
import time
import zlib
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

from netcore.data.image_sets import ImageSet, Pin, unpacked
from netcore.errors import DataError, Problem, WorkError
from netcore.files import TEMPORARY, is_file, make_folder, writing

__all__ = ["fetch"]

_PIECE = 1 << 16
_OLD = 3600.0
_ELSEWHERE = "change its permissions, or let NETCORE_DATA name another folder"
_ANEW = "nothing of it was used; fetch it anew"


def fetch(images: ImageSet, data: Path, *, patience: float = 30.0) -> int:
    """Bring what is missing of a set into its folder in the data folder; give the number of files that were missing.

    Files that are there and right stay as they are. An archive that lies in the folder is used, and stays; one that
    had to be fetched goes again. `patience` is how many seconds the server may be silent.

    Raises:
        DataError: a file that is there is not what it should be, or an archive is not; nothing was overwritten.
        InputError: the folder is not for writing.
        WorkError: no network, no answer, other bytes than there should be, or no space; nothing half done is left.
    """
    folder = data / images.folder
    _refuse_unpacked(folder, images.files)
    missing = _missing(folder, images.files)
    if not missing:
        return 0
    make_folder(folder, _ELSEWHERE)
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
        _take_members(archive, images, missing)
    finally:
        if absent:
            with suppress(OSError):
                archive.unlink()
    return len(missing)


def _refuse_unpacked(folder: Path, pins: Sequence[Pin]) -> None:
    """Refuse unpacked files: they would be read instead of the packed ones, and only those can be checked."""
    plain = [path for pin in pins if (path := unpacked(folder / pin.name)).name != pin.name and is_file(path)]
    if plain:
        remedy = "move it away to fetch the packed one, or use the folder as it is"
        raise DataError(*(Problem(str(path), "is unpacked, and cannot be checked", remedy=remedy) for path in plain))


def _missing(folder: Path, pins: Sequence[Pin]) -> list[Pin]:
    """Give those that are not there; refuse what is there and is something else."""
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
            raise DataError.at(path, f"cannot be read ({error.strerror or error})", remedy=_ELSEWHERE) from error
        if found != pin.sha256:
            remedy = "it was left as it is; move it away, then run the same command again"
            problems.append(Problem(str(path), f"its SHA-256 must be {pin.sha256}", found, remedy))
    if problems:
        raise DataError(*problems)
    return missing


def _clear(folder: Path) -> None:
    """Remove what fetches left that were killed; a file that another one is writing is never old."""
    for rest in folder.glob(f"*{TEMPORARY}"):
        with suppress(OSError):
            if time.time() - rest.stat().st_mtime > _OLD:
                rest.unlink()


# Over the network


def _download(address: str, pin: Pin, folder: Path, missing: Sequence[Pin], patience: float) -> None:
    """Bring one file; `missing` are those that the user has to bring where this cannot."""
    from pooch import HTTPDownloader  # noqa: PLC0415  # heavy: only where something is fetched
    from tqdm import tqdm  # noqa: PLC0415

    place, names = address + pin.name, ", ".join(other.name for other in missing)
    remedy = f"try again later, or put {names} into {folder} by hand and run the same command again"
    bar = {"desc": pin.name, "unit": "B", "unit_scale": True, "disable": None}  # None: shown on a terminal only
    with ExitStack() as stack:
        file = stack.enter_context(writing(folder / pin.name, _ELSEWHERE))
        progress = stack.enter_context(tqdm(total=pin.size, **bar))

        def answered(response: Any, **_: object) -> None:  # noqa: ANN401  # requests' type, and requests is pooch's
            stack.callback(response.close)
            response.raw.headers.pop("Content-Encoding", None)  # a .gz is to arrive as the .gz that it is

        options = {"timeout": patience, "headers": {"Accept-Encoding": "identity"}, "hooks": {"response": answered}}
        incoming = _Incoming(file, pin, place, remedy)
        try:
            HTTPDownloader(progressbar=progress, chunk_size=_PIECE, **options)(place, incoming, None)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None):  # an error of the disk; those of the network have no number here
                raise
            raise WorkError.at(place, _reason(error, incoming.size, pin), remedy=remedy) from error
        incoming.check()


def _reason(error: Exception, came: int, pin: Pin) -> str:
    """Say why a file did not come."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code}"
    kind = type(error).__name__
    if came:
        return f"broke off after {came:,} of {pin.size:,} bytes ({kind})"
    return f"cannot be reached: no network, or no answer ({kind})"


class _Incoming:
    """A file that is coming: counted and hashed on its way to the disk; more than there should be is refused."""

    def __init__(self, file: BinaryIO, pin: Pin, place: str, remedy: str) -> None:
        self._file, self._pin, self._place, self._remedy = file, pin, place, remedy
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        self.size += len(piece)
        if self.size > self._pin.size:
            raise self._wrong("more bytes")
        self._hash.update(piece)
        self._file.write(piece)

    def flush(self) -> None:
        """Do nothing: pooch asks for it after each piece."""

    def check(self) -> None:
        """See that all has come, and is what it should be."""
        if self._hash.hexdigest() != self._pin.sha256:
            raise self._wrong(f"{self.size:,} with {self._hash.hexdigest()}")

    def _wrong(self, got: str) -> WorkError:
        rule = f"must be {self._pin.size:,} bytes with SHA-256 {self._pin.sha256}"
        return WorkError.at(self._place, rule, got, f"nothing of it was kept; {self._remedy}")


# Out of an archive


def _take_members(path: Path, images: ImageSet, missing: Sequence[Pin]) -> None:
    """Write those members that are missing, once all names and sizes are known to be right."""
    wanted = {f"{images.folder}/{pin.name}": pin for pin in missing}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in _members(path, tar, images):
                if pin := wanted.get(member.name):
                    file = tar.extractfile(member)
                    _write_member(path, file.read() if file else b"", pin)
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as .tar.gz ({ascii(str(error))[1:-1]})", remedy=_ANEW) from error


def _members(path: Path, tar: tarfile.TarFile, images: ImageSet) -> list[tarfile.TarInfo]:
    """Give the members, in their order, if they are the files of the set, and nothing is there but they."""
    sizes = {f"{images.folder}/{pin.name}": pin.size for pin in images.files}
    rule = f"must hold the {len(sizes)} files of {images.folder}, each once, and nothing else"
    members: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        if member.isdir() and member.name == images.folder:
            continue
        if member.name not in sizes:
            what = "something else"
        elif member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            what = "no plain file"
        elif member.size != sizes[member.name]:
            what = f"{member.size:,} bytes and not {sizes[member.name]:,}"
        elif member.name in members:
            what = "there twice"
        else:
            members[member.name] = member
            continue
        raise DataError.at(path, rule, f"{member.name!a}, which is {what}", _ANEW)
    if lacking := sizes.keys() - members.keys():
        raise DataError.at(path, rule, f"none with the name {min(lacking)}", _ANEW)
    return list(members.values())


def _write_member(path: Path, content: bytes, pin: Pin) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != pin.sha256:
        raise DataError.at(f"{path}: {pin.name}", f"its SHA-256 must be {pin.sha256}", found, _ANEW)
    with writing(path.with_name(pin.name), _ELSEWHERE) as file:
        file.write(content)
