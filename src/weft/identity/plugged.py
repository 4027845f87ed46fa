"""A CA that somebody else made: read from PEM, and everything that is wrong with it for our purposes.

The file holds the CA whose key is given first, then the CAs above it, and its root last. Source: RFC 5280, section 6.1; SPIFFE
X.509-SVID, section 4.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from weft.identity import keys, verify
from weft.identity.keys import PrivateKey
from weft.identity.problems import TrustError, problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from weft.errors import Problem

MAX_CERTIFICATES: Final = 8
MAX_BYTES: Final = 256 * 1024


class Plugged(msgspec.Struct, frozen=True, eq=False):
    """``chain`` is DER, from the CA whose key is ``key`` up to the one below ``root``; empty when that CA is the root."""

    chain: tuple[bytes, ...]
    root: bytes
    key: PrivateKey

    def __repr__(self) -> str:
        return f"Plugged({len(self.chain)} below the root)"


def read(certificates: bytes, key: bytes, trust_domain: str, now: datetime, place: str, key_place: str) -> Plugged:
    """Raises ``TrustError`` with every reason why it cannot be the authority of ``trust_domain``."""
    private = keys.parse_key(key, key_place)
    try:
        found = x509.load_pem_x509_certificates(certificates) if len(certificates) <= MAX_BYTES else []
    except keys.UNREADABLE as error:
        raise TrustError(_bad(f"it is no PEM file of certificates: {error}", place)) from error
    if not 1 <= len(found) <= MAX_CERTIFICATES:
        raise TrustError(_bad(f"it must hold 1 to {MAX_CERTIFICATES} certificates", place))
    try:
        wrong = list(dict.fromkeys(_faults(found, private, trust_domain, now)))
    except keys.UNREADABLE as error:
        wrong = [f"a certificate in it cannot be read: {error}"]
    if wrong:
        raise TrustError(*(_bad(each, place) for each in wrong))
    ders = [each.public_bytes(Encoding.DER) for each in found]
    return Plugged(tuple(ders[:-1]), ders[-1], private)


def _faults(found: list[x509.Certificate], key: PrivateKey, trust_domain: str, now: datetime) -> Iterator[str]:
    shape = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if found[0].public_key().public_bytes(*shape) != key.public_key().public_bytes(*shape):
        yield "the key does not belong to its first certificate"
    for child, parent in pairwise(found):
        if not verify.signed_by(child, parent):
            yield f"{_name(child)} is not signed by the certificate that follows it, {_name(parent)}"
        if not isinstance(digest := child.signature_hash_algorithm, verify.DIGESTS):
            yield f"{_name(child)} is signed with {digest.name if digest else 'no hash'}; SHA-256, SHA-384 and SHA-512 are taken"
    if not verify.signed_by(found[-1], found[-1]):
        yield f"it does not end in a root: {_name(found[-1])} is not signed by itself"
    # An intermediate that may have no CA below it signs SVIDs itself; any other CA signs an issuing CA of ours.
    ours = 0 if len(found) > 1 and _limit(found[0]) == 0 else 1
    for below, certificate in enumerate(found):
        for fault in _of_one(certificate, below + ours, trust_domain, now):
            yield f"{_name(certificate)} {fault}"


def _limit(certificate: x509.Certificate) -> int | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        return None


def _of_one(certificate: x509.Certificate, below: int, trust_domain: str, now: datetime) -> Iterator[str]:
    """``below``: how many CAs will stand below it."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        yield "has no basic constraints, so it is no CA"
        return
    if not constraints.ca:
        yield "is not a CA (CA:FALSE)"
    limit = constraints.path_length
    if limit is not None and limit < below:
        yield f"allows {limit} CAs below it, and {below} are needed (pathlen)"
    try:
        if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
            yield "may not sign certificates (key usage)"
    except x509.ExtensionNotFound:
        yield "does not say that it may sign certificates (key usage)"
    if wrong := keys.strength(certificate.public_key()):
        yield f"has a key that {wrong}"
    if certificate.not_valid_before_utc > now:
        yield f"is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
    if certificate.not_valid_after_utc <= now:
        yield f"ended on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    yield from _names(certificate, trust_domain)


def _names(certificate: x509.Certificate, trust_domain: str) -> Iterator[str]:
    """What its own SPIFFE ID and its name constraints say of the names below it."""
    own = f"spiffe://{trust_domain}"
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            uris = value.get_values_for_type(x509.UniformResourceIdentifier)
            if any(uri.startswith("spiffe://") and uri != own for uri in uris):
                yield f"has the SPIFFE ID {uris[0]}, and a CA of this trust domain has {own} or none"
        elif isinstance(value, x509.NameConstraints):
            permitted = [each.value for each in value.permitted_subtrees or () if _is_uri(each)]
            excluded = [each.value for each in value.excluded_subtrees or () if _is_uri(each)]
            if permitted and not any(covers(constraint, trust_domain) for constraint in permitted):
                yield f"permits URIs of {', '.join(permitted)} only (name constraints), and {own} is none of them"
            if any(covers(constraint, trust_domain) for constraint in excluded):
                yield f"excludes URIs of {trust_domain} (name constraints)"
        elif extension.critical and isinstance(value, x509.UnrecognizedExtension):
            yield f"has a critical extension that is not understood ({extension.oid.dotted_string})"
        elif isinstance(value, x509.ExtendedKeyUsage) and not _for_tls(value):
            yield "is not for TLS servers and clients (extended key usage)"


def _is_uri(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.UniformResourceIdentifier)


def _for_tls(usage: x509.ExtendedKeyUsage) -> bool:
    oids = set(usage)
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    return ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in oids or both <= oids


def covers(constraint: str, host: str) -> bool:
    """Whether a URI constraint holds for a host. Source: RFC 5280, section 4.2.1.10: a leading dot means hosts below it."""
    if constraint.startswith("."):
        return host.lower().endswith(constraint.lower())
    return host.lower() == constraint.lower()


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()[:120] or "a CA without a name"


def _bad(why: str, place: str) -> Problem:
    remedy = "Give --root-cert the CA first, then those above it up to the root, and --root-key the CA's key"
    return problem("WFT-1808", why, remedy, place)
