"""Inbound listeners."""

from __future__ import annotations

import pytest

from tests.unit.envoy.opened import opened
from weft.envoy import inbound
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.model.service import Address, Protocol, WorkloadPort
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind, TlsMode


@pytest.mark.parametrize(
    ("protocol", "filter_name"),
    [
        (Protocol.HTTP, "envoy.filters.network.http_connection_manager"),
        (Protocol.GRPC, "envoy.filters.network.http_connection_manager"),
        (Protocol.TCP, "envoy.filters.network.tcp_proxy"),
        (Protocol.TLS, "envoy.filters.network.tcp_proxy"),
    ],
)
def test_a_port_has_a_private_socket_and_its_protocols_filter(protocol: Protocol, filter_name: str) -> None:
    port = WorkloadPort(
        number=9080,
        name="p",
        protocol=protocol,
        listen=Address(path="/in"),
        application=Address(ip="127.0.0.1", port=9080),
    )
    message = opened(listener.Listener, inbound.inbound(inbound.Inbound(port)))
    assert message.name == "inbound|9080"
    assert message.address.pipe.mode == 0o600
    assert message.filter_chains[0].filters[0].name == filter_name
    assert b"inbound|9080||" in message.filter_chains[0].filters[0].typed_config.value


ID = "spiffe://local/ns/default/sa/caller"


def asking(attribute: Attribute, value: str) -> Guard:
    """A guard with one rule about one attribute."""
    rule = AuthRule("AuthorizationPolicy/a/b/rules/0", ((Question(attribute, (Text(TextKind.EXACT, value),)),),))
    return Guard(policies=(AuthPolicy("AuthorizationPolicy/a/b", Action.ALLOW, (rule,)),))


def chains(protocol: Protocol, guard: Guard | None) -> dict[str, list[str]]:
    """Filters by the name of their chain."""
    port = WorkloadPort(80, "p", protocol, Address(path="/in"), Address(ip="127.0.0.1", port=80))
    message = opened(listener.Listener, inbound.inbound(inbound.Inbound(port, guard)))
    found = [
        *message.filter_chains,
        *([message.default_filter_chain] if message.HasField("default_filter_chain") else []),
    ]
    return {each.name: [item.name.rpartition(".")[2] for item in each.filters] for each in found}


LOCK = ["set_filter_state", "rbac"]
BYTES, REQUESTS = "tcp_proxy", "http_connection_manager"


def test_every_shape_is_taken_at_any_time_and_begins_with_the_second_lock() -> None:
    assert chains(Protocol.HTTP, Guard(mode=TlsMode.STRICT)) == {
        "weft-http": [*LOCK, REQUESTS],
        "weft-raw": [*LOCK, BYTES],
        "weft-tunnel": [*LOCK, REQUESTS],
    }
    assert chains(Protocol.TCP, Guard(mode=TlsMode.STRICT)) == {
        "weft-raw": [*LOCK, BYTES],
        "weft-tunnel": [*LOCK, REQUESTS],
    }


def test_no_shape_leads_past_a_rule_about_requests() -> None:
    assert chains(Protocol.HTTP, asking(Attribute.PATH, "/")) == {
        "weft-http": [*LOCK, REQUESTS],
        "weft-raw": [*LOCK, REQUESTS],
        "plain": [REQUESTS],
    }


def test_a_rule_about_callers_stands_in_front_of_bytes() -> None:
    assert chains(Protocol.TCP, asking(Attribute.PRINCIPAL, ID)) == {
        "weft-raw": [*LOCK, "rbac", BYTES],
        "weft-tunnel": [*LOCK, "rbac", REQUESTS],
        "tls": ["rbac", BYTES],
        "plain": ["rbac", BYTES],
    }


def test_without_tls_nothing_is_read_ahead_of_a_server_that_speaks_first() -> None:
    assert chains(Protocol.TCP, Guard(mode=TlsMode.DISABLE)) == {"plain": [BYTES]}
    assert list(chains(Protocol.HTTP, Guard(mode=TlsMode.DISABLE))) == [
        "weft-http",
        "weft-raw",
        "weft-tunnel",
        "tls",
        "plain",
    ]
    assert chains(Protocol.HTTP, None) == {"plain": [REQUESTS]}


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
def test_only_where_a_server_may_speak_first_the_first_bytes_of_a_caller_are_soon_given_up(protocol: Protocol) -> None:
    port = WorkloadPort(80, "p", protocol, Address(path="/in"), Address(ip="127.0.0.1", port=80))
    message = opened(listener.Listener, inbound.inbound(inbound.Inbound(port, Guard())))
    waits = message.listener_filters_timeout
    assert message.continue_on_listener_filters_timeout
    assert (waits.seconds, waits.nanos) == ((3, 500_000_000) if protocol is Protocol.HTTP else (1, 0))


def test_what_came_pooled_reaches_a_plain_http_port_in_http_1_but_grpc() -> None:
    port = WorkloadPort(80, "p", Protocol.HTTP, Address(path="/in"), Address(ip="127.0.0.1", port=80))
    message = opened(listener.Listener, inbound.inbound(inbound.Inbound(port, Guard())))
    pooled = next(each for each in message.filter_chains if each.name == "weft-http").filters[-1].typed_config.value
    assert (b"application/grpc" in pooled, b"inbound|80|http1|" in pooled) == (True, True)
    grpc = WorkloadPort(80, "p", Protocol.GRPC, Address(path="/in"), Address(ip="127.0.0.1", port=80))
    assert b"|http1|" not in inbound.inbound(inbound.Inbound(grpc, Guard())).wire
