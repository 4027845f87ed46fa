"""Private keys by name, behind one small interface. A key is never shown: no object here has a ``repr`` that holds one.

On the disk a key is PKCS#8 PEM in a file that nobody but its owner can touch (``weft.private``).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning

from weft import private
from weft.identity.problems import TrustError, problem

if TYPE_CHECKING:
    from pathlib import Path

    from weft.errors import Problem

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)
"""What ``cryptography`` raises for a certificate or a request that somebody made up. The last is what a later release will
refuse (a serial number that is not positive): raised where warnings are errors, and a line in the log elsewhere."""

MAX_KEY_BYTES: Final = 64 * 1024
P256: Final = "P-256"
P384: Final = "P-384"
CURVES: Final = (P256, P384)
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""More than anybody has, and checking its signatures does not take seconds yet."""


MAX_EXPONENT: Final = 2**33 - 1
"""A large one makes every check as slow as a signature, and Envoy takes none. Source: BoringSSL, ``kMaxExponentBits``."""


class KeyManager(Protocol):
    """Where the authority's private keys are. Names are made of letters, digits and dashes."""

    def generate(self, name: str, curve: str) -> PrivateKey:
        """A new key under ``name``. Raises ``TrustError`` when there is one already, or it cannot be kept."""

    def put(self, name: str, key: PrivateKey) -> None:
        """Keep a key that was made elsewhere. Raises as ``generate``."""

    def load(self, name: str) -> PrivateKey:
        """Raises ``TrustError`` when there is none, or others could have read it."""

    def delete(self, name: str) -> None:
        """Forget a key; one that does not exist is forgotten already."""

    def names(self) -> tuple[str, ...]:
        """Every key, sorted."""


def generate(curve: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1() if curve == P384 else ec.SECP256R1())


def strength(key: object) -> str:
    """What is wrong with a public key for our purposes; empty when nothing is."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return ""
        return f"is on the curve {key.curve.name}; P-256 and P-384 are taken"
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return f"is RSA of {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken"
        exponent = key.public_numbers().e
        if exponent > MAX_EXPONENT:
            return "is RSA with a large exponent"
        return "" if exponent >= 65537 else "is RSA with a small exponent"
    return "is neither ECDSA (P-256, P-384) nor RSA"


class MemoryKeys:
    """For tests, and for an authority that shall not outlive its process."""

    def __init__(self) -> None:
        self._keys: dict[str, PrivateKey] = {}

    def generate(self, name: str, curve: str) -> PrivateKey:
        key = generate(curve)
        self.put(name, key)
        return key

    def put(self, name: str, key: PrivateKey) -> None:
        if name in self._keys:
            raise TrustError(_exists(name))
        self._keys[name] = key

    def load(self, name: str) -> PrivateKey:
        if name not in self._keys:
            raise TrustError(_missing(name))
        return self._keys[name]

    def delete(self, name: str) -> None:
        self._keys.pop(name, None)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._keys))


class DiskKeys:
    """One file for each key in ``directory``, which is private (``weft.paths.private_directory``)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def generate(self, name: str, curve: str) -> PrivateKey:
        key = generate(curve)
        self.put(name, key)
        return key

    def put(self, name: str, key: PrivateKey) -> None:
        write_key(self._path(name), key)

    def load(self, name: str) -> PrivateKey:
        return read_key(self._path(name))

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._path(name).unlink()

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.stem for path in self._directory.glob("*.pem")))

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.pem"


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_key(path: Path, key: PrivateKey) -> None:
    """Never over another file, and on the disk when this returns. Raises ``TrustError``."""
    try:
        private.create(path, pem(key))
    except FileExistsError as error:
        raise TrustError(_exists(path)) from error
    except OSError as error:
        raise TrustError(unwritable(path, error)) from error


def read_key(path: Path) -> PrivateKey:
    """Raises ``TrustError``: no such file, not ours, readable by others, not a key that we use."""
    return parse_key(read_private(path), path)


def read_private(path: Path, limit_bytes: int = MAX_KEY_BYTES) -> bytes:
    """The bytes of a file that nobody but its owner can read. Raises ``TrustError`` (WFT-1802)."""
    try:
        return private.read(path, limit_bytes)
    except private.ExposedError as error:
        raise TrustError(_exposed(path, error)) from error
    except OSError as error:
        raise TrustError(_missing(path, error)) from error


def parse_key(data: bytes, place: Path | str) -> PrivateKey:
    try:
        key = load_pem_private_key(data, None) if len(data) <= MAX_KEY_BYTES else None
    except TypeError as error:
        remedy = "Decrypt it first: openssl pkey -in FILE -out KEY"
        raise TrustError(problem("WFT-1802", "the key is encrypted", remedy, place)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(_not_a_key(place, "it is not a PEM private key")) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TrustError(_not_a_key(place, "the key is neither ECDSA nor RSA"))
    if wrong := strength(key.public_key()):
        raise TrustError(_not_a_key(place, f"the key {wrong}"))
    return key


def unwritable(path: Path, error: OSError) -> Problem:
    remedy = "Make room on the file system, or correct the permissions; what was there before still holds"
    return problem("WFT-1801", f"it cannot be written: {error.strerror}", remedy, path)


def _exists(place: Path | str) -> Problem:
    return problem("WFT-1801", "there is a key of this name already", "Move it away if it is not needed", place)


REMEDY: Final = (
    "Bring it back from a backup; without one the authority is lost: move its directory away, and start weft"
)


def _missing(place: Path | str, error: OSError | None = None) -> Problem:
    why = f"the key cannot be read: {error.strerror}" if error else "there is no such key"
    return problem("WFT-1802", why, REMEDY, place)


def _exposed(path: Path, error: private.ExposedError) -> Problem:
    message = f"{error} does not keep the key private"
    remedy = f"Make it a plain file of user {os.geteuid()} that others cannot read: chmod 600"
    return problem("WFT-1802", message, f"{remedy}; if others could read it, replace the key", path)


def _not_a_key(place: Path | str, why: str) -> Problem:
    return problem("WFT-1802", why, "Use a PEM file with an unencrypted ECDSA (P-256, P-384) or RSA key", place)
