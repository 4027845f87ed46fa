"""What a route refers to: whether it exists, may be referred to, and which cluster it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.api.kinds import GATEWAY_GROUP
from weft.dialects.values import Finding
from weft.model.near import NearIndex, near_objects
from weft.model.service import Service
from weft.names import OutboundCluster, ServiceKey
from weft.values import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weft.api.filters import BackendObjectRef
    from weft.api.gateway import ReferenceGrant

ROUTE_FROM: Final = (GATEWAY_GROUP, "HTTPRoute")


class BackendSpec(msgspec.Struct, frozen=True, cache_hash=True):
    """One backend ref with its defaults filled in. ``port`` is 0 when none is written."""

    group: str
    kind: str
    key: ServiceKey
    port: int
    field: str


class Grant(msgspec.Struct, frozen=True, cache_hash=True):
    """One permission: objects of ``from_`` (group, kind, namespace) may refer to ``to`` (group, kind, name or empty)."""

    namespace: str
    from_: tuple[str, str, str]
    to: tuple[str, str, str]


class Resolved(msgspec.Struct, frozen=True, cache_hash=True):
    """What one reference came to: a cluster, or the reason word of ``ResolvedRefs`` with its finding."""

    cluster: OutboundCluster | None
    reason: str = ""
    finding: Finding | None = None


def backend_spec(ref: Ref, field: str, written: BackendObjectRef) -> BackendSpec:
    key = ServiceKey(written.namespace or ref.namespace, written.name)
    return BackendSpec(written.group, written.kind, key, written.port or 0, field)


def read_grants(ref: Ref, written: ReferenceGrant) -> tuple[Grant, ...]:
    """One ReferenceGrant as single permissions."""
    return tuple(
        Grant(
            ref.namespace, (source.group, source.kind, source.namespace), (target.group, target.kind, target.name or "")
        )
        for source in written.spec.from_
        for target in written.spec.to
    )


def is_granted(
    grants: frozenset[Grant], source: tuple[str, str, str], target: tuple[str, str], key: ServiceKey
) -> bool:
    """Whether ``source`` (group, kind, namespace) may refer to the object ``key`` of kind ``target`` (group, kind)."""
    if source[2] == key.namespace:
        return True
    return any(Grant(key.namespace, source, (*target, name)) in grants for name in ("", key.name))


class Lookup(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of ``resolve_backend``: a reference beside all that decides about it."""

    ref: Ref
    spec: BackendSpec
    service: Service | None
    granted: bool


def resolve_backend(lookup: Lookup, index: Callable[[], NearIndex]) -> Resolved:
    """The cluster of one backend ref. Source: Gateway API, HTTPBackendRef, "ResolvedRefs"."""
    spec, service = lookup.spec, lookup.service
    if (spec.group, spec.kind) != ("", "Service"):
        message = (
            f"backend kind {spec.kind}{f' of {spec.group}' if spec.group else ''} is not known; its share answers 500"
        )
        return _unresolved(lookup, "InvalidKind", "WFT-1206", "kind", message, "Use a Service")
    if not lookup.granted:
        message = f"namespace {spec.key.namespace} does not let routes of {lookup.ref.namespace} send to Service {spec.key.name}"
        remedy = (
            f"Write a ReferenceGrant in namespace {spec.key.namespace}, "
            f"from HTTPRoute of {lookup.ref.namespace} to Service {spec.key.name}"
        )
        return _unresolved(lookup, "RefNotPermitted", "WFT-1205", "namespace", message, remedy)
    if service is None:
        found = near_objects(index(), spec.key.name, spec.key.namespace)
        message = f"there is no Service {spec.key.namespace}/{spec.key.name}"
        message += f"; near: {', '.join(found)}" if found else ""
        remedy = f"Use {found[0]}, or declare Service {spec.key.name}" if found else f"Declare Service {spec.key.name}"
        return _unresolved(lookup, "BackendNotFound", "WFT-1203", "name", message, remedy)
    port = service.port(spec.port)
    if port is None:
        message = f"Service {spec.key.namespace}/{spec.key.name} has no port {spec.port}; it has {known_ports(service)}"
        remedy = (
            f"Use port {service.ports[0].number}, or add {spec.port} to it"
            if service.ports
            else f"Add {spec.port} to it"
        )
        return _unresolved(lookup, "BackendNotFound", "WFT-1204", "port", message, remedy)
    if not port.protocol.is_http:
        message = (
            f"port {spec.port} of Service {spec.key.namespace}/{spec.key.name} speaks {port.protocol.value}, "
            "which an HTTPRoute cannot send to"
        )
        remedy = "Use an HTTP port, or declare with appProtocol or the port's name that it speaks HTTP"
        return _unresolved(lookup, "UnsupportedProtocol", "WFT-1207", "port", message, remedy)
    return Resolved(OutboundCluster(port=port.number, host=service.key.host))


def known_ports(service: Service) -> str:
    """``8080 (http) and 9090 (metrics)``"""
    shown = [f"{port.number} ({port.name or port.protocol.value})" for port in service.ports]
    if not shown:
        return "none"
    return " and ".join((", ".join(shown[:-1]), shown[-1]) if len(shown) > 1 else shown)


def _unresolved(lookup: Lookup, reason: str, code: str, part: str, message: str, remedy: str) -> Resolved:
    field = f"{lookup.spec.field}.{part}"
    return Resolved(None, reason, Finding(code=code, ref=lookup.ref, field=field, message=message, remedy=remedy))


def find(services: Mapping[ServiceKey, Service], spec: BackendSpec) -> Service | None:
    return services.get(spec.key) if spec.kind == "Service" and not spec.group else None
