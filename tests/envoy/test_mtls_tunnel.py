"""Opaque TCP between two real proxies: raw mutual TLS, and streams of pooled tunnels."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.envoy.harness import PATIENCE, rig, service, until
from tests.envoy.test_mtls import CALLEE, CALLER_ID, PORT, Pair, only, peers
from weft.model.service import Address, Protocol
from weft.model.trust import (
    Guard,
    Shape,
    TlsMode,
)
from weft.model.view import BoundRoute, Demand, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

pytestmark = [pytest.mark.envoy]
SHAPES = {"raw": Shape.RAW, "tunnel": Shape.TUNNEL, "inner": Shape.TUNNEL}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, then echoes; ends when the other end has ended."""
    writer.write(b"220 ready\n")
    while data := await reader.read(65_536):
        writer.write(b"echo:" + data)
        await writer.drain()
    writer.write(b"bye")
    writer.close()


class Opaque(Pair):
    """The caller reaches the service by an address of its own; ``inner``: through the listener inside its proxy, as where one
    listener serves all addresses.
    """

    inner = False

    def caller(self, demand: Demand) -> View:
        name = str(service("web", PORT))
        made = super().caller(Demand(clusters=demand.clusters | {name}))
        bound = BoundRoute(Address(path=str(self.out)), "web", PORT, Protocol.TCP, cluster=name, pooled=self.pooled)
        return msgspec.structs.replace(made, outbound=None, bound=(bound,))

    @property
    def pooled(self) -> bool:
        return self.peers.shape is Shape.TUNNEL and not self.inner


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, text: bytes) -> bytes:
        self.writer.write(text)
        return await asyncio.wait_for(self.reader.readexactly(len(text) + 5), PATIENCE)

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), PATIENCE)

    async def rest(self) -> bytes:
        """Everything until the end, which may be a reset."""
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while more := await asyncio.wait_for(self.reader.read(65_536), PATIENCE):
                got += more
        return got


@asynccontextmanager
async def connected(where: Path) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_unix_connection(str(where))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def opaque(envoy: Path, way: str, guard: Guard | None = None, app: Talk = talk) -> AsyncIterator[Opaque]:
    async with rig(envoy) as mesh:
        made = Opaque(mesh, await mesh.serve_raw("web", app), Protocol.TCP)
        made.peers = peers(SHAPES[way])
        made.inner = way == "inner"
        made.guard = guard or Guard()
        await made.start()
        yield made


@pytest.mark.parametrize("way", SHAPES)
@pytest.mark.parametrize("mode", [TlsMode.STRICT, TlsMode.PERMISSIVE])
async def test_bytes_arrive_both_ways_and_each_end_may_end_first(envoy_binary: Path, way: str, mode: TlsMode) -> None:
    async with opaque(envoy_binary, way, Guard(mode=mode)) as both:
        async with connected(both.out) as one, connected(both.out) as other:
            assert [await one.line(), await other.line()] == [b"220 ready\n"] * 2, "the server speaks first"
            assert await one.say(b"a" * 1000) == b"echo:" + b"a" * 1000
            assert await other.say(b"b") == b"echo:b"
            one.writer.write_eof()
            assert await one.rest() == b"bye", "what is said after the other end has ended still arrives"
        # The third is the harness's, which looked whether the caller listens.
        handshakes = await both.stats(CALLEE, "^(http|tcp).(inbound|tunnel).downstream_cx_total")
        assert handshakes == (
            {"http.tunnel.downstream_cx_total": 1} if way != "raw" else {"tcp.inbound.downstream_cx_total": 3}
        )


async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As servers do that take one request for each connection; both directions end at once."""
    writer.write(b"x" * len(await reader.read(65_536)))
    writer.close()


@pytest.mark.parametrize("way", SHAPES)
async def test_an_answer_arrives_whole_when_the_server_closes_behind_it(envoy_binary: Path, way: str) -> None:
    async with opaque(envoy_binary, way, app=answer_and_close) as both:
        for _ in range(20):
            async with connected(both.out) as one:
                one.writer.write(b"?" * 2_000)
                got = await asyncio.wait_for(one.reader.read(-1), PATIENCE)
                assert got == b"x" * 2_000, "and no reset behind it"


@pytest.mark.parametrize("way", SHAPES)
async def test_a_policy_about_callers_holds_for_connections(envoy_binary: Path, way: str) -> None:
    async with opaque(envoy_binary, way, only("spiffe://local/ns/default/sa/other")) as both:
        async with connected(both.out) as refused:
            refused.writer.write(b"x")
            assert await refused.rest() == b"", "not even the greeting"
        await both.change(guard=only(CALLER_ID), peers=peers(SHAPES[way], "1"))
        async with connected(both.out) as heard:
            heard.writer.write(b"x")
            assert b"echo:x" in await asyncio.wait_for(heard.reader.readuntil(b"x"), PATIENCE)


@pytest.mark.parametrize("way", SHAPES)
async def test_a_connection_outlives_a_change_of_endpoints_and_of_epoch(envoy_binary: Path, way: str) -> None:
    async with opaque(envoy_binary, way) as both, connected(both.out) as one:
        await one.line()
        await both.change(peers=peers(SHAPES[way], "2"))
        async with connected(both.out) as other:
            assert await other.line() == b"220 ready\n"
            assert await one.say(b"still") == b"echo:still"


async def test_a_tunnel_that_cannot_be_made_is_a_closed_connection(envoy_binary: Path) -> None:
    async with opaque(envoy_binary, "inner") as both:
        await both.change(peers=peers(Shape.TUNNEL, "1", "spiffe://local/ns/default/sa/other"))

        async def closed() -> bool:
            async with connected(both.out) as one:
                return await one.rest() == b""

        await until(closed)
