"""How far each proxy is, as values for the CLI, the dashboard and metrics."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from weft.xds.protocol import Refusal

if TYPE_CHECKING:
    from weft.xds.channel import Channel
    from weft.xds.stream import DeltaStream


class FleetLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds over all streams, and the times after which a proxy is called slow."""

    streams: int = 4000
    streams_per_node: int = 2
    """Two processes of one node exist during a hot restart."""
    write_seconds: float = 10.0
    """A client that does not read for so long is disconnected; it comes back when it can."""
    stale_seconds: float = 30.0
    """A type that is behind for so long is STALE, not SENDING."""
    retain_seconds: float = 600.0


class SyncState(enum.Enum):
    """``SENDING``: newer resources are on their way. ``STALE``: for longer than they should be. ``REFUSED``: the proxy
    rejected a version of at least one resource and keeps the one before."""

    SYNCED = "SYNCED"
    SENDING = "SENDING"
    STALE = "STALE"
    REFUSED = "REFUSED"


class TypeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One resource type of one proxy. ``seconds``: since when it is in that state, or since its last ACK if SYNCED.

    ``withheld``: removals that wait for an operator (mass-removal guard).
    """

    type_url: str
    state: SyncState
    seconds: float
    held: int
    subscribed: int
    wildcard: bool
    withheld: int
    refusals: tuple[Refusal, ...]


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One proxy. ``seconds``: since its last stream came or went. Revisions are those of the store."""

    node: str
    connected: bool
    seconds: float
    streams: int
    offered_revision: int
    acknowledged_revision: int
    types: tuple[TypeStatus, ...]

    @property
    def state(self) -> SyncState:
        """The worst state of any type."""
        states = {status.state for status in self.types}
        worst = (SyncState.REFUSED, SyncState.STALE, SyncState.SENDING)
        return next((state for state in worst if state in states), SyncState.SYNCED)


def node_status(
    node: str,
    stream: DeltaStream,
    *,
    streams: int,
    since: float,
    revisions: tuple[int, int],
    now: float,
    bounds: FleetLimits,
) -> NodeStatus:
    return NodeStatus(
        node=node,
        connected=streams > 0,
        seconds=now - since,
        streams=streams,
        offered_revision=revisions[0],
        acknowledged_revision=revisions[1],
        types=tuple(_type_status(channel, now, since, bounds) for _, channel in sorted(stream.channels.items())),
    )


def _type_status(channel: Channel, now: float, since: float, bounds: FleetLimits) -> TypeStatus:
    refusals = tuple(refusal for _, refusal in sorted(channel.refused.items()))
    if refusals:
        state, start = SyncState.REFUSED, max(refusal.at for refusal in refusals)
    elif channel.behind_since is not None:
        start = channel.behind_since
        state = SyncState.STALE if now - start >= bounds.stale_seconds else SyncState.SENDING
    else:
        state, start = SyncState.SYNCED, channel.acknowledged_at if channel.acknowledged_at is not None else since
    return TypeStatus(
        type_url=channel.type_url,
        state=state,
        seconds=now - start,
        held=len(channel.held),
        subscribed=len(channel.subscription.names),
        wildcard=channel.subscription.wildcard,
        withheld=len(channel.withheld),
        refusals=refusals,
    )
