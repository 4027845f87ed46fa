"""Virtual hosts: what one Host header means, as asked for on demand, at a bound port, or at an edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.envoy import api, common, matches, routes
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.model.route import VirtualHost
from weft.names import PASSTHROUGH, virtual_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.xds.protocol import Resource

CONNECT = "CONNECT"


class Asked(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one virtual host that a proxy asked for. ``tunnels``: it may be asked for by a CONNECT."""

    host: VirtualHost
    tunnels: bool = False


def asked(key: Asked) -> Resource:
    """The answer to a Host header: routes, a 502 that explains, the way out, or the bare word that there is nothing."""
    host, name = key.host, virtual_host(key.host.domain)
    if not (host.rules or host.unknown or host.passthrough):
        return common.absent(name)
    return common.resource(name, made(host, name, tunnels=key.tunnels), host.source)


def made(host: VirtualHost, name: str, *, tunnels: bool = False) -> route.VirtualHost:
    """One virtual host of any route configuration."""
    return route.VirtualHost(
        name=name,
        domains=[host.domain],
        routes=list(_routes(host, tunnels=tunnels)),
        metadata=common.provenance(host.source),
    )


def _routes(host: VirtualHost, *, tunnels: bool) -> Iterator[route.Route]:
    if host.passthrough:
        yield from _passthrough(tunnels=tunnels)
        return
    if host.unknown:
        yield from _told("unknown", 502, host.unknown, tunnels=tunnels)
        return
    if host.refused:
        yield from _told("refused", 403, host.refused, tunnels=tunnels)
        return
    if tunnels and (tunnel := _tunnel(host)):
        yield tunnel
    for rule in host.rules:
        yield from routes.rule_routes(rule)
    yield explained("no-match", 404, f"weft: no rule for {host.domain} matches this request")


def _told(name: str, status: int, body: str, *, tunnels: bool) -> Iterator[route.Route]:
    """``explained``, to who asks by CONNECT too: that has no path, and matches nothing that matches every path."""
    made = explained(name, status, body)
    if tunnels:
        by_connect = route.Route()
        by_connect.CopyFrom(made)
        by_connect.match.CopyFrom(matches.connect())
        yield by_connect
    yield made


def explained(name: str, status: int, body: str) -> route.Route:
    """A route that answers everything with a line of text."""
    return route.Route(
        name=name,
        match=matches.everything(),
        direct_response=routes.text(status, body.rstrip("\n") + "\n"),
        response_headers_to_add=[routes.content_type()],
    )


def _passthrough(*, tunnels: bool) -> Iterator[route.Route]:
    if tunnels:
        yield _connect(PASSTHROUGH, PASSTHROUGH)
    yield route.Route(
        name=PASSTHROUGH,
        match=matches.everything(),
        route=route.RouteAction(cluster=PASSTHROUGH, timeout=api.duration(0)),
    )


def _tunnel(host: VirtualHost) -> route.Route | None:
    """A CONNECT goes to the first backend: bytes that nobody reads cannot be matched."""
    for rule in host.rules:
        for backend in rule.backends:
            if backend.cluster and backend.weight:
                return _connect(rule.source, str(backend.cluster))
    return None


def _connect(name: str, cluster: str) -> route.Route:
    upgrade = route.RouteAction.UpgradeConfig
    return route.Route(
        name=name,
        match=matches.connect(),
        route=route.RouteAction(
            cluster=cluster,
            timeout=api.duration(0),
            upgrade_configs=[upgrade(upgrade_type=CONNECT, connect_config=upgrade.ConnectConfig())],
        ),
    )


def repaired(key: Asked) -> Resource:
    """As ``asked``, with every rule that Envoy would refuse answering 500 instead."""
    return asked(Asked(routes.harmless(key.host), key.tunnels))
