"""gRPC on a socket whose peer is known: what an ordinary client sees, and what a hostile one gets."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import grpc
import h2.config
import h2.connection
import h2.events
import pytest

from weft import private
from weft.agent import rpc
from weft.agent.rpc import Limits, RpcError, Status

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator
    from pathlib import Path

    from weft.agent.rpc import Call

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def admit(raw: socket.socket) -> int | None:
    return private.peer(raw).uid


async def nobody(raw: socket.socket) -> int | None:
    del raw
    return None


async def echo(call: Call[int]) -> None:
    while (message := await call.receive()) is not None:
        await call.send(message * 2)


async def whose(call: Call[int]) -> None:
    await call.send(f"{call.peer} {call.metadata.get('a')}".encode())


async def large(call: Call[int]) -> None:
    await call.send(b"x" * 1_000_000)


async def refuse(_: Call[int]) -> None:
    raise RpcError(Status.PERMISSION_DENIED, "no: 100 % not é")


async def refuse_in_a_group(call: Call[int]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(refuse, call)


async def broken_in_a_group(_: Call[int]) -> None:
    async def fail() -> None:
        raise BrokenPipeError

    async with anyio.create_task_group() as group:
        group.start_soon(fail)


METHODS = {
    "/S/echo": echo,
    "/S/whose": whose,
    "/S/large": large,
    "/S/refuse": refuse,
    "/S/group": refuse_in_a_group,
    "/S/broken": broken_in_a_group,
}


@asynccontextmanager
async def serving(server: rpc.Server[int], path: Path) -> AsyncIterator[Path]:
    with private.listen(path) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, listener)
            yield path
            group.cancel_scope.cancel()


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    async with serving(rpc.Server(admit, METHODS), tmp_path / "s") as found:
        yield found


def connect(path: Path) -> Any:  # noqa: ANN401 - the stubs want more of a call than there is
    return grpc.aio.insecure_channel(f"unix:{path}")


async def status(channel: Any, method: str, message: bytes = b"") -> tuple[grpc.StatusCode, str]:  # noqa: ANN401 - as above
    with pytest.raises(grpc.aio.AioRpcError) as found:
        await channel.unary_unary(method)(message, timeout=20)
    return found.value.code(), found.value.details() or ""


async def test_messages_go_both_ways_until_the_client_has_said_everything(path: Path) -> None:
    async with connect(path) as channel:
        call = channel.stream_stream("/S/echo")()
        for message in (b"a", b"", b"b" * 60_000):
            await call.write(message)
            assert await call.read() == message * 2
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        whom = await channel.unary_unary("/S/whose")(b"", metadata=(("a", "b"),))
        assert whom == f"{os.geteuid()} b".encode()
        assert len(await channel.unary_unary("/S/large")(b"")) == 1_000_000


async def test_a_refusal_has_a_status_and_words(path: Path) -> None:
    async with connect(path) as channel:
        refused = (grpc.StatusCode.PERMISSION_DENIED, "no: 100 % not é")
        assert await status(channel, "/S/refuse") == refused
        assert await status(channel, "/S/group") == refused
        assert (await status(channel, "/S/broken"))[0] is grpc.StatusCode.UNAVAILABLE
        assert (await status(channel, "/S/none"))[0] is grpc.StatusCode.UNIMPLEMENTED
        assert (await status(channel, "/S/echo", b"x" * 70_000))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


class Raw:
    """An HTTP/2 client that says what a test wants."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.seen = b""

    async def open(self) -> Raw:
        self.reader, self.writer = await asyncio.open_unix_connection(str(self.path))
        self.http.initiate_connection()
        return self

    def call(self, stream: int, *, end: bool = False, **headers: str) -> None:
        pairs = {":method": "POST", ":path": "/S/echo", ":scheme": "http", ":authority": "x"}
        pairs |= {"content-type": "application/grpc"} | {key.replace("_", ":"): value for key, value in headers.items()}
        self.http.send_headers(stream, list(pairs.items()), end_stream=end)

    async def until_closed(self) -> bytes:
        self.writer.write(self.http.data_to_send())
        try:
            return await asyncio.wait_for(self.reader.read(), 20)
        except ConnectionError:
            return b""
        finally:
            self.writer.close()

    async def trailers(self) -> dict[str, str]:
        """Of the first stream that ends."""
        while True:
            self.writer.write(self.http.data_to_send())
            for event in self.http.receive_data(await asyncio.wait_for(self.reader.read(65_536), 20)):
                if isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived) and event.headers:
                    found = {bytes(key).decode(): bytes(value).decode() for key, value in event.headers}
                    if "grpc-status" in found:
                        self.writer.close()
                        return found


