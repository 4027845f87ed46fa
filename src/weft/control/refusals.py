"""What proxies refused, as problems of the users' objects, and as conditions in their status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.envoy import api
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.errors import Problem, Severity
from weft.model.service import Placement
from weft.model.status import FALSE, PENDING, PROGRAMMED, TRUE, Condition, Status
from weft.names import node_id
from weft.sources.records import Record
from weft.values import Origin, Ref
from weft.xds.protocol import ROUTES, VIRTUAL_HOST, Refusal, Resource
from weft.xds.status import NodeStatus, SyncState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def short_type(type_url: str) -> str:
    """``Cluster`` for ``type.googleapis.com/envoy.config.cluster.v3.Cluster``."""
    return type_url.rpartition(".")[2]


class Blamed(msgspec.Struct, frozen=True):
    """A refusal with the object that it came from; None when the resource is of no user's making."""

    refusal: Refusal
    record: Record | None


def blame(
    proxies: Iterable[NodeStatus],
    records: Mapping[str, Record],
    sources: Callable[[Refusal], Iterable[str]],
) -> tuple[Blamed, ...]:
    """Every refusal of every proxy, once for each object that may be to blame. ``records`` are the objects by
    ``Ref.path``, ``sources`` says what a refused resource was made of.
    """
    return tuple(
        Blamed(refusal, records.get(path))
        for proxy in proxies
        for status in proxy.types
        for refusal in status.refusals
        for path in dict.fromkeys("/".join(source.split("/")[:3]) for source in sources(refusal))
    )


def sources(refusal: Refusal, resource: Resource | None) -> tuple[str, ...]:
    """What ``resource``, of which that version was refused, was made of: the routes in it, or else what it is said to be
    from. A virtual host belongs to its service, and what is wrong with it stands in the routes of that service.
    """
    if resource is None or resource.version != refusal.version or refusal.type_url not in (ROUTES, VIRTUAL_HOST):
        return (refusal.source,)
    made = api.unpack(discovery.Resource.FromString(resource.wire).resource)
    hosts = made.virtual_hosts if isinstance(made, route.RouteConfiguration) else (made,)
    names = [each.name for host in hosts if isinstance(host, route.VirtualHost) for each in host.routes]
    return tuple(dict.fromkeys(name for name in names if name.startswith("HTTPRoute/"))) or (refusal.source,)


def problems(blamed: Iterable[Blamed]) -> tuple[Problem, ...]:
    return tuple(_refused(each.refusal, each.record) for each in blamed)


def _refused(refusal: Refusal, record: Record | None) -> Problem:
    what = f"{short_type(refusal.type_url)} {refusal.name}"
    return Problem(
        code="WFT-1403",
        message=f"proxy {refusal.node} refused {what}: {refusal.detail}",
        remedy="Change what the message quotes; the proxy keeps the version before until then",
        origin=record.origin if record else Origin(refusal.source or "weft"),
        ref=record.ref if record else None,
    )


def withheld(proxies: Iterable[NodeStatus]) -> tuple[Problem, ...]:
    """One warning for each proxy and type whose removals the mass-removal guard holds back."""
    return tuple(
        Problem(
            code="WFT-1404",
            message=f"{status.withheld} of {status.held} {short_type(status.type_url)} resources of proxy {proxy.node}"
            " would go at once; they stay until somebody confirms it",
            remedy=f"Bring back what is missing, or run: weft proxy confirm {_workload(proxy.node)}",
            origin=Origin(proxy.node),
            severity=Severity.WARNING,
        )
        for proxy in proxies
        for status in proxy.types
        if status.withheld
    )


def _workload(node: str) -> str:
    """The arguments by which the command line finds a proxy."""
    _, namespace, name = node.split("/", 2)
    return name if namespace == "default" else f"{name} -n {namespace}"


def programmed(
    statuses: Mapping[Ref, Status], blamed: Iterable[Blamed], proxies: Iterable[NodeStatus]
) -> dict[Ref, Status]:
    """The compiler's statuses with the fleet's word: is it in the proxies, on its way, or refused by one?"""
    blamed = tuple(blamed)
    refused = {each.record.ref: each.refusal for each in blamed if each.record is not None}
    edges = {proxy.node: proxy for proxy in proxies if proxy.connected}
    # Kinds that otherwise have no status have one while a proxy refuses what was made of them.
    bare = {
        each.record.ref: Status(each.record.ref, _generation(each.record)) for each in blamed if each.record is not None
    }
    return {ref: _with_fleet(status, refused.get(ref), edges) for ref, status in {**bare, **statuses}.items()}


def _generation(record: Record) -> int:
    return int(msgspec.json.decode(record.document)["metadata"].get("generation", 0))


def _with_fleet(status: Status, refusal: Refusal | None, edges: Mapping[str, NodeStatus]) -> Status:
    if refusal is not None:
        said = Condition(PROGRAMMED, FALSE, "Invalid", f"proxy {refusal.node} refused it: {refusal.detail}")
        return _put(status, said)
    ref = status.ref
    if ref.kind != "Gateway":
        return status
    edge = edges.get(node_id(Placement.GATEWAY.value, ref.namespace, ref.name))
    if edge is None:
        return _settle(status, Condition(PROGRAMMED, FALSE, PENDING, "no edge proxy of this gateway is connected"))
    if edge.state is SyncState.SYNCED and edge.acknowledged_revision >= edge.offered_revision:
        return _settle(status, Condition(PROGRAMMED, TRUE, PROGRAMMED, ""))
    return status


def _settle(status: Status, condition: Condition) -> Status:
    """``condition`` wherever the compiler left it to the proxies; what it called invalid stays so."""
    listeners = tuple(
        msgspec.structs.replace(each, conditions=_decide(each.conditions, condition)) for each in status.listeners
    )
    return msgspec.structs.replace(status, conditions=_decide(status.conditions, condition), listeners=listeners)


def _decide(conditions: tuple[Condition, ...], condition: Condition) -> tuple[Condition, ...]:
    return tuple(condition if each.type == PROGRAMMED and each.reason == PENDING else each for each in conditions)


def _put(status: Status, condition: Condition) -> Status:
    """``condition`` in place of the one of its type: of the object, and of every parent of a route."""
    parents = tuple(
        msgspec.structs.replace(parent, conditions=_replace(parent.conditions, condition)) for parent in status.parents
    )
    own = status.conditions if parents else _replace(status.conditions, condition)
    return msgspec.structs.replace(status, parents=parents, conditions=own)


def _replace(conditions: tuple[Condition, ...], condition: Condition) -> tuple[Condition, ...]:
    return (*(each for each in conditions if each.type != condition.type), condition)
