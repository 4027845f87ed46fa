"""What a mesh says about keys reaches whoever fetches them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.compiled import compiled
from weft import paths
from weft.control.keys import follow
from weft.control.run import opened
from weft.control.settings import Settings
from weft.control.settle import Settled
from weft.dialects.values import Compiled
from weft.latest import Latest
from weft.paths import Paths
from weft.sources.jwks import KeyFetcher
from weft.sources.records import World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anyio.abc import ByteStream

    from weft.envoy.build import Built
    from weft.model.trust import KeySet

pytestmark = pytest.mark.anyio
NOTHING: Mapping[str, Built] = MappingProxyType({})


class Noting(KeyFetcher):
    def want(self, uris: tuple[str, ...], places: tuple[str, ...]) -> None:
        self.asked = (uris, places)
        self.told.set()

    told: anyio.Event
    asked: tuple[tuple[str, ...], tuple[str, ...]]


async def test_every_run_of_the_pipeline_says_whose_keys_are_wanted(tmp_path: Path) -> None:
    fetcher = Noting(tmp_path / "jwks.json", lambda _: None)
    fetcher.told = anyio.Event()
    cell: Latest[Settled | None] = Latest(None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, cell, fetcher)
        made = Compiled(compiled("").mesh, (), (), ("https://a.example/keys",), ("a.example",))
        cell.set(Settled(world=World(), compiled=made, built=NOTHING, seconds=0.0))
        with anyio.fail_after(5):
            await fetcher.told.wait()
        tasks.cancel_scope.cancel()
    assert fetcher.asked == (("https://a.example/keys",), ("a.example",))


KEYS = b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "one"}]}'
MANIFESTS = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  services: {pay: {command: ["true"], ports: [{port: 80, protocol: http}]}}
  security: {jwks: {allow: [%s]}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: people, namespace: default}
spec: {jwtRules: [{issuer: https://id.example, jwksUri: "http://127.0.0.1:%d/keys"}]}
"""


async def published(tmp_path: Path, allow: str) -> tuple[KeySet, int]:
    """What a whole control plane knows of the keys, and how many came to ask for them."""
    came = 0

    async def answer(stream: ByteStream) -> None:
        nonlocal came
        came += 1
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(KEYS), KEYS))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - of anyio
        (tmp_path / "mesh.yaml").write_text(MANIFESTS % (allow, port))
        settings = Settings(paths=Paths(tmp_path / "s", tmp_path / "r"), files=(tmp_path / "mesh.yaml",))
        for problem in paths.prepare(settings.paths):
            raise AssertionError(problem)
        async with opened(settings) as control:
            await control.serve(tasks)
            serial = -1
            with anyio.fail_after(20):
                while True:
                    serial, settled = await control.settler.settled.newer_than(serial)
                    if settled is not None and settled.world.keys:
                        [found] = settled.world.keys
                        break
            tasks.cancel_scope.cancel()
    return found, came


async def test_a_control_plane_fetches_what_its_policies_name_where_the_operator_opened_it(tmp_path: Path) -> None:
    found, came = await published(tmp_path, "127.0.0.0/8")
    assert '"one"' in found.jwks
    assert came == 1


async def test_a_control_plane_asks_nothing_inside_that_nobody_opened(tmp_path: Path) -> None:
    found, came = await published(tmp_path, "keys.example")
    assert found.jwks == ""
    assert "only https" in found.problem
    assert came == 0
