"""Policies for tests: texts in, guards and peers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.support.compiled import service, workload
from weft.model.service import Address, Protocol, State, Workload, WorkloadPort
from weft.names import ServiceKey

if TYPE_CHECKING:
    from weft.dialects.values import Compiled
    from weft.model.trust import AuthPolicy, Guard, Peers


def istio(
    kind: str, name: str, spec: str = "{}", namespace: str = "default", *, created: str = "", more: str = ""
) -> str:
    """One of Istio's security kinds; ``spec`` is YAML in flow style, ``more`` more metadata."""
    stamp = f", creationTimestamp: '{created}'" if created else ""
    return f"""
apiVersion: security.istio.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}{stamp}{more}}}
spec: {spec}
---
"""


def policy(name: str, spec: str = "{}", namespace: str = "default", *, more: str = "") -> str:
    return istio("AuthorizationPolicy", name, spec, namespace, more=more)


def peer(name: str, spec: str, namespace: str = "default", *, created: str = "") -> str:
    return istio("PeerAuthentication", name, spec, namespace, created=created)


def smi(kind: str, name: str, spec: str, namespace: str = "default") -> str:
    group = "access.smi-spec.io/v1alpha3" if kind == "TrafficTarget" else "specs.smi-spec.io/v1alpha4"
    return f"apiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"


def mesh(security: str, services: str = "{}", name: str = "mesh") -> str:
    return (
        f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: {name}}}\n"
        f"spec: {{security: {security}, services: {services}}}\n---\n"
    )


def port(number: int, protocol: Protocol = Protocol.HTTP, name: str = "") -> WorkloadPort:
    return WorkloadPort(
        number=number,
        name=name or protocol.value,
        protocol=protocol,
        listen=Address(path=f"/run/{number}"),
        application=Address(ip="127.0.0.1", port=number),
        state=State.SERVING,
    )


def both(name: str, **fields: object) -> Workload:
    """A workload that speaks HTTP at 8080 and something else at 6379."""
    ports = (port(6379, Protocol.TCP), port(8080))
    return msgspec.structs.replace(workload(name, ports=ports), **fields)


def tcp_service(name: str, app: str, number: int = 6379) -> str:
    return (
        service(name, port=number)
        .replace("name: http", "name: tcp")
        .replace("8080", "6379")
        .replace(f"app: {name}", f"app: {app}")
    )


def guard(made: Compiled, name: str, number: int = 8080, namespace: str = "default") -> Guard:
    return dict(made.mesh.guards[namespace, name])[number]


def sources(made: Compiled, name: str, number: int = 8080, namespace: str = "default") -> list[str]:
    """The policies at one port, by namespace and name."""
    return [each.source.partition("/")[2] for each in guard(made, name, number, namespace).policies]


def only(made: Compiled, name: str, number: int = 8080) -> AuthPolicy:
    (found,) = guard(made, name, number).policies
    return found


def reached(made: Compiled, name: str, number: int = 80, namespace: str = "default") -> Peers:
    return made.mesh.peers[ServiceKey(namespace, name), number]
