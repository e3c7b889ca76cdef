"""Whatever happens to a file of data, its reader gives data or one line of netcore's own: no other error, no call.

Ten damaged files of each format in every run; ten thousand with `make fuzz`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from formats import DATA, damage, write_data
from hypothesis import given, settings
from hypothesis import strategies as st

from netcore.data import Dataset
from netcore.errors import DataError

Whole = tuple[Path, Callable[[], Dataset], bytes]


@pytest.fixture(params=DATA)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Whole:
    """Return a file of whole data, what loads the data, and the content of the file."""
    path, load = write_data(tmp_path / "data", request.param)
    return path, load, path.read_bytes()


def check(whole: Whole, data: st.DataObject) -> None:
    """Damage one file and load."""
    path, load, content = whole
    path.write_bytes(damage(content, data))
    try:
        load()
    except DataError as error:
        assert str(error).isprintable()  # noqa: PT017  # both ends are right, and the line must be


@settings(max_examples=10)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(whole: Whole, data: st.DataObject) -> None:
    """Ten damaged files of each format: data, or one printable line."""
    check(whole, data)


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
@settings(derandomize=False, database=None, max_examples=10_000)
@given(data=st.data())
def test_ten_thousand_damaged_files_are_read_or_refused(whole: Whole, data: st.DataObject) -> None:
    """Ten thousand damaged files of each format: data, or one printable line."""
    check(whole, data)
