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
