"""Outbound: the listeners for an application's calls, and the one route configuration behind them. All are constants:
what the application calls arrives on demand, and a mesh of any size gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, common, connections, routes, virtual_hosts
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.listener.http_inspector import v3 as http_inspector
from weft.envoy.protos.envoy.extensions.filters.listener.original_dst import v3 as original_dst
from weft.envoy.protos.envoy.type import v3 as envoy_type
from weft.model.route import VirtualHost
from weft.model.service import Address
from weft.names import OUTBOUND, UNANSWERED, bound_listener, tunnel_cluster

if TYPE_CHECKING:
    from weft.model.view import BoundRoute
    from weft.xds.protocol import Resource

OPAQUE: Final = "outbound-opaque"
OPAQUE_OFFSET: Final = 1
"""Connections to 248.0.0.0/5 are captured to the outbound port plus this."""
SNIFFING: Final = 1_000
"""Milliseconds to wait for a caller's first bytes, at addresses whose services speak HTTP. Only a server that speaks
first on a port of such a service waits for so long.
"""
SERVER_FIRST: Final = (25, 53, 3306, 27017)
VIRTUAL_HOSTS_WAIT: Final = 5
"""Milliseconds. With nothing to ask for yet Envoy would hold the listener back for its usual 15 s."""

_Predicate = listener.ListenerFilterChainMatchPredicate


class Outbound(msgspec.Struct, frozen=True, cache_hash=True):
    """``transparent``: connections arrive by redirection, and where they were going is asked of the kernel."""

    listen: Address
    place: Place
    transparent: bool


class BoundRoutes(msgspec.Struct, frozen=True, cache_hash=True):
    """What one address of its own routes. ``name`` is the listener's, and the route configuration's."""

    name: str
    host: VirtualHost


def listeners(key: Outbound) -> tuple[Resource, ...]:
    """The listener for everything, and in a captured namespace the one for addresses that are never sniffed."""
    if not key.transparent:
        plain = _listener(OUTBOUND, key.listen)
        plain.filter_chains.append(listener.FilterChain(filters=[_http(key)]))
        return (common.resource(OUTBOUND, plain, ""),)
    sniffed, opaque = _sniffed(key), _opaque(key)
    return common.resource(OUTBOUND, sniffed, ""), common.resource(OPAQUE, opaque, "")


def route_configuration(name: str) -> Resource:
    """A route configuration without a virtual host: each is asked for when the application first uses its name."""
    made = route.RouteConfiguration(
        name=name,
        vhds=route.Vhds(config_source=common.ads(VIRTUAL_HOSTS_WAIT)),
        response_headers_to_remove=[UNANSWERED],
    )
    return common.resource(name, made, "")


def bound(key: BoundRoute) -> Resource:
    """The listener of an address that stands for one port of one service. It holds no route: a change of those must not
    drain connections.
    """
    name = bound_listener(key.service, key.port)
    made = _listener(name, key.listen)
    if routed(key):
        chain = connections.http(connections.Http(name=name, place=Place(Side.BOUND), routes=name))
    else:
        chain = connections.tcp(
            connections.Tcp(name, tunnel_cluster(key.cluster), tunnel=True)
            if key.pooled
            else connections.Tcp(name, key.cluster)
        )
    made.filter_chains.append(listener.FilterChain(filters=[chain]))
    return common.resource(name, made, key.host.source if key.host else "")


def unrouted(key: BoundRoute) -> BoundRoute:
    """The same address without the rules, as the listener's key."""
    return msgspec.structs.replace(key, host=msgspec.structs.replace(key.host, rules=())) if key.host else key


def routed(key: BoundRoute) -> BoundRoutes | None:
    """The input of an address's route configuration; None where bytes are passed on."""
    if key.host is None or not key.protocol.is_http:
        return None
    # What arrives here means this service, whatever the Host says: clients use the address as the name.
    return BoundRoutes(bound_listener(key.service, key.port), msgspec.structs.replace(key.host, domain="*"))


def bound_routes(key: BoundRoutes) -> Resource:
    """The route configuration of a bound address."""
    made = route.RouteConfiguration(
        name=key.name,
        virtual_hosts=[virtual_hosts.made(key.host, key.name)],
        response_headers_to_remove=[UNANSWERED],
    )
    return common.resource(key.name, made, key.host.source)


def bound_repaired(key: BoundRoutes) -> Resource:
    """As ``bound_routes``, with every rule that Envoy would refuse answering 500 instead."""
    return bound_routes(BoundRoutes(key.name, routes.harmless(key.host)))


def tunnel(name: str) -> Resource:
    """The listener inside Envoy that carries connections to the egress proxy; see ``clusters``."""
    made = listener.Listener(
        name=name,
        stat_prefix="outbound",
        internal_listener=listener.Listener.InternalListenerConfig(),
        filter_chains=[listener.FilterChain(filters=[connections.tunnel()])],
    )
    return common.resource(name, made, "")


def hbone(name: str) -> Resource:
    """The listener inside Envoy that puts connections into pooled tunnels to other proxies; see ``clusters.pool``."""
    made = listener.Listener(
        name=name,
        stat_prefix="pooled",
        internal_listener=listener.Listener.InternalListenerConfig(),
        filter_chains=[listener.FilterChain(filters=connections.pooled())],
    )
    return common.resource(name, made, "")


def _listener(name: str, where: Address) -> listener.Listener:
    return listener.Listener(
        name=name,
        stat_prefix="outbound",
        address=common.address(where, common.SOCKET_MODE),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        traffic_direction=core.TrafficDirection.OUTBOUND,
        enable_reuse_port=api.boolean(False),
    )


def _http(key: Outbound) -> listener.Filter:
    return connections.http(connections.Http(name=OUTBOUND, place=key.place, routes=OUTBOUND))


def _sniffed(key: Outbound) -> listener.Listener:
    """HTTP in clear to the connection manager; anything else, TLS included, by its address."""
    made = _listener(OUTBOUND, key.listen)
    made.listener_filters.extend([_original_destination(), _inspector()])
    made.listener_filters_timeout.CopyFrom(api.duration(SNIFFING))
    made.continue_on_listener_filters_timeout = True
    http = listener.FilterChainMatch(application_protocols=["http/1.0", "http/1.1", "h2c"])
    made.filter_chains.append(listener.FilterChain(name="http", filter_chain_match=http, filters=[_http(key)]))
    made.default_filter_chain.CopyFrom(listener.FilterChain(name="tcp", filters=connections.tcp_by_address(OUTBOUND)))
    return made


def _opaque(key: Outbound) -> listener.Listener:
    made = _listener(OPAQUE, msgspec.structs.replace(key.listen, port=key.listen.port + OPAQUE_OFFSET))
    made.stat_prefix = OPAQUE  # figures of its own: they show which of the two served a connection
    made.listener_filters.append(_original_destination())
    made.filter_chains.append(listener.FilterChain(name="tcp", filters=connections.tcp_by_address(OPAQUE)))
    return made


def _original_destination() -> listener.ListenerFilter:
    return listener.ListenerFilter(
        name="envoy.filters.listener.original_dst", typed_config=api.pack(original_dst.OriginalDst())
    )


def _inspector() -> listener.ListenerFilter:
    never = [
        _Predicate(destination_port_range=envoy_type.Int32Range(start=port, end=port + 1)) for port in SERVER_FIRST
    ]
    return listener.ListenerFilter(
        name="envoy.filters.listener.http_inspector",
        typed_config=api.pack(http_inspector.HttpInspector()),
        filter_disabled=_Predicate(or_match=_Predicate.MatchSet(rules=never)),
    )
