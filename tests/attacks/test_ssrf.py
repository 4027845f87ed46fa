"""F9: a URL in a policy that points at what only this machine can reach. Nothing is ever connected to what is forbidden.

The attacker writes the URL, owns the name's DNS, and owns the server behind it. The victims are real sockets on this machine's
loopback, and every address that the guard tries to reach is written down.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from typing import TYPE_CHECKING

import anyio
import pytest

from weft import outside
from weft.outside import Address, Allowed, Reader, RefusedError
from weft.sources.jwks import KeyFetcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from anyio.abc import ByteStream

    from weft.model.trust import KeySet

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"
FORBIDDEN = (
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.5", "172.20.0.1", "192.168.0.1", "100.64.1.1"),
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2001:0:7f00:1::1"),
)
SPELLINGS = (
    *(
        "localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "[::1]",
    ),
    *("[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[::]", "127.0.0.1.", "%31%32%37.0.0.1"),
)


class Attacker:
    """DNS and a server. ``answers`` are given one after the other, the last for ever; ``talk`` is what the server says."""

    def __init__(
        self,
        *answers: tuple[str, ...],
        talk: Callable[[ByteStream], Awaitable[None]] | None = None,
        seconds: float = outside.SECONDS,
    ) -> None:
        self.answers = list(answers)
        self.lookups = 0
        self.dialled: list[str] = []
        self._talk = talk
        self._seconds = seconds

    async def resolve(self, _host: str, _port: int) -> tuple[str, ...]:
        self.lookups += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def read(self, url: str = "http://keys.evil.example/", opened: Allowed | None = None) -> str:
        """Why nothing was read, or what was."""
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, self._serve)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - of anyio

            async def dial(address: Address, _port: int) -> ByteStream:
                self.dialled.append(str(address))
                return await anyio.connect_tcp("127.0.0.1", port)

            try:
                allowed = opened or Allowed(hosts=("keys.evil.example",))
                found = (await Reader(self.resolve, dial, seconds=self._seconds).get(url, allowed)).decode()
            except RefusedError as error:
                found = str(error)
            tasks.cancel_scope.cancel()
        return found

    async def _serve(self, stream: ByteStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
                await stream.receive()
                if self._talk:
                    await self._talk(stream)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_name_that_leads_to_a_forbidden_address_is_never_connected_to(address: str) -> None:
    attacker = Attacker((address,))
    assert "is at" in await attacker.read("https://keys.evil.example/", Allowed(hosts=("other.example",)))
    assert attacker.dialled == []


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_one_forbidden_address_among_good_ones_refuses_all(address: str) -> None:
    attacker = Attacker((PUBLIC, address))
    assert "is at" in await attacker.read("https://keys.evil.example/", Allowed(hosts=("other.example",)))
    assert attacker.dialled == []


async def test_dns_that_changes_its_mind_is_not_asked_twice() -> None:
    attacker = Attacker((PUBLIC,), ("127.0.0.1",))
    await attacker.read()
    assert attacker.lookups == 1
    assert attacker.dialled == [PUBLIC]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async def talk(stream: ByteStream) -> None:
        await stream.send(
            f"HTTP/1.1 {status} Go\r\nlocation: http://169.254.169.254/latest/meta-data/\r\ncontent-length: 0\r\n\r\n".encode()
        )

    attacker = Attacker((PUBLIC,), talk=talk)
    assert "redirects are not followed" in await attacker.read()
    assert attacker.dialled == [PUBLIC]


@pytest.mark.parametrize(
    "pieces", [(b"",), (b"HTTP/1.1 200 OK\r\n",), (b"HTTP/1.1 200 OK\r\n\r\n{",), (b"HTTP/1.1 100 C\r\n\r\n",) * 50]
)
async def test_a_server_that_is_slow_is_left_alone(pieces: tuple[bytes, ...]) -> None:
    async def talk(stream: ByteStream) -> None:
        for piece in pieces:
            await stream.send(piece)
        await anyio.sleep_forever()

    assert "did not answer whole within 0.2 s" in await Attacker((PUBLIC,), talk=talk, seconds=0.2).read()


async def test_a_server_that_never_ends_is_left_alone_at_the_limit() -> None:
    sent = 0

    async def talk(stream: ByteStream) -> None:
        nonlocal sent
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send(b"a" * 65536)
            sent += 65536

    assert "longer than" in await Attacker((PUBLIC,), talk=talk).read()
    assert sent < 64 * outside.LIMIT_BYTES


class Victims:
    """What listens on this machine's loopback, and how many came."""

    def __init__(self) -> None:
        self.came = 0

    async def serve(self, stream: ByteStream) -> None:
        self.came += 1
        await stream.aclose()


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_this_machine_is_connected_to_by_the_real_resolver(scheme: str, host: str) -> None:
    victims = Victims()
    async with await anyio.create_tcp_listener() as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, victims.serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - of anyio
        refused = False
        try:
            await Reader().get(f"{scheme}://{host}:{port}/keys", Allowed())
        except RefusedError:
            refused = True
        tasks.cancel_scope.cancel()
    assert refused
    assert victims.came == 0


async def test_a_policy_that_names_the_metadata_service_gets_no_keys_and_no_connection(tmp_path: Path) -> None:
    attacker = Attacker(("169.254.169.254",))
    published: list[tuple[KeySet, ...]] = []
    told = anyio.Event()

    def publish(found: tuple[KeySet, ...]) -> None:
        published.append(found)
        told.set()

    async def dial(address: Address, _port: int) -> ByteStream:
        attacker.dialled.append(str(address))
        raise OSError

    fetcher = KeyFetcher(
        tmp_path / "jwks.json", publish, Reader(attacker.resolve, dial), lambda _: anyio.sleep_forever()
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetcher.run)
        fetcher.want(("https://keys.evil.example/latest/api/token",), ())
        with anyio.fail_after(10):
            await told.wait()
        tasks.cancel_scope.cancel()
    [[found]] = published
    assert found.jwks == ""
    assert "link-local" in found.problem
    assert attacker.dialled == []


async def test_a_discovery_document_cannot_lead_inside(tmp_path: Path) -> None:
    """The document is public and good; the keys that it names are not."""
    asked: list[str] = []

    class Web(Reader):
        async def get(self, url: str, opened: Allowed) -> bytes:
            asked.append(url)
            if url.endswith("openid-configuration"):
                return json.dumps({"jwks_uri": "http://127.0.0.1:15000/config_dump"}).encode()
            return await super().get(url, opened)

    published: list[tuple[KeySet, ...]] = []
    told = anyio.Event()

    def publish(found: tuple[KeySet, ...]) -> None:
        published.append(found)
        told.set()

    fetcher = KeyFetcher(tmp_path / "jwks.json", publish, Web(), lambda _: anyio.sleep_forever())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetcher.run)
        fetcher.want(("https://good.example/.well-known/openid-configuration",), ())
        with anyio.fail_after(10):
            await told.wait()
        tasks.cancel_scope.cancel()
    assert len(asked) == 2
    assert "only https" in published[0][0].problem


def test_every_forbidden_address_is_forbidden_to_an_allowed_host_too_unless_it_is_private() -> None:
    for text in FORBIDDEN:
        address = ipaddress.ip_address(text.partition("%")[0])
        private = any(address in network for network in outside.PRIVATE)
        metadata = any(address in network for network in outside.METADATA)
        assert bool(outside.forbidden(address, Allowed(), host_opened=True)) is (metadata or not private)
