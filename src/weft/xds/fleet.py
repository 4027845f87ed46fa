"""The connected proxies: the newest state offered to each, what each asks for, holds and refuses.

The control loop reads ``demands`` and calls ``offer``; the server joins streams and feeds them requests. Everything
here is synchronous and belongs to one event loop, so no state is ever seen half changed. A proxy is its node id.
During a hot restart two processes have one node id: both are served the same offer, the newest stream is what status
speaks of, and the oldest is closed when there are more than ``FleetLimits.streams_per_node``.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from weft.latest import Latest
from weft.model.view import Demand
from weft.xds.protocol import (
    ABSENT,
    Acknowledged,
    DemandChanged,
    Limits,
    NamesRefused,
    Refusal,
    Rejected,
    StreamRejectedError,
    Withheld,
)
from weft.xds.status import FleetLimits, NodeStatus, node_status
from weft.xds.stream import NO_REFUSALS, DeltaStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weft.xds.protocol import Event, Request, Resource, ResourceSet

NEVER: Final = -1
"""The acknowledged revision of a stream that has acknowledged none."""

_COUNTED: Final = {
    Acknowledged: "acknowledged",
    Rejected: "rejected",
    Refusal: "refused",
    Withheld: "withheld",
}


class Peer(Protocol):
    """The shell of one stream, as the fleet needs it."""

    def wake(self) -> None:
        """The outbox is not empty."""

    def close(self, reason: str) -> None:
        """End the stream and tell the client why."""


class Connection:
    """One stream and what waits to be written to it. ``writing_since`` is the server's: when its write began."""

    def __init__(self, stream: DeltaStream, peer: Peer, now: float) -> None:
        self.stream = stream
        self.peer = peer
        self.since = now
        self.outbox: deque[bytes] = deque()
        self.writing_since: float | None = None

    def pump(self, now: float) -> None:
        out = self.stream.take(now)
        if out:
            self.outbox.extend(out)
            self.peer.wake()


