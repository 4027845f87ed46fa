"""PEM, as Envoy and OpenSSL read it. Source: RFC 7468."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def certificates(ders: Iterable[bytes]) -> bytes:
    return b"".join(_block(der, b"CERTIFICATE") for der in ders)


def private_key(der: bytes) -> bytes:
    """Of PKCS#8."""
    return _block(der, b"PRIVATE KEY")


def _block(der: bytes, label: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"-----BEGIN " + label + b"-----\n" + b"\n".join(lines) + b"\n-----END " + label + b"-----\n"
