"""Inbound: the listener for calls to one port of the workload, from other proxies to the application.

It takes every shape at any time, told apart by ALPN, so that callers may change theirs without a lost request. Each chain has
a name of its own, and a change of one drains the connections of that one alone. See docs/concepts/shapes.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, common, connections, matches, tls
from weft.envoy.connections import Http, Tcp, Wire
from weft.envoy.filters import rbac
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.model.service import WorkloadPort
from weft.model.trust import Guard, TlsMode, Trust
from weft.names import (
    ALPN_HTTP,
    ALPN_RAW,
    ALPN_TUNNEL,
    UNANSWERED,
    inbound_cluster,
    inbound_http1_cluster,
    inbound_listener,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.xds.protocol import Resource

PLAIN_STATS: Final = "inbound-plain"
"""``http.inbound-plain.9080.downstream_cx_total`` and ``tcp.inbound-plain.9080.downstream_cx_total`` count what came to port 9080
without mutual TLS.
"""
SNIFFING: Final = 1_000
"""Milliseconds to wait for the first bytes at a port that takes both TLS and plaintext, where a server may speak first: who waits
for it in the clear waits for so long. Who speaks HTTP speaks first and is given ``HEADERS_TIMEOUT``: a caller's proxy that got no
core for a second must not be taken for somebody in the clear.
"""


class Inbound(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one listener. Without a guard there is no identity here: everything comes in the clear."""

    port: WorkloadPort
    guard: Guard | None = None
    trust: Trust = Trust()


def inbound(key: Inbound) -> Resource:
    """One listener per port, on a socket that only this user may open."""
    name = inbound_listener(key.port.number)
    made = listener.Listener(
        name=name,
        stat_prefix="inbound",
        address=common.address(key.port.listen, common.SOCKET_MODE),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        traffic_direction=core.TrafficDirection.INBOUND,
        enable_reuse_port=api.boolean(False),
    )
    guard = key.guard
    if guard is None or (guard.mode is TlsMode.DISABLE and not key.port.protocol.is_http):
        # Nothing is read ahead: a server may speak first.
        made.filter_chains.append(_plain(key))
        return common.resource(name, made, "")
    made.listener_filters.append(tls.inspector())
    made.filter_chains.extend(_secured(key, guard))
    if guard.mode is TlsMode.STRICT:
        made.listener_filters_timeout.CopyFrom(api.duration(connections.HEADERS_TIMEOUT))
        return common.resource(name, made, "")
    sniffing = connections.HEADERS_TIMEOUT if key.port.protocol.is_http else SNIFFING
    made.listener_filters_timeout.CopyFrom(api.duration(sniffing))
    made.continue_on_listener_filters_timeout = True
    if not (key.port.protocol.is_http and guard.needs_http):
        made.filter_chains.append(_foreign(key))
    made.default_filter_chain.CopyFrom(_plain(key))
    return common.resource(name, made, "")


def _secured(key: Inbound, guard: Guard) -> Iterator[listener.FilterChain]:
    """The chains behind mutual TLS."""
    http, number = key.port.protocol.is_http, key.port.number
    name = inbound_listener(number)
    if http:
        yield _chain(key, ALPN_HTTP, ALPN_HTTP, [_http(key, Wire.HTTP, _pooled_routes(key.port))])
    if http and guard.needs_http:
        yield _chain(key, ALPN_RAW, "", [_http(key, Wire.RAW, _routes(number))])
        return
    guarded = _network(key)
    life = tls.RAW_AFTER if http else tls.OPAQUE_AFTER
    # Who speaks HTTP does not speak first. So the application is called while TLS is still being agreed on: where it refuses, the
    # caller's connection fails, and its request goes elsewhere.
    raw = Tcp(name, inbound_cluster(number), "inbound", life, guarded=bool(guarded) and not http)
    yield _chain(key, ALPN_RAW, "", [*guarded, connections.tcp(raw)])
    yield _chain(key, ALPN_TUNNEL, ALPN_TUNNEL, [*guarded, connections.tunnel_end(name, _tunnel_routes(number))])


def _chain(key: Inbound, alpn: str, agreed: str, filters: list[listener.Filter]) -> listener.FilterChain:
    return listener.FilterChain(
        name=alpn,
        filter_chain_match=listener.FilterChainMatch(transport_protocol="tls", application_protocols=[alpn]),
        transport_socket=tls.downstream(agreed),
        transport_socket_connect_timeout=api.duration(connections.HEADERS_TIMEOUT),
        filters=[*tls.second_lock(key.trust), *filters],
    )


