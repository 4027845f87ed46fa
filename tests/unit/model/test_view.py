from __future__ import annotations

from weft.model.service import Capture, Placement, Protocol
from weft.model.trust import Peers, Shape
from weft.model.view import Demand, Upstream, View


def test_demands_are_equal_whatever_the_order_of_asking() -> None:
    assert Demand(frozenset(("a", "b"))) == Demand(frozenset(("b", "a")))


def test_an_empty_view_can_be_a_key() -> None:
    made = View(node="n", placement=Placement.SIDECAR, namespace="d", name="x", capture=Capture.NONE)
    assert {made: 1}[made] == 1


def test_only_what_is_understood_as_requests_is_pooled_as_requests() -> None:
    def shape(protocol: Protocol, shape: Shape, *, mixed: bool = False, tunnel: str = "") -> Shape:
        peers = Peers(("spiffe://local/ns/a/sa/b",), shape, mixed)
        return Upstream("c", protocol, "s", tunnel=tunnel, peers=peers).shape

    assert shape(Protocol.HTTP, Shape.HTTP) is Shape.HTTP
    assert shape(Protocol.TCP, Shape.HTTP) is Shape.RAW, "a connection by its address to a port that speaks HTTP"
    assert shape(Protocol.TCP, Shape.TUNNEL) is Shape.TUNNEL
    assert shape(Protocol.HTTP, Shape.TUNNEL) is Shape.RAW
    assert shape(Protocol.TCP, Shape.TUNNEL, mixed=True) is Shape.RAW
    assert shape(Protocol.TCP, Shape.PLAIN) is Shape.PLAIN
    assert shape(Protocol.TCP, Shape.TUNNEL, tunnel="/egress") is Shape.PLAIN
    assert Upstream("c", Protocol.TCP, "s", peers=Peers((), Shape.TUNNEL)).pooled
