"""A host that joins by a certificate that it has: how it proves that, and what control looks at before it believes it.

The proof is a signature by the certificate's key over the host's name, its CSR, the root that it takes for control's, and the
time. It is made for one request to one mesh: with another CSR, for another name or to another root it proves nothing.
Source: RFC 5280, section 6.1, as far as ``verify`` goes; what it does not know (name constraints, other critical extensions)
is refused.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft.identity import keys, verify
from weft.identity.keys import PrivateKey
from weft.identity.problems import TrustError, problem

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from weft.errors import Problem
    from weft.identity.join import Invitation

LABEL: Final = b"weft: a host joins by its certificate, 1"
MAX_SKEW: Final = 300
"""Seconds between the clocks of the host and of control."""
MAX_CERTIFICATE: Final = 16 * 1024
MAX_PROOF: Final = keys.MAX_RSA_BITS // 8
MAX_FILE: Final = 64 * 1024
_UNDERSTOOD: Final = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


class Proof(msgspec.Struct, frozen=True):
    """What a host says. ``chain`` is DER, leaf first; ``time`` is seconds since 1970; ``signature`` is over ``message``."""

    chain: tuple[bytes, ...]
    time: int
    signature: bytes


class Held(msgspec.Struct, frozen=True, eq=False):
    """A certificate chain (DER, leaf first) with the leaf's key."""

    chain: tuple[bytes, ...]
    key: PrivateKey

    def __repr__(self) -> str:
        return f"Held({len(self.chain)})"

    def prove(self, host: str, csr: bytes, root: bytes, now: datetime) -> Proof:
        """``root`` is the fingerprint of control's."""
        time = int(now.timestamp())
        said = message(host, csr, root, time)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return Proof(self.chain, time, self.key.sign(said, ec.ECDSA(hashes.SHA256())))
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return Proof(self.chain, time, self.key.sign(said, pss, hashes.SHA256()))


def message(host: str, csr: bytes, root: bytes, time: int) -> bytes:
    """Every part has a length of its own that never changes: no two requests have the same message."""
    parts = (hashlib.sha256(host.encode()).digest(), hashlib.sha256(csr).digest(), root)
    return b"\0".join((LABEL, b"".join(parts) + time.to_bytes(8, "big", signed=True)))


def read(certificate: Path, key: Path) -> Held:
    """Files of a joining host (PEM). Raises ``TrustError``."""
    try:
        with certificate.open("rb") as file:
            found = tuple(x509.load_pem_x509_certificates(file.read(MAX_FILE)))
    except OSError as error:
        raise TrustError(unusable(f"it cannot be read: {error.strerror}", str(certificate))) from error
    except keys.UNREADABLE as error:
        raise TrustError(unusable("it holds no certificate in PEM", str(certificate))) from error
    if len(found) > verify.MAX_CHAIN:
        raise TrustError(unusable(f"it holds more than {verify.MAX_CHAIN} certificates", str(certificate)))
    held = keys.read_key(key.resolve())
    if found[0].public_key() != held.public_key():
        raise TrustError(unusable("its first certificate is not that of the key", str(certificate)))
    return Held(tuple(each.public_bytes(Encoding.DER) for each in found), held)


def authority(pem: str) -> bytes | Problem:
    """The CA (DER) that an operator names, from PEM."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode()[:MAX_FILE])
        if len(found) != 1:
            return unusable(f"there are {len(found)} certificates, not the one of a CA", "ca")
        if not verify.is_ca(found[0]):
            return unusable("it is not the certificate of a CA", "ca")
        if wrong := keys.strength(found[0].public_key()):
            return unusable(f"the key of the CA {wrong}", "ca")
    except keys.UNREADABLE:
        return unusable("it is no certificate in PEM", "ca")
    return found[0].public_bytes(Encoding.DER)


def fingerprint(text: str) -> bytes | None:
    """From hexadecimal, with or without colons; None for what is no SHA-256."""
    plain = text.strip().lower().replace(":", "")
    return bytes.fromhex(plain) if _FINGERPRINT.fullmatch(plain) else None


def wrong(invitation: Invitation, host: str, csr: bytes, proof: Proof, now: datetime) -> str:
    """Why a host may not join by this proof; empty when it may. For control's operator, not for who asks."""
    if not 1 <= len(proof.chain) <= verify.MAX_CHAIN or any(len(each) > MAX_CERTIFICATE for each in proof.chain):
        return "the chain has no certificate, or too many, or one that is too large"
    if len(proof.signature) > MAX_PROOF:
        return "the proof is too large"
    if abs(proof.time - int(now.timestamp())) > MAX_SKEW:
        return f"the proof was not made within {MAX_SKEW} s of now"
    try:
        chain = [x509.load_der_x509_certificate(each) for each in proof.chain]
        anchor = x509.load_der_x509_certificate(invitation.ca)
        found = _chain(chain, anchor, now) or _leaf(chain[0], host)
    except keys.UNREADABLE as error:
        return f"the chain cannot be read: {str(error)[:120]!r}"
    if found:
        return f"the certificate {found}"
    said = message(host, csr, invitation.root, proof.time)
    return "" if _signed(chain[0].public_key(), proof.signature, said) else "the proof is not by the certificate's key"


def _chain(chain: list[x509.Certificate], anchor: x509.Certificate, now: datetime) -> str:
    whole = chain if chain[-1] == anchor else [*chain, anchor]
    for each in whole:
        if found := verify.validity(each, now) or _understood(each):
            return found
        if weak := keys.strength(each.public_key()):
            return f"has a key in its chain that {weak}"
    for child, parent in pairwise(whole):
        if not isinstance(child.signature_hash_algorithm, verify.DIGESTS):
            return "is signed with a hash that is too weak"
        if found := verify.issued_by(child, parent, now):
            return found
    return verify.lengths(whole)


def _understood(certificate: x509.Certificate) -> str:
    """Why a certificate may mean something that nothing here looks at, or not to vouch for clients; empty when not."""
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.NameConstraints):
            return "has a name constraint in its chain, which is not looked at"
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            return f"has a critical extension in its chain that is not looked at: {extension.oid.dotted_string[:40]}"
        if (
            isinstance(extension.value, x509.ExtendedKeyUsage)
            and ExtendedKeyUsageOID.CLIENT_AUTH not in extension.value
        ):
            return "is not for clients (extended key usage), or a CA above it is not"
    return ""


def _leaf(certificate: x509.Certificate, host: str) -> str:
    usage = verify.key_usage(certificate)
    if verify.is_ca(certificate):
        return "is a CA's"
    if usage is not None and (not usage.digital_signature or usage.key_cert_sign):
        return "may not sign a proof (key usage)"
    return "" if host in _names(certificate) else f"does not name {host}"


def _names(certificate: x509.Certificate) -> list[str]:
    """DNS names; the one common name only where there are no alternative names at all."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        return common if len(common) == 1 else []
    return list(found.get_values_for_type(x509.DNSName))


def _signed(key: object, signature: bytes, said: bytes) -> bool:
    """By a key that ``keys.strength`` takes. RSA by PSS, or by PKCS #1 1.5, which is all that some devices can."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        try:
            key.verify(signature, said, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    for scheme in (_PSS, padding.PKCS1v15()):
        with suppress(InvalidSignature):
            key.verify(signature, said, scheme, hashes.SHA256())
            return True
    return False


def unusable(why: str, place: str) -> Problem:
    remedy = "Use PEM: a host's certificate with the CAs above it, its key (P-256, P-384 or RSA); for --ca the one CA"
    return problem("WFT-1867", why, remedy, place)
