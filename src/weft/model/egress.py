"""What a name means at a host's egress proxy: only what lies outside, and nothing of the mesh.

Callers hand it HTTP with the Host header of an external service, and ask for a CONNECT to ``host:port`` for everything
else: the DNS name of an external service, an address that one declares as its endpoint, or, with ``allowAny``, anything.
Routes are the callers' to follow, once; here a name leads straight out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from weft.model.resolve import Names, Resolution, split_host
from weft.model.route import Backend, Rule, VirtualHost
from weft.model.service import ExternalAddress, Protocol
from weft.model.view import Upstream
from weft.names import OutboundCluster


class Declared(msgspec.Struct, frozen=True, eq=False):
    """Every address that an external service declares as an endpoint, and what declares it. Compared by identity."""

    sources: Mapping[ExternalAddress, str]


def declared(names: Names) -> Declared:
    """Of an address that two services declare, the first in order of their names counts."""
    found: dict[ExternalAddress, str] = {}
    for _, service in sorted(names.services.items()):
        for address in service.external:
            found.setdefault(address, service.source)
    return Declared(MappingProxyType(found))


def only_outside(names: Names, resolution: Resolution) -> Resolution:
    """The resolution, unless it leads to a service of the mesh: that is not this proxy's to call."""
    if resolution.service is None or names.services[resolution.service].external:
        return resolution
    name = split_host(resolution.host)[0]
    return Resolution(resolution.host, reason=f'"{name}" is a service of the mesh, and this is the way out of it')


def tunnelled(known: Declared, host: str) -> tuple[VirtualHost, Upstream] | None:
    """The way to a declared address, asked for as ``host:port``; None when nobody declares it."""
    name, port = split_host(host)
    source = known.sources.get(ExternalAddress(name, port or 0))
    if source is None:
        return None
    cluster = OutboundCluster(port or 0, name)
    rule = Rule(source, backends=(Backend(cluster),))
    upstream = Upstream(str(cluster), Protocol.TCP, source, dns=(ExternalAddress(name, port or 0),))
    return VirtualHost(host, (rule,), source), upstream
