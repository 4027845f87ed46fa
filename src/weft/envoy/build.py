"""From a view to the resources of one proxy. Each is made from one value and remembered, so that a change costs what it
changes, and a thousand proxies share what they have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from weft.envoy import check, clusters, endpoints, extensions, gateway, inbound, outbound, relay, virtual_hosts
from weft.envoy.filters.place import Place, Side
from weft.envoy.filters.rbac import Gate
from weft.errors import Problem
from weft.model.mesh import OutboundTraffic
from weft.model.route import VirtualHost
from weft.model.service import Address, Capture, Placement, Protocol, State
from weft.model.trust import Guard
from weft.model.view import Assignment, Upstream
from weft.names import OUTBOUND, gateway_listener, inbound_listener
from weft.xds.protocol import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, VIRTUAL_HOST, Resource, ResourceSet

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from weft.memo import Memo
    from weft.model.service import WorkloadPort
    from weft.model.view import View

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
_APPLICATION_HTTP1: Final = check.checked(clusters.inbound_http1)
_POOL: Final = check.checked(clusters.pool)
_EMPTY: Final = check.checked(clusters.empty)
_EGRESS: Final = check.checked(clusters.egress)
_PASSTHROUGH: Final = check.checked(clusters.passthrough)
_ASSIGNMENT: Final = check.checked(endpoints.assignment)
_TUNNELLED: Final = check.checked(endpoints.tunnelled)
_BOUND: Final = check.checked(outbound.bound)
_BOUND_ROUTES: Final = check.checked(outbound.bound_routes)
_BOUND_REPAIRED: Final = check.checked(outbound.bound_repaired)
_TUNNEL: Final = check.checked(outbound.tunnel)
_HBONE: Final = check.checked(outbound.hbone)
_INBOUND: Final = check.checked(inbound.inbound)
_ROUTES: Final = check.checked(outbound.route_configuration)
_EDGE: Final = check.checked(gateway.edge)
_EDGE_ROUTES: Final = check.checked(gateway.routes)
_EDGE_REPAIRED: Final = check.checked(gateway.repaired)
_GUARDED: Final = check.checked(extensions.guarded)
_CLOSED: Final = check.checked(extensions.closed)
_WAY: Final = check.checked(relay.cluster)
_RELAY: Final = check.checked(relay.outer)
_RELAY_INSIDE: Final = check.checked(relay.inner)


class Built(msgspec.Struct, frozen=True):
    """What one proxy shall have, and what was left out of it or replaced."""

    resources: ResourceSet
    problems: tuple[Problem, ...] = ()


class Part(msgspec.Struct, frozen=True):
    """Some resources of one type by name, the good ones, and what is wrong with the others."""

    resources: Mapping[str, Resource]
    problems: tuple[Problem, ...] = ()


_NOTHING: Final = Part(MappingProxyType({}))


class Own(msgspec.Struct, frozen=True):
    """What a proxy has whatever it calls."""

    clusters: Part = _NOTHING
    listeners: Part = _NOTHING
    routes: Part = _NOTHING
    extensions: Part = _NOTHING


class _Outbound(msgspec.Struct, frozen=True):
    """The key of the clusters that follow from what is called. ``passing``: by where ``passthrough`` leaves, if it does."""

    upstreams: tuple[Upstream, ...]
    missing: tuple[str, ...]
    passing: Address | None
    edge: bool


class _Hosts(msgspec.Struct, frozen=True):
    hosts: tuple[VirtualHost, ...]
    tunnels: bool


def build(view: View, memo: Memo) -> Built:
    """Every resource of one proxy. A resource that Envoy would refuse is not among them; a problem says so instead.

    What follows from the names that are called is equal for many proxies, which then share one mapping; the rest is each
    proxy's own and seldom changes. So a change costs each proxy little more than finding that.
    """
    own = memo.stage(_own, (_frame(view), memo), view.node)
    passing = (view.egress or NOWHERE) if _passes(view) else None
    edge = view.placement is Placement.GATEWAY
    called = memo.group(_clusters, _Outbound(view.upstreams, view.missing_clusters, passing, edge))
    ends = memo.group(_endpoints, (view.assignments, view.upstreams))
    hosts = memo.group(_virtual_hosts, _Hosts(view.hosts, _place(view).tunnels))
    made = {
        CLUSTER: memo.stage(_joined, (called.resources, own.clusters.resources), view.node),
        ENDPOINTS: ends.resources,
        LISTENER: own.listeners.resources,
        EXTENSION: own.extensions.resources,
        ROUTES: own.routes.resources,
        VIRTUAL_HOST: hosts.resources,
    }
    parts = (called, own.clusters, ends, own.listeners, own.extensions, own.routes, hosts)
    problems = tuple([problem for part in parts for problem in part.problems])
    return Built(resources=ResourceSet(types=MappingProxyType(made)), problems=problems)


def _joined(key: tuple[Mapping[str, Resource], Mapping[str, Resource]], _: Memo) -> Mapping[str, Resource]:
    return MappingProxyType({**key[0], **key[1]})


def _part(made: Iterable[check.Made], kind: str, problems: list[Problem] | None = None) -> Part:
    """The good ones by name; ``problems`` are those found already."""
    good: dict[str, Resource] = {}
    found = problems if problems is not None else []
    for item in made:
        if item.violations:
            found.extend(check.problem(item.resource, violation, kind) for violation in item.violations)
        else:
            good[item.resource.name] = item.resource
    return Part(MappingProxyType(good), tuple(found))


def _frame(view: View) -> View:
    """A view without what is called; the routes of an edge need to know which clusters there are."""
    upstreams = view.upstreams if view.edge else ()
    return msgspec.structs.replace(view, hosts=(), upstreams=upstreams, assignments=(), missing_clusters=())


def _own(key: tuple[View, Memo], parts: Memo) -> Own:
    view, shared = key
    return Own(
        clusters=_part(_own_clusters(view, parts), "cluster"),
        listeners=_part(_listeners(view, parts), "listener"),
        routes=_routes(view, parts, shared),
        extensions=_extensions(view, shared),
    )


def _own_clusters(view: View, memo: Memo) -> Iterator[check.Made]:
    guarded = {number for number, _ in view.guards}
    for port in view.inbound:
        yield memo(_APPLICATION, _stable(port))
        if port.protocol is Protocol.HTTP and port.number in guarded:
            yield memo(_APPLICATION_HTTP1, _stable(port))
    if view.egress:
        yield memo(_EGRESS, view.egress)
    if view.relay:
        for name, address in view.relay.local:
            yield memo(_WAY, relay.Way(name, address))
        for name, address in view.relay.remote:
            yield memo(_WAY, relay.Way(name, address, remote=True))


def _clusters(key: _Outbound, memo: Memo) -> Part:
    make = _OUTBOUND[key.edge]
    made = [memo(make, upstream) for upstream in key.upstreams]
    made += [memo(_POOL, upstream) for upstream in key.upstreams if upstream.pooled]
    made += [memo(_EMPTY, name) for name in key.missing]
    if key.passing is not None:
        made.append(memo(_PASSTHROUGH, key.passing))
    return _part(made, "cluster")


def _endpoints(key: tuple[tuple[Assignment, ...], tuple[Upstream, ...]], memo: Memo) -> Part:
    """Every EDS cluster gets an answer, if an empty one: without any it waits 15 s, and what it belongs to with it."""
    assignments, upstreams = key
    pooled = {upstream.name for upstream in upstreams if upstream.pooled}
    made = [memo(_TUNNELLED if each.name in pooled else _ASSIGNMENT, each) for each in assignments]
    assigned = {assignment.name for assignment in assignments}
    made += [
        memo(
            _TUNNELLED if upstream.name in pooled else _ASSIGNMENT,
            Assignment(name=upstream.name, endpoints=(), source=upstream.source),
        )
        for upstream in upstreams
        if not (upstream.dns or upstream.tunnel or upstream.name in assigned)
    ]
    return _part(made, "endpoints")


def _listeners(view: View, memo: Memo) -> Iterator[check.Made]:
    if view.outbound:
        transparent = view.capture is Capture.TRANSPARENT and view.placement is Placement.SIDECAR
        key = outbound.Outbound(listen=view.outbound, place=_place(view), transparent=transparent)
        yield from memo(_outbound_listeners, key)
    if view.egress:
        yield memo(_TUNNEL, clusters.TUNNEL)
    if view.outbound or view.bound:
        yield memo(_HBONE, clusters.HBONE)
    for route in view.bound:
        yield memo(_BOUND, outbound.unrouted(route))
    guards = dict(view.guards)
    for port in view.inbound:
        yield memo(_INBOUND, inbound.Inbound(_stable(port), guards.get(port.number), view.trust))
    if view.relay:
        if view.relay.listen:
            yield memo(_RELAY, view.relay.listen)
        yield memo(_RELAY_INSIDE, relay.Inside(view.relay.inside, tuple(name for name, _ in view.relay.remote)))
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


def _extensions(view: View, shared: Memo) -> Part:
    """What every listener asks about requests; equal for every replica of a workload. One that Envoy would refuse is
    replaced by one that lets nothing pass.
    """
    guards = dict(view.guards)
    gates = [
        (inbound_listener(port.number), Gate(guards[port.number], view.trust, port.number))
        for port in view.inbound
        if port.number in guards and port.protocol.is_http
    ]
    gates += [
        (
            gateway_listener(view.namespace, view.name, edge.port.number),
            Gate(guards.get(0, Guard()), view.trust, edge.port.number, edge=True),
        )
        for edge in view.edge
        if edge.port.protocol.is_http
    ]
    problems: list[Problem] = []
    made = []
    for each in gates:
        found = shared(_GUARDED, extensions.Guarded(*each))
        problems.extend(check.unguarded(found.resource, violation) for violation in found.violations)
        made.append(shared(_CLOSED, extensions.Guarded(*each)) if found.violations else found)
    return _part(made, "policy", problems)


def _stable(port: WorkloadPort) -> WorkloadPort:
    """The port without its state, which is about endpoints: no listener may be drained because of it."""
    return port if port.state is State.SERVING else msgspec.structs.replace(port, state=State.SERVING)


def _routes(view: View, memo: Memo, shared: Memo) -> Part:
    problems: list[Problem] = []
    made: list[check.Made] = []
    if view.outbound:
        made.append(shared(_ROUTES, OUTBOUND))
    made += [
        _whole(_BOUND_ROUTES, _BOUND_REPAIRED, routed, memo, problems)
        for each in view.bound
        if (routed := outbound.routed(each))
    ]
    known = frozenset(upstream.name for upstream in view.upstreams)
    for edge in view.edge:
        checked = [check.references(host, known) for host in edge.port.hosts]
        problems.extend(problem for item in checked for problem in item.problems)
        port = edge.port
        if any(item.problems for item in checked):
            port = msgspec.structs.replace(port, hosts=tuple(item.host for item in checked))
        key = gateway.Routes(gateway=f"{view.namespace}/{view.name}", port=port, bound=edge.listen.port)
        made.append(_whole(_EDGE_ROUTES, _EDGE_REPAIRED, key, memo, problems))
    return _part(made, "routes", problems)


def _virtual_hosts(key: _Hosts, memo: Memo) -> Part:
    make, repair = _ASKED[key.tunnels], _ASKED_REPAIRED[key.tunnels]
    problems: list[Problem] = []
    made = [_whole(make, repair, host, memo, problems) for host in key.hosts]
    return _part(made, "virtual host", problems)


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
