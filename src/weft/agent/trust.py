"""Keys and SVIDs as the agent has them: made, asked for, and checked before anybody is given one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from weft.identity import verify
from weft.identity.wire import SvidAnswer

if TYPE_CHECKING:
    from weft.identity.wire import Bundle, TrustLine


class Svid:
    """An X.509-SVID with its key (PKCS#8 DER). Its text never shows the key."""

    __slots__ = ("authority", "chain", "key", "not_after", "spiffe_id")

    def __init__(self, answer: SvidAnswer, key: bytes) -> None:
        self.spiffe_id = answer.spiffe_id
        self.chain = answer.chain
        self.key = key
        self.not_after = answer.not_after
        self.authority = answer.authority

    def __repr__(self) -> str:
        return f"Svid({self.spiffe_id}, until {self.not_after})"


def own_bundle(trust: TrustLine) -> Bundle | None:
    """That of our own trust domain, when it has certificates."""
    return next((one for one in trust.bundles if one.trust_domain == trust.domain and one.x509), None)


class UnfitError(Exception):
    """What control answered is not an SVID for our key; the text says why."""


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A CSR (DER) that says nothing but the key: who it is for is not the key's holder to say."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


def key_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def worthless(spiffe_id: str) -> Svid:
    """What a banned proxy is given in place of its SVID, which Envoy keeps when it is only taken away (measured, 1.40.0): a
    certificate that ended long ago and is signed by nobody. It has a name, which is no SPIFFE ID: Envoy refuses every later
    listener with a certificate that has none (measured). ``spiffe_id`` is whose it would be.
    """
    key, name = make_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "banned")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2000, 1, 2, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return Svid(SvidAnswer("", spiffe_id, (made.public_bytes(Encoding.DER),)), key_der(key))


class Checker:
    """Whether peers will take what control answers, for a batch: what several chains share is looked at once."""

    def __init__(self, trust: TrustLine, now: float) -> None:
        bundle = own_bundle(trust)
        self._roots = bundle.x509 if bundle else ()
        self._now = datetime.fromtimestamp(now, UTC)
        self._parents: dict[tuple[bytes, ...], x509.Certificate] = {}

    def check(self, answer: SvidAnswer, key: ec.EllipticCurvePrivateKey) -> None:
        """Raises ``UnfitError``."""
        if wrong := self._wrong(answer) or _other_key(answer.chain[0], key):
            raise UnfitError(f"a certificate that {wrong}")

    def _wrong(self, answer: SvidAnswer) -> str:
        above = answer.chain[1:]
        if (parent := self._parents.get(above)) is None:
            wrong = verify.svid(answer.chain, self._roots, answer.spiffe_id, self._now)
            if above and not wrong:
                self._parents[above] = x509.load_der_x509_certificate(above[0])
            return wrong
        return verify.leaf(answer.chain[0], answer.spiffe_id, self._now) or _unsigned(answer.chain[0], parent)


def _unsigned(leaf: bytes, parent: x509.Certificate) -> str:
    signed = verify.signed_by(x509.load_der_x509_certificate(leaf), parent)
    return "" if signed else "is not signed by the certificate above it"


def _other_key(leaf: bytes, key: ec.EllipticCurvePrivateKey) -> str:
    same = x509.load_der_x509_certificate(leaf).public_key() == key.public_key()
    return "" if same else "is of another key"
