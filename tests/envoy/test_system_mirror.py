"""Copies of requests on the running system: they begin with the first request to a service that nobody called before."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support import system, verbs

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

CALLS: Final = 10
ROUTE: Final = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{group: "", kind: Service, name: back}]
  rules:
  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: back-v2, port: 80}}}]
    backendRefs: [{name: back-v1, port: 80}]
"""
CALL: Final = f"""
import http.client
for number in range({CALLS}):
    connection = http.client.HTTPConnection("back", timeout=20)
    connection.request("GET", "/")
    print(connection.getresponse().read().decode().split()[1])
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_every_request_to_a_cold_service_but_perhaps_the_first_is_copied() -> None:
    async with system.running() as mesh:
        await mesh.apply(ROUTE)
        revision = (await mesh.ask("/weft/v1/history"))["revision"]

        async def compiled() -> bool:
            return bool((await mesh.ask("/weft/v1/problems"))["revision"] >= revision)

        await mesh.until(compiled, "the route is compiled")
        assert (await verbs.inside(mesh, "front-v1-0", CALL)).out.split() == ["v1"] * CALLS

        async def copied() -> bool:
            counted = await verbs.stats(mesh, "front-v1-0", r"^cluster\.outbound\|80\|\|back-v2\..*upstream_rq_total$")
            return sum(counted.values()) >= CALLS - 1

        await mesh.until(copied, "the copies arrived")
