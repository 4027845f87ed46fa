"""The authority at work: the one owner of its keys and its journal. Control runs it; ``weft.web.trust`` speaks for it.

Steps are taken one at a time, and only from the event loop. Signing reads values that do not change, in worker threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from anyio import to_thread

from weft.errors import Problem
from weft.identity import authority, journal, x509
from weft.identity.problems import problem
from weft.identity.reports import Reports
from weft.identity.signing import may_sign
from weft.identity.state import State
from weft.identity.wire import Bundle, SvidAnswer, TrustLine
from weft.latest import Latest
from weft.model.trust import Trust
from weft.names import control_spiffe_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from weft.identity.keys import PublicKey
    from weft.identity.opening import Opened
    from weft.identity.state import Journal
    from weft.identity.wire import CsrRequest, HostTrust
    from weft.model.mesh import Mesh

IN_THREAD: Final = 4
"""From this many CSRs on signing leaves the event loop: one costs 0.3 ms, changing threads 0.1."""


class TrustService:
    """``line`` is what agents watch; ``changed`` is called with what every proxy must know, at once and at each change."""

    def __init__(
        self,
        opened: Opened,
        *,
        now: Callable[[], datetime],
        mesh: Callable[[], Mesh | None],
        host: str,
        changed: Callable[[Trust], None],
    ) -> None:
        self.host: Final = host
        """The name of the host that runs control."""
        self.reports: Final = Reports()
        self.now: Final = now
        self.mesh: Final = mesh
        self._opened = opened
        self._journal = opened.journal
        self._changed = changed
        self._banned: tuple[str, ...] = ()
        self._turn = anyio.Lock()
        self._signer = x509.Signer(authority.issuer(self._journal.active, opened.keys))
        self.line: Final[Latest[TrustLine]] = Latest(self._line())
        self._changed(self.trust)

    @property
    def journal(self) -> Journal:
        return self._journal

    @property
    def domain(self) -> str:
        return self._journal.trust_domain

    @property
    def trust(self) -> Trust:
        federated = tuple(sorted(each.trust_domain for each in self._journal.federated if each.document))
        return Trust(domain=self.domain, federated=federated, banned=self._banned)

    def bundles(self) -> tuple[Bundle, ...]:
        """Our own first, then those of other trust domains by name."""
        return (authority.own_bundle(self._journal),)

    def set_banned(self, spiffe_ids: tuple[str, ...]) -> None:
        """From now on these get no SVID, and every proxy hears of them. They are kept by whoever bans."""
        self._banned = tuple(sorted(set(spiffe_ids)))
        self._publish()

    async def sign(
        self, host: str, requests: tuple[CsrRequest, ...], *, local: bool, mesh: Mesh | None = None
    ) -> tuple[SvidAnswer, ...]:
        """One answer for each request, in order. ``host`` is who asks, as the door it came by knows it."""
        mesh = mesh or self.mesh()
        if mesh is None:
            not_yet = problem("WFT-1810", "the mesh has not been compiled yet", "Ask again", "weft-control")
            return tuple(SvidAnswer(each.node, problem=not_yet) for each in requests)
        mesh = msgspec.structs.replace(mesh, trust=self.trust)
        signer, active, now = self._signer, self._journal.active.id, self.now()

        def work() -> tuple[SvidAnswer, ...]:
            return tuple(
                _sign(each, may_sign(host, each.node, mesh, local=local), signer, active, now) for each in requests
            )

        if len(requests) < IN_THREAD:
            return work()
        return await to_thread.run_sync(work)

    def sign_control(self, key: PublicKey) -> x509.Svid:
        """Control's own SVID, for its door. Only control itself can ask: by this method, and by no path."""
        return self._signer.sign(control_spiffe_id(self.domain), key, self.now())

    def report(self, host: str, report: HostTrust) -> None:
        """Take what a host's proxies hold."""
        self.reports.put(host, report, self.seconds())

    def seconds(self) -> int:
        return int(self.now().timestamp())

    async def commit(self, changed: Journal) -> None:
        """Keep ``changed``, and tell everybody. What it does to the bundle counts the sequences up. Holds for ever after."""
        before = self._journal
        ours = [(each.root, each.token_key) for each in before.trusted] != [
            (each.root, each.token_key) for each in changed.trusted
        ]
        theirs = [(each.trust_domain, each.document) for each in before.federated] != [
            (each.trust_domain, each.document) for each in changed.federated
        ]
        changed = msgspec.structs.replace(
            changed,
            sequence=before.sequence + int(ours or theirs),
            bundle_sequence=before.bundle_sequence + int(ours),
        )
        published = tuple(
            msgspec.structs.replace(each, published=changed.sequence) if not each.published else each
            for each in changed.authorities
        )
        changed = msgspec.structs.replace(changed, authorities=published)
        await to_thread.run_sync(journal.write, self._opened.directory, changed)
        if changed.active.chain != before.active.chain:
            self._signer = x509.Signer(authority.issuer(changed.active, self._opened.keys))
        self._journal = changed
        self._publish()

    def _publish(self) -> None:
        line = self._line()
        if line != self.line.value:
            self.line.set(line)
        self._changed(self.trust)

    def _line(self) -> TrustLine:
        return TrustLine(
            domain=self.domain,
            sequence=self._journal.sequence,
            authority=self._journal.active.id,
            tainted=tuple(each.id for each in self._journal.authorities if each.state is State.TAINTED),
            banned=self._banned,
            bundles=self.bundles(),
        )


def _sign(request: CsrRequest, spiffe_id: str | Problem, signer: x509.Signer, active: str, now: datetime) -> SvidAnswer:
    if not isinstance(spiffe_id, str):
        return SvidAnswer(request.node, problem=spiffe_id)
    key = x509.public_key(request.csr, request.node)
    if isinstance(key, Problem):
        return SvidAnswer(request.node, problem=key)
    svid = signer.sign(spiffe_id, key, now)
    return SvidAnswer(request.node, svid.spiffe_id, svid.chain, svid.not_after, active)
