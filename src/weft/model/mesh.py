"""The whole mesh as one value: the result of compiling, and the only input of a view."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

import msgspec

from weft.model.policy import ServicePolicy
from weft.model.route import RouteSet, VirtualHost
from weft.model.service import Address, Capture, Endpoint, Protocol, Service, Workload
from weft.model.trust import Guard, Peers, Trust
from weft.names import ServiceKey
from weft.values import Pairs


class OutboundTraffic(enum.Enum):
    """What happens to a call to a name that nobody has: refuse and explain, or pass it on."""

    REGISTRY_ONLY = "registryOnly"
    ALLOW_ANY = "allowAny"


class GatewayPort(msgspec.Struct, frozen=True, cache_hash=True):
    """One port of a Gateway: all its listeners on that port merged into virtual hosts, most specific domain first."""

    number: int
    protocol: Protocol
    hosts: tuple[VirtualHost, ...]


class Gateway(msgspec.Struct, frozen=True, cache_hash=True):
    """``host`` runs its proxy; empty: the one that runs control."""

    namespace: str
    name: str
    source: str
    ports: tuple[GatewayPort, ...] = ()
    host: str = ""


class HealthCheck(msgspec.Struct, frozen=True, cache_hash=True):
    """How the agent learns that an application is ready. ``kind`` tcp: it listens; http: ``path`` answers 200-399; grpc."""

    kind: str = "tcp"
    path: str = "/"
    port: str | int = ""
    interval_seconds: float = 1.0
    timeout_seconds: float = 1.0


class PortSpec(msgspec.Struct, frozen=True, cache_hash=True):
    number: int
    name: str
    protocol: Protocol


class Attest(msgspec.Struct, frozen=True, cache_hash=True):
    """What a process must be to get a workload's identity from the Workload API; all that is given must hold.

    ``uid`` and ``gid`` are numbers or names; ``exe`` and ``script`` are absolute paths; ``sha256`` is the executable's, in
    hexadecimal; ``cgroup`` is a path that the process's own begins with.
    """

    uid: str = ""
    gid: str = ""
    exe: str = ""
    sha256: str = ""
    script: str = ""
    cgroup: str = ""


class ProcessSpec(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """One application instance that an agent shall run, named ``<service>-<version>-<replica>``.

    ``capture`` None means ``auto``. ``command`` is an argument vector, empty when something else runs it and only ``attest``
    says who it is; ``directory`` is absolute.
    """

    namespace: str
    name: str
    service: str
    version: str
    command: tuple[str, ...]
    service_account: str = ""
    labels: Pairs = ()
    environment: Pairs = ()
    directory: str = ""
    ports: tuple[PortSpec, ...] = ()
    needs: tuple[str, ...] = ()
    bound: tuple[tuple[str, int, Protocol], ...] = ()
    """(service, port, protocol) of everything it may call, for ``ports`` capture."""
    health: HealthCheck = HealthCheck()
    capture: Capture | None = None
    source: str = ""
    host: str = ""
    """The host that runs it; empty: the one that runs control."""
    user: str = ""
    """The user that it runs as, by name or number; empty: the agent's own."""
    attest: Attest | None = None
    """Who gets its identity beside being of the process tree that the agent started; with no command, who gets it at all."""

    @property
    def proxied(self) -> bool:
        """It gets a proxy: to be called by, or to call by. Nobody captures what the agent does not start."""
        return bool(self.ports) or (bool(self.command) and self.capture is not Capture.NONE)


class GatewaySpec(msgspec.Struct, frozen=True, cache_hash=True):
    """One edge proxy that an agent shall run: the ports that it must try to bind. ``host`` as a process has it."""

    namespace: str
    name: str
    ports: tuple[int, ...]
    host: str = ""


class Placements(msgspec.Struct, frozen=True, cache_hash=True, dict=True):
    """Everything one agent shall run (``GET /weft/v1/placements``, one JSON line per change with ``?watch=true``)."""

    processes: tuple[ProcessSpec, ...] = ()
    gateways: tuple[GatewaySpec, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], ProcessSpec]:
        """(namespace, name) to the process; the compiler gives no name twice. Made when it is first asked for."""
        return MappingProxyType({(each.namespace, each.name): each for each in self.processes})


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """Everything compiled. Mappings are read-only views (``MappingProxyType``); nothing changes after construction.

    ``endpoints`` holds, per service and port number, every address that may be sent to, sorted. It is apart from
    ``services`` so that an endpoint change leaves every cluster and route equal.
    """

    services: Mapping[ServiceKey, Service]
    routes: Mapping[tuple[ServiceKey, int], RouteSet]
    policies: Mapping[ServiceKey, ServicePolicy]
    endpoints: Mapping[tuple[ServiceKey, int], tuple[Endpoint, ...]]
    external_hosts: Mapping[str, ServiceKey]
    """DNS name of an external service (exact, lower case, or ``*.suffix``) to its service."""
    addresses: Mapping[str, ServiceKey]
    """Virtual address to its service."""
    gateways: Mapping[tuple[str, str], Gateway]
    workloads: Mapping[tuple[str, str], Workload]
    """(namespace, name) of every registered sidecar workload."""
    proxies: Mapping[str, Workload]
    """xDS node id of every proxy an agent registered: sidecars, gateways, egress."""
    placements: Placements = Placements()
    outbound_traffic: OutboundTraffic = OutboundTraffic.REGISTRY_ONLY
    trust: Trust = Trust()
    guards: Mapping[tuple[str, str], tuple[tuple[int, Guard], ...]] = MappingProxyType({})
    """Of every workload in ``workloads``, what guards each of its ports, sorted by port."""
    gateway_guards: Mapping[tuple[str, str], Guard] = MappingProxyType({})
    peers: Mapping[tuple[ServiceKey, int], Peers] = MappingProxyType({})
    """How each port of each service inside the mesh is reached."""
    hosts: Mapping[str, Address] = MappingProxyType({})
    """Where each host's host proxy takes connections from other hosts."""


def unix(path: str) -> Address:
    """The address of a unix socket."""
    return Address(path=path)
