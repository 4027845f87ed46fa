"""Control on another host, as a joined host's agent reaches it: TLS 1.3 with the host's own SVID, to control and nobody else.

Three files of mode 0600 (``weft.paths.Paths.host_identity``): ``identity.pem`` has the key and the SVID's chain, ``bundle.pem``
what control is checked against, ``joined.json`` where and as whom this host joined.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509

from weft import private
from weft.agent.svids import Holder
from weft.agent.unix_http import NotControlError
from weft.errors import Problem
from weft.identity import keys, pem, verify
from weft.names import control_spiffe_id, host_node
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from weft.agent.svids import Snapshot
    from weft.latest import Latest
    from weft.model.service import Address

_LOG: Final = logging.getLogger(__name__)

IDENTITY: Final = "identity.pem"
BUNDLE: Final = "bundle.pem"
JOINED: Final = "joined.json"


class Joined(msgspec.Struct, frozen=True):
    """``control`` is ``IP:PORT`` of the door, ``address`` this host's own."""

    host: str
    control: str
    address: str
    trust_domain: str


class Remote:
    """Where control is, and how to be sure of it. The TLS context is made anew whenever a file was."""

    def __init__(self, door: Address, directory: Path, trust_domain: str) -> None:
        self.door = door
        self.trust_domain = trust_domain
        self._directory = directory
        self._context: ssl.SSLContext | None = None
        self._made_of: tuple[int, ...] = ()
        self._said: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"https://{self.door}"

    def context(self) -> ssl.SSLContext:
        """Raises ``OSError`` when a file is missing or damaged."""
        identity, bundle = self._directory / IDENTITY, self._directory / BUNDLE
        now = tuple(stamp for path in (identity, bundle) for stamp in (path.stat().st_mtime_ns, path.stat().st_ino))
        if self._context is None or now != self._made_of:
            made = context(bundle.read_text())
            made.load_cert_chain(identity)
            self._context, self._made_of = made, now
        return self._context

    def check(self, certificate: bytes | None) -> None:
        """Raises ``NotControlError`` unless the certificate (DER), whose chain is good, is control's."""
        check(certificate, control_spiffe_id(self.trust_domain))

    def unknown_root(self) -> None:
        """Control's certificate comes from no root of this host's bundle: say what to do, once for each bundle."""
        if self._said == self._made_of:
            return
        self._said = self._made_of
        known = read_joined(self._directory)
        name = known.host if known else "HOST"
        problem = Problem(
            code="WFT-1865",
            message=f"{self.door} shows a certificate of a root that this host does not know: if that is control, its roots"
            f" were replaced while {name} was away",
            remedy=f"Let it join again. Where control runs: weft token create --join {name}; here: weft down, and then"
            f" weft join {self.door} --name {name} --token TOKEN",
            origin=Origin(str(self._directory / BUNDLE)),
        )
        _LOG.error("%s", problem)

    async def keep(self, held: Latest[Snapshot], host: str) -> None:
        """Write this host's own SVID and the bundle down whenever they are new, until cancelled."""
        serial, holder = -1, Holder(host_node(host))
        while True:
            serial, now = await held.newer_than(serial)
            own = now.trust.bundles[0] if now.trust else None
            if own is not None and own.trust_domain == self.trust_domain and own.x509:
                self._write(BUNDLE, pem.certificates(own.x509))
            if svid := now.svids.get(holder):
                self._write(IDENTITY, pem.private_key(svid.key) + pem.certificates(svid.chain))

    def _write(self, name: str, data: bytes) -> None:
        path = self._directory / name
        if not path.exists() or path.read_bytes() != data:
            private.replace(path, data)


def context(roots: str) -> ssl.SSLContext:
    """A client's TLS 1.3 that believes these roots (PEM) alone. The name is checked by ``check``: it is a URI, not a host's."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.set_alpn_protocols(["http/1.1"])
    made.load_verify_locations(cadata=roots)
    return made


def check(certificate: bytes | None, spiffe_id: str) -> None:
    """Raises ``NotControlError`` unless the one URI in the certificate is ``spiffe_id``."""
    if certificate is None:
        raise NotControlError("no certificate was shown")
    try:
        found = verify.names(x509.load_der_x509_certificate(certificate))
    except keys.UNREADABLE as error:
        raise NotControlError(f"the certificate cannot be read: {error}") from error
    if found != [spiffe_id]:
        raise NotControlError(f"it is {', '.join(found) or 'nobody'}, and not {spiffe_id}")


def read_joined(directory: Path) -> Joined | None:
    """Where this host joined; None when it did not."""
    try:
        return msgspec.json.decode((directory / JOINED).read_bytes(), type=Joined)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def encode(joined: Joined) -> bytes:
    return msgspec.json.encode(joined)
