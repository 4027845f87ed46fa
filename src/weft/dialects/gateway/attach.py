"""One route with everything it refers to: its rules, where they apply, and what its status says.

Source: Gateway API, "Attaching routes", ParentRef, RouteParentStatus; GAMMA (GEP-1294, GEP-1324) for Services as parents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from weft.api.kinds import GATEWAY_GROUP
from weft.dialects.gateway.hostnames import intersect
from weft.dialects.gateway.listeners import GatewaySpec, ListenerSpec, lets_in
from weft.dialects.gateway.precedence import Entry
from weft.dialects.gateway.references import (
    ROUTE_FROM,
    BackendSpec,
    Grant,
    Lookup,
    Resolved,
    find,
    is_granted,
    known_ports,
    resolve_backend,
)
from weft.dialects.values import Finding
from weft.model.near import NearIndex, near_objects
from weft.model.route import Backend, Mirror, Rule
from weft.model.service import Service
from weft.model.status import FALSE, TRUE, Condition, ParentStatus, Status
from weft.names import ServiceKey
from weft.values import Pairs

if TYPE_CHECKING:
    from weft.dialects.gateway.filters import Filters
    from weft.dialects.gateway.routes import ParentSpec, RouteSpec, RuleSpec


class EdgeWorld(msgspec.Struct, frozen=True, eq=False):
    """Everything but services that routes refer to. Compared by identity."""

    gateways: Mapping[tuple[str, str], GatewaySpec]
    foreign: frozenset[tuple[str, str]]
    """Gateways that exist and are somebody else's."""
    grants: frozenset[Grant]
    namespaces: Mapping[str, Pairs]
    """The labels of each known namespace."""


class World(msgspec.Struct, frozen=True, eq=False):
    """Everything that routes refer to. Compared by identity."""

    services: Mapping[ServiceKey, Service]
    edges: EdgeWorld
    index: Callable[[], NearIndex]
    """Names by nearness, made when the first reference fails."""


class ServicePlace(msgspec.Struct, frozen=True, cache_hash=True):
    """Where rules apply inside the mesh. ``caller`` is the namespace of a consumer route, empty for a producer's."""

    service: ServiceKey
    port: int
    caller: str


class ListenerPlace(msgspec.Struct, frozen=True, cache_hash=True):
    """Where rules apply at the edge: a listener, and the hosts for which."""

    gateway: tuple[str, str]
    listener: str
    hosts: tuple[str, ...]


class Attached(msgspec.Struct, frozen=True, cache_hash=True):
    entry: Entry
    services: tuple[ServicePlace, ...]
    listeners: tuple[ListenerPlace, ...]
    status: Status
    findings: tuple[Finding, ...]


def attach(route: RouteSpec, world: World) -> Attached:
    """One route in the world. Problems of one reference never disturb the others."""
    source = (*ROUTE_FROM, route.ref.namespace)
    resolver = _Resolver(route, world, source)
    rules = tuple(resolver.rule(rule) for rule in route.rules)
    refs = resolver.condition()
    attacher = _Attacher(route, world)
    parents = []
    for parent in route.parents:
        accepted = attacher.parent(parent)
        if accepted is not None:
            conditions = (accepted, refs, *_partially(route))
            parents.append(ParentStatus(parent.written, conditions))
    return Attached(
        entry=Entry(route.created, route.ref.namespace, route.ref.name, rules),
        services=tuple(dict.fromkeys(attacher.services)),
        listeners=tuple(attacher.listeners),
        status=Status(route.ref, route.generation, parents=tuple(parents)),
        findings=(*route.findings, *resolver.findings, *attacher.findings),
    )


def _partially(route: RouteSpec) -> tuple[Condition, ...]:
    """A filter that is known and not supported where it stands makes part of a route invalid, and says so."""
    filters = [each for rule in route.rules for each in (rule.filters, *(found for _, _, found in rule.backends))]
    if any(each.broken and not each.unresolved for each in filters):
        return (
            Condition("PartiallyInvalid", TRUE, "UnsupportedValue", "a filter is not supported; its share answers 500"),
        )
    return ()


