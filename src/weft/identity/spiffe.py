"""SPIFFE IDs and trust domains, checked to the letter. Source: SPIFFE-ID, sections 2.1 to 2.4."""

from __future__ import annotations

from typing import Final

import msgspec

SCHEME: Final = "spiffe://"
MAX_TRUST_DOMAIN: Final = 255
MAX_ID: Final = 2048
"""Bytes. Source: SPIFFE-ID, section 2.3."""

_LOWER: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
_SEGMENT: Final = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class SpiffeId(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    """A valid SPIFFE ID. ``path`` begins with ``/``; it is empty for the ID of a trust domain itself."""

    trust_domain: str
    path: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}{self.path}"


class NotSpiffeError(ValueError):
    """A text is no SPIFFE ID, or no trust domain; its message says why, in words that fit after "it"."""


def trust_domain(text: str) -> str:
    """``text``, when it is the name of a trust domain. Raises ``NotSpiffeError``."""
    if not text:
        raise NotSpiffeError("is empty")
    if len(text) > MAX_TRUST_DOMAIN:
        raise NotSpiffeError(f"is longer than {MAX_TRUST_DOMAIN} characters")
    if wrong := sorted(set(text) - _LOWER):
        raise NotSpiffeError(
            f"holds {wrong[0]!r}; lower case letters, digits, dots, dashes and underscores are allowed"
        )
    return text


def parse(text: str) -> SpiffeId:
    """Raises ``NotSpiffeError``. Nothing is normalised: two spellings are never one identity."""
    if len(text.encode(errors="surrogatepass")) > MAX_ID:
        raise NotSpiffeError(f"is longer than {MAX_ID} bytes")
    if not text.startswith(SCHEME):
        raise NotSpiffeError(f"does not begin with {SCHEME}")
    domain, slash, rest = text[len(SCHEME) :].partition("/")
    trust_domain(domain)
    for segment in rest.split("/") if slash else ():
        if not segment:
            raise NotSpiffeError("has an empty path segment")
        if segment in (".", ".."):
            raise NotSpiffeError("has a path segment of dots")
        if wrong := sorted(set(segment) - _SEGMENT):
            raise NotSpiffeError(f"holds {wrong[0]!r} in its path")
    return SpiffeId(domain, f"/{rest}" if slash else "")
