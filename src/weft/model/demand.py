"""What one demanded name becomes: a virtual host, or the cluster behind a name, an address or a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.model.policy import ServicePolicy
from weft.model.resolve import Names, external_service, resolve_address
from weft.model.route import Backend, Rewrite, Rule, VirtualHost
from weft.model.service import ExternalAddress, Protocol, Service, ServicePort
from weft.model.trust import Peers
from weft.model.view import Upstream
from weft.names import TCP_PREFIX, OutboundCluster, ServiceKey, parse_tcp_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CLASS_E = 240


class Target(msgspec.Struct, frozen=True, cache_hash=True):
    """One cluster, and whose endpoints it has; None when DNS gives its addresses."""

    upstream: Upstream
    endpoints: tuple[ServiceKey, int] | None


class TargetInput(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one ``Target``. ``external`` is the host by which an external service was called."""

    name: str
    service: Service
    port: ServicePort
    protocol: Protocol
    policy: ServicePolicy
    tunnel: str
    external: str = ""
    peers: Peers = Peers()


def target(made: TargetInput) -> Target:
    """The cluster for one port of one service.

    An external service is found by the DNS name that it was called by, unless its declaration says where it is.
    """
    service, port = made.service, made.port
    if not service.external:
        upstream = Upstream(made.name, made.protocol, service.source, made.policy, peers=made.peers)
        return Target(upstream, (service.key, port.number))
    by_name = any(address.host in service.hosts for address in service.external)
    host = made.external or next((host for host in service.hosts if not host.startswith("*.")), "")
    if by_name and isinstance(port.target, int):
        dns: tuple[ExternalAddress, ...] = (ExternalAddress(host, port.target),) if host else ()
    else:
        dns = tuple(address for address in service.external if address.port == port.target) or service.external
    tls_name = host if service.originate_tls else ""
    upstream = Upstream(made.name, made.protocol, service.source, made.policy, dns, tls_name, made.tunnel)
    return Target(upstream, None)


def outbound_input(
    names: Names, policies: Mapping[ServiceKey, ServicePolicy], cluster: OutboundCluster, tunnel: str
) -> TargetInput | None:
    """The input of the cluster that a rule or a proxy names; None when there is no such service, port or subset."""
    if cluster.subset:
        return None
    key, external = cluster.service, ""
    if key is None or key not in names.services:
        key = external_service(names, cluster.host)
        external = cluster.host
    service = names.services.get(key) if key else None
    port = service.port(cluster.port) if service else None
    if service is None or port is None or port.protocol is Protocol.UDP:
        return None
    policy = policies.get(service.key, _DEFAULT)
    return TargetInput(str(cluster), service, port, port.protocol, policy, tunnel if service.external else "", external)


def tcp_input(names: Names, policies: Mapping[ServiceKey, ServicePolicy], name: str, tunnel: str) -> TargetInput | None:
    """The input of the cluster for a connection to a virtual address; None when the address or port means nothing."""
    parsed = parse_tcp_cluster(name)
    found = resolve_address(names, *parsed) if parsed else None
    if found is None:
        return None
    service, port = found
    policy = policies.get(service.key, _DEFAULT)
    return TargetInput(name, service, port, Protocol.TCP, policy, tunnel if service.external else "")


def passed_on(name: str, tunnel: str) -> Target | None:
    """``allowAny``: a connection to an address that nobody has goes where it was going. Virtual addresses go nowhere."""
    parsed = parse_tcp_cluster(name)
    if parsed is None or not name.startswith(TCP_PREFIX):
        return None
    address, port = parsed
    first = address.partition(".")[0]
    if first.isdigit() and int(first) >= _CLASS_E:
        return None
    upstream = Upstream(
        name, Protocol.TCP, "Mesh/outboundTraffic", dns=(ExternalAddress(address, port),), tunnel=tunnel
    )
    return Target(upstream, None)


class BareInput(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of ``bare_host``: a name without routes. ``host_name`` is the name in it, lower case, without port."""

    domain: str
    host_name: str
    service: Service
    port: int
    external: str = ""


def bare_host(made: BareInput) -> VirtualHost:
    """The virtual host of a service that no route touches: everything goes to the service itself.

    Called by its name in the mesh, an external service is told the name by which it knows itself.
    """
    service = made.service
    host = made.external or service.key.host
    foreign = bool(service.hosts) and not made.external and made.host_name not in service.hosts
    rewrite = Rewrite(host=service.hosts[0]) if foreign and not service.hosts[0].startswith("*") else None
    rule = Rule(service.source, backends=(Backend(OutboundCluster(made.port, host)),), rewrite=rewrite)
    return VirtualHost(made.domain, (rule,), service.source)


class RoutedInput(msgspec.Struct, frozen=True, cache_hash=True):
    domain: str
    rules: tuple[Rule, ...]
    source: str


def routed_host(made: RoutedInput) -> VirtualHost:
    return VirtualHost(made.domain, made.rules, made.source)


def clusters_of(rules: tuple[Rule, ...]) -> tuple[OutboundCluster, ...]:
    """Every cluster that these rules may send to, each once, in their order; backends of weight 0 receive nothing."""
    return tuple(dict.fromkeys(_clusters(rules)))


def _clusters(rules: tuple[Rule, ...]) -> Iterator[OutboundCluster]:
    for rule in rules:
        for backend in rule.backends:
            if backend.cluster is not None and backend.weight:
                yield backend.cluster
        for mirror in rule.mirrors:
            yield mirror.cluster


_DEFAULT = ServicePolicy()
