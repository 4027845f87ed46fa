from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.support.trust import key, key_pem
from weft.identity import plugged
from weft.identity import x509 as ours
from weft.identity.problems import TrustError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
SIGNS_NOT = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
ROOT = key()


class Ca:
    """A CA as somebody's tool would make it; every part of it may be wrong."""

    def __init__(
        self,
        name: str,
        parent: Ca | None = None,
        private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
        *,
        limit: int | None = None,
        ca: bool | None = True,
        use: x509.KeyUsage | None = SIGNS,
        begin: datetime = NOW - DAY,
        end: datetime = NOW + 900 * DAY,
        extra: tuple[tuple[Any, bool], ...] = (),
        digest: hashes.SHA224 | hashes.SHA3_256 | None = None,
    ) -> None:
        self.key = private or key()
        self.name = ours.ca_name("company", name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(parent.name if parent else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=limit), critical=True)
        if use is not None:
            builder = builder.add_extension(use, critical=True)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical=critical)
        self.certificate = builder.sign(parent.key if parent else self.key, digest or hashes.SHA256())
        self.pem = self.certificate.public_bytes(Encoding.PEM)


def read(*cas: Ca, private: object = None, domain: str = "local", now: datetime = NOW) -> plugged.Plugged:
    used: Any = private or cas[0].key
    return plugged.read(b"".join(each.pem for each in cas), key_pem(used), domain, now, "ca.pem", "key.pem")


def faults(*cas: Ca, private: object = None, domain: str = "local", now: datetime = NOW) -> list[str]:
    with pytest.raises(TrustError) as refused:
        read(*cas, private=private, domain=domain, now=now)
    assert {each.code for each in refused.value.problems} == {"WFT-1808"}
    return [each.message for each in refused.value.problems]


def test_a_root_and_an_intermediate_and_a_longer_chain_are_taken() -> None:
    root = Ca("root")
    assert read(root).chain == ()
    for limit in (None, 0, 1):
        middle = Ca("middle", root, limit=limit)
        found = read(middle, root)
        assert found.chain == (middle.certificate.public_bytes(Encoding.DER),)
        assert found.root == root.certificate.public_bytes(Encoding.DER)
    middle = Ca("middle", root)
    assert len(read(Ca("low", middle), middle, root).chain) == 2
    assert repr(read(root)) == "Plugged(0 below the root)"


def test_an_rsa_ca_is_taken() -> None:
    assert read(Ca("root", private=rsa.generate_private_key(65537, 2048))).chain == ()


def test_the_limits_of_paths_count_our_own_issuing_ca() -> None:
    assert faults(Ca("root", limit=0)) == ["CN=root,O=company allows 0 CAs below it, and 1 are needed (pathlen)"]
    root = Ca("root", limit=1)
    assert len(read(Ca("middle", root, limit=0), root).chain) == 1
    assert faults(Ca("middle", root), root) == ["CN=root,O=company allows 1 CAs below it, and 2 are needed (pathlen)"]


@pytest.mark.parametrize(
    ("root", "why"),
    [
        (Ca("x", ca=False), "not a CA (CA:FALSE)"),
        (Ca("x", ca=None), "no basic constraints"),
        (Ca("x", use=SIGNS_NOT), "may not sign certificates"),
        (Ca("x", use=None), "does not say that it may sign"),
        (Ca("x", begin=NOW + DAY), "valid only from 2026-01-02"),
        (Ca("x", end=NOW), "ended on 2026-01-01"),
        (Ca("x", private=rsa.generate_private_key(3, 2048)), "small exponent"),
        (
            Ca("x", extra=((x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://other")]), False),)),
            "has the SPIFFE ID spiffe://other",
        ),
        (
            Ca("x", extra=((x509.NameConstraints([x509.UniformResourceIdentifier("other")], None), True),)),
            "permits URIs of other only",
        ),
        (
            Ca("x", extra=((x509.NameConstraints(None, [x509.UniformResourceIdentifier("local")]), True),)),
            "excludes URIs of local",
        ),
        (Ca("x", extra=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),)), "not for TLS servers"),
        (
            Ca("x", extra=((x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0"), True),)),
            "critical extension that is not understood (1.2.3.4)",
        ),
    ],
)
def test_a_ca_that_peers_would_refuse_is_refused_now(root: Ca, why: str) -> None:
    if "small exponent" in why:
        with pytest.raises(TrustError) as refused:
            read(root)
        assert why in str(refused.value)
        return
    (found,) = faults(root)
    assert why in found


def test_what_is_signed_with_a_hash_that_peers_do_not_take_is_refused() -> None:
    root = Ca("root")
    for digest in (hashes.SHA224(), hashes.SHA3_256()):
        (found,) = faults(Ca("middle", root, digest=digest), root)
        assert f"CN=middle,O=company is signed with {digest.name}" in found
    assert read(Ca("root", digest=hashes.SHA3_256())).chain == (), "nobody looks at the signature of a root"


def test_constraints_that_allow_it_are_no_fault() -> None:
    uri = x509.UniformResourceIdentifier
    extra = (
        (x509.NameConstraints([uri("example.org"), x509.DNSName("x")], [uri("other")]), True),
        (x509.SubjectAlternativeName([uri("spiffe://example.org"), x509.DNSName("ca")]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0"), False),
    )
    assert read(Ca("x", extra=extra), domain="example.org").chain == ()
    assert plugged.covers(".example.org", "a.Example.org")
    assert not plugged.covers(".example.org", "example.org")
    anything = ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),)
    assert read(Ca("x", extra=anything)).chain == ()


def test_the_key_and_the_order_of_the_file_are_checked_and_all_faults_named() -> None:
    root, other = Ca("root"), Ca("other")
    assert faults(root, private=key()) == ["the key does not belong to its first certificate"]
    middle = Ca("middle", root)
    assert faults(middle) == ["it does not end in a root: CN=middle,O=company is not signed by itself"]
    found = faults(Ca("middle", root, end=NOW), other, private=key())
    assert [each.partition(" ")[0] for each in found] == ["the", "CN=middle,O=company", "CN=middle,O=company"]
    assert "is not signed by the certificate that follows it, CN=other" in found[1]
    assert "ended on" in found[2]


@pytest.mark.parametrize("content", [b"", b"rubbish", Ca("x").pem * 9, b"x" * (plugged.MAX_BYTES + 1)])
def test_a_file_that_holds_no_certificates_is_refused(content: bytes) -> None:
    with pytest.raises(TrustError) as refused:
        plugged.read(content, key_pem(ROOT), "local", NOW, "ca.pem", "key.pem")
    assert refused.value.problems[0].code == "WFT-1808"


def test_a_file_that_holds_no_key_is_refused() -> None:
    with pytest.raises(TrustError) as refused:
        plugged.read(Ca("x").pem, b"", "local", NOW, "ca.pem", "key.pem")
    assert str(refused.value.problems[0].origin) == "key.pem"
