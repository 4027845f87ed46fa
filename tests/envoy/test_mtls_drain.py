"""An endpoint that drains leaves its callers' pools: what is under way ends, what is idle closes, nothing fails."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.envoy.harness import rig, until
from tests.envoy.test_mtls import CALLEE, CALLEE_ID, Pair, peers
from tests.support import pressure
from weft.model.service import Address, Endpoint, Protocol
from weft.model.trust import Shape

if TYPE_CHECKING:
    from pathlib import Path

    from weft.model.view import Demand, View

pytestmark = [pytest.mark.envoy]
OTHER = "sidecar/default/web-v1-1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Replicas(Pair):
    """Two callees' proxies, of which ``draining`` are on their way out."""

    draining: frozenset[str] = frozenset()

    def caller(self, demand: Demand) -> View:
        made = super().caller(demand)
        ends = tuple(
            self.named(Endpoint(Address(path=str(where)), draining=where.name in self.draining))
            for where in (self.inside, self.other)
        )
        return msgspec.structs.replace(
            made, assignments=tuple(msgspec.structs.replace(each, endpoints=ends) for each in made.assignments)
        )

    @property
    def other(self) -> Path:
        return self.mesh.directory / "in2"

    def second(self, demand: Demand) -> View:
        made = self.callee(demand)
        (port,) = made.inbound
        port = msgspec.structs.replace(port, listen=Address(path=str(self.other)))
        return msgspec.structs.replace(made, node=OTHER, name="web-v1-1", inbound=(port,))

    async def active(self, node: str) -> int:
        """What the agent waits for: requests, or connections where those are not understood."""
        return sum((await self.stats(node, "^cluster.inbound.*upstream_rq_active")).values())

    async def left(self, node: str) -> bool:
        return await self.active(node) == 0

    async def busy(self, node: str) -> bool:
        return await self.active(node) > 0


@pytest.mark.parametrize("shape", [Shape.RAW, Shape.HTTP])
@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.GRPC])
async def test_a_draining_endpoint_is_left_without_a_failed_request(
    envoy_binary: Path, shape: Shape, protocol: Protocol
) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("web")
        both = Replicas(mesh, app.socket, protocol)
        both.peers = peers(shape)
        served = None
        if protocol is Protocol.GRPC:
            both.app = mesh.directory / "grpc.app"
            served = await pressure.grpc_echo(both.app)
        mesh.secrets.give(OTHER, CALLEE_ID)
        await mesh.proxy(OTHER, both.second, both.other)
        await both.start()
        load = pressure.grpc_calls(both.out) if protocol is Protocol.GRPC else pressure.http1(both.out)
        async with load as callers:
            for node, name in ((OTHER, "in2"), (CALLEE, "in")) * 2:
                await both.change(draining=frozenset())
                await until(partial(both.busy, node))
                await both.change(draining=frozenset({name}))
                await until(partial(both.left, node))
                await callers.more(50)
                assert await both.active(node) == 0
            assert callers.failures == []
        if served:
            await served.stop(None)


async def test_while_all_of_them_drain_the_last_ones_still_answer(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("web")
        both = Replicas(mesh, app.socket, Protocol.HTTP)
        mesh.secrets.give(OTHER, CALLEE_ID)
        await mesh.proxy(OTHER, both.second, both.other)
        await both.start()
        async with pressure.http1(both.out) as callers:
            await both.change(draining=frozenset({"in", "in2"}))
            await callers.more(100)
            assert callers.failures == []
