"""Several ``Mesh`` documents as one: services by namespace and name, versions by name; what two documents say, the older says."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from weft.api.mesh import External, Mesh, MeshService, Port, Version
from weft.dialects.core.services import addressed
from weft.dialects.mesh.security import MergedSecurity, SecurityMerger
from weft.dialects.values import Declared, Finding, age
from weft.errors import Severity
from weft.model.mesh import OutboundTraffic
from weft.model.service import ExternalAddress, Protocol, Service, ServicePort
from weft.names import ServiceKey
from weft.values import Pairs, Ref

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXTERNAL_PROTOCOLS = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "https": Protocol.TLS,
    "tls": Protocol.TLS,
    "tcp": Protocol.TCP,
}
_TLS_PORT = 443


class Written(msgspec.Struct, frozen=True, eq=False):
    """One Mesh document. ``directory`` is that of its file, empty when it is not known. Compared by identity."""

    ref: Ref
    mesh: Mesh
    directory: str


class Instance(msgspec.Struct, frozen=True, eq=False):
    """One version of a service as its document has it, with everything that it takes from around it."""

    service: MeshService
    name: str
    version: str
    command: tuple[str, ...]
    environment: Pairs
    directory: str
    replicas: int
    ref: Ref
    hosts: tuple[str, ...] = ()
    """Where they run, in turn; empty: where control runs."""


class Exposed(msgspec.Struct, frozen=True, cache_hash=True):
    """One service that is published on a port of the machine."""

    service: ServiceKey
    port: int
    hostname: str
    path: str
    source: str


class Merged(msgspec.Struct, frozen=True, eq=False):
    """What all Mesh documents say together."""

    declared: tuple[Declared, ...] = ()
    versioned: tuple[Declared, ...] = ()
    """The service of each version, such as ``reviews-v1``; a service that somebody wrote by that name wins."""
    instances: tuple[Instance, ...] = ()
    exposed: tuple[Exposed, ...] = ()
    outbound_traffic: OutboundTraffic = OutboundTraffic.REGISTRY_ONLY
    security: MergedSecurity = MergedSecurity()
    findings: tuple[Finding, ...] = ()


def merge(written: Iterable[Written]) -> Merged:
    """All documents as one, the oldest first. Source: docs/concepts/routing.md, "Several Mesh documents"."""
    merger = _Merger()
    for each in sorted(written, key=lambda each: age(each.mesh.metadata.creation_timestamp or "", each.ref)):
        merger.add(each)
    return merger.merged()


def version_service(service: str, version: str) -> str:
    """The name of the service that is one version of another, as backends of a route name it."""
    return f"{service}-{version.replace('.', '-')}"


class _Merger:
    def __init__(self) -> None:
        self._services: dict[ServiceKey, Declared] = {}
        self._versions: dict[tuple[ServiceKey, str], Instance] = {}
        self._exposed: list[Exposed] = []
        self._traffic: tuple[OutboundTraffic, Ref] | None = None
        self._security = SecurityMerger()
        self._findings: list[Finding] = []

    def add(self, each: Written) -> None:
        spec = each.mesh.spec
        traffic = OutboundTraffic(spec.outbound_traffic)
        if "outbound_traffic" in spec.model_fields_set:
            if self._traffic is None:
                self._traffic = (traffic, each.ref)
            elif self._traffic[0] is not traffic:
                said = f"outboundTraffic is {self._traffic[0].value} already, as the older {self._traffic[1]} says"
                self._findings.append(_conflict(each.ref, "spec.outboundTraffic", said))
        self._findings.extend(self._security.add(each.ref, spec))
        for name, service in spec.services:
            self._service(each, name, service)
        for name, external in spec.external:
            self._external(each, name, external)

    def _service(self, each: Written, name: str, service: MeshService) -> None:
        key = ServiceKey(each.ref.namespace, name)
        field = f"spec.services.{name}"
        source = f"{each.ref.path}/services/{name}"
        ports = tuple(_port(port) for port in service.all_ports)
        made = addressed(Service(key, ports, "", source, selector=(("app", name),)))
        declared = Declared(made, each.ref, each.mesh.metadata.creation_timestamp or "")
        first = self._services.setdefault(key, declared)
        if first is not declared and ports and first.service.ports != ports:
            self._findings.append(_conflict(each.ref, field, f"service {key} has other ports in the older {first.ref}"))
        for version, written in service.all_versions:
            self._version(each, key, service, version, written)
        if service.expose is not None:
            expose = service.expose
            self._exposed.append(Exposed(key, expose.port, expose.hostname or "", expose.path, f"{source}/expose"))

    def _version(self, each: Written, key: ServiceKey, service: MeshService, version: str, written: Version) -> None:
        defaults = each.mesh.spec.defaults
        instance = Instance(
            service=service,
            name=key.name,
            version=version,
            command=written.command or service.command or (),
            environment=_joined(defaults.env, service.env, written.env),
            directory=_directory(each.directory, written.directory or service.directory or defaults.directory),
            replicas=service.replicas if written.replicas is None else written.replicas,
            ref=each.ref,
            hosts=written.hosts or service.hosts or (),
        )
        first = self._versions.setdefault((key, version), instance)
        if first is not instance:
            field = f"spec.services.{key.name}.versions.{version}"
            said = f"version {version} of service {key} is in the older {first.ref} already"
            self._findings.append(_conflict(each.ref, field, said))

    def _external(self, each: Written, name: str, external: External) -> None:
        key = ServiceKey(each.ref.namespace, name)
        made = addressed(_external(key, external, f"{each.ref.path}/external/{name}"))
        declared = Declared(made, each.ref, each.mesh.metadata.creation_timestamp or "")
        first = self._services.setdefault(key, declared)
        if first is not declared:
            self._findings.append(
                _conflict(each.ref, f"spec.external.{name}", f"{key} is in the older {first.ref} already")
            )

    def merged(self) -> Merged:
        versioned = [self._of_version(key, version) for key, version in self._versions]
        return Merged(
            declared=tuple(self._services.values()),
            versioned=tuple(versioned),
            instances=tuple(self._versions.values()),
            exposed=tuple(self._exposed),
            outbound_traffic=self._traffic[0] if self._traffic else OutboundTraffic.REGISTRY_ONLY,
            security=self._security.merged(),
            findings=tuple(self._findings),
        )

    def _of_version(self, key: ServiceKey, version: str) -> Declared:
        parent = self._services[key]
        made = addressed(
            Service(
                key=ServiceKey(key.namespace, version_service(key.name, version)),
                ports=parent.service.ports,
                virtual_address="",
                source=f"{parent.service.source}/versions/{version}",
                selector=(("app", key.name), ("version", version)),
            )
        )
        return Declared(made, parent.ref, parent.created)


def _port(port: Port) -> ServicePort:
    return ServicePort(port.port, port.name or port.protocol, Protocol(port.protocol), port.target)


def _external(key: ServiceKey, external: External, source: str) -> Service:
    """With ``tls: originate`` port 80 leads to 443, as it does in a browser; other ports stay what they are."""
    originate = external.tls == "originate"
    ports: list[ServicePort] = []
    places: list[ExternalAddress] = []
    for port in external.ports:
        target = _TLS_PORT if originate and port.port == 80 else port.port
        ports.append(ServicePort(port.port, port.name or port.protocol, _EXTERNAL_PROTOCOLS[port.protocol], target))
        if external.endpoints:
            places.extend(_place(endpoint, target) for endpoint in external.endpoints)
        else:
            places.extend(ExternalAddress(host, target) for host in external.hostnames)
    return Service(
        key=key,
        ports=tuple(ports),
        virtual_address="",
        source=source,
        hosts=external.hostnames,
        external=tuple(dict.fromkeys(places)),
        originate_tls=originate,
    )


def _place(endpoint: str, target: int) -> ExternalAddress:
    """An endpoint with a port of its own serves every port of the service: ``target`` is what the service's port names."""
    host, _, port = endpoint.rpartition(":")
    return ExternalAddress(host.strip("[]"), int(port) if port else target)


def _joined(*mappings: Pairs) -> Pairs:
    merged: dict[str, str] = {}
    for mapping in mappings:
        merged.update(mapping)
    return tuple(sorted(merged.items()))


def _directory(base: str, written: str | None) -> str:
    """Where a process runs: relative to the Mesh file; empty when there is no file, and then the agent decides."""
    if not written:
        return base
    path = PurePosixPath(base or "/", written)
    return str(path) if base or PurePosixPath(written).is_absolute() else ""


def _conflict(ref: Ref, field: str, message: str) -> Finding:
    remedy = "Remove it from one of the two documents"
    return Finding(code="WFT-1215", ref=ref, field=field, message=message, remedy=remedy, severity=Severity.WARNING)
