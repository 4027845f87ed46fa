"""Promises D2 and D5 on the running system: connections that only take up room, at the edge and at a workload."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from tests.support.figures import figure
from tests.support.system import Load, System, request, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

SOCKETS: Final = 400
IDLE: Final = 10_000
LIMIT: Final = 8_192
"""``weft.envoy.bootstrap``: connections that one proxy accepts."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def mesh() -> AsyncIterator[System]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # inherited by every Envoy
    try:
        async with running() as system:
            await system.until_answered("/call/back/")
            yield system
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def inbound(mesh: System) -> Path:
    """The socket at which the proxy of ``front`` is called."""
    (host,) = (await mesh.ask("/weft/v1/hosts"))["items"]
    (found,) = [each for each in host["workloads"] if each["name"] == "front-v1-0"]
    return Path(found["ports"][0]["listen"]["path"])


Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(where: Path | tuple[str, int]) -> Streams:
    if isinstance(where, Path):
        return await asyncio.open_unix_connection(str(where))
    return await asyncio.open_connection(*where)


HEADERS: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
STREAM: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4\0" + bytes(4) + b"\0\0\1\1\0\0\0\0\1\x82"
"""Of HTTP/2: the preface, empty settings, and the first part of a header block that never ends."""


async def slow(where: Path | tuple[str, int], opening: bytes, trickle: bytes) -> float:
    """Begins a request and goes on a byte at a time. Returns for how many seconds the peer put up with it, 30 at most."""
    reader, writer = await connect(where)
    begun = time.monotonic()
    writer.write(opening)
    cut = asyncio.ensure_future(reader.read())
    try:
        while time.monotonic() - begun < 30:
            done, _ = await asyncio.wait([cut], timeout=0.5)
            if done:
                break
            writer.write(trickle)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        cut.cancel()
        writer.close()
    return time.monotonic() - begun


@pytest.mark.parametrize("side", ["edge", "inbound"])
async def test_headers_that_never_end_are_cut_while_others_are_served(mesh: System, side: str) -> None:
    """D2: 0 of 400 alive after 5 s."""
    where = await mesh.gateway() if side == "edge" else await inbound(mesh)
    held: list[float] = []
    found: list[Load] = []

    async def others() -> None:
        found.append(await mesh.load("/call/back/", 5))

    async def one() -> None:
        held.append(await slow(where, HEADERS, b"x"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(others())
        for _ in range(SOCKETS):
            tasks.create_task(one())
    others_p99 = 1000 * found[0].percentile(0.99)
    figure(
        "D2",
        f"{side}: {SOCKETS} held {min(held):.2f} to {max(held):.2f} s; others {found[0].statuses}, p99 {others_p99:.0f} ms",
    )
    assert len(held) == SOCKETS
    assert max(held) < 5, max(held)
    assert found[0].failed == 0, found[0].failures


async def test_a_header_block_of_http2_that_never_ends_is_answered(mesh: System) -> None:
    """D2 for HTTP/2: the stream is ended with 408, and the connection is an idle one then, which D5 limits."""
    reader, writer = await connect(await mesh.gateway())
    begun = time.monotonic()
    writer.write(STREAM)
    said = b""
    while b"request header timeout" not in said:
        said += await asyncio.wait_for(reader.read(1000), 10)
    assert time.monotonic() - begun < 5
    assert b"408" in said
    writer.close()


async def test_idle_connections_are_limited_and_those_who_were_there_are_served(mesh: System) -> None:
    """D5: 10,000 idle connections to the edge."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < IDLE + 1_000:
        pytest.skip(f"needs {IDLE + 1_000} open files: ulimit -n")
    where = await mesh.gateway()
    reader, writer = await connect(where)
    opened: list[Streams] = []

    async def call() -> bytes:
        writer.write(b"GET /call/back/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        return head.split(b"\r\n")[0]

    assert await call() == b"HTTP/1.1 200 OK"
    try:
        for _ in range(IDLE // 250):
            opened += await asyncio.gather(*(connect(where) for _ in range(250)))
        refused = [each for each in opened if not await quiet(each[0])]
        kept = len(opened) - len(refused)
        figure("D5", f"{kept} of {IDLE} idle connections kept, those who were there are served")
        assert LIMIT - 100 < kept <= LIMIT
        assert await call() == b"HTTP/1.1 200 OK"
        assert (await request(await inbound(mesh), "front", "/"))[0] == 200
    finally:
        for _, each in opened:
            each.close()
        writer.close()
    await mesh.until_answered("/call/back/")


async def quiet(reader: asyncio.StreamReader) -> bool:
    """Whether the peer has not closed the connection."""
    try:
        return await asyncio.wait_for(reader.read(1), 0.001) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False
