"""What a person means by a name in a question about policy: which workloads, and which identities.

``ops`` is, in this order, a SPIFFE ID, a workload, all workloads behind a service, all workloads of a service account, or a
Gateway; ``ops.shop`` and ``shop/ops`` say the namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.errors import nearest
from weft.model.identity import DEFAULT_ACCOUNT, identity_of
from weft.model.service import Workload
from weft.names import ServiceKey, node_id, workload_of

if TYPE_CHECKING:
    from weft.model.mesh import Mesh

SPIFFE: Final = "spiffe://"


class Subject(msgspec.Struct, frozen=True):
    """``workloads`` are the instances, sorted; ``identities`` theirs, sorted. One that is only a SPIFFE ID has no workloads."""

    name: str
    workloads: tuple[Workload, ...]
    identities: tuple[str, ...]


def find(mesh: Mesh, text: str, namespace: str) -> Subject | None:
    """None when nothing has that name."""
    if text.startswith(SPIFFE):
        found = [each for each in mesh.proxies.values() if identity_of(each, mesh.trust.domain) == text]
        return Subject(text, _sorted(found), (text,))
    for within, name in spelled(text, namespace):
        workloads = _named(mesh, within, name)
        if workloads:
            identities = {identity_of(each, mesh.trust.domain) for each in workloads}
            return Subject(f"{within}/{name}", _sorted(workloads), tuple(sorted(identities)))
    return None


def spelled(text: str, namespace: str) -> tuple[tuple[str, str], ...]:
    """(namespace, name) as a text may be read: the given namespace first, unless it says one with a slash."""
    before, slash, after = text.partition("/")
    if slash:
        return ((before, after),)
    name, dot, rest = text.partition(".")
    within = rest.partition(".")[0]
    return ((namespace, text), (within, name)) if dot and within else ((namespace, text),)


def near(mesh: Mesh, text: str) -> tuple[str, ...]:
    """Names that a mistyped one most likely meant."""
    known = {key.name for key in mesh.services} | {workload_of(each.name) for each in mesh.workloads.values()}
    return nearest(text.rpartition("/")[2].partition(".")[0], sorted(known))


def _named(mesh: Mesh, namespace: str, name: str) -> list[Workload]:
    exact = [each for each in mesh.workloads.values() if each.namespace == namespace and _is(each, name)]
    if exact:
        return exact
    key = ServiceKey(namespace, name)
    behind = {
        endpoint.workload
        for (service, _), endpoints in mesh.endpoints.items()
        if service == key
        for endpoint in endpoints
    }
    service = mesh.services.get(key)
    chosen = set(service.selector) if service else set()
    found = [
        each
        for each in mesh.workloads.values()
        if f"{each.namespace}/{each.name}" in behind
        or (chosen and each.namespace == namespace and chosen <= set(each.labels))
    ]
    if found:
        return found
    account = [
        each
        for each in mesh.workloads.values()
        if each.namespace == namespace and (each.service_account or DEFAULT_ACCOUNT) == name
    ]
    gateway = mesh.proxies.get(node_id("gateway", namespace, name))
    return account or ([gateway] if gateway else [])


def _is(workload: Workload, name: str) -> bool:
    return name in (workload.name, workload_of(workload.name))


def _sorted(workloads: list[Workload]) -> tuple[Workload, ...]:
    return tuple(sorted(workloads, key=lambda each: (each.namespace, each.name)))


def shown_name(workload: Workload) -> str:
    return f"{workload.namespace}/{workload_of(workload.name)}"
