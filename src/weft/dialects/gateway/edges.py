"""Edge proxies: the listeners of a Gateway, and what ``Mesh`` services expose, as virtual hosts on ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from weft.dialects.gateway.hostnames import covers, specificity
from weft.dialects.gateway.listeners import GatewaySpec, ListenerSpec
from weft.dialects.gateway.precedence import Entry, flatten, ordered
from weft.dialects.mesh.merge import Exposed
from weft.dialects.values import Finding
from weft.model.demand import BareInput, bare_host
from weft.model.mesh import Gateway, GatewayPort
from weft.model.route import Match, MatchKind, RouteSet, Rule, StringMatch, VirtualHost
from weft.model.service import Protocol, Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.memo import Memo
    from weft.names import ServiceKey
    from weft.values import Ref

EXPOSED: Final = "exposed"
"""The name of the Gateway, one in each namespace, that stands for everything that ``Mesh`` services expose."""

Offer: TypeAlias = tuple[tuple[str, ...], Entry]
"""A route at a listener: the hosts for which it applies, and its rules."""


class PortInput(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one ``GatewayPort``: its listeners, each with the routes that it accepted."""

    number: int
    source: str
    listeners: tuple[tuple[ListenerSpec, tuple[Offer, ...]], ...]


def gateway(spec: GatewaySpec, offers: Mapping[str, tuple[Offer, ...]], memo: Memo) -> Gateway:
    """One Gateway with the routes that its listeners accepted."""
    ports = []
    for number in sorted({listener.port for listener in spec.listeners if listener.usable}):
        listeners = tuple(
            (listener, offers.get(listener.name, ()))
            for listener in spec.listeners
            if listener.usable and listener.port == number
        )
        ports.append(memo(gateway_port, PortInput(number, spec.ref.path, listeners)))
    return Gateway(spec.ref.namespace, spec.ref.name, spec.ref.path, tuple(ports), spec.host)


def gateway_port(made: PortInput) -> GatewayPort:
    """All listeners of one port. A host belongs to the most specific listener that covers it, and to no other.

    Source: Gateway API, "Listener isolation". Within a listener the routes of a more specific hostname come first, and
    those of the hostnames that cover it follow.
    """
    hosts: dict[str, VirtualHost] = {}
    for listener, offers in made.listeners:
        source = f"{made.source}/listeners/{listener.name}"
        domains = {listener.hostname or "*", *(host for names, _ in offers for host in names)}
        for domain in domains:
            if _owner(domain, made.listeners) == listener.name:
                hosts[domain] = VirtualHost(domain, _rules(domain, offers), source)
    return GatewayPort(made.number, Protocol.HTTP, _by_specificity(hosts))


def _by_specificity(hosts: Mapping[str, VirtualHost]) -> tuple[VirtualHost, ...]:
    return tuple(sorted(hosts.values(), key=lambda host: (specificity(_name(host.domain)), host.domain)))


def _name(domain: str) -> str:
    return "" if domain == "*" else domain


def _owner(domain: str, listeners: tuple[tuple[ListenerSpec, tuple[Offer, ...]], ...]) -> str:
    covering = [listener for listener, _ in listeners if covers(listener.hostname, _name(domain))]
    return min(covering, key=lambda listener: (specificity(listener.hostname), listener.name)).name


def _rules(domain: str, offers: tuple[Offer, ...]) -> tuple[Rule, ...]:
    groups: dict[tuple[int, int], list[Entry]] = {}
    for names, entry in offers:
        covering = [_name(name) for name in names if covers(_name(name), _name(domain))]
        if covering:
            groups.setdefault(min(specificity(name) for name in covering), []).append(entry)
    return tuple([rule for place in sorted(groups) for rule in ordered(tuple(groups[place]))])


class ExposedInput(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of what one namespace exposes: each service with the routes that its own namespace's callers have."""

    namespace: str
    exposed: tuple[tuple[Exposed, Service, int, RouteSet | None], ...]


def exposed_inputs(
    exposed: tuple[Exposed, ...],
    services: Mapping[ServiceKey, Service],
    routes: Mapping[tuple[ServiceKey, int], RouteSet],
) -> tuple[ExposedInput, ...]:
    found: dict[str, list[tuple[Exposed, Service, int, RouteSet | None]]] = {}
    for each in exposed:
        service = services.get(each.service)
        number = next((port.number for port in service.ports if port.protocol.is_http), 0) if service else 0
        if service and number:
            found.setdefault(each.service.namespace, []).append(
                (each, service, number, routes.get((each.service, number)))
            )
    return tuple(
        ExposedInput(namespace, tuple(sorted(items, key=lambda item: (item[0].port, item[0].service))))
        for namespace, items in sorted(found.items())
    )


def exposed_gateway(made: ExposedInput) -> Gateway:
    """What a namespace's Mesh documents expose, as a Gateway. Routes of the service hold for calls from outside too."""
    ports: dict[int, dict[str, list[Entry]]] = {}
    sources: dict[tuple[int, str], str] = {}
    for each, service, number, routes in made.exposed:
        domain = each.hostname or "*"
        bare = bare_host(BareInput(domain, service.key.name, service, number)).rules
        rules = routes.producer if routes and routes.producer else bare
        entry = Entry("", service.key.namespace, service.key.name, narrowed(rules, each.path))
        ports.setdefault(each.port, {}).setdefault(domain, []).append(entry)
        sources.setdefault((each.port, domain), each.source)
    made_ports = []
    for number, domains in sorted(ports.items()):
        hosts = {
            domain: VirtualHost(domain, _exposed_rules(domain, domains), sources[number, domain]) for domain in domains
        }
        made_ports.append(GatewayPort(number, Protocol.HTTP, _by_specificity(hosts)))
    return Gateway(made.namespace, EXPOSED, f"Mesh/{made.namespace}", tuple(made_ports))


def _exposed_rules(domain: str, domains: Mapping[str, list[Entry]]) -> tuple[Rule, ...]:
    offers = tuple(((name,), entry) for name, entries in domains.items() for entry in entries)
    return _rules(domain, offers)


def narrowed(rules: tuple[Rule, ...], path: str) -> tuple[Rule, ...]:
    """These rules for the paths below ``path`` only; a regular expression on the path stays what it is."""
    prefix = path.rstrip("/") or "/"
    if prefix == "/":
        return rules
    kept = []
    for _, rule in flatten(rules):
        (match,) = rule.matches
        inside = _below(match, prefix)
        if inside is not None:
            kept.append(msgspec.structs.replace(rule, matches=(inside,)))
    return tuple(kept)


def _below(match: Match, prefix: str) -> Match | None:
    value = match.path.value
    if match.path.kind is MatchKind.REGEX or value == prefix or value.startswith(f"{prefix}/"):
        return match
    if match.path.kind is MatchKind.PREFIX and (value == "/" or prefix.startswith(f"{value}/")):
        return msgspec.structs.replace(match, path=StringMatch(MatchKind.PREFIX, prefix))
    return None


def port_clash(ref: Ref, port: int) -> Finding:
    return Finding(
        code="WFT-1224",
        ref=ref,
        message=f"port {port} is exposed by a Mesh and listened on by a Gateway of the same name",
        remedy=f"Rename the Gateway; the name {EXPOSED} is that of what Mesh services expose",
    )
