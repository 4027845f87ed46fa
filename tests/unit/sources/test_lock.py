from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from weft.sources import lock
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_holder_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    held = lock.lock(tmp_path / "state")
    with pytest.raises(UnusableError) as caught:
        lock.lock(tmp_path / "state")
    assert caught.value.problem.code == "WFT-1503"
    assert str(os.getpid()) in caught.value.problem.message
    os.close(held)
    os.close(lock.lock(tmp_path / "state"))


def test_the_directory_and_the_lock_belong_to_their_owner_alone(tmp_path: Path) -> None:
    held = lock.lock(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "lock").stat().st_mode & 0o777 == 0o600
    os.close(held)


def test_a_place_where_no_directory_can_be_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnusableError, match="WFT-1504"):
        lock.lock(tmp_path / "file" / "state")
