"""A delta xDS stream as a state machine without I/O: requests and offers go in, responses as bytes and events come out.

Theory. The client subscribes to names, or to everything, of several resource types over one stream. The server sends
named resources with versions; the client answers each response, found by its nonce, with an ACK or a NACK. A stream is
therefore one ``Channel`` per type (what is held, on its way, refused) plus the order between types, which lives here.
The shell around it does three things: give it each request (``receive``), give it the newest state (``offer``), and
after either, or when ``deadline`` has passed, write what ``take`` returns. Nothing here waits, reads a clock or fails
because a client is slow.

The order (make before break; xDS protocol page, "Eventual consistency considerations"):

- Additions and changes go in ``SEND_ORDER``. Listeners, routes and virtual hosts wait until the earlier types have
  nothing to send and no ACK outstanding. Envoy delays the ACK of clusters until they are warm, so an ACKed cluster
  can be used.
- Endpoints never wait for the ACK of clusters: clusters warm by them. After every (re)send of a cluster its endpoints
  are sent again, changed or not, or a changed cluster never finishes warming.
- A virtual host that the client does not have waits for no ACK: a request is waiting for it. It only follows the endpoints
  of clusters that are on their way, which the client asks for at once: a request that finds its cluster not warm yet makes
  Envoy ask for the cluster by name, which costs the request another round of cluster, endpoints and warming.
- Removals go in the opposite order, after all additions are ACKed. A client that comes back brings its clusters first and
  asks for its virtual hosts a moment later: until then nothing that it brought is known to be useless, so removals wait.
- Nobody waits for longer than ``Limits.patience_seconds``: a type that the client never ACKs must not stop the others.

On demand: a name of a virtual host or cluster that is asked for may be one nobody has computed yet. It is answered as
not existing only when the offer was made for a ``Demand`` that contains it; until then its answer waits for the next
offer.
Before the first offer nothing is sent at all, so a control plane without synced sources removes nothing.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weft.model.view import Demand
from weft.names import OUTBOUND, parse_virtual_host
from weft.xds.channel import Batch, Channel
from weft.xds.protocol import (
    CLUSTER,
    ENDPOINTS,
    SEND_ORDER,
    VIRTUAL_HOST,
    Acknowledged,
    DemandChanged,
    Event,
    Limits,
    NamesRefused,
    Rejected,
    StreamRejectedError,
    Withheld,
)
from weft.xds.wire import encode_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weft.xds.protocol import Refusal, Request, ResourceSet

_WAITS_FOR: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        type_url: () if type_url in (CLUSTER, ENDPOINTS) else SEND_ORDER[:position]
        for position, type_url in enumerate(SEND_ORDER)
    }
)
NO_REFUSALS: Final[Mapping[str, Mapping[str, Refusal]]] = MappingProxyType({})


class DeltaStream:
    """The server's side of one stream.

    ``refusals``, by type and name, is what an earlier stream of the same node learnt; it holds for a type whose first
    request says that the client still has resources of it, that is for a reconnect and not for a new process.
    """

    def __init__(self, limits: Limits, refusals: Mapping[str, Mapping[str, Refusal]] = NO_REFUSALS) -> None:
        self.node = ""
        self.limits = limits
        self.demand = Demand()
        self.channels: dict[str, Channel] = {}
        self._refusals = refusals
        self._offered: ResourceSet | None = None
        self._offered_demand: Demand | None = None
        self._nonce = 0
        self._removals_from: float | None = None
        """When removals may begin; None for now."""
        self._order: tuple[str, ...] = SEND_ORDER

    # --- what comes in

    def receive(self, request: Request, now: float) -> list[Event]:
        """Take one request. Raises ``StreamRejectedError`` when the stream must be closed."""
        if not self.node:
            self._introduce(request)
        channel = self._channel(request.type_url)
        events = self._answer(channel, request, now) if request.nonce else []
        if not channel.started or request.subscribe or request.unsubscribe:
            events += self._subscribe(channel, request, now)
        return events

    def expects(self, until: float) -> None:
        """A request has come that is not read yet, and may say what is needed: nothing is removed before, or ``until``."""
        if self._removals_from is not None:
            self._removals_from = max(self._removals_from, until)

    def _introduce(self, request: Request) -> None:
        # Only the first request is sure to say who the client is; what later ones say is not looked at.
        if not request.node:
            raise StreamRejectedError("the first request has no node.id")
        if len(request.node.encode()) > self.limits.name_bytes:
            raise StreamRejectedError(f"node.id is longer than {self.limits.name_bytes} bytes")
        self.node = request.node

    def _channel(self, type_url: str) -> Channel:
        channel = self.channels.get(type_url)
        if channel is None:
            if not type_url:
                raise StreamRejectedError("a request without type_url")
            if len(self.channels) >= self.limits.types or len(type_url) > self.limits.name_bytes:
                raise StreamRejectedError(f"more than {self.limits.types} resource types on one stream")
            channel = Channel(type_url, self.limits, self._refusals.get(type_url, {}))
            self.channels[type_url] = channel
            if type_url not in self._order:
                self._order = (*self._order, type_url)
        return channel

    def _answer(self, channel: Channel, request: Request, now: float) -> list[Event]:
        """An ACK or a NACK. One for another nonce than that on its way is stale: it says nothing about what is."""
        if channel.sent is None or channel.sent.nonce != request.nonce:
            return []
        if request.error is None:
            batch = channel.acknowledge(now)
            return [Acknowledged(channel.type_url, len(batch.added), len(batch.removed))] if batch else []
        refusal = channel.reject(self.node, request.error, now)
        rejected = Rejected(channel.type_url, request.error)
        return [rejected, refusal] if refusal else [rejected]

    def _subscribe(self, channel: Channel, request: Request, now: float) -> list[Event]:
        first = not channel.started
        if first and request.initial:
            self._removals_from = now + self.limits.introduction_seconds
        withheld = channel.withheld
        change = channel.subscribe(request, now)
        if first and self._offered is not None:
            channel.offer(self._offered.of(channel.type_url), self._answers(channel.type_url), now)
        events: list[Event] = []
        if refused := len(change.refused) + request.unread:
            events.append(NamesRefused(channel.type_url, refused))
        if channel.type_url in (CLUSTER, VIRTUAL_HOST) and self._refresh_demand():
            events.append(DemandChanged())
        return events + _withheld(channel, withheld)

    def _refresh_demand(self) -> bool:
        hosts, clusters = self.channels.get(VIRTUAL_HOST), self.channels.get(CLUSTER)
        demand = Demand(
            hosts=frozenset(
                host
                for route, host in map(parse_virtual_host, hosts.subscription.names if hosts else ())
                if route == OUTBOUND and host
            ),
            clusters=frozenset(clusters.subscription.names) if clusters else frozenset(),
        )
        changed = demand != self.demand
        self.demand = demand
        return changed

    def offer(self, resources: ResourceSet, demand: Demand, now: float) -> list[Event]:
        """The newest state of this node, made for ``demand``. Replaces the one before, sent or not."""
        if resources is self._offered and demand == self._offered_demand:
            return []
        self._offered, self._offered_demand = resources, demand
        events: list[Event] = []
        for type_url, channel in self.channels.items():
            if channel.started:
                withheld = channel.withheld
                channel.offer(resources.of(type_url), self._answers(type_url), now)
                events += _withheld(channel, withheld)
        return events

    def _answers(self, type_url: str) -> Callable[[str], bool]:
        """Whether the newest offer knows that a name of this type, which is not in it, does not exist."""
        demand = self._offered_demand or Demand()
        if type_url == CLUSTER:
            return lambda name: name in demand.clusters
        if type_url == VIRTUAL_HOST:
            return lambda name: _host_known(name, demand)
        return lambda _: True

    def confirm_removals(self, now: float) -> int:
        """An operator wants what the mass-removal guard holds back. Returns how many removals that are."""
        count = 0
        for channel in self.channels.values():
            count += len(channel.withheld)
            if channel.withheld:
                channel.confirm(now)
        return count

    # --- what goes out

    def take(self, now: float) -> list[bytes]:
        """The responses that may be sent now, in the order in which they must be written."""
        if self._offered is None or not any(channel.waiting_since is not None for channel in self.channels.values()):
            return []
        out: list[bytes] = []
        for type_url in self._order:
            channel = self.channels.get(type_url)
            if channel is None or channel.waiting_since is None:
                continue
            batch = channel.next_additions(now, self._gate(channel, now))
            if batch is not None:
                out.append(self._send(channel, batch, now))
        if self._removals_from is not None and now >= self._removals_from:
            self._removals_from = None
        if self._removals_from is None and not any(self._busy(channel, now) for channel in self.channels.values()):
            out += self._removals(now)
        return out

    def _gate(self, channel: Channel, now: float) -> Callable[[str], bool]:
        """Which names of a channel may be added now."""
        waits_for = _WAITS_FOR.get(channel.type_url, ())
        waited = channel.waiting_since is not None and now - channel.waiting_since >= self.limits.patience_seconds
        if waited or not any(self._busy(self.channels.get(earlier), now) for earlier in waits_for):
            return lambda _: True
        if channel.type_url == VIRTUAL_HOST and not self._warming():
            return lambda name: name not in channel.held
        return lambda _: False

    def _warming(self) -> bool:
        """Whether a cluster is on its way whose endpoints the client has yet to ask for."""
        clusters, endpoints = self.channels.get(CLUSTER), self.channels.get(ENDPOINTS)
        if clusters is None or clusters.sent is None or self._offered is None:
            return False
        known = self._offered.of(ENDPOINTS)
        return any(
            resource.name in known and not (endpoints and endpoints.has(resource.name))
            for resource in clusters.sent.added
        )

    def _busy(self, channel: Channel | None, now: float) -> bool:
        if channel is None:
            return False
        if channel.sent is not None:
            return now - channel.sent.at < self.limits.patience_seconds
        return channel.waiting_since is not None and channel.has_additions

    def _removals(self, now: float) -> list[bytes]:
        for type_url in reversed(self._order):
            channel = self.channels.get(type_url)
            if channel is None:
                continue
            batch = channel.next_removals() if channel.waiting_since is not None else None
            if batch is not None:
                return [self._send(channel, batch, now)]
        return []

    def _send(self, channel: Channel, batch: Batch, now: float) -> bytes:
        self._nonce += 1
        batch.nonce, batch.at = f"{self._nonce:x}", now
        channel.sent = batch
        if channel.type_url == CLUSTER and batch.added:
            endpoints = self.channels.get(ENDPOINTS)
            if endpoints is not None:
                endpoints.resend((resource.name for resource in batch.added), now)
        return encode_response(
            channel.type_url, batch.nonce, [resource.wire for resource in batch.added], batch.removed
        )

    # --- time and state

    def deadline(self, now: float) -> float | None:
        """When ``take`` may have something to say although nothing came in; None if it will not."""
        times: list[float] = []
        for channel in self.channels.values():
            if channel.waiting_since is not None and self._offered is not None:
                times.append(max(channel.waiting_since, channel.sent.at if channel.sent else 0.0))
                times[-1] += self.limits.patience_seconds
                if self._removals_from is not None:
                    times.append(self._removals_from)
                pause = channel.paused_until(now)
                if pause is not None:
                    times.append(pause)
        return min(times, default=None)

    @property
    def unacknowledged_since(self) -> float | None:
        """When the oldest response that is not answered yet was sent."""
        return min((channel.sent.at for channel in self.channels.values() if channel.sent), default=None)

    @property
    def settled(self) -> bool:
        """The client has answered everything that was offered, and nothing waits to be sent."""
        return self._offered is not None and all(
            channel.sent is None and channel.waiting_since is None for channel in self.channels.values()
        )

    @property
    def refusals(self) -> dict[str, dict[str, Refusal]]:
        """What the client refuses now, by type and name."""
        return {url: dict(channel.refused) for url, channel in self.channels.items() if channel.refused}


def _withheld(channel: Channel, before: frozenset[str]) -> list[Event]:
    if not channel.withheld or channel.withheld == before:
        return []
    return [Withheld(channel.type_url, len(channel.withheld), len(channel.held))]


def _host_known(name: str, demand: Demand) -> bool:
    route, host = parse_virtual_host(name)
    return route != OUTBOUND or not host or host in demand.hosts
