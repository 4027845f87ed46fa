"""Keys and SVIDs as the agent has them: made, asked for, and checked before anybody is given one."""

from __future__ import annotations

import base64
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from weft.identity.wire import SvidAnswer

if TYPE_CHECKING:
    from weft.identity.wire import Bundle, TrustLine

SKEW_SECONDS: Final = 300.0
"""How far our clock may be behind the authority's (promise E17)."""
LONGEST_CHAIN: Final = 8


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
        self._now = now
        self._roots = [x509.load_der_x509_certificate(one) for one in bundle.x509] if bundle else []
        self._known: dict[tuple[bytes, ...], x509.Certificate] = {}

    def check(self, answer: SvidAnswer, key: ec.EllipticCurvePrivateKey) -> None:
        """Raises ``UnfitError``."""
        try:
            self._check(answer, key)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UnfitError(f"a certificate that cannot be read: {error}") from error
        except x509.ExtensionNotFound as error:
            raise UnfitError(f"a certificate without {error.oid._name}") from error

    def _check(self, answer: SvidAnswer, key: ec.EllipticCurvePrivateKey) -> None:
        if not answer.chain:
            raise UnfitError("no certificate")
        leaf = x509.load_der_x509_certificate(answer.chain[0])
        _check_leaf(leaf, answer.spiffe_id, key)
        if above := answer.chain[1:LONGEST_CHAIN]:
            if not _signed(leaf, self._parent(above)):
                raise UnfitError("a chain whose parts do not sign one another")
        else:
            self._check_end(leaf)
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        if begin.timestamp() > self._now + SKEW_SECONDS or end.timestamp() <= self._now:
            raise UnfitError(f"valid from {begin} to {end}; look at the clocks")

    def _parent(self, above: tuple[bytes, ...]) -> x509.Certificate:
        """The first of these authorities, each of which was signed by the next and the last by the bundle."""
        if (known := self._known.get(above)) is not None:
            return known
        chain = [x509.load_der_x509_certificate(one) for one in above]
        if not all(_is_authority(one) for one in chain) or not all(
            _signed(child, parent) for child, parent in itertools.pairwise(chain)
        ):
            raise UnfitError("a chain whose parts do not sign one another")
        self._check_end(chain[-1])
        self._known[above] = chain[0]
        return chain[0]

    def _check_end(self, last: x509.Certificate) -> None:
        if not any(last == root or _signed(last, root) for root in self._roots):
            raise UnfitError("a chain that ends in nothing of the bundle")


def _check_leaf(leaf: x509.Certificate, spiffe_id: str, key: ec.EllipticCurvePrivateKey) -> None:
    shape = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*shape) != key.public_key().public_bytes(*shape):
        raise UnfitError("a certificate of another key")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris != [spiffe_id]:
        raise UnfitError(f"a certificate with the URIs {uris}, not the one of {spiffe_id}")
    if _is_authority(leaf):
        raise UnfitError("a leaf that is an authority")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS).value
    except x509.ExtensionNotFound:
        return False
    return isinstance(found, x509.BasicConstraints) and found.ca


def _signed(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def pem(der: bytes, label: str) -> bytes:
    """``label`` is CERTIFICATE or PRIVATE KEY. Source: RFC 7468."""
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    head = label.encode()
    return b"-----BEGIN " + head + b"-----\n" + b"\n".join(lines) + b"\n-----END " + head + b"-----\n"
