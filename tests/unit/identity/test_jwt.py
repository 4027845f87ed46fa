from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.support.stores import Clock
from tests.support.trust import key, key_pem, weak
from weft.errors import Problem
from weft.identity import jwt
from weft.identity.bundle import jwk
from weft.identity.wire import Bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = Clock()()
SECONDS = NOW.timestamp()
ID = "spiffe://local/ns/shop/sa/pay"
KEY = key()
RSA = rsa.generate_private_key(65537, 2048)
OTHER = ec.generate_private_key(ec.SECP384R1())
BUNDLES = (
    Bundle("local", 1, 300, (), (jwk(KEY.public_key(), "a"), jwk(RSA.public_key(), "r"), jwk(OTHER.public_key(), "o"))),
    Bundle("example.org", 1, 300, (), (jwk(key().public_key(), "a"),)),
)
CLAIMS: Mapping[str, Any] = {"sub": ID, "aud": ["x", "y"], "iat": SECONDS, "exp": SECONDS + 300}
HEADER: Mapping[str, Any] = {"alg": "ES256", "kid": "a", "typ": "JWT"}


def token(header: Mapping[str, Any] = HEADER, claims: Mapping[str, Any] = CLAIMS, private: Any = None) -> str:  # noqa: ANN401 - any key
    with_ = private or ECKey.import_key(key_pem(KEY))
    return jws.serialize_compact(dict(header), json.dumps(claims), with_, algorithms=[header["alg"]])


def refusal(text: str, audience: str = "x", now: float = SECONDS, banned: tuple[str, ...] = ()) -> str:
    found = jwt.validate(text, audience, BUNDLES, now, banned)
    assert isinstance(found, Problem), found
    assert found.code == "WFT-1815"
    return found.message


def test_what_is_signed_is_valid_for_its_audience_and_five_minutes() -> None:
    text, end = jwt.TokenSigner(KEY, "a").sign(ID, ("x",), NOW)
    assert end == SECONDS + 300
    found = jwt.validate(text, "x", BUNDLES, SECONDS, ())
    assert isinstance(found, jwt.Valid)
    assert found.spiffe_id == ID
    assert found.claims == {"sub": ID, "aud": "x", "iat": SECONDS, "exp": SECONDS + 300}
    header = json.loads(base64.urlsafe_b64decode(text.partition(".")[0] + "=="))
    assert header == {"alg": "ES256", "kid": "a", "typ": "JWT"}
    assert isinstance(jwt.validate(text, "x", BUNDLES, end + 59, ()), jwt.Valid)
    assert "is over" in refusal(text, now=end + 60)


def test_several_audiences_are_a_list() -> None:
    text, _ = jwt.TokenSigner(KEY, "a").sign(ID, ("x", "y"), NOW)
    for audience in ("x", "y"):
        assert isinstance(jwt.validate(text, audience, BUNDLES, SECONDS, ()), jwt.Valid)
    assert "not for 'z'" in refusal(text, "z")


@pytest.mark.parametrize(
    ("private", "kid", "algorithm"),
    [
        (RSAKey.import_key(key_pem(RSA)), "r", "RS256"),
        (RSAKey.import_key(key_pem(RSA)), "r", "PS384"),
        (ECKey.import_key(key_pem(OTHER)), "o", "ES384"),
    ],
)
def test_every_algorithm_of_spiffe_is_taken(private: object, kid: str, algorithm: str) -> None:
    text = token({"alg": algorithm, "kid": kid}, private=private)
    assert isinstance(jwt.validate(text, "y", BUNDLES, SECONDS, ()), jwt.Valid)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key != name}


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (without("sub"), "missing required field `sub`"),
        (without("aud"), "missing required field `aud`"),
        (without("exp"), "missing required field `exp`"),
        ({**CLAIMS, "sub": "pay"}, "no SPIFFE ID"),
        ({**CLAIMS, "sub": "spiffe://local/a/../b"}, "no SPIFFE ID"),
        ({**CLAIMS, "sub": "spiffe://elsewhere/a"}, "elsewhere is not trusted"),
        ({**CLAIMS, "sub": "spiffe://example.org/a"}, "signature is wrong"),
        ({**CLAIMS, "aud": []}, "not for 'x'"),
        ({**CLAIMS, "aud": "X"}, "not for 'x'"),
        ({**CLAIMS, "exp": "later"}, "cannot be read"),
        ({**CLAIMS, "exp": SECONDS - 60}, "is over"),
        ({**CLAIMS, "nbf": SECONDS + 61}, "not valid yet"),
    ],
)
def test_a_claim_that_does_not_hold_refuses_the_token(claims: Mapping[str, Any], why: str) -> None:
    assert why in refusal(token(claims=claims))


