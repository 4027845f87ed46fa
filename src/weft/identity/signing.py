"""Who may get which SVID: decided by what control itself placed, never by what a request says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.identity import spiffe
from weft.identity.problems import problem
from weft.model.identity import DEFAULT_ACCOUNT, reserved_for
from weft.model.service import Placement
from weft.names import (
    SYSTEM_NAMESPACE,
    gateway_account,
    host_of,
    host_proxy_account,
    host_spiffe_id,
    parse_node_id,
    spiffe_id,
    workload_of,
)

if TYPE_CHECKING:
    from weft.errors import Problem
    from weft.model.mesh import Mesh


class Known(msgspec.Struct, frozen=True):
    """The proxy of something that control placed, or of a host. ``host`` runs it; empty: the one that runs control."""

    spiffe_id: str
    host: str = ""


def known(node: str, mesh: Mesh) -> Known | None:
    """Who the proxy of this name is; None when control placed nothing that has it.

    A sidecar has the service account of the process that control placed under its name, a Gateway's and a host's proxy their
    own, which no process gets: the compiler refuses it (WFT-1244), and nothing is built on its having done so.
    """
    placement, namespace, name = parse_node_id(node) or ("", "", "")
    if placement == Placement.EGRESS.value and namespace == SYSTEM_NAMESPACE:
        return Known(spiffe_id(mesh.trust.domain, namespace, host_proxy_account(name)), name)
    if placement == Placement.GATEWAY.value:
        edges = (each for each in mesh.placements.gateways if (each.namespace, each.name) == (namespace, name))
        edge = next(edges, None)
        return Known(spiffe_id(mesh.trust.domain, namespace, gateway_account(name)), edge.host) if edge else None
    process = mesh.placements.by_name.get((namespace, workload_of(name)))
    if placement != Placement.SIDECAR.value or process is None:
        return None
    account = process.service_account or DEFAULT_ACCOUNT
    if reserved_for(namespace, account, mesh.gateways):
        return None
    return Known(spiffe_id(mesh.trust.domain, namespace, account), process.host)


def may_sign(host: str, node: str, mesh: Mesh, *, local: bool) -> str | Problem:
    """The SPIFFE ID that ``node`` has when ``host`` asks for it, or why it gets none. ``local``: it is the host that runs
    control, where processes and Gateways are placed that name no host.

    Reports of a host are believed only where they forbid: what runs on another host is that host's.
    """
    found = _identity(host, node, mesh, local=local)
    if not isinstance(found, str):
        return found
    if found in mesh.trust.banned:
        return problem("WFT-1807", f"{found} is banned", f"Let it in again: weft unban {found}", node)
    try:
        spiffe.parse(found)
    except spiffe.NotSpiffeError as error:
        remedy = "Rename it: names in identities have letters, digits, dots, dashes and underscores"
        return problem("WFT-1806", f"{found} is no SPIFFE ID: it {error}", remedy, node)
    return found


def _identity(host: str, node: str, mesh: Mesh, *, local: bool) -> str | Problem:
    if agent_of := host_of(node):
        return host_spiffe_id(mesh.trust.domain, host) if agent_of == host else _not_yours(host, node)
    if parse_node_id(node) is None:
        remedy = "Ask for sidecar/NAMESPACE/NAME, gateway/NAMESPACE/NAME, egress/NAMESPACE/HOST or host/NAME"
        return problem("WFT-1805", "it is not the name of a proxy", remedy, node)
    found, reported = known(node, mesh), mesh.proxies.get(node)
    if found is None or (reported is not None and reported.host != host):
        return _not_yours(host, node)
    runs_here = found.host == host if found.host else local
    return found.spiffe_id if runs_here else _not_yours(host, node)


def _not_yours(host: str, node: str) -> Problem:
    message = f"host {host} runs no {node} that control placed there"
    return problem("WFT-1805", message, "Ask for what GET /weft/v1/placements names for this host", node)
