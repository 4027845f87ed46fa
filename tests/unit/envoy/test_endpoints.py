"""Endpoints by locality."""

from __future__ import annotations

from tests.unit.envoy.opened import opened
from weft.envoy import endpoints
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint
from weft.model.service import Address, Endpoint, Locality
from weft.model.view import Assignment


def made(*items: Endpoint) -> endpoint.ClusterLoadAssignment:
    return opened(endpoint.ClusterLoadAssignment, endpoints.assignment(Assignment(name="c", endpoints=items)))


def test_endpoints_are_grouped_by_locality_whatever_their_order() -> None:
    here, there = Locality("eu", "a"), Locality("eu", "b")
    items = [Endpoint(Address(path=f"/{number}"), here if number % 2 else there) for number in range(4)]
    message = made(*items)
    assert [group.locality.zone for group in message.endpoints] == ["a", "b"]
    assert [len(group.lb_endpoints) for group in message.endpoints] == [2, 2]
    assert message == made(*reversed(items))


def test_weights_draining_and_the_workload_are_kept() -> None:
    [group] = made(Endpoint(Address(ip="10.0.0.1", port=80), weight=3, draining=True, workload="shop/cart-0")).endpoints
    [item] = group.lb_endpoints
    assert item.load_balancing_weight.value == 3
    assert item.health_status == core.HealthStatus.DRAINING
    assert item.metadata.filter_metadata["weft"].fields["workload"].string_value == "shop/cart-0"
    assert not group.HasField("locality")


def test_a_cluster_without_endpoints_is_answered_too() -> None:
    message = made()
    assert (message.cluster_name, list(message.endpoints)) == ("c", [])


def test_what_drains_is_left_out_while_something_else_is_there() -> None:
    staying, leaving = Endpoint(Address(path="/a")), Endpoint(Address(path="/b"), draining=True)
    [group] = made(staying, leaving).endpoints
    assert [item.endpoint.address.pipe.path for item in group.lb_endpoints] == ["/a"]


def test_an_endpoint_with_a_proxy_has_its_name_for_the_sni_and_is_told_apart_from_one_without() -> None:
    [group] = made(
        Endpoint(Address(path="/a"), name="80.a.default.h.h.weft"), Endpoint(Address(ip="10.0.0.1", port=1))
    ).endpoints
    found = {
        item.endpoint.hostname: "envoy.transport_socket_match" in item.metadata.filter_metadata
        for item in group.lb_endpoints
    }
    assert found == {"80.a.default.h.h.weft": True, "": False}


def test_pooled_tunnels_have_the_endpoints_of_what_they_carry() -> None:
    key = Assignment(name="tcp|248.0.0.1:1", endpoints=(Endpoint(Address(path="/a")),))
    message = opened(endpoint.ClusterLoadAssignment, endpoints.tunnelled(key))
    assert message.cluster_name == "tunnel|tcp|248.0.0.1:1"
    assert len(message.endpoints[0].lb_endpoints) == 1
