"""The gRPC shell around the streams: bytes in, bytes out.

One handler per stream reads requests; one task beside it writes what the fleet put into the outbox, so that a client
that does not read holds up nobody else. A client cannot make this server fail: what it sends is judged by the stream,
and its end is the end of its handler. An exception that is none of that is a bug; gRPC would keep it to itself, so
``serve`` raises it where it runs.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio
import grpc
from anyio.abc import TaskStatus  # noqa: TC002 - a default below needs it at run time

from weft.xds.protocol import METHOD, StreamRejectedError
from weft.xds.turns import CrowdedError, Turns
from weft.xds.wire import decode_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from weft.xds.fleet import Connection, Fleet
    from weft.xds.protocol import Request

    Admit: TypeAlias = Callable[[str, str], str]
    Expel: TypeAlias = Callable[[str], str]

T = TypeVar("T")
EOF: Final[object] = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it
CERTIFICATE_HEADER: Final = "x-forwarded-client-cert"
KEEPALIVE_MILLISECONDS: Final = 10_000
KEEPALIVE_TIMEOUT_MILLISECONDS: Final = 5_000
PINGS_APART_MILLISECONDS: Final = 500
"""Whoever pings more often than so, three times, is cut off: gRPC takes it for an attack."""
GRACE_SECONDS: Final = 1.0
ABORT_SECONDS: Final = 1.0
GREETING_SECONDS: Final = 10.0
"""Until a stream says whose it is. Nobody knows before whom to count it for."""
SWEEP_SECONDS: Final = 1.0
UNREAD_SECONDS: Final = 30.0
"""So long a client that comes back keeps what it has while a large request of it waits for its turn."""


class NotAdmittedError(Exception):
    """A stream is not that of the node it names."""


class _Peer:
    """One stream's handler: reader, writer, and the reason for its end."""

    def __init__(self, certificate: str) -> None:
        self.scope = anyio.CancelScope()
        self.certificate = certificate
        self.reason = ""
        self.large = 0
        # gRPC is asyncio's anyway, and this event is waited for once per response: it can be cleared, anyio's cannot.
        self.awake = asyncio.Event()

    def wake(self) -> None:
        self.awake.set()

    def close(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.scope.cancel()


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Serves one method; gRPC answers any other with UNIMPLEMENTED."""

    def __init__(self, fleet: Fleet, admit: Admit | None) -> None:
        self._fleet = fleet
        self._admit = admit
        self._turns = Turns(fleet.clock, fleet.limits.waiting_bytes)
        self._peers: set[_Peer] = set()
        self.failure: BaseException | None = None
        self.failed = anyio.Event()
        self._method = grpc.stream_stream_rpc_method_handler(self.handle)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._method if handler_call_details.method == METHOD else None

    async def handle(self, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        peer = _Peer(_certificate(context))
        self._peers.add(peer)
        code = grpc.StatusCode.UNAVAILABLE
        try:
            with peer.scope:
                await self._converse(peer, context)
        except StreamRejectedError as error:
            peer.reason, code = str(error), grpc.StatusCode.INVALID_ARGUMENT
        except CrowdedError:
            self._fleet.counts["crowded"] += 1
            peer.reason = "many clients say at once what they hold: come again in a moment"
        except NotAdmittedError as error:
            peer.reason, code = str(error), grpc.StatusCode.PERMISSION_DENIED
        except Exception as error:
            self._fleet.counts["failures"] += 1
            self.failure = self.failure or error
            self.failed.set()
            raise
        finally:
            self._peers.discard(peer)
        if peer.reason:
            # A client that does not read does not take the reason either.
            with anyio.move_on_after(ABORT_SECONDS):
                await context.abort(code, peer.reason)

    def expel(self, why: Expel) -> None:
        """End every stream about which ``why`` says something."""
        for peer in tuple(self._peers):
            if reason := why(peer.certificate):
                peer.close(reason)

    async def _converse(self, peer: _Peer, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        fleet = self._fleet
        first: object = EOF
        with anyio.move_on_after(GREETING_SECONDS):
            first = await context.read()
        if not isinstance(first, bytes):
            return
        connection = await self._take(peer, first, lambda request: self._joined(peer, request))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, peer, connection, context)
                rejection = await self._read(peer, connection, context)
                tasks.cancel_scope.cancel()
        finally:
            fleet.leave(connection)
        if rejection is not None:
            try:
                raise rejection
            finally:
                del rejection  # else frame and exception hold each other until a collection

    def _joined(self, peer: _Peer, request: Request) -> Connection:
        if self._admit is not None and (refused := self._admit(peer.certificate, request.node)):
            raise NotAdmittedError(refused)
        return self._fleet.join(request, peer)

    async def _take(self, peer: _Peer, data: bytes, take: Callable[[Request], T]) -> T:
        """Read one request and do with it what is to be done, at once or, when it is large, in its turn."""
        limits = self._fleet.limits
        if len(data) <= limits.small_bytes:
            return take(self._decoded(data))
        peer.large += 1
        if peer.large > limits.large_requests:
            text = f"more than {limits.large_requests} requests of more than {limits.small_bytes} bytes on one stream"
            raise StreamRejectedError(text)
        async with self._turns.turn(len(data)):
            return take(self._decoded(data))

    def _decoded(self, data: bytes) -> Request:
        limits = self._fleet.limits
        return decode_request(data, limits.request_bytes, 2 * limits.names)

    async def _read(
        self, peer: _Peer, connection: Connection, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> StreamRejectedError | CrowdedError | None:
        fleet = self._fleet
        try:
            while (data := await context.read()) is not EOF:
                if len(data) > fleet.limits.small_bytes:
                    connection.stream.expects(fleet.clock() + UNREAD_SECONDS)
                await self._take(peer, data, lambda request: fleet.receive(connection, request))
        except (StreamRejectedError, CrowdedError) as rejection:
            # Without its frames: they hold the request, which may be megabytes.
            return rejection.with_traceback(None)
        return None

    async def _write(
        self, peer: _Peer, connection: Connection, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> None:
        outbox, clock = connection.outbox, self._fleet.clock
        while True:
            while outbox:
                connection.writing_since = clock()
                await context.write(outbox.popleft())
                connection.writing_since = None
            peer.awake.clear()
            await peer.awake.wait()


def _certificate(context: grpc.aio.ServicerContext[bytes, bytes]) -> str:
    """The one ``x-forwarded-client-cert`` of a stream; empty when there is none, or more than one."""
    found = [value for key, value in context.invocation_metadata() or () if key == CERTIFICATE_HEADER]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


async def serve(
    fleet: Fleet,
    listen: Path | str,
    *,
    admit: Admit | None = None,
    expel: Expel | None = None,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the fleet's streams until cancelled, on a unix socket (a ``Path``, made with mode 0600) or ``host:port``.

    ``admit`` says why a stream is refused, from the ``x-forwarded-client-cert`` of whoever passes it on and the node that it
    says it is; empty: it is not. Without ``admit`` everybody who can connect is believed. ``expel`` says the same, every second
    and from the header alone, of streams that go on.

    Started with ``await group.start(serve, ...)`` it reports the bound port (1 for a unix socket) when it listens.
    Raises ``OSError`` if it cannot listen, and whatever a handler raised that is a bug.
    """
    handlers = _Handlers(fleet, admit)
    server = grpc.aio.server(options=_options(fleet))
    server.add_generic_rpc_handlers((handlers,))
    port = _bind(server, listen)
    await server.start()
    task_status.started(port)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_sweep, fleet, handlers, expel)
            await handlers.failed.wait()
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            fleet.close("the control plane stops")
            await server.stop(GRACE_SECONDS)
    if handlers.failure is not None:
        raise handlers.failure


