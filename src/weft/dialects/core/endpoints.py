"""Which addresses stand behind each port of each service: from EndpointSlices and from the workloads that agents report.

Costs follow what changed: a host that reports the same workloads again, or slices that did not change, cost one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

import msgspec

from weft.api.core import SERVICE_NAME_LABEL, EndpointSlice
from weft.model.service import (
    Address,
    Endpoint,
    HostReport,
    Locality,
    Placement,
    Protocol,
    Service,
    State,
    Workload,
    WorkloadPort,
)
from weft.names import ServiceKey, peer_name

if TYPE_CHECKING:
    from weft.memo import Memo
    from weft.values import Pairs, Ref

Target: TypeAlias = tuple[ServiceKey, int]
BUCKETS: Final = 64
"""Parts into which services are divided, so that one changed endpoint has few others to be put together with."""


class Slice(msgspec.Struct, frozen=True, cache_hash=True):
    """One EndpointSlice: for each of its ports by name, the number and the endpoints without their port."""

    service: ServiceKey
    ports: tuple[tuple[str, int], ...]
    endpoints: tuple[tuple[str, Locality, bool], ...]
    """(address, locality, draining)"""


class Selectors(msgspec.Struct, frozen=True, eq=False):
    """Services by namespace and one label that they select. Compared by identity."""

    by_label: Mapping[tuple[str, str, str], tuple[Service, ...]]


class Part(msgspec.Struct, frozen=True, eq=False):
    """What one host or one group of slices contributes, by bucket. Compared by identity."""

    buckets: tuple[Mapping[Target, tuple[Endpoint, ...]] | None, ...]


def read_slice(ref: Ref, written: EndpointSlice) -> Slice | None:
    """One EndpointSlice; None when it belongs to no service. Source: discovery.k8s.io/v1, EndpointConditions."""
    name = dict(written.metadata.labels).get(SERVICE_NAME_LABEL)
    if not name:
        return None
    endpoints = []
    for endpoint in written.endpoints:
        conditions = endpoint.conditions
        ready = conditions.ready is not False
        draining = not ready and bool(conditions.terminating) and bool(conditions.serving)
        if ready or draining:
            locality = Locality(zone=endpoint.zone or "")
            endpoints.append((endpoint.addresses[0], locality, draining))
    ports = tuple((port.name, port.port) for port in written.ports if port.port is not None and port.protocol == "TCP")
    return Slice(ServiceKey(ref.namespace, name), ports, tuple(endpoints))


def selectors(services: Mapping[ServiceKey, Service]) -> Selectors:
    """The index by which a workload finds its services: by its label that the selector's last pair names."""
    found: dict[tuple[str, str, str], list[Service]] = {}
    for key, service in services.items():
        if service.selector:
            name, value = service.selector[-1]
            found.setdefault((key.namespace, name, value), []).append(service)
    return Selectors({label: tuple(group) for label, group in found.items()})


def host_part(key: tuple[HostReport, Selectors], memo: Memo) -> Part:
    """What one host's workloads contribute. A service that none of them could be behind changes nothing here."""
    report, index = key
    labels = memo.stage(_labels, report)
    relevant = tuple([service for label in labels for service in index.by_label.get(label, ())])
    return memo.stage(_host_part, (report, relevant))


def _labels(report: HostReport, _: Memo) -> tuple[tuple[str, str, str], ...]:
    labels = ((each.namespace, name, value) for each in report.workloads for name, value in each.labels)
    return tuple(dict.fromkeys(labels))


def _host_part(key: tuple[HostReport, tuple[Service, ...]], memo: Memo) -> Part:
    report, relevant = key
    index = selectors({service.key: service for service in relevant})
    remote = Address(ip=report.address, port=report.relay_port) if report.address else Address()
    gathered: list[tuple[Target, Endpoint]] = []
    for workload in report.workloads:
        if workload.placement is Placement.SIDECAR and (found := chosen(workload.namespace, workload.labels, index)):
            gathered.extend(memo(_of_workload, (workload, found, remote, report.lost)))
    return _part(gathered)


def slices_part(key: tuple[tuple[Slice, ...], tuple[Service | None, ...]], memo: Memo) -> Part:
    """What some slices contribute; beside each, its service."""
    gathered: list[tuple[Target, Endpoint]] = []
    for each in zip(*key, strict=True):
        gathered.extend(memo(_of_slice, each))
    return _part(gathered)


