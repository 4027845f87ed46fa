"""Which addresses a rule can ask for: of whom calls at a Gateway, at workloads of the same host, and from another host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support import hosts, meshes, system
from tests.support.hosts import rig
from tests.support.meshes import echo, front

if TYPE_CHECKING:
    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

ANY: Final = '["0.0.0.0/0", "::/0"]'
LOOPBACK: Final = '["127.0.0.0/8"]'
ELSEWHERE: Final = '["198.51.100.0/24"]'
BEHIND: Final = "selector: {matchLabels: {app: back}}"
FRONT: Final = "selector: {matchLabels: {app: front}}"
EDGE: Final = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: exposed}]"
TABLE: Final = (
    # where, what is asked, the status of / and of /call/back/
    (BEHIND, f"from: [{{source: {{ipBlocks: {ANY}}}}}]", 200, 200),
    (BEHIND, f"from: [{{source: {{notIpBlocks: {ANY}}}}}]", 200, 403),
    (BEHIND, f"when: [{{key: source.ip, values: {ANY}}}]", 200, 200),
    (BEHIND, f"when: [{{key: destination.ip, values: {ANY}}}]", 200, 200),
    (BEHIND, f"from: [{{source: {{remoteIpBlocks: {ANY}}}}}]", 200, 200),
    (FRONT, f"from: [{{source: {{ipBlocks: {ANY}}}}}]", 200, 200),
    (FRONT, f"from: [{{source: {{remoteIpBlocks: {ANY}}}}}]", 403, 403),
    (FRONT, f"from: [{{source: {{remoteIpBlocks: {ELSEWHERE}}}}}]", 200, 200),
    (EDGE, f"from: [{{source: {{ipBlocks: {LOOPBACK}}}}}]", 403, 403),
    (EDGE, f"from: [{{source: {{remoteIpBlocks: {LOOPBACK}}}}}]", 403, 403),
    (EDGE, f"from: [{{source: {{ipBlocks: {ELSEWHERE}, remoteIpBlocks: {ELSEWHERE}}}}}]", 200, 200),
    (EDGE, f"when: [{{key: destination.ip, values: {LOOPBACK}}}]", 403, 403),
)
"""The client is on loopback, the Gateway too: then Envoy forwards an address of the machine instead; which one depends on
the machine, and nothing is expected of it here. The application ``front`` passes on no ``x-forwarded-for``, so that ``back``
knows of no client.
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def denies(where: str, what: str) -> str:
    """``marker`` is refused whatever the addresses are, as soon as the proxy holds the policy."""
    return f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: default}}
spec:
  action: DENY
  {where}
  rules:
  - {what}
  - to: [{{operation: {{paths: ["/marker", "/call/back/marker"]}}}}]
"""


async def check(mesh: System, where: str, what: str, number: int) -> tuple[int, int]:
    marker = f"marker{number}"
    mesh.file.write_text(system.SHOP + denies(where, what).replace("marker", marker))

    async def held() -> bool:
        return (await mesh.get(f"/call/back/{marker}"))[0] == 403

    await mesh.until(held, f"{where} {what} holds")
    return (await mesh.get("/"))[0], (await mesh.get("/call/back/"))[0]


async def test_addresses_are_asked_where_there_are_some() -> None:
    async with system.running() as mesh:
        await mesh.until_answered("/call/back/")
        found = []
        for number, (where, what, _, _) in enumerate(TABLE):
            found.append((where, what, *await check(mesh, where, what, number)))
        assert found == list(TABLE)


MESH: Final = meshes.mesh(front(f"hosts: [{hosts.NAMES[0]}]"), echo("back", f"hosts: [{hosts.NAMES[1]}]"))


@pytest.mark.needs("ip", "nsenter")
@pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root")
async def test_a_caller_on_another_host_has_no_address_either() -> None:
    """Its host proxy passes bytes to the workload's unix socket; who it is says its certificate."""
    async with rig(MESH, 2) as made:
        await made.until_everything_serves()
        await made.control.until_answered("/call/back/")
        for what, status in ((f"ipBlocks: {ANY}", 200), (f"notIpBlocks: {ANY}", 403)):
            rule = f"from: [{{source: {{{what}}}}}]"
            made.control.file.write_text(MESH + denies(BEHIND, rule).replace("marker", f"marker{status}"))

            async def held(path: str = f"/call/back/marker{status}") -> bool:
                return (await made.control.get(path))[0] == 403

            await made.control.until(held, f"{what} holds")
            assert (await made.control.get("/call/back/"))[0] == status
