"""A server that speaks first, on the running system: opaque services have a listener that waits for nobody's bytes."""

from __future__ import annotations

import sys
from typing import Final

import pytest

from tests.support import system, verbs

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
