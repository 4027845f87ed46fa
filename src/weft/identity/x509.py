"""Certificates of the authority: roots, issuing CAs and X.509-SVIDs, and what is taken from a CSR (its public key, no more).

Source: SPIFFE X.509-SVID, sections 2 to 4; RFC 5280, section 4.2 (a certificate without a subject has a critical SAN).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft.identity import keys
from weft.identity.keys import PrivateKey
from weft.identity.problems import problem
from weft.identity.spiffe import SCHEME

if TYPE_CHECKING:
    from weft.errors import Problem
    from weft.identity.keys import PublicKey

ROOT_LIFE: Final = timedelta(days=3650)
ISSUING_LIFE: Final = timedelta(days=365)
SVID_LIFE: Final = timedelta(hours=24)
BACKDATE: Final = timedelta(minutes=5)
"""How far the clocks of two hosts may be apart (promise E17)."""
MAX_CSR: Final = 16 * 1024
"""Bytes: an RSA key of 8,192 bits with every extension that tools add stays below 4 kB."""


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    """A CA signs certificates and their revocation, an SVID handshakes; neither does anything else."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


_SVID_USE: Final = _key_usage(ca=False)
_CA_USE: Final = _key_usage(ca=True)
_BOTH_SIDES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
_LEAF: Final = x509.BasicConstraints(ca=False, path_length=None)


class Issuer(msgspec.Struct, frozen=True, eq=False):
    """What signs: a CA certificate with its key. ``chain`` is DER, from this certificate up to the one below the root."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Issuer({self.certificate.subject.rfc4514_string()})"


class Svid(msgspec.Struct, frozen=True):
    """An X.509-SVID as it is handed out. ``chain`` is DER, leaf first; times are seconds since 1970."""

    spiffe_id: str
    chain: tuple[bytes, ...]
    not_after: int


def make_root(trust_domain: str, key: PrivateKey, label: str, now: datetime) -> x509.Certificate:
    """A self-signed CA of ten years that may have one CA below it."""
    name = ca_name(trust_domain, f"weft root {label}")
    return _ca(trust_domain, name, name, key.public_key(), key, now, now + ROOT_LIFE, path_length=1)


def make_issuing(trust_domain: str, parent: Issuer, key: PrivateKey, label: str, now: datetime) -> x509.Certificate:
    """A CA below ``parent`` that signs SVIDs only, for a year or as long as its parent lives."""
    end = min(now + ISSUING_LIFE, parent.certificate.not_valid_after_utc)
    name = ca_name(trust_domain, f"weft issuing {label}")
    return _ca(
        trust_domain, name, parent.certificate.subject, key.public_key(), parent.key, now, end, 0, parent.certificate
    )


def ca_name(trust_domain: str, common_name: str) -> x509.Name:
    """A common name has at most 64 characters (RFC 5280, appendix A), a trust domain has up to 255."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _ca(
    trust_domain: str,
    subject: x509.Name,
    issuer: x509.Name,
    public: PublicKey,
    signing: PrivateKey,
    now: datetime,
    end: datetime,
    path_length: int,
    parent: x509.Certificate | None = None,
) -> x509.Certificate:
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(whole(now - BACKDATE))
        .not_valid_after(whole(end))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_CA_USE, critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{SCHEME}{trust_domain}")]), critical=False
        )
        .add_extension(own, critical=False)
    )
    if parent is not None:
        builder = builder.add_extension(authority_key(parent), critical=False)
    return builder.sign(signing, digest(signing))


def authority_key(parent: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """How a certificate names its parent's key. Source: RFC 5280, section 4.2.1.1."""
    try:
        identifier = parent.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public = parent.public_key()
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)  # type: ignore[arg-type]  # a CA's key signs
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def digest(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """The hash as strong as the key."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()


def whole(time: datetime) -> datetime:
    """Certificates have no fractions of a second."""
    return time.replace(microsecond=0)


class Signer:
    """Signs SVIDs with one issuer. What all of them have in common is made once."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._digest = digest(issuer.key)
        self.end: Final = issuer.certificate.not_valid_after_utc
        self._template = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.certificate.subject)
            .add_extension(_LEAF, critical=True)
            .add_extension(_SVID_USE, critical=True)
            .add_extension(_BOTH_SIDES, critical=False)
            .add_extension(authority_key(issuer.certificate), critical=False)
        )

    def sign(self, spiffe_id: str, public: PublicKey, now: datetime) -> Svid:
        """``spiffe_id`` is the caller's to know; nothing else decides whose SVID it becomes."""
        end = min(whole(now + SVID_LIFE), self.end)
        certificate = (
            self._template.public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(whole(now - BACKDATE))
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]), critical=True)
            .sign(self._issuer.key, self._digest)
        )
        return Svid(spiffe_id, (certificate.public_bytes(Encoding.DER), *self._issuer.chain), int(end.timestamp()))


def public_key(csr: bytes, place: str) -> PublicKey | Problem:
    """The public key of a CSR (DER) that proves possession of the private one. Everything else in it is ignored."""
    remedy = "Send a PKCS#10 request (DER) with a P-256, P-384 or RSA key, signed by that key"
    if len(csr) > MAX_CSR:
        return problem("WFT-1804", f"the CSR is larger than {MAX_CSR:,} bytes", remedy, place)
    try:
        request = x509.load_der_x509_csr(csr)
        key = request.public_key()
        if wrong := keys.strength(key):
            return problem("WFT-1804", f"the key of the CSR {wrong}", remedy, place)
        digested = request.signature_hash_algorithm
        valid = digested is not None and digested.digest_size >= 32 and request.is_signature_valid
    except keys.UNREADABLE as error:
        return problem("WFT-1804", f"the CSR cannot be read: {error}", remedy, place)
    if not valid:
        return problem("WFT-1804", "the CSR is not signed by the key in it", remedy, place)
    return key  # type: ignore[return-value]  # keys.strength takes no other
