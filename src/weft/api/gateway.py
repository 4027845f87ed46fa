"""Gateway, GatewayClass and ReferenceGrant, as the Gateway API spells them.

Source: Gateway API v1.4, specification and the validation rules of the CRDs (experimental channel). Known and refused,
because nothing here gives them effect: ``parametersRef`` of our own classes and of Gateways, ``allowedListeners``,
``defaultScope`` and the Gateway-wide ``tls``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from weft.api.base import (
    Finding,
    Group,
    KindName,
    Label,
    Many,
    Model,
    Object,
    ObjectName,
    PortNumber,
    Refused,
    Strings,
    Subdomain,
    WildcardHost,
    is_host_name,
    is_ip_address,
    is_wildcard_host,
    shown,
    unique,
    wrong,
)
from weft.api.kinds import GATEWAY_GROUP
from weft.errors import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUR_CONTROLLERS: Final = "weft.dev/"
"""How the controller names of our own classes begin."""
OUR_CONTROLLER: Final = "weft.dev/gateway-controller"
"""The one that there is."""

_ADDRESS: Final = re.compile(
    r"Hostname|IPAddress|NamedAddress|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
)
_CONTROLLER: Final = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
)
_PROTOCOL: Final = re.compile(
    r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]+"
)


def _is_controller(value: str) -> str:
    if len(value) > 253 or not _CONTROLLER.fullmatch(value):
        wrong(
            "WFT-1105",
            f"{shown(value)} is not a controller's name",
            "Write DOMAIN/PATH, such as weft.dev/gateway-controller",
        )
    return value


def _is_protocol(value: str) -> str:
    if len(value) > 255 or not _PROTOCOL.fullmatch(value):
        wrong("WFT-1105", f"{shown(value)} is not a protocol", "Use HTTP, HTTPS, TLS, TCP or UDP")
    return value


def _is_address_type(value: str) -> str:
    if len(value) > 253 or not _ADDRESS.fullmatch(value):
        wrong("WFT-1105", f"{shown(value)} is not a type of address", "Use IPAddress or Hostname")
    return value


HOST_ADDRESS: Final = "weft.dev/host"
"""A type of address of ours: the host of the mesh whose agent runs the Gateway. Source: Gateway API, "AddressType", which may be
"a domain-prefixed string" of the implementation's.
"""
_ADDRESS_VALUES: Final[dict[str, Callable[[str], bool]]] = {
    "IPAddress": is_ip_address,
    "Hostname": is_wildcard_host,
    HOST_ADDRESS: is_host_name,
}


class ParametersRef(Model):
    group: Group
    kind: KindName
    name: ObjectName
    namespace: Label | None = None


class GatewayClassSpec(Model):
    controller_name: Annotated[str, AfterValidator(_is_controller)]
    description: Annotated[str, Field(max_length=64)] | None = None
    parameters_ref: ParametersRef | None = None
    """Only classes of other controllers have parameters."""

    def findings(self) -> Iterator[Finding]:
        if self.parameters_ref and self.controller_name.startswith(OUR_CONTROLLERS):
            message = "weft cannot give this effect: its classes have no parameters"
            yield Finding(
                code="WFT-1108", message=message, remedy="Remove the field", path=("parametersRef",), is_key=True
            )


class GatewayClass(Object):
    spec: GatewayClassSpec

    def warnings(self) -> Iterator[Finding]:
        written = self.spec.controller_name
        if written.startswith(OUR_CONTROLLERS) and written != OUR_CONTROLLER:
            yield Finding(
                code="WFT-1111",
                message=f"no controller is called {written}: nobody runs the Gateways of this class",
                remedy=f"Write {OUR_CONTROLLER}",
                path=("spec", "controllerName"),
                severity=Severity.WARNING,
            )


class LabelSelectorRequirement(Model):
    key: Annotated[str, Field(min_length=1)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Many[str] = ()

    def findings(self) -> Iterator[Finding]:
        needs = self.operator in ("In", "NotIn")
        if needs != bool(self.values):
            message = f"operator {self.operator} {'needs' if needs else 'takes no'} values"
            remedy = "Add values" if needs else "Remove values"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("values",))


class LabelSelector(Model):
    match_labels: Strings = ()
    match_expressions: Many[LabelSelectorRequirement] = ()


class RouteNamespaces(Model):
    from_: Annotated[Literal["All", "Selector", "Same"], Field(alias="from")] = "Same"
    selector: LabelSelector | None = None

    def findings(self) -> Iterator[Finding]:
        if (self.from_ == "Selector") != (self.selector is not None):
            needs = self.from_ == "Selector"
            message = "from: Selector needs a selector" if needs else f"selector has no place beside from: {self.from_}"
            remedy = "Add selector" if needs else "Remove selector, or write from: Selector"
            code = "WFT-1104" if needs else "WFT-1105"
            yield Finding(code=code, message=message, remedy=remedy, path=("selector",), is_key=True)


class RouteGroupKind(Model):
    group: Group = GATEWAY_GROUP
    kind: KindName


class AllowedRoutes(Model):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[Many[RouteGroupKind], Field(max_length=8)] = ()


class SecretRef(Model):
    group: Group = ""
    kind: KindName = "Secret"
    name: ObjectName
    namespace: Label | None = None


class ListenerTls(Model):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[Many[SecretRef], Field(max_length=64)] = ()
    options: Annotated[None, Refused("no TLS option is known")] = None

    def findings(self) -> Iterator[Finding]:
        if self.mode == "Terminate" and not self.certificate_refs:
            message = "mode Terminate needs certificateRefs"
            path = ("certificateRefs",)
            yield Finding(code="WFT-1104", message=message, remedy="Add a reference to a Secret", path=path)


class Listener(Model):
    name: Subdomain
    hostname: WildcardHost | None = None
    port: PortNumber
    protocol: Annotated[str, AfterValidator(_is_protocol)]
    tls: ListenerTls | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()

    def findings(self) -> Iterator[Finding]:
        if self.tls and self.protocol in ("HTTP", "TCP", "UDP"):
            yield _misplaced("tls", self.protocol)
        if self.tls and self.protocol == "HTTPS" and self.tls.mode != "Terminate":
            message = "protocol HTTPS needs tls.mode Terminate"
            yield Finding(
                code="WFT-1105", message=message, remedy="Use protocol TLS to pass through", path=("tls", "mode")
            )
        if self.tls is None and self.protocol in ("HTTPS", "TLS"):
            yield Finding(
                code="WFT-1104", message=f"protocol {self.protocol} needs tls", remedy="Add tls", path=("tls",)
            )
        if self.hostname and self.protocol in ("TCP", "UDP"):
            yield _misplaced("hostname", self.protocol)


def _misplaced(field: str, protocol: str) -> Finding:
    message = f"{field} has no place in a listener of protocol {protocol}"
    return Finding(code="WFT-1105", message=message, remedy=f"Remove {field}", path=(field,), is_key=True)


class GatewayAddress(Model):
    type: Annotated[str, AfterValidator(_is_address_type)] = "IPAddress"
    value: Annotated[str, Field(max_length=253)] = ""

    def findings(self) -> Iterator[Finding]:
        if self.value and self.type in _ADDRESS_VALUES and not _ADDRESS_VALUES[self.type](self.value):
            message = f"{shown(self.value)} is no address of type {self.type}"
            yield Finding(code="WFT-1105", message=message, remedy="Correct the value, or its type", path=("value",))


class Infrastructure(Model):
    labels: Strings = ()
    annotations: Strings = ()
    parameters_ref: Annotated[None, Refused("a Gateway has no parameters here")] = None


class GatewaySpec(Model):
    gateway_class_name: ObjectName
    listeners: Annotated[Many[Listener], Field(min_length=1, max_length=64)]
    addresses: Annotated[Many[GatewayAddress], Field(max_length=16)] = ()
    infrastructure: Infrastructure | None = None
    allowed_listeners: Annotated[None, Refused("there are no ListenerSets here")] = None
    default_scope: Annotated[None, Refused("a route names its parents")] = None
    tls: Annotated[None, Refused("client certificates are checked by policies, not by a Gateway")] = None

    def findings(self) -> Iterator[Finding]:
        listeners = list(enumerate(self.listeners))
        yield from unique([(("listeners", index, "name"), each.name) for index, each in listeners], "listener name")
        ports = [
            (("listeners", index), f"{each.protocol} {each.hostname or '*'}:{each.port}") for index, each in listeners
        ]
        yield from unique(list(ports), "listener")
        addresses = [(("addresses", index, "value"), each.value or None) for index, each in enumerate(self.addresses)]
        yield from unique(list(addresses), "address")


class Gateway(Object):
    spec: GatewaySpec

    def warnings(self) -> Iterator[Finding]:
        infrastructure = self.spec.infrastructure
        if infrastructure and (infrastructure.labels or infrastructure.annotations):
            yield Finding(
                code="WFT-1111",
                message="infrastructure has no effect in weft: no other object is created for a Gateway",
                remedy="Remove the field, or leave it for Kubernetes",
                path=("spec", "infrastructure"),
                severity=Severity.WARNING,
            )


class GrantFrom(Model):
    group: Group
    kind: KindName
    namespace: Label


class GrantTo(Model):
    group: Group
    kind: KindName
    name: ObjectName | None = None
    """None: every object of that kind in the grant's namespace."""


class ReferenceGrantSpec(Model):
    from_: Annotated[Many[GrantFrom], Field(alias="from", min_length=1, max_length=16)]
    to: Annotated[Many[GrantTo], Field(min_length=1, max_length=16)]


class ReferenceGrant(Object):
    spec: ReferenceGrantSpec
