"""What a port speaks decides how a proxy calls it: ``appProtocol``, then the port's name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.calls.table import calls
from tests.envoy.harness import PATIENCE
from tests.support.compiled import gateway, route

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.envoy

PORTS = {
    "h2c": "name: web, appProtocol: kubernetes.io/h2c",
    "ws": "name: web, appProtocol: kubernetes.io/ws",
    "grpc": "name: grpc-api",
    "http2": "name: http2",
    "plain": "name: http-grpc",
    # The name would say gRPC, and appProtocol is asked first.
    "overruled": "name: grpc, appProtocol: http",
}
PREFACE = "PRI *"
"""How an application that reads HTTP/1.1 understands the first bytes of HTTP/2."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def manifests() -> str:
    texts = [gateway("edge", "[{name: http, port: 80, protocol: HTTP}]")]
    for name, fields in PORTS.items():
        texts.append(f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080, {fields}}}]}}
---
""")
        rules = f"rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
        texts.append(route(name, f"{{parentRefs: [{{name: edge}}], hostnames: [{name}.example], {rules}}}"))
    return "".join(texts)


async def test_declared_protocols_are_spoken_to_the_application(envoy_binary: Path) -> None:
    async with calls(
        envoy_binary, manifests(), gateways=(("default/edge", (80,)),), callers=("default/caller",)
    ) as mesh:
        for name in PORTS:
            for row in (f"edge:80 | GET {name}.example/e | 200", f"caller | GET {name}/c | 200"):
                await mesh.ask(row)
        spoken = {name: "h2" if mesh.apps[name].seen[PREFACE] else "http/1.1" for name in PORTS}
        assert spoken == {
            "h2c": "h2",
            "ws": "http/1.1",
            "grpc": "h2",
            "http2": "h2",
            "plain": "http/1.1",
            "overruled": "http/1.1",
        }


async def test_a_websocket_reaches_a_port_that_says_so(envoy_binary: Path) -> None:
    async with calls(envoy_binary, manifests(), gateways=(("default/edge", (80,)),)) as mesh:

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
            writer.write(b"got " + await reader.read(100))
            await writer.drain()
            writer.close()

        mesh.apps["ws"].talk = talk
        reader, writer = await asyncio.open_unix_connection(str(mesh.doors["edge:80"]))
        writer.write(b"GET / HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframe")
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 101")
        assert answer.endswith(b"got frame")
