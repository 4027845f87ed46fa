from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.trust import Rig, key, signed
from weft.identity import pem

if TYPE_CHECKING:
    from pathlib import Path


def test_certificates_are_read_by_others_in_their_order(tmp_path: Path) -> None:
    chain = signed(Rig(tmp_path / "trust"), "spiffe://local/a")
    text = pem.certificates(chain)
    found = x509.load_pem_x509_certificates(text)
    assert tuple(each.public_bytes(Encoding.DER) for each in found) == chain
    assert text == b"".join(each.public_bytes(Encoding.PEM) for each in found)
    assert pem.certificates(()) == b""


def test_a_key_is_read_by_others() -> None:
    made = key()
    der = made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    text = pem.private_key(der)
    assert text == made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    read = load_pem_private_key(text, None)
    assert read.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == der
