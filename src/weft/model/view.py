"""Exactly what one proxy may see. A builder that could see more could be neither cached nor trusted.

Outbound is on demand: a proxy asks for a virtual host by the Host header that its application used, and for a cluster by
the name that a route or a captured address gave. ``Demand`` is the set of names it has asked for so far; the view holds
those, what they need, and the proxy's own fixed parts. Its size depends on what the application calls, not on the mesh.
"""

from __future__ import annotations

import msgspec

from weft.model.mesh import GatewayPort, OutboundTraffic
from weft.model.policy import ServicePolicy
from weft.model.route import VirtualHost
from weft.model.service import Address, Capture, Endpoint, ExternalAddress, Placement, Protocol, WorkloadPort
from weft.model.trust import Guard, Peers, Shape, Trust


class Demand(msgspec.Struct, frozen=True, cache_hash=True):
    """What a proxy's subscriptions ask for by name: Host headers, and cluster names (``outbound|…`` and ``tcp|…``)."""

    hosts: frozenset[str] = frozenset()
    clusters: frozenset[str] = frozenset()


class Upstream(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one cluster: no endpoints, so that an endpoint change rebuilds nothing here.

    ``dns`` is not empty for an external service reached directly. ``tls_name`` not empty: TLS is originated, with that
    name as SNI and checked against the certificate. ``tunnel`` not empty: the path of the egress proxy's socket, through
    which ``dns`` is reached.
    """

    name: str
    protocol: Protocol
    source: str
    policy: ServicePolicy = ServicePolicy()
    dns: tuple[ExternalAddress, ...] = ()
    tls_name: str = ""
    tunnel: str = ""
    peers: Peers = Peers()
    """How the proxies behind it are reached; PLAIN for what is outside the mesh."""

    @property
    def shape(self) -> Shape:
        """How its connections travel. What is not understood as requests cannot be pooled as such: a connection by its address
        to a port that speaks HTTP is RAW.
        """
        if self.dns or self.tunnel or self.peers.shape is Shape.PLAIN:
            return Shape.PLAIN
        pooled = Shape.HTTP if self.protocol.is_http else Shape.TUNNEL
        return pooled if self.peers.shape is pooled and not self.peers.mixed else Shape.RAW

    @property
    def pooled(self) -> bool:
        """Opaque TCP in tunnels: two clusters stand for it."""
        return self.shape is Shape.TUNNEL


class Assignment(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one ClusterLoadAssignment. ``source`` is its cluster's."""

    name: str
    endpoints: tuple[Endpoint, ...]
    source: str = ""


class BoundRoute(msgspec.Struct, frozen=True, cache_hash=True):
    """``ports`` capture: one address for one port of a service. HTTP: ``host`` routes it; TCP: ``cluster`` receives it,
    ``pooled`` in tunnels.
    """

    listen: Address
    service: str
    port: int
    protocol: Protocol
    host: VirtualHost | None = None
    cluster: str = ""
    pooled: bool = False


class EdgePort(msgspec.Struct, frozen=True, cache_hash=True):
    """One port of a Gateway with the address that the agent bound for it."""

    listen: Address
    port: GatewayPort


class Relay(msgspec.Struct, frozen=True, cache_hash=True):
    """What a host proxy passes on between hosts, unread: TLS is between the two proxies at the ends, told apart by SNI.

    ``listen`` takes connections from other hosts for ``local`` (SNI, unix socket of the inbound listener); ``inside`` takes
    connections of this host's captured namespaces for ``remote`` (host, address of its host proxy).
    """

    listen: Address | None
    inside: Address
    local: tuple[tuple[str, Address], ...] = ()
    remote: tuple[tuple[str, Address], ...] = ()


class View(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """Everything sorted by name, so that equal meshes give equal bytes."""

    node: str
    placement: Placement
    namespace: str
    name: str
    capture: Capture
    outbound: Address | None = None
    egress: Address | None = None
    """Transparent capture: the egress proxy's socket, by which ``passthrough`` leaves. None: the proxy calls out itself."""
    outbound_traffic: OutboundTraffic = OutboundTraffic.REGISTRY_ONLY
    hosts: tuple[VirtualHost, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    inbound: tuple[WorkloadPort, ...] = ()
    bound: tuple[BoundRoute, ...] = ()
    edge: tuple[EdgePort, ...] = ()
    trust: Trust = Trust()
    guards: tuple[tuple[int, Guard], ...] = ()
    """What guards each port of ``inbound``; of a Gateway one guard for all ports, as port 0."""
    relay: Relay | None = None
    """The host proxy only."""
    missing_clusters: tuple[str, ...] = ()
    """Cluster names that were asked for and do not exist: answered by an empty cluster at once, so that nothing waits."""
