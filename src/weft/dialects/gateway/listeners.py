"""Gateways and their listeners: which are ours, which can work, and which routes each lets in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.api.gateway import HOST_ADDRESS, Gateway, GatewayClass, LabelSelector, Listener
from weft.api.kinds import GATEWAY_GROUP
from weft.dialects.gateway.references import Grant, is_granted
from weft.dialects.values import Finding
from weft.errors import Severity
from weft.model.status import CONTROLLER, FALSE, TRUE, UNKNOWN, Condition, Status
from weft.names import ServiceKey
from weft.values import Pairs, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASS: Final = "weft"
"""The class that exists without anybody writing it."""

HTTP_ROUTE: Final = (GATEWAY_GROUP, "HTTPRoute")
_NAME_LABEL: Final = "kubernetes.io/metadata.name"


class ListenerSpec(msgspec.Struct, frozen=True, cache_hash=True):
    """One listener. ``usable``: it is accepted and programmed. ``from_`` is Same, All or Selector; ``kinds`` what it lets in."""

    name: str
    hostname: str
    port: int
    protocol: str
    usable: bool
    kinds: tuple[tuple[str, str], ...]
    from_: str
    selector: LabelSelector | None
    conditions: tuple[Condition, ...]


class GatewaySpec(msgspec.Struct, frozen=True, cache_hash=True):
    ref: Ref
    generation: int
    listeners: tuple[ListenerSpec, ...]
    conditions: tuple[Condition, ...]
    findings: tuple[Finding, ...]
    host: str = ""
    """The host whose agent runs its proxy; empty: the one that runs control."""


def classes(written: Mapping[str, GatewayClass]) -> frozenset[str]:
    """The names of the classes that are ours. A class of our name that somebody gave to another controller is not."""
    found = {name for name, each in written.items() if each.spec.controller_name == CONTROLLER}
    if CLASS not in written:
        found.add(CLASS)
    return frozenset(found)


def class_status(ref: Ref, written: GatewayClass) -> Status | None:
    """The status of a class that is ours."""
    if written.spec.controller_name != CONTROLLER:
        return None
    accepted = Condition("Accepted", TRUE, "Accepted", "weft runs the Gateways of this class")
    return Status(ref, written.metadata.generation, (accepted,))


def foreign(ref: Ref, written: Gateway, ours: frozenset[str]) -> Finding:
    """The warning for a Gateway that is somebody else's; it gets no status, because that is its controller's to write."""
    return Finding(
        code="WFT-1218",
        ref=ref,
        field="spec.gatewayClassName",
        message=f"class {written.spec.gateway_class_name} is not one of weft's, so the Gateway is left alone",
        remedy=f"Write gatewayClassName: {min(ours, default=CLASS)}, if weft shall run it",
        severity=Severity.WARNING,
    )


def read_gateway(ref: Ref, written: Gateway, grants: frozenset[Grant]) -> GatewaySpec:
    """One Gateway of a class that is ours."""
    findings: list[Finding] = []
    listeners = tuple(
        _listener(ref, index, listener, grants, findings) for index, listener in enumerate(written.spec.listeners)
    )
    usable = sum(listener.usable for listener in listeners)
    host, refused = _host(written)
    if refused:
        findings.append(_addresses(ref))
        message = "weft chooses the addresses of its Gateways, on a host that may be named"
        accepted = Condition("Accepted", FALSE, "UnsupportedAddress", message)
        listeners = tuple(msgspec.structs.replace(listener, usable=False) for listener in listeners)
        usable = 0
    elif usable == len(listeners):
        accepted = Condition("Accepted", TRUE, "Accepted")
    else:
        message = f"{len(listeners) - usable} of {len(listeners)} listeners cannot be used"
        accepted = Condition("Accepted", TRUE if usable else FALSE, "ListenersNotValid", message)
    conditions = (accepted, _programmed(bool(usable)))
    return GatewaySpec(ref, written.metadata.generation, listeners, conditions, tuple(findings), host)


def _host(written: Gateway) -> tuple[str, bool]:
    """The host that was named, and whether something else was asked for, which cannot be had."""
    asked = written.spec.addresses
    if len(asked) == 1 and asked[0].type == HOST_ADDRESS and asked[0].value:
        return asked[0].value, False
    return "", bool(asked)


def _programmed(usable: bool) -> Condition:
    """What is known before a proxy has answered; the fleet turns Unknown into True."""
    if usable:
        return Condition("Programmed", UNKNOWN, "Pending", "waiting for a proxy to accept the configuration")
    return Condition("Programmed", FALSE, "Invalid", "no configuration is made for it")


def _listener(
    ref: Ref, index: int, written: Listener, grants: frozenset[Grant], findings: list[Finding]
) -> ListenerSpec:
    field = f"spec.listeners[{index}]"
    supported = written.protocol == "HTTP"
    if not supported:
        findings.append(_unsupported(ref, field, written))
    kinds = tuple((each.group, each.kind) for each in written.allowed_routes.kinds)
    unknown = [kind for kind in kinds if kind != HTTP_ROUTE]
    allowed = tuple(kind for kind in kinds if kind == HTTP_ROUTE) if kinds else (HTTP_ROUTE,)
    resolved = Condition("ResolvedRefs", TRUE, "ResolvedRefs")
    if unknown:
        named = ", ".join(kind for _, kind in unknown)
        resolved = Condition("ResolvedRefs", FALSE, "InvalidRouteKinds", f"not supported: {named}")
        findings.append(_route_kinds(ref, f"{field}.allowedRoutes.kinds", named))
    elif refused := _refused_secret(ref, written, grants):
        resolved = Condition("ResolvedRefs", FALSE, "RefNotPermitted", refused)
        findings.append(_secret(ref, f"{field}.tls.certificateRefs", refused))
    usable = supported and bool(allowed)
    accepted = Condition("Accepted", TRUE, "Accepted")
    if not supported:
        accepted = Condition("Accepted", FALSE, "UnsupportedProtocol", f"protocol {written.protocol} is not supported")
    namespaces = written.allowed_routes.namespaces
    return ListenerSpec(
        name=written.name,
        hostname=written.hostname or "",
        port=written.port,
        protocol=written.protocol,
        usable=usable,
        kinds=allowed,
        from_=namespaces.from_,
        selector=namespaces.selector,
        conditions=(
            accepted,
            Condition("Conflicted", FALSE, "NoConflicts"),
            resolved,
            _programmed(usable and resolved.status == TRUE),
        ),
    )


def lets_in(gateway: GatewaySpec, listener: ListenerSpec, namespace: str, labels: Mapping[str, Pairs]) -> bool:
    """Whether a listener takes HTTPRoutes from a namespace; ``labels`` are those of each known namespace."""
    if HTTP_ROUTE not in listener.kinds:
        return False
    if listener.from_ == "All":
        return True
    if listener.from_ == "Same":
        return namespace == gateway.ref.namespace
    had = {**dict(labels.get(namespace, ())), _NAME_LABEL: namespace}
    return listener.selector is not None and matches(listener.selector, had)


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Source: Kubernetes, "Labels and Selectors". An empty selector matches everything."""
    if any(labels.get(name) != value for name, value in selector.match_labels):
        return False
    for each in selector.match_expressions:
        value = labels.get(each.key)
        if each.operator in ("Exists", "DoesNotExist"):
            holds = (value is not None) == (each.operator == "Exists")
        elif each.operator == "In":
            holds = value in each.values
        else:
            holds = value not in each.values
        if not holds:
            return False
    return True


