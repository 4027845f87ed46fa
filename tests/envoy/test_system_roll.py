"""A changed workload is replaced under load: the new one serves before the old one goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.meshes import echo, front, mesh
from tests.support.system import running

if TYPE_CHECKING:
    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

MESH = mesh(front(), echo("back", "env: {COLOUR: COLOUR_NOW}"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def pid(system: System) -> int:
    return int((await system.row("back-v1-0"))["pid"])


@pytest.mark.parametrize("capture", ["auto", "proxy"])
async def test_a_single_replica_is_replaced_twice_under_load_without_a_failed_request(capture: str) -> None:
    async with running(MESH.replace("COLOUR_NOW", "green"), capture=capture) as system:
        await system.until_answered("/call/back/")
        seen = [await pid(system)]

        async def roll() -> None:
            for colour in ("blue", "red"):
                system.file.write_text(MESH.replace("COLOUR_NOW", colour))

                async def replaced() -> bool:
                    names = [row["name"] for row in await system.rows() if row["kind"] == "app"]
                    return sorted(names) == ["back-v1-0", "front-v1-0"] and await pid(system) not in (0, *seen)

                await system.until(replaced, "the changed one has taken over")
                seen.append(await pid(system))

        result = await system.during("/call/back/", 6, roll, rate=100)
        assert result.failed == 0, (result.statuses, result.failures)
        assert len(set(seen)) == 3
        names = {
            workload["name"] for host in (await system.ask("/weft/v1/hosts"))["items"] for workload in host["workloads"]
        }
        assert "back-v1-0" in names, "the third instance has the first one's name again"
