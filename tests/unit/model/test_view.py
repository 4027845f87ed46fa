from __future__ import annotations

from weft.model.service import Capture, Placement
from weft.model.view import Demand, View


def test_demands_are_equal_whatever_the_order_of_asking() -> None:
    assert Demand(frozenset(("a", "b"))) == Demand(frozenset(("b", "a")))


def test_an_empty_view_can_be_a_key() -> None:
    made = View(node="n", placement=Placement.SIDECAR, namespace="d", name="x", capture=Capture.NONE)
    assert {made: 1}[made] == 1