@pytest.mark.parametrize("headers", [{"_method": "GET"}, {"content-type": "text/plain"}])
async def test_what_is_not_grpc_is_told_so(path: Path, headers: dict[str, str]) -> None:
    client = await Raw(path).open()
    client.call(1, end=True, **headers)
    assert (await client.trailers())["grpc-status"] == str(int(Status.INVALID_ARGUMENT))


async def test_compressed_messages_and_too_many_at_once_are_not_read(path: Path) -> None:
    client = await Raw(path).open()
    client.call(1)
    client.http.send_data(1, b"\x01\0\0\0\x01x")
    assert (await client.trailers())["grpc-status"] == str(int(Status.UNIMPLEMENTED))
    client = await Raw(path).open()
    client.call(1)
    client.http.send_data(1, b"\0\0\0\0\x01x" * 500)
    assert (await client.trailers())["grpc-status"] == str(int(Status.RESOURCE_EXHAUSTED))


async def test_garbage_and_floods_end_their_connection_only(tmp_path: Path) -> None:
    limits = Limits(streams=4, resets=3, connections=20)
    async with serving(rpc.Server(admit, METHODS, limits), tmp_path / "s") as path:
        garbage = await Raw(path).open()
        garbage.writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
        await garbage.until_closed()
        streams = await Raw(path).open()
        for number in range(20):
            streams.call(2 * number + 1)
        await streams.until_closed()
        resets = await Raw(path).open()
        for number in range(4):
            resets.call(2 * number + 1)
            resets.http.reset_stream(2 * number + 1)
        await resets.until_closed()
        bye = await Raw(path).open()
        bye.http.close_connection()
        await bye.until_closed()
        async with connect(path) as channel:
            assert await channel.unary_unary("/S/echo")(b"a") == b"aa"


async def test_who_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async with serving(rpc.Server(admit, METHODS, Limits(greeting_seconds=0.05)), tmp_path / "s") as path:
        await (await Raw(path).open()).until_closed()


async def test_one_user_has_no_more_connections_than_allowed_and_gets_them_back(tmp_path: Path) -> None:
    left: list[int] = []
    server = rpc.Server(admit, METHODS, Limits(connections_per_user=1), leave=left.append)
    async with serving(server, tmp_path / "s") as path:
        first = await Raw(path).open()
        first.call(1)
        first.writer.write(first.http.data_to_send())
        await first.reader.read(1)
        assert await (await Raw(path).open()).until_closed() == b""
        first.writer.close()
        with anyio.fail_after(20):
            while not left:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        async with connect(path) as channel:
            assert await channel.unary_unary("/S/echo")(b"a") == b"aa"


async def test_who_is_not_admitted_hears_nothing(tmp_path: Path) -> None:
    async with serving(rpc.Server(nobody, METHODS), tmp_path / "s") as path:
        assert await (await Raw(path).open()).until_closed() == b""


async def test_a_client_that_leaves_ends_its_calls(tmp_path: Path) -> None:
    ended = anyio.Event()

    async def wait(call: Call[int]) -> None:
        try:
            await call.send(b"begun")
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with serving(rpc.Server(admit, {"/S/echo": wait}), tmp_path / "s") as path:
        client = await Raw(path).open()
        client.call(1)
        client.writer.write(client.http.data_to_send())
        await client.reader.readuntil(b"begun")
        client.writer.close()
        with anyio.fail_after(20):
            await ended.wait()


async def test_a_bug_in_a_method_ends_the_server_with_its_traceback(tmp_path: Path) -> None:
    async def bug(call: Call[int]) -> None:
        raise ZeroDivisionError(call.method)

    with pytest.raises(ExceptionGroup) as found:  # noqa: PT012 - the server ends while a client waits
        async with serving(rpc.Server(admit, {"/S/echo": bug}), tmp_path / "s") as path:
            client = await Raw(path).open()
            client.call(1, end=True)
            await client.until_closed()
            await anyio.sleep_forever()
    assert found.value.subgroup(ZeroDivisionError) is not None
