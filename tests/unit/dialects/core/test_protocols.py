from __future__ import annotations

import pytest

from weft.dialects.core.protocols import detect
from weft.model.service import Protocol


@pytest.mark.parametrize(
    ("number", "name", "app_protocol", "transport", "expected"),
    [
        (80, "", "", "TCP", Protocol.HTTP),
        (80, "tcp", "http", "TCP", Protocol.HTTP),
        (80, "", "kubernetes.io/h2c", "TCP", Protocol.HTTP2),
        (80, "", "kubernetes.io/ws", "TCP", Protocol.HTTP),
        (80, "", "kubernetes.io/wss", "TCP", Protocol.TLS),
        (80, "", "GRPC", "TCP", Protocol.GRPC),
        (80, "grpc-api", "", "TCP", Protocol.GRPC),
        (80, "grpc-web-api", "", "TCP", Protocol.HTTP),
        (80, "grpc-web", "", "TCP", Protocol.HTTP),
        (80, "http2-x", "", "TCP", Protocol.HTTP2),
        (80, "https", "", "TCP", Protocol.TLS),
        (80, "redis-main", "", "TCP", Protocol.TCP),
        (80, "udp-x", "", "TCP", Protocol.HTTP),
        (80, "other", "example.com/own", "TCP", Protocol.HTTP),
        (3306, "", "", "TCP", Protocol.TCP),
        (3306, "http", "", "TCP", Protocol.HTTP),
        (53, "http", "http", "UDP", Protocol.UDP),
    ],
)
def test_a_port_is_declared_by_app_protocol_then_name_then_number(
    number: int, name: str, app_protocol: str, transport: str, expected: Protocol
) -> None:
    assert detect(number, name, app_protocol, transport) is expected
