"""``weft --context``: another weft by the URL of its API and its token."""

from __future__ import annotations

import json
import socket

import pytest

from tests.support import system, verbs

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_objects_and_proxies_are_within_reach_and_processes_are_not() -> None:
    url = f"127.0.0.1:{free()}"
    async with system.running(listen=url) as mesh:
        # No socket of this machine leads there.
        elsewhere = {"WEFT_RUNTIME_DIR": str(mesh.directory / "nowhere"), "WEFT_CONTEXT": f"http://{url}"}
        refused = await verbs.weft(mesh, "get", "mesh", **elsewhere)
        assert (refused.code, refused.out) == (1, "")
        assert "WEFT_TOKEN" in refused.err
        elsewhere["WEFT_TOKEN"] = (mesh.state / "api-token").read_text().strip()
        assert (await verbs.weft(mesh, "get", "mesh", "-o", "name", **elsewhere)).out == "mesh/test\n"
        assert "front-v1-0" in (await verbs.weft(mesh, "proxy", "status", **elsewhere)).out
        split = await verbs.weft(mesh, "route", "split", "back", "v1=1", "v2=1", **elsewhere)
        assert split.code == 0, split
        (change,) = json.loads((await verbs.weft(mesh, "history", "hr/back", "-o", "json", **elsewhere)).out)["items"]
        assert change["who"].startswith("token api-token with weft")
        assert "WFT-1711" in (await verbs.weft(mesh, "ps", **elsewhere)).err
