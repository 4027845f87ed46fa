"""What a user does to hosts while calls go between them: one joins, one leaves, an agent or the control plane is started anew,
the control plane cannot be reached. Nothing fails.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from tests.support import hosts, system
from tests.support.hosts import Host, Rig, rig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]

RATE: Final = 50
CALL: Final = "/call/back/"


def mesh(capture: str, *where: str, front: str = "anna", each: int = 1) -> str:
    """``front`` calls ``back``, of which there are so many on each host."""
    return f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    front:
      command: [{sys.executable}, {system.ECHO}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      expose: {{port: 8080}}
      capture: {capture}
      hosts: [{front}]
    back:
      command: [{sys.executable}, {system.ECHO}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      replicas: {each * len(where)}
      hosts: [{", ".join(where)}]
      capture: {capture}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def answering(made: Rig) -> set[str]:
    """Which ``back`` answered the last few calls."""
    bodies = [(await made.control.get(CALL))[1].split() for _ in range(16)]
    return {body[2] for body in bodies if len(body) > 2}


async def both_answer(made: Rig) -> bool:
    return await answering(made) == {"default/back-v1-0", "default/back-v1-1"}


def pid_of(host: Host, program: str) -> int:
    """0: it does not run."""
    return next((pid for pid, command in host.left().items() if f"weft.{program}" in command.split()), 0)


@pytest.mark.parametrize("capture", ["proxy", "transparent"])
async def test_a_host_joins_leaves_and_comes_back_under_load(capture: str) -> None:
    async with rig(mesh(capture, "anna", "bert"), 2, joined=False) as made:
        bert = made["bert"]
        await made.control.until_answered(CALL)

        async def joins() -> None:
            await made.join(bert)
            await made.control.until(partial(both_answer, made), "the new host answers")

        load = await made.control.during(CALL, 20, joins, rate=RATE)
        assert load.failed == 0, load.failures

        async def leaves() -> None:
            code, out, err = await bert.weft("down")
            assert code == 0, (out, err)

            async def gone() -> bool:
                return not bert.left()

            await bert.until(gone, "nothing of the host is left")

        load = await made.control.during(CALL, 12, leaves, rate=RATE)
        assert load.failed == 0, load.failures
        assert await answering(made) == {"default/back-v1-0"}

        async def returns() -> None:
            code, out, err = await bert.weft("up", "-d")
            assert code == 0, (out, err)
            await made.control.until(partial(both_answer, made), "the host is back")

        load = await made.control.during(CALL, 20, returns, rate=RATE)
        assert load.failed == 0, load.failures


async def test_what_a_host_that_leaves_is_still_answering_is_answered() -> None:
    async with rig(mesh("proxy", "anna", "bert"), 2) as made:
        bert = made["bert"]
        await made.until_everything_serves()
        await made.control.until(partial(both_answer, made), "both answer")
        found: list[tuple[int, str]] = []

        async def slow() -> None:
            found.append(await made.control.get("/call/back/slow/3"))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(slow)

            async def under_way() -> bool:
                text = await bert.ask_agent_text("/v1/proxies/default/back-v1-1/admin/stats?filter=rq_active")
                return any(int(each) for each in re.findall(r"inbound\S*rq_active: (\d+)", text))

            await made.control.until(under_way, "the host that leaves is answering")
            code, out, err = await bert.weft("down")
            assert code == 0, (out, err)
        assert {status for status, _ in found} == {200}, found


async def agent_again(made: Rig) -> None:
    """The agent of the joined host is killed, and started again."""
    bert = made["bert"]
    bert.kill_pid(pid_of(bert, "agent"))
    code, out, err = await bert.weft("up", "-d")
    assert code == 0, (out, err)


async def control_again(made: Rig) -> None:
    """Control is killed; the agent beside it starts it again."""
    before = pid_of(made.control, "control")
    made.control.kill_pid(before)

    async def another() -> bool:
        return pid_of(made.control, "control") not in (0, before)

    await made.control.until(another, "control runs again")
    await made.control.until(partial(hosts.door_answers, made.control.address), "control is ready")


@pytest.mark.parametrize("how", [agent_again, control_again])
async def test_what_manages_joined_hosts_is_started_anew_under_load(how: Callable[[Rig], Awaitable[None]]) -> None:
    async with rig(mesh("transparent", "anna", "bert"), 2) as made:
        bert = made["bert"]
        await made.until_everything_serves()
        await made.control.until(partial(both_answer, made), "both answer")
        envoys = {pid for pid, command in bert.left().items() if "/envoy " in command}

        async def act() -> None:
            await how(made)

            async def connected() -> bool:
                return all(item["connected"] for item in (await made.control.proxies()).values())

            await made.control.until(connected, "every proxy has its control plane")
            made.control.file.write_text(mesh("transparent", "anna", "bert", each=2))

            async def grown() -> bool:
                return "default/back-v1-3" in await answering(made)

            await made.control.until(grown, "the joined host runs what is new")

        load = await made.control.during(CALL, 25, act, rate=RATE)
        assert load.failed == 0, load.failures
        assert envoys <= set(bert.left()), "no Envoy was started anew"


async def inbound(host: Host, workload: str) -> Path:
    """The unix socket at which a workload's proxy takes calls."""
    text = await host.ask_agent_text(f"/v1/proxies/default/{workload}/admin/listeners")
    found = re.search(r"^inbound\|8080::(\S+)$", text, re.MULTILINE)
    assert found, text
    return Path(found[1])


async def test_joined_hosts_call_each_other_while_nobody_reaches_the_control_plane() -> None:
    away = float(os.environ.get("WEFT_AWAY_SECONDS", "20"))
    async with rig(mesh("proxy", "bert", "cleo", front="bert"), 3) as made:
        await made.until_everything_serves()
        await made.control.until(partial(both_answer, made), "both answer")
        where = await inbound(made["bert"], "front-v1-0")
        made.control.cable(plugged=False)
        load = await system.load(where, CALL, seconds=away, rate=RATE)
        assert load.failed == 0, load.failures
        assert len(load.bodies) == 2, "both answered"
        made.control.cable(plugged=True)
        load = await system.load(where, CALL, seconds=10, rate=RATE)
        assert load.failed == 0, load.failures

        async def whole() -> bool:
            items = (await made.control.ask("/weft/v1/hosts"))["items"]
            proxies = (await made.control.proxies()).values()
            return not any(item["lost"] for item in items) and all(item["connected"] for item in proxies)

        await made.control.until(whole, "control has every host and every proxy again")
        await made.control.until(partial(both_answer, made), "and calls from its host reach them")
