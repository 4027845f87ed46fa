"""What control believes of another host's report: that what it placed there runs, and where and how; nothing else.

An agent on another host is believed about addresses and states. Who a workload is, which services it stands behind and which
ports it has are control's own knowledge: a host that somebody took over must not become an endpoint of what is not its own.

It is judged when it comes and again whenever the mesh is compiled: a host that keeps silent about what was taken away from it
has it no longer.
"""

from __future__ import annotations

import ipaddress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.model.mesh import Placements
from weft.model.service import HostReport, Placement
from weft.names import RELAY_PORT, SYSTEM_NAMESPACE, instance, workload_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.memo import Memo
    from weft.model.mesh import GatewaySpec, ProcessSpec
    from weft.model.service import Workload, WorkloadPort

INSTANCES: Final = (0, 1)
"""Of one workload at most two instances live at a time (``names.instance``)."""


def believed(report: HostReport, placements: Placements) -> HostReport:
    """The report of a joined host without what is not its own to say."""
    placed = {(each.namespace, each.name): each for each in placements.processes if each.host == report.host}
    each_once = {(each.placement, each.namespace, each.name): each for each in reversed(report.workloads)}
    edges = {(each.namespace, each.name): each for each in placements.gateways if each.host == report.host}
    found = (_of_host(each, report.host, placed, edges) for each in reversed(each_once.values()))
    address = report.address if _is_reachable(report.address) else ""
    return HostReport(
        host=report.host,
        workloads=tuple([each for each in found if each is not None]),
        address=address,
        relay_port=RELAY_PORT,
        lost=report.lost,
        joined=True,
    )


def judged(hosts: tuple[HostReport, ...], placements: Placements, memo: Memo) -> tuple[HostReport, ...]:
    """All reports, those of joined hosts as far as they are believed. An unchanged one is the same object as before."""
    if not any(each.joined for each in hosts):
        return hosts
    placed = memo.stage(_by_host, placements)
    return tuple(
        [
            memo.stage(_judged, (each, placed.get(each.host, Placements())), each.host) if each.joined else each
            for each in hosts
        ]
    )


def _by_host(placements: Placements, _: Memo) -> Mapping[str, Placements]:
    processes: dict[str, list[ProcessSpec]] = {}
    gateways: dict[str, list[GatewaySpec]] = {}
    for each in placements.processes:
        processes.setdefault(each.host, []).append(each)
    for edge in placements.gateways:
        gateways.setdefault(edge.host, []).append(edge)
    return MappingProxyType(
        {
            host: Placements(tuple(processes.get(host, ())), tuple(gateways.get(host, ())))
            for host in processes.keys() | gateways.keys()
        }
    )


def _judged(key: tuple[HostReport, Placements], _: Memo) -> HostReport:
    report, placed = key
    made = believed(report, placed)
    return report if made == report else made


def _of_host(
    each: Workload,
    host: str,
    placed: dict[tuple[str, str], ProcessSpec],
    edges: dict[tuple[str, str], GatewaySpec],
) -> Workload | None:
    if each.placement is Placement.EGRESS and (each.namespace, each.name) == (SYSTEM_NAMESPACE, host):
        return msgspec.structs.replace(each, host=host, ports=(), labels=(), bound=(), gateway_ports=())
    if each.placement is Placement.GATEWAY:
        edge = edges.get((each.namespace, each.name))
        return _edge(each, host, edge) if edge else None
    spec = placed.get((each.namespace, workload_of(each.name)))
    if each.placement is not Placement.SIDECAR or spec is None:
        return None
    if each.name not in [instance(spec.name, generation) for generation in INSTANCES]:
        return None
    return msgspec.structs.replace(
        each,
        host=host,
        service_account=spec.service_account,
        labels=spec.labels,
        weight=1,
        ports=_ports(each, spec),
        gateway_ports=(),
    )


def _edge(each: Workload, host: str, edge: GatewaySpec) -> Workload:
    """Where it could bind which of its Gateway's ports."""
    reported = dict(reversed(each.gateway_ports))
    bound = tuple((number, reported[number]) for number in edge.ports if number in reported)
    return msgspec.structs.replace(each, host=host, ports=(), labels=(), bound=(), gateway_ports=bound)


def _ports(each: Workload, spec: ProcessSpec) -> tuple[WorkloadPort, ...]:
    """Those that it was given, each once, under the name and with the protocol that they were given."""
    reported = {port.number: port for port in reversed(each.ports)}
    return tuple(
        [
            msgspec.structs.replace(reported[given.number], name=given.name, protocol=given.protocol)
            for given in spec.ports
            if given.number in reported
        ]
    )


def _is_reachable(address: str) -> bool:
    """An address that other hosts may be sent to: nobody's own loopback, in no spelling, and no group."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return not (found.is_loopback or found.is_unspecified or found.is_multicast or found.is_link_local)
