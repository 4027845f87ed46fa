"""Inbound listeners."""

from __future__ import annotations

import pytest

from tests.unit.envoy.opened import opened
from weft.envoy import inbound
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.model.service import Address, Protocol, WorkloadPort


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
