"""The agent's side of the resolver's socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio
import pytest

from weft.agent import resolver_client

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_the_resolver_keeps_is_asked_and_answered(tmp_path: Path) -> None:
    path = tmp_path / "resolver.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> bytes:
            peer, _ = listener.accept()
            with peer:
                asked = peer.recv(1000)
                peer.send(b'{"have": ["default/a"]}')
                return asked

        found: list[bytes] = []
        async with anyio.create_task_group() as group:

            async def serve() -> None:
                found.append(await anyio.to_thread.run_sync(answer))

            group.start_soon(serve)
            assert await resolver_client.keep(path, ["default/b", "default/a"]) == {"default/a"}
        assert found == [b'{"keep": ["default/a", "default/b"]}']
        assert await resolver_client.wait(path, 5)


async def test_an_absent_resolver_is_an_error_and_waiting_for_it_ends(tmp_path: Path) -> None:
    with pytest.raises(resolver_client.ResolverError):
        await resolver_client.keep(tmp_path / "absent", [])
    assert not await resolver_client.wait(tmp_path / "absent", 0.05)
