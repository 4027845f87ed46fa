"""Every pair of services x method x path on the running system, against the oracle (``weft can``): not one answer differs.

Calls are made inside each caller's namespace, as its application would, so that its own proxy speaks for it. The oracle reads the
compiled mesh; the proxies hold what was built from it; a difference is a hole or a lie.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Final

import pytest

from tests.support.figures import figure
from tests.support.meshes import echo, front, mesh
from tests.support.system import System, running

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("nsenter"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root enters the namespaces of applications"),
]
SERVICES: Final = ("front", "cart", "pay", "open")
METHODS: Final = ("GET", "POST", "DELETE")
PATHS: Final = (
    "/",
    "/public",
    "/public/a",
    "/admin",
    "/admin/x",
    "/admin%2Fx",
    "//admin",
    "/./admin",
    "/a/../admin/x",
    "/Admin",
)
MESH: Final = mesh(front(), echo("cart"), echo("pay"), echo("open"))
EXPECTED: Final = {"allowed": (200,), "denied": (403, 503)}
"""503 where the callee closes connections and the caller did not know yet that it would be refused."""
POLICIES: Final = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay}
spec:
  selector: {matchLabels: {app: pay}}
  rules:
  - from: [{source: {principals: [local/ns/default/sa/cart]}}]
    to: [{operation: {methods: [GET, POST], notPaths: ["/admin*"]}}]
  - from: [{source: {notPrincipals: [local/ns/default/sa/cart]}}]
    to: [{operation: {paths: ["/public/*"], methods: [GET]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin}
spec:
  selector: {matchLabels: {app: open}}
  action: DENY
  rules: [{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{from: [{source: {principals: [local/ns/default/sa/front]}}]}]
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


CALLS: Final = """
import http.client, json, sys
found = []
for name, method, path in json.loads(sys.argv[1]):
    made = http.client.HTTPConnection(name, 80, timeout=20)
    made.request(method, path)
    found.append(made.getresponse().status)
    made.close()
print(json.dumps(found))
"""


async def answers(system: System, caller: str, calls: list[tuple[str, str, str]]) -> list[int]:
    """The statuses of calls that are made in the caller's namespace, in order."""
    pid = (await system.row(f"{caller}-v1-0"))["pid"]
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", CALLS, json.dumps(calls)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 100)
    found: list[int] = json.loads(out)
    return found


async def verdict(system: System, caller: str, call: tuple[str, str, str]) -> str:
    callee, method, path = call
    asked = {"caller": caller, "callee": callee, "port": 80, "method": method, "path": path, "host": callee}
    answer: dict[str, Any] = await system.ask("/weft/v1/can", "POST", json.dumps(asked))
    return str(answer["verdict"])


async def test_every_call_is_decided_as_the_oracle_says() -> None:
    async with running(MESH) as system:
        await system.apply(POLICIES)
        calls = [(callee, method, path) for callee in SERVICES for method in METHODS for path in PATHS]

        async def denied() -> bool:
            found = await answers(
                system, "front", [("pay", "GET", "/"), ("open", "GET", "/admin"), ("cart", "GET", "/")]
            )
            from_open = await answers(system, "open", [("cart", "GET", "/")])
            return found == [403, 403, 200] and from_open[0] in EXPECTED["denied"]

        await system.until(denied, "the policies hold")
        differ, counts = [], {"allowed": 0, "denied": 0}
        for caller in SERVICES:
            found = await answers(system, caller, calls)
            for call, status in zip(calls, found, strict=True):
                said = await verdict(system, caller, call)
                counts[said] += 1
                if status not in EXPECTED[said]:
                    differ.append((caller, call, status, said))
    figure("E", f"oracle: {len(differ)} of {len(SERVICES) * len(calls)} calls differ; {counts}")
    assert not differ, differ
    assert min(counts.values()) > 50, counts
