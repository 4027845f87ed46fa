"""Places."""

from __future__ import annotations

from weft.envoy.filters.place import Place, Side


def test_names_are_asked_for_on_the_way_out_only() -> None:
    assert {side for side in Side if side.asks} == {Side.OUTBOUND, Side.EGRESS}


def test_equal_places_are_one_key() -> None:
    assert hash(Place(Side.EDGE)) == hash(Place(Side.EDGE))
    assert Place(Side.EDGE) != Place(Side.EDGE, tunnels=True)


def test_nothing_guards_a_place_unless_it_is_said() -> None:
    assert Place(Side.INBOUND).guarded == ""
