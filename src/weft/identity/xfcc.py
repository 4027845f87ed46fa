"""What an Envoy of ours says of its client's certificate, in the header in which it alone may say so.

Source: Envoy, "x-forwarded-client-cert".
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from weft.identity import keys, spiffe

MAX_HEADER: Final = 48 * 1024
"""Eight certificates with RSA keys of 4,096 bits."""
_CHAIN: Final = re.compile(r'"([A-Za-z0-9%._-]*)"')
"""PEM, percent-encoded, in quotes. There are no others, so that nothing in a certificate can look like a part of the header."""


class Shown(msgspec.Struct, frozen=True):
    """The one SPIFFE ID of a certificate, and its chain (DER, leaf first) as the client showed it."""

    spiffe_id: str
    chain: tuple[bytes, ...]


def read(header: str) -> Shown | None:
    """None for anything but exactly one certificate with exactly one URI, and its chain."""
    if len(header) > MAX_HEADER or "," in header:
        return None
    pairs = [(key.strip().lower(), value) for key, _, value in (each.partition("=") for each in header.split(";"))]
    uris = [value for key, value in pairs if key == "uri"]
    chains = [found for key, value in pairs if key == "chain" and (found := _CHAIN.fullmatch(value))]
    if len(uris) != 1 or len(chains) != 1 or header.count('"') != 2:
        return None
    try:
        certificates = x509.load_pem_x509_certificates(unquote_to_bytes(chains[0][1]))
        return Shown(str(spiffe.parse(uris[0])), tuple(each.public_bytes(Encoding.DER) for each in certificates))
    except (*keys.UNREADABLE, spiffe.NotSpiffeError):
        return None
