"""Every identity that is in use: who holds it, from which authority, until when. What was signed, and what was reported."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from weft.identity.wire import ProxyTrust

if TYPE_CHECKING:
    from weft.identity.reports import Reports
    from weft.identity.wire import SvidAnswer

MAX_NODES: Final = 200_000


class Holder(msgspec.Struct, frozen=True):
    """``sequence`` 0: its agent has not said which bundles it holds. ``state``: valid, ending (less than a quarter of the
    life of an SVID is left: it should have been renewed long ago) or ended.
    """

    node: str
    host: str
    spiffe_id: str
    authority: str
    not_after: int
    sequence: int
    state: str


LATE_SECONDS: Final = 6 * 3600


class Issued:
    """The newest SVID that was signed for each node; those that have ended are forgotten when it becomes too many."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Requests that were signed, and refused."""
        self._newest: dict[tuple[str, str], ProxyTrust] = {}

    def note(self, host: str, answers: tuple[SvidAnswer, ...], now: int) -> None:
        for each in answers:
            self.counts["signed" if each.chain else "refused"] += 1
            if each.chain:
                held = ProxyTrust(each.spiffe_id, 0, each.authority, each.not_after)
                self._newest[host, each.node] = held
        if len(self._newest) > MAX_NODES:
            self._newest = {key: held for key, held in self._newest.items() if held.not_after > now}

    def nodes(self) -> set[tuple[str, str]]:
        """(host, node) of everything that was signed for."""
        return set(self._newest)

    def holders(self, reports: Reports, now: int) -> tuple[Holder, ...]:
        """Sorted by node. What a node reports that it holds counts more than what it was given."""
        found = {key: held for key, held in self._newest.items() if held.not_after > now}
        found |= {(host, node): held for host, node, held in reports.held()}
        return tuple(
            Holder(
                node, host, held.spiffe_id, held.authority, held.not_after, held.sequence, state(held.not_after, now)
            )
            for (host, node), held in sorted(found.items(), key=lambda each: each[0][::-1])
        )


def state(not_after: int, now: int) -> str:
    if not_after <= now:
        return "ended"
    return "ending" if not_after - now < LATE_SECONDS else "valid"
