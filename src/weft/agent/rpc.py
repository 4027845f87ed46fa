"""A gRPC server for unix sockets that knows, before it reads a byte, which process it speaks to.

gRPC is HTTP/2 with five bytes before each message, and h2 is an HTTP/2 without I/O; what is between them is here
(docs/decisions/0066-own-grpc-shell.md). Every limit is checked before anything is kept: a peer may be anybody.

Source: gRPC over HTTP2, "Protocol".
"""

from __future__ import annotations

import contextlib
import enum
import errno
import struct
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import quote

import anyio
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import msgspec

from weft import private

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping

    from anyio.abc import TaskGroup

P = TypeVar("P")

_PREFIX: Final = struct.Struct(">BI")
"""Compressed or not, and the length of the message."""
_READ_BYTES: Final = 65_536
_HEADER_BYTES: Final = 16_384


class Status(enum.IntEnum):
    """Source: gRPC, "Status codes and their use"."""

    OK = 0
    INVALID_ARGUMENT = 3
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14


class RpcError(Exception):
    """Ends a call with this status."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one server, one user and one connection may cost. ``greeting_seconds``: until the first call."""

    connections: int = 1_024
    connections_per_user: int = 1_024
    streams: int = 64
    resets: int = 1_000
    message_bytes: int = 65_536
    waiting_messages: int = 8
    greeting_seconds: float = 10.0


class Call(Generic[P]):
    """One call: whose it is, what its headers say, and the messages both ways."""

    def __init__(self, connection: _Connection[P], stream: int, method: str, metadata: Mapping[str, str]) -> None:
        self.peer = connection.peer
        self.method = method
        self.metadata = metadata
        self.scope = anyio.CancelScope()
        self._connection = connection
        self._stream = stream
        self._partial = bytearray()
        self._messages: deque[bytes] = deque()
        self._closed = False
        self._news = anyio.Event()

    async def receive(self) -> bytes | None:
        """The next message; None after the last."""
        while not self._messages:
            if self._closed:
                return None
            self._news = anyio.Event()
            await self._news.wait()
        return self._messages.popleft()

    async def send(self, message: bytes) -> None:
        """Returns when it was handed to the kernel, which waits for a peer that does not read."""
        await self._connection.send(self._stream, _PREFIX.pack(0, len(message)) + message)

    def feed(self, data: bytes, limits: Limits) -> None:
        """Raises ``RpcError`` for what is over a limit or not gRPC."""
        self._partial += data
        while len(self._partial) >= _PREFIX.size:
            compressed, length = _PREFIX.unpack_from(self._partial)
            if length > limits.message_bytes or len(self._messages) >= limits.waiting_messages:
                raise RpcError(Status.RESOURCE_EXHAUSTED, f"messages of at most {limits.message_bytes} bytes are read")
            if compressed:
                raise RpcError(Status.UNIMPLEMENTED, "compressed messages are not read")
            if len(self._partial) < _PREFIX.size + length:
                return
            self._messages.append(bytes(self._partial[_PREFIX.size : _PREFIX.size + length]))
            del self._partial[: _PREFIX.size + length]
            self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()


