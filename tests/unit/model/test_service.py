from __future__ import annotations

import pytest

from weft.model.service import Address, Protocol, Service, ServicePort
from weft.names import ServiceKey


@pytest.mark.parametrize(
    ("protocol", "http", "http2"),
    [
        (Protocol.HTTP, True, False),
        (Protocol.HTTP2, True, True),
        (Protocol.GRPC, True, True),
        (Protocol.TLS, False, False),
        (Protocol.TCP, False, False),
        (Protocol.UDP, False, False),
    ],
)
def test_a_protocol_knows_whether_it_is_http(protocol: Protocol, http: bool, http2: bool) -> None:
    assert (protocol.is_http, protocol.is_http2) == (http, http2)


def test_a_service_is_opaque_without_an_http_port() -> None:
    tcp, http = ServicePort(1, "", Protocol.TCP, 1), ServicePort(2, "", Protocol.HTTP, 2)
    assert Service(ServiceKey("n", "a"), (tcp,), "", "").is_opaque
    mixed = Service(ServiceKey("n", "a"), (tcp, http), "", "")
    assert not mixed.is_opaque
    assert (mixed.port(2), mixed.port(3)) == (http, None)


def test_an_address_is_a_path_or_an_ip_with_a_port() -> None:
    assert (str(Address(path="/run/a")), str(Address(ip="10.0.0.1", port=80))) == ("/run/a", "10.0.0.1:80")
