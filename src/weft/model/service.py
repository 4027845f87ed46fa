"""Services, their ports, workloads and endpoints."""

from __future__ import annotations

import enum

import msgspec

from weft.names import ServiceKey
from weft.values import Pairs


class Protocol(enum.Enum):
    """What a port speaks. ``HTTP`` is HTTP/1.1, ``HTTP2`` includes gRPC; ``TLS`` and ``TCP`` are passed on unread."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TLS = "tls"
    TCP = "tcp"
    UDP = "udp"

    @property
    def is_http(self) -> bool:
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)

    @property
    def is_http2(self) -> bool:
        return self in (Protocol.HTTP2, Protocol.GRPC)


class ServicePort(msgspec.Struct, frozen=True, cache_hash=True):
    """One port of a service. ``target`` is a port number, or the name of a workload's port."""

    number: int
    name: str
    protocol: Protocol
    target: int | str


class ExternalAddress(msgspec.Struct, frozen=True, cache_hash=True):
    """Where an external service really is: a DNS name or an IP address, and a port."""

    host: str
    port: int


class Service(msgspec.Struct, frozen=True, cache_hash=True):
    """A name that is called.

    ``hosts`` are the names beside the Kubernetes spellings (external services only). ``virtual_address`` is the IPv4
    address by which it is found inside a captured namespace. ``external`` is not empty for a service outside the mesh;
    ``originate_tls`` then says that the proxy speaks TLS to it.
    """

    key: ServiceKey
    ports: tuple[ServicePort, ...]
    virtual_address: str
    source: str
    selector: Pairs = ()
    hosts: tuple[str, ...] = ()
    external: tuple[ExternalAddress, ...] = ()
    originate_tls: bool = False

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.number == number), None)

    @property
    def is_opaque(self) -> bool:
        """No port speaks HTTP: its connections are never sniffed."""
        return not any(port.protocol.is_http for port in self.ports)


class Address(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    """Where a socket is: ``path`` of a unix socket, or ``ip`` and ``port``."""

    path: str = ""
    ip: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.path or f"{self.ip}:{self.port}"


class State(enum.Enum):
    """The state of one port of a workload. Only ``SERVING`` receives new requests; ``DRAINING`` finishes what it has."""

    STARTING = "starting"
    SERVING = "serving"
    FAILING = "failing"
    DRAINING = "draining"


class Locality(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    region: str = ""
    zone: str = ""
    subzone: str = ""


class WorkloadPort(msgspec.Struct, frozen=True, cache_hash=True):
    """One port of a workload: where its proxy listens for other proxies, and where the application itself listens.

    ``number`` is the port that services target (the application's own on its captured network). Without a proxy
    the two addresses are equal.
    """

    number: int
    name: str
    protocol: Protocol
    listen: Address
    application: Address
    state: State = State.STARTING


class BoundPort(msgspec.Struct, frozen=True, cache_hash=True):
    """``ports`` capture: one address of the proxy that stands for one port of one called service."""

    service: str
    port: int
    listen: Address


class Placement(enum.Enum):
    """What a proxy is for: beside a workload, at the edge for a Gateway, or the way out of captured namespaces."""

    SIDECAR = "sidecar"
    GATEWAY = "gateway"
    EGRESS = "egress"


class Capture(enum.Enum):
    """How an application's own calls reach its proxy (see docs/concepts/capture.md). Calls to it reach its proxy in any case."""

    TRANSPARENT = "transparent"
    PROXY = "proxy"
    PORTS = "ports"
    NONE = "none"


class Workload(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """One running instance that an agent registered, or one edge or egress proxy that it runs.

    ``outbound`` is where the proxy listens for its application's calls. For a gateway, ``name`` is the Gateway's name,
    and ``gateway_ports`` maps the Gateway's listener ports to the addresses that the agent could bind.
    """

    namespace: str
    name: str
    host: str
    placement: Placement = Placement.SIDECAR
    capture: Capture = Capture.NONE
    service_account: str = ""
    labels: Pairs = ()
    locality: Locality = Locality()
    weight: int = 1
    ports: tuple[WorkloadPort, ...] = ()
    outbound: Address | None = None
    egress: Address | None = None
    """Transparent capture: the unix socket of this host's egress proxy, by which the outside is reached."""
    relay: Address | None = None
    """The unix socket of this host's host proxy, by which other hosts are reached. None: the host is alone."""
    bound: tuple[BoundPort, ...] = ()
    gateway_ports: tuple[tuple[int, Address], ...] = ()
    renewed: int = 0
    """How often another process took the proxy's sockets over (hot restart). Callers then make new connections: the old process
    cannot tell them to where it passes bytes on unread.
    """
    identity_header: bool = False
    """The application wants ``x-forwarded-client-cert``, so its proxy must understand HTTP."""

    @property
    def captured(self) -> bool:
        """What it calls goes by a proxy of ours, which has its identity."""
        return self.placement is not Placement.SIDECAR or self.capture is not Capture.NONE

    @property
    def proxied(self) -> bool:
        """A proxy of ours stands before its ports, and asks who calls."""
        return self.captured or any(port.listen != port.application for port in self.ports)


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one agent runs, whole. The newest report replaces the one before (``PUT /weft/v1/hosts/{host}``).

    ``address`` is the IP address at which other hosts reach this one's host proxy, at ``relay_port``; empty: alone.
    """

    host: str
    workloads: tuple[Workload, ...]
    address: str = ""
    relay_port: int = 15008
    lost: bool = False
    """Control's own word, never an agent's: neither the agent nor any of its proxies has been heard of for a while."""
    joined: bool = False
    """Control's own word too: it came by the door, and holds only as far as ``model.believed`` lets it whenever it is used."""


class Endpoint(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    """One address of a service's port, as a proxy uses it."""

    address: Address
    locality: Locality = Locality()
    weight: int = 1
    draining: bool = False
    workload: str = ""
    """``namespace/name`` of the workload; empty when an EndpointSlice gave the address."""
    host: str = ""
    """The host of the workload. ``address`` is good on that host; others use ``remote``, the address of its host proxy."""
    name: str = ""
    """The name by which host proxies pass a connection on (``names.peer_name``, the SNI). Empty: no proxy, no TLS."""
    remote: Address = Address()
    renewed: int = 0
    """``Workload.renewed``: of another number, connections made before are not used any more."""
    lost: bool = False
    """Its host is lost: nobody is sent there while there is another endpoint."""
