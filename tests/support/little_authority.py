"""An authority for tests: real certificates, real shapes on the wire, nothing kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from weft.errors import Problem
from weft.identity import keys, x509
from weft.identity.wire import Bundle, CsrRequest, SvidAnswer, SvidAnswers, TrustLine
from weft.latest import Latest
from weft.names import host_spiffe_id, spiffe_id
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography import x509 as certificates

DOMAIN = "local"


def identity(node: str) -> str:
    """``sidecar/default/a-v1-0`` is ``default/a``; a host is itself."""
    parts = node.split("/")
    if parts[0] == "host":
        return host_spiffe_id(DOMAIN, parts[1])
    return spiffe_id(DOMAIN, parts[1], parts[2].rsplit("-", 2)[0] if parts[2].count("-") >= 2 else parts[2])


@dataclass
class Generation:
    """One root with one issuing CA."""

    name: str
    now: datetime
    root: certificates.Certificate = field(init=False)
    signer: x509.Signer = field(init=False)
    issuer: x509.Issuer = field(init=False)

    def __post_init__(self) -> None:
        above, below = keys.generate(keys.P256), keys.generate(keys.P256)
        self.root = x509.make_root(DOMAIN, above, self.name, self.now)
        parent = x509.Issuer(self.root, above, ())
        made = x509.make_issuing(DOMAIN, parent, below, self.name, self.now)
        self.issuer = x509.Issuer(made, below, (made.public_bytes(Encoding.DER),))
        self.signer = x509.Signer(self.issuer)

    @property
    def der(self) -> bytes:
        return self.root.public_bytes(Encoding.DER)


class LittleAuthority:
    """``clock`` in seconds since 1970; ``life_seconds`` of each SVID; ``refuses`` nodes."""

    def __init__(self, clock: Callable[[], float], life_seconds: float = 86_400) -> None:
        self.clock = clock
        self.life_seconds = life_seconds
        self.refuses: set[str] = set()
        self.signed: list[CsrRequest] = []
        self.generations = [Generation("a1", self._now())]
        self.line = Latest(self._line(1))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def _line(self, sequence: int, banned: tuple[str, ...] = ()) -> TrustLine:
        bundle = Bundle(DOMAIN, sequence, 300, tuple(one.der for one in self.generations))
        return TrustLine(DOMAIN, sequence, self.generations[-1].name, (), banned, (bundle,))

    def prepare(self) -> None:
        """A new root beside the old ones, which signs from now on."""
        self.generations.append(Generation(f"a{len(self.generations) + 1}", self._now()))
        self.line.set(self._line(self.line.value.sequence + 1))

    def forget(self) -> None:
        """Only the newest root is left."""
        self.generations = self.generations[-1:]
        self.line.set(self._line(self.line.value.sequence + 1))

    def ban(self, *spiffe_ids: str) -> None:
        self.line.set(self._line(self.line.value.sequence, spiffe_ids))

    def sign(self, requests: Iterable[CsrRequest]) -> SvidAnswers:
        return SvidAnswers(tuple(self._sign(each) for each in requests))

    def _sign(self, request: CsrRequest) -> SvidAnswer:
        self.signed.append(request)
        if request.node in self.refuses:
            no = Problem(code="WFT-1805", message="not placed here", remedy="Place it", origin=Origin(request.node))
            return SvidAnswer(request.node, problem=no)
        public = x509.public_key(request.csr, request.node)
        assert not isinstance(public, Problem), public
        # An SVID of any life: the signer's own is a day.
        late = self._now() + timedelta(seconds=self.life_seconds) - x509.SVID_LIFE
        signed = self.generations[-1].signer.sign(identity(request.node), public, late)
        return SvidAnswer(request.node, signed.spiffe_id, signed.chain, signed.not_after, self.generations[-1].name)
