"""One type's conversation on one stream: what the client holds, what was sent to it, what it refused.

A channel knows nothing about other types; the stream decides which channel may speak. At most one response is un-ACKed.
What changes meanwhile is only marked (``_due``), so the next response says the newest state, however many changes there
were in between.

After a NACK nothing is known about the single resources of the response: Envoy applies the good ones when the error is
semantic, and none when it breaks a constraint of the API. So every resource of it is sent again, in groups, the good
before the suspected: first those that the error does not name together, then each that it names alone; when it names
none or all, one half and the other. A group of one that is rejected is the culprit: that version is refused, the one
before stays held, and it is not sent again until its version changes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from weft.xds.protocol import ABSENT, EXTENSION, VIRTUAL_HOST, Refusal, Resource
from weft.xds.subscription import Subscription
from weft.xds.wire import encode_absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from weft.xds.protocol import Limits, Request
    from weft.xds.subscription import Change

SUSPECTS: Final = 8
"""More names in one error than this are halved, not tried one by one."""


class Batch(msgspec.Struct):
    """One response that is on its way. ``removed``: removals, and names that were asked for and do not exist."""

    added: tuple[Resource, ...]
    removed: tuple[str, ...]
    nonce: str = ""
    at: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        return (*(resource.name for resource in self.added), *self.removed)


class Channel:
    """The state of one type on one stream."""

    def __init__(self, type_url: str, limits: Limits, refusals: Mapping[str, Refusal]) -> None:
        self.type_url = type_url
        self.subscription = Subscription(type_url)
        self.held: dict[str, Resource] = {}
        """What the client accepted. ``wire`` is empty for what it brought from an earlier stream and we never saw."""
        self.refused: dict[str, Refusal] = {}
        self.sent: Batch | None = None
        self.waiting_since: float | None = None
        """When the oldest unsent change was marked; None when there is none."""
        self.behind_since: float | None = None
        """Since when the client has not held everything it should."""
        self.acknowledged_at: float | None = None
        self.withheld: frozenset[str] = frozenset()
        self.started = False
        self._limits = limits
        self._earlier_refusals = refusals
        self._offered: Mapping[str, Resource] | None = None
        self._answered: Callable[[str], bool] = lambda _: True
        self._due: set[str] = set()
        self._forced: set[str] = set()
        self._misses: set[str] = set()
        self._released: set[str] = set()
        self._perhaps: set[str] = set()
        """Names of a rejected response that the client may have applied nevertheless."""
        self._groups: deque[tuple[str, ...]] = deque()
        self._nacks: deque[float] = deque()
        self._greet = False
        self._confirmed = False

    # --- what comes in

    def subscribe(self, request: Request, now: float) -> Change:
        """Take the subscriptions of a request, and from the first of this type what the client holds already."""
        first, self.started = not self.started, True
        if first and request.initial:
            self.held = {name: Resource(name, version, b"") for name, version in request.initial.items()}
            self.refused = dict(self._earlier_refusals)
        change = self.subscription.apply(request, self._limits)
        if first and not request.initial:
            self._greet = self.subscription.wildcard
        for name in change.asked:
            self._due.add(name)
            if not first or name not in self.held:
                self._forced.add(name)
        for name in change.released:
            self._release(name)
        self._misses.update(change.refused[: self._limits.names - len(self._misses)])
        if change.widened:
            self._due.update(self._offered or ())
        if first or change.narrowed:
            self._forget_uncovered()
        if first:
            self._due.update(self.held)
        if first:
            self._guard()
        self._mark(now)
        return change

    def _release(self, name: str) -> None:
        if self.subscription.wildcard:
            # The client cannot know whether "*" still gives it the resource: say so.
            self._due.add(name)
            self._forced.add(name)
            self._released.add(name)
        else:
            self._forget(name)

    def _forget_uncovered(self) -> None:
        for name in [name for name in self.held if not self.subscription.covers(name)]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self.held.pop(name, None)
        self.refused.pop(name, None)
        self._due.discard(name)
        self._forced.discard(name)
        self._perhaps.discard(name)

    def offer(self, offered: Mapping[str, Resource], answered: Callable[[str], bool], now: float) -> None:
        """The newest state. ``answered`` says whether a name that is not in it is known not to exist."""
        before, self._offered, self._answered = self._offered, offered, answered
        if offered is before:
            if self._due:
                self._mark(now)
            return
        if self.refused:
            self.refused = {name: one for name, one in self.refused.items() if self._concerns_newest(one)}
        if before is None:
            self._due.update(name for name in offered if self.subscription.covers(name))
            self._due.update(self.held)
        else:
            covers = self.subscription.covers
            for name, resource in offered.items():
                if before.get(name) is not resource and covers(name):
                    self._due.add(name)
            gone = before.keys() - offered.keys()
            self._due.update(name for name in gone if covers(name))
            if not gone and not self.withheld:
                self._mark(now)
                return
        self._guard()
        self._mark(now)

    def resend(self, names: Iterable[str], now: float) -> None:
        """Send these again, held or not, where the client subscribed to them and they exist."""
        for name in names:
            if self._offered is not None and name in self._offered and self.subscription.covers(name):
                self._due.add(name)
                self._forced.add(name)
        self._mark(now)

    def confirm(self, now: float) -> None:
        """An operator wants the withheld removals."""
        self._due.update(self.withheld)
        self.withheld = frozenset()
        self._confirmed = True
        self._mark(now)

    def acknowledge(self, now: float) -> Batch | None:
        """The client took the response."""
        batch, self.sent = self.sent, None
        if batch is None:
            return None
        self.acknowledged_at = now
        self._perhaps.difference_update(batch.names)
        for resource in batch.added:
            refusal = self.refused.get(resource.name)
            if refusal is not None and refusal.version == resource.version:
                del self.refused[resource.name]
            if resource.version == ABSENT and resource.name not in self.subscription.names:
                self.held.pop(resource.name, None)
            elif self.subscription.covers(resource.name):
                self.held[resource.name] = resource
        for name in batch.removed:
            self.held.pop(name, None)
            self._released.discard(name)
            if self.type_url == VIRTUAL_HOST and name in self.subscription.names:
                # Later requests for the host must not wait for it.
                self._due.add(name)
                self._forced.add(name)
                self._mark(now)
            if self._offered is None or name not in self._offered:
                self.refused.pop(name, None)
        self._rest()
        return batch

    def reject(self, node: str, detail: str, now: float) -> Refusal | None:
        """The client rejected the response. Returns the refusal if that leaves one culprit."""
        batch, self.sent = self.sent, None
        if batch is None:
            return None
        self._nacks.append(now)
        names = tuple(name for name in batch.names if self.subscription.covers(name))
        refusal = None
        if len(names) == 1:
            refusal = self._refuse(node, names[0], batch, detail, now)
            self._perhaps.discard(names[0])
        elif names:
            self._due.update(names)
            self._perhaps.update(resource.name for resource in batch.added)
            # Answers to questions and repetitions must be said again although nothing changed.
            self._forced.update(name for name in names if name not in self.held or name not in batch.removed)
            self._groups.extendleft(reversed(groups(names, detail)))
        self._mark(now)
        self._rest()
        return refusal

    def _refuse(self, node: str, name: str, batch: Batch, detail: str, now: float) -> Refusal:
        resource = next((resource for resource in batch.added if resource.name == name), None)
        refusal = Refusal(
            node=node,
            type_url=self.type_url,
            name=name,
            version=resource.version if resource else "",
            source=resource.source if resource else "",
            detail=detail,
            at=now,
        )
        if self._concerns_newest(refusal):
            self.refused[name] = refusal
        if resource is not None and name in self.subscription.names and name not in self.held:
            # Somebody may be waiting for it: tell the client that it has nothing to wait for.
            self._due.add(name)
            self._forced.add(name)
        return refusal

    def _concerns_newest(self, refusal: Refusal) -> bool:
        """Whether what was refused, a version or (empty) a removal, is what is wanted now."""
        wanted = self._offered.get(refusal.name) if self._offered is not None else None
        return (wanted.version if wanted else "") == refusal.version

    # --- what goes out

    def has(self, name: str) -> bool:
        """The client holds this, or it is on its way."""
        return name in self.held or (self.sent is not None and name in self.sent.names)

    @property
    def has_additions(self) -> bool:
        """Something but removals waits to be sent."""
        return bool(self._misses) or self._greet or any(self._addition(name) is not None for name in self._due)

    def next_additions(self, now: float, allowed: Callable[[str], bool]) -> Batch | None:
        """The next response with additions, changes and answers; None when there is none or it must wait."""
        if self.sent is not None or self._offered is None or self.paused_until(now) is not None:
            return None
        while self._groups:
            # A group can turn out empty, because its names changed or went away meanwhile.
            group = self._groups.popleft()
            added, missing, rest = self._collect(group, allowed)
            if rest:
                self._groups.appendleft(rest)
            if added or missing:
                return self._batch(added, missing)
            if rest:
                return None
        added, missing, rest = self._collect(sorted(self._due), allowed)
        if added or missing or self._misses or (self._greet and not rest):
            return self._batch(added, missing)
        self._rest()
        return None

    def _collect(
        self, names: Iterable[str], allowed: Callable[[str], bool]
    ) -> tuple[list[Resource], list[str], tuple[str, ...]]:
        """Of these names: what fits into one response, those that do not exist, and those for a later response."""
        added: list[Resource] = []
        missing: list[str] = []
        rest: list[str] = []
        room = self._limits.batch_bytes
        for name in names:
            if name not in self._due:
                continue
            addition = self._addition(name)
            if addition is None:
                self._settle(name)
            elif not allowed(name):
                rest.append(name)
            elif isinstance(addition, str):
                missing.append(name)
            elif room > 0 and (not added or len(addition.wire) <= room):
                added.append(addition)
                room -= len(addition.wire)
            else:
                room = 0
                rest.append(name)
        return added, missing, tuple(rest)

    def _batch(self, added: list[Resource], missing: list[str]) -> Batch:
        for name in (*(resource.name for resource in added), *missing):
            self._due.discard(name)
            self._forced.discard(name)
        missing += sorted(self._misses.difference(missing))
        self._misses.clear()
        self._greet = False
        self._rest(sending=True)
        if self.type_url == VIRTUAL_HOST:
            added += [Resource(name, ABSENT, encode_absent(name)) for name in missing]
            missing = []
        return Batch(added=tuple(added), removed=tuple(missing))

    def _addition(self, name: str) -> Resource | str | None:
        """What to say about a name now: a resource, ``name`` itself if it does not exist, None for nothing (yet)."""
        wanted = self._offered.get(name) if self._offered is not None else None
        held = self.held.get(name)
        if wanted is None:
            if name not in self._forced:
                return None  # a held name that disappears is a removal, with its own order and guard
            if name in self.withheld:
                return held if held is not None and held.wire else None
            return name if self._answered(name) or name in self._released else None
        refusal = self.refused.get(name)
        if refusal is not None and refusal.version == wanted.version:
            if name not in self._forced:
                return None
            return held if held is not None and held.wire else name
        if name in self._forced or held is None or held.version != wanted.version:
            return wanted
        if not held.wire:
            self.held[name] = wanted
        return None

    def _settle(self, name: str) -> None:
        """Nothing is to be added for this name: keep it due only if it is to be removed, or its answer is not known."""
        if self._removable(name):
            return
        unanswered = (
            (name in self._forced or name in self.held)
            and name in self.subscription.names
            and (self._offered is None or (name not in self._offered and not self._answered(name)))
        )
        if not unanswered:
            self._due.discard(name)
            self._forced.discard(name)

    def next_removals(self) -> Batch | None:
        """The removals that are due, as one response."""
        if self.sent is not None or self._offered is None:
            return None
        gone = tuple(name for name in sorted(self._due) if self._removable(name))
        if not gone:
            return None
        self._due.difference_update(gone)
        self._forced.difference_update(gone)
        self._confirmed = False
        self._rest(sending=True)
        return Batch(added=(), removed=gone)

    @property
    def has_removals(self) -> bool:
        return any(self._removable(name) for name in self._due)

    def _removable(self, name: str) -> bool:
        if self._offered is None or name in self._offered or name in self.withheld or self._in_use(name):
            return False
        held = self.held.get(name)
        if name not in self._perhaps and (held is None or held.version == ABSENT):
            return False
        refusal = self.refused.get(name)
        if refusal is not None and not refusal.version:
            return False
        return self._answered(name) or name not in self.subscription.names

    def _in_use(self, name: str) -> bool:
        """A filter's configuration that is subscribed to belongs to a listener that still serves, if only those who are on it
        while it drains: without it they would get errors. When the listener has gone, so has the subscription.
        """
        return self.type_url == EXTENSION and name in self.subscription.names

    def _guard(self) -> None:
        """Hold back removals that would take most of this type from the client at once."""
        if self._offered is None or not self.started or self._confirmed:
            return
        offered, released = self._offered, self._released
        gone = frozenset(
            name
            for name, one in self.held.items()
            if name not in offered and name not in released and one.version != ABSENT and self._covered_loss(name)
        )
        many = len(gone) > self._limits.guard_minimum and len(gone) > len(self.held) * self._limits.guard_share
        self._due.update(self.withheld - gone if many else self.withheld)
        self.withheld = gone if many else frozenset()
        self._due.difference_update(self.withheld)

    def _covered_loss(self, name: str) -> bool:
        return (
            self.subscription.covers(name)
            and not self._in_use(name)
            and (name not in self.subscription.names or self._answered(name))
        )

    # --- time

    def paused_until(self, now: float) -> float | None:
        """When this channel may send again after too many rejections; None if it may now."""
        window = self._limits.nack_window_seconds
        while self._nacks and self._nacks[0] <= now - window:
            self._nacks.popleft()
        if len(self._nacks) < self._limits.nacks:
            return None
        return self._nacks[len(self._nacks) - self._limits.nacks] + window

    def _mark(self, now: float) -> None:
        if self.waiting_since is None:
            self.waiting_since = now
        if self.behind_since is None:
            self.behind_since = now

    def _rest(self, *, sending: bool = False) -> None:
        """Forget since when something waited, if nothing does; ``sending``: a response is about to go out."""
        if not self._due and not self._misses and not self._greet:
            self.waiting_since = None
            if self.sent is None and not sending:
                self.behind_since = None


def groups(names: tuple[str, ...], detail: str) -> list[tuple[str, ...]]:
    """How to send the resources of a rejected response again: the good first. At least two groups for two names.

    Names are looked for in the error's text only to save messages; every group is judged by the client, so a name that
    is found by accident costs a message and nothing else.
    """
    suspects = tuple(name for name in names if name in detail)
    if 0 < len(suspects) <= SUSPECTS and len(suspects) < len(names):
        rest = tuple(name for name in names if name not in suspects)
        return [rest, *((name,) for name in suspects)]
    middle = len(names) // 2
    return [names[:middle], names[middle:]]
