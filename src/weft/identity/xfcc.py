"""Who stands behind an Envoy of ours, by the header in which it alone may say so. Source: Envoy, "x-forwarded-client-cert"."""

from __future__ import annotations

from typing import Final

from weft.identity import spiffe

MAX_HEADER: Final = 8 * 1024


def peer(header: str) -> str:
    """The one SPIFFE ID of the certificate; empty for anything but exactly one certificate with exactly one URI."""
    if len(header) > MAX_HEADER or "," in header or '"' in header:
        return ""
    pairs = [element.partition("=") for element in header.split(";")]
    found = [value for key, _, value in pairs if key.strip().lower() == "uri"]
    if len(found) != 1:
        return ""
    try:
        return str(spiffe.parse(found[0]))
    except spiffe.NotSpiffeError:
        return ""
