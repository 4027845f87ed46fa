"""Requests of every odd form against a DENY of ``/admin``: at an edge, and inside mutual TLS at a workload's own proxy.

What HTTP has besides a method and a path (CONNECT, upgrades, gRPC-Web, two requests in one, trailers, headers that name
another path) leads nobody past it, and what else the application is asked is not held up.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import pytest

from tests.attacks.test_spellings import over_http2
from tests.envoy.policy_rig import guarded
from tests.support.attacks import CALLER_ID, PEER_NAME, context, heard, pair
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind, TlsMode
from weft.names import ALPN_RAW

if TYPE_CHECKING:
    import ssl
    from collections import Counter
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
SOURCE: Final = "AuthorizationPolicy/default/doors"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def denied(prefix: str) -> tuple[AuthPolicy, ...]:
    asked = Question(Attribute.PATH, (Text(TextKind.PREFIX, prefix),))
    return (AuthPolicy(SOURCE, Action.DENY, (AuthRule(f"{SOURCE}/rules/0", operations=((asked,),)),)),)


def said(first: str, *lines: str, body: str = "") -> bytes:
    return "\r\n".join((first, "Host: app.example", *lines, "", body)).encode()


ADMIN: Final = said("GET /admin HTTP/1.1").decode()
WEBSOCKET: Final = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
CHUNKED: Final = "Transfer-Encoding: chunked"
REFUSED: Final = {
    "absolute form": said("GET http://app.example/admin HTTP/1.1"),
    "absolute form of another host": said("GET http://other.example/admin HTTP/1.1"),
    "CONNECT": said("CONNECT app.example:80 HTTP/1.1"),
    "CONNECT with a path": said("CONNECT /admin HTTP/1.1"),
    "a WebSocket": said("GET /admin HTTP/1.1", *WEBSOCKET),
    "h2c": said(
        "GET /admin HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
    ),
    "an upgrade that nobody knows": said("GET /x HTTP/1.1", "Connection: Upgrade", "Upgrade: other", body=ADMIN),
    "an upgrade to TLS": said("GET /x HTTP/1.1", "Connection: Upgrade", "Upgrade: TLS/1.0"),
    "gRPC-Web": said("POST /admin HTTP/1.1", "Content-Type: application/grpc-web+proto", "Content-Length: 0"),
    "a method in small letters": said("get /admin HTTP/1.1"),
    "a method that nobody knows": said("ADMIN /admin HTTP/1.1"),
    "two lengths": said("POST /x HTTP/1.1", "Content-Length: 0", "Content-Length: 60", body=ADMIN),
    "a length and chunks": said("POST /x HTTP/1.1", "Content-Length: 6", CHUNKED, body="0\r\n\r\n" + ADMIN),
    "chunks of another name": said("POST /x HTTP/1.1", "Transfer-Encoding: xchunked", body="0\r\n\r\n" + ADMIN),
    "chunked twice": said("POST /x HTTP/1.1", CHUNKED, "Transfer-Encoding: identity", body="0\r\n\r\n" + ADMIN),
    "a huge header": said("GET /x HTTP/1.1", f"x-a: {'a' * 70_000}"),
    "a thousand headers": said("GET /x HTTP/1.1", *(f"x-{number}: a" for number in range(1_000))),
    "a query before a path": said("GET ?/admin HTTP/1.1"),
}
PASSED: Final = {
    "two requests in one": said("GET /x HTTP/1.1") + ADMIN.encode(),
    "another path in headers": said(
        "GET /x HTTP/1.1", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Envoy-Original-Path: /admin"
    ),
    "a line that is folded": said("GET /x HTTP/1.1", "x-a: b\r\n /admin"),
    "a path in a query": said("GET /x?p=/admin HTTP/1.1"),
    "h2c elsewhere": said(
        "GET /x HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
    ),
}
"""The first request reaches the application, as itself: whatever else was said does not."""


async def first_line(socket: Path, data: bytes, tls: ssl.SSLContext | None = None) -> str:
    return (await heard(socket, tls, data)).partition(b"\r\n")[0].decode()


async def tried(door: Path, seen: Counter[str], tls: ssl.SSLContext | None = None) -> list[str]:
    """What went wrong, by name."""
    wrong = []
    for name, data in REFUSED.items():
        line = await first_line(door, data, tls)
        if not line or line.split()[1] not in ("400", "403", "404", "431", "501") or seen:
            wrong.append(f"{name}: {line}, {seen}")
        seen.clear()
    for name, data in PASSED.items():
        line = await first_line(door, data, tls)
        if line.split()[1:2] != ["200"] or any("/admin" in each.partition("?")[0] for each in seen):
            wrong.append(f"{name}: {line}, {seen}")
        seen.clear()
    return wrong


async def test_no_form_of_request_passes_a_deny_at_an_edge(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, Guard(policies=denied("/admin"))) as edge:
        assert await tried(edge.door, edge.apps["app"].seen) == []
        connect = [(":method", "CONNECT"), (":authority", "app.example:80")]
        assert await over_http2(edge, connect) in (0, 400, 403, 404)
        extended = [*connect, (":protocol", "websocket"), (":scheme", "http"), (":path", "/admin")]
        assert await over_http2(edge, extended) in (0, 400, 403)
        grpc = await heard(
            edge.door, None, said("POST /admin/Get HTTP/1.1", "Content-Type: application/grpc", "Content-Length: 0")
        )
        assert b"grpc-status: 7\r\n" in grpc
        assert edge.seen == []


async def test_no_form_of_request_passes_a_deny_at_a_workload(envoy_binary: Path) -> None:
    async with pair(envoy_binary) as both:
        both.guard = Guard(mode=TlsMode.PERMISSIVE, policies=denied("/admin"))
        await both.start_callee()
        tls = context(both.mesh.directory, both.authority.svid(CALLER_ID), (ALPN_RAW,))
        assert await tried(both.inside, both.app.seen, tls) == []
        assert await tried(both.inside, both.app.seen) == []


async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An application that takes every WebSocket and says back what it hears."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    with contextlib.suppress(OSError):
        while data := await reader.read(100):
            writer.write(data)
    writer.close()


async def test_a_websocket_that_was_let_in_outlives_a_denial_and_no_other_begins(envoy_binary: Path) -> None:
    """As in Istio: requests are decided about when they begin. What bounds one that goes on stands in docs/concepts/policy.md."""
    request = said("GET /x HTTP/1.1", *WEBSOCKET)
    async with pair(envoy_binary) as both:
        both.guard = Guard(mode=TlsMode.STRICT, policies=denied("/admin"))
        both.app.socket = await both.mesh.serve_raw("talking", talking)
        await both.start_callee()
        tls = context(both.mesh.directory, both.authority.svid(CALLER_ID), (ALPN_RAW,))
        reader, writer = await asyncio.open_unix_connection(str(both.inside), ssl=tls, server_hostname=PEER_NAME)
        writer.write(request)
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        await both.change(guard=Guard(mode=TlsMode.STRICT, policies=denied("/")))
        assert " 403 " in await first_line(both.inside, request, tls)
        writer.write(b"ping")
        assert await asyncio.wait_for(reader.readexactly(4), 10) == b"ping"
        writer.transport.abort()
