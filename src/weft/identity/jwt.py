"""JWT-SVIDs: signed for five minutes, and checked with nothing but bundles.

Source: SPIFFE JWT-SVID, sections 2 to 4. Only ES256 is signed; what other trust domains sign with any of the algorithms
that SPIFFE names is taken, as far as their bundle has a key for it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from weft.identity import keys, spiffe
from weft.identity.problems import problem

if TYPE_CHECKING:
    from datetime import datetime

    from weft.errors import Problem
    from weft.identity.keys import PrivateKey
    from weft.identity.wire import Bundle, Jwk

LIFE: Final = timedelta(minutes=5)
LEEWAY_SECONDS: Final = 60
"""How long after its end a token is taken, for clocks that differ. Source: what go-spiffe does."""
MAX_TOKEN: Final = 16 * 1024
MAX_AUDIENCES: Final = 32
MAX_AUDIENCE: Final = 2048
ALGORITHMS: Final = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
"""Source: SPIFFE JWT-SVID, section 2.1. Neither "none" nor a shared secret is among them."""


class TokenSigner:
    """Signs with one authority's key. It has no ``repr`` that shows it."""

    def __init__(self, key: PrivateKey, kid: str) -> None:
        self._key = ECKey.import_key(keys.pem(key))
        self._kid = kid

    def sign(self, spiffe_id: str, audience: tuple[str, ...], now: datetime) -> tuple[str, int]:
        """(token, its end in seconds since 1970)."""
        issued = int(now.timestamp())
        end = issued + int(LIFE.total_seconds())
        aud: object = audience[0] if len(audience) == 1 else list(audience)
        claims = {"sub": spiffe_id, "aud": aud, "iat": issued, "exp": end}
        header = {"alg": "ES256", "kid": self._kid, "typ": "JWT"}
        return jws.serialize_compact(header, msgspec.json.encode(claims), self._key, algorithms=["ES256"]), end


class Valid(msgspec.Struct, frozen=True):
    """A token that holds: whose it is, and its claims as they are."""

    spiffe_id: str
    claims: Mapping[str, Any]


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str = ""
    typ: str = ""
    crit: Any = None


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    aud: str | tuple[str, ...]
    exp: int | float
    nbf: int | float = 0


def audiences(asked: tuple[str, ...], place: str) -> Problem | None:
    """What is wrong with the audiences that a token is asked for."""
    if not asked or not all(asked):
        return problem("WFT-1817", "a token needs an audience", "Name who shall take it", place, "audience")
    if len(asked) > MAX_AUDIENCES or any(len(each) > MAX_AUDIENCE for each in asked):
        message = f"a token has at most {MAX_AUDIENCES} audiences of {MAX_AUDIENCE:,} characters"
        return problem("WFT-1817", message, "Ask for several tokens", place, "audience")
    return None


def validate(
    token: str, audience: str, bundles: tuple[Bundle, ...], now: float, banned: tuple[str, ...]
) -> Valid | Problem:
    """Whose token it is, when it is for ``audience``, signed by a key of its trust domain's bundle, and not over."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or len(parts) != 3:
        return _bad("it is no signed token in compact form")
    try:
        header = msgspec.json.decode(_decoded(parts[0]), type=_Header)
        claims = msgspec.json.decode(_decoded(parts[1]), type=_Claims)
        everything = msgspec.json.decode(_decoded(parts[1]), type=dict[str, Any])
        identity = spiffe.parse(claims.sub)
    except spiffe.NotSpiffeError as error:
        return _bad(f"its subject is no SPIFFE ID: it {error}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return _bad(f"it cannot be read: {error}")
    if wrong := _header(header) or _claims(claims, audience, now):
        return _bad(wrong)
    if claims.sub in banned:
        return _bad(f"{claims.sub} is banned")
    bundle = next((each for each in bundles if each.trust_domain == identity.trust_domain), None)
    if bundle is None:
        return _bad(f"trust domain {identity.trust_domain} is not trusted")
    key = next((each for each in bundle.jwt if each.kid == header.kid), None)
    if key is None:
        return _bad(f"{identity.trust_domain} has no key {header.kid[:80]!r}")
    if not _signed(token, header.alg, key):
        return _bad("its signature is wrong")
    return Valid(claims.sub, everything)


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _header(header: _Header) -> str:
    if header.alg not in ALGORITHMS:
        return f"algorithm {header.alg[:20]!r} is not allowed"
    if header.crit is not None:
        return "its header has extensions that must be understood"
    if header.typ not in ("", "JWT", "JOSE"):
        return f"its type is {header.typ[:20]!r}"
    return "" if header.kid else "it does not name its key (kid)"


def _claims(claims: _Claims, audience: str, now: float) -> str:
    aud = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if not audience or audience not in aud:
        return f"it is not for {audience[:80]!r}"
    if claims.exp + LEEWAY_SECONDS <= now:
        return "it is over"
    return "it is not valid yet" if claims.nbf - LEEWAY_SECONDS > now else ""


def _signed(token: str, algorithm: str, key: Jwk) -> bool:
    """By a key that is strong enough, with an algorithm that fits its kind and curve."""
    fields = {name: value for name in ("kty", "crv", "x", "y", "n", "e") if (value := getattr(key, name))}
    try:
        if key.kty == "RSA" and not keys.MIN_RSA_BITS <= len(_decoded(key.n)) * 8 <= keys.MAX_RSA_BITS:
            return False
        public = ECKey.import_key(fields) if key.kty == "EC" else RSAKey.import_key(fields)
        jws.deserialize_compact(token, public, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, KeyError):
        return False
    return True


def _bad(why: str) -> Problem:
    return problem("WFT-1815", f"the token is refused: {why}", "Get another from the Workload API", "JWT-SVID")
