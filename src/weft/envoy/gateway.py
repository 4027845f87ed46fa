"""Gateway: the listeners of an edge proxy and their route configurations, whole, since strangers choose the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, common, connections, virtual_hosts
from weft.envoy import routes as envoy_routes
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.model.mesh import GatewayPort
from weft.model.service import Address
from weft.names import BLACKHOLE, UNANSWERED, gateway_listener

if TYPE_CHECKING:
    from weft.xds.protocol import Resource


SCHEME_PORTS: Final = {"http": 80, "https": 443}


class Edge(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one listener. It does not hold the routes: a change of them must not drain connections."""

    gateway: str
    number: int
    is_http: bool
    listen: Address


class Routes(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one route configuration. ``bound`` is the port where the agent really listens, 0 for a unix socket."""

    gateway: str
    port: GatewayPort
    bound: int = 0


def edge(key: Edge) -> Resource:
    """One port of a Gateway. What is not HTTP has no route yet that could say where it goes, and is closed."""
    name = listener_name(key.gateway, key.number)
    if key.is_http:
        chain = connections.http(connections.Http(name=name, place=Place(Side.EDGE, guarded=name), routes=name))
    else:
        chain = connections.tcp(connections.Tcp(name, BLACKHOLE))
    made = listener.Listener(
        name=name,
        stat_prefix="edge",
        address=common.address(key.listen, common.SOCKET_MODE),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        traffic_direction=core.TrafficDirection.INBOUND,
        enable_reuse_port=api.boolean(False),
        filter_chains=[listener.FilterChain(filters=[chain])],
        metadata=common.provenance(f"Gateway/{key.gateway}"),
    )
    return common.resource(name, made, f"Gateway/{key.gateway}")


def routes(key: Routes) -> Resource:
    """Every virtual host of one port. One route configuration per port: a refused one harms no other port."""
    name = listener_name(key.gateway, key.port.number)
    made = route.RouteConfiguration(
        name=name,
        virtual_hosts=[virtual_hosts.made(host, host.domain) for host in key.port.hosts],
        response_headers_to_remove=[UNANSWERED],
    )
    for host in made.virtual_hosts:
        for each in host.routes:
            if each.HasField("redirect"):
                each.redirect.port_redirect = redirect_port(each.redirect, key.bound or key.port.number)
    return common.resource(name, made, f"Gateway/{key.gateway}")


def redirect_port(redirect: route.RedirectAction, listening: int) -> int:
    """The port that a redirect must say, 0 for none. Without scheme and port it stays where the listener is; what the
    scheme means anyway is left out. The listener has taken the port from the Host header, so none is left to remove.

    Source: Gateway API, HTTPRequestRedirectFilter.port.
    """
    scheme = redirect.scheme_redirect
    port = redirect.port_redirect or SCHEME_PORTS.get(scheme, listening)
    return 0 if port == SCHEME_PORTS[scheme or "http"] else port


def listener_name(gateway: str, number: int) -> str:
    namespace, _, name = gateway.partition("/")
    return gateway_listener(namespace, name, number)


def repaired(key: Routes) -> Resource:
    """As ``routes``, with every rule that Envoy would refuse answering 500 instead."""
    hosts = tuple(envoy_routes.harmless(host) for host in key.port.hosts)
    return routes(msgspec.structs.replace(key, port=msgspec.structs.replace(key.port, hosts=hosts)))
