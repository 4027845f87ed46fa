"""The bundle endpoint: our bundle over HTTPS, for other trust domains and nobody in particular.

With a certificate given (``WEFT_BUNDLE_CERT``, ``WEFT_BUNDLE_KEY``) it is an ``https_web`` endpoint. Otherwise it is an
``https_spiffe`` one: it shows control's own SVID, whose key is in memory only, and a new one at half of its life and whenever the
authority changes. Source: SPIFFE Federation, sections 5.1 and 5.2.

It is the one thing of control's own process that anybody on the network may reach, so it has a server of its own: one request on
each connection, a few seconds for all of it, and so many connections that none of them is missed elsewhere.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import anyio
import h11
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream

from weft import private
from weft.identity import keys, pem
from weft.identity.bundle import document
from weft.identity.keys import read_private
from weft.identity.problems import TrustError, problem
from weft.sources.lock import UnusableError
from weft.web.answers import JSON

if TYPE_CHECKING:
    from io import BufferedRandom
    from pathlib import Path

    from weft.identity.service import TrustService

PATHS: Final = (b"/", b"/.well-known/spiffe-bundle")
LOOK_SECONDS: Final = 30.0
SECONDS: Final = 10.0
"""For everything together, from the handshake to the last byte."""
CONNECTIONS: Final = 128
CONNECTIONS_EACH: Final = 16
"""Of one address."""
HEADER_BYTES: Final = 16 * 1024
PAUSE_SECONDS: Final = 0.05
_GONE: Final = (
    *(OSError, ssl.SSLError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream),
    *(h11.RemoteProtocolError, h11.LocalProtocolError),
)
"""What becomes of a client that hangs up, or speaks something else."""


class BundleEndpoint:
    """``open`` binds and proves that the certificate can be used; ``run`` serves until cancelled."""

    def __init__(self, trust: TrustService, address: str, certificate: Path | None, key: Path | None) -> None:
        self._trust = trust
        self._address = address
        self._given = (certificate, key)
        self._due = 0
        self._open: Counter[str] = Counter()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    def open(self) -> socket.socket:
        """A listening socket. Raises ``UnusableError``: the address, the certificate or its key cannot be used."""
        certificate, key = self._given
        if (certificate is None) != (key is None):
            raise _unusable("WFT-1813", "a certificate without its key", "Set both, or neither", self._address)
        if certificate is not None and key is not None:
            try:
                self._load(certificate.read_bytes(), read_private(key.resolve()))
            except TrustError as error:
                raise UnusableError(error.problems[0]) from error
            except (OSError, ssl.SSLError) as error:
                remedy = "Give the certificate of the endpoint with its chain (PEM), and its key"
                raise _unusable("WFT-1813", f"it cannot be used: {error}", remedy, str(certificate)) from error
        else:
            self._renew()
        return _listen(self._address)

    async def run(self, listener: socket.socket) -> None:
        with listener:
            async with anyio.create_task_group() as tasks:
                if self._given[0] is None:
                    tasks.start_soon(self._follow)
                while True:
                    await anyio.wait_readable(listener)
                    try:
                        raw, where = listener.accept()
                    except BlockingIOError:
                        continue
                    except OSError:  # it has gone already, or there are no descriptors left for a moment
                        await anyio.sleep(PAUSE_SECONDS)
                        continue
                    tasks.start_soon(self._admit, raw, str(where[0]))

    async def _admit(self, raw: socket.socket, where: str) -> None:
        """One connection, to its end."""
        with raw:
            if self._open.total() >= CONNECTIONS or self._open[where] >= CONNECTIONS_EACH:
                return
            self._open[where] += 1
            try:
                with anyio.move_on_after(SECONDS), suppress(*_GONE):
                    raw.setblocking(False)
                    async with await SocketStream.from_socket(raw) as plain:
                        await self._answer(
                            await TLSStream.wrap(
                                plain, server_side=True, ssl_context=self._context, standard_compatible=False
                            )
                        )
            finally:
                self._open[where] -= 1
                self._open += Counter()  # without the zeros

    async def _answer(self, stream: TLSStream) -> None:
        """One request. Its body, if there is one, is not read."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive())
        if not isinstance(event, h11.Request):
            return
        status, more, body = self._said(event)
        headers = [
            *(("content-type", JSON), ("content-length", str(len(body))), ("connection", "close")),
            *more,
        ]
        sent = (
            connection.send(h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)) or b""
        )
        if event.method != b"HEAD":
            sent += connection.send(h11.Data(data=body)) or b""
        await stream.send(sent + (connection.send(h11.EndOfMessage()) or b""))

    def _said(self, asked: h11.Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, further headers, body."""
        if asked.target.partition(b"?")[0] not in PATHS:
            return 404, [], b""
        if asked.method not in (b"GET", b"HEAD"):
            return 405, [("allow", "GET")], b""
        return 200, [], document(self._trust.bundles()[0])

    async def _follow(self) -> None:
        serial = self._trust.line.serial
        while True:
            with anyio.move_on_after(LOOK_SECONDS):
                serial, _ = await self._trust.line.newer_than(serial)
                self._due = 0
            if self._trust.seconds() >= self._due:
                self._renew()

    def _renew(self) -> None:
        key = keys.generate(keys.P256)
        svid = self._trust.sign_control(key.public_key())
        self._load(pem.certificates(svid.chain), keys.pem(key))
        self._due = (self._trust.seconds() + svid.not_after) // 2

    def _load(self, certificate: bytes, key: bytes) -> None:
        """By memory that has no name: OpenSSL reads files only, and a key belongs in none."""
        with _memory(certificate) as certificate_fd, _memory(key) as key_fd:
            self._context.load_cert_chain(
                f"/proc/self/fd/{certificate_fd.fileno()}", f"/proc/self/fd/{key_fd.fileno()}"
            )


def _memory(content: bytes) -> BufferedRandom:
    file = os.fdopen(os.memfd_create("bundle-endpoint", os.MFD_CLOEXEC), "w+b")
    file.write(content)
    file.flush()
    return file


def _listen(address: str) -> socket.socket:
    """Any address of this machine: the endpoint shows nothing but public keys. Raises ``UnusableError``."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or None,
            int(port),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST,
        )
    except (OSError, ValueError) as error:
        remedy = "Write ADDRESS:PORT, as 0.0.0.0:8443"
        raise _unusable("WFT-1813", f"{address!r} is not an address with a port", remedy, address) from error
    family, kind, protocol, _, where = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(private.BACKLOG)
    except OSError as error:
        made.close()
        raise _unusable("WFT-1813", f"cannot listen: {error}", "Choose another address or port", address) from error
    made.setblocking(False)
    return made


def _unusable(code: str, message: str, remedy: str, place: str) -> UnusableError:
    return UnusableError(problem(code, message, remedy, place))
