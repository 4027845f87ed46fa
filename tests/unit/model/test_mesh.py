from __future__ import annotations

from weft.model.mesh import Placements, unix
from weft.model.service import Address


def test_a_unix_address_is_a_path() -> None:
    assert unix("/run/a") == Address(path="/run/a")


def test_equal_placements_are_equal_keys() -> None:
    assert {Placements(): 1}[Placements()] == 1
