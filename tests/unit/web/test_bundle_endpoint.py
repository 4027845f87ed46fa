"""Two real ends: our endpoint, and the client by which another trust domain asks it."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest
from anyio.streams.tls import TLSStream
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.stores import Clock
from tests.support.trust import Rig, key, key_pem, pem
from weft.errors import Problem
from weft.identity import bundle, fetch, x509
from weft.identity.rotation import Word
from weft.identity.state import Federated, Profile
from weft.sources.lock import UnusableError
from weft.web import bundle_endpoint
from weft.web.bundle_endpoint import BundleEndpoint

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import ByteStream

pytestmark = pytest.mark.anyio
CONTROL = "spiffe://local/weft/control"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    clock = Clock()
    clock.time = datetime.now(UTC)
    return Rig(tmp_path / "trust", clock=clock)


def asking(rig: Rig, port: int, path: str = "/", ca: bytes = b"") -> Federated:
    return Federated(
        trust_domain=rig.service.domain,
        profile=Profile.HTTPS_WEB if ca else Profile.HTTPS_SPIFFE,
        url=f"https://127.0.0.1:{port}{path}",
        spiffe_id="" if ca else CONTROL,
        ca=ca,
        private=True,
    )


async def fetched(rig: Rig, known: Federated, roots: tuple[bytes, ...]) -> bytes | str:
    found = await fetch.fetch(known, roots, rig.clock())
    return found.message if isinstance(found, Problem) else found


async def test_it_proves_itself_by_controls_svid_and_gives_the_bundle(rig: Rig) -> None:
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    listener = endpoint.open()
    port = listener.getsockname()[1]
    roots = rig.service.bundles()[0].x509
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener)
        for path in bundle_endpoint.PATHS:
            assert await fetched(rig, asking(rig, port, path.decode()), roots) == bundle.document(
                rig.service.bundles()[0]
            )
        assert "answered 404" in str(await fetched(rig, asking(rig, port, "/weft/v1/authorities"), roots))
        async with httpx2.AsyncClient(verify=False) as client:
            answer = await client.post(f"https://127.0.0.1:{port}/")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        tasks.cancel_scope.cancel()


async def test_after_a_rotation_it_shows_an_svid_of_the_new_authority(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    listener = endpoint.open()
    port = listener.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener)
        await rig.service.steps.rotate(Word(who="ann"))
        await rig.service.tend()
        (root,) = rig.service.bundles()[0].x509
        with anyio.fail_after(10):
            while await fetched(rig, asking(rig, port), (root,)) != bundle.document(rig.service.bundles()[0]):
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    monkeypatch.setattr(bundle_endpoint, "LOOK_SECONDS", 0)
    again = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    again.open().close()
    due = again._due
    rig.clock.advance(13 * 3600)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again._follow)
        with anyio.fail_after(10):
            while again._due == due:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


def web(directory: Path) -> tuple[Path, Path, bytes]:
    """A certificate for 127.0.0.1 and its key, on the disk."""
    private, now = key(), datetime.now(UTC)
    name = x509.ca_name("web", "endpoint")
    made = (
        certificates.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            certificates.SubjectAlternativeName([certificates.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )
    (directory / "web.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (directory / "web.key").touch(0o600)
    (directory / "web.key").write_bytes(key_pem(private))
    return directory / "web.pem", directory / "web.key", pem(made.public_bytes(Encoding.DER))


async def test_it_proves_itself_by_a_certificate_of_the_web(rig: Rig, tmp_path: Path) -> None:
    certificate, private, ca = web(tmp_path)
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", certificate, private)
    listener = endpoint.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener)
        known = asking(rig, listener.getsockname()[1], ca=ca)
        assert await fetched(rig, known, ()) == bundle.document(rig.service.bundles()[0])
        tasks.cancel_scope.cancel()


async def test_what_it_cannot_use_is_said_before_it_serves(rig: Rig, tmp_path: Path) -> None:
    certificate, private, _ = web(tmp_path)
    (tmp_path / "open.key").write_bytes(private.read_bytes())
    (tmp_path / "open.key").chmod(0o644)
    busy = BundleEndpoint(rig.service, "127.0.0.1:0", None, None).open()
    wrong = {
        ("127.0.0.1:0", certificate, None): "WFT-1813",
        ("127.0.0.1:0", certificate, tmp_path / "open.key"): "WFT-1802",
        ("127.0.0.1:0", tmp_path / "none.pem", private): "WFT-1813",
        ("127.0.0.1:0", private, private): "WFT-1813",
        ("somewhere:1", None, None): "WFT-1813",
        ("127.0.0.1", None, None): "WFT-1813",
        (f"127.0.0.1:{busy.getsockname()[1]}", None, None): "WFT-1813",
    }
    for (address, given, its_key), code in wrong.items():
        with pytest.raises(UnusableError) as refused:
            BundleEndpoint(rig.service, address, given, its_key).open()
        assert refused.value.problem.code == code, address
    busy.close()


def strangers(port: int, number: int, source: str = "127.0.0.1") -> list[socket.socket]:
    """Connections that say nothing."""
    made = [socket.socket() for _ in range(number)]
    for each in made:
        each.bind((source, 0))
        each.connect(("127.0.0.1", port))
        each.setblocking(False)
    return made


async def until_closed(number: int, of: list[socket.socket]) -> None:
    """Return when so many of them were closed at the other end."""
    with anyio.fail_after(30):
        for _ in range(number):
            while not any(_closed(each) for each in of):  # noqa: ASYNC110 - many sockets have no one event
                await anyio.sleep(0.01)
            of.remove(next(each for each in of if _closed(each)))


def _closed(one: socket.socket) -> bool:
    try:
        return one.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_whoever_holds_connections_open_without_a_word_keeps_nobody_out(rig: Rig) -> None:
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    listener = endpoint.open()
    port, roots = listener.getsockname()[1], rig.service.bundles()[0].x509
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener)
        held = strangers(port, bundle_endpoint.CONNECTIONS, "127.0.0.2")
        surplus = list(held)
        await until_closed(bundle_endpoint.CONNECTIONS - bundle_endpoint.CONNECTIONS_EACH, surplus)
        assert await fetched(rig, asking(rig, port), roots) == bundle.document(rig.service.bundles()[0])
        assert endpoint._open == {"127.0.0.2": bundle_endpoint.CONNECTIONS_EACH}
        for number in range(3, 11):
            held += strangers(port, bundle_endpoint.CONNECTIONS_EACH, f"127.0.0.{number}")
        with anyio.fail_after(30):
            while endpoint._open.total() != bundle_endpoint.CONNECTIONS:
                await anyio.lowlevel.checkpoint()
        assert "could not be asked" in str(await fetched(rig, asking(rig, port), roots)), "until some end"
        for each in held:
            each.close()
        with anyio.fail_after(30):
            while endpoint._open:
                await anyio.lowlevel.checkpoint()
        assert await fetched(rig, asking(rig, port), roots) == bundle.document(rig.service.bundles()[0])
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("stage", ["handshake", "request"])
async def test_a_client_has_so_long_for_everything(rig: Rig, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    monkeypatch.setattr(bundle_endpoint, "SECONDS", 0.2 if stage == "handshake" else 2.0)
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    listener = endpoint.open()
    port = listener.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener)
        with anyio.fail_after(30):
            plain = await anyio.connect_tcp("127.0.0.1", port)
            async with plain:
                stream: ByteStream = plain
                if stage == "request":
                    stream = await TLSStream.wrap(
                        plain, server_side=False, ssl_context=believing(), standard_compatible=False
                    )
                    await stream.send(b"GET / HTTP/1.1\r\nhost: a\r\nx: ")
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()
        tasks.cancel_scope.cancel()


def believing() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE  # the server is not what is tested
    return made


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"HEAD /?a=b HTTP/1.1\r\nhost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n", b"HTTP/1.1 405 "),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", b"HTTP/1.1 404 "),
        (b"GET /.. HTTP/1.1\r\nhost: a\r\n\r\n", b"HTTP/1.1 404 "),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"x" * 200_000, b""),
        (b"\0\0\0\0\r\n\r\n", b""),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 404 "),
    ],
)
async def test_garbage_is_answered_or_hung_up_on_and_others_are_served(rig: Rig, said: bytes, answer: bytes) -> None:
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    listener = endpoint.open()
    port, found = listener.getsockname()[1], b""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener)
        with anyio.fail_after(30), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            async with await anyio.connect_tcp("127.0.0.1", port) as plain:
                stream = await TLSStream.wrap(
                    plain, server_side=False, ssl_context=believing(), standard_compatible=False
                )
                await stream.send(said)
                while True:
                    found += await stream.receive()
        roots = rig.service.bundles()[0].x509
        assert await fetched(rig, asking(rig, port), roots) == bundle.document(rig.service.bundles()[0])
        tasks.cancel_scope.cancel()
    assert found.startswith(answer)
    assert bool(found) == bool(answer)
    assert not found.startswith(b"HTTP/1.1 200") or found.endswith(b"\r\n\r\n"), "HEAD has no body"
