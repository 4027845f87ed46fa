"""Virtual hosts."""

from __future__ import annotations

from tests.unit.envoy.opened import opened
from weft.envoy import virtual_hosts
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.model.route import Backend, Rule, VirtualHost
from weft.names import OutboundCluster

RULE = Rule(source="HTTPRoute/s/r/rules/0", backends=(Backend(OutboundCluster(80, "a")),))


def made(host: VirtualHost, *, tunnels: bool = False) -> route.VirtualHost:
    return opened(route.VirtualHost, virtual_hosts.asked(virtual_hosts.Asked(host, tunnels)))


def test_a_host_is_named_as_it_was_asked_for_and_ends_with_an_explanation() -> None:
    message = made(VirtualHost(domain="a:80", rules=(RULE,), source="Service/s/a"))
    assert (message.name, list(message.domains)) == ("outbound/a:80", ["a:80"])
    assert [item.name for item in message.routes] == ["HTTPRoute/s/r/rules/0", "no-match"]
    assert message.routes[1].direct_response.status == 404
    assert message.metadata.filter_metadata["weft"].fields["source"].string_value == "Service/s/a"


def test_an_unknown_host_is_answered_502() -> None:
    [only] = made(VirtualHost(domain="x", unknown="no x")).routes
    assert (only.direct_response.status, only.direct_response.body.inline_string) == (502, "no x\n")


def test_a_caller_that_would_be_refused_is_told_so() -> None:
    host = VirtualHost(domain="x", rules=(RULE,), refused="weft: a may not call x")
    [only] = made(host).routes
    assert (only.direct_response.status, only.direct_response.body.inline_string) == (403, "weft: a may not call x\n")


def test_who_asks_by_connect_is_told_as_much() -> None:
    for host in (VirtualHost(domain="x", rules=(RULE,), refused="no"), VirtualHost(domain="x", unknown="no x")):
        connect, request = made(host, tunnels=True).routes
        assert (connect.match.HasField("connect_matcher"), connect.direct_response) == (True, request.direct_response)
        assert request.match.prefix == "/"


def test_a_host_without_anything_is_absent() -> None:
    wire = virtual_hosts.asked(virtual_hosts.Asked(VirtualHost(domain="x"))).wire
    assert not discovery.Resource.FromString(wire).HasField("resource")


def test_passing_through_leads_to_its_cluster() -> None:
    [only] = made(VirtualHost(domain="x", passthrough=True)).routes
    assert only.route.cluster == "passthrough"
    connect, _ = made(VirtualHost(domain="x", passthrough=True), tunnels=True).routes
    assert connect.match.HasField("connect_matcher")


def test_a_tunnel_goes_to_the_first_backend_if_there_is_one() -> None:
    connect, *_ = made(VirtualHost(domain="x", rules=(Rule(source="s"), RULE)), tunnels=True).routes
    assert connect.route.cluster == "outbound|80||a"
    assert connect.route.upgrade_configs[0].upgrade_type == "CONNECT"
    names = [item.name for item in made(VirtualHost(domain="x", rules=(Rule(source="s"),)), tunnels=True).routes]
    assert names == ["s", "no-match"]


def test_repairing_a_good_host_changes_nothing() -> None:
    key = virtual_hosts.Asked(VirtualHost(domain="x", rules=(RULE,)))
    assert virtual_hosts.repaired(key) == virtual_hosts.asked(key)
