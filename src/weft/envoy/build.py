"""From a view to the resources of one proxy. Each is made from one value and remembered, so that a change costs what it
changes, and a thousand proxies share what they have in common.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from weft.envoy import check, clusters, endpoints, gateway, inbound, outbound, virtual_hosts
from weft.envoy.filters.place import Place, Side
from weft.errors import Problem
from weft.model.mesh import OutboundTraffic
from weft.model.service import Address, Capture, Placement, State
from weft.model.view import Assignment
from weft.names import OUTBOUND
from weft.xds.protocol import CLUSTER, ENDPOINTS, LISTENER, ROUTES, VIRTUAL_HOST, Resource, ResourceSet

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from weft.memo import Memo
    from weft.model.service import WorkloadPort
    from weft.model.view import View

K = TypeVar("K", bound="Hashable")

NOWHERE = Address()


class Built(msgspec.Struct, frozen=True):
    """What one proxy shall have, and what was left out of it or replaced."""

    resources: ResourceSet
    problems: tuple[Problem, ...] = ()


def build(view: View, memo: Memo) -> Built:
    """Every resource of one proxy. A resource that Envoy would refuse is not among them; a problem says so instead."""
    problems: list[Problem] = []
    made = {
        CLUSTER: _named(_clusters(view, memo), memo, problems, "cluster"),
        ENDPOINTS: _named(_endpoints(view, memo), memo, problems, "endpoints"),
        LISTENER: _named(_listeners(view, memo), memo, problems, "listener"),
        ROUTES: _named(_routes(view, memo, problems), memo, problems, "routes"),
        VIRTUAL_HOST: _named(_virtual_hosts(view, memo, problems), memo, problems, "virtual host"),
    }
    types = MappingProxyType({url: MappingProxyType(named) for url, named in made.items()})
    return Built(resources=ResourceSet(types=types), problems=tuple(problems))


def _named(resources: Iterator[Resource], memo: Memo, problems: list[Problem], kind: str) -> dict[str, Resource]:
    """The good ones by name."""
    good: dict[str, Resource] = {}
    for resource in resources:
        if violations := memo(check.findings, resource):
            problems.extend(check.problem(resource, item, kind) for item in violations)
        else:
            good[resource.name] = resource
    return good


def _clusters(view: View, memo: Memo) -> Iterator[Resource]:
    edge = view.placement is Placement.GATEWAY
    for upstream in view.upstreams:
        yield memo(clusters.outbound, clusters.Outbound(upstream, edge))
    for port in view.inbound:
        yield memo(clusters.inbound, _stable(port))
    for name in view.missing_clusters:
        yield memo(clusters.empty, name)
    if view.egress:
        yield memo(clusters.egress, view.egress)
    if _passes(view):
        yield memo(clusters.passthrough, view.egress or NOWHERE)


def _endpoints(view: View, memo: Memo) -> Iterator[Resource]:
    """Every EDS cluster gets an answer, if an empty one: without any it waits 15 s, and what it belongs to with it."""
    for assignment in view.assignments:
        yield memo(endpoints.assignment, assignment)
    assigned = {assignment.name for assignment in view.assignments}
    for upstream in view.upstreams:
        if not (upstream.dns or upstream.tunnel or upstream.name in assigned):
            yield memo(endpoints.assignment, Assignment(name=upstream.name, endpoints=()))


def _listeners(view: View, memo: Memo) -> Iterator[Resource]:
    if view.outbound:
        transparent = view.capture is Capture.TRANSPARENT and view.placement is Placement.SIDECAR
        key = outbound.Outbound(listen=view.outbound, place=_place(view), transparent=transparent)
        yield from memo(outbound.listeners, key)
    if view.egress:
        yield memo(outbound.tunnel, clusters.TUNNEL)
    for route in view.bound:
        yield memo(outbound.bound, route)
    for port in view.inbound:
        yield memo(inbound.inbound, _stable(port))
    for edge in view.edge:
        yield memo(
            gateway.edge,
            gateway.Edge(
                gateway=f"{view.namespace}/{view.name}",
                number=edge.port.number,
                is_http=edge.port.protocol.is_http,
                listen=edge.listen,
            ),
        )


def _stable(port: WorkloadPort) -> WorkloadPort:
    """The port without its state, which is about endpoints: no listener may be drained because of it."""
    return port if port.state is State.SERVING else msgspec.structs.replace(port, state=State.SERVING)


def _routes(view: View, memo: Memo, problems: list[Problem]) -> Iterator[Resource]:
    if view.outbound:
        yield memo(outbound.route_configuration, OUTBOUND)
    if view.edge:
        known = frozenset(upstream.name for upstream in view.upstreams)
        for edge in view.edge:
            checked = [check.references(host, known) for host in edge.port.hosts]
            problems.extend(problem for item in checked for problem in item.problems)
            port = edge.port
            if any(item.problems for item in checked):
                port = msgspec.structs.replace(port, hosts=tuple(item.host for item in checked))
            key = gateway.Routes(gateway=f"{view.namespace}/{view.name}", port=port)
            yield _whole(gateway.routes, gateway.repaired, key, memo, problems)


def _virtual_hosts(view: View, memo: Memo, problems: list[Problem]) -> Iterator[Resource]:
    tunnels = _place(view).tunnels
    for host in view.hosts:
        key = virtual_hosts.Asked(host, tunnels)
        yield _whole(virtual_hosts.asked, virtual_hosts.repaired, key, memo, problems)


def _whole(
    make: Callable[[K], Resource], repair: Callable[[K], Resource], key: K, memo: Memo, problems: list[Problem]
) -> Resource:
    """What ``make`` makes; where Envoy would refuse that, what ``repair`` makes instead, with the reasons noted."""
    made = memo(make, key)
    if violations := memo(check.findings, made):
        problems.extend(check.problem(made, item, "routes") for item in violations)
        return memo(repair, key)
    return made


def _place(view: View) -> Place:
    """A plain proxy understands CONNECT. Names are looked up by whoever has a network to reach what is found."""
    egress = view.placement is Placement.EGRESS
    allowed = egress or view.outbound_traffic is OutboundTraffic.ALLOW_ANY
    return Place(
        side=Side.EGRESS if egress else Side.OUTBOUND,
        tunnels=egress or view.capture is Capture.PROXY,
        looks_up=allowed and view.egress is None,
    )


def _passes(view: View) -> bool:
    return view.outbound is not None and any(host.passthrough for host in view.hosts)
