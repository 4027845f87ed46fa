"""Where each Gateway is reached: the word of the agent that runs its edge proxy, in the Gateway's status.

``status.addresses`` has each IP address as the Gateway API wants it. The agent may have had to bind another port than the
listener's (a port below 1024, or one that is taken), and the Gateway API has no place for that; so an address of weft's
own type, ``weft.dev/url``, follows for each port: ``http://127.0.0.1:8080``. Source: Gateway API, "GatewayStatusAddress",
whose type may be "a domain-prefixed string" of the implementation's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.model.service import Placement
from weft.model.status import FALSE, PENDING, PROGRAMMED, Condition
from weft.names import node_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.model.mesh import Gateway, Mesh
    from weft.model.service import Workload
    from weft.model.status import Status
    from weft.values import Ref

IP_ADDRESS: Final = "IPAddress"
URL: Final = "weft.dev/url"


def located(statuses: Mapping[Ref, Status], mesh: Mesh) -> dict[Ref, Status]:
    """The compiler's statuses, those of Gateways with their addresses."""
    return {ref: _located(status, mesh) if ref.kind == "Gateway" else status for ref, status in statuses.items()}


def _located(status: Status, mesh: Mesh) -> Status:
    key = (status.ref.namespace, status.ref.name)
    gateway, edge = mesh.gateways.get(key), mesh.proxies.get(node_id(Placement.GATEWAY.value, *key))
    if gateway is None or edge is None:
        return status
    made = msgspec.structs.replace(status, addresses=addresses(edge))
    unbound = _unbound(gateway, edge)
    if not unbound:
        return made
    ports = ", ".join(map(str, unbound))
    said = Condition(PROGRAMMED, FALSE, "AddressNotUsable", f"no port could be bound on this machine for {ports}")
    conditions = tuple(said if (each.type, each.reason) == (PROGRAMMED, PENDING) else each for each in made.conditions)
    return msgspec.structs.replace(made, conditions=conditions)


def addresses(edge: Workload) -> tuple[tuple[str, str], ...]:
    """Each IP address once, then where each port is reached."""
    bound = [address for _, address in edge.gateway_ports]
    hosts = dict.fromkeys((IP_ADDRESS, address.ip) for address in bound)
    return (*hosts, *((URL, f"http://{address}") for address in bound))


def _unbound(gateway: Gateway, edge: Workload) -> list[int]:
    bound = dict(edge.gateway_ports)
    return [port.number for port in gateway.ports if port.number not in bound]
