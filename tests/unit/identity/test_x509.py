from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from tests.support.trust import csr, key, pem, weak
from weft.errors import Problem
from weft.identity import keys, verify, x509

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)
ID = "spiffe://local/ns/shop/sa/pay"


def issued(curve: str = keys.P256, now: datetime = NOW) -> tuple[x509.Issuer, bytes]:
    """An issuing CA, and its root as DER."""
    root_key, issuing_key = keys.generate(curve), keys.generate(curve)
    root = x509.make_root("local", root_key, "a", now)
    issuing = x509.make_issuing("local", x509.Issuer(root, root_key, ()), issuing_key, "a", now)
    return x509.Issuer(issuing, issuing_key, (issuing.public_bytes(Encoding.DER),)), root.public_bytes(Encoding.DER)


def leaf(svid: x509.Svid) -> certificates.Certificate:
    return certificates.load_der_x509_certificate(svid.chain[0])


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("curve", keys.CURVES)
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_takes_an_svid_and_its_chain(tmp_path: Path, curve: str, purpose: str) -> None:
    issuer, root = issued(curve)
    svid = x509.Signer(issuer).sign(ID, key().public_key(), NOW)
    for name, content in (("root", (root,)), ("chain", svid.chain[1:]), ("leaf", svid.chain[:1])):
        (tmp_path / f"{name}.pem").write_bytes(pem(*content))
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-verify_depth", "1"]
    command += ["-CAfile", "root.pem", "-untrusted", "chain.pem", "leaf.pem"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 0, ran.stderr
    assert verify.svid(svid.chain, (root,), ID, NOW) == ""


def test_an_svid_is_what_spiffe_says_it_is() -> None:
    issuer, _ = issued()
    private = key()
    found = leaf(x509.Signer(issuer).sign(ID, private.public_key(), NOW))
    extensions = found.extensions
    san = extensions.get_extension_for_class(certificates.SubjectAlternativeName)
    assert list(san.value) == [certificates.UniformResourceIdentifier(ID)]
    assert san.critical
    assert list(found.subject) == []
    basic = extensions.get_extension_for_class(certificates.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)
    use = extensions.get_extension_for_class(certificates.KeyUsage).value
    assert use.digital_signature
    assert not any((use.key_cert_sign, use.crl_sign, use.key_encipherment, use.key_agreement, use.data_encipherment))
    both = extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value
    assert both == certificates.ExtendedKeyUsage(
        [certificates.oid.ExtendedKeyUsageOID.SERVER_AUTH, certificates.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    assert found.public_key() == private.public_key()
    assert found.serial_number.bit_length() > 64


def test_it_lives_a_day_and_began_five_minutes_ago() -> None:
    issuer, _ = issued()
    svid = x509.Signer(issuer).sign(ID, key().public_key(), NOW)
    second = NOW.replace(microsecond=0)
    assert leaf(svid).not_valid_before_utc == (NOW - timedelta(minutes=5)).replace(microsecond=0)
    assert leaf(svid).not_valid_after_utc == second + timedelta(hours=24)
    assert svid.not_after == int((second + timedelta(hours=24)).timestamp())


def test_it_never_outlives_its_issuer() -> None:
    issuer, _ = issued()
    late = issuer.certificate.not_valid_after_utc - timedelta(hours=1)
    svid = x509.Signer(issuer).sign(ID, key().public_key(), late)
    assert leaf(svid).not_valid_after_utc == issuer.certificate.not_valid_after_utc


def test_an_issuing_ca_never_outlives_its_root_and_signs_no_ca() -> None:
    root_key = keys.generate(keys.P256)
    root = x509.make_root("local", root_key, "a", NOW - timedelta(days=3500))
    made = x509.make_issuing("local", x509.Issuer(root, root_key, ()), key(), "a", NOW)
    assert made.not_valid_after_utc == root.not_valid_after_utc
    assert made.extensions.get_extension_for_class(certificates.BasicConstraints).value.path_length == 0
    assert verify.names(made) == ["spiffe://local"]
    use = made.extensions.get_extension_for_class(certificates.KeyUsage).value
    assert (use.key_cert_sign, use.crl_sign, use.digital_signature) == (True, True, False)


def test_a_parent_without_a_key_identifier_is_named_by_its_key() -> None:
    private = key()
    name = certificates.Name([])
    bare = (
        certificates.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    expected = certificates.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key())
    assert x509.authority_key(bare) == expected


def test_serial_numbers_do_not_repeat() -> None:
    signer = x509.Signer(issued()[0])
    public = key().public_key()
    assert len({leaf(signer.sign(ID, public, NOW)).serial_number for _ in range(50)}) == 50


def refusal(request: bytes) -> str:
    found = x509.public_key(request, "sidecar/a/b")
    assert isinstance(found, Problem)
    assert found.code == "WFT-1804"
    return found.message


def test_the_key_of_a_csr_is_taken_from_whoever_has_it() -> None:
    for private in (key(), ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        assert x509.public_key(csr(private), "x") == private.public_key()


def test_a_csr_that_proves_nothing_is_refused() -> None:
    good = csr()
    broken = good[:-1] + bytes([good[-1] ^ 1])
    assert "not signed by the key" in refusal(broken)
    other = certificates.load_der_x509_csr(csr())
    stolen = certificates.load_der_x509_csr(good)
    # the signature of one request behind the content of another
    swapped = (
        good.replace(stolen.signature, other.signature) if len(stolen.signature) == len(other.signature) else broken
    )
    assert refusal(swapped)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"", "cannot be read"),
        (b"\x30\x80", "cannot be read"),
        (b"\x30" * 16000, "cannot be read"),
        (b"x" * (x509.MAX_CSR + 1), "larger than"),
        (csr(weak()), "1024 bits"),
        (csr(ec.generate_private_key(ec.SECP521R1()), digest=hashes.SHA512()), "curve secp521r1"),
        (csr(rsa.generate_private_key(65537, 2048), digest=hashes.SHA224()), "not signed"),
    ],
)
def test_a_csr_that_is_weak_huge_or_garbage_is_refused(request_: bytes, why: str) -> None:
    assert why in refusal(request_)


def test_a_csr_of_a_version_that_there_is_not_is_refused() -> None:
    good = csr()
    at = good.index(b"\x02\x01\x00")
    assert "cannot be read" in refusal(good[: at + 2] + b"\x02" + good[at + 3 :])


def test_a_csr_of_another_kind_of_key_is_refused() -> None:
    builder = certificates.CertificateSigningRequestBuilder().subject_name(certificates.Name([]))
    request = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)
    assert "neither ECDSA" in refusal(request)


def test_an_issuer_does_not_show_its_key() -> None:
    issuer, _ = issued()
    assert repr(issuer) == "Issuer(CN=weft issuing a,O=local)"
