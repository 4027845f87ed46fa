"""The order of filters."""

from __future__ import annotations

import pytest

from weft.envoy.filters import chain, on_demand, router
from weft.envoy.filters.place import Place, Side


@pytest.mark.parametrize(
    ("place", "names"),
    [
        (Place(Side.OUTBOUND), ["on_demand", "cors", "router"]),
        (Place(Side.EGRESS, looks_up=True), ["on_demand", "cors", "dynamic_forward_proxy", "router"]),
        (Place(Side.EDGE), ["cors", "router"]),
        (Place(Side.EDGE, guarded="gateway|80|a/b"), ["cors", "gateway|80|a/b/policy", "router"]),
        (Place(Side.INBOUND), ["router"]),
    ],
)
def test_each_place_has_the_filters_that_do_something_there(place: Place, names: list[str]) -> None:
    assert [item.name.rpartition(".")[2] for item in chain.http_filters(place)] == names


def test_routes_are_known_first_and_the_router_is_last() -> None:
    assert chain.ORDER[0] is on_demand.filter_
    assert chain.ORDER[-1] is router.filter_
