"""E13 on several hosts: the root is replaced under load between them; nothing fails, and the old is refused everywhere after."""

from __future__ import annotations

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
        found = await host_faults.root_rotated(made, seconds=20, rate=100)
        assert found.figures["failed"] == 0, found
        assert found.figures["cut"] == 0, found
        assert found.figures["old_accepted"] == 0, found
