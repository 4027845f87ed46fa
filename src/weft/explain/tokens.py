"""Whether a token would be taken by the issuers of a guard, and why not: what the callee's proxy checks, done once here.

Source: RFC 7519; Istio, RequestAuthentication; docs/guides/policy.md. A token without ``exp`` is refused, clocks may differ
by a minute.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

if TYPE_CHECKING:
    from weft.explain.call import Claims
    from weft.model.trust import TokenIssuer

SKEW_SECONDS: Final = 60
MAX_TOKEN: Final = 16 * 1024
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""No ``none``, and no shared secrets."""


def check(token: str, issuers: tuple[TokenIssuer, ...], now: float) -> tuple[Claims | None, str]:
    """The claims of a token that is taken, or None and why it is refused. ``now`` is in seconds since 1970."""
    token = token.strip().removeprefix("Bearer ").strip()
    said = _unchecked(token)
    if said is None:
        return None, "it is no JWT"
    named = [each for each in issuers if each.issuer == said.get("iss")]
    if not named:
        known = ", ".join(dict.fromkeys(each.issuer for each in issuers)) or "none"
        return None, f"its issuer {str(said.get('iss'))[:200]!r} is not one of those here ({known})"
    problem = ""
    for issuer in named:
        problem = _refused(token, issuer, now)
        if not problem:
            return spaced(said, issuer), ""
    return None, problem


def spaced(claims: dict[str, Any], issuer: TokenIssuer) -> Claims:
    """Claims whose text is a list of words, as lists."""
    words = {name: claims[name].split() for name in issuer.spaced if isinstance(claims.get(name), str)}
    return {**claims, **words}


def _unchecked(token: str) -> dict[str, Any] | None:
    """The payload, before anything of it is believed."""
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        return None
    try:
        part = token.split(".")[1]
        found = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, msgspec.DecodeError):
        return None
    return found if isinstance(found, dict) else None


def _refused(token: str, issuer: TokenIssuer, now: float) -> str:
    """Why this issuer's token is not taken; empty when it is."""
    if not issuer.jwks:
        return f"the keys of {issuer.issuer} could not be had"
    try:
        keys = KeySet.import_key_set(msgspec.json.decode(issuer.jwks))
        claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        return f"its signature is not one of {issuer.issuer}'s ({str(error) or type(error).__name__})"
    return _times(claims, now) or _audiences(claims, issuer)


def _times(claims: Claims, now: float) -> str:
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float):
        return "it has no time at which it expires"
    if expires + SKEW_SECONDS < now:
        return "it has expired"
    if isinstance(begins, int | float) and begins - SKEW_SECONDS > now:
        return "it is not valid yet"
    return ""


def _audiences(claims: Claims, issuer: TokenIssuer) -> str:
    said = claims.get("aud")
    found = said if isinstance(said, list) else [said]
    if not issuer.audiences or set(map(str, found)) & set(issuer.audiences):
        return ""
    return f"it is for {', '.join(map(str, found))[:200]}, and here for {', '.join(issuer.audiences)}"
