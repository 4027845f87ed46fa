"""F1 to F3: garbage, floods and clients that never read, at the control plane's sockets: it lives, stays small, serves others.

The attacker is a process of its own. Meanwhile 20 honest proxies are connected, and a route is changed again and again: the
time from the apply until all of them acknowledged is what an attack may lengthen. Memory is the control plane's.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from benchmarks import rig
from benchmarks.end_to_end import SERVICES, report, route
from tests.support.figures import figure
from tests.support.garbage import GRPC, SAID, attack
from tests.support.synthetic import clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
HONEST: Final = 20
KNOWN: Final = 60
"""Proxies that the mesh knows: the honest ones, and those whom an attacker plays."""
SECONDS: Final = float(os.environ.get("WEFT_ATTACK_SECONDS", "0.5"))
MORE_MB: Final = 100
KNOWN_SECONDS: Final = {"chunks": 60.0}
ACKNOWLEDGED: Final = 'weft_xds_events_total{event="acknowledged"} '


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Plane:
    """A control plane of its own process with honest proxies, and how long they wait for a change."""

    def __init__(self, control: rig.ControlProcess) -> None:
        self.control = control
        self.weight = 0

    async def acknowledged(self) -> int:
        lines = (await self.control.client.get("/metrics")).text.splitlines()
        return next((int(float(line.split()[-1])) for line in lines if line.startswith(ACKNOWLEDGED)), 0)

    async def until_acknowledged(self, count: int) -> None:
        with anyio.fail_after(60):
            while await self.acknowledged() < count:  # noqa: ASYNC110 - another process knows it
                await anyio.sleep(0.005)

    async def push(self) -> float:
        """Seconds from an apply until every honest proxy has acknowledged it."""
        self.weight += 1
        before = await self.acknowledged()
        begun = time.monotonic()
        await self.control.apply(route(1 + self.weight % 98))
        await self.until_acknowledged(before + HONEST)
        return time.monotonic() - begun

    async def pushes(self, seconds: float) -> list[float]:
        begun, found = time.monotonic(), []
        while time.monotonic() < begun + seconds:
            found.append(await self.push())
        return found


@asynccontextmanager
async def served() -> AsyncIterator[Plane]:
    with tempfile.TemporaryDirectory(prefix="weft-") as name:
        directory = Path(name)
        async with rig.control_process(directory) as control, clients(control.paths.xds_socket, HONEST) as honest:
            await control.apply(SERVICES + route(50))
            await control.report(report(directory, KNOWN))
            honest.connect()
            made = Plane(control)
            await made.until_acknowledged(4 * HONEST)
            yield made


@pytest.fixture(scope="module")
async def plane(anyio_backend: str) -> AsyncIterator[Plane]:  # noqa: ARG001 - its order
    async with served() as made:
        await made.pushes(1)
        yield made


def worst(found: list[float]) -> float:
    return sorted(found)[int(0.99 * len(found))]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("socket", ["xds", "control"])
@pytest.mark.parametrize("kind", [*SAID, *GRPC])
async def test_an_attack_costs_others_little_and_the_control_plane_nothing_that_stays(
    plane: Plane, kind: str, socket: str
) -> None:
    if socket == "control" and kind in GRPC:
        pytest.skip("gRPC is not spoken there: it is garbage like any other")
    control = plane.control
    where = control.paths.xds_socket if socket == "xds" else control.paths.control_socket
    before = rig.private_mb(control.pid)
    alone = await plane.pushes(SECONDS)
    beside: list[float] = []
    connected = 0
    async with anyio.create_task_group() as tasks:

        async def attacked() -> None:
            nonlocal connected
            connected = await attack(kind, SECONDS + 1, where)

        tasks.start_soon(attacked)
        await anyio.sleep(1)
        beside = await plane.pushes(SECONDS)
    after = rig.private_mb(control.pid)
    again = await plane.pushes(0.2)
    times = f"push p99 {1000 * worst(alone):.0f} -> {1000 * worst(beside):.0f} ms"
    figure("F1-3", f"{socket}.sock {kind}: {connected} connections, {times}, {after - before:+.0f} MB")
    assert connected > 0
    assert after - before < MORE_MB
    assert max(beside) < KNOWN_SECONDS.get(kind, 15.0), beside
    assert max(again) < 5, again
