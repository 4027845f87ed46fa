"""What attackers bring: certificates of every wrong kind, clients and servers that show them, and two real proxies to try on."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.envoy.harness import Rig, rig, service, sidecar
from tests.support.secrets import Authority, Svid
from weft.model.route import Backend, Rule, VirtualHost
from weft.model.service import Address, Capture, Placement, Protocol, WorkloadPort
from weft.model.trust import Guard, Peers, Shape, TlsMode, Trust
from weft.model.view import Demand, View
from weft.names import ALPN_HTTP, ALPN_RAW, ALPN_TUNNEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.envoy.harness import Echo

CALLER: Final = "sidecar/default/caller"
CALLEE: Final = "sidecar/default/web-v1-0"
CALLER_ID: Final = "spiffe://local/ns/default/sa/caller"
CALLEE_ID: Final = "spiffe://local/ns/default/sa/web"
PEER_NAME: Final = "9080.web-v1-0.default.a.h.weft"
PORT: Final = 9080
PATIENCE: Final = 10.0
SHAPES: Final = {Shape.RAW: ALPN_RAW, Shape.HTTP: ALPN_HTTP, Shape.TUNNEL: ALPN_TUNNEL}

_NOW: Final = datetime.datetime.now(datetime.UTC)
_HOUR: Final = datetime.timedelta(hours=1)
_SERIAL: Final = itertools.count(1)


# --- certificates


def wrong_certificates(good: Authority, identity: str) -> dict[str, Svid | None]:
    """Promise E3's corpus and some more: what each lacks, and a certificate that is right but for that; None: none at all.

    ``identity`` is who the attacker says to be: the very one that would be let in.
    """
    client, server = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    twin = Authority(good.domain)
    return {
        "expired": good.svid(identity, valid=(_NOW - 3 * _HOUR, _NOW - _HOUR)),
        "not yet valid": good.svid(identity, valid=(_NOW + _HOUR, _NOW + 3 * _HOUR)),
        "another root": Authority("other").svid(identity),
        "another root of the same name": twin.svid(identity),
        "another trust domain, by our root": good.svid(identity.replace("//local/", "//other/")),
        "another trust domain, by its root": Authority("other").svid(identity.replace("//local/", "//other/")),
        "a trust domain that ours begins": good.svid(identity.replace("//local/", "//local.evil/")),
        "no URI": good.svid(),
        "two URIs": good.svid(identity, "spiffe://local/ns/default/sa/other"),
        "the same URI and another domain's": good.svid(identity, identity.replace("//local/", "//other/")),
        "a URI that is no SPIFFE ID": good.svid("https://local/ns/default/sa/caller"),
        "CA:TRUE": good.svid(identity, authority=True),
        "the wrong extended key usage": good.svid(identity, usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
        "for the other side only": good.svid(identity, usages=(server,) if "caller" in identity else (client,)),
        "NUL in the SAN": good.svid(f"{identity}\0.evil"),
        "self-signed": self_signed(identity),
        "signed by a workload's SVID": signed_by_leaf(good, identity),
        "none": None,
    }


def self_signed(identity: str) -> Svid:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test local")])
    return _leaf(name, key, key, identity)


def signed_by_leaf(good: Authority, identity: str) -> Svid:
    """An SVID is not a CA: what its key signs is worth nothing."""
    honest = good.svid("spiffe://local/ns/default/sa/other")
    issuer = x509.load_pem_x509_certificate(honest.chain)
    key = ec.generate_private_key(ec.SECP256R1())
    signer = _private(honest)
    made = _leaf(issuer.subject, key, signer, identity)
    return Svid(made.chain + honest.chain, made.key)


def _private(svid: Svid) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - one use

    key = load_pem_private_key(svid.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _leaf(
    issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, identity: str
) -> Svid:
    usages = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
    leaf = (
        x509.CertificateBuilder(issuer, x509.Name([]), key.public_key(), next(_SERIAL), _NOW - _HOUR, _NOW + _HOUR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Svid(leaf.public_bytes(Encoding.PEM), pem)


def context(directory: Path, svid: Svid | None, alpn: tuple[str, ...], *, server: bool = False) -> ssl.SSLContext:
    """A TLS end that shows this certificate and believes everybody: an attacker does not mind who it talks to."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(list(alpn))
    if svid is not None:
        place = directory / f"attack-{next(_SERIAL)}.pem"
        place.touch(0o600)
        place.write_bytes(svid.chain + svid.key)
        made.load_cert_chain(place)
    return made


UNSEEN_BY_CALLEES: Final = frozenset({"the wrong extended key usage", "for the other side only"})
"""Envoy's SPIFFE validator does not look at key usages, and nothing else in Envoy can. No authority of ours makes such."""
UNSEEN_BY_CALLERS: Final = UNSEEN_BY_CALLEES | {"two URIs", "the same URI and another domain's"}
"""A caller looks for the expected URI among all that there are; the second lock, which sees them all, is the callee's."""