class Node:
    """One proxy. Survives its streams for ``FleetLimits.retain_seconds``, so that what it held can still be read."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.connections: list[Connection] = []
        self.changed_at = now
        self.offered: ResourceSet | None = None
        self.offered_demand = Demand()
        self.revision = 0
        self.acknowledged = NEVER
        self.last: DeltaStream | None = None

    @property
    def stream(self) -> DeltaStream | None:
        """The newest stream, closed or not."""
        return self.connections[-1].stream if self.connections else self.last

    @property
    def demand(self) -> Demand:
        streams = [connection.stream for connection in self.connections]
        if len(streams) == 1:
            return streams[0].demand
        return Demand(
            hosts=frozenset().union(*(stream.demand.hosts for stream in streams)),
            clusters=frozenset().union(*(stream.demand.clusters for stream in streams)),
        )


class Fleet:
    """All proxies. ``clock`` gives seconds that never go back."""

    def __init__(
        self, clock: Callable[[], float], limits: Limits | None = None, bounds: FleetLimits | None = None
    ) -> None:
        self.clock = clock
        self.limits = limits or Limits()
        self.bounds = bounds or FleetLimits()
        self.demands: Latest[int] = Latest(0)
        """Rises whenever a node came, went or asked for other names; ``take_changes`` says which."""
        self.counts: Counter[str] = Counter()
        self._nodes: dict[str, Node] = {}
        self._streams = 0
        self._changes: set[str] = set()
        self._waiters: list[tuple[int, set[str], anyio.Event]] = []
        self._quiet: list[tuple[set[str], anyio.Event]] = []

    # --- the control loop's side

    def take_changes(self) -> dict[str, Demand | None]:
        """Nodes whose demand or presence changed since the last call, with what they ask for now; None: gone."""
        changes, self._changes = self._changes, set()
        return {name: self.demand(name) for name in sorted(changes)}

    def demand(self, node: str) -> Demand | None:
        """What a connected node asks for; None when it is not connected."""
        known = self._nodes.get(node)
        return known.demand if known is not None and known.connections else None

    def nodes(self) -> tuple[str, ...]:
        """The connected nodes, sorted."""
        return tuple(sorted(name for name, node in self._nodes.items() if node.connections))

    def offer(self, node: str, resources: ResourceSet, demand: Demand, revision: int) -> None:
        """The newest state of a node, built for ``demand``, from revision ``revision`` of the store.

        Cheap when ``resources`` is the object offered before. A node that is not connected is ignored: it is offered
        its state when it comes, and ``take_changes`` says so.
        """
        known = self._nodes.get(node)
        if known is None or not known.connections:
            return
        known.offered, known.offered_demand, known.revision = resources, demand, revision
        now = self.clock()
        for connection in known.connections:
            self._note(known, connection.stream.offer(resources, demand, now))
            connection.pump(now)
        self._settle(known)

    def confirm_removals(self, node: str) -> int:
        """An operator wants the removals that the mass-removal guard holds back. Returns how many that are."""
        known = self._nodes.get(node)
        count = 0
        for connection in known.connections if known else ():
            now = self.clock()
            count += connection.stream.confirm_removals(now)
            connection.pump(now)
        return count

    async def settled(self, revision: int) -> None:
        """Wait until every connected proxy has answered what it was offered from ``revision`` or a later one.

        Proxies that were never offered anything, and those that go away meanwhile, are not waited for. A proxy that
        refused something has answered, too: see ``status``.
        """
        pending = {
            name
            for name, node in self._nodes.items()
            if node.connections and node.offered is not None and node.acknowledged < revision
        }
        if not pending:
            return
        waiter = (revision, pending, anyio.Event())
        self._waiters.append(waiter)
        try:
            await waiter[2].wait()
        finally:
            self._waiters = [other for other in self._waiters if other is not waiter]

    async def answered(self) -> None:
        """Wait until every proxy that is connected now has once answered everything it was offered, or has gone away."""
        pending = {
            name
            for name, node in self._nodes.items()
            if node.connections and node.offered is not None and not node.connections[-1].stream.settled
        }
        if not pending:
            return
        waiter = (pending, anyio.Event())
        self._quiet.append(waiter)
        try:
            await waiter[1].wait()
        finally:
            self._quiet = [other for other in self._quiet if other is not waiter]

    def status(self) -> tuple[NodeStatus, ...]:
        """Every node known, sorted by name."""
        return tuple(status for name in sorted(self._nodes) if (status := self.status_of(name)) is not None)

    def status_of(self, node: str) -> NodeStatus | None:
        known = self._nodes.get(node)
        if known is None or known.stream is None:
            return None
        return node_status(
            known.name,
            known.stream,
            streams=len(known.connections),
            since=known.changed_at,
            revisions=(known.revision, max(known.acknowledged, 0)),
            now=self.clock(),
            bounds=self.bounds,
        )

    def held(self, node: str) -> Mapping[str, tuple[Resource, ...]] | None:
        """What a proxy holds, by type, sorted by name; None when it is not known (any more).

        ``wire`` is empty for a resource that it brought from an earlier control plane and that is not wanted now.
        """
        known = self._nodes.get(node)
        if known is None or known.stream is None:
            return None
        return {
            type_url: tuple(one for _, one in sorted(channel.held.items()) if one.version != ABSENT)
            for type_url, channel in known.stream.channels.items()
            if channel.held
        }

    # --- the server's side

    def join(self, request: Request, peer: Peer) -> Connection:
        """A new stream, with its first request. Raises ``StreamRejectedError`` over a limit, or without a node id."""
        if self._streams >= self.bounds.streams:
            self.counts["streams_rejected"] += 1
            raise StreamRejectedError(f"this control plane serves at most {self.bounds.streams} streams")
        now = self.clock()
        before = self._nodes.get(request.node)
        stream = DeltaStream(self.limits, before.stream.refusals if before and before.stream else NO_REFUSALS)
        events = stream.receive(request, now)
        node = stream.node
        known = self._nodes.setdefault(node, Node(node, now))
        connection = Connection(stream, peer, now)
        known.connections.append(connection)
        known.changed_at = now
        known.acknowledged = NEVER
        self._streams += 1
        self.counts["streams"] += 1
        if len(known.connections) > self.bounds.streams_per_node:
            self.counts["streams_superseded"] += 1
            known.connections[0].peer.close(f"a newer stream has the node id {node}")
        if known.offered is not None:
            events += stream.offer(known.offered, known.offered_demand, now)
        self._note(known, events)
        self._changed(node)
        connection.pump(now)
        self._settle(known)
        return connection

    def receive(self, connection: Connection, request: Request) -> None:
        """A request of a stream; what it leads to is put into the outbox."""
        now = self.clock()
        stream = connection.stream
        events = stream.receive(request, now)
        node = self._nodes[stream.node]
        self._note(node, events)
        connection.pump(now)
        self._settle(node)

    def leave(self, connection: Connection) -> None:
        """The stream has ended. Every connection that joined leaves once."""
        node = self._nodes[connection.stream.node]
        now = self.clock()
        if connection is node.connections[-1]:
            node.last = connection.stream
        node.connections.remove(connection)
        node.changed_at = now
        self._streams -= 1
        if not node.connections:
            # The next stream may be another process that asks for other names: it waits for an offer of its own.
            node.offered = None
            self._release(node.name, revision=None)
        self._changed(node.name)

    def sweep(self) -> None:
        """What time alone brings about: call it about once a second."""
        now = self.clock()
        for node in tuple(self._nodes.values()):
            for connection in tuple(node.connections):
                writing = connection.writing_since
                if writing is not None and now - writing >= self.bounds.write_seconds:
                    self.counts["slow_readers"] += 1
                    connection.peer.close(f"a response was not read within {self.bounds.write_seconds:g} s")
                    continue
                deadline = connection.stream.deadline(now)
                if deadline is not None and deadline <= now:
                    connection.pump(now)
            if not node.connections and now - node.changed_at >= self.bounds.retain_seconds:
                del self._nodes[node.name]

    def close(self, reason: str) -> None:
        """End every stream, telling the clients why: the control plane stops."""
        for node in self._nodes.values():
            for connection in node.connections:
                connection.peer.close(reason)

    # --- both

    def _note(self, node: Node, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, DemandChanged):
                self._changed(node.name)
            elif isinstance(event, NamesRefused):
                self.counts["names_refused"] += event.count
            else:
                self.counts[_COUNTED[type(event)]] += 1

    def _changed(self, node: str) -> None:
        self._changes.add(node)
        self.demands.set(self.demands.value + 1)

    def _settle(self, node: Node) -> None:
        stream = node.connections[-1].stream if node.connections else None
        if stream is None or node.offered is None or not stream.settled:
            return
        self._rest(node.name)
        if node.acknowledged != node.revision:
            node.acknowledged = node.revision
            self._release(node.name, node.revision)

    def _rest(self, name: str) -> None:
        for pending, done in self._quiet:
            pending.discard(name)
            if not pending:
                done.set()

    def _release(self, name: str, revision: int | None) -> None:
        if revision is None:
            self._rest(name)
        for wanted, pending, done in self._waiters:
            if revision is None or revision >= wanted:
                pending.discard(name)
                if not pending:
                    done.set()
