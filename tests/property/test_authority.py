"""Whatever a CSR holds, the SVID is what control says it is (promise E5); and no order of steps loses what is trusted."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import Clock
from tests.support.trust import HOST, PAY, PAY_ID, Rig, key, mesh, process, request, workload
from weft.errors import Problem
from weft.identity import journal, verify
from weft.identity import x509 as ours
from weft.identity.problems import TrustError
from weft.identity.rotation import Word
from weft.identity.state import State

NOW = Clock()()
KEYS = (key(), ec.generate_private_key(ec.SECP384R1()))
ROOT_KEY, ISSUING_KEY = key(), key()
ROOT = ours.make_root("local", ROOT_KEY, "a", NOW)
ISSUING = ours.make_issuing("local", ours.Issuer(ROOT, ROOT_KEY, ()), ISSUING_KEY, "a", NOW)
SIGNER = ours.Signer(ours.Issuer(ISSUING, ISSUING_KEY, (ISSUING.public_bytes(Encoding.DER),)))
ROOTS = (ROOT.public_bytes(Encoding.DER),)

ascii_ = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
names = st.one_of(
    ascii_.map(lambda text: x509.UniformResourceIdentifier(f"spiffe://local/{text}")),
    st.sampled_from(["spiffe://local/ns/admin/sa/root", "spiffe://other/x", "https://x"]).map(
        x509.UniformResourceIdentifier
    ),
    ascii_.map(x509.DNSName),
    st.sampled_from(["a@b", "root@local"]).map(x509.RFC822Name),
)
flags = st.lists(st.booleans(), min_size=7, max_size=7)


def usage(bits: list[bool]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=bits[0],
        content_commitment=bits[1],
        key_encipherment=bits[2],
        data_encipherment=bits[3],
        key_agreement=True,
        key_cert_sign=bits[4],
        crl_sign=bits[5],
        encipher_only=bits[6],
        decipher_only=False,
    )


extensions: st.SearchStrategy[x509.ExtensionType] = st.one_of(
    st.lists(names, min_size=1, max_size=4).map(x509.SubjectAlternativeName),
    st.integers(0, 9).map(lambda limit: x509.BasicConstraints(ca=True, path_length=limit)),
    flags.map(usage),
    st.sampled_from([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]).map(
        lambda oid: x509.ExtendedKeyUsage([oid])
    ),
    st.binary(max_size=200).map(lambda data: x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), data)),
)
subjects = st.lists(
    st.tuples(st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.USER_ID]), ascii_), max_size=3
).map(lambda found: x509.Name([x509.NameAttribute(oid, text) for oid, text in found]))


def signed(private: ec.EllipticCurvePrivateKey, subject: x509.Name, wanted: list[Any]) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in {type(each): each for each in wanted}.values():
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.DER)


LEAF = SIGNER.sign(PAY_ID, KEYS[0].public_key(), NOW)
GOOD = signed(KEYS[0], x509.Name([]), [])


@given(st.sampled_from(KEYS), subjects, st.lists(extensions, max_size=5))
@settings(max_examples=150, deadline=None)
def test_of_a_csr_nothing_but_its_key_arrives(
    private: ec.EllipticCurvePrivateKey, subject: x509.Name, wanted: list[Any]
) -> None:
    found = ours.public_key(signed(private, subject, wanted), "x")
    assert not isinstance(found, Problem)
    svid = SIGNER.sign(PAY_ID, found, NOW)
    leaf = x509.load_der_x509_certificate(svid.chain[0])
    assert verify.svid(svid.chain, ROOTS, PAY_ID, NOW) == ""
    assert leaf.public_key() == private.public_key()
    assert list(leaf.subject) == []
    plain = x509.load_der_x509_certificate(SIGNER.sign(PAY_ID, KEYS[0].public_key(), NOW).chain[0])
    assert {each.oid: each.value for each in leaf.extensions} == {each.oid: each.value for each in plain.extensions}


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_csr_that_was_touched_anywhere_proves_nothing(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    bit = data.draw(st.integers(0, 7))
    forged = GOOD[:at] + bytes([GOOD[at] ^ (1 << bit)]) + GOOD[at + 1 :]
    found = ours.public_key(forged, "x")
    # An encoding that means the same is no forgery: the key is proven, and nothing else of the request is used.
    assert isinstance(found, Problem) or found == KEYS[0].public_key()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_certificate_of_which_anything_that_is_signed_was_touched_is_no_svid(data: st.DataObject) -> None:
    """What follows the signed part is the signature, which can be spelled in more than one way that means the same."""
    svid = LEAF
    signed = x509.load_der_x509_certificate(svid.chain[0]).tbs_certificate_bytes
    begins = svid.chain[0].index(signed)
    at = data.draw(st.integers(begins, begins + len(signed) - 1))
    bit = data.draw(st.integers(0, 7))
    forged = svid.chain[0][:at] + bytes([svid.chain[0][at] ^ (1 << bit)]) + svid.chain[0][at + 1 :]
    assert verify.svid((forged, *svid.chain[1:]), ROOTS, PAY_ID, NOW)


def test_a_certificate_whose_issuer_has_a_serial_number_below_zero_is_no_svid() -> None:
    """One bit makes the identifier of the issuer's key its serial number, which ``cryptography`` only warns about."""
    der = LEAF.chain[0]
    at = der.index(bytes.fromhex("0603551d23"))  # the extension's OID, 2.5.29.35
    tag = der.index(b"\x80\x14", at)
    forged = der[:tag] + bytes([0x82, 0x14, der[tag + 2] | 0x80]) + der[tag + 3 :]
    assert verify.svid((forged, *LEAF.chain[1:]), ROOTS, PAY_ID, NOW)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused_and_breaks_nothing(data: bytes) -> None:
    assert isinstance(ours.public_key(data, "x"), Problem)


