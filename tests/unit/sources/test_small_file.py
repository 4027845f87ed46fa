from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from weft.sources import small_file
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_value_survives_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    assert small_file.read(path, tuple[str, ...], ("none",)) == ("none",)
    small_file.write(path, ("a", "b"))
    small_file.write(path, ("c",))
    assert small_file.read(path, tuple[str, ...], ()) == ("c",)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'["a", 1]', b"\xff"])
def test_a_damaged_file_is_not_taken_for_an_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.json"
    small_file.write(path, ("a",))
    path.write_bytes(content)
    with pytest.raises(UnusableError, match="WFT-1882"):
        small_file.read(path, tuple[str, ...], ())


def test_a_file_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    small_file.write(path, ("a",))
    path.chmod(0o660)
    with pytest.raises(UnusableError, match="WFT-1513"):
        small_file.read(path, tuple[str, ...], ())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    small_file.write(tmp_path / "real.json", ("a",))
    (tmp_path / "value.json").symlink_to(tmp_path / "real.json")
    with pytest.raises(UnusableError, match="WFT-1504"):
        small_file.read(tmp_path / "value.json", tuple[str, ...], ())


def test_a_directory_that_is_gone_fails_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="WFT-1504"):
        small_file.write(tmp_path / "gone" / "value.json", ("a",))
