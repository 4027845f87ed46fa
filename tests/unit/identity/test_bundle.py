from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.stores import Clock
from tests.support.trust import Rig, key, weak
from weft.errors import Problem
from weft.identity import bundle, x509
from weft.identity.wire import Bundle

if TYPE_CHECKING:
    from pathlib import Path

NOW = Clock()()


@pytest.fixture
def own(tmp_path: Path) -> Bundle:
    return Rig(tmp_path).service.bundles()[0]


def document(own: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bundle.document(own))
    return found


def read(found: object, trust_domain: str = "local") -> Bundle:
    data = found if isinstance(found, bytes) else json.dumps(found).encode()
    answer = bundle.read_document(data, trust_domain, "here")
    assert isinstance(answer, Bundle), answer
    return answer


def refusal(found: object, trust_domain: str = "local") -> str:
    data = found if isinstance(found, bytes) else json.dumps(found).encode()
    answer = bundle.read_document(data, trust_domain, "here")
    assert isinstance(answer, Problem)
    assert answer.code == "WFT-1812"
    return answer.message


def test_what_we_write_is_what_we_read(own: Bundle) -> None:
    assert read(bundle.document(own)) == own


def test_the_document_is_as_spiffe_has_it(own: Bundle) -> None:
    found = document(own)
    assert (found["spiffe_sequence"], found["spiffe_refresh_hint"]) == (1, 300)
    authority, token = found["keys"]
    assert (authority["use"], token["use"]) == ("x509-svid", "jwt-svid")
    assert base64.b64decode(authority["x5c"][0]) == own.x509[0]
    assert "kid" not in authority
    assert token["kid"]
    assert "x5c" not in token


def test_a_public_key_is_a_jwk_of_full_width() -> None:
    for curve, size in ((ec.SECP256R1(), 32), (ec.SECP384R1(), 48)):
        for _ in range(20):
            found = bundle.jwk(ec.generate_private_key(curve).public_key())
            assert len(base64.urlsafe_b64decode(found.x + "==")) == size
    private = rsa.generate_private_key(65537, 2048)
    found = bundle.jwk(private.public_key(), "k")
    assert int.from_bytes(base64.urlsafe_b64decode(found.n + "=="), "big") == private.public_key().public_numbers().n
    assert (found.kty, found.e, found.kid) == ("RSA", "AQAB", "k")


def test_what_spiffe_does_not_know_is_left_out(own: Bundle) -> None:
    found = document(own)
    found["keys"] += [{"kty": "EC", "use": "sig"}, {"kty": "OKP", "use": "jwt-svid", "kid": "x"}, {"kty": "EC"}]
    found["other"] = True
    assert read(found) == own


def test_without_a_hint_it_is_asked_again_after_five_minutes(own: Bundle) -> None:
    found = document(own)
    del found["spiffe_refresh_hint"], found["spiffe_sequence"]
    assert (read(found).refresh_hint, read(found).sequence) == (300, 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `keys`"),
        (b'{"keys": 1}', "Expected `array`"),
        (b'{"keys": [], "spiffe_sequence": -1}', "negative"),
        (b'{"keys": [], "spiffe_sequence": "1"}', "Expected `int`"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "Expected"),
        (b" " * (bundle.MAX_DOCUMENT + 1), "larger than"),
        (b'{"keys": [%s]}' % b",".join([b'{"kty":"x"}'] * (bundle.MAX_KEYS + 1)), "more than 256 keys"),
        (b'{"keys": [{"kty": "EC", "use": "jwt-svid"}]}', "no kid"),
        (b'{"keys": [{"kty": "EC", "use": "x509-svid"}]}', "exactly one certificate"),
        (b'{"keys": [{"kty": "EC", "use": "x509-svid", "x5c": ["!"]}]}', "no CA certificate"),
        (b'{"keys": [{"kty": "EC", "use": "x509-svid", "x5c": ["AAAA"]}]}', "no CA certificate"),
    ],
)
def test_what_is_no_bundle_document_is_refused(data: bytes, why: str) -> None:
    assert why in refusal(data)


def test_a_leaf_or_a_ca_of_another_trust_domain_is_no_authority(own: Bundle, tmp_path: Path) -> None:
    service = Rig(tmp_path / "x").service
    leaf = service.sign_control(key().public_key()).chain[0]
    found = document(own)
    found["keys"][0]["x5c"] = [base64.b64encode(leaf).decode()]
    assert "not a CA's" in refusal(found)
    assert "is a CA of spiffe://local, not of example.org" in refusal(document(own), "example.org")


def test_a_weak_authority_is_refused(own: Bundle) -> None:
    private = weak()
    made = x509.make_root("local", private, "weak", NOW).public_bytes(Encoding.DER)
    found = document(own)
    found["keys"][0]["x5c"] = [base64.b64encode(made).decode()]
    assert "1024 bits" in refusal(found)


def test_an_authority_without_a_uri_belongs_to_whoever_names_it(own: Bundle) -> None:
    private = key()
    name = x509.ca_name("x", "y")
    made = (
        certificates.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(certificates.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, x509.digest(private))
        .public_bytes(Encoding.DER)
    )
    found = document(own)
    found["keys"][0]["x5c"] = [base64.b64encode(made).decode()]
    assert read(found, "example.org").x509 == (made,)
