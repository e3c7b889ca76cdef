"""Well-known image sets: where they are published, and the SHA-256 of every file.

A pin is `checked` if it was compared with the official file itself; the others are copied from other publications.
`netcore.data.fetch` downloads the files. To add a set, add an entry to `IMAGE_SETS`.
"""

from dataclasses import dataclass
from pathlib import Path

from netcore.files import is_file


@dataclass(frozen=True)
class Pin:
    """A file, identified by its content."""

    name: str
    sha256: str
    """In hexadecimal."""
    checked: bool = False
    """Whether the SHA-256 was compared with the official file itself."""


@dataclass(frozen=True)
class ImageSet:
    """The files of a data set."""

    folder: str
    """Its name in the data folder: a study file's `path`."""
    address: str
    """The URL up to the name of each file, or of the archive."""
    files: tuple[Pin, ...]
    archive: Pin | None = None
    """A .tar.gz with the folder and its files, if the set is published as one."""


_IDX_FILES = tuple(f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))


def _idx(*sha256: str, checked: bool) -> tuple[Pin, ...]:
    """Return the pins of the four files of an IDX set."""
    return tuple(Pin(name, pin, checked) for name, pin in zip(_IDX_FILES, sha256, strict=True))


# The archive's SHA-256 is published by Keras; those of its unchecked members come from several public projects, which
# agree with one another and with the checked members.
_CIFAR10 = (
    Pin("data_batch_1", "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd", checked=True),
    Pin("data_batch_2", "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"),
    Pin("data_batch_3", "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"),
    Pin("data_batch_4", "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"),
    Pin("data_batch_5", "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"),
    Pin("test_batch", "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831", checked=True),
    Pin("batches.meta", "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb", checked=True),
    Pin("readme.html", "4d1c3fb199d6a183ae03f5162b469d7bc04edf2fad9547bd5f224271d52f98e5"),
)
_CIFAR10_ARCHIVE = Pin("cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce")

# As torchvision publishes them.
_MNIST = _idx(
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    checked=False,
)
_FASHION_MNIST = _idx(
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    checked=True,
)

# MNIST comes from PyTorch's mirror: the authors' server, yann.lecun.com, refuses. Fashion-MNIST's has no https.
_MNIST_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION_MNIST_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

IMAGE_SETS = {
    "cifar10": ImageSet("cifar-10-batches-py", "https://www.cs.toronto.edu/~kriz/", _CIFAR10, _CIFAR10_ARCHIVE),
    "mnist": ImageSet("mnist", _MNIST_ADDRESS, _MNIST),
    "fashion-mnist": ImageSet("fashion-mnist", _FASHION_MNIST_ADDRESS, _FASHION_MNIST),
}
"""By name, as in `netcore data fetch NAME`."""


def present(images: ImageSet, data: Path) -> int:
    """Return how many files of a set are in the data folder, packed or not, without reading them."""
    folder = data / images.folder
    return sum(is_file(folder / pin.name) or is_file(folder / pin.name.removesuffix(".gz")) for pin in images.files)
