"""Bundles: our own, made of every authority that is trusted, and SPIFFE bundle documents, written and read.

Source: SPIFFE Trust Domain and Bundle, section 4.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from weft.identity import keys, verify
from weft.identity.problems import problem
from weft.identity.wire import Bundle, Jwk

if TYPE_CHECKING:
    from weft.errors import Problem
    from weft.identity.keys import PublicKey

REFRESH_HINT: Final = 300
"""Seconds. Source: SPIFFE Federation, section 4: five minutes where nothing says otherwise."""
MAX_DOCUMENT: Final = 256 * 1024
MAX_KEYS: Final = 256
X509_USE: Final = "x509-svid"
JWT_USE: Final = "jwt-svid"


class _Document(msgspec.Struct, frozen=True):
    keys: tuple[Jwk, ...]
    spiffe_sequence: int = 0
    spiffe_refresh_hint: int = 0


def document(bundle: Bundle) -> bytes:
    """The bundle as a JWK set with SPIFFE's own members."""
    found = [x509_jwk(certificate) for certificate in bundle.x509]
    found += [msgspec.structs.replace(key, use=JWT_USE) for key in bundle.jwt]
    return msgspec.json.encode(_Document(tuple(found), bundle.sequence, bundle.refresh_hint))


def x509_jwk(certificate: bytes) -> Jwk:
    public = x509.load_der_x509_certificate(certificate).public_key()
    entry = jwk(public)  # type: ignore[arg-type]  # only what strength() takes becomes part of a bundle
    return msgspec.structs.replace(entry, use=X509_USE, x5c=(base64.b64encode(certificate).decode(),))


def jwk(public: PublicKey, kid: str = "", use: str = "") -> Jwk:
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers = public.public_numbers()
        size = (public.curve.key_size + 7) // 8
        curve = keys.P384 if isinstance(public.curve, ec.SECP384R1) else keys.P256
        return Jwk("EC", kid, use, crv=curve, x=_number(numbers.x, size), y=_number(numbers.y, size))
    rsa = public.public_numbers()
    return Jwk(
        "RSA",
        kid,
        use,
        n=_number(rsa.n, (rsa.n.bit_length() + 7) // 8),
        e=_number(rsa.e, (rsa.e.bit_length() + 7) // 8),
    )


def _number(value: int, size: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(size, "big")).rstrip(b"=").decode()


def read_document(data: bytes, trust_domain: str, place: str) -> Bundle | Problem:
    """A bundle document of another trust domain, checked. What it uses that SPIFFE does not know is left out, as it says."""
    if len(data) > MAX_DOCUMENT:
        return _bad(f"it is larger than {MAX_DOCUMENT:,} bytes", place)
    try:
        found = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _bad(str(error), place)
    if len(found.keys) > MAX_KEYS:
        return _bad(f"it has more than {MAX_KEYS} keys", place)
    if found.spiffe_sequence < 0 or found.spiffe_refresh_hint < 0:
        return _bad("spiffe_sequence and spiffe_refresh_hint must not be negative", place)
    authorities: list[bytes] = []
    tokens: list[Jwk] = []
    for number, key in enumerate(found.keys):
        if key.use == X509_USE:
            certificate = _authority(key, trust_domain)
            if isinstance(certificate, str):
                return _bad(f"keys[{number}] {certificate}", place)
            authorities.append(certificate)
        elif key.use == JWT_USE:
            if not key.kid:
                return _bad(f"keys[{number}] is for tokens and has no kid", place)
            if key.kty in ("EC", "RSA"):
                tokens.append(key)
    return Bundle(
        trust_domain,
        found.spiffe_sequence,
        found.spiffe_refresh_hint or REFRESH_HINT,
        tuple(dict.fromkeys(authorities)),
        tuple(tokens),
    )


def _authority(key: Jwk, trust_domain: str) -> bytes | str:
    """The CA certificate of an entry, or what is wrong with it."""
    if len(key.x5c) != 1:
        return "must have exactly one certificate in x5c"
    try:
        der = base64.b64decode(key.x5c[0], validate=True)
        certificate = x509.load_der_x509_certificate(der)
        public = certificate.public_key()
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        uris = verify.names(certificate)
    except (*keys.UNREADABLE, x509.ExtensionNotFound) as error:
        return f"holds no CA certificate: {error}"
    if not is_ca:
        return "holds a certificate that is not a CA's"
    if wrong := keys.strength(public):
        return f"has a key that {wrong}"
    other = [uri for uri in uris if uri.startswith("spiffe://") and uri != f"spiffe://{trust_domain}"]
    return f"is a CA of {other[0]}, not of {trust_domain}" if other else der


def _bad(why: str, place: str) -> Problem:
    remedy = (
        "Give a SPIFFE bundle document (a JWK set): weft trust bundle writes ours, spire-server bundle show SPIRE's"
    )
    return problem("WFT-1812", f"the bundle document is not valid: {why}", remedy, place)
