"""What users wrote and what agents run, as one mesh.

Everything runs again after every change; what did not change is remembered (``weft.memo``). Objects are divided into
buckets by a hash of their name that is the same in every process: a change makes its bucket's stage run, and the rest cost
one comparison each. No result depends on the order in which objects come, nor on Python's hash seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar, cast
from zlib import crc32

import msgspec

from weft.api import core, gateway, httproute, mesh
from weft.api.base import Object
from weft.api.decode import Decoded
from weft.dialects.core import endpoints, services
from weft.dialects.gateway import edges, listeners, routing
from weft.dialects.gateway.attach import EdgeWorld, World
from weft.dialects.gateway.references import read_grants
from weft.dialects.gateway.routes import RouteSpec, read_route
from weft.dialects.mesh.merge import Exposed, Merged, merge
from weft.dialects.mesh.merge import Written as WrittenMesh
from weft.dialects.mesh.processes import processes
from weft.dialects.protect import AROUND, Unprotected, Written, protect
from weft.dialects.security import KINDS
from weft.dialects.values import Compiled, Declared, Finding, Input
from weft.errors import Problem
from weft.model import mesh as model
from weft.model.believed import judged
from weft.model.near import NearIndex, near_index
from weft.model.policy import ServicePolicy
from weft.model.resolve import Names
from weft.model.service import Address, Endpoint, HostReport, Placement, Workload
from weft.model.status import Status
from weft.names import ServiceKey, node_id

if TYPE_CHECKING:
    from weft.api.document import Places
    from weft.dialects.core.services import Catalogue
    from weft.dialects.gateway.listeners import GatewaySpec
    from weft.memo import Memo
    from weft.values import Ref

_BUCKETS: Final = 64
T = TypeVar("T", bound=Object)


class Same:
    """A memo key for a value that cannot be hashed: equal only to itself."""

    __slots__ = ("value",)

    def __init__(self, value: Decoded) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


class Sorted(msgspec.Struct, frozen=True, eq=False):
    """Objects without errors by kind and bucket, each bucket sorted by ref."""

    kinds: Mapping[str, tuple[tuple[Decoded, ...], ...]]

    def buckets(self, kind: str) -> tuple[tuple[Decoded, ...], ...]:
        return self.kinds.get(kind, ())

    def all(self, kind: str) -> tuple[Decoded, ...]:
        return tuple(decoded for bucket in self.buckets(kind) for decoded in bucket)

    def document(self, ref: Ref) -> Decoded | None:
        buckets = self.buckets(ref.kind)
        found = buckets[_bucket(ref)] if buckets else ()
        return next((decoded for decoded in found if decoded.document.ref == ref), None)


def compile_world(world: Input, memo: Memo) -> Compiled:
    """The whole mesh. Equal inputs give equal results, and unchanged parts are the same objects as before."""
    objects = memo.stage(_sort, world.objects)
    merged = memo.stage(_merge, objects.all("Mesh"))
    declared = tuple(memo.stage(_declare, bucket, number) for number, bucket in enumerate(objects.buckets("Service")))
    catalogue = memo.stage(
        services.catalogue, (*(group for group, _ in declared), merged.declared, merged.versioned), "services"
    )
    routed = _route(objects, merged, catalogue, memo)
    placed = memo.stage(_place, (merged, catalogue, routed.gateways))
    world = msgspec.structs.replace(world, hosts=judged(world.hosts, placed.placements, memo))
    known = memo.stage(_proxies, world.hosts)
    slices = _slice_parts(objects, catalogue, memo)
    protected = protect(
        Unprotected(
            written=Written(*(tuple(objects.all(kind) for kind in kinds) for kinds in (KINDS, AROUND))),
            world=world,
            merged=merged.security,
            catalogue=catalogue,
            sliced=memo.stage(_sliced, slices),
            gateways=tuple(sorted(routed.gateways)),
            processes=placed.placements.processes,
        ),
        memo,
    )
    found = _endpoints(slices, world.hosts, memo.stage(_selectors, catalogue), memo)
    compiled = model.Mesh(
        services=catalogue.services,
        routes=routed.routes,
        policies=_NO_POLICIES,
        endpoints=memo.stage(_in_the_clear, (found, protected.clear)) if protected.clear else found,
        external_hosts=catalogue.external_hosts,
        addresses=catalogue.addresses,
        gateways=routed.gateways,
        workloads=known.workloads,
        proxies=known.proxies,
        placements=placed.placements,
        outbound_traffic=merged.outbound_traffic,
        hosts=memo.stage(_reached, world.hosts),
        trust=world.trust,
        guards=protected.guards.workloads,
        gateway_guards=protected.guards.gateways,
        peers=protected.peers,
    )
    findings = (
        *(finding for _, group in declared for finding in group),
        *merged.findings,
        *catalogue.findings,
        *routed.findings,
        *placed.findings,
        *protected.findings,
    )
    return Compiled(
        mesh=compiled,
        problems=memo.stage(_problems, (findings, objects)),
        statuses=(*routed.statuses, *protected.statuses),
        wanted_keys=protected.wanted_keys,
        keys_from=merged.security.jwks_allow,
        http_guards=protected.guards.http,
    )


_NO_POLICIES: Final = MappingProxyType[ServiceKey, ServicePolicy]({})


def _bucket(ref: Ref) -> int:
    return crc32(ref.name.encode()) % _BUCKETS


def _sort(decoded: tuple[Decoded, ...], memo: Memo) -> Sorted:
    kinds: dict[str, list[list[Decoded]]] = {}
    for each in decoded:
        if each.object is None:
            continue
        ref = each.document.ref
        buckets = kinds.get(ref.kind)
        if buckets is None:
            buckets = kinds[ref.kind] = [[] for _ in range(_BUCKETS)]
        buckets[crc32(ref.name.encode()) % _BUCKETS].append(each)
    return Sorted(
        {
            kind: tuple([memo.stage(_in_order, tuple(bucket), (kind, at)) for at, bucket in enumerate(buckets)])
            for kind, buckets in kinds.items()
        }
    )


def _in_order(bucket: tuple[Decoded, ...], _: Memo) -> tuple[Decoded, ...]:
    return tuple(sorted(bucket, key=_by_ref))


def _by_ref(decoded: Decoded) -> tuple[str, str]:
    ref = decoded.document.ref
    return ref.namespace, ref.name


def _typed(decoded: Iterable[Decoded], kind: type[T]) -> Iterable[tuple[Ref, T]]:
    return ((each.document.ref, each.object) for each in decoded if isinstance(each.object, kind))


def _declare(bucket: tuple[Decoded, ...], memo: Memo) -> tuple[tuple[Declared, ...], tuple[Finding, ...]]:
    made = [memo(_declare_one, Same(decoded)) for decoded in bucket]
    return tuple(declared for declared, _ in made), tuple(finding for _, found in made for finding in found)


def _declare_one(key: Same) -> tuple[Declared, tuple[Finding, ...]]:
    return services.declare(key.value.document.ref, cast("core.Service", key.value.object))


def _merge(decoded: tuple[Decoded, ...], _: Memo) -> Merged:
    return merge(
        WrittenMesh(ref, written, _folder(each)) for each in decoded for ref, written in _typed((each,), mesh.Mesh)
    )


def _folder(decoded: Decoded) -> str:
    """The folder of a document's file; empty when it did not come from a file of this machine."""
    source = decoded.document.origin.source
    return source.rpartition("/")[0] or "/" if source.startswith("/") else ""


