"""However everything ends, nothing of it is left running: ``running`` looks for it and fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.meshes import front, mesh
from tests.support.system import running

if TYPE_CHECKING:
    from tests.support.system import System

SMALL = mesh(front())
GRACE_SECONDS = 10.0
"""What the agent gives a process that does not end when it is told to."""

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def falls_back(system: System) -> bool:
    return any("weft.agent.fallback" in command for command in system.left().values())


async def test_nothing_is_left_when_all_ends_while_proxies_are_served_by_the_fallback() -> None:
    async with running(SMALL, control="false") as system:
        await system.kill_control()
        await system.until(lambda: falls_back(system), "the fallback runs")
        await system.stop()
        assert system.left() == {}


async def test_nothing_is_left_when_all_ends_in_the_moment_in_which_control_dies() -> None:
    async with running(SMALL) as system:
        await system.kill("control", "control")
        await system.stop()
        assert system.left() == {}


async def test_nothing_is_left_by_an_agent_that_took_over_and_is_told_to_stop() -> None:
    async with running(SMALL) as system:
        assert system.agent is not None
        await system.kill_agent()
        await system.start()
        await system.until(system.rows, "the agent is back")
        await system.ask_agent("/v1/stop", "POST")
        await system.agent.wait()
        assert system.left() == {}


async def test_nothing_waits_for_a_control_plane_that_never_comes_when_all_ends() -> None:
    """The door and the proxies wait for what only control can give them."""
    async with running(SMALL, serving=False, address="127.0.0.1", bundle_listen="nowhere") as system:

        async def looping() -> bool:
            return ("control", "crash-loop") in [(row["name"], row["state"]) for row in await system.rows()]

        await system.until(looping, "control fails again and again")
        assert system.agent is not None
        begun = time.monotonic()
        system.agent.terminate()
        await system.agent.wait()
        assert time.monotonic() - begun < GRACE_SECONDS
        assert system.left() == {}
