"""Policy as its user meets it, with real proxies: who may call, why not, for how long, and who is shut out (promise E18)."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support import system, verbs
from tests.support.figures import figure

if TYPE_CHECKING:
    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

FRONT: Final = "spiffe://local/ns/default/sa/front"
CALL: Final = "/call/back/"
MESH: Final = f"""{system.SHOP}
    opaque:
      command: [{sys.executable}, {system.ECHO}]
      port: 8080
      protocol: tcp
"""
DENY: Final = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets, namespace: default}
spec:
  action: DENY
  rules:
  - from: [{source: {principals: ["*/sa/front"]}}]
    to: [{operation: {paths: ["/secret*"]}}]
"""
NEIGHBOUR: Final = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: neighbour, namespace: default}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/never]}}]}]}
"""
HOLDS: Final = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
connection.settimeout(10)
print("connected", flush=True)
while True:
    try:
        connection.sendall(b"GET / HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")
        if not connection.recv(1000):
            break
    except OSError:
        break
    time.sleep(0.05)
print("closed", flush=True)
"""
"""Uses one connection until it is cut."""

SLACK: Final = 3.0
"""How much longer than promised a machine may take on which other tests run; the figure is in docs/reference/promises.md."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def can(mesh: System, *words: str) -> tuple[int, dict[str, Any]]:
    done = await verbs.weft(mesh, "can", *words, "-o", "json")
    return done.code, json.loads(done.out)


async def until_status(mesh: System, path: str, *statuses: int, seconds: float = 20) -> float:
    async def answered() -> bool:
        return (await mesh.get(path))[0] in statuses

    return await mesh.until(answered, f"{statuses} from {path}", seconds)


async def test_a_denied_call_is_explained_as_it_is_enforced_and_an_exception_ends_by_itself() -> None:
    async with system.running() as mesh:
        await mesh.until_answered(CALL)
        policy = mesh.directory / "deny.yaml"
        policy.write_text(DENY)
        assert (await verbs.weft(mesh, "apply", "-f", "deny.yaml")).code == 0
        assert await until_status(mesh, f"{CALL}secret/plan", 403) < 10
        assert (await mesh.get(f"{CALL}open"))[0] == 200
        code, said = await can(mesh, "front", "back:80", "--path", "/secret/plan")
        assert (code, said["verdict"], said["source"]) == (
            3,
            "denied",
            "AuthorizationPolicy/default/no-secrets/rules/0",
        )
        assert said["place"] == "deny.yaml:7:5"
        assert (await can(mesh, "front", "back:80", "--path", "/open"))[0] == 0
        assert "no-secrets" in (await verbs.weft(mesh, "authz", "list", "back")).out

        # The first ALLOW policy is not written just so; with --only it is, and ends by itself.
        refused = await verbs.weft(mesh, "allow", "exposed", "back")
        assert (refused.code, "WFT-1712" in refused.err, "front-v1-0" in refused.err) == (1, True, True)
        allowed = await verbs.weft(mesh, "allow", "exposed -> back", "--only", "--for", "4s", "--reason", "a test")
        assert allowed.code == 0, allowed.err
        await until_status(mesh, f"{CALL}open", 403)
        assert (await can(mesh, "front", "back"))[0] == 3
        await until_status(mesh, f"{CALL}open", 200)
        log = (await verbs.weft(mesh, "audit", "--kind", "change", "-o", "wide")).out
        assert "weft: it expired at" in log
        assert "reason=a test" in log
        assert (await verbs.weft(mesh, "audit", "verify")).code == 0
        edges = json.loads((await verbs.weft(mesh, "edges", "-o", "json")).out)["items"]
        (edge,) = [each for each in edges if each["callee"] == "back.default"]
        assert (edge["caller"], edge["secured"]) == ("default/front-v1-0", "mTLS")


async def test_a_policy_of_a_file_ends_by_itself_and_does_not_come_back_with_the_file() -> None:
    async def ended(mesh: System) -> str:
        return str(await mesh.ask("/weft/v1/problems"))

    async with system.running() as mesh:
        await mesh.until_answered(CALL)
        end = datetime.now(UTC) + timedelta(seconds=8)
        annotations = f"annotations: {{weft.dev/expires: '{end.isoformat()}'}}"
        ends = DENY.replace("namespace: default", f"namespace: default, {annotations}")
        mesh.file.write_text(f"{system.SHOP}---\n{ends}")
        await until_status(mesh, f"{CALL}secret/plan", 403)
        await until_status(mesh, f"{CALL}secret/plan", 200)
        assert datetime.now(UTC) >= end, "never early"

        async def said() -> bool:
            return "WFT-1431" in await ended(mesh)

        await mesh.until(said, "the policy in the file is said to have ended")
        mesh.file.write_text(f"{system.SHOP}---\n{ends}# changed\n---\n{NEIGHBOUR}")

        async def changed() -> bool:
            return "neighbour" in (await verbs.weft(mesh, "get", "authorizationpolicies")).out

        await mesh.until(changed, "the rest of the file holds")
        assert "no-secrets" not in (await verbs.weft(mesh, "get", "authorizationpolicies")).out
        assert (await mesh.get(f"{CALL}secret/plan"))[0] == 200
        place = (mesh.file.read_text().partition("weft.dev/expires")[0]).count("\n") + 1
        found = (await mesh.ask("/weft/v1/problems"))["problems"]
        (problem,) = [each for each in found if each["code"] == "WFT-1431"]
        assert (problem["origin"]["source"], problem["origin"]["line"]) == (str(mesh.file), place)


async def test_who_is_banned_is_shut_out_within_five_seconds_on_old_connections_too() -> None:
    async with system.running(MESH) as mesh:
        await mesh.until_answered(CALL)
        held = asyncio.ensure_future(verbs.inside(mesh, "front-v1-0", HOLDS, "opaque", "8080"))

        async def connected() -> bool:
            edges = (await mesh.ask_agent("/v1/edges"))["items"]
            return any((each["callee"], each["connections"]) == ("opaque.default", 1) for each in edges)

        await mesh.until(connected, "the long connection stands")
        done = await verbs.weft(mesh, "ban", "front", "--reason", "a test")
        begun = time.monotonic()
        assert done.code == 0, done.err
        refused = await until_status(mesh, CALL, 403, 503, seconds=5 * SLACK)
        said = await asyncio.wait_for(held, 20)
        cut = time.monotonic() - begun
        figure("E18", f"refused after {refused:.2f} s, the connection that stood was cut after {cut:.1f} s")
        assert said.out.split() == ["connected", "closed"], said
        assert cut < 5 * SLACK, f"the old connection was cut after {cut:.1f} s"
        assert (await can(mesh, "front", "back"))[1]["reason"] == f"{FRONT} is banned"
        assert (await verbs.weft(mesh, "unban", "front")).code == 0
        await until_status(mesh, CALL, 200)
