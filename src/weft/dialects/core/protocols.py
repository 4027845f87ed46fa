"""What a port speaks, as far as its declaration tells.

In this order: ``appProtocol``; the port name's prefix before the first ``-``; well-known numbers. Everything else is sniffed
where the connection is made, and counts as HTTP here: a port that nobody declared otherwise can be routed. Source:
Kubernetes KEP-2433, Istio "Protocol Selection".
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from weft.model.service import Protocol

APP_PROTOCOLS: Final = MappingProxyType(
    {
        "http": Protocol.HTTP,
        "kubernetes.io/ws": Protocol.HTTP,
        "grpc-web": Protocol.HTTP,
        "http2": Protocol.HTTP2,
        "h2c": Protocol.HTTP2,
        "kubernetes.io/h2c": Protocol.HTTP2,
        "grpc": Protocol.GRPC,
        "https": Protocol.TLS,
        "tls": Protocol.TLS,
        "kubernetes.io/wss": Protocol.TLS,
        "tcp": Protocol.TCP,
        "mongo": Protocol.TCP,
        "redis": Protocol.TCP,
        "mysql": Protocol.TCP,
        "udp": Protocol.UDP,
    }
)

WELL_KNOWN_TCP: Final = frozenset({25, 53, 3306, 27017})
"""SMTP, DNS, MySQL, MongoDB: protocols in which the server may speak first, so that sniffing would wait."""


def detect(number: int, name: str, app_protocol: str, transport: str) -> Protocol:
    """What a port speaks. ``name`` and ``app_protocol`` may be empty; ``transport`` is TCP or UDP."""
    if transport == "UDP":
        return Protocol.UDP
    lowered = name.lower()
    prefix = "grpc-web" if lowered.startswith("grpc-web") else lowered.partition("-")[0]
    found = APP_PROTOCOLS.get(app_protocol.lower()) or APP_PROTOCOLS.get(prefix)
    if found is not None and found is not Protocol.UDP:
        return found
    return Protocol.TCP if number in WELL_KNOWN_TCP else Protocol.HTTP
