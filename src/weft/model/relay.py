"""What a host proxy passes on between hosts: connections to the workloads of its own host, by their names, and
connections of its captured namespaces to the other hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.model.service import Address, Placement, Workload
from weft.model.view import Relay
from weft.names import host_suffix, peer_name

if TYPE_CHECKING:
    from collections.abc import Mapping


def relay(
    workload: Workload, workloads: Mapping[tuple[str, str], Workload], hosts: Mapping[str, Address]
) -> Relay | None:
    """The relay of the host proxy ``workload``; None for another proxy, and where the host has no address.

    A workload without a proxy of its own listens on no unix socket, and so is reached by nobody from elsewhere.
    """
    if workload.placement is not Placement.EGRESS or workload.relay is None or workload.host not in hosts:
        return None
    local = (
        (peer_name(port.number, each.name, each.namespace, each.host), port.listen)
        for each in workloads.values()
        if each.host == workload.host
        for port in each.ports
        if port.listen.path
    )
    remote = ((host_suffix(host), address) for host, address in hosts.items() if host != workload.host)
    return Relay(
        listen=hosts[workload.host],
        inside=workload.relay,
        local=tuple(sorted(local)),
        remote=tuple(sorted(remote)),
    )