class Known(msgspec.Struct, frozen=True, eq=False):
    """Every workload and every proxy that agents reported."""

    workloads: Mapping[tuple[str, str], Workload]
    proxies: Mapping[str, Workload]


def _proxies(hosts: tuple[HostReport, ...], memo: Memo) -> Known:
    workloads: dict[tuple[str, str], Workload] = {}
    proxies: dict[str, Workload] = {}
    for host in sorted(hosts, key=lambda host: host.host):
        found = memo.stage(_of_host, host, host.host)
        workloads.update(found.workloads)
        proxies.update(found.proxies)
    return Known(MappingProxyType(workloads), MappingProxyType(proxies))


def _reached(hosts: tuple[HostReport, ...], _: Memo) -> Mapping[str, Address]:
    """Where each host that has an address takes connections from the others."""
    return MappingProxyType(
        {host.host: Address(ip=host.address, port=host.relay_port) for host in hosts if host.address}
    )


def _of_host(host: HostReport, _: Memo) -> Known:
    ordered = sorted(host.workloads, key=lambda each: (each.placement.value, each.namespace, each.name))
    return Known(
        {(each.namespace, each.name): each for each in ordered if each.placement is Placement.SIDECAR},
        {node_id(each.placement.value, each.namespace, each.name): each for each in ordered},
    )


