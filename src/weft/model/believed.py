"""What control believes of another host's report: that what it placed there runs, and where and how; nothing else.

An agent on another host is believed about addresses and states. Who a workload is, which services it stands behind and which
ports it has are control's own knowledge: a host that somebody took over must not become an endpoint of what is not its own.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec

from weft.model.service import HostReport, Placement
from weft.names import RELAY_PORT, SYSTEM_NAMESPACE, workload_of

if TYPE_CHECKING:
    from weft.model.mesh import Placements, ProcessSpec
    from weft.model.service import Workload


def believed(report: HostReport, placements: Placements) -> HostReport:
    """The report of a joined host without what is not its own to say."""
    placed = {(each.namespace, each.name): each for each in placements.processes if each.host == report.host}
    found = (_of_host(each, report.host, placed) for each in report.workloads)
    address = report.address if _is_reachable(report.address) else ""
    return HostReport(
        host=report.host,
        workloads=tuple([each for each in found if each is not None]),
        address=address,
        relay_port=RELAY_PORT,
    )


def _of_host(each: Workload, host: str, placed: dict[tuple[str, str], ProcessSpec]) -> Workload | None:
    if each.placement is Placement.EGRESS and (each.namespace, each.name) == (SYSTEM_NAMESPACE, host):
        return msgspec.structs.replace(each, host=host, ports=(), labels=(), bound=(), gateway_ports=())
    spec = placed.get((each.namespace, workload_of(each.name)))
    if each.placement is not Placement.SIDECAR or spec is None:
        return None
    numbers = {port.number for port in spec.ports}
    return msgspec.structs.replace(
        each,
        host=host,
        service_account=spec.service_account,
        labels=spec.labels,
        weight=1,
        ports=tuple([port for port in each.ports if port.number in numbers]),
        gateway_ports=(),
    )


def _is_reachable(address: str) -> bool:
    """An address that other hosts may be sent to: nobody's own loopback, and no group."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified or found.is_multicast or found.is_link_local)
