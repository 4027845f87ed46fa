"""A server that speaks first, on the running system: opaque services have a listener that waits for nobody's bytes."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import system, verbs

if TYPE_CHECKING:
    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

HELLO: Final = system.ROOT / "tests" / "support" / "apps" / "hello.py"
MESH: Final = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    caller:
      command: [{sys.executable}, {system.ECHO}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      expose: {{port: 8080}}
    mail:
      command: [{sys.executable}, {HELLO}]
      port: 2525
      protocol: tcp
"""
MODE: Final = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: mail, namespace: default}
spec: {selector: {matchLabels: {app: mail}}, mtls: {mode: %s}}
"""
CALLS: Final = """
import os, socket, sys
heard, refused = 0, []
while not os.path.exists(sys.argv[1]):
    try:
        with socket.create_connection(("mail", 2525), timeout=10) as connection:
            said = connection.recv(200)
    except OSError as error:
        said = repr(error).encode()
    if said == b"220 mail is ready\\n":
        heard += 1
    else:
        refused.append(said)
print(heard, len(refused), refused[:3])
"""
"""New connections, one after the other, until a file is there."""
CONNECTIONS: Final = r"^listener\.outbound(-opaque)?\.downstream_cx_total$"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_server_that_speaks_first_is_heard_through_the_listener_that_never_sniffs() -> None:
    async with system.running(MESH) as mesh:
        address = (await mesh.ask("/weft/v1/names"))["services"]["mail.default"]
        assert int(address.partition(".")[0]) >= 248
        said = await verbs.inside(mesh, "caller-v1-0", verbs.HELLO, "mail", "2525")
        assert said.out == "220 mail is ready\n", said
        assert await verbs.stats(mesh, "caller-v1-0", CONNECTIONS) == {
            "listener.outbound.downstream_cx_total": 0,
            "listener.outbound-opaque.downstream_cx_total": 1,
        }


async def until_tunnelled(mesh: System, tunnelled: bool) -> None:
    """Until the caller's proxy has tunnels to the callee, or has none any more."""

    async def so() -> bool:
        text = await mesh.ask_agent_text("/v1/proxies/default/caller-v1-0/admin/clusters")
        return bool(re.search(r"^tunnel\|tcp\|.*::cx_active::", text, re.MULTILINE)) is tunnelled

    await mesh.until(so, f"tunnels: {tunnelled}")


async def test_no_connection_is_refused_while_the_port_leaves_mode_disable_and_returns() -> None:
    async with system.running(MESH) as mesh:
        end = mesh.directory / "end"
        first = await verbs.inside(mesh, "caller-v1-0", verbs.HELLO, "mail", "2525")
        assert first.out == "220 mail is ready\n", first
        calls = asyncio.create_task(verbs.inside(mesh, "caller-v1-0", CALLS, str(end)))
        try:
            for mode in ("PERMISSIVE", "STRICT") * 3:
                mesh.file.write_text(MESH + MODE % "DISABLE")
                await until_tunnelled(mesh, False)
                mesh.file.write_text(MESH + MODE % mode)
                await until_tunnelled(mesh, True)
        finally:
            end.touch()
            done = await calls
        heard, refused, _ = done.out.split(" ", 2)
        assert int(heard) > 0, done
        assert refused == "0", done
