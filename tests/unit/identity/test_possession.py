"""What a host must show that joins by a certificate, and each thing that is not enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft.errors import Problem
from weft.identity import keys, possession
from weft.identity.join import Invitation
from weft.identity.possession import MAX_SKEW, Held, Proof
from weft.identity.problems import TrustError

if TYPE_CHECKING:
    from pathlib import Path

    from weft.identity.keys import PrivateKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROOT = b"r" * 32
CSR = b"a request"
DNS = x509.SubjectAlternativeName([x509.DNSName("bert")])
CLIENT, SERVER = (
    x509.ExtendedKeyUsage([each]) for each in (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
)


class Ca:
    def __init__(self, name: str = "a CA", above: Ca | None = None, **how: Any) -> None:  # noqa: ANN401 - as ``issue``
        self.key = keys.generate(keys.P256)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = issue(above or self, self.name, self.key, ca=True, **how)
        self.der = self.certificate.public_bytes(Encoding.DER)


def issue(
    by: Ca,
    subject: x509.Name,
    key: PrivateKey,
    *extensions: x509.ExtensionType,
    ca: bool = False,
    length: int | None = None,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    more: tuple[x509.ExtensionType, ...] = (),
    digest: hashes.SHA224 | None = None,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        by.name, subject, key.public_key(), x509.random_serial_number(), begin, end
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=length), critical=True)
    for each in (*extensions, *more):
        builder = builder.add_extension(each, critical=isinstance(each, x509.UnrecognizedExtension | x509.KeyUsage))
    return builder.sign(by.key, digest or hashes.SHA256())


CA = Ca()
KEY = keys.generate(keys.P256)
INVITATION = Invitation("bert", int(NOW.timestamp()) + 600, "ann", CA.der, ROOT)
NOBODY = x509.Name([])


def leaf(
    *extensions: x509.ExtensionType,
    by: Ca = CA,
    subject: x509.Name = NOBODY,
    key: PrivateKey = KEY,
    **how: Any,  # noqa: ANN401 - as ``issue``
) -> bytes:
    return issue(by, subject, key, *extensions, **how).public_bytes(Encoding.DER)


def judged(*chain: bytes, key: PrivateKey = KEY, now: datetime = NOW, invitation: Invitation = INVITATION) -> str:
    proof = Held(chain, key).prove("bert", CSR, ROOT, NOW)
    return possession.wrong(invitation, "bert", CSR, proof, now)


def named(*common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common])


def use(*, signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(signature, False, not signature, False, False, False, False, False, False)


@pytest.mark.parametrize("key", [KEY, keys.generate(keys.P384), rsa.generate_private_key(65537, 2048)])
def test_every_kind_of_key_proves(key: PrivateKey) -> None:
    assert judged(leaf(DNS, CLIENT, use(signature=True), key=key), key=key) == ""


def test_an_older_signature_of_rsa_proves_too_and_one_of_another_hash_does_not() -> None:
    key = rsa.generate_private_key(65537, 2048)
    chain, time = (leaf(DNS, key=key),), int(NOW.timestamp())
    said = possession.message("bert", CSR, ROOT, time)
    for digest, good in ((hashes.SHA256(), True), (hashes.SHA1(), False)):  # noqa: S303 - what is refused
        proof = Proof(chain, time, key.sign(said, padding.PKCS1v15(), digest))
        assert (possession.wrong(INVITATION, "bert", CSR, proof, NOW) == "") == good


def test_a_chain_may_go_through_other_cas_and_hold_the_one_that_was_named() -> None:
    middle = Ca("below", CA, length=0)
    below = leaf(DNS, by=middle)
    assert judged(below, middle.der) == ""
    assert judged(below, middle.der, CA.der) == ""


def test_without_alternative_names_the_common_name_counts_if_it_is_one() -> None:
    assert judged(leaf(subject=named("bert"))) == ""
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://x/bert")])
    for wrong in (
        leaf(subject=named("bert", "cleo")),
        leaf(uri, subject=named("bert")),
        leaf(),
        leaf(subject=named("cleo")),
    ):
        assert "does not name bert" in judged(wrong)


OTHER = Ca("another")
TWIN = Ca()
SHORT = Ca("short", length=0)
LATE = Ca("late", begin=NOW + timedelta(hours=1))
CONSTRAINT = x509.NameConstraints([x509.DNSName("lan")], None)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        ((leaf(DNS, by=OTHER),), "not signed by the certificate above"),
        ((leaf(DNS, by=TWIN),), "not signed by the certificate above"),
        ((leaf(DNS, by=OTHER), OTHER.der), "not signed by the certificate above"),
        ((leaf(x509.SubjectAlternativeName([x509.DNSName("cleo")])),), "does not name bert"),
        ((leaf(x509.SubjectAlternativeName([x509.DNSName("*")])),), "does not name bert"),
        ((leaf(DNS, begin=NOW - 2 * DAY, end=NOW - DAY),), "has ended"),
        ((leaf(DNS, begin=NOW + timedelta(seconds=1)),), "is not valid yet"),
        ((leaf(DNS, ca=True),), "is a CA's"),
        ((leaf(DNS, SERVER),), "is not for clients"),
        ((leaf(DNS, use(signature=False)),), "may not sign a proof"),
        ((leaf(DNS, UNKNOWN),), "critical extension in its chain that is not looked at: 1.2.3.4"),
        ((CA.der,), "is a CA's"),
        ((b"nonsense",), "cannot be read"),
        ((), "no certificate, or too many"),
        ((leaf(DNS),) * 9, "no certificate, or too many"),
        ((b"x" * (possession.MAX_CERTIFICATE + 1),), "too large"),
    ],
)
def test_a_certificate_that_does_not_do_is_refused(chain: tuple[bytes, ...], why: str) -> None:
    assert why in judged(*chain)


@pytest.mark.parametrize(
    ("middle", "why"),
    [
        (Ca("m", CA, more=(CONSTRAINT,)), "name constraint"),
        (Ca("m", CA, more=(SERVER,)), "is not for clients"),
        (Ca("m", CA, end=NOW - timedelta(hours=1)), "has ended"),
        (Ca("m", CA, begin=NOW + timedelta(hours=1)), "is not valid yet"),
        (Ca("m", CA, more=(use(signature=True),)), "signed by what is no CA"),
    ],
)
def test_a_ca_on_the_way_that_does_not_do_is_refused(middle: Ca, why: str) -> None:
    assert why in judged(leaf(DNS, by=middle), middle.der)


def test_a_leaf_does_not_vouch_for_another() -> None:
    no_ca = Ca("m", CA)
    no_ca.der = leaf(DNS, key=no_ca.key, subject=no_ca.name)
    assert "signed by what is no CA" in judged(leaf(DNS, by=no_ca), no_ca.der)


def test_the_named_ca_must_hold_now_and_its_length_counts() -> None:
    middle = Ca("m", SHORT)
    short = Invitation("bert", INVITATION.expires, "ann", SHORT.der, ROOT)
    assert "more CAs in its chain" in judged(leaf(DNS, by=middle), middle.der, invitation=short)
    assert judged(leaf(DNS, by=SHORT), invitation=short) == ""
    late = Invitation("bert", INVITATION.expires, "ann", LATE.der, ROOT)
    assert "is not valid yet" in judged(leaf(DNS, by=LATE), invitation=late)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP521R1())])  # noqa: S505 - what is refused
def test_a_weak_or_unusual_key_is_refused(key: PrivateKey) -> None:
    assert "has a key in its chain that" in judged(leaf(DNS, key=key), key=key)


def test_a_weak_hash_is_refused() -> None:
    assert "hash that is too weak" in judged(leaf(DNS, digest=hashes.SHA224()))


@pytest.mark.parametrize(
    ("key", "host", "csr", "root"),
    [
        (keys.generate(keys.P256), "bert", CSR, ROOT),
        (KEY, "cleo", CSR, ROOT),
        (KEY, "bert", b"another", ROOT),
        (KEY, "bert", CSR, b"s" * 32),
        (rsa.generate_private_key(65537, 2048), "bert", CSR, ROOT),
    ],
)
def test_a_proof_by_another_key_or_for_something_else_proves_nothing(
    key: PrivateKey,
    host: str,
    csr: bytes,
    root: bytes,
) -> None:
    proof = Held((leaf(DNS),), key).prove(host, csr, root, NOW)
    assert "not by the certificate's key" in possession.wrong(INVITATION, "bert", CSR, proof, NOW)


def test_a_proof_is_good_for_five_minutes_and_its_time_is_part_of_it() -> None:
    skew = timedelta(seconds=MAX_SKEW)
    second = timedelta(seconds=1)
    assert [judged(leaf(DNS), now=NOW + each) for each in (skew, -skew)] == ["", ""]
    for beyond in (skew + second, -skew - second):
        assert "not made within 300 s" in judged(leaf(DNS), now=NOW + beyond)
    proof = Held((leaf(DNS),), KEY).prove("bert", CSR, ROOT, NOW)
    later = Proof(proof.chain, proof.time + 1, proof.signature)
    assert "not by the certificate's key" in possession.wrong(INVITATION, "bert", CSR, later, NOW)
    large = Proof(proof.chain, proof.time, b"x" * (possession.MAX_PROOF + 1))
    assert "too large" in possession.wrong(INVITATION, "bert", CSR, large, NOW)


def test_a_key_is_not_shown() -> None:
    assert repr(Held((b"x",), KEY)) == "Held(1)"


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def test_files_are_read_and_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    cert, key = tmp_path / "c", tmp_path / "k"
    made = issue(CA, NOBODY, KEY, DNS)
    keys.write_key(key, KEY)
    cert.write_bytes(pem(made) + pem(CA.certificate))
    held = possession.read(cert, key)
    assert (held.chain, held.key.public_key()) == ((made.public_bytes(Encoding.DER), CA.der), KEY.public_key())
    for wrong, why in (
        (pem(CA.certificate), "not that of the key"),
        (b"x", "no certificate in PEM"),
        (pem(made) * 9, "more than 8"),
    ):
        cert.write_bytes(wrong)
        with pytest.raises(TrustError, match=why):
            possession.read(cert, key)
    with pytest.raises(TrustError, match="WFT-1867"):
        possession.read(tmp_path / "none", key)
    cert.write_bytes(pem(made))
    key.chmod(0o644)
    with pytest.raises(TrustError, match="WFT-1802"):
        possession.read(cert, key)


def test_one_ca_is_taken_and_nothing_else() -> None:
    one = pem(CA.certificate).decode()
    assert possession.authority(one) == CA.der
    weak = Ca.__new__(Ca)
    weak.key, weak.name = ec.generate_private_key(ec.SECP521R1()), CA.name
    curve = pem(issue(weak, CA.name, weak.key, ca=True)).decode()
    for text in (one * 2, pem(issue(CA, NOBODY, KEY, DNS)).decode(), curve, "nonsense", ""):
        found = possession.authority(text)
        assert isinstance(found, Problem)
        assert found.code == "WFT-1867"


def test_fingerprints_are_hexadecimal_with_or_without_colons() -> None:
    plain = "ab" * 32
    assert possession.fingerprint(plain) == possession.fingerprint(":".join(["AB"] * 32)) == b"\xab" * 32
    assert [possession.fingerprint(each) for each in ("", "ab", plain + "a", "g" * 64)] == [None] * 4
