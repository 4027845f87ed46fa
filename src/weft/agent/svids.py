"""The SVIDs of everything on this host: keys made here, certificates by control, renewed long before they end.

Time is the wall clock's, looked at every second: a monotonic clock stands still while a laptop sleeps, certificates do not
(promise C15). Keys live in this process's memory only; an agent that starts again makes new ones.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import anyio.to_thread
import msgspec

from weft.agent import trust, unix_http
from weft.agent.trust import Svid
from weft.identity.wire import CsrRequest, SvidAnswer, SvidAnswers, SvidRequests, TrustLine
from weft.latest import Latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


_LOG: Final = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
"""How often the clock is looked at."""
SPREAD_SECONDS: Final = 3.0
"""Over so long everything is renewed when another authority signs."""
JITTER: Final = 0.1
"""Half-life plus or minus this share of it."""
FIRST_RETRY_SECONDS: Final = 0.1
LONGEST_RETRY_SECONDS: Final = 15.0
LONGEST_ABSENCE_SECONDS: Final = 1.0
"""Between questions to a control that is not there: asking costs microseconds, and everything waits for it."""
BATCH: Final = 500
BANNED: Final = "WFT-1807"
TRUST_RETRY_SECONDS: Final = 0.25


class Use(enum.StrEnum):
    """An application gets a key of its own: what it does with it never touches its proxy's."""

    PROXY = "proxy"
    APPLICATION = "application"


