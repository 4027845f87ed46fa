"""What control answers is looked at before anybody is given it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key

from tests.support.little_authority import LittleAuthority
from weft.agent import trust
from weft.identity import x509
from weft.identity.wire import CsrRequest, SvidAnswer, TrustLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

NODE = "sidecar/default/pay-v1-0"


ECDSA = bytes.fromhex("2a8648ce3d040302")
"""The name of ecdsa-with-SHA256 in DER."""


@pytest.fixture
def authority() -> LittleAuthority:
    return LittleAuthority(time.time)


def asked(authority: LittleAuthority) -> tuple[SvidAnswer, EllipticCurvePrivateKey]:
    key = trust.make_key()
    (answer,) = authority.sign([CsrRequest(NODE, trust.make_csr(key))]).svids
    return answer, key


def check(answer: SvidAnswer, key: EllipticCurvePrivateKey, line: TrustLine, now: float) -> None:
    trust.Checker(line, now).check(answer, key)


def test_a_csr_says_nothing_but_its_key() -> None:
    key = trust.make_key()
    request = certificates.load_der_x509_csr(trust.make_csr(key))
    assert request.is_signature_valid
    assert list(request.subject) == []
    assert list(request.extensions) == []
    assert request.public_key() == key.public_key()
    found = load_der_private_key(trust.key_der(key), None)
    assert found.public_key() == key.public_key()


def test_an_svid_of_ours_is_taken_and_does_not_show_its_key(authority: LittleAuthority) -> None:
    answer, key = asked(authority)
    check(answer, key, authority.line.value, time.time())
    made = trust.Svid(answer, trust.key_der(key))
    assert repr(made) == f"Svid(spiffe://local/ns/default/sa/pay, until {answer.not_after})"


def leaf_with(
    *names: certificates.GeneralName, ca: bool = False
) -> Callable[[LittleAuthority], tuple[SvidAnswer, object]]:
    """An answer whose leaf has these names."""

    def make(authority: LittleAuthority) -> tuple[SvidAnswer, object]:
        key, issuer = trust.make_key(), authority.generations[-1].issuer
        now = datetime.now(UTC)
        builder = (
            certificates.CertificateBuilder()
            .subject_name(certificates.Name([]))
            .issuer_name(issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(5)
            .not_valid_before(now - x509.BACKDATE)
            .not_valid_after(now + x509.SVID_LIFE)
            .add_extension(certificates.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(certificates.SubjectAlternativeName(names), critical=True)
        leaf = builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
        return SvidAnswer(NODE, "spiffe://local/a", (leaf, *issuer.chain), 0, "a1"), key

    return make


URI = certificates.UniformResourceIdentifier("spiffe://local/a")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (leaf_with(URI, certificates.UniformResourceIdentifier("spiffe://local/b")), "URIs, not one"),
        (leaf_with(certificates.DNSName("a")), "URIs, not one"),
        (leaf_with(), "has 0 URIs"),
        (leaf_with(URI, ca=True), "is a CA's"),
    ],
)
def test_a_leaf_of_the_wrong_shape_is_not_taken(
    authority: LittleAuthority, make: Callable[[LittleAuthority], tuple[SvidAnswer, EllipticCurvePrivateKey]], why: str
) -> None:
    answer, key = make(authority)
    with pytest.raises(trust.UnfitError, match=why):
        check(answer, key, authority.line.value, time.time())


def test_what_peers_would_refuse_is_not_taken(authority: LittleAuthority) -> None:
    answer, key = asked(authority)
    line, now = authority.line.value, time.time()
    leaf = answer.chain[0]
    cases = {
        "is of another key": (answer, trust.make_key(), line, now),
        "has no certificate": (msgspec.structs.replace(answer, chain=()), key, line, now),
        "cannot be read": (msgspec.structs.replace(answer, chain=(b"x",)), key, line, now),
        "is not signed by": (
            msgspec.structs.replace(answer, chain=(leaf, authority.generations[0].der)),
            key,
            line,
            now,
        ),
        "nothing that the bundle": (msgspec.structs.replace(answer, chain=(leaf,)), key, line, now),
        "has ended": (answer, key, line, now + 90_000),
        "not valid yet": (answer, key, line, now - 310),
    }
    for why, case in cases.items():
        with pytest.raises(trust.UnfitError, match=why):
            check(*case)
    check(answer, key, line, now - 290)
    with pytest.raises(trust.UnfitError, match="nothing that the bundle"):
        check(answer, key, msgspec.structs.replace(line, bundles=()), now)
    assert trust.own_bundle(msgspec.structs.replace(line, domain="other")) is None


def test_what_a_banned_proxy_is_given_is_worth_nothing() -> None:
    made = trust.worthless("spiffe://local/a")
    leaf = certificates.load_der_x509_certificate(made.chain[0])
    assert leaf.not_valid_after_utc < datetime.now(UTC)
    assert (made.spiffe_id, made.authority, list(leaf.extensions)) == ("spiffe://local/a", "", [])
    assert made.chain != trust.worthless("spiffe://local/a").chain


def test_of_a_batch_each_leaf_is_looked_at_by_itself(authority: LittleAuthority) -> None:
    checker = trust.Checker(authority.line.value, time.time())
    first, key = asked(authority)
    checker.check(first, key)
    second, other = asked(authority)
    checker.check(second, other)
    foreign, another = asked(LittleAuthority(time.time))
    wrong = msgspec.structs.replace(foreign, chain=(foreign.chain[0], *first.chain[1:]))
    with pytest.raises(trust.UnfitError, match="not signed by the certificate above"):
        checker.check(wrong, another)
    unknown = second.chain[0].replace(ECDSA, ECDSA[:-1] + b"\x7f")
    with pytest.raises(trust.UnfitError, match="not signed by the certificate above"):
        checker.check(msgspec.structs.replace(second, chain=(unknown, *second.chain[1:])), other)
    with pytest.raises(trust.UnfitError, match="of another key"):
        checker.check(second, key)
    with pytest.raises(trust.UnfitError, match="is of spiffe://local/ns/default/sa/pay"):
        checker.check(msgspec.structs.replace(second, spiffe_id="spiffe://local/x"), other)
