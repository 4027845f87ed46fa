"""What of a mesh one caller depends on."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from weft.memo import Memo
from weft.model.facts import facts_of, reduced
from weft.model.mesh import Mesh
from weft.model.route import Backend, RouteSet, Rule
from weft.model.service import Protocol, Service, ServicePort
from weft.model.trust import Peers, Shape
from weft.names import OutboundCluster, ServiceKey

CALLED, OTHER = ServiceKey("shop", "called"), ServiceKey("shop", "other")


def service(key: ServiceKey) -> Service:
    return Service(key, (ServicePort(80, "http", Protocol.HTTP, 8080),), "240.0.0.1", f"Service/shop/{key.name}")


def mesh(*, routes: dict[tuple[ServiceKey, int], RouteSet], epoch: str = "") -> Mesh:
    peers = {(key, 80): Peers(("spiffe://local/ns/shop/sa/x",), Shape.RAW, epoch=epoch) for key in (CALLED, OTHER)}
    nothing: MappingProxyType[Any, Any] = MappingProxyType({})
    return Mesh(
        services={key: service(key) for key in (CALLED, OTHER)},
        routes=routes,
        policies=nothing,
        endpoints=nothing,
        external_hosts=nothing,
        addresses=nothing,
        gateways=nothing,
        workloads=nothing,
        proxies=nothing,
        peers=peers,
    )


def test_only_the_services_that_are_called_or_routed_to_remain_with_their_peers() -> None:
    memo = Memo()
    facts = facts_of(mesh(routes={}), memo)
    small = reduced((((CALLED, 80),), (None,), *facts.called, memo), memo)
    assert small is not None
    assert (set(small.names.services), set(small.peers)) == ({CALLED}, {(CALLED, 80)})
    routed = RouteSet(
        producer=(Rule("HTTPRoute/shop/r/rules/0", backends=(Backend(OutboundCluster(80, OTHER.host)),)),)
    )
    small = reduced((((CALLED, 80),), (routed,), *facts.called, memo), memo)
    assert small is not None
    assert set(small.peers) == {(CALLED, 80), (OTHER, 80)}


def test_a_route_to_something_that_is_no_service_needs_everything() -> None:
    memo = Memo()
    routed = RouteSet(producer=(Rule("r", backends=(Backend(OutboundCluster(443, "example.com")),)),))
    assert reduced((((CALLED, 80),), (routed,), *facts_of(mesh(routes={}), memo).called, memo), memo) is None


def test_what_another_service_is_reached_by_changes_nothing_for_this_caller() -> None:
    memo, own = Memo(), Memo()
    before, after = mesh(routes={}), mesh(routes={})
    changed = {**after.peers, (OTHER, 80): Peers(epoch="2")}
    first = reduced((((CALLED, 80),), (None,), *facts_of(before, memo).called, memo), own)
    memo.turn()
    second = reduced((((CALLED, 80),), (None,), *facts_of(_with(after, changed), memo).called, memo), own)
    assert first is second


def _with(value: Mesh, peers: dict[tuple[ServiceKey, int], Peers]) -> Mesh:
    return Mesh(**{name: getattr(value, name) for name in Mesh.__struct_fields__} | {"peers": peers})
