"""The identity of everything that runs: what the authority writes into its SVID, and what others expect of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.model.service import Placement
from weft.names import HOST_PROXY_ACCOUNT, SYSTEM_NAMESPACE, gateway_account, spiffe_id

if TYPE_CHECKING:
    from weft.model.service import Workload

DEFAULT_ACCOUNT: Final = "default"
"""The service account of a workload that has none of its own. Source: Kubernetes."""


def identity_of(workload: Workload, trust_domain: str) -> str:
    """The SPIFFE ID of what an agent registered: a workload's service account, a Gateway's, or the host proxy's."""
    if workload.placement is Placement.GATEWAY:
        return spiffe_id(trust_domain, workload.namespace, gateway_account(workload.name))
    if workload.placement is Placement.EGRESS:
        return spiffe_id(trust_domain, SYSTEM_NAMESPACE, HOST_PROXY_ACCOUNT)
    return spiffe_id(trust_domain, workload.namespace, workload.service_account or DEFAULT_ACCOUNT)