class _Connection(Generic[P]):
    """One connection until its end."""

    def __init__(self, raw: socket.socket, peer: P, server: Server[P]) -> None:
        self.peer = peer
        self._raw = raw
        self._server = server
        self._limits = server.limits
        self._calls: dict[int, Call[P]] = {}
        self._resets = 0
        self._greeted = anyio.Event()
        self._window = anyio.Event()
        self._writing = anyio.Lock()
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        codes = h2.settings.SettingCodes
        values = {codes.MAX_CONCURRENT_STREAMS: self._limits.streams, codes.MAX_HEADER_LIST_SIZE: _HEADER_BYTES}
        self._http.local_settings = h2.settings.Settings(client=False, initial_values=values)
        self._http.decoder.max_header_list_size = _HEADER_BYTES

    async def run(self) -> None:
        self._http.initiate_connection()
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            await self._flush()
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch_greeting, group)
                await self._read(group)
                group.cancel_scope.cancel()

    async def _watch_greeting(self, group: TaskGroup) -> None:
        with anyio.move_on_after(self._limits.greeting_seconds):
            await self._greeted.wait()
            return
        group.cancel_scope.cancel()

    async def _read(self, group: TaskGroup) -> None:
        while True:
            await anyio.wait_readable(self._raw)
            try:
                data = self._raw.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data or not await self._take(data, group):
                return

    async def _take(self, data: bytes, group: TaskGroup) -> bool:
        """Whether the connection goes on."""
        try:
            goes_on = True
            for event in self._http.receive_data(data):
                goes_on = self._on(event, group) and goes_on
        except h2.exceptions.ProtocolError:
            goes_on = False
        try:
            await self._flush()  # what h2 has to say, a GOAWAY included
        except OSError:
            return False
        return goes_on

    def _on(self, event: h2.events.Event, group: TaskGroup) -> bool:
        match event:
            case h2.events.RequestReceived():
                self._greeted.set()
                self._begin(event, group)
            case h2.events.DataReceived():
                self._feed(event)
            case h2.events.StreamEnded():
                if call := self._calls.get(event.stream_id or 0):
                    call.close()
            case h2.events.StreamReset():
                self._resets += 1
                if call := self._calls.get(event.stream_id or 0):
                    call.scope.cancel()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                window, self._window = self._window, anyio.Event()
                window.set()
            case h2.events.ConnectionTerminated():
                return False
        return self._resets <= self._limits.resets

    def _begin(self, event: h2.events.RequestReceived, group: TaskGroup) -> None:
        stream = event.stream_id or 0
        if len(self._calls) >= self._limits.streams:
            # Nobody need confirm our settings, and until then h2 does not hold anybody to them.
            self._resets += 1
            self._http.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        headers = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in event.headers or ()}
        call = Call(self, stream, headers.get(":path", ""), headers)
        self._calls[stream] = call
        group.start_soon(self._serve, stream, call)

    def _feed(self, event: h2.events.DataReceived) -> None:
        stream = event.stream_id or 0
        call = self._calls.get(stream)
        if length := event.flow_controlled_length:
            self._http.acknowledge_received_data(length, stream)
        if call is None:
            return
        try:
            call.feed(event.data or b"", self._limits)
        except RpcError as error:
            self._end(stream, error.status, str(error))
            call.scope.cancel()

    async def _serve(self, stream: int, call: Call[P]) -> None:
        status, text = Status.OK, ""
        with call.scope:
            try:
                await self._server.method(call)(call)
            except RpcError as error:
                status, text = error.status, str(error)
            except (OSError, h2.exceptions.ProtocolError):
                return  # it hung up, or took the stream back
            except BaseExceptionGroup as several:
                # A method with tasks of its own fails in a group.
                refusals, others = several.split(RpcError)
                if others is not None and others.split((OSError, h2.exceptions.ProtocolError))[1] is not None:
                    raise
                status, text = _first(refusals)
            self._end(stream, status, text)
            with contextlib.suppress(OSError):
                await self._flush()
        self._calls.pop(stream, None)

    def _end(self, stream: int, status: Status, text: str) -> None:
        trailers = [("grpc-status", str(int(status))), ("grpc-message", quote(text, safe=" ,.:/'()"))]
        with contextlib.suppress(h2.exceptions.ProtocolError):
            if not self._begun(stream):
                trailers = [(":status", "200"), ("content-type", "application/grpc"), *trailers]
            self._http.send_headers(stream, trailers, end_stream=True)
            if (found := self._http.streams.get(stream)) is not None and found.open:
                # The client need not finish what it says.
                self._http.reset_stream(stream, h2.errors.ErrorCodes.NO_ERROR)

    def _begun(self, stream: int) -> bool:
        found = self._http.streams.get(stream)
        return found is not None and bool(found.state_machine.headers_sent)

    async def send(self, stream: int, data: bytes) -> None:
        if not self._begun(stream):
            self._http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        while data:
            window = min(self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size)
            if window <= 0:
                await self._window.wait()
                continue
            self._http.send_data(stream, data[:window])
            data = data[window:]
            await self._flush()

    async def _flush(self) -> None:
        async with self._writing:
            data = self._http.data_to_send()
            while data:
                try:
                    data = data[self._raw.send(data) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._raw)


def _first(refusals: BaseExceptionGroup[RpcError] | None) -> tuple[Status, str]:
    while refusals is not None:
        one = refusals.exceptions[0]
        if isinstance(one, RpcError):
            return one.status, str(one)
        refusals = one
    return Status.UNAVAILABLE, ""


def _forget(peer: object) -> None:
    """Nothing is kept for a peer."""


class Server(Generic[P]):
    """``admit`` says who the other end of a fresh connection is, or None to hang up without a word; ``leave`` hears of the
    end of what was admitted.
    """

    def __init__(
        self,
        admit: Callable[[socket.socket], Awaitable[P | None]],
        methods: Mapping[str, Callable[[Call[P]], Awaitable[None]]],
        limits: Limits | None = None,
        *,
        leave: Callable[[P], None] = _forget,
    ) -> None:
        self._admit = admit
        self._methods = methods
        self._leave = leave
        self._open: Counter[int] = Counter()
        self.limits = limits or Limits()

    def method(self, call: Call[P]) -> Callable[[Call[P]], Awaitable[None]]:
        """Raises ``RpcError``."""
        if call.metadata.get(":method") != "POST" or not call.metadata.get("content-type", "").startswith(
            "application/grpc"
        ):
            raise RpcError(Status.INVALID_ARGUMENT, "not a gRPC call")
        if (found := self._methods.get(call.method)) is None:
            raise RpcError(Status.UNIMPLEMENTED, f"no method {call.method[:100]}")
        return found

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled. A bug in a method ends it with its exception."""
        listener.setblocking(False)
        async with anyio.create_task_group() as group:
            while True:
                await anyio.wait_readable(listener)
                try:
                    raw, _ = listener.accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                        raise
                    await anyio.sleep(0.05)
                    continue
                group.start_soon(self._converse, raw)

    async def _converse(self, raw: socket.socket) -> None:
        with raw:
            raw.setblocking(False)
            user = private.peer(raw).uid
            if self._open.total() >= self.limits.connections or self._open[user] >= self.limits.connections_per_user:
                return
            self._open[user] += 1
            try:
                peer = await self._admit(raw)
                if peer is not None:
                    try:
                        await _Connection(raw, peer, self).run()
                    finally:
                        self._leave(peer)
            finally:
                self._open[user] -= 1
                if not self._open[user]:
                    del self._open[user]
