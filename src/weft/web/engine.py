"""What the API asks of the control plane beyond the store. ``weft.control`` implements it; tests bring a fake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from weft.errors import Problem
    from weft.latest import Latest
    from weft.model.mesh import Mesh, Placements
    from weft.model.status import Status
    from weft.sources.records import World
    from weft.values import Ref
    from weft.xds.status import NodeStatus


class Names(msgspec.Struct, frozen=True, rename="camel"):
    """What the resolver of captured namespaces answers: names to virtual addresses."""

    services: Mapping[str, str]
    hosts: Mapping[str, str]
    outbound_traffic: str


class ResourceChange(msgspec.Struct, frozen=True):
    """``change``: added, changed or removed. ``type``: listener, route, cluster, endpoint or virtual host."""

    change: str
    type: str
    name: str
    source: str


class ProxyDiff(msgspec.Struct, frozen=True):
    node: str
    changes: tuple[ResourceChange, ...]


class Shown(msgspec.Struct, frozen=True):
    """One resource of a proxy, as JSON with the names of the protobuf fields; ``source`` names the user's object."""

    type: str
    name: str
    version: str
    source: str
    resource: Mapping[str, Any]


class ServicePortShown(msgspec.Struct, frozen=True):
    """``shape``: how callers' proxies reach it (``model.trust.Shape``), and ``why``; empty outside the mesh."""

    number: int
    name: str
    protocol: str
    shape: str = ""
    why: str = ""


class EndpointCount(msgspec.Struct, frozen=True):
    """``ready`` of ``total`` workloads (or addresses of EndpointSlices) take new calls."""

    ready: int
    total: int


class ServiceShown(msgspec.Struct, frozen=True):
    """One service that can be called. ``address`` is its virtual one; ``hosts`` and ``external`` (``host:port``) are those
    of a service outside the mesh; ``source`` names the object that declares it.
    """

    namespace: str
    name: str
    ports: tuple[ServicePortShown, ...]
    address: str
    endpoints: EndpointCount
    hosts: tuple[str, ...]
    external: tuple[str, ...]
    source: str


class Engine(Protocol):
    """Every method answers from values at hand, quickly; only ``diff`` builds anything."""

    def problems(self) -> tuple[Problem, ...]:
        """Every current problem of compiling and building."""

    def statuses(self) -> Mapping[Ref, Status]:
        """What the compiler says of each object."""

    def settled(self) -> Latest[int]:
        """The store's revision that statuses and problems speak of; set after every compile."""

    def proxies(self) -> tuple[NodeStatus, ...]:
        """Every proxy that is or was connected, sorted by node."""

    def resources(self, node: str, kind: str, state: str) -> tuple[Shown, ...] | None:
        """What a proxy shall have (``wanted``) or acknowledged (``held``); ``kind`` empty: all. None: no such proxy."""

    def held(self, node: str) -> bytes | None:
        """Length-prefixed delta responses for the agent's copy. None: no such proxy."""

    async def diff(self, world: World) -> tuple[ProxyDiff, ...]:
        """What each proxy would receive if the world were that one."""

    async def preview(self, world: World) -> Mesh:
        """The mesh that a world would compile to."""

    def placements(self, host: str) -> Latest[Placements | None]:
        """What an agent shall run. The cell is set at every change; equal values may follow each other.

        None until every source was read: an agent that is told "nothing" stops all that it runs.
        """

    def names(self) -> Latest[Names | None]:
        """The names that resolve; None until every source was read."""

    def mesh(self) -> Mesh | None:
        """The compiled mesh; None until every source was read."""

    def services(self) -> tuple[ServiceShown, ...]:
        """Every service of the mesh, sorted by namespace and name."""

    def not_ready(self) -> tuple[Problem, ...]:
        """Why proxies cannot be served yet, sources that were not read included (WFT-1520); empty when they are."""

    def confirm_removals(self, node: str) -> int:
        """Let go what the mass-removal guard holds back for a proxy; how many resources that is."""

    async def acknowledged(self, revision: int, seconds: float) -> bool:
        """Whether every connected proxy answered ``revision`` or a later one within ``seconds``."""

    def metrics(self) -> str:
        """Prometheus text, each line ended."""
