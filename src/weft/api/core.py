"""Kubernetes' own kinds that a mesh needs: Service, EndpointSlice, Namespace, ServiceAccount.

Manifests written for a cluster pass unchanged. Fields that steer only Kubernetes' own network are accepted with a
warning when they say more than their default does; ``sessionAffinity: ClientIP`` and SCTP change what callers see and
are refused.

Source: Kubernetes API reference, core/v1 and discovery.k8s.io/v1.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from weft.api.base import (
    Carried,
    Finding,
    Host,
    Label,
    Many,
    Metadata,
    Model,
    Object,
    PortNumber,
    PortNumberOrName,
    Strings,
    is_ip_address,
    label,
    shown,
    unique,
    wrong,
)
from weft.errors import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"

_NO_EFFECT: Final = "Remove the field, or leave it for Kubernetes; weft routes without it"


def _protocol(value: object) -> object:
    if value == "SCTP":
        wrong("WFT-1108", "weft cannot give this effect: Envoy does not proxy SCTP", "Use TCP or UDP")
    return value


def _affinity(value: object) -> object:
    if value == "ClientIP":
        message = "weft cannot give this effect: calls are balanced one by one, not by client address"
        wrong("WFT-1108", message, "Remove it, or write None")
    return value


TransportProtocol = Annotated[Literal["TCP", "UDP"], BeforeValidator(_protocol)]


class LabelMetadata(Metadata):
    """Of kinds whose name is one part of a DNS name."""

    name: Label


class ServicePort(Model):
    port: PortNumber
    name: Label | None = None
    protocol: TransportProtocol = "TCP"
    target_port: PortNumberOrName | None = None
    """None: the same number as ``port``."""
    app_protocol: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    node_port: int | None = None


class ServiceSpec(Model):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: Strings = ()
    ports: Annotated[Many[ServicePort], Field(max_length=250)] = ()
    cluster_ip: Annotated[str, Field(alias="clusterIP")] = ""
    external_name: Host | None = None
    session_affinity: Annotated[Literal["None"], BeforeValidator(_affinity)] = "None"
    session_affinity_config: Carried = None
    publish_not_ready_addresses: bool = False
    cluster_ips: Annotated[Many[str], Field(alias="clusterIPs")] = ()
    external_ips: Annotated[Many[str], Field(alias="externalIPs")] = ()
    load_balancer_ip: Annotated[str, Field(alias="loadBalancerIP")] = ""
    load_balancer_class: str | None = None
    load_balancer_source_ranges: Many[str] = ()
    allocate_load_balancer_node_ports: bool = True
    external_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    health_check_node_port: int = 0
    ip_families: Carried = None
    ip_family_policy: Carried = None
    traffic_distribution: str | None = None

    def findings(self) -> Iterator[Finding]:
        if self.type == "ExternalName":
            if self.external_name is None:
                yield _missing("externalName", "a Service of type ExternalName needs externalName")
        elif not self.ports and not self.is_headless:
            yield _missing("ports", "a Service needs ports, unless it is headless (clusterIP: None)")
        if len(self.ports) > 1:
            for index, port in enumerate(self.ports):
                if port.name is None:
                    message = "each port needs a name when there are several"
                    remedy = "Name it, such as http or grpc-api"
                    yield Finding(code="WFT-1104", message=message, remedy=remedy, path=("ports", index, "name"))
        ports = list(enumerate(self.ports))
        yield from unique([(("ports", index, "name"), port.name) for index, port in ports], "port name")
        numbers = [(("ports", index, "port"), f"{port.port}/{port.protocol}") for index, port in ports]
        yield from unique(list(numbers), "port")
        if self.cluster_ip not in ("", "None") and not is_ip_address(self.cluster_ip):
            message = f"{shown(self.cluster_ip)} is neither an IP address nor None"
            remedy = "Remove it; weft gives every service an address"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("clusterIP",))

    @property
    def is_headless(self) -> bool:
        return self.cluster_ip == "None"


class Service(Object):
    metadata: LabelMetadata
    spec: ServiceSpec

    def warnings(self) -> Iterator[Finding]:
        for name, field in ServiceSpec.model_fields.items():
            if name in _ONLY_KUBERNETES and getattr(self.spec, name) != field.default:
                yield _no_effect(("spec", str(field.alias)), _ONLY_KUBERNETES[name])
        if set(self.spec.cluster_ips) - {self.spec.cluster_ip, "None"}:
            yield _no_effect(("spec", "clusterIPs"), "beside its virtual address a service has clusterIP alone")
        for index, port in enumerate(self.spec.ports):
            if port.node_port:
                yield _no_effect(("spec", "ports", index, "nodePort"), "no port of a node is opened")


_ONLY_KUBERNETES: Final = {
    "publish_not_ready_addresses": "an endpoint receives calls only while it is healthy",
    "external_ips": "no address of a node is claimed",
    "load_balancer_ip": "no load balancer is created",
    "load_balancer_class": "no load balancer is created",
    "load_balancer_source_ranges": "no load balancer is created",
    "allocate_load_balancer_node_ports": "no load balancer is created",
    "external_traffic_policy": "calls from outside come through a Gateway",
    "internal_traffic_policy": "every healthy endpoint is used",
    "health_check_node_port": "no load balancer is created",
    "traffic_distribution": "every healthy endpoint is used",
}


def _no_effect(path: tuple[str | int, ...], why: str) -> Finding:
    message = f"{path[-1]} has no effect in weft: {why}"
    return Finding(code="WFT-1111", message=message, remedy=_NO_EFFECT, path=path, severity=Severity.WARNING)


def _missing(field: str, message: str) -> Finding:
    return Finding(code="WFT-1104", message=message, remedy=f"Add {field}", path=(field,))


def _address_type(value: object) -> object:
    if value == "FQDN":
        message = "weft cannot give this effect: endpoints are addresses"
        wrong(
            "WFT-1108",
            message,
            "Use IPv4 or IPv6 addresses; for a name outside the mesh write a Service of type ExternalName",
        )
    return value


def _address(value: str) -> str:
    if not is_ip_address(value):
        wrong("WFT-1105", f"{shown(value)} is not an IP address", "Write an address such as 10.0.0.7")
    return value


class EndpointConditions(Model):
    """None means unknown, which consumers read as: ready yes, serving as ready, terminating no."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Model):
    addresses: Annotated[Many[Annotated[str, AfterValidator(_address)]], Field(min_length=1, max_length=100)]
    conditions: EndpointConditions = EndpointConditions()
    hostname: Label | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: Carried = None
    deprecated_topology: Carried = None
    hints: Carried = None


