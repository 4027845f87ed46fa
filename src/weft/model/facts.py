"""Everything of a mesh that views need but endpoints, and what of it one caller depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from weft.memo import Memo
from weft.model.demand import clusters_of
from weft.model.mesh import Gateway, Mesh, OutboundTraffic
from weft.model.policy import ServicePolicy
from weft.model.resolve import Names
from weft.model.route import RouteSet
from weft.model.trust import Peers
from weft.names import ServiceKey

if TYPE_CHECKING:
    from weft.model.service import Service

NOBODY: Final = ServiceKey("", "")


class Facts(msgspec.Struct, frozen=True, eq=False):
    """Everything of a mesh that views need but endpoints. Compared by identity, so that comparing costs nothing."""

    names: Names
    routes: Mapping[tuple[ServiceKey, int], RouteSet]
    policies: Mapping[ServiceKey, ServicePolicy]
    gateways: Mapping[tuple[str, str], Gateway]
    outbound_traffic: OutboundTraffic
    peers: Mapping[tuple[ServiceKey, int], Peers]

    @property
    def called(
        self,
    ) -> tuple[Names, Mapping[ServiceKey, ServicePolicy], OutboundTraffic, Mapping[tuple[ServiceKey, int], Peers]]:
        """What ``reduced`` looks at beside routes."""
        return self.names, self.policies, self.outbound_traffic, self.peers


def facts_of(mesh: Mesh, memo: Memo) -> Facts:
    names = memo.stage(_names, (mesh.services, mesh.external_hosts, mesh.addresses))
    return memo.stage(_collect, (names, mesh.routes, mesh.policies, mesh.gateways, mesh.outbound_traffic, mesh.peers))


def _names(
    key: tuple[Mapping[ServiceKey, Service], Mapping[str, ServiceKey], Mapping[str, ServiceKey]],
    _: Memo,
) -> Names:
    return Names(*key)


def _collect(
    key: tuple[
        Names,
        Mapping[tuple[ServiceKey, int], RouteSet],
        Mapping[ServiceKey, ServicePolicy],
        Mapping[tuple[str, str], Gateway],
        OutboundTraffic,
        Mapping[tuple[ServiceKey, int], Peers],
    ],
    _: Memo,
) -> Facts:
    return Facts(*key)


Depends: TypeAlias = tuple[
    tuple[tuple[ServiceKey, int], ...],
    tuple[RouteSet | None, ...],
    Names,
    Mapping[ServiceKey, ServicePolicy],
    OutboundTraffic,
    Mapping[tuple[ServiceKey, int], Peers],
    Memo,
]


def reduced(key: Depends, memo: Memo) -> Facts | None:
    """The facts that these places depend on; None when a route leads to something that is not a service of the mesh."""
    places, routes, names, policies, outbound_traffic, peers, shared = key
    found: dict[ServiceKey, Service | None] = {}
    for (service, _), each in zip(places, routes, strict=True):
        found[service] = names.services.get(service)
        for called in shared(_called, each) if each else ():
            found[called] = names.services.get(called)
    services = tuple([service for service in found.values() if service is not None])
    if len(services) < len(found):
        return None
    kept = tuple([(place, each) for place, each in zip(places, routes, strict=True) if each is not None])
    ports = [(service.key, port.number) for service in services for port in service.ports]
    known = tuple([(place, peers[place]) for place in ports if place in peers])
    return memo.stage(_small_facts, (services, kept, policies, outbound_traffic, known))


def _called(routes: RouteSet) -> tuple[ServiceKey, ...]:
    """Every service that these routes may send to; one that is no service of the mesh as the empty key."""
    rules = (*routes.producer, *(rule for _, group in routes.consumer for rule in group))
    return tuple(dict.fromkeys(cluster.service or NOBODY for cluster in clusters_of(rules)))


def _small_facts(
    key: tuple[
        tuple[Service, ...],
        tuple[tuple[tuple[ServiceKey, int], RouteSet], ...],
        Mapping[ServiceKey, ServicePolicy],
        OutboundTraffic,
        tuple[tuple[tuple[ServiceKey, int], Peers], ...],
    ],
    _: Memo,
) -> Facts:
    services, routes, policies, outbound_traffic, peers = key
    names = Names({each.key: each for each in services}, {}, {})
    return Facts(names, dict(routes), policies, {}, outbound_traffic, dict(peers))
