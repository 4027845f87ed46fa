"""One bundle document from one HTTPS endpoint: bounded in size and time, no redirects, at an address that was looked at.

``https_web``: the certificate is for the name in the URL, by the system's CAs or those given. ``https_spiffe``: it is an
X.509-SVID with exactly the expected SPIFFE ID, from the roots given, and its name is not looked at.
Source: SPIFFE Federation, section 5.2.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import h11
from anyio.streams.tls import TLSAttribute, TLSStream
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from weft.identity import verify
from weft.identity.bundle import MAX_DOCUMENT
from weft.identity.problems import problem
from weft.identity.state import Federated, Profile

if TYPE_CHECKING:
    from datetime import datetime

    from weft.errors import Problem

SECONDS: Final = 10.0
"""For everything together, from looking up the name to the last byte."""
MAX_URL: Final = 2048
MAX_HEADERS: Final = 64 * 1024
REMEDY: Final = "See that the endpoint answers from here and is what it should be; what is held stays until then"


_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv4Network(each) for each in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")
)


class RefusedError(Exception):
    """The endpoint is not used; the text says why."""


def wrong_url(url: str) -> str:
    """Why a URL is none of a bundle endpoint; empty when it is one."""
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        return f"the URL cannot be read: {error}"
    if len(url) > MAX_URL or not url.isascii() or any(letter.isspace() or not letter.isprintable() for letter in url):
        return "the URL has characters that a URL has not, or too many"
    if split.scheme != "https":
        return "the URL does not begin with https://"
    if not split.hostname or port == 0:
        return "the URL names no host"
    if split.username is not None or split.password is not None or split.fragment:
        return "the URL has a user, a password or a fragment"
    return ""


async def fetch(known: Federated, roots: tuple[bytes, ...], now: datetime) -> bytes | Problem:
    """The document, unread, or why there is none."""
    try:
        with anyio.fail_after(SECONDS):
            return await _fetch(known, roots, now)
    except RefusedError as error:
        why = str(error)
    except ssl.SSLError as error:
        why = f"its TLS is refused: {error.reason or error}"
    except TimeoutError:
        why = f"it did not answer within {SECONDS:g} s"
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, h11.RemoteProtocolError) as error:
        why = f"it does not answer: {type(error).__name__} {error}"
    return problem("WFT-1813", f"no bundle of {known.trust_domain}: {why}", REMEDY, known.url)


async def _fetch(known: Federated, roots: tuple[bytes, ...], now: datetime) -> bytes:
    split = urlsplit(known.url)
    host, port = split.hostname or "", split.port or 443
    context = _context(known, roots)
    # The address that was looked at is the one that is connected to, whatever the name means a moment later.
    async with (
        await anyio.connect_tcp(await _address(host, port, private=known.private), port) as plain,
        await TLSStream.wrap(plain, hostname=host, ssl_context=context, standard_compatible=False) as tls,
    ):
        if known.profile is Profile.HTTPS_SPIFFE:
            leaf = tls.extra_attributes[TLSAttribute.peer_certificate_binary]()
            if wrong := verify.leaf(leaf, known.spiffe_id, now) if leaf else "is missing":
                raise RefusedError(f"its certificate {wrong}")
        target = (split.path or "/") + (f"?{split.query}" if split.query else "")
        return await _get(tls, host if port == 443 else f"{host}:{port}", target)


async def _get(stream: TLSStream, host: str, target: str) -> bytes:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS)
    headers = [("host", host), ("user-agent", "weft"), ("accept", "application/json"), ("connection", "close")]
    asked = connection.send(h11.Request(method="GET", target=target, headers=headers))
    await stream.send((asked or b"") + (connection.send(h11.EndOfMessage()) or b""))
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive())
            except anyio.EndOfStream:
                connection.receive_data(b"")
        elif isinstance(event, h11.Response):
            if event.status_code != 200:
                moved = " (redirects are not followed)" if 300 <= event.status_code < 400 else ""
                raise RefusedError(f"it answers with status {event.status_code}{moved}")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_DOCUMENT:
                raise RefusedError(f"its document is larger than {MAX_DOCUMENT:,} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return body


async def _address(host: str, port: int, *, private: bool) -> str:
    """The address to connect to. Every address of the name must be allowed: which one answers is not ours to choose."""
    found = [str(each[4][0]) for each in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for each in found:
        if not private and not _public(each):
            raise RefusedError(f"{host} is at {each}, which is not a public address (allow it: --private)")
    return found[0]


def _public(text: str) -> bool:
    """On the internet. Python's ``is_global`` alone takes 6to4, NAT64 and IPv4-compatible addresses for that, in which an IPv4
    address may hide, and the addresses at which two clouds tell a machine its secrets.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and (address not in _GLOBAL_V6 or address.sixtofour is not None):
        return False
    return address.is_global and not address.is_multicast and not any(address in each for each in _NOT_PUBLIC)


def _context(known: Federated, roots: tuple[bytes, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if known.profile is Profile.HTTPS_SPIFFE:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        pem = b"".join(x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in roots)
        if not pem:
            raise RefusedError("no bundle is held that it could be checked against")
        context.load_verify_locations(cadata=pem.decode())
    elif known.ca:
        context.load_verify_locations(cadata=known.ca.decode(errors="replace"))
    else:
        context.load_default_certs()
    return context
