"""Where a Gateway is reached on the running system, and what happens when somebody else has its port."""

from __future__ import annotations

import json
import socket
from typing import Final

import pytest

from tests.support import system, verbs

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

GATEWAY: Final = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: weft
  listeners: [{{name: web, port: {port}, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: edge}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: [{{name: back, port: 80}}]}}]
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def taken(port: int = 0) -> socket.socket | None:
    """Another program on a port of loopback; None while somebody else has it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the one before may linger
    try:
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        return None
    made.listen()
    return made


async def test_a_gateway_whose_port_is_taken_says_which_one_it_has_instead() -> None:
    busy = taken()
    assert busy is not None
    with busy:
        port = busy.getsockname()[1]
        async with system.running() as mesh:
            await mesh.apply(GATEWAY.format(port=port))

            async def programmed() -> bool:
                shown = json.loads((await verbs.weft(mesh, "get", "gateway/edge", "-o", "json")).out)
                conditions = {each["type"]: each["status"] for each in shown.get("status", {}).get("conditions", [])}
                return conditions.get("Programmed") == "True" and "addresses" in shown["status"]

            await mesh.until(programmed, "the gateway is programmed")
            shown = json.loads((await verbs.weft(mesh, "get", "gateway/edge", "-o", "json")).out)
            first, second = shown["status"]["addresses"]
            assert first == {"type": "IPAddress", "value": "127.0.0.1"}
            url = second["value"]
            number = int(url.rpartition(":")[2])
            assert (second["type"], url) == ("weft.dev/url", f"http://127.0.0.1:{number}")
            assert number != port
            assert (await system.request(("127.0.0.1", number), "localhost", "/"))[0] == 200
            for words in (("get", "gateways"), ("describe", "gateway/edge"), ("ps",)):
                assert url in (await verbs.weft(mesh, *words)).out, words


async def test_a_port_that_is_taken_after_it_was_chosen_is_exchanged() -> None:
    async with system.running() as mesh:
        before = (await mesh.gateway())[1]
        await mesh.kill("exposed", "gateway")
        # The Envoy that is started again finds somebody else on the port that was chosen for it.
        other: list[socket.socket] = []

        async def bound() -> bool:
            other.extend(made for made in [taken(before)] if made is not None)
            return bool(other)

        await mesh.until(bound, "the port is free for a moment", seconds=5)
        with other[0]:

            async def moved() -> bool:
                address = await mesh.gateway()
                return address[1] != before and (await system.request(address, "localhost", "/"))[0] == 200

            await mesh.until(moved, "the gateway answers on another port")
            nodes = (await verbs.weft(mesh, "proxy", "status")).out
            assert "REFUSED" not in nodes
