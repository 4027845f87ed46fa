"""The gRPC shell, with real gRPC clients on a unix socket."""

from __future__ import annotations

import stat
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import grpc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support.delta import Client, resource, resources
from weft.envoy import bootstrap
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.protos.google import rpc
from weft.model.view import Demand
from weft.xds import server
from weft.xds.fleet import Fleet
from weft.xds.protocol import CLUSTER, METHOD, VIRTUAL_HOST, Limits, Request
from weft.xds.server import EOF, serve
from weft.xds.status import FleetLimits
from weft.xds.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(
    fleet: Fleet, admit: Callable[[str, str], str] | None = None, expel: Callable[[str], str] | None = None
) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="weft-") as directory:
        path = Path(directory) / "xds.sock"
        async with anyio.create_task_group() as tasks:
            await tasks.start(partial(serve, admit=admit, expel=expel), fleet, path)
            with anyio.fail_after(30):
                yield path
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def stream(path: Path, method: str = METHOD) -> AsyncIterator[Any]:
    # Without read-ahead: what the test does not read, the client does not take off the wire.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.lookahead_bytes", 0), ("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(f"unix:{path}", options=options) as channel:
        call = channel.stream_stream(method, None, None)()  # type: ignore[call-arg]  # the stubs ask for too much
        yield call
        call.cancel()


def encode(request: Request) -> bytes:
    message = discovery.DeltaDiscoveryRequest(
        node=core.Node(id=request.node),
        type_url=request.type_url,
        resource_names_subscribe=request.subscribe,
        initial_resource_versions=request.initial,
        response_nonce=request.nonce,
        error_detail=None if request.error is None else rpc.Status(message=request.error),
    )
    return message.SerializeToString()


async def until_connected(fleet: Fleet, count: int) -> None:
    while len(fleet.nodes()) != count:
        await fleet.demands.newer_than(fleet.demands.serial)


async def test_an_offer_reaches_the_client_and_its_ack_comes_back() -> None:
    fleet = Fleet(time.monotonic)
    client = Client("n")
    async with serving(fleet) as path, stream(path) as call:
        await call.write(encode(client.subscribe(CLUSTER, "*")))
        await until_connected(fleet, 1)
        fleet.offer("n", resources((CLUSTER, [resource(CLUSTER, "a", b"a")])), Demand(), 3)
        await call.write(encode(client.take(await call.read())))
        await fleet.settled(3)
        assert client.held[CLUSTER] == {"a": b"a"}
    assert fleet.nodes() == ()


