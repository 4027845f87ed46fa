"""E13 on several hosts: the root is replaced under load between them; nothing fails, and the old is refused everywhere after."""

from __future__ import annotations

import anyio
import pytest

from tests.support import host_faults, hosts
from tests.support.hosts import rig

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(("count", "capture"), [(2, "proxy"), (3, "transparent")])
async def test_a_root_is_rotated_under_load_across_hosts_and_the_old_is_refused_after(count: int, capture: str) -> None:
    async with rig(host_faults.mesh(hosts.NAMES[:count], capture), count) as made:
        found = await host_faults.root_rotated(made, seconds=24, rate=100)
        assert found.figures["failed"] == 0, found
        assert found.figures["cut"] == 0, found
        assert found.figures["old_accepted"] == 0, found


@pytest.mark.parametrize("revoked", [False, True], ids=["prepared", "revoked"])
async def test_a_host_that_was_away_during_a_rotation_returns_or_says_what_to_do(revoked: bool) -> None:
    async with rig(host_faults.mesh(hosts.NAMES[:2], "transparent"), 2) as made:
        await host_faults.ready(made)
        bert, log = made["bert"], made["bert"].state / "logs" / "agent.log"
        bert.cable(plugged=False)

        async def lost() -> bool:
            items = (await made.control.ask("/weft/v1/hosts"))["items"]
            return any(item["host"] == "bert" and item["lost"] for item in items)

        await made.control.until(lost, "control takes the host for lost, and no connection of before is left")
        words = ("rotate", "--force", "--timeout", "60") if revoked else ("prepare",)
        code, out, err = await made.control.weft("trust", *words)
        assert code == 0, (out, err)
        bert.cable(plugged=True)
        if revoked:

            async def said() -> bool:
                return "WFT-1865" in await anyio.Path(log).read_text()

            await bert.until(said, "it says that it must join again")
            assert (await bert.weft("down"))[0] == 0
            await made.join(bert)
        await made.control.until(lambda: host_faults.answers_everywhere(made), "the host is back")
        assert revoked or "WFT-1865" not in await anyio.Path(log).read_text()