steps = st.lists(
    st.tuples(
        st.sampled_from(["prepare", "activate", "taint", "revoke", "rotate", "advance", "report", "restart", "sign"]),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=40, deadline=None)
def test_in_any_order_of_steps_there_is_one_that_signs_and_what_it_signs_is_trusted(
    taken: list[tuple[str, int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        found = mesh(process(), workloads=(workload(),))
        asyncio.run(_live(Rig(Path(directory) / "trust", found=found), taken))


async def _live(rig: Rig, taken: list[tuple[str, int, bool]]) -> None:
    sequence = rig.service.line.value.sequence
    for step, which, force in taken:
        known = rig.service.journal.authorities
        name = known[which % len(known)].id
        before = rig.service.journal
        try:
            await _take(rig, step, name, Word(who="ann", force=force))
        except TrustError:
            assert rig.service.journal == before
        found = rig.service.journal
        assert journal.read(rig.directory) == found
        assert sum(each.state is State.ACTIVE for each in found.authorities) == 1
        assert found.sequence >= sequence
        sequence = found.sequence
        (answer,) = await rig.service.sign(HOST, (request(PAY),), local=True)
        assert answer.authority == found.active.id
        assert verify.svid(answer.chain, rig.service.bundles()[0].x509, PAY_ID, rig.clock()) == ""
        assert set(rig.service.keys.names()) == {name for each in found.trusted for name in each.keys}


async def _take(rig: Rig, step: str, name: str, word: Word) -> None:
    taking = rig.service.steps
    if step == "prepare":
        await taking.prepare(word)
    elif step == "rotate":
        await taking.rotate(word)
    elif step == "advance":
        await taking.advance()
    elif step == "report":
        rig.reports(rig.service.line.value.sequence, rig.service.journal.active.id)
    elif step == "restart":
        rig.service = rig.opened()
    elif step != "sign":
        await {"activate": taking.activate, "taint": taking.taint, "revoke": taking.revoke}[step](name, word)
