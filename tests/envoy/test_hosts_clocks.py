"""E17 on two hosts: one whose wall clock is five minutes off joins, gets its certificates, and is called and calls."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.support import clocks, host_faults, hosts
from tests.support.figures import figure
from tests.support.hosts import rig

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("ip", "nsenter", "gcc"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]
OFF = 300


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("seconds", [OFF, -OFF])
async def test_a_host_whose_clock_is_five_minutes_off_joins_calls_and_is_called(tmp_path: Path, seconds: int) -> None:
    shifted = {"bert": clocks.environ(tmp_path, seconds)}
    async with rig(host_faults.both_ways("bert"), 2, clocks=shifted) as made:
        found = await host_faults.clock_off(made, "bert", seconds=8, rate=50)
        assert found.figures["failed"] == 0, found
        assert abs(found.figures["off_seconds"] - OFF) < 60, "the clocks are apart"
        assert abs(await envoys_clock(made["bert"]) - seconds) < 60, "the proxy's is, too"
        figure("E17", f"{seconds:+d} s: {found}")


async def envoys_clock(host: hosts.Host) -> float:
    """How many seconds ahead the proxy of ``there`` is, by the call that it logged last."""
    times: list[datetime] = []

    async def logged() -> bool:
        text = await host.ask_agent_text("/v1/processes/default/there-v1-0/logs?proxy=true&lines=50")
        times.extend(datetime.fromisoformat(found) for found in re.findall(r'"time": ?"([^"]+)"', text)[-1:])
        return bool(times)

    await host.until(logged, "its proxy logged a call")
    return (times[-1] - datetime.now(UTC)).total_seconds()