def _refused_secret(ref: Ref, written: Listener, grants: frozenset[Grant]) -> str:
    for each in written.tls.certificate_refs if written.tls else ():
        key = ServiceKey(each.namespace or ref.namespace, each.name)
        if not is_granted(grants, (GATEWAY_GROUP, "Gateway", ref.namespace), (each.group, each.kind), key):
            return f"namespace {key.namespace} does not let Gateways of {ref.namespace} refer to {each.kind} {key.name}"
    return ""


def _unsupported(ref: Ref, field: str, written: Listener) -> Finding:
    return Finding(
        code="WFT-1219",
        ref=ref,
        field=f"{field}.protocol",
        message=f"listener {written.name} has protocol {written.protocol}, which this version of weft does not serve",
        remedy="Use protocol HTTP",
    )


def _route_kinds(ref: Ref, field: str, named: str) -> Finding:
    return Finding(
        code="WFT-1220",
        ref=ref,
        field=field,
        message=f"routes of kind {named} are not supported",
        remedy="Allow HTTPRoute, or remove kinds",
    )


def _secret(ref: Ref, field: str, message: str) -> Finding:
    remedy = "Write a ReferenceGrant in the Secret's namespace, from Gateway to Secret"
    return Finding(code="WFT-1205", ref=ref, field=field, message=message, remedy=remedy)


def _addresses(ref: Ref) -> Finding:
    return Finding(
        code="WFT-1221",
        ref=ref,
        field="spec.addresses",
        message="a Gateway's addresses cannot be chosen here; it listens where the agent of its host lets it",
        remedy=f"Remove addresses, or name one host: {{type: {HOST_ADDRESS}, value: NAME}}",
    )
