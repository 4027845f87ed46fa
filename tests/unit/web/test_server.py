from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import httpx2

from tests.support.apis import SERVICES, Api, api, service
from weft.web import sockets
from weft.web.access import Local
from weft.web.app import app
from weft.web.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def served(found: Api, path: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, anyio.CancelScope]]:
    listener = sockets.listen_unix(path)
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(serve, Local(app(found.context), os.getuid()), listener, found.context.closing)
            async with httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=20) as client:
                yield client, group.cancel_scope
            group.cancel_scope.cancel()


async def test_the_writer_is_who_the_kernel_says(tmp_path: Path) -> None:
    async with api(tmp_path / "state") as found, served(found, tmp_path / "s") as (client, _):
        assert (await client.post(SERVICES, json=service("a"), headers={"user-agent": "curl/8"})).status_code == 201
        (change,) = await found.store.history()
        import pwd  # noqa: PLC0415 - only here

        assert change.writer.who == f"{pwd.getpwuid(os.getuid()).pw_name} with curl/8"
        assert change.writer.owner == "curl"


async def test_a_watch_over_the_socket_gets_events_as_they_happen_and_ends_with_the_server(tmp_path: Path) -> None:
    async with api(tmp_path / "state") as found, served(found, tmp_path / "s") as (client, scope):
        await client.post(SERVICES, json=service("a"))
        names = []
        async with client.stream("GET", f"{SERVICES}?watch=true") as answer:
            async for line in answer.aiter_lines():
                names.append(json.loads(line)["object"]["metadata"]["name"])
                if names == ["a"]:
                    await client.post(SERVICES, json=service("b"))
                else:
                    scope.cancel()
                    break
        assert names == ["a", "b"]
    assert found.context.closing.is_set()