class _Resolver:
    """Turns the rules of one route into the model's, and remembers what did not resolve."""

    def __init__(self, route: RouteSpec, world: World, source: tuple[str, str, str]) -> None:
        self.route = route
        self.world = world
        self.source = source
        self.findings: list[Finding] = []
        self.reasons: list[tuple[str, str]] = []

    def cluster(self, spec: BackendSpec) -> Resolved:
        service = find(self.world.services, spec)
        granted = is_granted(self.world.edges.grants, self.source, (spec.group, spec.kind), spec.key)
        resolved = resolve_backend(Lookup(self.route.ref, spec, service, granted), self.world.index)
        if resolved.finding is not None:
            self.findings.append(resolved.finding)
            self.reasons.append((resolved.reason, resolved.finding.message))
        return resolved

    def rule(self, rule: RuleSpec) -> Rule:
        backends = tuple(self.backend(*each, broken=rule.filters.broken) for each in rule.backends)
        mirrors = []
        for mirror in rule.filters.mirrors:
            resolved = self.cluster(mirror.backend)
            if resolved.cluster is not None and mirror.numerator:
                mirrors.append(Mirror(resolved.cluster, mirror.numerator, mirror.denominator))
        filters = rule.filters
        if filters.broken:
            self.unknown_filter(filters)
        return Rule(
            source=rule.source,
            matches=rule.matches,
            backends=backends,
            request_headers=filters.request_headers,
            response_headers=filters.response_headers,
            redirect=None if filters.broken else filters.redirect,
            rewrite=filters.rewrite,
            mirrors=tuple(mirrors),
            cors=filters.cors,
            request_timeout=rule.request_timeout,
            backend_timeout=rule.backend_timeout,
            retry=rule.retry,
        )

    def backend(self, spec: BackendSpec, share: int, filters: Filters, *, broken: bool) -> Backend:
        resolved = self.cluster(spec)
        if filters.broken:
            self.unknown_filter(filters)
        cluster = None if broken or filters.broken else resolved.cluster
        return Backend(cluster, share, filters.request_headers, filters.response_headers)

    def unknown_filter(self, filters: Filters) -> None:
        if filters.unresolved:
            self.reasons.append(("InvalidKind", filters.findings[0].message))

    def condition(self) -> Condition:
        if not self.reasons:
            return Condition("ResolvedRefs", TRUE, "ResolvedRefs")
        reason, message = self.reasons[0]
        return Condition("ResolvedRefs", FALSE, reason, message)


