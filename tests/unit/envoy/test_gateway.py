"""Edges."""

from __future__ import annotations

import pytest

from tests.unit.envoy.opened import opened
from weft.envoy import gateway
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.model.mesh import GatewayPort
from weft.model.route import Backend, HeaderEdit, Redirect, Rule, VirtualHost
from weft.model.service import Address, Protocol
from weft.names import OutboundCluster

GOOD = Rule(source="HTTPRoute/s/good/rules/0", backends=(Backend(OutboundCluster(80, "a")),))
BAD = Rule(
    source="HTTPRoute/s/bad/rules/0",
    backends=(Backend(OutboundCluster(80, "a")),),
    request_headers=HeaderEdit(set=(("bad name\n", "v"),)),
)


def test_a_listener_asks_for_its_routes_by_its_own_name() -> None:
    made = gateway.edge(gateway.Edge(gateway="s/g", number=80, is_http=True, listen=Address(ip="127.0.0.1", port=8080)))
    assert (made.name, made.source) == ("gateway|80|s/g", "Gateway/s/g")
    assert b"gateway|80|s/g" in opened(listener.Listener, made).filter_chains[0].filters[0].typed_config.value


def test_a_port_that_is_not_http_leads_nowhere_yet() -> None:
    made = gateway.edge(gateway.Edge(gateway="s/g", number=1, is_http=False, listen=Address(path="/e")))
    assert b"blackhole" in opened(listener.Listener, made).filter_chains[0].filters[0].typed_config.value


def test_hosts_keep_their_order_and_a_refused_rule_is_replaced() -> None:
    hosts = (VirtualHost(domain="a.example", rules=(BAD, GOOD)), VirtualHost(domain="*.example", rules=(GOOD,)))
    key = gateway.Routes(gateway="s/g", port=GatewayPort(number=80, protocol=Protocol.HTTP, hosts=hosts))
    message = opened(route.RouteConfiguration, gateway.routes(key))
    assert [host.domains[0] for host in message.virtual_hosts] == ["a.example", "*.example"]
    repaired = opened(route.RouteConfiguration, gateway.repaired(key))
    bad, good, _ = repaired.virtual_hosts[0].routes
    assert (bad.direct_response.status, good.route.cluster) == (500, "outbound|80||a")


@pytest.mark.parametrize(
    ("scheme", "port", "listening", "said"),
    [
        ("", 0, 80, 0),
        ("", 0, 8080, 8080),
        ("", 0, 10080, 10080),
        ("", 80, 8080, 0),
        ("", 443, 8080, 443),
        ("http", 0, 8080, 0),
        ("https", 0, 8080, 0),
        ("https", 443, 80, 0),
        ("https", 8443, 80, 8443),
        ("https", 80, 8080, 80),
    ],
)
def test_a_redirect_stays_at_the_listeners_port_and_says_no_port_that_its_scheme_means(
    scheme: str, port: int, listening: int, said: int
) -> None:
    made = route.RedirectAction(scheme_redirect=scheme, port_redirect=port)
    assert gateway.redirect_port(made, listening) == said


def test_a_redirect_names_the_port_where_the_agent_could_listen() -> None:
    away = Rule(source="HTTPRoute/s/r/rules/0", redirect=Redirect(host="b.example"))
    hosts = (VirtualHost(domain="a.example", rules=(away,)),)
    key = gateway.Routes(gateway="s/g", port=GatewayPort(number=80, protocol=Protocol.HTTP, hosts=hosts), bound=10080)
    message = opened(route.RouteConfiguration, gateway.routes(key))
    assert message.virtual_hosts[0].routes[0].redirect.port_redirect == 10080
