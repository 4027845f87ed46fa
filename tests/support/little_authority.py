"""An authority for tests: real certificates, real shapes on the wire, nothing kept."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from cryptography.x509 import load_der_x509_certificate
from joserfc import jwt
from joserfc.jwk import ECKey

from weft.errors import Problem
from weft.identity import keys, x509
from weft.identity.wire import (
    Bundle,
    CsrRequest,
    HostTrust,
    Jwk,
    JwtAnswer,
    JwtRequest,
    SvidAnswer,
    SvidAnswers,
    SvidRequests,
    TrustLine,
)
from weft.latest import Latest
from weft.names import host_spiffe_id, spiffe_id
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from cryptography import x509 as certificates

DOMAIN = "local"


def identity(node: str) -> str:
    """``sidecar/default/a-v1-0`` is ``default/a``; a host is itself."""
    parts = node.split("/")
    if parts[0] == "host":
        return host_spiffe_id(DOMAIN, parts[1])
    return spiffe_id(DOMAIN, parts[1], parts[2].rsplit("-", 2)[0] if parts[2].count("-") >= 2 else parts[2])


@dataclass
class Generation:
    """One root with one issuing CA."""

    name: str
    now: datetime
    root: certificates.Certificate = field(init=False)
    signer: x509.Signer = field(init=False)
    issuer: x509.Issuer = field(init=False)
    token_key: ECKey = field(init=False)

    def __post_init__(self) -> None:
        above, below = keys.generate(keys.P256), keys.generate(keys.P256)
        self.root = x509.make_root(DOMAIN, above, self.name, self.now)
        parent = x509.Issuer(self.root, above, ())
        made = x509.make_issuing(DOMAIN, parent, below, self.name, self.now)
        self.issuer = x509.Issuer(made, below, (made.public_bytes(Encoding.DER),))
        self.signer = x509.Signer(self.issuer)
        self.token_key = ECKey.generate_key("P-256", {"kid": self.name})

    def keep(self, path: Path) -> None:
        """As a file, for a control plane that is killed and comes back."""
        key = self.issuer.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        parts = (self.der, self.issuer.chain[0], key, self.token_key.as_dict(private=True))
        path.write_bytes(msgspec.json.encode(parts))

    def restore(self, path: Path) -> None:
        """What ``keep`` wrote, in place of what was made."""
        root, issuing, key, token = msgspec.json.decode(
            path.read_bytes(), type=tuple[bytes, bytes, bytes, dict[str, str | list[str]]]
        )
        private = load_der_private_key(key, None)
        assert isinstance(private, EllipticCurvePrivateKey)
        self.root = load_der_x509_certificate(root)
        self.issuer = x509.Issuer(load_der_x509_certificate(issuing), private, (issuing,))
        self.signer = x509.Signer(self.issuer)
        self.token_key = ECKey.import_key(token)

    @property
    def der(self) -> bytes:
        return self.root.public_bytes(Encoding.DER)


class LittleAuthority:
    """``clock`` in seconds since 1970; ``life_seconds`` of each SVID; ``refuses`` nodes; ``kept``: where the first generation is
    kept, so that the next authority there is the same.
    """

    def __init__(self, clock: Callable[[], float], life_seconds: float = 86_400, kept: Path | None = None) -> None:
        self.clock = clock
        self.life_seconds = life_seconds
        self.refuses: set[str] = set()
        self.signed: list[CsrRequest] = []
        self.generations = [Generation("a1", self._now())]
        if kept is not None and kept.exists():
            self.generations[0].restore(kept)
        elif kept is not None:
            self.generations[0].keep(kept)
        self.line = Latest(self._line(1))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def _line(self, sequence: int, banned: tuple[str, ...] = ()) -> TrustLine:
        tokens = tuple(
            msgspec.convert(one.token_key.as_dict(private=False) | {"use": "jwt-svid"}, Jwk) for one in self.generations
        )
        bundle = Bundle(DOMAIN, sequence, 300, tuple(one.der for one in self.generations), tokens)
        return TrustLine(DOMAIN, sequence, self.generations[-1].name, (), banned, (bundle,))

    def prepare(self) -> None:
        """A new root beside the old ones, which signs from now on."""
        self.generations.append(Generation(f"a{len(self.generations) + 1}", self._now()))
        self.line.set(self._line(self.line.value.sequence + 1))

    def forget(self) -> None:
        """Only the newest root is left."""
        self.generations = self.generations[-1:]
        self.line.set(self._line(self.line.value.sequence + 1))

    def relabel(self) -> None:
        """The authority has another name and the same root: every leaf is renewed, and nothing else."""
        self.generations[-1].name += "'"
        self.line.set(self._line(self.line.value.sequence))

    def ban(self, *spiffe_ids: str) -> None:
        self.line.set(self._line(self.line.value.sequence, spiffe_ids))

    def token(self, asked: JwtRequest) -> JwtAnswer:
        """A JWT-SVID of five minutes, by the newest generation."""
        now, who = int(self.clock()), identity(asked.node)
        claims = {"sub": who, "aud": list(asked.audience), "iat": now, "exp": now + 300}
        header = {"alg": "ES256", "kid": self.generations[-1].name, "typ": "JWT"}
        return JwtAnswer(jwt.encode(header, claims, self.generations[-1].token_key), who, now + 300)

    def sign(self, requests: Iterable[CsrRequest]) -> SvidAnswers:
        return SvidAnswers(tuple(self._sign(each) for each in requests))

    def _sign(self, request: CsrRequest) -> SvidAnswer:
        self.signed.append(request)
        if request.node in self.refuses:
            no = Problem(code="WFT-1805", message="not placed here", remedy="Place it", origin=Origin(request.node))
            return SvidAnswer(request.node, problem=no)
        public = x509.public_key(request.csr, request.node)
        assert not isinstance(public, Problem), public
        # An SVID of any life: the signer's own is a day.
        late = self._now() + timedelta(seconds=self.life_seconds) - x509.SVID_LIFE
        signed = self.generations[-1].signer.sign(identity(request.node), public, late)
        return SvidAnswer(request.node, signed.spiffe_id, signed.chain, signed.not_after, self.generations[-1].name)


class Desk:
    """What control's HTTP answers, on a unix socket. ``held`` is what the agent last said that its proxies hold."""

    def __init__(self, authority: LittleAuthority) -> None:
        self.authority = authority
        self.held = HostTrust({})
        self.asked: list[str] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        except asyncio.IncompleteReadError:
            return
        method, target, _ = head.split(" ", 2)
        self.asked.append(f"{method.upper()} {target}")
        if method == "get":
            await self._watch(writer)
            return
        length = next(int(line.partition(":")[2]) for line in head.splitlines() if "content-length" in line)
        body = self._answer(target, await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        writer.close()

    async def _watch(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        serial = -1
        # The end of the test is the end of the stream: asyncio would report a handler that is cancelled.
        with contextlib.suppress(asyncio.CancelledError):
            while not writer.is_closing():
                serial, line = await self.authority.line.newer_than(serial)
                writer.write(msgspec.json.encode(line) + b"\n")

    def _answer(self, target: str, body: bytes) -> bytes:
        if target.endswith("/jwt-svids"):
            asked = msgspec.json.decode(body, type=JwtRequest)
            return msgspec.json.encode(self.authority.token(asked))
        if target.endswith("/svids"):
            return msgspec.json.encode(self.authority.sign(msgspec.json.decode(body, type=SvidRequests).requests))
        self.held = msgspec.json.decode(body, type=HostTrust)
        return b"{}"

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def served(authority: LittleAuthority, path: Path) -> AsyncIterator[Desk]:
    """The authority behind control's HTTP, at ``path``."""
    desk = Desk(authority)
    server = await asyncio.start_unix_server(desk, str(path))
    try:
        yield desk
    finally:
        desk.close()
        server.close()
        await anyio.Path(path).unlink(missing_ok=True)