# --- the other side


async def heard(socket: Path | tuple[str, int], tls: ssl.SSLContext | None, said: bytes) -> bytes:
    """What comes back for some bytes on a connection of its own; empty when it was refused at any stage."""
    named = PEER_NAME if tls else None
    try:
        if isinstance(socket, tuple):
            reader, writer = await asyncio.open_connection(*socket, ssl=tls, server_hostname=named)
        else:
            reader, writer = await asyncio.open_unix_connection(str(socket), ssl=tls, server_hostname=named)
    except (OSError, ssl.SSLError):
        return b""
    try:
        writer.write(said)
        return await asyncio.wait_for(reader.read(65_536), PATIENCE)
    except (OSError, ssl.SSLError):
        return b""
    finally:
        writer.transport.abort()


REQUESTS: Final = {
    ALPN_RAW: b"GET /secret HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
    ALPN_HTTP: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    ALPN_TUNNEL: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
}
"""What a client of each shape says first. Whoever is let in hears something: an answer, or the settings of HTTP/2."""


@dataclass
class Impostor:
    """A TLS server that says it is somebody else. ``received`` is everything that its clients said inside TLS."""

    socket: Path
    received: bytearray = field(default_factory=bytearray)
    handshakes: int = 0
    talking: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handshakes += 1
        self.talking.append(writer)
        try:
            while data := await reader.read(65_536):
                self.received += data
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen")
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def impostor(socket: Path, tls: ssl.SSLContext | None) -> AsyncIterator[Impostor]:
    """On the callee's own address."""
    made = Impostor(socket)
    server = await asyncio.start_unix_server(made, str(socket), ssl=tls)
    try:
        yield made
    finally:
        server.close()
        for writer in made.talking:
            writer.transport.abort()
        socket.unlink(missing_ok=True)  # noqa: ASYNC240 - a unix socket's name


# --- two proxies, an application, and an authority


class Pair:
    """``caller`` calls ``web`` through both proxies; ``inside`` is where the callee's proxy listens for others."""

    def __init__(self, mesh: Rig, app: Echo, protocol: Protocol) -> None:
        self.mesh = mesh
        self.app = app
        self.protocol = protocol
        self.guard = Guard(mode=TlsMode.STRICT)
        self.peers = Peers(identities=(CALLEE_ID,), shape=Shape.RAW if protocol.is_http else Shape.TUNNEL)
        self.trust = Trust()
        self.out = mesh.directory / "out"
        self.inside = mesh.directory / "in"

    @property
    def authority(self) -> Authority:
        return self.mesh.secrets.authorities[0]

    def caller(self, demand: Demand) -> View:
        made = sidecar(self.mesh, _host, {"web": (self.inside,)}, self.protocol)(demand)
        upstreams = tuple(msgspec.structs.replace(each, peers=self.peers) for each in made.upstreams)
        named = tuple(
            msgspec.structs.replace(
                each, endpoints=tuple(msgspec.structs.replace(end, name=PEER_NAME) for end in each.endpoints)
            )
            for each in made.assignments
        )
        return msgspec.structs.replace(made, upstreams=upstreams, assignments=named)

    def callee(self, _demand: Demand) -> View:
        port = WorkloadPort(
            PORT, "port", self.protocol, Address(path=str(self.inside)), Address(path=str(self.app.socket))
        )
        return View(
            node=CALLEE,
            placement=Placement.SIDECAR,
            namespace="default",
            name="web-v1-0",
            capture=Capture.PROXY,
            inbound=(port,),
            guards=((PORT, self.guard),),
            trust=self.trust,
        )

    async def change(self, **fields: object) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.mesh.refresh()
        await self.mesh.fleet.settled(self.mesh.revision)

    async def start_callee(self) -> None:
        self.mesh.secrets.give(CALLEE, CALLEE_ID)
        await self.mesh.proxy(CALLEE, self.callee, self.inside)

    async def start_caller(self) -> None:
        self.mesh.secrets.give(CALLER, CALLER_ID)
        await self.mesh.proxy(CALLER, self.caller, self.out)


def _host(name: str) -> VirtualHost:
    return VirtualHost(
        domain=name, rules=(Rule(source="Service/default/web", backends=(Backend(service("web", PORT)),)),)
    )


@asynccontextmanager
async def pair(envoy: Path, protocol: Protocol = Protocol.HTTP) -> AsyncIterator[Pair]:
    """Neither proxy runs yet."""
    async with rig(envoy) as mesh:
        yield Pair(mesh, await mesh.echo("web"), protocol)
