"""Service objects, read one by one, and settled against each other: whose name, whose address."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.dialects.core.claims import cluster_addresses, external_hosts, squatters
from weft.dialects.core.protocols import APP_PROTOCOLS, detect
from weft.dialects.values import Declared, Finding
from weft.errors import Severity
from weft.model.addresses import OPAQUE, SNIFFED, natural, settle, text
from weft.model.service import ExternalAddress, Service, ServicePort
from weft.names import ServiceKey

if TYPE_CHECKING:
    from weft.api.core import Service as ServiceObject
    from weft.memo import Memo
    from weft.values import Ref

_DEFAULT_PORT: Final = ServicePort(80, "http", detect(80, "http", "", "TCP"), 80)


class Catalogue(msgspec.Struct, frozen=True, eq=False):
    """Every service with its address, and every name and address that leads to one. Compared by identity."""

    services: Mapping[ServiceKey, Service]
    external_hosts: Mapping[str, ServiceKey]
    addresses: Mapping[str, ServiceKey]
    findings: tuple[Finding, ...] = ()


def declare(ref: Ref, written: ServiceObject) -> tuple[Declared, tuple[Finding, ...]]:
    """One Service object as a declaration."""
    spec = written.spec
    ports = []
    findings = []
    for index, port in enumerate(spec.ports):
        name, app_protocol = port.name or "", port.app_protocol or ""
        if app_protocol and app_protocol.lower() not in APP_PROTOCOLS:
            findings.append(_unknown_protocol(ref, app_protocol, index))
        protocol = detect(port.port, name, app_protocol, port.protocol)
        ports.append(ServicePort(port.port, name, protocol, port.target_port or port.port))
    key = ServiceKey(ref.namespace, ref.name)
    external: tuple[ExternalAddress, ...] = ()
    if spec.type == "ExternalName" and spec.external_name:
        ports = [msgspec.structs.replace(port, target=port.number) for port in ports] or [_DEFAULT_PORT]
        external = tuple(ExternalAddress(spec.external_name, port.number) for port in ports)
    service = Service(
        key=key,
        ports=tuple(ports),
        virtual_address="",
        source=ref.path,
        selector=() if external else spec.selector,
        external=external,
    )
    cluster_ip = "" if spec.is_headless else spec.cluster_ip
    return Declared(addressed(service), ref, written.metadata.creation_timestamp or "", cluster_ip), tuple(findings)


def addressed(service: Service) -> Service:
    """The service with the virtual address that it has when no older one has the same."""
    space = OPAQUE if service.is_opaque else SNIFFED
    return msgspec.structs.replace(service, virtual_address=text(natural(service.key, space)))


def catalogue(declared: tuple[tuple[Declared, ...], ...], _: Memo) -> Catalogue:
    """All declarations together. For one name the earlier group wins; within a group the keys differ."""
    found: dict[ServiceKey, Declared] = {}
    findings: list[Finding] = []
    for group in declared:
        for each in group:
            first = found.setdefault(each.service.key, each)
            if first is not each and first.ref != each.ref:
                findings.append(_shadowed(each, first))
    for key, finding in squatters(found).items():
        del found[key]
        findings.append(finding)
    services = {key: each.service for key, each in found.items()}
    addresses = {service.virtual_address: key for key, service in services.items()}
    if len(addresses) < len(services):
        services, addresses = _settled(found)
    findings.extend(cluster_addresses(found.values(), addresses))
    hosts, host_findings = external_hosts(found)
    return Catalogue(
        MappingProxyType(services),
        MappingProxyType(hosts),
        MappingProxyType(addresses),
        (*findings, *host_findings),
    )


def _settled(found: dict[ServiceKey, Declared]) -> tuple[dict[ServiceKey, Service], dict[str, ServiceKey]]:
    """Services again, after a collision of virtual addresses."""
    wanted = [(each.created or "~", key, OPAQUE if each.service.is_opaque else SNIFFED) for key, each in found.items()]
    settled = settle(wanted)
    services = {
        key: each.service
        if each.service.virtual_address == settled[key]
        else msgspec.structs.replace(each.service, virtual_address=settled[key])
        for key, each in found.items()
    }
    return services, {address: key for key, address in settled.items()}


def _shadowed(each: Declared, first: Declared) -> Finding:
    return Finding(
        code="WFT-1211",
        ref=each.ref,
        message=f"service {each.service.key} is declared by {first.ref} too, which wins",
        remedy="Rename one of them, or remove the declaration that is not meant",
        severity=Severity.WARNING,
    )


def _unknown_protocol(ref: Ref, app_protocol: str, index: int) -> Finding:
    return Finding(
        code="WFT-1212",
        ref=ref,
        field=f"spec.ports[{index}].appProtocol",
        message=f"appProtocol {app_protocol} is not known here; the port's name and traffic decide instead",
        remedy=f"Use one of {', '.join(sorted(APP_PROTOCOLS))}, or remove it",
        severity=Severity.WARNING,
    )
