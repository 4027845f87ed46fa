"""Reading a URL that a user wrote, without becoming a tool for reaching what only this machine can reach (SSRF).

A name is resolved once, every address of the answer is judged, and the connection goes to exactly the address that was
judged: a second answer of DNS (rebinding) is never asked for. One forbidden address among good ones refuses all. Redirects
are not followed, nothing is sent but GET, and an answer has limits of time and size. Every socket to the outside is opened
by ``dial``, which takes an address and no name.

Source: IANA special-purpose address registries (RFC 6890 and what came after it); RFC 9110.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

import anyio
import h11
import msgspec
from anyio.streams.tls import TLSAttribute, TLSStream

if TYPE_CHECKING:
    from anyio.abc import ByteStream

SECONDS: Final = 5.0
LIMIT_BYTES: Final = 1024 * 1024
HEADER_BYTES: Final = 64 * 1024

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[tuple[str, ...]]]
Dial: TypeAlias = "Callable[[Address, int], Awaitable[ByteStream]]"


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


METADATA: Final = _networks(
    "169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32", "fd00:ec2::/32"
)
"""Where clouds tell a machine its secrets: link-local, and the few that are not."""
PRIVATE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""What an allowed host may have as its address. 100.64.0.0/10 is that of carriers (RFC 6598)."""
SPECIAL: Final = _networks(
    *("0.0.0.0/8", "127.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    # Protocol assignments (Teredo among them), documentation, 6to4: an IPv4 address may hide in them.
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
"""Everything else of IPv6 is special: loopback, IPv4-mapped, NAT64, link-local, multicast."""


class Allowed(msgspec.Struct, frozen=True):
    """What the operator opened: host names (``*.`` for any below), whose addresses may be private and which may be asked
    without TLS; and blocks of addresses, which are open whatever they are.
    """

    hosts: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()

    def host(self, name: str) -> bool:
        return any(
            name == each or (each.startswith("*.") and name.endswith(each[1:]) and name != each[2:])
            for each in self.hosts
        )

    def address(self, address: Address) -> bool:
        return any(address in ipaddress.ip_network(block, strict=False) for block in self.blocks)


def allowed(places: tuple[str, ...]) -> Allowed:
    """``places`` as a Mesh lists them, hosts and blocks in one list."""
    blocks = tuple(each for each in places if _is_block(each))
    return Allowed(tuple(each.lower().rstrip(".") for each in places if each not in blocks), blocks)


def _is_block(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


class RefusedError(Exception):
    """A URL was not read, and why: forbidden, not reachable, or not an answer. The text is for users."""


class Target(msgspec.Struct, frozen=True):
    """A URL taken apart. ``path`` begins with a slash and has the query."""

    host: str
    port: int
    path: str
    tls: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def target(url: str, opened: Allowed) -> Target:
    """Raises ``RefusedError`` for what is no URL of a web server, or one without TLS that nobody opened."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise RefusedError("it is not a URL") from error
    if any(not "!" <= letter <= "~" for letter in url) or not host or "\\" in url:
        raise RefusedError("it is not a URL")
    if parts.username is not None or parts.password is not None:
        raise RefusedError("a URL with a user or a password is not fetched")
    if parts.scheme not in ("https", "http") or port == 0:
        raise RefusedError("only https URLs are fetched")
    secure = parts.scheme == "https"
    if not secure and not opened.host(host) and not _opened_literal(host, opened):
        raise RefusedError("only https URLs are fetched, unless the host is allowed")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (443 if secure else 80), path, secure)


def _opened_literal(host: str, opened: Allowed) -> bool:
    try:
        return opened.address(ipaddress.ip_address(host))
    except ValueError:
        return False


def forbidden(address: Address, opened: Allowed, *, host_opened: bool) -> str:
    """Why nothing may be asked at ``address``; empty when it may."""
    if opened.address(address):
        return ""
    if any(address in network for network in METADATA):
        return "is link-local, or where a cloud keeps a machine's secrets"
    if any(address in network for network in PRIVATE):
        return "" if host_opened else "is private"
    if any(address in network for network in SPECIAL):
        return "is not an address of the internet"
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_V6:
        return "is not an address of the internet"
    return ""


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """The addresses that the system's resolver gives. Raises ``OSError``."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(item[4][0]) for item in found))


async def dial(address: Address, port: int) -> ByteStream:
    """The one place where a socket to the outside is opened: to an address that was judged, never to a name."""
    return await anyio.connect_tcp(str(address), port)


class Reader:
    """Reads URLs under the guard. ``resolve`` and ``dial`` are the system's, unless a test has its own.

    ``context`` says whom to believe, by default the system's authorities; ``wrong`` why the certificate (DER) of a server that
    it believes is not taken all the same, empty when it is. ``seconds`` are for everything together.
    """

    def __init__(
        self,
        resolve: Resolve = resolve,
        dial: Dial = dial,
        context: ssl.SSLContext | None = None,
        *,
        wrong: Callable[[bytes], str] = lambda _: "",
        seconds: float = SECONDS,
    ) -> None:
        self._resolve = resolve
        self._dial = dial
        self._context = context or ssl.create_default_context()
        self._wrong = wrong
        self._seconds = seconds

    async def get(self, url: str, opened: Allowed) -> bytes:
        """The body of the answer 200. Raises ``RefusedError``."""
        wanted = target(url, opened)
        try:
            with anyio.fail_after(self._seconds):
                address = await self._address(wanted, opened)
                stream = await self._connected(wanted, address)
                try:
                    return await _exchange(stream, wanted)
                finally:
                    await anyio.aclose_forcefully(stream)
        except TimeoutError as error:
            raise RefusedError(f"{wanted.host} did not answer whole within {self._seconds:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise RefusedError(f"the certificate of {wanted.host} is not good: {error.verify_message}") from error
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise RefusedError(f"{wanted.host} could not be asked: {type(error).__name__}") from error
        except h11.RemoteProtocolError as error:
            raise RefusedError(f"{wanted.host} does not speak HTTP, or too much of it") from error

    async def _address(self, wanted: Target, opened: Allowed) -> Address:
        """The first address of the host, if none of them is forbidden."""
        try:
            found = await self._resolve(wanted.host, wanted.port)
        except (OSError, UnicodeError) as error:
            raise RefusedError(f"{wanted.host} has no address") from error
        host_opened = opened.host(wanted.host)
        addresses = [_parsed(text) for text in found]
        for address in addresses:
            reason = forbidden(address, opened, host_opened=host_opened)
            if reason:
                raise RefusedError(f"{wanted.host} is at {address}, which {reason}")
        if not addresses:
            raise RefusedError(f"{wanted.host} has no address")
        return addresses[0]

    async def _connected(self, wanted: Target, address: Address) -> ByteStream:
        stream = await self._dial(address, wanted.port)
        if not wanted.tls:
            return stream
        try:
            tls = await TLSStream.wrap(
                stream, hostname=wanted.host, ssl_context=self._context, standard_compatible=False
            )
            if wrong := self._wrong(tls.extra_attributes[TLSAttribute.peer_certificate_binary]() or b""):
                raise RefusedError(f"the certificate of {wanted.host} {wrong}")
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        return tls


def _parsed(text: str) -> Address:
    """An address without its zone: one with a zone is link-local, and refused as that."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError as error:
        raise RefusedError("DNS answered with something that is no address") from error


async def _exchange(stream: ByteStream, wanted: Target) -> bytes:
    """One GET. Nothing is followed, nothing is unpacked."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES)
    headers = [
        ("Host", wanted.authority),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "weft"),
        ("Connection", "close"),
    ]
    request = h11.Request(method="GET", target=wanted.path, headers=headers)
    await stream.send((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive(65536))
            except anyio.EndOfStream:
                connection.receive_data(b"")
        elif isinstance(event, h11.Response):
            _acceptable(event, wanted)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LIMIT_BYTES:
                raise RefusedError(f"the answer of {wanted.host} is longer than {LIMIT_BYTES:,} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise RefusedError(f"{wanted.host} closed the connection in the middle of its answer")


def _acceptable(response: h11.Response, wanted: Target) -> None:
    if 300 <= response.status_code < 400:
        raise RefusedError(f"{wanted.host} answered {response.status_code}; redirects are not followed")
    if response.status_code != 200:
        raise RefusedError(f"{wanted.host} answered {response.status_code}")
    encoded = [value for name, value in response.headers if name == b"content-encoding" and value != b"identity"]
    if encoded:
        raise RefusedError(f"{wanted.host} sent a packed answer, which was not asked for")
