"""Key sets that users write out."""

from __future__ import annotations

import json

import pytest

from weft.api.jwks import MAX_BYTES, MAX_KEYS, fault

EC = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}


def keys(*found: object) -> str:
    return json.dumps({"keys": list(found)})


def test_public_keys_of_every_type_are_taken() -> None:
    assert (
        fault(keys({"kty": "RSA", "n": "a", "e": "AQAB", "kid": "1"}, EC, {"kty": "OKP", "crv": "Ed25519", "x": "a"}))
        == ""
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 60_000, "not JSON"),
        ("\ud800", "not JSON"),
        ("[]", "no list of keys"),
        ("{}", "no list of keys"),
        ('{"keys": []}', "no list of keys"),
        ('{"keys": {}}', "no list of keys"),
        (keys(1), "key 0 is not a mapping"),
        (keys(EC, {}), "key 1 is of type None"),
        (keys({"kty": ["RSA"]}), "key 0 is of type ['RSA']"),
        (keys({"kty": "oct", "k": "secret"}), "key 0 is symmetric"),
        (keys({**EC, "d": "secret"}), "key 0 is private"),
        (keys({"kty": "RSA", "n": "a", "e": "b", "p": "secret"}), "key 0 is private"),
        (keys({"kty": "RSA", "n": "a"}), "key 0 lacks e"),
        (keys({**EC, "y": 1}), "key 0 lacks y"),
        (keys({**EC, "x": ""}), "key 0 lacks x"),
        (" " * (MAX_BYTES + 1), "the limit is 65,536"),
        (keys(*[EC] * (MAX_KEYS + 1)), "101 keys"),
    ],
)
def test_what_is_no_set_of_public_keys_is_refused_and_no_key_is_shown(text: str, said: str) -> None:
    found = fault(text)
    assert said in found
    assert "secret" not in found
