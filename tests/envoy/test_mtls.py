"""Two real proxies and mutual TLS between them: every shape, and changes of shape under load."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.envoy.harness import Echo, Rig, exchange, rig, service, sidecar, until
from weft.model.route import Backend, Rule, VirtualHost
from weft.model.service import Address, Capture, Endpoint, Placement, Protocol, WorkloadPort
from weft.model.trust import Guard, Peers, Shape, TlsMode, Trust
from weft.model.view import Assignment, Demand, Upstream, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = [pytest.mark.envoy]
CALLER, CALLEE = "sidecar/default/caller", "sidecar/default/web-v1-0"
CALLER_ID, CALLEE_ID = "spiffe://local/ns/default/sa/caller", "spiffe://local/ns/default/sa/web"
PORT = 9080


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Pair:
    """A caller's proxy, a callee's proxy and its application. What is changed here holds after ``refresh``."""

    def __init__(self, mesh: Rig, app: Path, protocol: Protocol) -> None:
        self.mesh = mesh
        self.app = app
        self.protocol = protocol
        self.guard: Guard | None = Guard()
        self.peers = Peers(identities=(CALLEE_ID,), shape=Shape.RAW)
        self.trust = Trust()
        self.out = mesh.directory / "out"
        self.inside = mesh.directory / "in"

    def caller(self, demand: Demand) -> View:
        made = sidecar(self.mesh, _host, {"web": (self.inside,)}, self.protocol)(demand)
        upstreams = tuple(msgspec.structs.replace(each, peers=self.peers) for each in made.upstreams)
        ends = tuple(
            msgspec.structs.replace(each, endpoints=tuple(self.named(end) for end in each.endpoints))
            for each in made.assignments
        )
        return msgspec.structs.replace(made, upstreams=upstreams, assignments=ends)

    def named(self, end: Endpoint) -> Endpoint:
        return msgspec.structs.replace(end, name="9080.web-v1-0.default.a.h.weft") if self.guard else end

    def callee(self, _demand: Demand) -> View:
        port = WorkloadPort(PORT, "http", self.protocol, Address(path=str(self.inside)), Address(path=str(self.app)))
        return View(
            node=CALLEE,
            placement=Placement.SIDECAR,
            namespace="default",
            name="web-v1-0",
            capture=Capture.PROXY,
            inbound=(port,),
            guards=((PORT, self.guard),) if self.guard else (),
            trust=self.trust,
        )

    async def change(self, **fields: Any) -> None:  # noqa: ANN401 - fields of this class
        for name, value in fields.items():
            setattr(self, name, value)
        self.mesh.refresh()
        await self.mesh.fleet.settled(self.mesh.revision)

    async def start(self) -> None:
        self.mesh.secrets.give(CALLER, CALLER_ID)
        self.mesh.secrets.give(CALLEE, CALLEE_ID)
        await self.mesh.proxy(CALLEE, self.callee, self.inside)
        await self.mesh.proxy(CALLER, self.caller, self.out)

    async def stats(self, node: str, pattern: str) -> dict[str, int]:
        text = await self.mesh.admin(node, f"/stats?usedonly&filter={pattern}")
        return {
            name: int(value)
            for name, _, value in (line.partition(": ") for line in text.splitlines())
            if value.isdigit()
        }


def _host(name: str) -> VirtualHost:
    return VirtualHost(
        domain=name, rules=(Rule(source="Service/default/web", backends=(Backend(service("web", PORT)),)),)
    )


@asynccontextmanager
async def pair(envoy: Path, protocol: Protocol = Protocol.HTTP, **fields: Any) -> AsyncIterator[tuple[Pair, Echo]]:  # noqa: ANN401
    async with rig(envoy) as mesh:
        app = await mesh.echo("web")
        made = Pair(mesh, app.socket, protocol)
        for name, value in fields.items():
            setattr(made, name, value)
        await made.start()
        yield made, app


@pytest.mark.parametrize("shape", [Shape.RAW, Shape.HTTP])
@pytest.mark.parametrize("mode", list(TlsMode))
async def test_a_call_arrives_by_each_shape(envoy_binary: Path, shape: Shape, mode: TlsMode) -> None:
    peers = Peers(identities=(CALLEE_ID,), shape=shape)
    async with pair(envoy_binary, peers=peers, guard=Guard(mode=mode)) as (both, _):
        answer = await exchange(both.out, "web", "/x")
        assert answer.status == 200, answer.body + both.mesh.log(CALLER).encode() + both.mesh.log(CALLEE).encode()
        assert answer.seen["path"] == "/x"
        print(await both.stats(CALLEE, "downstream_cx_total|ssl"))
