"""The small client against a server that a test scripts byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.secrets import Authority
from weft.agent import remote, unix_http
from weft.model.service import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from anyio.abc import SocketStream

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(path: Path, *parts: bytes) -> AsyncIterator[list[bytes]]:
    """A server that sends ``parts`` to whoever asks, and then hangs up; what it was asked."""
    asked: list[bytes] = []

    async def handle(stream: SocketStream) -> None:
        async with stream:
            asked.append(await stream.receive())
            for part in parts:
                await stream.send(part)

    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield asked
        group.cancel_scope.cancel()


async def test_an_answer_comes_with_status_headers_and_body(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(path, b"HTTP/1.1 201 Created\r\nX-A: b\r\ncontent-length: 5\r\n\r\nhe", b"llo") as asked:
        answer = await unix_http.request(Address(path=str(path)), "PUT", "/a?b=c", b"{}")
    assert (answer.status, answer.body) == (201, b"hello")
    assert (b"x-a", b"b") in answer.headers
    assert asked[0].startswith(b"PUT /a?b=c HTTP/1.1\r\n")
    assert asked[0].endswith(b"\r\n\r\n{}")


async def test_lines_come_whole_however_they_were_cut_and_the_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "s"
    found = []
    async with serving(path, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\none\ntw", b"o\n\nthree"):
        with pytest.raises(unix_http.HttpError, match="ended"):  # noqa: PT012 - what came before counts
            async for line in unix_http.lines(Address(path=str(path)), "/"):
                found.append(line)  # noqa: PERF401 - the error at the end would lose them
    assert found == [b"one", b"two"]


async def test_a_refusal_to_stream_an_absent_peer_and_nonsense_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(unix_http.HttpError, match="No such file"):
        await unix_http.request(Address(path=str(path)), "GET", "/")
    async with serving(path, b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"):
        with pytest.raises(unix_http.HttpError, match="answers 404"):
            async for _ in unix_http.lines(Address(path=str(path)), "/"):
                pass
    path.unlink()
    async with serving(path, b"SSH-2.0\r\n\r\n"):
        with pytest.raises(unix_http.HttpError):
            await unix_http.request(Address(path=str(path)), "GET", "/")


async def test_a_peer_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = await anyio.create_unix_listener(path)
    async with listener:
        with pytest.raises(unix_http.HttpError, match="no answer"):
            await unix_http.request(Address(path=str(path)), "GET", "/", timeout_seconds=0.05)


@pytest.mark.parametrize("identity", ["spiffe://local/weft/control", "spiffe://local/ns/default/sa/web"])
async def test_control_behind_its_door_is_asked_with_an_identity_and_nobody_else_is(
    tmp_path: Path, identity: str
) -> None:
    authority = Authority("local")
    own, server = authority.svid("spiffe://local/weft/host/bert"), authority.svid(identity)
    (tmp_path / remote.IDENTITY).write_bytes(own.key + own.chain)
    (tmp_path / remote.BUNDLE).write_bytes(authority.root)
    (tmp_path / "server.pem").write_bytes(server.key + server.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(cadata=authority.root.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            shown = writer.get_extra_info("peercert")
            asked.append(dict(shown["subjectAltName"])["URI"])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
        writer.close()

    served = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = served.sockets[0].getsockname()[1]
    control = remote.Remote(Address(ip="127.0.0.1", port=port), tmp_path, "local")
    if identity.endswith("/control"):
        assert (await unix_http.request(control, "GET", "/readyz")).body == b"ok"
        assert asked == ["spiffe://local/weft/host/bert"]
    else:
        with pytest.raises(unix_http.HttpError, match="and not spiffe://local/weft/control"):
            await unix_http.request(control, "GET", "/readyz")
        assert asked == [], "nothing was said to it"
    served.close()
    await served.wait_closed()
