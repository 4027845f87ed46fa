from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.stores import Clock
from tests.support.trust import Rig, key, pem
from weft.identity import authority, keys, plugged, verify, x509
from weft.identity.keys import MemoryKeys
from weft.identity.state import Authority, State

if TYPE_CHECKING:
    from pathlib import Path

NOW = Clock()()
ID = "spiffe://local/ns/shop/sa/pay"


def signs(made: Authority, manager: MemoryKeys) -> str:
    svid = x509.Signer(authority.issuer(made, manager)).sign(ID, key().public_key(), NOW)
    return verify.svid(svid.chain, (made.root,), ID, NOW)


def below(limit: int | None, *, intermediate: bool) -> tuple[Authority, MemoryKeys]:
    """An authority below a CA that was plugged in, itself below a root or a root."""
    manager, private = MemoryKeys(), key()
    root = x509.make_root("local", private, "r", NOW)
    chain: tuple[bytes, ...] = ()
    if intermediate:
        upper, private = x509.Issuer(root, private, ()), key()
        name = x509.ca_name("local", "middle")
        made = (
            certificates.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root.subject)
            .public_key(private.public_key())
            .serial_number(5)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=900))
            .add_extension(certificates.BasicConstraints(ca=True, path_length=limit), critical=True)
            .sign(upper.key, x509.digest(upper.key))
        )
        chain = (made.public_bytes(Encoding.DER),)
    found = authority.below("local", manager, chain, root.public_bytes(Encoding.DER), private, NOW, keys.P256)
    return found, manager


def test_a_new_authority_has_a_root_an_issuing_ca_and_a_key_for_tokens() -> None:
    manager = MemoryKeys()
    made = authority.make("local", manager, NOW, keys.P384)
    assert (made.state, made.plugged) == (State.PREPARED, False)
    assert set(made.keys) == set(manager.names())
    assert signs(made, manager) == ""
    assert authority.curve_of(manager.load(made.issuing_key)) == keys.P384
    assert (made.token_key.crv, made.token_key.use) == ("P-256", "jwt-svid")
    assert authority.make("local", manager, NOW).id != made.id


def test_a_root_of_ones_own_signs_an_issuing_ca_of_ours() -> None:
    made, manager = below(None, intermediate=False)
    assert made.plugged
    assert made.upstream_key
    assert len(made.chain) == 1
    assert signs(made, manager) == ""


def test_an_intermediate_that_may_have_none_below_it_signs_itself() -> None:
    made, manager = below(0, intermediate=True)
    assert made.upstream_key == ""
    assert len(made.chain) == 1
    assert signs(made, manager) == ""


def test_an_intermediate_that_may_signs_an_issuing_ca_and_renews_it() -> None:
    made, manager = below(None, intermediate=True)
    assert len(made.chain) == 2
    root = certificates.load_der_x509_certificate(made.root)
    assert root.extensions.get_extension_for_class(certificates.BasicConstraints).value.path_length == 1
    again = authority.renewed("local", manager, made, NOW)
    assert again.chain[0] != made.chain[0]
    assert again.chain[1:] == made.chain[1:]
    assert again.issuing_key != made.issuing_key
    assert again.root == made.root


def test_the_bundle_holds_whatever_is_trusted_and_each_root_once(tmp_path: Path) -> None:
    journal = Rig(tmp_path).service.journal
    twin = authority.make("local", MemoryKeys(), NOW)
    gone = Authority(
        id="gone",
        state=State.REVOKED,
        created=0,
        root=b"gone",
        chain=(b"gone",),
        issuing_key="",
        jwt_key="",
        token_key=twin.token_key,
    )
    bundle = authority.own_bundle(journal.with_authority(twin).with_authority(gone))
    assert bundle.x509 == (journal.active.root, twin.root)
    assert [each.kid for each in bundle.jwt] == [f"{journal.active.id}-jwt", f"{twin.id}-jwt"]


def test_an_rsa_key_has_no_curve() -> None:
    assert authority.curve_of(rsa.generate_private_key(65537, 2048)) == keys.P256


CA = "basicConstraints=critical,CA:TRUE{0}\nkeyUsage=critical,keyCertSign,cRLSign\n"


def openssl(directory: Path, *arguments: str) -> str:
    ran = subprocess.run(
        ["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (("rsa", "-pkeyopt", "rsa_keygen_bits:2048"), ",pathlen:0"),
        (("EC", "-pkeyopt", "ec_paramgen_curve:secp384r1"), ""),
    ],
)
def test_a_ca_made_with_openssl_plugs_in_and_openssl_takes_what_stands_below_it(
    tmp_path: Path, kind: tuple[str, ...], limit: str
) -> None:
    for name, extensions in (("root", CA.format("")), ("middle", CA.format(limit))):
        (tmp_path / f"{name}.cnf").write_text(extensions)
        openssl(tmp_path, "genpkey", "-algorithm", *kind, "-out", f"{name}.key")
        openssl(tmp_path, "req", "-new", "-key", f"{name}.key", "-subj", f"/O=company/CN={name}", "-out", f"{name}.csr")
    made = ("x509", "-req", "-days", "900", "-in")
    openssl(tmp_path, *made, "root.csr", "-signkey", "root.key", "-extfile", "root.cnf", "-out", "root.pem")
    by = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile", "middle.cnf")
    openssl(tmp_path, *made, "middle.csr", *by, "-out", "middle.pem")
    now, manager = datetime.now(UTC), MemoryKeys()
    both = (tmp_path / "middle.pem").read_bytes() + (tmp_path / "root.pem").read_bytes()
    given = plugged.read(both, (tmp_path / "middle.key").read_bytes(), "local", now, "ca.pem", "ca.key")
    found = authority.below("local", manager, given.chain, given.root, given.key, now, keys.P256)
    svid = x509.Signer(authority.issuer(found, manager)).sign(ID, key().public_key(), now)
    (tmp_path / "leaf.pem").write_bytes(pem(svid.chain[0]))
    (tmp_path / "chain.pem").write_bytes(pem(*svid.chain[1:]))
    answer = openssl(
        tmp_path, "verify", "-purpose", "sslserver", "-CAfile", "root.pem", "-untrusted", "chain.pem", "leaf.pem"
    )
    assert answer == "leaf.pem: OK\n"
    assert len(svid.chain) == (2 if limit else 3)
