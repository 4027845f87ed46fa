from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.trust import weak
from weft.identity import keys
from weft.identity.keys import DiskKeys, KeyManager, MemoryKeys
from weft.identity.problems import TrustError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["disk", "memory"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> KeyManager:
    return DiskKeys(tmp_path) if request.param == "disk" else MemoryKeys()


def code(error: pytest.ExceptionInfo[TrustError]) -> str:
    return error.value.problems[0].code


def test_a_key_is_found_again_by_its_name(manager: KeyManager) -> None:
    made = manager.generate("a-root", keys.P384)
    assert manager.load("a-root").private_numbers() == made.private_numbers()
    assert manager.names() == ("a-root",)
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    assert made.curve.name == "secp384r1"


def test_no_key_takes_the_place_of_another(manager: KeyManager) -> None:
    first = manager.generate("a", keys.P256)
    with pytest.raises(TrustError) as refused:
        manager.put("a", keys.generate(keys.P256))
    assert code(refused) == "WFT-1801"
    assert manager.load("a").private_numbers() == first.private_numbers()


def test_a_deleted_key_is_gone_and_may_be_deleted_again(manager: KeyManager) -> None:
    manager.generate("a", keys.P256)
    manager.delete("a")
    manager.delete("a")
    assert manager.names() == ()
    with pytest.raises(TrustError) as refused:
        manager.load("a")
    assert code(refused) == "WFT-1802"


def test_a_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        DiskKeys(tmp_path).generate("a", keys.P256)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601])
def test_a_key_that_others_may_touch_is_not_used(tmp_path: Path, mode: int) -> None:
    DiskKeys(tmp_path).generate("a", keys.P256)
    (tmp_path / "a.pem").chmod(mode)
    with pytest.raises(TrustError) as refused:
        DiskKeys(tmp_path).load("a")
    assert code(refused) == "WFT-1802"
    assert f"{mode:04o}" in refused.value.problems[0].message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_of_another_user_is_not_used(tmp_path: Path) -> None:
    DiskKeys(tmp_path).generate("a", keys.P256)
    os.chown(tmp_path / "a.pem", 12345, 12345)
    with pytest.raises(TrustError):
        DiskKeys(tmp_path).load("a")


def test_a_link_is_not_followed_and_a_pipe_not_waited_for(tmp_path: Path) -> None:
    DiskKeys(tmp_path).generate("a", keys.P256)
    (tmp_path / "b.pem").symlink_to("a.pem")
    os.mkfifo(tmp_path / "c.pem", 0o600)
    for name in ("b", "c"):
        with pytest.raises(TrustError) as refused:
            DiskKeys(tmp_path).load(name)
        assert code(refused) == "WFT-1802"
    with pytest.raises(TrustError):
        DiskKeys(tmp_path).put("b", keys.generate(keys.P256))


def test_a_directory_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(TrustError) as refused:
        DiskKeys(tmp_path / "gone").generate("a", keys.P256)
    assert code(refused) == "WFT-1801"


def test_what_is_no_key_of_ours_is_refused() -> None:
    breakable = weak()
    other = ed25519.Ed25519PrivateKey.generate()
    shape = (Encoding.PEM, PrivateFormat.PKCS8)
    encrypted = keys.generate(keys.P256).private_bytes(*shape, BestAvailableEncryption(b"secret"))
    texts = {
        b"": "not a PEM",
        b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n": "not a PEM",
        breakable.private_bytes(*shape, NoEncryption()): "1024 bits",
        other.private_bytes(*shape, NoEncryption()): "neither ECDSA nor RSA",
        encrypted: "encrypted",
        b"x" * (keys.MAX_KEY_BYTES + 1): "neither ECDSA nor RSA",
    }
    for text, why in texts.items():
        with pytest.raises(TrustError) as refused:
            keys.parse_key(text, "here")
        assert why in str(refused.value)


def test_only_strong_public_keys_are_taken() -> None:
    taken = [ec.generate_private_key(curve).public_key() for curve in (ec.SECP256R1(), ec.SECP384R1())]
    refused = [
        ec.generate_private_key(curve).public_key() for curve in (ec.SECP224R1(), ec.SECP256K1(), ec.SECP521R1())
    ]
    assert [keys.strength(each) for each in taken] == ["", ""]
    assert all(keys.strength(each) for each in refused)
    assert keys.strength(rsa.generate_private_key(65537, 2048).public_key()) == ""
    assert "small exponent" in keys.strength(rsa.generate_private_key(3, 2048).public_key())
    large = rsa.RSAPublicNumbers(2**33 + 1, 2**2048 - 1).public_key()
    assert "large exponent" in keys.strength(large)
    assert "neither" in keys.strength(ed25519.Ed25519PrivateKey.generate().public_key())


def test_no_manager_shows_a_key() -> None:
    manager = MemoryKeys()
    number = manager.generate("a", keys.P256).private_numbers()
    assert isinstance(number, ec.EllipticCurvePrivateNumbers)
    for shown in (repr(manager), str(manager), repr(manager.load("a"))):
        assert str(number.private_value) not in shown
        assert f"{number.private_value:x}" not in shown
