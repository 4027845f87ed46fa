"""A host is lost without a word, and comes back, under load from another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import hosts, meshes, system
from tests.support.hosts import Host, Rig, rig
from tests.support.meshes import echo, front

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]

RATE: Final = 50
FAILED_SHARE: Final = 0.1
"""Of the requests until the loss is known: what was in flight to the lost host, and what the retry budget leaves."""


def mesh(capture: str) -> str:
    line = f"capture: {capture}"
    return meshes.mesh(front(line), echo("back", "replicas: 2", "hosts: [anna, bert]", line))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def ready_endpoints(made: Rig) -> int:
    items = (await made.control.ask("/weft/v1/services"))["items"]
    return int(next(item["endpoints"]["ready"] for item in items if item["name"] == "back"))


async def answers_from(made: Rig, workload: str) -> bool:
    return workload in (await made.control.get("/call/back/"))[1]


def power(host: Host) -> tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]:
    """Every process killed, and weft started again."""

    async def off() -> None:
        assert host.kill_all() > 3

    async def on() -> None:
        code, out, err = await host.weft("up", "-d")
        assert code == 0, (out, err)

    return off, on


def cable(host: Host) -> tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]:
    """No packet in or out, and then again."""

    async def off() -> None:
        host.cable(plugged=False)

    async def on() -> None:
        host.cable(plugged=True)

    return off, on


@pytest.mark.parametrize(("how", "capture"), [(power, "proxy"), (cable, "transparent")], ids=["power", "cable"])
async def test_a_lost_host_is_missed_for_moments_and_returns_without_a_failure(
    how: Callable[[Host], tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]], capture: str
) -> None:
    async with rig(mesh(capture), 2) as made:
        await made.until_everything_serves()
        await made.control.until(lambda: answers_from(made, "back-v1-1"), "the other host answers")
        off, on = how(made["bert"])

        async def lose() -> None:
            await off()

            async def known() -> bool:
                return await ready_endpoints(made) == 1

            await made.control.until(known, "control takes the host for lost", 40)

        before = await made.control.during("/call/back/", 20, lose, rate=RATE)
        assert before.failed <= before.sent * FAILED_SHARE, before.failures
        without = await made.control.load("/call/back/", 3, rate=RATE)
        assert without.failed == 0, without.failures

        async def restore() -> None:
            await on()
            await made.control.until(lambda: answers_from(made, "back-v1-1"), "the host is back")

        after = await made.control.during("/call/back/", 10, restore, rate=RATE)
        assert after.failed == 0, after.failures


async def test_the_only_host_of_a_service_stays_when_it_is_silent() -> None:
    text = mesh("proxy").replace("replicas: 2", "replicas: 1").replace("[anna, bert]", "[bert]")
    async with rig(text, 2) as made:
        await made.until_everything_serves()
        await made.control.until_answered("/call/back/")
        made["bert"].cable(plugged=False)

        async def lost() -> bool:
            items = (await made.control.ask("/weft/v1/hosts"))["items"]
            return any(item["host"] == "bert" and item["lost"] for item in items)

        await made.control.until(lost, "control takes the host for lost", 40)
        assert await ready_endpoints(made) == 1, "control may be the one that is cut off"
        made["bert"].cable(plugged=True)
        await made.control.until_answered("/call/back/")


FETCH: Final = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode().strip())
"""


async def test_a_joined_host_goes_on_while_the_one_with_the_control_plane_is_away() -> None:
    text = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    front: {{command: [{sys.executable}, {system.ECHO}], port: 8080, capture: transparent, hosts: [bert]}}
    back: {{command: [{sys.executable}, {system.ECHO}], port: 8081, env: {{PORT: 8081}}, capture: proxy, hosts: [bert]}}
"""
    async with rig(text, 2) as made:
        await made.until_everything_serves()
        bert = made["bert"]

        async def called() -> bool:
            said = await bert.weft("exec", "front-v1-0", "--", sys.executable, "-c", FETCH, "http://back:8081/")
            return said[0] == 0 and said[1].startswith("back v1 ")

        await bert.until(called, "front calls back")
        held = bert.state / "agent" / "held" / "sidecar.default.front-v1-0.bin"

        async def remembered() -> bool:
            return held.exists() and b"back.default" in held.read_bytes()

        await bert.until(remembered, "the agent keeps what the proxy holds")
        made.control.kill_all()
        assert await called()
        killed = await bert.kill("front-v1-0", "proxy")

        async def restarted() -> bool:
            row = await bert.row("front-v1-0", "proxy")
            return bool(row["state"] == "running" and row["pid"] != killed)

        await bert.until(restarted, "the agent starts the proxy again")
        await bert.until(called, "it has what it last held")
        await made.control.start()

        async def connected() -> bool:
            proxies = await made.control.proxies()
            return sum(bool(item["connected"]) for node, item in proxies.items() if node.startswith("sidecar/")) == 2

        await made.control.until(connected, "the proxies of the other host come back")
        assert await called()