def merge(
    parts: tuple[Mapping[Target, tuple[Endpoint, ...]], ...], memo: Memo
) -> Mapping[Target, tuple[Endpoint, ...]]:
    """One bucket of all parts; endpoints sorted, each address once, equal results the same object."""
    gathered: dict[Target, list[tuple[Endpoint, ...]]] = {}
    for part in parts:
        for target, endpoints in part.items():
            gathered.setdefault(target, []).append(endpoints)
    return {target: memo(_joined, tuple(found)) for target, found in gathered.items()}


def bucket(key: ServiceKey) -> int:
    """The part that a service belongs to: the same in every process."""
    return crc32(key.name.encode()) % BUCKETS


def chosen(namespace: str, labels: Pairs, index: Selectors) -> tuple[Service, ...]:
    """The services that select a workload with these labels."""
    had = frozenset(labels)
    candidates = [service for name, value in labels for service in index.by_label.get((namespace, name, value), ())]
    return tuple([service for service in candidates if had.issuperset(service.selector)])


def _of_workload(key: tuple[Workload, tuple[Service, ...], Address, bool]) -> tuple[tuple[Target, Endpoint], ...]:
    workload, services, remote, lost = key
    found = []
    for service in services:
        for port in service.ports:
            for listening in workload.ports:
                named = listening.number if isinstance(port.target, int) else listening.name
                if named != port.target or port.protocol is Protocol.UDP:
                    continue
                if listening.state in (State.SERVING, State.DRAINING):
                    found.append(((service.key, port.number), _endpoint(workload, listening, remote, lost)))
                break
    return tuple(found)


def _endpoint(workload: Workload, listening: WorkloadPort, remote: Address, lost: bool) -> Endpoint:
    """Only a workload with a proxy has a name, and by it another host reaches it."""
    proxied = workload.proxied
    return Endpoint(
        address=listening.listen,
        locality=workload.locality,
        weight=workload.weight,
        draining=listening.state is State.DRAINING,
        workload=f"{workload.namespace}/{workload.name}",
        host=workload.host,
        name=peer_name(listening.number, workload.name, workload.namespace, workload.host) if proxied else "",
        remote=remote if proxied else Address(),
        lost=lost,
        renewed=workload.renewed,
    )


def in_the_clear(
    endpoints: Mapping[Target, tuple[Endpoint, ...]], names: frozenset[str]
) -> Mapping[Target, tuple[Endpoint, ...]]:
    """The endpoints, those of these names without their names: their proxies take no TLS."""
    return MappingProxyType(
        {
            target: tuple(
                msgspec.structs.replace(each, name="", remote=Address()) if each.name in names else each
                for each in found
            )
            for target, found in endpoints.items()
        }
    )


def _of_slice(key: tuple[Slice, Service | None]) -> tuple[tuple[Target, Endpoint], ...]:
    each, service = key
    numbers = dict(each.ports)
    found = []
    for port in service.ports if service and not service.external else ():
        number = numbers.get(port.name)
        if number is not None and port.protocol is not Protocol.UDP:
            for address, locality, draining in each.endpoints:
                endpoint = Endpoint(Address(ip=address, port=number), locality, 1, draining)
                found.append(((each.service, port.number), endpoint))
    return tuple(found)


def _part(gathered: list[tuple[Target, Endpoint]]) -> Part:
    buckets: list[dict[Target, list[Endpoint]] | None] = [None] * BUCKETS
    for target, endpoint in gathered:
        number = bucket(target[0])
        into = buckets[number]
        if into is None:
            into = buckets[number] = {}
        into.setdefault(target, []).append(endpoint)
    return Part(
        tuple(
            MappingProxyType({target: tuple(endpoints) for target, endpoints in into.items()}) if into else None
            for into in buckets
        )
    )


def _joined(found: tuple[tuple[Endpoint, ...], ...]) -> tuple[Endpoint, ...]:
    """Endpoints of lost hosts are left out, unless there are no others: then control may be the one that is cut off."""
    by_address = {
        (endpoint.host, endpoint.address): endpoint for group in found for endpoint in sorted(group, reverse=True)
    }
    known = sorted(by_address.values())
    return tuple([endpoint for endpoint in known if not endpoint.lost]) or tuple(known)
