"""The authority at work: the one owner of its keys and its journal. Control runs it; ``weft.web.trust`` speaks for it.

Steps are taken one at a time, under ``turn``. Signing reads values that do not change, in worker threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from anyio import to_thread

from weft.errors import Problem
from weft.identity import authority, expiry, journal, jwt, x509
from weft.identity.federation import Federation
from weft.identity.inventory import Issued
from weft.identity.problems import TrustError, problem, warning
from weft.identity.reports import Reports, live
from weft.identity.rotation import Steps
from weft.identity.signing import known, may_sign
from weft.identity.state import State
from weft.identity.wire import Bundle, HostTrust, JwtAnswer, SvidAnswer, TrustLine
from weft.latest import Latest
from weft.model.trust import Trust
from weft.names import control_spiffe_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from weft.identity.inventory import Holder
    from weft.identity.keys import KeyManager, PublicKey
    from weft.identity.opening import Opened
    from weft.identity.reports import Blocker
    from weft.identity.state import Journal
    from weft.identity.wire import CsrRequest, ProxyTrust
    from weft.identity.x509 import Svid
    from weft.model.mesh import Mesh

IN_THREAD: Final = 4
"""From this many CSRs on signing leaves the event loop: one costs 0.2 ms, changing threads 0.1."""
RENEW_SECONDS: Final = 60 * 86400
"""What is left of an issuing CA's life when it is renewed below its root; SVIDs are never cut short by it."""
BANNED: Final = "WFT-1807"
LOOK_SECONDS: Final = 1.0
"""How often a rotation looks whether it may go on, when no report says so."""


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
        self.keys: Final[KeyManager] = opened.keys
        self.reports: Final = Reports()
        self.issued: Final = Issued()
        self.turn: Final = anyio.Lock()
        """Whoever changes the journal holds it from reading to ``commit``."""
        self.now: Final = now
        self._mesh = mesh
        self._directory = opened.directory
        self._journal = opened.journal
        self._changed = changed
        self._banned: tuple[str, ...] = ()
        self._wake: Latest[None] = Latest(None)
        self.steps: Final = Steps(self)
        self.federation: Final = Federation(self)
        self._load()
        self.line: Final[Latest[TrustLine]] = Latest(self._line())
        self._changed(self.trust)

    def _load(self) -> None:
        active = self._journal.active
        self._signer = x509.Signer(authority.issuer(active, self.keys))
        self._tokens = jwt.TokenSigner(self.keys.load(active.jwt_key), active.token_key.kid)

    @property
    def journal(self) -> Journal:
        return self._journal

    @property
    def domain(self) -> str:
        return self._journal.trust_domain

    @property
    def banned(self) -> tuple[str, ...]:
        return self._banned

    @property
    def trust(self) -> Trust:
        federated = tuple(each.trust_domain for each in self.bundles()[1:])
        return Trust(domain=self.domain, federated=federated, banned=self._banned)

    def seconds(self) -> int:
        return int(self.now().timestamp())

    def bundles(self) -> tuple[Bundle, ...]:
        """Our own first, then those of other trust domains by name."""
        return (authority.own_bundle(self._journal), *self.federation.bundles())

    def set_banned(self, spiffe_ids: tuple[str, ...]) -> None:
        """From now on these get no SVID, and every proxy hears of them. They are kept by whoever bans."""
        self._banned = tuple(sorted(set(spiffe_ids)))
        self._publish()

    # signing

    async def sign(self, host: str, requests: tuple[CsrRequest, ...], *, local: bool) -> tuple[SvidAnswer, ...]:
        """One answer for each request, in order. ``host`` is who asks, as the door it came by knows it."""
        mesh = self.mesh()
        if mesh is None:
            return tuple(SvidAnswer(each.node, problem=_not_yet()) for each in requests)
        await self.renew()
        signer, active, now = self._signer, self._journal.active.id, self.now()

        def work() -> tuple[SvidAnswer, ...]:
            return tuple(
                _sign(each, may_sign(host, each.node, mesh, local=local), signer, active, now) for each in requests
            )

        answers = work() if len(requests) < IN_THREAD else await to_thread.run_sync(work)
        self.issued.note(host, answers, self.seconds())
        return answers

    async def token(self, host: str, node: str, audience: tuple[str, ...], *, local: bool) -> JwtAnswer | Problem:
        """A JWT-SVID for what ``node`` is."""
        mesh = self.mesh()
        if mesh is None:
            return _not_yet()
        spiffe_id = may_sign(host, node, mesh, local=local)
        if isinstance(spiffe_id, Problem):
            return spiffe_id
        if wrong := jwt.audiences(audience, node):
            return wrong
        if not self._journal.active.signed_tokens:
            await self._note_token()
        token, end = self._tokens.sign(spiffe_id, audience, self.now())
        return JwtAnswer(token, spiffe_id, end)

    def sign_control(self, key: PublicKey) -> Svid:
        """An SVID for control itself: its door, its bundle endpoint. From any thread."""
        return self._signer.sign(control_spiffe_id(self.domain), key, self.now())

    async def _note_token(self) -> None:
        """Before the first token is out: until the last has ended, its authority is not revoked."""
        async with self.turn:
            active = msgspec.structs.replace(self._journal.active, signed_tokens=True)
            await self.commit(self._journal.with_authority(active))

    def proxy(self, node: str) -> str:
        """The SPIFFE ID that the proxy of this name shows; empty when there is none, or none that may be in the mesh."""
        mesh = self._mesh()
        found = known(node, mesh) if mesh is not None else None
        return found.spiffe_id if found and found.spiffe_id not in self._banned else ""

    def mesh(self) -> Mesh | None:
        """The compiled mesh, with our own newest word on trust."""
        found = self._mesh()
        return None if found is None else msgspec.structs.replace(found, trust=self.trust)

    # what proxies hold

    def report(self, host: str, report: HostTrust, *, local: bool = True) -> None:
        """Take what a host's proxies hold; of a joined host, which is not ``local``, only what it has SVIDs for. Raises
        ``TrustError`` while nothing is known of that.
        """
        if not local:
            report = HostTrust(self._own(host, report))
        if self.reports.put(host, report, self.seconds()):
            self._wake.set(None)

    def _own(self, host: str, report: HostTrust) -> dict[str, ProxyTrust]:
        """Without what is another's; a banned one is its own all the same."""
        if (mesh := self.mesh()) is None:
            raise TrustError(_not_yet())
        found = {node: may_sign(host, node, mesh, local=False) for node in report.proxies}
        return {
            node: held
            for node, held in report.proxies.items()
            if isinstance(why := found[node], str) or why.code == BANNED
        }

    def missing(self, lacks: Callable[[ProxyTrust], str]) -> tuple[Blocker, ...]:
        """Every live node about which ``lacks`` says something, and what it may have begun before it had the newest. Nothing is
        known of any before the mesh is compiled.
        """
        mesh = self._mesh()
        if mesh is None:
            raise TrustError(_not_yet())
        nodes = live(mesh, self.reports, self.issued.nodes())
        now = self.seconds()
        return (*self.reports.missing(nodes, lacks, self._banned, now), *self.reports.under_way(nodes, now))

    def identities(self) -> tuple[Holder, ...]:
        return self.issued.holders(self.reports, self.seconds())

    # its own life

    def problems(self) -> tuple[Problem, ...]:
        """What an operator should hear of: certificates that near their end, other trust domains that cannot be had."""
        lives = expiry.warnings(self._journal, self.seconds())
        return (*lives, *self._shared_roots(), *self.federation.problems(), *self.trouble)

    def _shared_roots(self) -> list[Problem]:
        trusted = {each.root: each.id for each in self._journal.trusted}
        return [
            warning(
                "WFT-1809",
                f"SVIDs of revoked authority {each.id} hold until they end: authority {trusted[each.root]} has the same root",
                "Rotate to a CA below another root when they must be refused at once",
                f"authority {each.id}",
            )
            for each in self._journal.authorities
            if not each.trusted and each.root in trusted and each.retired + 86400 > self.seconds()
        ]

    async def run(self) -> None:
        """Take the steps of a rotation when they may be taken, and keep other trust domains' bundles fresh, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.federation.run)
            serial = -1
            while True:
                await self.tend()
                with anyio.move_on_after(LOOK_SECONDS):
                    serial, _ = await self._wake.newer_than(serial)

    async def tend(self) -> None:
        """What is due now. A full disk, or a mesh that is not compiled yet, is tried again."""
        try:
            await self.renew()
            while await self.steps.advance():
                pass
        except TrustError as error:
            self.trouble = error.problems
        else:
            self.trouble = ()

    trouble: tuple[Problem, ...] = ()
    """Why the last attempt to tend the authority failed."""

    async def renew(self) -> None:
        """A new issuing CA below the same root, long before the old one could shorten an SVID. The bundle stays as it is."""
        active = self._journal.active
        if not active.upstream_key or self._signer.end.timestamp() - self.seconds() > RENEW_SECONDS:
            return
        async with self.turn:
            active = self._journal.active
            if not any(life.renews for life in expiry.lives(active)):
                return  # its root ends with it: only a rotation helps, and warnings say so
            made = await to_thread.run_sync(authority.renewed, self.domain, self.keys, active, self.now())
            if made.chain[0] == active.chain[0]:
                return
            await self.commit(self._journal.with_authority(made))
            await to_thread.run_sync(self.keys.delete, active.issuing_key)

    async def commit(self, changed: Journal) -> None:
        """Keep ``changed``, and tell everybody; what it does to the bundles counts the sequences up. Under ``turn``.

        Raises ``TrustError`` when it cannot be kept: nothing has changed then.
        """
        before = self._journal
        ours = _own(before) != _own(changed)
        theirs = _theirs(before) != _theirs(changed)
        sequence = before.sequence + int(ours or theirs)
        changed = msgspec.structs.replace(
            changed,
            sequence=sequence,
            bundle_sequence=before.bundle_sequence + int(ours),
            authorities=tuple(
                each if each.published else msgspec.structs.replace(each, published=sequence)
                for each in changed.authorities
            ),
        )
        await to_thread.run_sync(journal.write, self._directory, changed)
        self._journal = changed
        if changed.active.chain != before.active.chain or changed.active.id != before.active.id:
            self._load()
        self._publish()

    def _publish(self) -> None:
        line = self._line()
        if line != self.line.value:
            self.line.set(line)
        self._changed(self.trust)
        self._wake.set(None)

    def _line(self) -> TrustLine:
        return TrustLine(
            domain=self.domain,
            sequence=self._journal.sequence,
            authority=self._journal.active.id,
            tainted=tuple(each.id for each in self._journal.authorities if each.state is State.TAINTED),
            banned=self._banned,
            bundles=self.bundles(),
        )


def _own(found: Journal) -> list[object]:
    return [(each.root, each.token_key) for each in found.trusted]


def _theirs(found: Journal) -> list[object]:
    return [(each.trust_domain, each.document) for each in found.federated]


def _not_yet() -> Problem:
    return problem("WFT-1810", "the mesh has not been compiled yet", "Ask again", "weft-control")


def _sign(request: CsrRequest, spiffe_id: str | Problem, signer: x509.Signer, active: str, now: datetime) -> SvidAnswer:
    if not isinstance(spiffe_id, str):
        return SvidAnswer(request.node, problem=spiffe_id)
    key = x509.public_key(request.csr, request.node)
    if isinstance(key, Problem):
        return SvidAnswer(request.node, problem=key)
    svid = signer.sign(spiffe_id, key, now)
    return SvidAnswer(request.node, svid.spiffe_id, svid.chain, svid.not_after, active)
