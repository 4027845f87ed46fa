"""All routes together: what each service's callers and each Gateway do, and what every object's status says.

Routes are read in buckets, so that a changed route has few others to be looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from weft.dialects.core.endpoints import BUCKETS, bucket
from weft.dialects.gateway.attach import Attached, EdgeWorld, World, attach
from weft.dialects.gateway.edges import Offer
from weft.dialects.gateway.precedence import Entry, ordered
from weft.dialects.gateway.routes import RouteSpec
from weft.dialects.values import Finding
from weft.model.mesh import Gateway
from weft.model.near import NearIndex
from weft.model.route import RouteSet
from weft.model.status import ListenerStatus, Status
from weft.names import ServiceKey

if TYPE_CHECKING:
    from weft.dialects.gateway.listeners import GatewaySpec
    from weft.memo import Memo
    from weft.model.service import Service

Place: TypeAlias = tuple[ServiceKey, int]


class Group(msgspec.Struct, frozen=True, eq=False):
    """What a bucket of routes comes to. Compared by identity."""

    services: tuple[Mapping[Place, tuple[tuple[str, Entry], ...]] | None, ...]
    """By bucket and place: (caller's namespace or empty, the route's rules)."""
    listeners: Mapping[tuple[tuple[str, str], str], tuple[Offer, ...]]
    statuses: tuple[Status, ...]
    findings: tuple[Finding, ...]


class Routes(msgspec.Struct, frozen=True, eq=False):
    """Some routes, and every service that they refer to. Compared by identity."""

    routes: tuple[RouteSpec, ...]
    keys: tuple[ServiceKey, ...]


def group(key: tuple[Routes, World], memo: Memo) -> Group:
    """One bucket of routes in the world. As long as the services that they refer to stay the same, so does the result."""
    routes, world = key
    found = tuple([world.services.get(each) for each in routes.keys])
    known = tuple([service for service in found if service is not None])
    if len(known) < len(found):
        return memo.stage(_group, (routes, world))
    return memo.stage(_group, (routes, memo.stage(_small_world, (routes, known, world.edges))))


def _small_world(key: tuple[Routes, tuple[Service, ...], EdgeWorld], _: Memo) -> World:
    """The part of the world that these routes can see; every service that they refer to is there."""
    routes, found, edges = key
    return World(services=dict(zip(routes.keys, found, strict=True)), edges=edges, index=_no_index)


def _no_index() -> NearIndex:
    return NearIndex((), (), {})


def _group(key: tuple[Routes, World], memo: Memo) -> Group:
    routes, world = key
    services: dict[Place, list[tuple[str, Entry]]] = {}
    listeners: dict[tuple[tuple[str, str], str], list[Offer]] = {}
    attached = [attach(route, world) for route in routes.routes]
    for each in attached:
        _gather(each, services, listeners)
    return Group(
        services=_in_buckets(services, memo),
        listeners={place: tuple(found) for place, found in listeners.items()},
        statuses=tuple(each.status for each in attached if each.status.parents),
        findings=tuple(finding for each in attached for finding in each.findings),
    )


def _in_buckets(
    services: Mapping[Place, list[tuple[str, Entry]]], memo: Memo
) -> tuple[Mapping[Place, tuple[tuple[str, Entry], ...]] | None, ...]:
    buckets: list[dict[Place, tuple[tuple[str, Entry], ...]] | None] = [None] * BUCKETS
    for place, found in services.items():
        number = bucket(place[0])
        into = buckets[number]
        if into is None:
            into = buckets[number] = {}
        into[place] = tuple(found)
    return tuple(memo.stage(_kept, each, number) if each else None for number, each in enumerate(buckets))


def _kept(
    found: Mapping[Place, tuple[tuple[str, Entry], ...]], _: Memo
) -> Mapping[Place, tuple[tuple[str, Entry], ...]]:
    """The same object as before while it is equal, so that what is made of it is not made again."""
    return MappingProxyType(found)


def _gather(
    each: Attached,
    services: dict[Place, list[tuple[str, Entry]]],
    listeners: dict[tuple[tuple[str, str], str], list[Offer]],
) -> None:
    for place in each.services:
        services.setdefault((place.service, place.port), []).append((place.caller, each.entry))
    for at in each.listeners:
        listeners.setdefault((at.gateway, at.listener), []).append((at.hosts, each.entry))


def route_sets(groups: tuple[Group, ...], memo: Memo) -> Mapping[Place, RouteSet]:
    """The routes of every service's ports."""
    merged: dict[Place, RouteSet] = {}
    for number in range(BUCKETS):
        found = tuple([part for each in groups if (part := each.services[number]) is not None])
        if found:
            merged.update(memo.stage(_route_sets, found, number))
    return MappingProxyType(merged)


def _route_sets(
    parts: tuple[Mapping[Place, tuple[tuple[str, Entry], ...]], ...], memo: Memo
) -> Mapping[Place, RouteSet]:
    gathered: dict[Place, tuple[tuple[str, Entry], ...]] = {}
    for part in parts:
        for place, found in part.items():
            gathered[place] = gathered.get(place, ()) + found
    return {place: memo(route_set, found) for place, found in gathered.items()}


def route_set(found: tuple[tuple[str, Entry], ...]) -> RouteSet:
    """One port of one service: producers' rules for everyone, consumers' for their own namespace."""
    callers: dict[str, list[Entry]] = {}
    for caller, entry in found:
        callers.setdefault(caller, []).append(entry)
    producer = ordered(tuple(callers.pop("", ())))
    consumer = tuple((caller, ordered(tuple(entries))) for caller, entries in sorted(callers.items()))
    return RouteSet(producer, consumer)


def offers(groups: Iterable[Group]) -> Mapping[tuple[str, str], Mapping[str, tuple[Offer, ...]]]:
    """What every listener accepted, by Gateway and listener; equal whatever the order of the routes was."""
    found: dict[tuple[str, str], dict[str, list[Offer]]] = {}
    for each in groups:
        for (gateway, listener), offered in each.listeners.items():
            found.setdefault(gateway, {}).setdefault(listener, []).extend(offered)
    return {
        gateway: {listener: tuple(sorted(offered, key=_offer_order)) for listener, offered in listeners.items()}
        for gateway, listeners in found.items()
    }


def _offer_order(offer: Offer) -> tuple[str, str]:
    return offer[1].namespace, offer[1].name


def gateway_status(spec: GatewaySpec, offered: Mapping[str, tuple[Offer, ...]]) -> Status:
    """Source: Gateway API, GatewayStatus. ``attachedRoutes`` counts routes, whether their references resolve or not."""
    listeners = []
    for listener in spec.listeners:
        routes = {(entry.namespace, entry.name) for _, entry in offered.get(listener.name, ())}
        listeners.append(ListenerStatus(listener.name, listener.kinds, len(routes), listener.conditions))
    return Status(spec.ref, spec.generation, spec.conditions, tuple(listeners))


class Routed(msgspec.Struct, frozen=True, eq=False):
    """Everything about routing. Compared by identity."""

    routes: Mapping[Place, RouteSet]
    gateways: Mapping[tuple[str, str], Gateway]
    statuses: tuple[Status, ...]
    findings: tuple[Finding, ...]
