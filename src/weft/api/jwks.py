"""Key sets that users write out: JSON of public keys, and nothing that should have stayed at home.

Source: RFC 7517 (JWK), RFC 7518 section 6 (RSA, EC, oct), RFC 8037 (OKP). A private key in a policy is a leak, and a
symmetric one would let every reader of the policy make tokens: both are refused, as is what is too large to be a key set.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import msgspec
from pydantic import AfterValidator

from weft.api.base import shown, wrong

MAX_BYTES: Final = 64 * 1024
"""Bytes of one key set; a key of 4,096 bits is one hundredth of it."""

MAX_KEYS: Final = 100

_PUBLIC: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_REMEDY: Final = 'Write {"keys": [...]} with the public keys that the issuer publishes'


def fault(text: str) -> str:
    """What is wrong with a key set; empty when nothing is. Never shows any part of a key."""
    if len(text) > MAX_BYTES:
        return f"the key set has {len(text):,} characters; the limit is {MAX_BYTES:,}"
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return "the key set is not JSON"
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys:
        return "the key set has no list of keys"
    if len(keys) > MAX_KEYS:
        return f"the key set has {len(keys):,} keys; the limit is {MAX_KEYS}"
    return next((found for number, key in enumerate(keys) if (found := _key(number, key))), "")


def _key(number: int, key: object) -> str:
    if not isinstance(key, dict):
        return f"key {number} is not a mapping"
    kind = key.get("kty")
    if kind == "oct":
        return f"key {number} is symmetric: whoever reads it can make tokens"
    if not isinstance(kind, str) or kind not in _PUBLIC:
        return f"key {number} is of type {shown(kind)}, not RSA, EC or OKP"
    if any(name in key for name in _PRIVATE):
        return f"key {number} is private; everybody who reads the policy has it now"
    missing = [name for name in _PUBLIC[kind] if not isinstance(key.get(name), str) or not key[name]]
    return f"key {number} lacks {missing[0]}" if missing else ""


def _is_jwks(value: str) -> str:
    found = fault(value)
    if found:
        remedy = "Make a new key pair, and write its public half" if "private" in found else _REMEDY
        wrong("WFT-1112", found, remedy)
    return value


Jwks: TypeAlias = Annotated[str, AfterValidator(_is_jwks)]
