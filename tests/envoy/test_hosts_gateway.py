"""A Gateway on a host that joined: it listens there, has its own identity there, and moves when it is told to."""

from __future__ import annotations

import json
import sys
from typing import Final

import pytest

from tests.support import hosts, system
from tests.support.hosts import rig

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.timeout(240),
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]

MESH: Final = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    back:
      command: [{sys.executable}, {system.ECHO}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      capture: transparent
"""
EDGE: Final = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  gatewayClassName: weft
  addresses: [{{type: weft.dev/host, value: {host}}}]
  listeners: [{{name: http, port: 8000, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: back, namespace: default}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: [{{name: back, port: 80}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: by-the-edge-alone, namespace: default}}
spec:
  selector: {{matchLabels: {{app: back}}}}
  rules: [{{from: [{{source: {{principals: [local/ns/default/sa/edge-weft]}}}}]}}]
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_gateway_runs_on_the_host_that_it_names_and_moves_to_another() -> None:
    async with rig(MESH, 2) as made:
        await made.until_everything_serves()
        for name in ("bert", "anna"):
            assert (await made.control.apply(EDGE.format(host=name)))["problems"] == []
            where = (made[name].address, 8000)

            async def answered(where: tuple[str, int] = where) -> bool:
                return (await system.request(where, "shop", "/"))[0] == 200

            await made.control.until(answered, f"the Gateway answers on {name}")
            rows = {host.name: [row for row in await host.rows() if row["kind"] == "gateway"] for host in made.hosts}
            assert [row["name"] for row in rows[name]] == ["edge"]

            async def shown(name: str = name) -> bool:
                code, out, err = await made.control.weft("get", "gateway/edge", "-o", "json")
                assert code == 0, (out, err)
                found = json.loads(out)["status"]
                programmed = next(each for each in found["conditions"] if each["type"] == "Programmed")
                addresses = [each["value"] for each in found["addresses"]]
                return bool(programmed["status"] == "True" and addresses[0] == made[name].address)

            await made.control.until(shown, "its status says where it is")

        async def left() -> bool:
            return not [row for row in await made["bert"].rows() if row["kind"] == "gateway"]

        await made.control.until(left, "nothing of it is left where it was")
