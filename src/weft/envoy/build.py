"""From a view to the resources of one proxy. Each is made from one value and remembered, so that a change costs what it
changes, and a thousand proxies share what they have in common.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

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
    from weft.model.route import VirtualHost
    from weft.model.service import WorkloadPort
    from weft.model.view import Upstream, View

K = TypeVar("K", bound="Hashable")

NOWHERE: Final = Address()

# The value itself is the key: to wrap it for each look-up would cost as much as the look-up. Second: at an edge,
# and with CONNECT.
_OUTBOUND: Final[tuple[Callable[[Upstream], check.Made], ...]] = (
    check.checked(lambda upstream: clusters.outbound(clusters.Outbound(upstream))),
    check.checked(lambda upstream: clusters.outbound(clusters.Outbound(upstream, edge=True))),
)
_ASKED: Final[tuple[Callable[[VirtualHost], check.Made], ...]] = (
    check.checked(lambda host: virtual_hosts.asked(virtual_hosts.Asked(host))),
    check.checked(lambda host: virtual_hosts.asked(virtual_hosts.Asked(host, tunnels=True))),
)
_ASKED_REPAIRED: Final[tuple[Callable[[VirtualHost], check.Made], ...]] = (
    check.checked(lambda host: virtual_hosts.repaired(virtual_hosts.Asked(host))),
    check.checked(lambda host: virtual_hosts.repaired(virtual_hosts.Asked(host, tunnels=True))),
)
_APPLICATION: Final = check.checked(clusters.inbound)
_EMPTY: Final = check.checked(clusters.empty)
_EGRESS: Final = check.checked(clusters.egress)
_PASSTHROUGH: Final = check.checked(clusters.passthrough)
_ASSIGNMENT: Final = check.checked(endpoints.assignment)
_BOUND: Final = check.checked(outbound.bound)
_TUNNEL: Final = check.checked(outbound.tunnel)
_INBOUND: Final = check.checked(inbound.inbound)
_ROUTES: Final = check.checked(outbound.route_configuration)
_EDGE: Final = check.checked(gateway.edge)
_EDGE_ROUTES: Final = check.checked(gateway.routes)
_EDGE_REPAIRED: Final = check.checked(gateway.repaired)


class Built(msgspec.Struct, frozen=True):
    """What one proxy shall have, and what was left out of it or replaced."""

    resources: ResourceSet
    problems: tuple[Problem, ...] = ()


def build(view: View, memo: Memo) -> Built:
    """Every resource of one proxy. A resource that Envoy would refuse is not among them; a problem says so instead."""
    problems: list[Problem] = []
    made = {
        CLUSTER: _named(_clusters(view, memo), problems, "cluster"),
        ENDPOINTS: _named(_endpoints(view, memo), problems, "endpoints"),
        LISTENER: _named(_listeners(view, memo), problems, "listener"),
        ROUTES: _named(_routes(view, memo, problems), problems, "routes"),
        VIRTUAL_HOST: _named(_virtual_hosts(view, memo, problems), problems, "virtual host"),
    }
    types = MappingProxyType({url: MappingProxyType(named) for url, named in made.items()})
    return Built(resources=ResourceSet(types=types), problems=tuple(problems))


def _named(made: Iterator[check.Made], problems: list[Problem], kind: str) -> dict[str, Resource]:
    """The good ones by name."""
    good: dict[str, Resource] = {}
    for item in made:
        if item.violations:
            problems.extend(check.problem(item.resource, violation, kind) for violation in item.violations)
        else:
            good[item.resource.name] = item.resource
    return good


def _clusters(view: View, memo: Memo) -> Iterator[check.Made]:
    make = _OUTBOUND[view.placement is Placement.GATEWAY]
    for upstream in view.upstreams:
        yield memo(make, upstream)
    for port in view.inbound:
        yield memo(_APPLICATION, _stable(port))
    for name in view.missing_clusters:
        yield memo(_EMPTY, name)
    if view.egress:
        yield memo(_EGRESS, view.egress)
    if _passes(view):
        yield memo(_PASSTHROUGH, view.egress or NOWHERE)


def _endpoints(view: View, memo: Memo) -> Iterator[check.Made]:
    """Every EDS cluster gets an answer, if an empty one: without any it waits 15 s, and what it belongs to with it."""
    for assignment in view.assignments:
        yield memo(_ASSIGNMENT, assignment)
    assigned = {assignment.name for assignment in view.assignments}
    for upstream in view.upstreams:
        if not (upstream.dns or upstream.tunnel or upstream.name in assigned):
            yield memo(_ASSIGNMENT, Assignment(name=upstream.name, endpoints=()))


def _listeners(view: View, memo: Memo) -> Iterator[check.Made]:
    if view.outbound:
        transparent = view.capture is Capture.TRANSPARENT and view.placement is Placement.SIDECAR
        key = outbound.Outbound(listen=view.outbound, place=_place(view), transparent=transparent)
        yield from memo(_outbound_listeners, key)
    if view.egress:
        yield memo(_TUNNEL, clusters.TUNNEL)
    for route in view.bound:
        yield memo(_BOUND, route)
    for port in view.inbound:
        yield memo(_INBOUND, _stable(port))
    for edge in view.edge:
        yield memo(
            _EDGE,
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


def _routes(view: View, memo: Memo, problems: list[Problem]) -> Iterator[check.Made]:
    if view.outbound:
        yield memo(_ROUTES, OUTBOUND)
    if view.edge:
        known = frozenset(upstream.name for upstream in view.upstreams)
        for edge in view.edge:
            checked = [check.references(host, known) for host in edge.port.hosts]
            problems.extend(problem for item in checked for problem in item.problems)
            port = edge.port
            if any(item.problems for item in checked):
                port = msgspec.structs.replace(port, hosts=tuple(item.host for item in checked))
            key = gateway.Routes(gateway=f"{view.namespace}/{view.name}", port=port)
            yield _whole(_EDGE_ROUTES, _EDGE_REPAIRED, key, memo, problems)


def _virtual_hosts(view: View, memo: Memo, problems: list[Problem]) -> Iterator[check.Made]:
    tunnels = _place(view).tunnels
    make, repair = _ASKED[tunnels], _ASKED_REPAIRED[tunnels]
    for host in view.hosts:
        yield _whole(make, repair, host, memo, problems)


def _whole(
    make: Callable[[K], check.Made], repair: Callable[[K], check.Made], key: K, memo: Memo, problems: list[Problem]
) -> check.Made:
    """What ``make`` makes; where Envoy would refuse that, what ``repair`` makes instead, with the reasons noted."""
    made = memo(make, key)
    if not made.violations:
        return made
    problems.extend(check.problem(made.resource, item, "routes") for item in made.violations)
    return memo(repair, key)


def _outbound_listeners(key: outbound.Outbound) -> tuple[check.Made, ...]:
    return tuple(check.Made(made, check.findings(made)) for made in outbound.listeners(key))


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
