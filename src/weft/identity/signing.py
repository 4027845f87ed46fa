"""Who may get which SVID: decided by what control itself placed, never by what a request says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from weft.identity import spiffe
from weft.identity.problems import problem
from weft.model.identity import DEFAULT_ACCOUNT
from weft.model.mesh import ProcessSpec
from weft.model.service import Placement
from weft.names import (
    SYSTEM_NAMESPACE,
    gateway_account,
    host_proxy_account,
    host_spiffe_id,
    parse_node_id,
    spiffe_id,
    workload_of,
)

if TYPE_CHECKING:
    from weft.errors import Problem
    from weft.model.mesh import Mesh

HOST: Final = "host/"
"""What the node of a host's agent begins with: ``host/<name>``."""


Placed: TypeAlias = Mapping[tuple[str, str], tuple[ProcessSpec, ...]]
"""(namespace, name) to the processes of that name, one for each host that runs one."""


def placed(mesh: Mesh) -> Placed:
    """Every process that control placed, to be found by its name."""
    found: dict[tuple[str, str], tuple[ProcessSpec, ...]] = {}
    for each in mesh.placements.processes:
        found[each.namespace, each.name] = (*found.get((each.namespace, each.name), ()), each)
    return found


def may_sign(host: str, node: str, mesh: Mesh, processes: Placed, *, local: bool) -> str | Problem:
    """The SPIFFE ID that ``node`` has when ``host`` asks for it, or why it gets none. ``local``: it is the host that runs
    control, where processes and Gateways are placed that name no host.

    A sidecar has the service account of the process that control placed there under its name, a Gateway's and the host proxy
    their own. Reports of a host are believed only where they forbid: what runs on another host is that host's.
    """
    found = _identity(host, node, mesh, processes, local=local)
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


def _identity(host: str, node: str, mesh: Mesh, processes: Placed, *, local: bool) -> str | Problem:
    domain = mesh.trust.domain
    if node.startswith(HOST):
        return host_spiffe_id(domain, host) if node == f"{HOST}{host}" else _not_yours(host, node)
    parts = parse_node_id(node)
    if parts is None:
        remedy = "Ask for sidecar/NAMESPACE/NAME, gateway/NAMESPACE/NAME, egress/NAMESPACE/HOST or host/NAME"
        return problem("WFT-1805", "it is not the name of a proxy", remedy, node)
    reported = mesh.proxies.get(node)
    if reported is not None and reported.host != host:
        return _not_yours(host, node)
    placement, namespace, name = parts
    if placement == Placement.EGRESS.value and (namespace, name) == (SYSTEM_NAMESPACE, host):
        return spiffe_id(domain, SYSTEM_NAMESPACE, host_proxy_account(name))
    if placement == Placement.GATEWAY.value and local:
        if any((each.namespace, each.name) == (namespace, name) for each in mesh.placements.gateways):
            return spiffe_id(domain, namespace, gateway_account(name))
    elif placement == Placement.SIDECAR.value:
        account = _account(host, processes.get((namespace, workload_of(name)), ()), local=local)
        if account:
            owner = _owner(namespace, account, mesh)
            return _reserved(namespace, account, owner, node) if owner else spiffe_id(domain, namespace, account)
    return _not_yours(host, node)


def _owner(namespace: str, account: str, mesh: Mesh) -> str:
    """Whose proxy has this service account as its own; empty when nobody's. A workload could name it in its manifest."""
    if namespace == SYSTEM_NAMESPACE and account.startswith(host_proxy_account("")):
        return "a host"
    gateways = mesh.placements.gateways
    found = (each.name for each in gateways if (each.namespace, gateway_account(each.name)) == (namespace, account))
    return next((f"Gateway {namespace}/{name}" for name in found), "")


def _reserved(namespace: str, account: str, owner: str, node: str) -> Problem:
    message = f"service account {namespace}/{account} is that of the proxy of {owner}"
    return problem("WFT-1805", message, "Give the workload another serviceAccount", node)


def _account(host: str, processes: tuple[ProcessSpec, ...], *, local: bool) -> str:
    """The service account of the one of these processes that ``host`` shall run; empty when there is none."""
    for each in processes:
        if each.host == host if each.host else local:
            return each.service_account or DEFAULT_ACCOUNT
    return ""


def _not_yours(host: str, node: str) -> Problem:
    message = f"host {host} runs no {node} that control placed there"
    return problem("WFT-1805", message, "Ask for what GET /weft/v1/placements names for this host", node)
