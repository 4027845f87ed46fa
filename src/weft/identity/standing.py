"""Who stands behind a request or a stream at the door *now*.

Envoy checks a certificate once, when a connection begins, and the connection lives on: past the end of the certificate, and
past the moment in which its authority was revoked, after which nobody must be given anything more, least of all a new SVID. So
Envoy passes the chain on, and it is checked again here, whenever something is asked or said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509

from weft.identity import verify, xfcc

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

MOST: Final = 4_096
"""Headers that are remembered: as many as the door has connections."""


class _Known(msgspec.Struct, frozen=True):
    """``root`` is what the chain ends in; it holds until ``end``, in seconds since 1970."""

    spiffe_id: str
    root: bytes
    end: float


class Standing:
    """``roots`` are those of our own trust domain now (DER)."""

    def __init__(self, roots: Callable[[], tuple[bytes, ...]], now: Callable[[], datetime]) -> None:
        self._roots, self._now = roots, now
        self._known: dict[str, _Known] = {}

    def peer(self, header: str) -> str:
        """The SPIFFE ID that a header shows; empty when it shows none, or one whose certificate holds no more."""
        now, roots = self._now(), self._roots()
        known = self._known.get(header)
        if known is None or known.root not in roots:
            known = _looked(header, roots, now)
            if known is None:
                self._known.pop(header, None)
                return ""
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[header] = known
        return known.spiffe_id if now.timestamp() < known.end else ""


def _looked(header: str, roots: tuple[bytes, ...], now: datetime) -> _Known | None:
    shown = xfcc.read(header) if header else None
    if shown is None:
        return None
    root = next((each for each in roots if not verify.svid(shown.chain, (each,), shown.spiffe_id, now)), None)
    if root is None:
        return None
    ends = [x509.load_der_x509_certificate(each).not_valid_after_utc.timestamp() for each in (*shown.chain, root)]
    return _Known(shown.spiffe_id, root, min(ends))
