"""A mesh from a text, for tests: objects in, Mesh, statuses, problems and views out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.api.decode import Decoded, decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Compiled, Input
from weft.memo import Memo
from weft.model.service import Address, Capture, HostReport, Placement, Protocol, State, Workload, WorkloadPort
from weft.model.view import Demand, View
from weft.model.viewing import view
from weft.names import ServiceKey, node_id

if TYPE_CHECKING:
    from weft.model.route import Rule, VirtualHost
    from weft.model.status import Condition, ListenerStatus, Status


def objects(*texts: str) -> tuple[Decoded, ...]:
    """Every document of these texts; none of them may have an error."""
    found: list[Decoded] = []
    for number, text in enumerate(texts):
        reading = read(text.encode(), f"/shop/{number}.yaml")
        assert [str(problem) for problem in reading.problems] == []
        found.extend(decode(document) for document in reading.documents)
    for each in found:
        assert each.object is not None, [str(problem) for problem in each.problems]
    return tuple(found)


def compiled(*texts: str, workloads: tuple[Workload, ...] = (), memo: Memo | None = None) -> Compiled:
    hosts = (HostReport(host="here", workloads=workloads),) if workloads else ()
    return compile_world(Input(objects(*texts), hosts), Memo() if memo is None else memo)


def service(name: str, namespace: str = "default", port: int = 80, *, created: str = "", extra: str = "") -> str:
    """A Service with one HTTP port."""
    stamp = f", creationTimestamp: '{created}'" if created else ""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}{stamp}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: {port}, targetPort: 8080}}]
{extra}
---
"""


def route(name: str, spec: str, namespace: str = "default", *, created: str = "", generation: int = 1) -> str:
    """An HTTPRoute; ``spec`` is YAML in flow style."""
    stamp = f", creationTimestamp: '{created}'" if created else ""
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}, generation: {generation}{stamp}}}
spec: {spec}
---
"""


def gateway(name: str, listeners: str, namespace: str = "default", class_name: str = "weft") -> str:
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}, generation: 1}}
spec: {{gatewayClassName: {class_name}, listeners: {listeners}}}
---
"""


def to_service(name: str, port: int = 80) -> str:
    """A rule that sends everything to one service."""
    return f"{{backendRefs: [{{name: {name}, port: {port}}}]}}"


def workload(
    name: str, *, labels: dict[str, str] | None = None, namespace: str = "default", **fields: object
) -> Workload:
    """A sidecar workload that serves port 8080, with these fields changed."""
    port = WorkloadPort(
        number=8080,
        name="http",
        protocol=Protocol.HTTP,
        listen=Address(path=f"/run/{name}"),
        application=Address(ip="127.0.0.1", port=8080),
        state=State.SERVING,
    )
    made = Workload(
        namespace=namespace,
        name=name,
        host="here",
        capture=Capture.TRANSPARENT,
        labels=tuple(sorted((labels or {"app": name}).items())),
        ports=(port,),
        outbound=Address(ip="127.0.0.1", port=15001),
    )
    return msgspec.structs.replace(made, **fields)


def bare(made: Workload) -> Workload:
    """The same without a proxy, as another agent than ours might report it."""
    ports = tuple(msgspec.structs.replace(port, listen=port.application) for port in made.ports)
    return msgspec.structs.replace(made, capture=Capture.NONE, outbound=None, ports=ports)


def edge(name: str, *ports: int, namespace: str = "default") -> Workload:
    """The proxy of a Gateway, which could bind each of its ports."""
    bound = tuple((port, Address(ip="127.0.0.1", port=port)) for port in ports)
    return Workload(namespace=namespace, name=name, host="here", placement=Placement.GATEWAY, gateway_ports=bound)


def seen(
    made: Compiled,
    name: str,
    *hosts: str,
    clusters: tuple[str, ...] = (),
    namespace: str = "default",
    placement: str = "sidecar",
) -> View:
    """What one proxy sees when it has asked for these names."""
    found = view(made.mesh, node_id(placement, namespace, name), Demand(frozenset(hosts), frozenset(clusters)), Memo())
    assert found is not None
    return found


def host(found: View, domain: str) -> VirtualHost:
    return next(each for each in found.hosts if each.domain == domain)


def rules(made: Compiled, name: str, port: int = 80, namespace: str = "default", caller: str = "") -> tuple[Rule, ...]:
    """The rules for one service, a consumer's when ``caller`` names one."""
    found = made.mesh.routes.get((ServiceKey(namespace, name), port))
    if found is None:
        return ()
    return dict(found.consumer)[caller] if caller else found.producer


def edge_rules(
    made: Compiled, name: str, domain: str = "*", port: int = 80, namespace: str = "default"
) -> tuple[Rule, ...]:
    """The rules of a Gateway for one host."""
    ports = {each.number: each for each in made.mesh.gateways[namespace, name].ports}
    return next(each.rules for each in ports[port].hosts if each.domain == domain)


def backends(rule: Rule) -> list[tuple[str, int]]:
    """Service (``-`` for an invalid one) and weight of each backend."""
    return [
        (backend.cluster.host.removesuffix(".svc.cluster.local") if backend.cluster else "-", backend.weight)
        for backend in rule.backends
    ]


def paths(found: tuple[Rule, ...]) -> list[str]:
    return [rule.matches[0].path.value for rule in found]


def codes(made: Compiled) -> list[str]:
    return [problem.code for problem in made.problems]


def status(made: Compiled, kind: str, name: str) -> Status:
    return next(each for each in made.statuses if (each.ref.kind, each.ref.name) == (kind, name))


def condition(conditions: tuple[Condition, ...], kind: str) -> tuple[str, str]:
    """(status, reason) of one condition."""
    found = next(each for each in conditions if each.type == kind)
    return found.status, found.reason


def accepted(made: Compiled, name: str, parent: int = 0) -> tuple[str, str]:
    return condition(status(made, "HTTPRoute", name).parents[parent].conditions, "Accepted")


def resolved(made: Compiled, name: str, parent: int = 0) -> tuple[str, str]:
    return condition(status(made, "HTTPRoute", name).parents[parent].conditions, "ResolvedRefs")


def listeners_of(made: Compiled, name: str) -> dict[str, ListenerStatus]:
    """The status of each listener of a Gateway."""
    return {each.name: each for each in status(made, "Gateway", name).listeners}
