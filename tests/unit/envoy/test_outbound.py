"""Outbound listeners and their route configuration."""

from __future__ import annotations

from tests.unit.envoy.opened import opened
from weft.envoy import outbound
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.model.route import Backend, Rule, VirtualHost
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


def test_a_bound_port_is_one_service_whatever_the_host_says() -> None:
    rule = Rule(source="Service/s/a", backends=(Backend(OutboundCluster(80, "a")),))
    host = VirtualHost(domain="a", rules=(rule,), source="Service/s/a")
    key = BoundRoute(listen=Address(ip="127.0.0.1", port=5000), service="a", port=80, protocol=Protocol.HTTP, host=host)
    made = outbound.bound(key)
    assert (made.name, made.source) == ("bound|80|a", "Service/s/a")
    assert b"Service/s/a" in made.wire


def test_a_bound_tcp_port_leads_to_its_cluster() -> None:
    key = BoundRoute(
        listen=Address(ip="127.0.0.1", port=5000), service="db", port=5432, protocol=Protocol.TCP, cluster="c-db"
    )
    message = opened(listener.Listener, outbound.bound(key))
    assert message.filter_chains[0].filters[0].name == "envoy.filters.network.tcp_proxy"


def test_the_tunnel_is_inside_envoy() -> None:
    message = opened(listener.Listener, outbound.tunnel("tunnel"))
    assert (message.name, message.HasField("internal_listener"), message.HasField("address")) == ("tunnel", True, False)