class _Attacher:
    """Finds out for each parent where the rules apply."""

    def __init__(self, route: RouteSpec, world: World) -> None:
        self.route = route
        self.world = world
        self.services: list[ServicePlace] = []
        self.listeners: list[ListenerPlace] = []
        self.findings: list[Finding] = []

    def parent(self, parent: ParentSpec) -> Condition | None:
        """The condition ``Accepted``; None for a parent that is not ours, to which nothing is said."""
        kind = (parent.group, parent.kind)
        if kind == ("", "Service"):
            return self.service(parent)
        if kind == (GATEWAY_GROUP, "Gateway"):
            return self.gateway(parent)
        message = f"a route cannot be attached to {parent.kind}{f' of {parent.group}' if parent.group else ''}"
        remedy = "Name a Gateway, or a Service with group: ''"
        self.add("WFT-1208", f"{parent.field}.kind", message, remedy)
        return None

    def service(self, parent: ParentSpec) -> Condition:
        key = ServiceKey(parent.namespace, parent.name)
        service = self.world.services.get(key)
        if service is None:
            found = near_objects(self.world.index(), parent.name, parent.namespace)
            message = f"there is no Service {parent.namespace}/{parent.name} to attach to"
            message += f"; near: {', '.join(found)}" if found else ""
            remedy = f"Use {found[0]}" if found else f"Declare Service {parent.name}, or correct the name"
            return self.refuse(parent, "name", "NoMatchingParent", "WFT-1210", message, remedy)
        ports = [
            port.number
            for port in service.ports
            if port.protocol.is_http and parent.port in (0, port.number) and parent.section in ("", port.name)
        ]
        if not ports:
            wanted = (
                f"port {parent.port}" if parent.port else f"port named {parent.section}" if parent.section else "port"
            )
            message = f"Service {parent.namespace}/{parent.name} has no HTTP {wanted}; it has {known_ports(service)}"
            part = "port" if parent.port else "sectionName" if parent.section else "name"
            return self.refuse(parent, part, "NoMatchingParent", "WFT-1204", message, "Use one of its HTTP ports")
        caller = "" if self.route.ref.namespace == parent.namespace else self.route.ref.namespace
        self.services.extend(ServicePlace(key, port, caller) for port in ports)
        return _ACCEPTED

    def gateway(self, parent: ParentSpec) -> Condition | None:
        key = (parent.namespace, parent.name)
        gateway = self.world.edges.gateways.get(key)
        if gateway is None:
            if key in self.world.edges.foreign:
                return None
            message = f"there is no Gateway {parent.namespace}/{parent.name} to attach to"
            known = ", ".join(f"{namespace}/{name}" for namespace, name in sorted(self.world.edges.gateways)[:3])
            remedy = f"Use one of {known}" if known else "Declare the Gateway, or name a Service of the mesh"
            return self.refuse(parent, "name", "NoMatchingParent", "WFT-1210", message, remedy)
        chosen = [
            each for each in gateway.listeners if parent.section in ("", each.name) and parent.port in (0, each.port)
        ]
        if not chosen:
            names = ", ".join(f"{each.name} (port {each.port})" for each in gateway.listeners)
            message = f"Gateway {parent.namespace}/{parent.name} has no such listener; it has {names}"
            part = "sectionName" if parent.section else "port"
            return self.refuse(parent, part, "NoMatchingParent", "WFT-1217", message, "Use one of its listeners")
        allowing = [
            each for each in chosen if lets_in(gateway, each, self.route.ref.namespace, self.world.edges.namespaces)
        ]
        if not allowing:
            taken = f"takes routes of namespace {self.route.ref.namespace}"
            message = f"no listener of Gateway {parent.namespace}/{parent.name} {taken}"
            remedy = "Open allowedRoutes of the listener, or move the route"
            return self.refuse(parent, "name", "NotAllowedByListeners", "WFT-1222", message, remedy)
        return self.hosts(parent, key, allowing)

    def hosts(self, parent: ParentSpec, key: tuple[str, str], listeners: list[ListenerSpec]) -> Condition:
        found = False
        for listener in listeners:
            hosts = shared_hosts(self.route.hostnames, listener.hostname)
            if hosts:
                found = True
                self.listeners.append(ListenerPlace(key, listener.name, hosts))
        if found:
            return _ACCEPTED
        names = ", ".join(sorted(each.hostname for each in listeners))
        message = f"none of the route's hostnames is one of the listeners' ({names})"
        condition = "NoMatchingListenerHostname"
        return self.refuse(parent, "name", condition, "WFT-1223", message, "Use a hostname that the listener covers")

    def refuse(self, parent: ParentSpec, part: str, reason: str, code: str, message: str, remedy: str) -> Condition:
        self.add(code, f"{parent.field}.{part}", message, remedy)
        return Condition("Accepted", FALSE, reason, message)

    def add(self, code: str, field: str, message: str, remedy: str) -> None:
        self.findings.append(Finding(code=code, ref=self.route.ref, field=field, message=message, remedy=remedy))


_ACCEPTED: Final = Condition("Accepted", TRUE, "Accepted")


def shared_hosts(hostnames: tuple[str, ...], listener: str) -> tuple[str, ...]:
    """The hosts for which a route with these hostnames applies at a listener; a route without any takes the listener's."""
    if not hostnames:
        return (listener or "*",)
    found = (intersect(hostname, listener) for hostname in hostnames)
    return tuple(dict.fromkeys(host for host in found if host))
