"""A sweep that would take most of a proxy's configuration waits on the running system until somebody says that it is meant."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support import system, verbs

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

MANY: Final = 14
SERVICES: Final = "---\n".join(
    f"apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}}}\n"
    "spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}\n"
    for number in range(MANY)
)
CALL_ALL: Final = f"""
import http.client
for number in range({MANY}):
    connection = http.client.HTTPConnection(f"s{{number}}", timeout=20)
    connection.request("GET", "/")
    print(connection.getresponse().status)
"""
CALLER: Final = "front-v1-0"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def clusters(mesh: system.System, state: str) -> int:
    """How many clusters of the many services the caller's proxy shall have, or has."""
    node = f"/weft/v1/proxies/sidecar/default/{CALLER}/resources?kind=Cluster&state={state}"
    return sum(item["name"].startswith("outbound|80||s") for item in (await mesh.ask(node))["items"])


async def test_a_sweep_waits_until_it_is_confirmed() -> None:
    async with system.running() as mesh:
        assert (await verbs.weft(mesh, "apply", "--owner", "many", "-f", "-", stdin=SERVICES)).code == 0
        # Nobody stands behind these services, so the answer says so; the proxy has their clusters from now on.
        called = await verbs.inside(mesh, CALLER, CALL_ALL)
        assert called.out.split() == ["503"] * MANY, called
        assert await clusters(mesh, "held") == MANY
        swept = await verbs.weft(mesh, "apply", "--owner", "many", "--prune", "-f", "-", stdin="# nothing\n")
        assert swept.out.count("deleted") == MANY, swept

        async def kept() -> bool:
            return await clusters(mesh, "wanted") == 0 and "WFT-1404" in str(await mesh.ask("/weft/v1/problems"))

        await mesh.until(kept, "the sweep is noticed")
        assert await clusters(mesh, "held") == MANY
        status = await verbs.weft(mesh, "proxy", "status", CALLER)
        assert f"{MANY} removals are withheld" in status.out

        (remedy,) = {each["remedy"] for each in (await mesh.ask("/weft/v1/problems"))["problems"]}
        words = remedy.rpartition("run: weft ")[2].split()
        # The clusters, and the endpoints of each.
        done = await verbs.weft(mesh, *words)
        assert (done.code, done.err) == (0, f"{CALLER} loses {2 * MANY} resources.\n")

        async def gone() -> bool:
            return await clusters(mesh, "held") == 0

        await mesh.until(gone, "the proxy has lost them")
        assert "kept back" in (await verbs.weft(mesh, *words)).err
