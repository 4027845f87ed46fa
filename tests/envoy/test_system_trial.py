"""A policy in dry run on a whole weft: nothing changes, and its user sees what it would have done."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import system, verbs

if TYPE_CHECKING:
    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

MESH: Final = f"""{system.SHOP}
    opaque:
      command: [{sys.executable}, {system.ECHO}]
      port: 8080
      protocol: tcp
"""
DRY: Final = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %s, namespace: default, annotations: {istio.io/dry-run: "true"}}
spec: {selector: {matchLabels: {app: %s}}, %s}
---
"""
POLICIES: Final = "".join(
    (
        DRY % ("no-secrets", "back", 'action: DENY, rules: [{to: [{operation: {paths: ["/secret*"]}}]}]'),
        DRY % ("only-ops", "back", 'rules: [{from: [{source: {principals: ["local/ns/default/sa/ops"]}}]}]'),
        DRY % ("no-front", "opaque", 'action: DENY, rules: [{from: [{source: {principals: ["*/sa/front"]}}]}]'),
        DRY % ("no-back", "opaque", 'action: DENY, rules: [{from: [{source: {principals: ["*/sa/back"]}}]}]'),
        DRY % ("only-back", "opaque", 'rules: [{from: [{source: {principals: ["*/sa/back"]}}]}]'),
    )
)
SAYS: Final = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
connection.settimeout(10)
connection.sendall(b"GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
print(connection.recv(1000).decode())
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def would_have_denied(mesh: System, workload: str) -> dict[str, int]:
    """What ``weft authz list`` says, by policy."""
    out = (await verbs.weft(mesh, "authz", "list", workload)).out
    lines = [line for line in out.splitlines() if "would have denied" in line]
    words = [line.split() for line in lines]
    return {each[-1].rpartition("/")[2]: int(each[each.index("denied") + 1]) for each in words}


async def test_a_dry_run_denies_nothing_and_says_what_it_would_have_denied() -> None:
    async with system.running(MESH) as mesh:
        await mesh.until_answered("/call/back/")
        (mesh.directory / "dry.yaml").write_text(POLICIES)
        done = await verbs.weft(mesh, "apply", "-f", "dry.yaml")
        assert done.code == 0, done.err

        async def tried() -> bool:
            """The proxies hold the policies once they count."""
            assert (await mesh.get("/call/back/"))[0] == 200
            return (await would_have_denied(mesh, "back")).get("only-ops", 0) > 0

        await mesh.until(tried, "what the ALLOW policy would have denied is counted")
        before = await would_have_denied(mesh, "back")
        assert before["no-secrets"] == 0
        for path in ("secret/1", "secret/2", "secret/3", "open"):
            assert (await mesh.get(f"/call/back/{path}"))[0] == 200
        after = await would_have_denied(mesh, "back")
        assert after == {"no-secrets": 3, "only-ops": before["only-ops"] + 4}
        said = await verbs.weft(mesh, "can", "front", "back:80", "--path", "/secret/1", "-o", "json")
        assert json.loads(said.out)["verdict"] == "allowed"

        async def denied_here() -> bool:
            assert "200 OK" in (await verbs.inside(mesh, "front-v1-0", SAYS, "opaque", "8080")).out
            return (await would_have_denied(mesh, "opaque"))["no-front"] > 0

        await mesh.until(denied_here, "connections are counted as well")
        opaque = await would_have_denied(mesh, "opaque")
        assert opaque["no-back"] == 0
        assert opaque["only-back"] == opaque["no-front"]

        async def logged() -> bool:
            """Envoy writes its access log once a second."""
            replicas = ("back-v1-0", "back-v1-1", "back-v2-0")
            logs = "".join([(await verbs.weft(mesh, "logs", each, "--proxy")).out for each in replicas])
            assert '"dry_run_deny":"AuthorizationPolicy/default/no-secrets/rules/0"' in logs
            assert '"dry_run_allow":"denied"' in logs
            return True

        await mesh.until(logged, "the access log names what would have been denied")
