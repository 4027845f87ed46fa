"""The corpus of E3: what no peer may take for an SVID."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.trust import key
from weft.identity import keys, verify, x509

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = "spiffe://local/ns/shop/sa/pay"
URI = certificates.UniformResourceIdentifier
DAY = timedelta(days=1)

ROOT_KEY, ISSUING_KEY = key(), key()
ROOT = x509.make_root("local", ROOT_KEY, "a", NOW)
ISSUING = x509.make_issuing("local", x509.Issuer(ROOT, ROOT_KEY, ()), ISSUING_KEY, "a", NOW)
ISSUER = x509.Issuer(ISSUING, ISSUING_KEY, (ISSUING.public_bytes(Encoding.DER),))
ROOTS = (ROOT.public_bytes(Encoding.DER),)


def made(
    *names: certificates.GeneralName,
    ca: bool = False,
    use: certificates.KeyUsage | None = x509._SVID_USE,
    issuer: certificates.Certificate = ISSUING,
    signing: ec.EllipticCurvePrivateKey = ISSUING_KEY,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    public: Any = None,  # noqa: ANN401 - any key
) -> bytes:
    builder = (
        certificates.CertificateBuilder()
        .subject_name(certificates.Name([]))
        .issuer_name(issuer.subject)
        .public_key(public or key().public_key())
        .serial_number(certificates.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(certificates.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(certificates.SubjectAlternativeName(list(names)), critical=True)
    if use is not None:
        builder = builder.add_extension(use, critical=True)
    return builder.sign(signing, hashes.SHA256()).public_bytes(Encoding.DER)


def judged(leaf: bytes, *, roots: tuple[bytes, ...] = ROOTS, chain: tuple[bytes, ...] = ISSUER.chain) -> str:
    return verify.svid((leaf, *chain), roots, ID, NOW)


def test_a_good_one_is_taken() -> None:
    assert judged(made(URI(ID))) == ""
    assert judged(made(URI(ID), certificates.DNSName("pay"))) == ""
    assert verify.svid((made(URI(ID), issuer=ROOT, signing=ROOT_KEY),), ROOTS, ID, NOW) == ""
    assert verify.svid((made(URI(ID)), *ISSUER.chain, *ROOTS), ROOTS, ID, NOW) == ""


@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        (lambda: made(URI(ID), end=NOW), "has ended"),
        (lambda: made(URI(ID), begin=NOW + DAY, end=NOW + 2 * DAY), "not valid yet"),
        (lambda: made(URI("spiffe://other/ns/shop/sa/pay")), "is of spiffe://other"),
        (lambda: made(URI("spiffe://local/ns/shop/sa/admin")), "is of spiffe://local/ns/shop/sa/admin"),
        (lambda: made(), "0 URIs"),
        (lambda: made(certificates.DNSName("pay")), "0 URIs"),
        (lambda: made(URI(ID), URI("spiffe://local/x")), "2 URIs"),
        (lambda: made(URI(ID), URI(ID)), "2 URIs"),
        (lambda: made(URI("https://local/x")), "no SPIFFE ID"),
        (lambda: made(URI(f"{ID}%00.evil")), "no SPIFFE ID"),
        (lambda: made(URI(ID), ca=True), "is a CA's"),
        (lambda: made(URI(ID), use=None), "key usage"),
        (lambda: made(URI(ID), use=x509._CA_USE), "key usage"),
        (lambda: made(URI(ID), signing=key()), "not signed by the certificate above it"),
        (lambda: made(URI(ID), public=ec.generate_private_key(ec.SECP224R1()).public_key()), "secp224r1"),
        (lambda: b"rubbish", "cannot be read"),
    ],
)
def test_a_bad_one_is_refused_with_its_reason(leaf: Callable[[], bytes], why: str) -> None:
    assert why in judged(leaf())


def test_a_nul_in_a_name_does_not_end_it() -> None:
    good = made(URI(f"{ID}55555"))
    forged = good.replace(b"pay55555", b"pay\x005555")
    assert forged != good
    assert "no SPIFFE ID" in judged(forged)


def test_a_chain_that_does_not_hold_is_refused() -> None:
    leaf = made(URI(ID))
    other = x509.make_root("local", key(), "other", NOW).public_bytes(Encoding.DER)
    assert "nothing that the bundle has" in judged(leaf, roots=(other,))
    assert "nothing that the bundle has" in judged(leaf, roots=())
    assert "nothing that the bundle has" in judged(leaf, chain=())
    assert "too many" in judged(leaf, chain=ISSUER.chain * 9)
    assert verify.svid((), ROOTS, ID, NOW)
    assert "cannot be read" in judged(leaf, chain=(b"x",))
    alone = key()
    self_signed = made(URI(ID), signing=alone, issuer=ROOT, public=alone.public_key())
    assert "nothing that the bundle has" in judged(self_signed, chain=())


def test_what_an_svid_signed_is_no_svid() -> None:
    private = key()
    svid = certificates.load_der_x509_certificate(made(URI("spiffe://local/evil"), public=private.public_key()))
    forged = made(URI(ID), issuer=svid, signing=private)
    assert "no CA" in judged(forged, chain=(svid.public_bytes(Encoding.DER), *ISSUER.chain))


def test_an_issuing_ca_that_made_another_is_refused() -> None:
    private = key()
    below = x509.make_issuing("local", ISSUER, private, "b", NOW)
    leaf = made(URI(ID), issuer=below, signing=private)
    assert "more CAs" in judged(leaf, chain=(below.public_bytes(Encoding.DER), *ISSUER.chain))


def test_an_issuing_ca_that_has_ended_is_refused() -> None:
    later = NOW + timedelta(days=400)
    leaf = made(URI(ID), begin=later - DAY, end=later + DAY)
    assert verify.svid((leaf, *ISSUER.chain), ROOTS, ID, later) == "has ended"


def test_a_certificate_without_constraints_is_no_ca() -> None:
    bare = (
        certificates.CertificateBuilder()
        .subject_name(certificates.Name([]))
        .issuer_name(certificates.Name([]))
        .public_key(key().public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .sign(keys.generate(keys.P256), hashes.SHA256())
    )
    assert not verify.is_ca(bare)
    assert verify.names(bare) == []