@pytest.mark.parametrize("metadata", [(), (("x-forwarded-client-cert", "a"), ("x-forwarded-client-cert", "a"))])
async def test_a_stream_is_refused_with_the_reason_that_its_node_is_not_its_own(
    metadata: tuple[tuple[str, str], ...],
) -> None:
    fleet, asked = Fleet(time.monotonic), []

    def admit(certificate: str, node: str) -> str:
        asked.append((certificate, node))
        return "not yours" if not certificate else ""

    async with (
        serving(fleet, admit) as path,
        grpc.aio.insecure_channel(f"unix:{path}", [("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        call: Any = channel.stream_stream(METHOD, None, None)(metadata=metadata)  # type: ignore[call-arg]  # as above
        await call.write(encode(Client("n").subscribe(CLUSTER, "*")))
        with pytest.raises(grpc.aio.AioRpcError, match="not yours") as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        good: Any = channel.stream_stream(METHOD, None, None)(metadata=(("x-forwarded-client-cert", "b"),))  # type: ignore[call-arg]  # as above
        await good.write(encode(Client("n").subscribe(CLUSTER, "*")))
        await until_connected(fleet, 1)
        good.cancel()
    assert asked == [("", "n"), ("b", "n")]


async def test_a_stream_of_somebody_who_is_not_wanted_any_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.01)
    fleet, banned = Fleet(time.monotonic), set[str]()

    def expel(certificate: str) -> str:
        return "banned" if certificate in banned else ""

    async with (
        serving(fleet, expel=expel) as path,
        grpc.aio.insecure_channel(f"unix:{path}", [("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        calls: list[Any] = []
        for name in ("a", "b"):
            call: Any = channel.stream_stream(METHOD, None, None)(metadata=(("x-forwarded-client-cert", name),))  # type: ignore[call-arg]  # as above
            await call.write(encode(Client(name).subscribe(CLUSTER, "*")))
            calls.append(call)
        await until_connected(fleet, 2)
        banned.add("a")
        with pytest.raises(grpc.aio.AioRpcError, match="banned"):
            await calls[0].read()
        assert fleet.nodes() == ("b",)
        calls[1].cancel()


async def test_the_socket_is_for_its_owner_alone() -> None:
    async with serving(Fleet(time.monotonic)) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_clients_are_told_when_the_server_stops() -> None:
    fleet = Fleet(time.monotonic)
    async with serving(fleet) as path:
        channel = grpc.aio.insecure_channel(f"unix:{path}")
        call: Any = channel.stream_stream(METHOD, None, None)()  # type: ignore[call-arg]  # as above
        await call.write(encode(Client("n").subscribe(CLUSTER)))
        await until_connected(fleet, 1)
    assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert await call.details() == "the control plane stops"
    await channel.close(None)


async def test_a_tcp_address_is_served_too() -> None:
    fleet = Fleet(time.monotonic)
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, fleet, "127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.stream_stream(METHOD, None, None)()  # type: ignore[call-arg]  # as above
            await call.write(encode(Client("n").subscribe(CLUSTER)))
            with anyio.fail_after(20):
                await until_connected(fleet, 1)
            call.cancel()
        tasks.cancel_scope.cancel()


async def test_an_address_that_cannot_be_listened_on_is_an_error() -> None:
    with pytest.raises(OSError, match="cannot listen"):
        await serve(Fleet(time.monotonic), Path("/nonexistent/xds.sock"))


@pytest.mark.parametrize(
    ("data", "word"), [(b"\xff\xff", "not a DeltaDiscoveryRequest"), (encode(Request(type_url=CLUSTER)), "node.id")]
)
async def test_a_client_that_breaks_the_protocol_is_told_so(data: bytes, word: str) -> None:
    async with serving(Fleet(time.monotonic)) as path, stream(path) as call:
        await call.write(data)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert word in await call.details()


async def test_a_client_that_breaks_the_protocol_later_is_told_so_and_has_left() -> None:
    fleet = Fleet(time.monotonic)
    async with serving(fleet) as path, stream(path) as call:
        await call.write(encode(Client("n").subscribe(CLUSTER)))
        await until_connected(fleet, 1)
        await call.write(b"\xff\xff")
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        await until_connected(fleet, 0)


async def test_a_request_that_is_too_large_is_not_read() -> None:
    fleet = Fleet(time.monotonic, Limits(request_bytes=1000))
    async with serving(fleet) as path, stream(path) as call:
        await call.write(encode(Client("n").subscribe(CLUSTER, "x" * 2000)))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stream_that_goes_on_sending_large_requests_is_told_why_it_ends() -> None:
    limits = Limits(small_bytes=1_000, large_requests=3)
    fleet = Fleet(time.monotonic, limits)
    names = [f"outbound/host-{number:04}" for number in range(100)]
    async with serving(fleet) as path, stream(path) as call:
        first = discovery.DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=names)
        first.node.id = "a"
        await call.write(first.SerializeToString())
        for _ in range(3):
            await call.write(
                discovery.DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=names).SerializeToString()
            )
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "more than 3 requests of more than 1000 bytes" in await call.details()


async def test_who_comes_with_a_large_request_while_too_much_waits_is_told_to_come_again() -> None:
    limits = Limits(small_bytes=1_000, waiting_bytes=1)
    fleet = Fleet(time.monotonic, limits)
    names = [f"outbound/host-{number:04}" for number in range(100)]

    def large(node: str) -> bytes:
        made = discovery.DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=names)
        made.node.id = node
        return made.SerializeToString()

    made = Turns(fleet.clock, limits.waiting_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Turns", lambda *_: made)
        async with serving(fleet) as path:
            async with made.turn(10), stream(path) as call:
                await call.write(large("b"))
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
                assert "come again" in await call.details()
            serial = fleet.demands.serial
            async with stream(path) as call:
                await call.write(large("b"))
                await fleet.demands.newer_than(serial)
                assert fleet.nodes() == ("b",)
    assert fleet.counts["crowded"] == 1


async def test_who_comes_back_loses_nothing_while_what_it_says_waits_for_its_turn() -> None:
    limits, now = Limits(small_bytes=1_000), [0.0]
    fleet, made = Fleet(lambda: now[0], limits), Turns(lambda: 0.0, limits.waiting_bytes)
    names = tuple(f"outbound/host-{number:04}" for number in range(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Turns", lambda *_: made)
        async with serving(fleet) as path, stream(path) as call:
            async with made.turn(10):
                await call.write(encode(Request(type_url=CLUSTER, node="n", subscribe=("*",), initial={"old": "1"})))
                await until_connected(fleet, 1)
                await call.write(encode(Request(type_url=VIRTUAL_HOST, node="n", subscribe=names)))
                while made._waiting == 10:  # noqa: ASYNC110 - no event
                    await anyio.sleep(0.005)
                fleet.offer("n", resources(), Demand(), 1)
                now[0] = 5.0
                fleet.sweep()
                held = fleet._nodes["n"].stream
                assert held is not None
                assert held.unacknowledged_since is None, "nothing was sent"
            now[0] = 5.0 + server.UNREAD_SECONDS
            fleet.sweep()
            [old] = discovery.DeltaDiscoveryResponse.FromString(await call.read()).removed_resources
            assert old == "old"


async def test_another_method_does_not_exist() -> None:
    async with serving(Fleet(time.monotonic)) as path, stream(path, "/other/Method") as call:
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_that_ends_politely_or_says_nothing_leaves_nothing_behind() -> None:
    fleet = Fleet(time.monotonic)
    async with serving(fleet) as path:
        async with stream(path) as call:
            await call.done_writing()
            assert await call.read() is EOF
        async with stream(path) as call:
            await call.write(encode(Client("n").subscribe(CLUSTER)))
            await until_connected(fleet, 1)
            await call.done_writing()
            assert await call.read() is EOF
            await until_connected(fleet, 0)


async def test_the_oldest_of_too_many_streams_of_a_node_is_told_why_it_ends() -> None:
    fleet = Fleet(time.monotonic, bounds=FleetLimits(streams_per_node=1))
    async with serving(fleet) as path, stream(path) as old, stream(path) as new:
        await old.write(encode(Client("n").subscribe(CLUSTER)))
        await until_connected(fleet, 1)
        await new.write(encode(Client("n").subscribe(CLUSTER)))
        assert await old.code() is grpc.StatusCode.UNAVAILABLE
        assert "newer stream" in await old.details()
        assert fleet.nodes() == ("n",)


async def test_a_client_that_does_not_read_is_disconnected_and_others_are_served() -> None:
    fleet = Fleet(time.monotonic, bounds=FleetLimits(write_seconds=0.2))
    big = resources((CLUSTER, [resource(CLUSTER, f"c{number}", b"x" * 900_000) for number in range(3)]))
    client = Client("good")
    async with (
        serving(fleet) as path,
        stream(path) as slow,
    ):
        await slow.write(encode(Client("slow").subscribe(CLUSTER)))
        async with stream(path) as call:
            await call.write(encode(client.subscribe(CLUSTER, "*")))
            await until_connected(fleet, 2)
            # The small one goes out at once; the large ones fill the window of a client that does not read.
            for node in ("slow", "good"):
                fleet.offer(node, big, Demand(), 1)
            while fleet.demand("slow") is not None or len(client.held.get(CLUSTER, ())) < 3:
                if len(client.held.get(CLUSTER, ())) < 3:
                    await call.write(encode(client.take(await call.read())))
                else:
                    await fleet.demands.newer_than(fleet.demands.serial)
    assert fleet.counts["slow_readers"] == 1


async def test_a_proxy_may_ping_as_often_as_ours_do_and_nobody_much_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw HTTP/2: frames are length (3 bytes), type, flags, stream (4 bytes). 6 is PING, 7 GOAWAY."""
    ping = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + b"ping-pin"

    async def answered(path: Path, seconds: float) -> int:
        """Of eight pings, each so long after the answer to the one before."""
        count = 0
        async with await anyio.connect_unix(str(path)) as wire:
            reader = BufferedByteReceiveStream(wire)
            await wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
                while count < 8:
                    await wire.send(ping)
                    type_ = 0
                    while type_ != 6:
                        head = await reader.receive_exactly(9)
                        type_ = head[3]
                        await reader.receive_exactly(int.from_bytes(head[:3], "big"))
                        if type_ == 7:
                            return count
                    count += 1
                    await anyio.sleep(seconds)  # what is tested is how often
        return count

    assert server.PINGS_APART_MILLISECONDS < bootstrap.KEEPALIVE
    monkeypatch.setattr(server, "PINGS_APART_MILLISECONDS", 50)
    async with serving(Fleet(time.monotonic)) as path:
        assert await answered(path, 0.06) == 8
    # Even a machine that is busy pings more often than this.
    monkeypatch.setattr(server, "PINGS_APART_MILLISECONDS", 60_000)
    async with serving(Fleet(time.monotonic)) as path:
        assert await answered(path, 0) < 8


async def test_a_bug_in_a_handler_is_raised_where_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(time.monotonic)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(fleet, "join", broken)

    async def provoke() -> None:
        async with serving(fleet) as path, stream(path) as call:
            await call.write(encode(Client("n").subscribe(CLUSTER)))
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await provoke()
    assert caught.group_contains(ZeroDivisionError)
    assert fleet.counts["failures"] == 1


async def test_a_stream_that_does_not_say_whose_it_is_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GREETING_SECONDS", 0.01)
    fleet = Fleet(time.monotonic)
    async with serving(fleet) as path, stream(path) as call:
        assert await call.read() is EOF
        assert (await call.code(), fleet.nodes()) == (grpc.StatusCode.OK, ())