@pytest.mark.parametrize(
    ("header", "private", "why"),
    [
        ({"alg": "ES256"}, None, "does not name its key"),
        ({"alg": "ES256", "kid": "zz"}, None, "has no key 'zz'"),
        ({"alg": "ES256", "kid": "r"}, None, "signature is wrong"),
        ({"alg": "ES256", "kid": "a", "typ": "at+jwt"}, None, "its type is"),
        ({"alg": "HS256", "kid": "a"}, OctKey.import_key("x" * 32), "'HS256' is not allowed"),
        ({"alg": "ES256", "kid": "a"}, ECKey.import_key(key_pem(key())), "signature is wrong"),
    ],
)
def test_a_header_that_lies_refuses_the_token(header: Mapping[str, Any], private: object, why: str) -> None:
    assert why in refusal(token(header, private=private))


def coded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "compact form"),
        ("a.b", "compact form"),
        ("a.b.c.d.e", "compact form"),
        ("x" * (jwt.MAX_TOKEN + 1), "compact form"),
        ("!.!.!", "cannot be read"),
        ("e30.e30.e30", "cannot be read"),
        ("ééé.é.é", "cannot be read"),
        (f"{coded({'alg': 'none', 'kid': 'a'})}.{coded(dict(CLAIMS))}.", "'none' is not allowed"),
        (f"{coded({**HEADER, 'crit': ['x']})}.{coded(dict(CLAIMS))}.AAAA", "must be understood"),
        (f"{coded(dict(HEADER))}.{coded(dict(CLAIMS))}.", "signature is wrong"),
        (f"{coded(dict(HEADER))}.{coded(dict(CLAIMS))}.AAAA", "signature is wrong"),
    ],
)
def test_a_forged_text_is_no_token(text: str, why: str) -> None:
    assert why in refusal(text)


def test_a_key_that_cannot_be_used_signs_nothing() -> None:
    for fields in ({"x": ""}, {"crv": "P-999"}, {"x": "AA", "y": "AA"}):
        wrong = msgspec.structs.replace(BUNDLES[0].jwt[0], **fields)
        found = jwt.validate(token(), "x", (msgspec.structs.replace(BUNDLES[0], jwt=(wrong,)),), SECONDS, ())
        assert isinstance(found, Problem)
    breakable = jwk(weak().public_key(), "a")
    found = jwt.validate(
        token({"alg": "RS256", "kid": "a"}, private=RSAKey.import_key(key_pem(RSA))),
        "x",
        (msgspec.structs.replace(BUNDLES[0], jwt=(breakable,)),),
        SECONDS,
        (),
    )
    assert isinstance(found, Problem)


def test_the_token_of_who_is_banned_is_refused() -> None:
    assert "is banned" in refusal(token(), banned=(ID,))


def test_an_audience_is_needed_and_bounded() -> None:
    assert jwt.audiences(("x",), "node") is None
    for asked in ((), ("",), ("x", ""), ("x",) * 33, ("x" * 2049,)):
        found = jwt.audiences(asked, "node")
        assert found is not None
        assert found.code == "WFT-1817"
