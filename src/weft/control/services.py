"""Every service of the compiled mesh as people and the CLI see it: what can be called, and what stands behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.web.engine import EndpointCount, ServicePortShown, ServiceShown

if TYPE_CHECKING:
    from weft.model.mesh import Mesh
    from weft.model.service import Service, Workload
    from weft.names import ServiceKey
    from weft.values import Pairs


def services_of(mesh: Mesh) -> tuple[ServiceShown, ...]:
    """All of them, those of Mesh documents and external ones included, sorted by namespace and name."""
    answering = _answering(mesh)
    running = _running(mesh)
    return tuple(
        _shown(service, _ports(mesh, service), answering.get(key, {}), running.get(key.namespace, ()))
        for key, service in sorted(mesh.services.items())
    )


def _answering(mesh: Mesh) -> dict[ServiceKey, dict[str, bool]]:
    """Who stands behind each service: a workload's name, or an address of an EndpointSlice; whether it takes new calls.

    A workload with several ports is one endpoint, which is ready when one of them is.
    """
    found: dict[ServiceKey, dict[str, bool]] = {}
    for (key, _), endpoints in mesh.endpoints.items():
        known = found.setdefault(key, {})
        for endpoint in endpoints:
            who = endpoint.workload or endpoint.address.ip
            known[who] = known.get(who, False) or not endpoint.draining
    return found


def _running(mesh: Mesh) -> dict[str, list[tuple[str, frozenset[tuple[str, str]]]]]:
    """By namespace: every workload with its labels, whether or not it serves."""
    found: dict[str, list[tuple[str, frozenset[tuple[str, str]]]]] = {}
    for workload in mesh.workloads.values():
        found.setdefault(workload.namespace, []).append((_name(workload), frozenset(workload.labels)))
    return found


def _name(workload: Workload) -> str:
    return f"{workload.namespace}/{workload.name}"


def _ports(mesh: Mesh, service: Service) -> tuple[ServicePortShown, ...]:
    """Each with the shape in which callers' proxies reach it."""
    found = [(port, mesh.peers.get((service.key, port.number))) for port in service.ports]
    return tuple(
        ServicePortShown(
            port.number,
            port.name,
            port.protocol.value,
            shape=peers.shape.value if peers else "",
            why=peers.why if peers else "",
        )
        for port, peers in found
    )


def _shown(
    service: Service,
    ports: tuple[ServicePortShown, ...],
    answering: dict[str, bool],
    running: list[tuple[str, frozenset[tuple[str, str]]]] | tuple[()],
) -> ServiceShown:
    behind = set(answering) | _selected(service.selector, running)
    return ServiceShown(
        namespace=service.key.namespace,
        name=service.key.name,
        ports=ports,
        address=service.virtual_address,
        endpoints=EndpointCount(ready=sum(answering.values()), total=len(behind)),
        hosts=service.hosts,
        external=tuple(f"{each.host}:{each.port}" for each in service.external),
        source=service.source,
    )


def _selected(selector: Pairs, running: list[tuple[str, frozenset[tuple[str, str]]]] | tuple[()]) -> set[str]:
    """The workloads that a selector means; an empty selector means none."""
    wanted = set(selector)
    return {name for name, labels in running if wanted <= labels} if wanted else set()
