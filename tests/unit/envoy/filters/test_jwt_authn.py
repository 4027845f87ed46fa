"""Who vouches for a request."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from weft.envoy import api
from weft.envoy.filters import jwt_authn
from weft.envoy.protos.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from weft.envoy.protos.envoy.extensions.filters.http.jwt_authn import v3 as jwt
from weft.model.trust import Guard, TokenIssuer, TokenPlace

USUAL = TokenIssuer(source="RequestAuthentication/shop/a/rules/0", issuer="https://a.example")


def at(*places: TokenPlace) -> TokenIssuer:
    return TokenIssuer(source="s", issuer="i", places=places)


def made(*issuers: TokenIssuer) -> jwt.JwtAuthentication:
    found = jwt_authn.http(Guard(issuers=issuers))
    assert found is not None
    return api.unpack_as(jwt.JwtAuthentication, found.typed_config)


def test_no_token_is_looked_at_without_issuers() -> None:
    assert jwt_authn.http(Guard()) is None


def test_an_issuer_says_whose_tokens_and_for_whom_and_that_they_end() -> None:
    issuer = TokenIssuer(
        source="s",
        issuer="https://a.example",
        audiences=("shop",),
        jwks='{"keys":[{"kty":"OKP"}]}',
        places=(TokenPlace(header="x-a", prefix="Token "), TokenPlace(parameter="t"), TokenPlace(cookie="c")),
        forward=True,
        payload_header="x-payload",
        claim_headers=(("x-sub", "sub"), ("x-role", "realm\0role")),
        spaced=("roles", "scope"),
    )
    provider = made(issuer).providers["0"]
    assert (provider.issuer, list(provider.audiences)) == ("https://a.example", ["shop"])
    assert provider.require_expiration
    assert provider.clock_skew_seconds == 60
    assert provider.forward
    assert provider.forward_payload_header == "x-payload"
    assert provider.payload_in_metadata == "payload-0"
    assert [(item.name, item.value_prefix) for item in provider.from_headers] == [("x-a", "Token ")]
    assert (list(provider.from_params), list(provider.from_cookies)) == (["t"], ["c"])
    claims = [(item.header_name, [part.key for part in item.claim_path]) for item in provider.claim_to_headers]
    assert claims == [("x-sub", ["sub"]), ("x-role", ["realm", "role"])]
    spaced = provider.normalize_payload_in_metadata.space_delimited_claims
    assert list(spaced) == ["scope", "permission", "roles"]
    assert not provider.HasField("remote_jwks")
    keys = json.loads(provider.local_jwks.inline_string)["keys"]
    assert [key["kty"] for key in keys] == ["OKP", "EC"]


def test_without_keys_there_is_only_the_one_that_nobody_has() -> None:
    [key] = json.loads(made(USUAL).providers["0"].local_jwks.inline_string)["keys"]
    assert key == dict(jwt_authn.NOBODYS_KEY)


def test_nobody_chose_the_key_that_nobody_has() -> None:
    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "="), "big")

    x, y = number(jwt_authn.NOBODYS_KEY["x"]), number(jwt_authn.NOBODYS_KEY["y"])
    assert x == int.from_bytes(hashlib.sha256(b"weft: a key that nobody has 0").digest(), "big")
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    assert (y * y - (x**3 - 3 * x + b)) % prime == 0


def test_a_request_without_a_token_passes_and_one_with_a_bad_one_does_not() -> None:
    [rule] = made(USUAL).rules
    known, none = rule.requires.requires_any.requirements
    assert known.provider_name == "0"
    assert none.HasField("allow_missing")


def test_tokens_in_different_places_are_all_looked_at() -> None:
    [rule] = made(USUAL, at(TokenPlace(header="x-b")), USUAL).rules
    first, second = rule.requires.requires_all.requirements
    assert [item.provider_name for item in first.requires_any.requirements] == ["0", "2", ""]
    assert [item.provider_name for item in second.requires_any.requirements] == ["1", ""]


@pytest.mark.parametrize(
    ("issuers", "expected"),
    [
        ((USUAL,), ((0,),)),
        ((USUAL, at(TokenPlace(header="Authorization", prefix="Token "))), ((0, 1),)),
        ((USUAL, at(TokenPlace(parameter="access_token"))), ((0, 1),)),
        ((at(TokenPlace(cookie="a")), at(TokenPlace(parameter="a")), at(TokenPlace(header="a"))), ((0,), (1,), (2,))),
        (
            (
                at(TokenPlace(header="a")),
                at(TokenPlace(header="b")),
                at(TokenPlace(header="A"), TokenPlace(header="b")),
            ),
            ((0, 1, 2),),
        ),
    ],
)
def test_issuers_that_share_a_place_are_asked_together(
    issuers: tuple[TokenIssuer, ...], expected: tuple[tuple[int, ...], ...]
) -> None:
    assert jwt_authn.groups(issuers) == expected


def test_what_an_application_may_take_for_a_header_of_ours_is_removed() -> None:
    one = TokenIssuer(source="s", issuer="a", claim_headers=(("x-user", "sub"), ("x_role", "role")))
    two = TokenIssuer(source="s", issuer="b", payload_header="x-role", claim_headers=(("user", "sub"),))
    tokens, removing = jwt_authn.chain(Guard(issuers=(one, two)))
    assert (tokens.name, removing.name) == (jwt_authn.NAME, jwt_authn.TWINS)
    found = api.unpack_as(header_mutation.HeaderMutation, removing.typed_config).mutations.request_mutations
    assert [each.remove for each in found] == ["x_user"]
    assert len(jwt_authn.chain(Guard(issuers=(USUAL,)))) == 1
    assert jwt_authn.chain(Guard()) == ()