def _options(fleet: Fleet) -> list[tuple[str, Any]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", fleet.limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        # A proxy's certificates come in a header.
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MILLISECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
        # Proxies ping every few seconds to notice a control plane that hangs: that is no abuse. gRPC's own limit is once in
        # five minutes, and an option whose name it does not know it ignores.
        ("grpc.http2.min_ping_interval_without_data_ms", PINGS_APART_MILLISECONDS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_concurrent_streams", 100),
        # A fast client would else be let fill megabytes of window on each stream before anything is read.
        ("grpc.http2.bdp_probe", 0),
    ]


def _bind(server: grpc.aio.Server, listen: Path | str) -> int:
    """Listen; a unix socket is never open to others, not even between its creation and a later change of mode."""
    if isinstance(listen, str):
        port = server.add_insecure_port(listen)
        if port == 0:
            raise OSError(f"cannot listen on {listen}")
        return port
    before = os.umask(0o177)
    try:
        port = server.add_insecure_port(f"unix:{listen}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}: {error}") from error
    finally:
        os.umask(before)
    return port


async def _sweep(fleet: Fleet, handlers: _Handlers, expel: Expel | None) -> None:
    while True:
        await anyio.sleep(SWEEP_SECONDS)
        fleet.sweep()
        if expel is not None:
            handlers.expel(expel)