def _slice_parts(objects: Sorted, catalogue: Catalogue, memo: Memo) -> tuple[endpoints.Part, ...]:
    return tuple(
        memo.stage(_slices, (bucket, catalogue), number)
        for number, bucket in enumerate(objects.buckets("EndpointSlice"))
        if bucket
    )


def _sliced(parts: tuple[endpoints.Part, ...], _: Memo) -> frozenset[endpoints.Target]:
    """The ports of services to which EndpointSlices bring addresses."""
    return frozenset(target for part in parts for bucket in part.buckets if bucket for target in bucket)


def _endpoints(
    slices: tuple[endpoints.Part, ...], hosts: tuple[HostReport, ...], index: endpoints.Selectors, memo: Memo
) -> Mapping[endpoints.Target, tuple[Endpoint, ...]]:
    parts = [
        memo.stage(endpoints.host_part, (host, index), host.host) for host in sorted(hosts, key=lambda host: host.host)
    ]
    return memo.stage(_merge_endpoints, (*slices, *parts))


def _in_the_clear(
    key: tuple[Mapping[endpoints.Target, tuple[Endpoint, ...]], frozenset[str]], _: Memo
) -> Mapping[endpoints.Target, tuple[Endpoint, ...]]:
    return endpoints.in_the_clear(*key)


def _selectors(catalogue: Catalogue, _: Memo) -> endpoints.Selectors:
    return endpoints.selectors(catalogue.services)


def _slices(key: tuple[tuple[Decoded, ...], Catalogue], memo: Memo) -> endpoints.Part:
    bucket, catalogue = key
    slices = tuple(found for decoded in bucket if (found := memo(_read_slice, Same(decoded))) is not None)
    chosen = tuple(catalogue.services.get(each.service) for each in slices)
    return memo.stage(endpoints.slices_part, (slices, chosen))


def _read_slice(key: Same) -> endpoints.Slice | None:
    return endpoints.read_slice(key.value.document.ref, cast("core.EndpointSlice", key.value.object))


def _merge_endpoints(parts: tuple[endpoints.Part, ...], memo: Memo) -> Mapping[endpoints.Target, tuple[Endpoint, ...]]:
    merged: dict[endpoints.Target, tuple[Endpoint, ...]] = {}
    for number in range(endpoints.BUCKETS):
        found = tuple([bucket for part in parts if (bucket := part.buckets[number]) is not None])
        if found:
            merged.update(memo.stage(endpoints.merge, found, number))
    return MappingProxyType(merged)


def _route(objects: Sorted, merged: Merged, catalogue: Catalogue, memo: Memo) -> routing.Routed:
    edge_objects = tuple(objects.all(kind) for kind in ("GatewayClass", "Gateway", "ReferenceGrant", "Namespace"))
    world = memo.stage(_world, (catalogue, edge_objects))
    groups = []
    for number, bucket in enumerate(objects.buckets("HTTPRoute")):
        routes = memo.stage(_read_routes, bucket, number)
        groups.append(memo.stage(routing.group, (routes, world.world), number))
    return memo.stage(_routed, (tuple(groups), world, merged.exposed, catalogue))


class Edges(msgspec.Struct, frozen=True, eq=False):
    """What Gateways and their like say, before any route."""

    world: World
    statuses: tuple[Status, ...]
    findings: tuple[Finding, ...]


def _world(key: tuple[Catalogue, tuple[tuple[Decoded, ...], ...]], memo: Memo) -> Edges:
    catalogue, edge_objects = key
    read = memo.stage(_read_edges, edge_objects)
    world = World(catalogue.services, read.world, lambda: memo(_near_index, catalogue))
    return Edges(world, read.statuses, read.findings)


def _near_index(catalogue: Catalogue) -> NearIndex:
    return near_index(list(catalogue.services))


class ReadEdges(msgspec.Struct, frozen=True, eq=False):
    world: EdgeWorld
    statuses: tuple[Status, ...]
    findings: tuple[Finding, ...]


