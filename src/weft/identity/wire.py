"""The shapes of identity on HTTP (ARCHITECTURE.md), for both ends. Bytes are base64 in JSON; times are seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from weft.errors import Problem


class CsrRequest(msgspec.Struct, frozen=True):
    """``csr`` is DER; only its public key is used."""

    node: str
    csr: bytes


class SvidRequests(msgspec.Struct, frozen=True):
    requests: tuple[CsrRequest, ...]


class SvidAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An X.509-SVID (``chain`` DER, leaf first), or the problem why there is none."""

    node: str
    spiffe_id: str = ""
    chain: tuple[bytes, ...] = ()
    not_after: int = 0
    authority: str = ""
    problem: Problem | None = None


class SvidAnswers(msgspec.Struct, frozen=True):
    svids: tuple[SvidAnswer, ...]


class JwtRequest(msgspec.Struct, frozen=True):
    node: str
    audience: tuple[str, ...]


class JwtAnswer(msgspec.Struct, frozen=True):
    token: str
    spiffe_id: str
    not_after: int


class Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key of a bundle. Source: RFC 7517; SPIFFE Trust Domain and Bundle, section 4.2."""

    kty: str
    kid: str = ""
    use: str = ""
    crv: str = ""
    x: str = ""
    y: str = ""
    n: str = ""
    e: str = ""
    x5c: tuple[str, ...] = ()


class Bundle(msgspec.Struct, frozen=True):
    """What one trust domain's SVIDs are checked against: CA certificates (DER), keys of tokens. ``refresh_hint``: seconds."""

    trust_domain: str
    sequence: int
    refresh_hint: int
    x509: tuple[bytes, ...]
    jwt: tuple[Jwk, ...] = ()


class TrustLine(msgspec.Struct, frozen=True):
    """What every agent trusts, whole. ``bundles`` begin with our own. ``sequence`` rises with every change of them.

    ``authority`` is the one that signs now; SVIDs of those in ``tainted`` shall be replaced at once.
    """

    domain: str
    sequence: int
    authority: str
    tainted: tuple[str, ...]
    banned: tuple[str, ...]
    bundles: tuple[Bundle, ...]


class ProxyTrust(msgspec.Struct, frozen=True):
    """What one proxy holds: ``sequence`` of the last bundles that it ACKed, and the SVID that it ACKed."""

    spiffe_id: str
    sequence: int
    authority: str
    not_after: int


class HostTrust(msgspec.Struct, frozen=True):
    """What the proxies of a host hold, whole; the agent itself is the node ``host/<name>``."""

    proxies: Mapping[str, ProxyTrust]


class Refused(msgspec.Struct, frozen=True):
    """What an agent did not give to whom, and how often."""

    what: str
    who: str
    times: int = 1


class RefusedHere(msgspec.Struct, frozen=True):
    """What an agent refused since it last said so."""

    refusals: tuple[Refused, ...]


class StepRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of the authority. ``ignore``: nodes that are not waited for; ``force``: none is. ``certificates`` and ``key``
    (PEM): the CA below which the next authority is made.
    """

    authority: str = ""
    force: bool = False
    ignore: tuple[str, ...] = ()
    certificates: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"StepRequest({self.authority})"


class FederationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another trust domain: its bundle document, its endpoint (``profile`` https_web or https_spiffe), or both."""

    trust_domain: str
    document: str = ""
    profile: str = "file"
    url: str = ""
    spiffe_id: str = ""
    ca: str = ""
    private: bool = False
