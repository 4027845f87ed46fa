"""The ``websockets`` client in a running mesh: it echoes, and a connection lives on while routes change."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.clients import APPS, IDLE, Callers, callers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.envoy

MESH: Final = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    web:
      command: [{sys.executable}, {APPS / "web.py"}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      versions: {{v1: {{}}, v2: {{}}}}
    transparent: {{command: {IDLE}, capture: transparent}}
    proxy: {{command: {IDLE}, capture: proxy}}
    ports: {{command: {IDLE}, capture: ports, needs: [web]}}
"""
ROUTE: Final = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web}}
spec:
  parentRefs: [{{group: '', kind: Service, name: web}}]
  rules: [{{backendRefs: [{{name: web-{version}, port: 80}}]}}]
"""
URL: Final = """
import os, sys
url = "ws://" + os.environ.get("WEB_URL", "http://web").removeprefix("http://") + "/ws"
"""
ECHO: Final = """
import asyncio, json
from websockets.asyncio.client import connect
async def main():
    async with connect(url, subprotocols=["chat"], max_size=None) as socket:
        await socket.send("hello")
        first = await socket.recv()
        big = bytes(range(256)) * 8000
        await socket.send(big)
        same = await socket.recv() == big
        for number in range(200):
            await socket.send(str(number))
        order = [(await socket.recv()).split()[1] for _ in range(200)] == [str(number) for number in range(200)]
        await (await socket.ping())
        print(json.dumps([first.split()[1], same, order, socket.subprotocol]))
asyncio.run(main())
"""
LINES: Final = """
from websockets.sync.client import connect
with connect(url) as socket:
    print("connected", flush=True)
    for line in sys.stdin:
        socket.send(line.strip())
        print(socket.recv(timeout=10), flush=True)
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Callers]:
    with callers(MESH) as made:
        yield made


@pytest.fixture(params=["transparent", "proxy", "ports"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_text_and_bytes_are_echoed_in_order(mesh: Callers, mode: str) -> None:
    assert json.loads(mesh.python(mode, URL + ECHO)) == ["hello", True, True, "chat"]


def test_a_connection_lives_on_while_its_route_changes_and_new_ones_follow_the_route(mesh: Callers, mode: str) -> None:
    mesh.apply(ROUTE.format(version="v1"))
    with mesh.started(mode, sys.executable, "-c", URL + LINES) as old:
        assert old.stdin is not None
        assert old.stdout is not None

        def say(text: str) -> str:
            assert old.stdin is not None
            assert old.stdout is not None
            old.stdin.write(f"{text}\n")
            return old.stdout.readline().strip()

        assert old.stdout.readline() == "connected\n"
        assert say("one") == "v1 one"
        for turn, version in enumerate(("v2", "v1", "v2")):
            mesh.apply(ROUTE.format(version=version))
            assert say(f"turn {turn}") == f"v1 turn {turn}"
            new = mesh.run(mode, sys.executable, "-c", URL + LINES, input="new\n")
            assert new.stdout.split("\n")[1] == f"{version} new", new
