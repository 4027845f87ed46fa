from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from weft.explain.tokens import check
from weft.model.trust import TokenIssuer

NOW = 1_000_000.0
KEY = ECKey.generate_key("P-256", {"kid": "a"})
OTHER = ECKey.generate_key("P-256", {"kid": "a"})
ISSUER = TokenIssuer(
    source="RequestAuthentication/shop/jwt/jwtRules/0",
    issuer="https://i",
    jwks=json.dumps({"keys": [KEY.as_dict(private=False)]}),
)


def token(key: ECKey = KEY, **claims: Any) -> str:  # noqa: ANN401 - claims are JSON
    made = {"iss": "https://i", "sub": "ann", "exp": NOW + 60, **claims}
    return jwt.encode(
        {"alg": "ES256", "kid": "a"}, {name: value for name, value in made.items() if value is not None}, key
    )


def refused(text: str, issuer: TokenIssuer = ISSUER) -> str:
    claims, why = check(text, (issuer,), NOW)
    assert (claims is None) == bool(why)
    return why


def test_a_good_token_gives_its_claims() -> None:
    claims, why = check(f"Bearer {token()}\n", (ISSUER,), NOW)
    assert (claims and claims["sub"], why) == ("ann", "")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": None}, "no time at which it expires"),
        ({"exp": NOW - 61}, "expired"),
        ({"exp": "soon"}, "no time"),
        ({"nbf": NOW + 61}, "not valid yet"),
        ({"iss": "https://evil"}, "not one of those here (https://i)"),
        ({"iss": None}, "not one of those here"),
    ],
)
def test_a_token_says_why_it_is_refused(claims: dict[str, Any], why: str) -> None:
    assert why in refused(token(**claims))


def test_clocks_may_differ_by_a_minute() -> None:
    assert refused(token(exp=NOW - 59)) == ""
    assert refused(token(nbf=NOW + 59)) == ""


def test_audiences_must_meet_where_an_issuer_names_some() -> None:
    named = msgspec.structs.replace(ISSUER, audiences=("pay",))
    assert refused(token(aud="pay"), named) == ""
    assert refused(token(aud=["x", "pay"]), named) == ""
    assert "for x, and here for pay" in refused(token(aud="x"), named)
    assert refused(token(), named)


def test_another_key_and_another_algorithm_are_no_signature() -> None:
    assert "signature" in refused(token(OTHER))
    header, payload, signature = token().split(".")
    assert "signature" in refused(f"{header}.{payload}.{signature[:-4]}AAAA")
    shared = OctKey.import_key(json.dumps(KEY.as_dict(private=False)))
    forged = jwt.encode({"alg": "HS256", "kid": "a"}, {"iss": "https://i", "exp": NOW + 60}, shared)
    assert "signature" in refused(forged)
    none = "eyJhbGciOiJub25lIn0"
    assert "signature" in refused(f"{none}.{payload}.")


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "a.!!.c", "a.W10.c", "é.é.é", "a.b.c" * 10_000])
def test_what_is_no_token_is_said_to_be_none(text: str) -> None:
    assert refused(text) == "it is no JWT"


def test_without_keys_nothing_is_believed() -> None:
    assert "could not be had" in refused(token(), msgspec.structs.replace(ISSUER, jwks=""))
    assert "signature" in refused(token(), msgspec.structs.replace(ISSUER, jwks='{"keys": [{"kty": "EC"}]}'))
    assert "(none)" in check(token(), (), NOW)[1]


def test_one_of_several_entries_for_an_issuer_is_enough() -> None:
    broken = msgspec.structs.replace(ISSUER, jwks="")
    assert check(token(), (broken, ISSUER), NOW)[1] == ""


def test_claims_that_are_lists_of_words_are_lists() -> None:
    spaced = msgspec.structs.replace(ISSUER, spaced=("roles", "none"))
    found, _ = check(token(roles="read  write", other="a b", none=1), (spaced,), NOW)
    assert found is not None
    assert (found["roles"], found["other"], found["none"]) == (["read", "write"], "a b", 1)
