"""What makes a certificate an X.509-SVID of somebody, and a chain one of a bundle. For control's own peers and for tests.

Source: SPIFFE X.509-SVID, section 5; RFC 5280, section 6.1. Proxies check by Envoy's own validator.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from weft.identity import keys, spiffe

if TYPE_CHECKING:
    from datetime import datetime

MAX_CHAIN: Final = 8
DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
"""With which a certificate may be signed: strong enough, and known to every peer. Source: RFC 5758; what BoringSSL verifies."""


def svid(chain: tuple[bytes, ...], roots: tuple[bytes, ...], spiffe_id: str, now: datetime) -> str:
    """Why a chain (DER, leaf first) is not an SVID of ``spiffe_id`` below one of ``roots``; empty when it is."""
    if not 1 <= len(chain) <= MAX_CHAIN:
        return "has no certificate, or too many"
    if wrong := leaf(chain[0], spiffe_id, now):
        return wrong
    try:
        certificates = [x509.load_der_x509_certificate(each) for each in chain]
        anchors = [x509.load_der_x509_certificate(each) for each in roots]
        above = certificates[-1]
        for child, parent in pairwise(certificates):
            if wrong := issued_by(child, parent, now):
                return wrong
        if not any(above == anchor or not issued_by(above, anchor, now) for anchor in anchors):
            return "ends in nothing that the bundle has"
    except keys.UNREADABLE as error:
        return f"cannot be read: {error}"
    return lengths(certificates)


def leaf(der: bytes, spiffe_id: str, now: datetime) -> str:
    """Why a certificate is not a leaf SVID of ``spiffe_id``; empty when it is."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        uris, ca, use = names(certificate), is_ca(certificate), key_usage(certificate)
        strength = keys.strength(certificate.public_key())
    except keys.UNREADABLE as error:
        return f"cannot be read: {error}"
    if len(uris) != 1:
        return f"has {len(uris)} URIs, not one"
    try:
        spiffe.parse(uris[0])
    except spiffe.NotSpiffeError as error:
        return f"has no SPIFFE ID: it {error}"
    if uris[0] != spiffe_id:
        return f"is of {uris[0]}, not of {spiffe_id}"
    if ca:
        return "is a CA's"
    if use is None or not use.digital_signature or use.key_cert_sign or use.crl_sign:
        return "may not be used for signing handshakes only (key usage)"
    return (strength and f"has a key that {strength}") or validity(certificate, now)


def names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(found.get_values_for_type(x509.UniformResourceIdentifier))


def is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def validity(certificate: x509.Certificate, now: datetime) -> str:
    """Why a certificate does not hold at this moment; empty when it does."""
    if certificate.not_valid_before_utc > now:
        return "is not valid yet"
    return "has ended" if certificate.not_valid_after_utc <= now else ""


def issued_by(child: x509.Certificate, parent: x509.Certificate, now: datetime) -> str:
    """Why ``parent`` is not a CA that signed ``child`` and holds now; empty when it is."""
    usage = key_usage(parent)
    if not is_ca(parent) or (usage is not None and not usage.key_cert_sign):
        return "was signed by what is no CA"
    return validity(parent, now) if signed_by(child, parent) else "is not signed by the certificate above it"


def signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (*keys.UNREADABLE, InvalidSignature):
        return False
    return True


def lengths(chain: list[x509.Certificate]) -> str:
    """Why one of a chain's CAs (all but the first) allows no chain of this length; empty when all do."""
    for below, certificate in enumerate(chain[1:]):
        limit = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if limit is not None and limit < below:
            return "has more CAs in its chain than one of them allows"
    return ""
