"""Reading a URL that a user wrote: what is judged, what is refused, what is read."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.streams.tls import TLSListener
from cryptography import x509

from tests.support.web import contexts
from weft import outside
from weft.outside import Address, Allowed, Reader, RefusedError, allowed, forbidden, target

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import ByteStream

NOTHING = Allowed()
OPEN = allowed(("keys.corp.example", "*.Inside.example.", "10.9.0.0/16", "127.0.0.1"))


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://a.example/keys?v=1", "a.example", 443, "/keys?v=1", "a.example"),
        ("https://A.Example.", "a.example", 443, "/", "a.example"),
        ("https://a.example:8443/k#f", "a.example", 8443, "/k", "a.example:8443"),
        ("https://[2001:db8::1]/", "2001:db8::1", 443, "/", "[2001:db8::1]"),
        ("http://keys.corp.example/k", "keys.corp.example", 80, "/k", "keys.corp.example"),
        ("http://x.inside.example", "x.inside.example", 80, "/", "x.inside.example"),
        ("http://127.0.0.1:81/", "127.0.0.1", 81, "/", "127.0.0.1:81"),
    ],
)
def test_a_url_is_a_host_a_port_and_a_path(url: str, host: str, port: int, path: str, authority: str) -> None:
    found = target(url, OPEN)
    assert (found.host, found.port, found.path, found.authority) == (host, port, path, authority)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://a.example/", "unless the host is allowed"),
        ("http://inside.example/", "unless the host is allowed"),
        ("http://127.0.0.2/", "unless the host is allowed"),
        ("ftp://a.example/", "only https"),
        ("file:///etc/passwd", "not a URL"),
        ("gopher://a.example/", "only https"),
        ("https://user:word@a.example/", "user or a password"),
        ("https://@a.example/", "user or a password"),
        ("https:///keys", "not a URL"),
        ("https://a.example:0/", "only https"),
        ("https://a.example:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://a.example/ keys", "not a URL"),
        ("https://a.example\\@b.example/", "not a URL"),
        ("https://a.example/\r\nX: y", "not a URL"),
        ("https://ä.example/", "not a URL"),
    ],
)
def test_what_is_no_url_of_a_web_server_is_refused(url: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        target(url, OPEN)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "192.88.99.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1"),
        *("::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2001:0:7f00:1::1"),
        *("64:ff9b::a00:1", "64:ff9b:1::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1"),
    ],
)
def test_what_is_not_the_internet_is_forbidden(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address), NOTHING, host_opened=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_the_internet_is_open(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address), NOTHING, host_opened=False) == ""


@pytest.mark.parametrize(
    ("address", "held"),
    [
        ("10.0.0.1", True),
        ("100.64.0.1", True),
        ("fc00::1", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("fd00:ec2::254", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_an_allowed_host_may_be_private_and_nothing_else(address: str, held: bool) -> None:
    assert (forbidden(ipaddress.ip_address(address), NOTHING, host_opened=True) == "") is held


def test_an_allowed_block_is_open_whatever_it_is() -> None:
    assert forbidden(ipaddress.ip_address("127.0.0.1"), OPEN, host_opened=False) == ""
    assert forbidden(ipaddress.ip_address("10.9.1.1"), OPEN, host_opened=False) == ""
    assert forbidden(ipaddress.ip_address("10.8.1.1"), OPEN, host_opened=False)


def test_hosts_are_allowed_by_name_or_below_one() -> None:
    assert OPEN.host("keys.corp.example")
    assert OPEN.host("a.b.inside.example")
    assert not OPEN.host("inside.example")
    assert not OPEN.host("xinside.example")
    assert not OPEN.host("corp.example")


class Server:
    """One real server on loopback that answers with the same bytes whoever asks."""

    def __init__(self, *answer: bytes) -> None:
        self.answer = answer
        self.asked = b""
        self.dialled: list[str] = []

    async def get(self, url: str = "http://keys.corp.example/k") -> bytes:
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, self._serve)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - of anyio

            async def resolved(_host: str, _port: int) -> tuple[str, ...]:
                return ("10.1.2.3", "10.1.2.4")

            async def dialled(address: Address, number: int) -> ByteStream:
                self.dialled.append(f"{address}:{number}")
                return await anyio.connect_tcp("127.0.0.1", port)

            try:
                found: bytes | RefusedError = await Reader(resolved, dialled).get(url, OPEN)
            except RefusedError as error:
                found = error
            tasks.cancel_scope.cancel()
        if isinstance(found, RefusedError):
            raise found
        return found

    async def _serve(self, stream: ByteStream) -> None:
        async with stream:
            self.asked = await stream.receive()
            for part in self.answer:
                with contextlib.suppress(anyio.BrokenResourceError):
                    await stream.send(part)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


@pytest.mark.anyio
async def test_the_connection_goes_to_the_address_that_was_judged_and_names_the_host() -> None:
    server = Server(HEAD, b"{", b"}")
    assert await server.get() == b"{}"
    assert server.dialled == ["10.1.2.3:80"]
    assert server.asked.startswith(b"GET /k HTTP/1.1\r\nHost: keys.corp.example\r\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"{}",),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}",),
    ],
)
async def test_answers_come_in_every_form_of_http(answer: tuple[bytes, ...]) -> None:
    assert await Server(*answer).get() == b"{}"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n", "not followed"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "packed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "does not speak HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, "too much"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (outside.LIMIT_BYTES + 1), "longer than"),
        (b"", "does not speak HTTP"),
    ],
)
async def test_what_is_no_good_answer_is_refused(answer: bytes, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        await Server(answer).get()


@pytest.mark.anyio
async def test_a_server_without_tls_where_it_was_promised_is_refused() -> None:
    with pytest.raises(RefusedError, match="could not be asked"):
        await Server(b"HTTP/1.1 400 Bad Request\r\n\r\n").get("https://keys.corp.example/")


@pytest.mark.anyio
async def test_a_name_without_an_address_is_refused() -> None:
    async def failing(_host: str, _port: int) -> tuple[str, ...]:
        raise OSError

    async def nothing(_host: str, _port: int) -> tuple[str, ...]:
        return ()

    async def nonsense(_host: str, _port: int) -> tuple[str, ...]:
        return ("not an address",)

    for resolved, why in ((failing, "no address"), (nothing, "no address"), (nonsense, "DNS answered")):
        with pytest.raises(RefusedError, match=why):
            await Reader(resolved).get("https://a.example/", NOTHING)


@pytest.mark.anyio
async def test_the_systems_resolver_gives_addresses() -> None:
    assert await outside.resolve("127.0.0.1", 1) == ("127.0.0.1",)


@pytest.mark.anyio
async def test_the_systems_sockets_go_to_an_address() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - of anyio
        stream = await outside.dial(ipaddress.ip_address("127.0.0.1"), port)
        assert stream.extra(anyio.abc.SocketAttribute.remote_port) == port  # noqa: S610 - of anyio
        await stream.aclose()


async def over_tls(directory: Path, host: str, *, believed: bool = True, wrong: str = "") -> str:
    """What is read from a server that proves to be ``host``, or why nothing is."""
    server, client = contexts(directory, host)
    named: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: named.append(name)

    async def serve(stream: ByteStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError):
                await stream.receive()
                await stream.send(HEAD + b"{}")

    async def resolved(_host: str, _port: int) -> tuple[str, ...]:
        return ("93.184.216.34",)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as plain, anyio.create_task_group() as tasks:
        port = plain.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - of anyio
        listener = TLSListener(plain, server, standard_compatible=False)
        tasks.start_soon(listener.serve, serve)

        async def dialled(_address: Address, _port: int) -> ByteStream:
            return await anyio.connect_tcp("127.0.0.1", port)

        shown: list[bytes] = []

        def judge(certificate: bytes) -> str:
            shown.append(certificate)
            return wrong

        reader = Reader(resolved, dialled, client if believed else None, wrong=judge)
        try:
            found = (await reader.get("https://keys.example/", NOTHING)).decode()
        except RefusedError as error:
            found = str(error)
        tasks.cancel_scope.cancel()
    assert named == ["keys.example"]
    assert all(x509.load_der_x509_certificate(each) for each in shown)
    return found


@pytest.mark.anyio
async def test_a_server_must_prove_to_be_the_host_of_the_url(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert await over_tls(tmp_path, "keys.example") == "{}"
    refused = await over_tls(tmp_path, "keys.example", wrong="is of somebody else")
    assert refused == "the certificate of keys.example is of somebody else"
    assert "certificate of keys.example is not good" in await over_tls(tmp_path, "evil.example")
    assert "certificate of keys.example is not good" in await over_tls(tmp_path, "keys.example", believed=False)
    caplog.clear()
