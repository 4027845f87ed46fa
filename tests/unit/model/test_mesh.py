from __future__ import annotations

import msgspec

from tests.support.trust import process
from weft.model.mesh import Placements, unix
from weft.model.service import Address


def test_a_unix_address_is_a_path() -> None:
    assert unix("/run/a") == Address(path="/run/a")


def test_equal_placements_are_equal_keys() -> None:
    assert {Placements(): 1}[Placements()] == 1


def test_a_placed_process_is_found_by_its_name_and_its_being_looked_for_changes_nothing() -> None:
    pay, other = process(), process("pay-v1-0", namespace="bank")
    made, twin = Placements((pay, other)), Placements((pay, other))
    assert made.by_name == {("shop", "pay-v1-0"): pay, ("bank", "pay-v1-0"): other}
    assert made.by_name is made.by_name
    assert (made, hash(made)) == (twin, hash(twin))
    assert msgspec.json.encode(made) == msgspec.json.encode(twin)
