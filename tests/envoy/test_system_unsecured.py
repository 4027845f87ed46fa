"""What is not mutual TLS in a whole weft is counted, listed with its reason, and refused once STRICT says so."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
BARE: Final = """---
apiVersion: v1
kind: Service
metadata: {name: bare, namespace: default}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: bare, namespace: default, labels: {kubernetes.io/service-name: bare}}
addressType: IPv4
ports: [{name: http, port: PORT}]
endpoints: [{addresses: [127.0.0.1]}]
"""
DISABLE: Final = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: off, namespace: default}
spec: {selector: {matchLabels: {app: back}}, mtls: {mode: DISABLE}}
"""
STRICT: Final = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
"""
NOBODY: Final = "(no identity)"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def edges(mesh: System, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await verbs.weft(mesh, "edges", *words, "-o", "json")).out)["items"]
    return found


async def edge_of(mesh: System, **fields: str) -> dict[str, Any]:
    """The one edge that is not secured and has these fields. Envoy counts a call after it has answered it."""
    found: list[dict[str, Any]] = []

    async def one() -> bool:
        listed = await edges(mesh, "--insecure")
        found[:] = [each for each in listed if all(each[name] == value for name, value in fields.items())]
        return len(found) == 1

    await mesh.until(one, f"one edge with {fields}")
    return found[0]


async def inbound(mesh: System, workload: str) -> Path:
    """The unix socket at which a workload's proxy takes calls; it may listen a moment after others of its service."""
    found: list[str] = []

    async def listens() -> bool:
        text = await mesh.ask_agent_text(f"/v1/proxies/default/{workload}/admin/listeners")
        found[:] = re.findall(r"^inbound\|8080::(\S+)$", text, re.MULTILINE)
        return bool(found)

    await mesh.until(listens, f"{workload} takes calls")
    return Path(found[0])


async def plainly(where: Path) -> bytes:
    """What somebody without a proxy is answered there; nothing when the connection is closed instead."""
    reader, writer = await asyncio.open_unix_connection(str(where))
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return await asyncio.wait_for(reader.read(), 15)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("workload", ["back-v1-0", "opaque-v1-0"])
async def test_plaintext_is_listed_with_its_reason_until_strict_refuses_it(workload: str) -> None:
    async with system.running(MESH) as mesh:
        await mesh.until_answered("/call/back/")
        where = await inbound(mesh, workload)
        assert all(edge["caller"] != NOBODY for edge in await edges(mesh))
        for _ in range(3):
            assert b"200 OK" in await plainly(where)
        edge = await edge_of(mesh, caller=NOBODY)
        assert (edge["callee"], edge["port"], edge["connections"]) == (f"default/{workload}", 8080, 3)
        assert edge["secured"] == "no"
        assert edge["why"] == "came without a proxy of the mesh, and the port takes plaintext"
        shown = (await verbs.weft(mesh, "edges")).err
        assert f"(no identity) -> {workload}:8080 is not secured: came without a proxy of the mesh" in shown
        mesh.file.write_text(MESH + STRICT)

        async def refused() -> bool:
            return b"200 OK" not in await plainly(where)

        await mesh.until(refused, "plaintext is refused")
        assert [await plainly(where) for _ in range(3)] == [b""] * 3
        assert (await mesh.get("/call/back/"))[0] == 200, "and callers with a proxy notice nothing"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Nothing of weft's: it only knows how to say yes."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("more", "callee", "why"),
    [(BARE, "bare", "nothing behind it has a proxy"), (DISABLE, "back", "PeerAuthentication/default/off")],
)
async def test_a_callee_that_is_called_in_the_clear_is_listed_with_the_reason(more: str, callee: str, why: str) -> None:
    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        system.running(
            system.SHOP + more.replace("PORT", str(server.sockets[0].getsockname()[1])), capture="proxy"
        ) as mesh,
    ):
        await mesh.until_answered(f"/call/{callee}/")
        edge = await edge_of(mesh, callee=f"{callee}.default")
        assert (edge["caller"], edge["secured"]) == ("default/front-v1-0", "no")
        assert edge["why"] == why
