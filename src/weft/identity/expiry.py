"""How much of its life each certificate of the authority has behind it, and what an operator should hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from weft.errors import Problem, Severity
from weft.values import Origin

if TYPE_CHECKING:
    from weft.identity.state import Authority, Journal

WARN: Final = 0.75
URGE: Final = 0.90


class Life(msgspec.Struct, frozen=True):
    """One CA certificate. ``part``: root or issuing. Seconds since 1970. ``renews``: by itself, long before its end."""

    authority: str
    part: str
    subject: str
    fingerprint: str
    not_before: int
    not_after: int
    renews: bool = False

    def used(self, now: float) -> float:
        """The share of its life that is over; above 1 when it has ended."""
        return (now - self.not_before) / (self.not_after - self.not_before)


def lives(authority: Authority) -> tuple[Life, ...]:
    issuing = _life(authority.id, "issuing", authority.chain[0])
    root = _life(authority.id, "root", authority.root)
    upstream = _life(authority.id, "issuing", authority.above[0]) if authority.above else root
    renews = bool(authority.upstream_key) and issuing.not_after < upstream.not_after
    return root, msgspec.structs.replace(issuing, renews=renews)


def _life(authority: str, part: str, der: bytes) -> Life:
    certificate = x509.load_der_x509_certificate(der)
    return Life(
        authority,
        part,
        certificate.subject.rfc4514_string(),
        certificate.fingerprint(hashes.SHA256()).hex(),
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )


def warnings(journal: Journal, now: float) -> tuple[Problem, ...]:
    """One for each certificate in use that is past 75 % of its life (a warning) or 90 % (an error)."""
    found = []
    for authority in journal.trusted:
        for life in lives(authority):
            used = life.used(now)
            if used < WARN or life.renews:
                continue
            days = (life.not_after - now) / 86400
            when = f"ends in {days:.0f} days" if days >= 2 else f"ends in {max(0.0, days * 24):.0f} hours"
            state = when if used < 1 else "has ended: nobody takes its SVIDs any more"
            found.append(
                Problem(
                    code="WFT-1816",
                    message=f"the {life.part} certificate of authority {life.authority} {state}, {used:.0%} of its life are over",
                    remedy="Replace the authority: weft trust rotate",
                    origin=Origin(f"authority {life.authority}"),
                    severity=Severity.ERROR if used >= URGE else Severity.WARNING,
                )
            )
    return tuple(found)
