"""A control plane that says what a test tells it to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.latest import Latest
from weft.model.mesh import Mesh, Placements
from weft.web.engine import Names, ProxyDiff, ResourceChange, ServiceShown, Shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.errors import Problem
    from weft.model.status import Status
    from weft.sources.records import World
    from weft.values import Ref
    from weft.xds.status import NodeStatus


class FakeEngine:
    def __init__(self) -> None:
        self.said: list[Problem] = []
        self.status: dict[Ref, Status] = {}
        self.nodes: list[NodeStatus] = []
        self.shown: dict[str, tuple[Shown, ...]] = {}
        self.held_bytes: dict[str, bytes] = {}
        self.confirmed: list[str] = []
        self.waiting: list[Problem] = []
        self.imagined: list[World] = []
        self.compiled: Latest[int] = Latest(0)
        self.placed: dict[str, Latest[Placements | None]] = {}
        self.compiled_mesh: Mesh | None = None
        self.previewed: Mesh | None = None
        self.callable: list[ServiceShown] = []
        self.named: Latest[Names | None] = Latest(Names({}, {}, "registryOnly"))

    def problems(self) -> tuple[Problem, ...]:
        return tuple(self.said)

    def statuses(self) -> Mapping[Ref, Status]:
        return self.status

    def settled(self) -> Latest[int]:
        return self.compiled

    def proxies(self) -> tuple[NodeStatus, ...]:
        return tuple(self.nodes)

    def resources(self, node: str, kind: str, state: str) -> tuple[Shown, ...] | None:
        found = self.shown.get(node) if state == "wanted" else ()
        return None if found is None else tuple(each for each in found if kind in ("", each.type))

    def held(self, node: str) -> bytes | None:
        return self.held_bytes.get(node)

    async def preview(self, world: World) -> Mesh:
        self.imagined.append(world)
        found = self.previewed or self.compiled_mesh
        assert found is not None
        return found

    async def diff(self, world: World) -> tuple[ProxyDiff, ...]:
        self.imagined.append(world)
        changes = tuple(
            ResourceChange("changed", "route", str(record.ref), record.ref.path) for record in world.records
        )
        return (ProxyDiff("sidecar/default/a", changes),)

    def placements(self, host: str) -> Latest[Placements | None]:
        return self.placed.setdefault(host, Latest(Placements()))

    def names(self) -> Latest[Names | None]:
        return self.named

    def mesh(self) -> Mesh | None:
        return self.compiled_mesh

    def services(self) -> tuple[ServiceShown, ...]:
        return tuple(self.callable)

    def not_ready(self) -> tuple[Problem, ...]:
        return tuple(self.waiting)

    def confirm_removals(self, node: str) -> int:
        self.confirmed.append(node)
        return 3

    async def acknowledged(self, revision: int, seconds: float) -> bool:
        return revision <= self.compiled.value and seconds > 0

    def metrics(self) -> str:
        return "# TYPE weft_fake gauge\nweft_fake 1\n"