def _foreign(key: Inbound) -> listener.FilterChain:
    """TLS that is not ours is the application's: passed on unread, by nobody in particular."""
    number = key.port.number
    guarded = _network(key)
    passed = Tcp(inbound_listener(number), inbound_cluster(number), f"{PLAIN_STATS}.{number}", guarded=bool(guarded))
    return listener.FilterChain(
        name="tls",
        filter_chain_match=listener.FilterChainMatch(transport_protocol="tls"),
        filters=[*guarded, connections.tcp(passed)],
    )


def _plain(key: Inbound) -> listener.FilterChain:
    """In the clear. Counted apart where there is a choice."""
    number = key.port.number
    name = inbound_listener(number)
    if key.port.protocol.is_http:
        return listener.FilterChain(name="plain", filters=[_http(key, Wire.PLAIN, _routes(number))])
    guarded = _network(key)
    stats = f"{PLAIN_STATS}.{number}" if key.guard else "tcp"
    passed = Tcp(name, inbound_cluster(number), stats, guarded=bool(guarded))
    return listener.FilterChain(name="plain", filters=[*guarded, connections.tcp(passed)])


def _network(key: Inbound) -> tuple[listener.Filter, ...]:
    """The filters that decide about a connection as a whole; none where nothing is asked. Bans are the second lock's."""
    if key.guard is None:
        return ()
    return rbac.network(key.guard, msgspec.structs.replace(key.trust, banned=()), key.port.number)


def _http(key: Inbound, wire: Wire, routes: route.RouteConfiguration) -> listener.Filter:
    name = inbound_listener(key.port.number)
    plain = wire is Wire.PLAIN and key.guard
    stats = f"{PLAIN_STATS}.{key.port.number}" if plain else ""
    return connections.http(
        Http(
            name=name, place=Place(Side.INBOUND, guarded=name if key.guard else ""), routes=name, wire=wire, stats=stats
        ),
        routes,
    )


def _routes(port: int) -> route.RouteConfiguration:
    """Everything to the application, for as long as it takes."""
    return _configuration(port, [route.Route(match=matches.everything(), route=_forward(inbound_cluster(port)))])


def _pooled_routes(port: WorkloadPort) -> route.RouteConfiguration:
    """The same for what came pooled in HTTP/2, which does not tell any more what the caller spoke. gRPC is HTTP/2; anything
    else is HTTP/1.1 at a port that does not say otherwise, which every application understands.
    """
    if port.protocol.is_http2:
        return _routes(port.number)
    grpc = matches.everything()
    grpc.headers.append(route.HeaderMatcher(name="content-type", string_match=matches.prefix("application/grpc")))
    return _configuration(
        port.number,
        [
            route.Route(match=grpc, route=_forward(inbound_cluster(port.number))),
            route.Route(match=matches.everything(), route=_forward(inbound_http1_cluster(port.number))),
        ],
    )


def _forward(cluster: str) -> route.RouteAction:
    """One retry, of what surely never reached the application: it may have closed an idle connection in the moment in which
    that was used again.
    """
    return route.RouteAction(
        cluster=cluster,
        timeout=api.duration(0),
        retry_policy=route.RetryPolicy(retry_on="reset-before-request,refused-stream", num_retries=api.uint32(1)),
    )


def _tunnel_routes(port: int) -> route.RouteConfiguration:
    """Every CONNECT to this one port, whatever it names."""
    ended = route.RouteAction.UpgradeConfig(
        upgrade_type="CONNECT", connect_config=route.RouteAction.UpgradeConfig.ConnectConfig()
    )
    forward = route.RouteAction(cluster=inbound_cluster(port), timeout=api.duration(0), upgrade_configs=[ended])
    match = route.RouteMatch(connect_matcher=route.RouteMatch.ConnectMatcher())
    return _configuration(port, [route.Route(match=match, route=forward)])


def _configuration(port: int, routes: list[route.Route]) -> route.RouteConfiguration:
    name = inbound_listener(port)
    for each in routes:
        each.name = name
    return route.RouteConfiguration(
        name=name,
        virtual_hosts=[route.VirtualHost(name=name, domains=["*"], routes=routes)],
        response_headers_to_remove=[UNANSWERED],  # an application has answered
    )
