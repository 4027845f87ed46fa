"""Outbound listeners and their route configuration."""

from __future__ import annotations

from tests.unit.envoy.opened import opened
from weft.envoy import outbound
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.model.route import Backend, Redirect, Rule, VirtualHost
from weft.model.service import Address, Protocol
from weft.model.view import BoundRoute
from weft.names import OutboundCluster

PLACE = Place(Side.OUTBOUND)


def test_a_plain_proxy_is_one_listener() -> None:
    key = outbound.Outbound(listen=Address(ip="127.0.0.1", port=4000), place=PLACE, transparent=False)
    [made] = outbound.listeners(key)
    message = opened(listener.Listener, made)
    assert (message.name, message.address.socket_address.port_value) == ("outbound", 4000)
    assert not message.listener_filters


def test_a_captured_namespace_has_a_second_listener_that_never_sniffs() -> None:
    key = outbound.Outbound(listen=Address(ip="0.0.0.0", port=15001), place=PLACE, transparent=True)
    sniffed, opaque = (opened(listener.Listener, made) for made in outbound.listeners(key))
    assert [item.name for item in sniffed.listener_filters] == [
        "envoy.filters.listener.original_dst",
        "envoy.filters.listener.http_inspector",
    ]
    assert sniffed.continue_on_listener_filters_timeout
    ports = sniffed.listener_filters[1].filter_disabled.or_match.rules
    assert tuple(rule.destination_port_range.start for rule in ports) == outbound.SERVER_FIRST
    assert sniffed.HasField("default_filter_chain")
    assert opaque.address.socket_address.port_value == 15002
    assert [item.name for item in opaque.listener_filters] == ["envoy.filters.listener.original_dst"]


def test_the_route_configuration_holds_nothing_and_does_not_wait() -> None:
    message = opened(route.RouteConfiguration, outbound.route_configuration("outbound"))
    assert list(message.virtual_hosts) == []
    assert message.vhds.config_source.initial_fetch_timeout.nanos == 5_000_000


def bound_to(*rules: Rule) -> BoundRoute:
    host = VirtualHost(domain="a", rules=rules, source="Service/s/a")
    return BoundRoute(
        listen=Address(ip="127.0.0.1", port=5000), service="a", port=80, protocol=Protocol.HTTP, host=host
    )


def test_a_bound_port_is_one_service_whatever_the_host_says() -> None:
    key = outbound.routed(bound_to(Rule(source="Service/s/a", backends=(Backend(OutboundCluster(80, "a")),))))
    assert key is not None
    made = outbound.bound_routes(key)
    assert (made.name, made.source) == ("bound|80|a", "Service/s/a")
    [host] = opened(route.RouteConfiguration, made).virtual_hosts
    assert (list(host.domains), host.routes[0].route.cluster) == (["*"], "outbound|80||a")


def test_a_changed_rule_leaves_the_listener_of_a_bound_port_as_it_is() -> None:
    one, other = (
        bound_to(Rule(source="Service/s/a", backends=(Backend(OutboundCluster(80, name)),))) for name in ("a", "b")
    )
    assert outbound.unrouted(one) == outbound.unrouted(other)
    assert outbound.bound(one) == outbound.bound(other)
    assert outbound.bound(one).name == "bound|80|a"


def test_a_rule_that_envoy_would_refuse_answers_500_at_a_bound_port() -> None:
    key = outbound.routed(bound_to(Rule(source="HTTPRoute/s/bad", redirect=Redirect(host="a b\n", status=302))))
    assert key is not None
    [host] = opened(route.RouteConfiguration, outbound.bound_repaired(key)).virtual_hosts
    assert [list(host.domains), host.routes[0].direct_response.status] == [["*"], 500]


def test_a_bound_tcp_port_leads_to_its_cluster() -> None:
    key = BoundRoute(
        listen=Address(ip="127.0.0.1", port=5000), service="db", port=5432, protocol=Protocol.TCP, cluster="c-db"
    )
    assert outbound.routed(key) is None
    message = opened(listener.Listener, outbound.bound(outbound.unrouted(key)))
    assert message.filter_chains[0].filters[0].name == "envoy.filters.network.tcp_proxy"


def test_the_tunnel_is_inside_envoy() -> None:
    message = opened(listener.Listener, outbound.tunnel("tunnel"))
    assert (message.name, message.HasField("internal_listener"), message.HasField("address")) == ("tunnel", True, False)
