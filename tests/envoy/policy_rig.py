"""One Envoy at an edge with a guard, in front of an application that echoes: the policy filters without anything else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.envoy.harness import Answer, Echo, Rig, assignments, exchange, rig, service
from weft.model.mesh import GatewayPort
from weft.model.route import Backend, Rule, VirtualHost
from weft.model.service import Address, Capture, Placement, Protocol
from weft.model.trust import Guard, Trust
from weft.model.view import Demand, EdgePort, Upstream, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

NODE = "gateway/default/edge"
PORT = 80


class Guarded:
    """The running edge. ``guard`` replaces what guards it; every request is asked under the newest one that Envoy took."""

    def __init__(self, mesh: Rig, guard: Guard, trust: Trust) -> None:
        self.mesh = mesh
        self.value = guard
        self.trust = trust
        self.door = mesh.directory / "edge"
        self.apps: dict[str, Echo] = {}
        self.grpc: dict[str, Path] = {}
        """Sockets of services that speak gRPC, by name; each has a cluster of its own."""

    def view(self, demand: Demand) -> View:
        del demand
        cluster = service("app")
        host = VirtualHost(
            domain="*", rules=(Rule(source="HTTPRoute/default/app/rules/0", backends=(Backend(cluster),)),)
        )
        sockets = {name: (app.socket,) for name, app in self.apps.items()}
        sockets |= {name: (socket,) for name, socket in self.grpc.items()}
        protocols = {str(service(name)): Protocol.GRPC if name in self.grpc else Protocol.HTTP for name in sockets}
        return View(
            node=NODE,
            placement=Placement.GATEWAY,
            namespace="default",
            name="edge",
            capture=Capture.NONE,
            upstreams=tuple(Upstream(name=name, protocol=each, source="") for name, each in protocols.items()),
            assignments=tuple(assignments(protocols, sockets)),
            edge=(EdgePort(Address(path=str(self.door)), GatewayPort(PORT, Protocol.HTTP, (host,))),),
            guards=((0, self.value),),
            trust=self.trust,
        )

    async def guard(self, guard: Guard) -> None:
        """Another guard from now on; returns when Envoy holds it."""
        self.value = guard
        self.mesh.refresh()
        await self.mesh.fleet.settled(self.mesh.revision)

    async def ask(
        self,
        path: str = "/",
        *,
        host: str = "app.example",
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Answer:
        return await exchange(self.door, host, path, method=method, headers=headers, body=body)

    async def status(self, path: str = "/", **more: object) -> int:
        return (await self.ask(path, **more)).status  # type: ignore[arg-type] # the keywords of ask

    @property
    def seen(self) -> list[str]:
        """What reached the application."""
        return sorted(self.apps["app"].seen.elements())


@asynccontextmanager
async def guarded(
    envoy: Path, guard: Guard, trust: Trust | None = None, more: tuple[str, ...] = ()
) -> AsyncIterator[Guarded]:
    """An edge with this guard. ``more`` are further applications, by name, each with a cluster of its own."""
    async with rig(envoy) as mesh:
        made = Guarded(mesh, guard, trust or Trust())
        for name in ("app", *more):
            made.apps[name] = await mesh.echo(name)
        await mesh.proxy(NODE, made.view, made.door)
        yield made
        assert [str(each) for each in mesh.problems[NODE]] == []
