"""All routes together: what each service's callers and each Gateway do, and what every object's status says.

Routes are read in buckets, so that a changed route has few others to be looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from weft.dialects.gateway.attach import Attached, World, attach
from weft.dialects.gateway.edges import Offer
from weft.dialects.gateway.precedence import Entry, ordered
from weft.dialects.values import Finding
from weft.model.mesh import Gateway
from weft.model.route import RouteSet
from weft.model.status import ListenerStatus, Status
from weft.names import ServiceKey

if TYPE_CHECKING:
    from weft.dialects.gateway.listeners import GatewaySpec
    from weft.dialects.gateway.routes import RouteSpec
    from weft.memo import Memo

Place: TypeAlias = tuple[ServiceKey, int]


class Group(msgspec.Struct, frozen=True, eq=False):
    """What a bucket of routes comes to. Compared by identity."""

    services: Mapping[Place, tuple[tuple[str, Entry], ...]]
    """By place: (caller's namespace or empty, the route's rules)."""
    listeners: Mapping[tuple[tuple[str, str], str], tuple[Offer, ...]]
    statuses: tuple[Status, ...]
    findings: tuple[Finding, ...]


def group(key: tuple[tuple[RouteSpec, ...], World], _: Memo) -> Group:
    """One bucket of routes in the world."""
    routes, world = key
    services: dict[Place, list[tuple[str, Entry]]] = {}
    listeners: dict[tuple[tuple[str, str], str], list[Offer]] = {}
    attached = [attach(route, world) for route in routes]
    for each in attached:
        _gather(each, services, listeners)
    return Group(
        services={place: tuple(found) for place, found in services.items()},
        listeners={place: tuple(found) for place, found in listeners.items()},
        statuses=tuple(each.status for each in attached if each.status.parents),
        findings=tuple(finding for each in attached for finding in each.findings),
    )


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
    gathered: dict[Place, tuple[tuple[str, Entry], ...]] = {}
    for each in groups:
        for place, found in each.services.items():
            gathered[place] = gathered.get(place, ()) + found
    return MappingProxyType({place: memo(route_set, found) for place, found in gathered.items()})


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
