"""An image set's archive: read member by member, and never unpacked.

An archive is used only if it contains exactly the files of the set. Each file is written under the name that the set
has for it, so nothing in the archive chooses a path, and only if its SHA-256 is the pinned one.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from netcore.data.image_sets import ImageSet, Pin
from netcore.errors import DataError
from netcore.files import writing

CANNOT_WRITE = "change its permissions, or set NETCORE_DATA to another folder"
"""The remedy for a data folder that cannot be written."""

_AGAIN = "nothing in it was used; download it again"


def take_members(path: Path, images: ImageSet, missing: Sequence[Pin]) -> None:
    """Write the missing files of a set from its archive, after all names and sizes have been checked.

    Raises:
        DataError: the archive is damaged, contains something else, or a file has another SHA-256.
    """
    wanted = {f"{images.folder}/{pin.name}": pin for pin in missing}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in _members(path, tar, images):
                if pin := wanted.get(member.name):
                    file = tar.extractfile(member)
                    _write_member(path, file.read() if file else b"", pin)
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as .tar.gz ({ascii(str(error))[1:-1]})", remedy=_AGAIN) from error


def _members(path: Path, tar: tarfile.TarFile, images: ImageSet) -> list[tarfile.TarInfo]:
    """Return the archive's members in their order: the files of the set, each once, and nothing else."""
    sizes = {f"{images.folder}/{pin.name}": pin.size for pin in images.files}
    rule = f"must contain the {len(sizes)} files of {images.folder}, each once, and nothing else"
    members: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        if member.isdir() and member.name == images.folder:
            continue
        if member.name not in sizes:
            what = "another file"
        elif member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            what = "not a plain file"
        elif member.size != sizes[member.name]:
            what = f"{member.size:,} bytes instead of {sizes[member.name]:,}"
        elif member.name in members:
            what = "there twice"
        else:
            members[member.name] = member
            continue
        raise DataError.at(path, rule, f"{member.name!a}, {what}", _AGAIN)
    if lacking := sizes.keys() - members.keys():
        raise DataError.at(path, rule, f"no {min(lacking)}", _AGAIN)
    return list(members.values())


def _write_member(path: Path, content: bytes, pin: Pin) -> None:
    """Write one member beside the archive."""
    found = hashlib.sha256(content).hexdigest()
    if found != pin.sha256:
        raise DataError.at(f"{path}: {pin.name}", f"its SHA-256 must be {pin.sha256}", found, _AGAIN)
    with writing(path.with_name(pin.name), CANNOT_WRITE) as file:
        file.write(content)
