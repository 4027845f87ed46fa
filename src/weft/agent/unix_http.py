"""A small HTTP/1.1 client for unix sockets and loopback: Envoy's admin, health checks and control; and, on a host that joined
a mesh, for control's door (``weft.agent.remote``).

The agent holds one of these per question instead of a client library, because it must stay small
(docs/concepts/capture.md has the figures) and needs neither redirects, cookies nor pools.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
import h11
import msgspec
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

from weft.model.service import Address
from weft.names import CONTROL_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import ByteStream

    from weft.agent.remote import Remote

Target: TypeAlias = "Address | Remote"
"""Whom to ask: a socket, a port, or control behind its door."""

BODY_LIMIT: Final = 64 * 1024 * 1024
LINE_LIMIT: Final = 16 * 1024 * 1024
ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 9_000),
)
"""Another host that is gone without a word is noticed within ten seconds, also by a watch on which nothing happens."""


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class NotControlError(Exception):
    """Whoever answered at the door's address is not control."""


class HttpError(Exception):
    """The peer is absent, or does not speak HTTP."""


class _UnixStream:
    """A unix socket. anyio's own reports a future that is done twice when it is cancelled as data arrives (4.16)."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw

    async def send(self, data: bytes) -> None:
        while data:
            try:
                data = data[self._raw.send(data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._raw)

    async def receive(self) -> bytes:
        """Nothing at the end."""
        while True:
            await anyio.wait_readable(self._raw)
            try:
                return self._raw.recv(65536)
            except BlockingIOError:
                continue


@asynccontextmanager
async def _connected(address: Target) -> AsyncIterator[ByteStream | _UnixStream]:
    if not isinstance(address, Address):
        async with _through_door(address) as tls:
            yield tls
        return
    if not address.path:
        async with await anyio.connect_tcp(address.ip, address.port) as stream:
            yield stream
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
        raw.setblocking(False)
        while True:
            try:
                raw.connect(address.path)
                break
            except BlockingIOError:  # the listener's queue is full; no event tells when it no longer is
                await anyio.sleep(0.01)
        yield _UnixStream(raw)


@asynccontextmanager
async def _through_door(remote: Remote) -> AsyncIterator[ByteStream]:
    door = remote.door
    try:
        connected = await anyio.connect_tcp(
            door.ip,
            door.port,
            ssl_context=remote.context(),
            tls_standard_compatible=False,
            tls_hostname=CONTROL_NAME,
        )
    except ssl.SSLCertVerificationError:
        remote.unknown_root()
        raise
    async with connected as stream:
        raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - no database here
        for level, option, value in ALIVE:
            raw.setsockopt(level, option, value)
        remote.check(stream.extra(TLSAttribute.peer_certificate_binary))  # noqa: S610 - as above
        yield stream


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, stream: ByteStream | _UnixStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def send(self, method: str, target: str, body: bytes | None) -> h11.Response:
        """``body`` is JSON."""
        headers = [("host", "localhost"), ("user-agent", "weft-agent"), ("connection", "close")]
        if body is not None:
            headers += [("content-length", str(len(body))), ("content-type", "application/json")]
        elif method != "GET":
            headers.append(("content-length", "0"))
        data = self._http.send(h11.Request(method=method, target=target, headers=headers)) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        await self._stream.send(data + (self._http.send(h11.EndOfMessage()) or b""))
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return

    async def _next(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                self._http.receive_data(await self._stream.receive())
            except anyio.EndOfStream:
                self._http.receive_data(b"")


@asynccontextmanager
async def _exchange(address: Target) -> AsyncIterator[_Exchange]:
    try:
        async with _connected(address) as stream:
            yield _Exchange(stream)
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, h11.ProtocolError, NotControlError) as error:
        raise HttpError(f"{address}: {str(error) or type(error).__name__}") from error


async def request(
    address: Target,
    method: str,
    target: str,
    body: bytes | None = None,
    *,
    timeout_seconds: float = 10.0,
) -> Answer:
    """One whole answer. Raises ``HttpError``, also when it takes longer than the timeout or exceeds the limit."""
    try:
        with anyio.fail_after(timeout_seconds):
            async with _exchange(address) as exchange:
                response = await exchange.send(method, target, body)
                received = bytearray()
                async for chunk in exchange.chunks():
                    received += chunk
                    if len(received) > BODY_LIMIT:
                        raise HttpError(f"{address}: the answer to {target} exceeds {BODY_LIMIT} bytes")
                return Answer(response.status_code, bytes(received), tuple(response.headers))
    except TimeoutError as error:
        raise HttpError(f"{address}: no answer to {target} within {timeout_seconds} s") from error


async def lines(address: Target, target: str) -> AsyncIterator[bytes]:
    """The lines of an answer that goes on, as they come. Raises ``HttpError``, also when the peer ends it."""
    async with _exchange(address) as exchange:
        response = await exchange.send("GET", target, None)
        if response.status_code != 200:
            raise HttpError(f"{address}: {target} answers {response.status_code}")
        rest = b""
        async for chunk in exchange.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
            if len(rest) > LINE_LIMIT:
                raise HttpError(f"{address}: a line of {target} exceeds {LINE_LIMIT} bytes")
    raise HttpError(f"{address}: {target} ended")
