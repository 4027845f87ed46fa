"""The identity of everything that runs: what the authority writes into its SVID, and what others expect of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.model.service import Placement
from weft.names import (
    SYSTEM_NAMESPACE,
    gateway_account,
    gateway_of,
    host_proxy_account,
    is_host_proxy_account,
    spiffe_id,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from weft.model.service import Workload

DEFAULT_ACCOUNT: Final = "default"
"""The service account of a workload that has none of its own. Source: Kubernetes."""


def identity_of(workload: Workload, trust_domain: str) -> str:
    """The SPIFFE ID of what an agent registered: a workload's service account, a Gateway's, or that of the host proxy of the
    host that it is named after."""
    if workload.placement is Placement.GATEWAY:
        return spiffe_id(trust_domain, workload.namespace, gateway_account(workload.name))
    if workload.placement is Placement.EGRESS:
        return spiffe_id(trust_domain, SYSTEM_NAMESPACE, host_proxy_account(workload.name))
    return spiffe_id(trust_domain, workload.namespace, workload.service_account or DEFAULT_ACCOUNT)


def reserved_for(namespace: str, account: str, gateways: Container[tuple[str, str]]) -> str:
    """Whose own proxy has this service account, as a message names it; empty when a workload may have it.

    A workload with the account of such a proxy would be that proxy, for every policy and every caller. ``gateways``:
    (namespace, name) of each.
    """
    if namespace == SYSTEM_NAMESPACE and is_host_proxy_account(account):
        return "a host"
    gateway = gateway_of(account)
    return f"Gateway {namespace}/{gateway}" if (namespace, gateway) in gateways else ""