def _read_edges(key: tuple[tuple[Decoded, ...], ...], _: Memo) -> ReadEdges:
    class_objects, gateway_objects, grant_objects, namespace_objects = key
    classes = {ref.name: (ref, each) for ref, each in _typed(class_objects, gateway.GatewayClass)}
    ours = listeners.classes({name: each for name, (_, each) in classes.items()})
    grants = frozenset(
        grant for ref, each in _typed(grant_objects, gateway.ReferenceGrant) for grant in read_grants(ref, each)
    )
    gateways: dict[tuple[str, str], GatewaySpec] = {}
    foreign: set[tuple[str, str]] = set()
    findings: list[Finding] = []
    for ref, each in _typed(gateway_objects, gateway.Gateway):
        if each.spec.gateway_class_name in ours:
            spec = gateways[ref.namespace, ref.name] = listeners.read_gateway(ref, each, grants)
            findings.extend(spec.findings)
        else:
            foreign.add((ref.namespace, ref.name))
            findings.append(listeners.foreign(ref, each, ours))
    statuses = (listeners.class_status(ref, each) for ref, each in classes.values())
    namespaces = {ref.name: each.metadata.labels for ref, each in _typed(namespace_objects, core.Namespace)}
    return ReadEdges(
        world=EdgeWorld(gateways, frozenset(foreign), grants, namespaces),
        statuses=tuple(status for status in statuses if status is not None),
        findings=tuple(findings),
    )


def _read_routes(bucket: tuple[Decoded, ...], memo: Memo) -> routing.Routes:
    routes = tuple(memo(_read_route, Same(decoded)) for decoded in bucket)
    return routing.Routes(routes, tuple(dict.fromkeys(key for route in routes for key in route.services())))


def _read_route(key: Same) -> RouteSpec:
    return read_route(key.value.document.ref, cast("httproute.HTTPRoute", key.value.object))


def _routed(key: tuple[tuple[routing.Group, ...], Edges, tuple[Exposed, ...], Catalogue], memo: Memo) -> routing.Routed:
    groups, edge, exposed, catalogue = key
    routes = memo.stage(routing.route_sets, groups)
    offers = routing.offers(groups)
    gateways: dict[tuple[str, str], model.Gateway] = {}
    statuses = list(edge.statuses)
    findings = list(edge.findings)
    for where, spec in sorted(edge.world.edges.gateways.items()):
        offered = offers.get(where, {})
        gateways[where] = edges.gateway(spec, offered, memo)
        statuses.append(routing.gateway_status(spec, offered))
    for made in edges.exposed_inputs(exposed, catalogue.services, routes):
        where = (made.namespace, edges.EXPOSED)
        if where in gateways:
            findings.append(edges.port_clash(edge.world.edges.gateways[where].ref, made.exposed[0][0].port))
        else:
            gateways[where] = memo(edges.exposed_gateway, made)
    for each in groups:
        statuses.extend(each.statuses)
        findings.extend(each.findings)
    return routing.Routed(
        routes=routes,
        gateways=MappingProxyType(gateways),
        statuses=tuple(statuses),
        findings=tuple(findings),
    )


class Placed(msgspec.Struct, frozen=True, eq=False):
    placements: model.Placements
    findings: tuple[Finding, ...]


def _place(key: tuple[Merged, Catalogue, Mapping[tuple[str, str], model.Gateway]], _: Memo) -> Placed:
    merged, catalogue, gateways = key
    names = Names(catalogue.services, catalogue.external_hosts, catalogue.addresses)
    specs, findings = processes(merged, names, gateways)
    edge = tuple(
        model.GatewaySpec(each.namespace, each.name, tuple(port.number for port in each.ports), each.host)
        for _, each in sorted(gateways.items())
        if each.ports
    )
    return Placed(model.Placements(specs, edge), findings)


def _problems(key: tuple[tuple[Finding, ...], Sorted], _: Memo) -> tuple[Problem, ...]:
    """Findings with the places of what they name."""
    findings, objects = key
    by_ref: dict[Ref, list[Finding]] = {}
    for finding in dict.fromkeys(findings):
        by_ref.setdefault(finding.ref, []).append(finding)
    problems: list[Problem] = []
    for ref, found in by_ref.items():
        decoded = objects.document(ref)
        places = decoded.document.places() if decoded else None
        if places is not None:
            problems.extend(_problem(finding, places) for finding in found)
    return tuple(sorted(problems, key=_problem_order))


def _problem(finding: Finding, places: Places) -> Problem:
    return Problem(
        code=finding.code,
        message=finding.message,
        remedy=finding.remedy,
        origin=places.of(finding.field),
        ref=finding.ref,
        field=finding.field,
        severity=finding.severity,
    )


def _problem_order(problem: Problem) -> tuple[str, int, int, str, str]:
    origin = problem.origin
    return origin.source, origin.line, origin.column, problem.code, problem.message
