"""A call that somebody makes or would make, and the decision about it, as values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec

from weft.values import Pairs

Claims: TypeAlias = Mapping[str, Any]
"""The payload of one token that is valid here."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call to one port of a workload, as its proxy sees it.

    ``caller`` is the SPIFFE ID of a certificate that was checked, empty for plaintext. ``http``: it is a request that the
    callee's proxy understands; else it is a connection, and nothing below ``port`` that belongs to requests counts.
    ``edge``: it arrives at a Gateway, where the port that counts as the host's is the listener's, ``port``.
    ``headers`` are in the order in which they came, names in any case, a name as often as it came. ``jwt_problem`` is why a
    token that came along is refused. ``authorizer`` is what an external authorizer would answer; None: nobody asked it.
    """

    caller: str = ""
    port: int
    http: bool = True
    edge: bool = False
    method: str = "GET"
    path: str = "/"
    host: str = ""
    headers: Pairs = ()
    tokens: tuple[Claims, ...] = ()
    jwt_problem: str = ""
    source_ip: str = ""
    remote_ip: str = ""
    destination_ip: str = ""
    sni: str = ""
    authorizer: bool | None = None


class Verdict(enum.Enum):
    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"
    """An external authorizer decides, and nobody asked it; or a header that a proxy sets does, and nobody knows it."""


class Stage(enum.Enum):
    """What is asked, in this order. The first that denies, decides."""

    TLS = "mutual TLS"
    DOMAIN = "trust domain"
    BAN = "ban"
    TOKEN = "token"  # noqa: S105 - the name of a stage
    CUSTOM = "CUSTOM"
    AUDIT = "AUDIT"
    DENY = "DENY"
    ALLOW = "ALLOW"
    DEFAULT = "default"


class Step(msgspec.Struct, frozen=True):
    """What one stage, or one rule of it, said. ``source`` is the rule's or object's provenance; ``dry_run``: it decides
    nothing yet.
    """

    stage: Stage
    outcome: str
    why: str
    source: str = ""
    dry_run: bool = False


class Decision(msgspec.Struct, frozen=True):
    """``source`` names the rule that decided, ``AuthorizationPolicy/shop/pay/rules/0``; empty when none did."""

    verdict: Verdict
    source: str
    reason: str
    steps: tuple[Step, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOWED


_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ODD = {letter: f"%{ord(letter):02X}" for letter in ' "<>^`{|}'}
"""Letters that Envoy escapes."""
_SLASHES = {"%2f": "/", "%5c": "\\"}


def at_edge(host: str) -> str:
    """What is left of a Host header behind a Gateway's listener, which takes the port away before anything is asked."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def normal_path(path: str) -> str:
    """The path that rules are asked about: without its query, with escaped slashes and letters as themselves, without
    ``.``, ``..`` and repeated slashes. Source: what every listener of ours is told (docs/guides/policy.md).
    """
    path = path.partition("#")[0].partition("?")[0]
    path = "".join(_ODD.get(letter, letter) if letter.isascii() else quote(letter) for letter in path)
    path = _unescaped(path).replace("\\", "/")
    kept: list[str] = []
    parts = path.split("/")[1:]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
            continue
        if last:
            kept.append("")
    merged = "/" + "/".join(kept)
    while "//" in merged:
        merged = merged.replace("//", "/")
    return merged


def _unescaped(path: str) -> str:
    """Escaped slashes, backslashes and letters that need no escape, once; what else is escaped stays as it is."""
    made, rest = "", path
    while rest:
        before, percent, rest = rest.partition("%")
        made += before
        if not percent:
            break
        code = rest[:2]
        if f"%{code.lower()}" in _SLASHES:
            made, rest = made + _SLASHES[f"%{code.lower()}"], rest[2:]
        elif (
            len(code) == 2 and code.isalnum() and code.isascii() and _is_hex(code) and chr(int(code, 16)) in _UNRESERVED
        ):
            made, rest = made + chr(int(code, 16)), rest[2:]
        else:
            made += "%"
    return made


def _is_hex(code: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in code)