def _label_or_empty(value: str) -> str:
    return label(value) if value else value


OptionalLabel = Annotated[str, AfterValidator(_label_or_empty)]


class EndpointPort(Model):
    name: OptionalLabel = ""
    port: PortNumber | None = None
    protocol: TransportProtocol = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Object):
    """Its fields stand at the top, without ``spec``; the label ``kubernetes.io/service-name`` names its Service."""

    address_type: Annotated[Literal["IPv4", "IPv6"], BeforeValidator(_address_type)]
    endpoints: Annotated[Many[Endpoint], Field(max_length=1000)] = ()
    ports: Annotated[Many[EndpointPort], Field(max_length=100)] = ()

    def findings(self) -> Iterator[Finding]:
        version = 4 if self.address_type == "IPv4" else 6
        for index, endpoint in enumerate(self.endpoints):
            for number, address in enumerate(endpoint.addresses):
                if ipaddress.ip_address(address).version != version:
                    message = f"{address} is not an {self.address_type} address"
                    path = ("endpoints", index, "addresses", number)
                    yield Finding(
                        code="WFT-1105", message=message, remedy="Put it into a slice of its family", path=path
                    )
        names = [(("ports", index, "name"), port.name) for index, port in enumerate(self.ports)]
        yield from unique(list(names), "port name")

    def warnings(self) -> Iterator[Finding]:
        named = [index for index, endpoint in enumerate(self.endpoints) if endpoint.hostname]
        for index in named[:1]:
            yield _no_effect(("endpoints", index, "hostname"), "a service has a name, and its endpoints have none")
        if not any(name == SERVICE_NAME_LABEL for name, _ in self.metadata.labels):
            message = f"the slice belongs to no Service: it has no label {SERVICE_NAME_LABEL}"
            remedy = f"Label it {SERVICE_NAME_LABEL}: NAME"
            path = ("metadata", "labels")
            yield Finding(code="WFT-1111", message=message, remedy=remedy, path=path, severity=Severity.WARNING)


class NamespaceSpec(Model):
    finalizers: Carried = None


class Namespace(Object):
    metadata: LabelMetadata
    spec: NamespaceSpec = NamespaceSpec()


class ServiceAccount(Object):
    """An identity:

    ``spiffe://<trust domain>/ns/<namespace>/sa/<name>``. What Kubernetes mounts for it is not our business.
    """

    secrets: Carried = None
    image_pull_secrets: Carried = None
    automount_service_account_token: Carried = None
