"""What agents shall run for the ``Mesh`` kind: one process specification per replica of each version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.dialects.values import Finding
from weft.errors import Severity
from weft.model.identity import reserved_for
from weft.model.mesh import Attest, HealthCheck, PortSpec, ProcessSpec
from weft.model.near import near_index, near_objects
from weft.model.resolve import Names, spelled, split_host
from weft.model.service import Capture, Protocol, ServicePort

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from weft.api.mesh import MeshService
    from weft.dialects.mesh.merge import Instance, Merged
    from weft.names import ServiceKey


def processes(
    merged: Merged, names: Names, gateways: Container[tuple[str, str]]
) -> tuple[tuple[ProcessSpec, ...], tuple[Finding, ...]]:
    """Every process, sorted by namespace and name, and a warning for each needed service that nobody declares.

    A process gets its identity by its name, so of two versions that make one name the second has no processes; and what would
    have the identity of a Gateway's or a host's own proxy has none either. ``gateways``: (namespace, name) of each.
    """
    found: dict[tuple[str, str], ProcessSpec] = {}
    findings: list[Finding] = []
    for instance in merged.instances:
        if owner := reserved_for(instance.ref.namespace, _account(instance), gateways):
            findings.append(_reserved(instance, owner))
            continue
        bound, missing = _needs(instance, names)
        findings.extend(missing)
        made = {(spec.namespace, spec.name): spec for spec in _replicas(instance, bound)}
        if taken := sorted(found.keys() & made.keys()):
            findings.append(_taken(instance, found[taken[0]]))
        else:
            found |= made
    unique = tuple(dict.fromkeys(findings))
    return tuple(found[key] for key in sorted(found)), unique


def _account(instance: Instance) -> str:
    return instance.service.service_account or instance.name


def _reserved(instance: Instance, owner: str) -> Finding:
    field = f"spec.services.{instance.name}"
    chosen = instance.service.service_account is not None
    account = f"{instance.ref.namespace}/{_account(instance)}"
    return Finding(
        code="WFT-1244",
        ref=instance.ref,
        field=f"{field}.serviceAccount" if chosen else field,
        message=f"service {instance.name} would have the service account {account}, which is that of the proxy of {owner};"
        " it has no processes",
        remedy="Give the service another serviceAccount" if chosen else "Give the service a serviceAccount of its own",
    )


def _replicas(instance: Instance, bound: tuple[tuple[str, int, Protocol], ...]) -> Iterator[ProcessSpec]:
    return (_process(instance, number, bound) for number in range(instance.replicas))


def _taken(instance: Instance, other: ProcessSpec) -> Finding:
    return Finding(
        code="WFT-1243",
        ref=instance.ref,
        field=f"spec.services.{instance.name}",
        message=f"version {instance.version} of service {instance.name} would have a process {other.name}, as version "
        f"{other.version} of service {other.service} has; it has none",
        remedy="Name the version or the service otherwise: dots and dashes are one in the names of processes",
    )


def _process(instance: Instance, number: int, bound: tuple[tuple[str, int, Protocol], ...]) -> ProcessSpec:
    service = instance.service
    labels = {
        "app": instance.name,
        "app.kubernetes.io/name": instance.name,
        "app.kubernetes.io/version": instance.version,
        "version": instance.version,
    }
    health = service.health
    return ProcessSpec(
        namespace=instance.ref.namespace,
        name=f"{instance.name}-{instance.version.replace('.', '-')}-{number}",
        service=instance.name,
        version=instance.version,
        command=instance.command,
        service_account=_account(instance),
        labels=tuple(sorted(labels.items())),
        environment=instance.environment,
        directory=instance.directory,
        ports=tuple(
            PortSpec(port.target, port.name or port.protocol, Protocol(port.protocol)) for port in service.all_ports
        ),
        needs=service.needs,
        bound=bound,
        health=HealthCheck(
            kind=health.kind,
            path=health.http or "/",
            port=health.port or "",
            interval_seconds=health.interval_seconds,
            timeout_seconds=health.timeout_seconds,
        ),
        user=service.user or "",
        attest=_attest(service),
        capture=None if service.capture == "auto" else Capture(service.capture),
        source=f"{instance.ref.path}/services/{instance.name}/versions/{instance.version}",
        host=instance.hosts[number % len(instance.hosts)] if instance.hosts else "",
    )


def _attest(service: MeshService) -> Attest | None:
    """Who has its identity, as the model says it."""
    given = service.attest
    if given is None:
        return None
    return Attest(
        uid=given.uid or "",
        gid=given.gid or "",
        exe=given.exe or "",
        sha256=given.sha256 or "",
        script=given.script or "",
        cgroup=given.cgroup or "",
    )


def _needs(instance: Instance, names: Names) -> tuple[tuple[tuple[str, int, Protocol], ...], list[Finding]]:
    bound: list[tuple[str, int, Protocol]] = []
    findings = []
    for index, need in enumerate(instance.service.needs):
        key = _key(need, instance.ref.namespace, names)
        service = names.services.get(key) if key else None
        if service is None:
            findings.append(_unknown(instance, index, need, names))
            continue
        bound.extend((need, port.number, port.protocol) for port in _callable(service.ports))
    return tuple(bound), findings


def _callable(ports: tuple[ServicePort, ...]) -> Iterator[ServicePort]:
    return (port for port in ports if port.protocol is not Protocol.UDP)


def _key(need: str, namespace: str, names: Names) -> ServiceKey | None:
    name, _ = split_host(need)
    key = spelled(name, namespace)
    return key if key in names.services else names.external_hosts.get(name)


def _unknown(instance: Instance, index: int, need: str, names: Names) -> Finding:
    label = need.partition(".")[0]
    close = near_objects(near_index(list(names.services)), label, instance.ref.namespace)
    return Finding(
        code="WFT-1216",
        ref=instance.ref,
        field=f"spec.services.{instance.name}.needs[{index}]",
        message=f"service {instance.name} needs {need}, and there is no such service"
        + (f"; near: {', '.join(close)}" if close else ""),
        remedy=f"Use {close[0]}, or declare service {need}"
        if close
        else f"Declare service {need}, or remove it from needs",
        severity=Severity.WARNING,
    )