class Holder(msgspec.Struct, frozen=True, order=True):
    """Whose SVID: the node that it is asked for, and who of the two has the key."""

    node: str
    use: Use = Use.PROXY


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that is handed out now."""

    svids: Mapping[Holder, Svid] = MappingProxyType({})
    trust: TrustLine | None = None
    withdrawn: Mapping[Holder, str] = MappingProxyType({})
    """The SPIFFE ID of each that is banned and had an SVID, or empty where control says no more than that it is banned."""


@dataclass
class _Entry:
    """``due``: wall clock time of the next request."""

    due: float = 0.0
    failures: int = 0
    svid: Svid | None = None
    problem: str = ""
    said: str = ""
    account: str = ""


def _no_accounts() -> Mapping[str, str]:
    return {}


class Chance(Protocol):
    def random(self) -> float:
        """At least 0, below 1."""


class Asking(Protocol):
    """Where control is now: it moves when a host joins a mesh."""

    @property
    def address(self) -> unix_http.Target: ...


@dataclass
class Svids:
    """``wanted`` are the nodes whose proxies have an SVID at any time, ``nodes`` everything that lives here: an application
    gets one when it asks. ``clock`` is the wall clock in seconds. ``accounts`` are the service accounts of nodes that have one:
    who gets another is somebody else from then on.
    """

    control: Asking
    wanted: Callable[[], frozenset[str]]
    nodes: Callable[[], frozenset[str]]
    clock: Callable[[], float]
    chance: Chance
    accounts: Callable[[], Mapping[str, str]] = _no_accounts
    held: Latest[Snapshot] = field(default_factory=lambda: Latest(Snapshot()))
    _entries: dict[Holder, _Entry] = field(default_factory=dict)
    _asked: set[Holder] = field(default_factory=set)
    _hurry: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.follow_trust)
            group.start_soon(self.renew)

    # what others ask

    def hurry(self) -> None:
        """Something is new: do not wait for the next look."""
        self._hurry.set()

    async def get(self, holder: Holder) -> Svid | None:
        """The SVID of an application, made when it is first asked for. None: its node is not (or no more) to have one.

        Waits for as long as control is away; the caller bounds that.
        """
        self._asked.add(holder)
        self.hurry()
        serial = -1
        while True:
            serial, snapshot = await self.held.newer_than(serial)
            if (found := snapshot.svids.get(holder)) and found.not_after > self.clock():
                return found
            if holder.node not in self.nodes() or self.problem(holder):
                return None

    def problem(self, holder: Holder) -> str:
        """Why it gets none, by control's word; empty when nothing is against it."""
        entry, trust_line = self._entries.get(holder), self.held.value.trust
        if entry and entry.svid and trust_line and entry.svid.spiffe_id in trust_line.banned:
            return f"{entry.svid.spiffe_id} is banned"
        return entry.problem if entry else ""

    async def wait(self, node: str, limit_seconds: float) -> bool:
        """Whether a proxy's SVID and the bundle are there, in time."""
        self.hurry()
        with anyio.move_on_after(limit_seconds):
            serial = -1
            while True:
                serial, snapshot = await self.held.newer_than(serial)
                if Holder(node) in snapshot.svids:
                    return True
        return False

    # trust

    async def follow_trust(self) -> None:
        """Keep what control says of bundles, bans and authority; an absent control is asked again, what it said stays."""
        while True:
            try:
                async for line in unix_http.lines(self.control.address, "/weft/v1/trust?watch=true"):
                    self.trusts(msgspec.json.decode(line, type=TrustLine))
            except (unix_http.HttpError, msgspec.MsgspecError) as error:
                _LOG.debug("trust: %s", error)
            await anyio.sleep(TRUST_RETRY_SECONDS)

    def trusts(self, state: TrustLine) -> None:
        """A bundle without certificates is never taken in place of one that has some: a validation context must have one."""
        if trust.own_bundle(state) is None:
            _LOG.error("control says a bundle without certificates; the one before it stays")
            return
        now = self.clock()
        for entry in self._entries.values():
            if entry.svid and entry.svid.authority != state.authority:
                entry.due = min(entry.due, now + self.chance.random() * SPREAD_SECONDS)
        self._publish(state)
        self.hurry()

    # renewal

    async def renew(self) -> None:
        while True:
            with anyio.move_on_after(LOOK_SECONDS):
                await self._hurry.wait()
            self._hurry = anyio.Event()
            await self.look()

    async def look(self) -> None:
        """Ask for everything that is due now, and forget what nobody here has any more."""
        self._adjust()
        now = self.clock()
        snapshot = self.held.value
        if snapshot.trust is None:
            return
        banned = frozenset(snapshot.trust.banned)
        due = [
            holder
            for holder, entry in sorted(self._entries.items())
            if entry.due <= now and not (entry.svid and entry.svid.spiffe_id in banned)
        ]
        for at in range(0, len(due), BATCH):
            await self._ask(due[at : at + BATCH], snapshot.trust)

    def _adjust(self) -> None:
        nodes = self.nodes()
        self._asked = {holder for holder in self._asked if holder.node in nodes}
        wanted = {Holder(node) for node in self.wanted()} | self._asked
        accounts = self.accounts()
        gone = {
            holder
            for holder, entry in self._entries.items()
            if holder not in wanted or entry.account != accounts.get(holder.node, "")
        }
        for holder in gone:
            del self._entries[holder]
        for holder in wanted - set(self._entries):
            self._entries[holder] = _Entry(due=self.clock(), account=accounts.get(holder.node, ""))
        if gone:
            self._publish(self.held.value.trust)

    async def _ask(self, holders: list[Holder], state: TrustLine) -> None:
        keys, body = await anyio.to_thread.run_sync(_requests, holders)
        try:
            answers = await self._post(body, len(holders))
        except (unix_http.HttpError, msgspec.MsgspecError) as error:
            _LOG.debug("SVIDs: %s", error)
            for holder in holders:
                self._failed(holder, "", LONGEST_ABSENCE_SECONDS)
            return
        state = self.held.value.trust or state
        made = await anyio.to_thread.run_sync(_made, answers, keys, state, self.clock())
        for holder, answer, svid in zip(holders, answers, made, strict=True):
            self._take(holder, answer, svid, state)
        self._publish(self.held.value.trust)

    async def _post(self, body: bytes, count: int) -> tuple[SvidAnswer, ...]:
        answer = await unix_http.request(self.control.address, "POST", "/weft/v1/svids", body)
        if answer.status != 200:
            raise unix_http.HttpError(f"control answers {answer.status} to a request for SVIDs")
        found = msgspec.json.decode(answer.body, type=SvidAnswers).svids
        if len(found) != count:
            raise unix_http.HttpError(f"control answers {len(found)} of {count} requests for SVIDs")
        return found

    def _take(self, holder: Holder, answer: SvidAnswer, svid: Svid | str, state: TrustLine) -> None:
        """``svid`` is text where the answer is no SVID for our key."""
        if (entry := self._entries.get(holder)) is None:
            return
        if answer.problem is not None or answer.node != holder.node:
            why = f"{answer.problem.code}: {answer.problem.message}" if answer.problem else "an answer for another"
            self._failed(holder, why, LONGEST_RETRY_SECONDS)
            return
        if isinstance(svid, str):
            self._failed(holder, "", LONGEST_RETRY_SECONDS, f"control gave {svid}")
            return
        now, entry.svid = self.clock(), svid
        share = 0.5 * (1 + JITTER * (2 * self.chance.random() - 1))
        life = (answer.not_after - now) * share
        if answer.authority != state.authority:  # another one came while this one was signed
            life = self.chance.random() * SPREAD_SECONDS
        entry.due, entry.failures, entry.problem, entry.said = now + max(life, 1.0), 0, "", ""

    def _failed(self, holder: Holder, problem: str, longest: float, said: str = "") -> None:
        """``said`` goes into the log, once."""
        if (entry := self._entries.get(holder)) is None:
            return
        said = said or problem
        if said and said != entry.said:
            _LOG.warning("no SVID for %s: %s", holder.node, said)
            entry.said = said
        entry.failures += 1
        entry.problem = problem
        entry.due = self.clock() + min(longest, FIRST_RETRY_SECONDS * 2.0 ** min(entry.failures - 1, 16))

    def _publish(self, state: TrustLine | None) -> None:
        """What is banned is not handed out."""
        banned = frozenset(state.banned) if state else frozenset()
        svids: dict[Holder, Svid] = {}
        withdrawn: dict[Holder, str] = {}
        for holder, entry in self._entries.items():
            if entry.svid and entry.svid.spiffe_id not in banned:
                svids[holder] = entry.svid
            elif entry.svid or entry.problem.startswith(BANNED):
                withdrawn[holder] = entry.svid.spiffe_id if entry.svid else ""
        self.held.set(Snapshot(MappingProxyType(svids), state, MappingProxyType(withdrawn)))


def _requests(holders: list[Holder]) -> tuple[list[EllipticCurvePrivateKey], bytes]:
    """New keys, and the body that asks for their certificates."""
    keys = [trust.make_key() for _ in holders]
    requests = tuple(CsrRequest(holder.node, trust.make_csr(key)) for holder, key in zip(holders, keys, strict=True))
    return keys, msgspec.json.encode(SvidRequests(requests))


def _made(
    answers: tuple[SvidAnswer, ...], keys: list[EllipticCurvePrivateKey], state: TrustLine, now: float
) -> list[Svid | str]:
    """Of each answer the SVID, or what is wrong with it."""
    checker = trust.Checker(state, now)
    found: list[Svid | str] = []
    for answer, key in zip(answers, keys, strict=True):
        try:
            checker.check(answer, key)
            found.append(Svid(answer, trust.key_der(key)))
        except trust.UnfitError as error:
            found.append(str(error))
    return found
