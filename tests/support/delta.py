"""A delta xDS client in memory, for tests: it keeps what it accepts, and refuses what it is told to refuse.

It knows nothing of the server under test but the protocol, and reads responses with the real message class.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.protos.google import protobuf as wkt
from weft.model.view import Demand
from weft.xds.protocol import Limits, Request, Resource, ResourceSet
from weft.xds.stream import DeltaStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def resource(type_url: str, name: str, content: bytes = b"", source: str = "") -> Resource:
    """One resource whose version is the hash of its content."""
    version = hashlib.sha256(content).hexdigest()[:12]
    wire = discovery.Resource(name=name, version=version, resource=wkt.Any(type_url=type_url, value=content))
    return Resource(name=name, version=version, wire=wire.SerializeToString(deterministic=True), source=source)


def resources(*by_type: tuple[str, Iterable[Resource]]) -> ResourceSet:
    return ResourceSet(types={type_url: {one.name: one for one in some} for type_url, some in by_type})


class Client:
    """``held``: content by type and name. ``refuses``: contents that it rejects; ``strict``: with all that came along.

    ``whole`` says that one refused resource makes it apply nothing of the response, as Envoy does for a broken API
    constraint; otherwise the good ones are applied, as for a semantic error.
    """

    def __init__(self, node: str = "n") -> None:
        self.node = node
        self.held: dict[str, dict[str, bytes]] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.wants: dict[str, set[str]] = {}
        self.refuses: set[bytes] = set()
        self.whole = False
        self.names_culprits = True
        self.received: list[discovery.DeltaDiscoveryResponse] = []

    def subscribe(self, type_url: str, *names: str, initial: Mapping[str, str] | None = None) -> Request:
        self.wants.setdefault(type_url, set()).update(names)
        return Request(type_url=type_url, node=self.node, subscribe=names, initial=initial or {})

    def unsubscribe(self, type_url: str, *names: str) -> Request:
        self.wants.setdefault(type_url, set()).difference_update(names)
        for name in names:
            if "*" not in self.wants[type_url] and name != "*":
                self.held.get(type_url, {}).pop(name, None)
                self.versions.get(type_url, {}).pop(name, None)
        return Request(type_url=type_url, unsubscribe=names)

    def reconnect(self, type_url: str) -> Request:
        """The first request of this type on a new stream: all names, and the versions of what is held."""
        names = tuple(sorted(self.wants.get(type_url, ())))
        return self.subscribe(type_url, *names, initial=dict(self.versions.get(type_url, {})))

    def take(self, data: bytes) -> Request:
        """Apply one response and answer it."""
        response = discovery.DeltaDiscoveryResponse.FromString(data)
        self.received.append(response)
        held = self.held.setdefault(response.type_url, {})
        versions = self.versions.setdefault(response.type_url, {})
        wants = self.wants.setdefault(response.type_url, set())
        bad = [one.name for one in response.resources if one.resource.value in self.refuses]
        if not (bad and self.whole):
            for one in response.resources:
                if not one.HasField("resource"):
                    held.pop(one.name, None)
                    versions.pop(one.name, None)
                elif one.name not in bad and not wants.isdisjoint(("*", one.name)):
                    held[one.name] = one.resource.value
                    versions[one.name] = one.version
            for name in response.removed_resources:
                held.pop(name, None)
                versions.pop(name, None)
        error = None
        if bad:
            error = f"Error adding {', '.join(bad)}: bad" if self.names_culprits else "a constraint is broken"
        return Request(type_url=response.type_url, nonce=response.nonce, error=error)


def named(response: discovery.DeltaDiscoveryResponse) -> tuple[list[str], list[str]]:
    """The names in one response: sent and removed."""
    return [one.name for one in response.resources], list(response.removed_resources)


NO_DEMAND = Demand()
Said = tuple[str, list[str], list[str]]


class Talk:
    """A stream and a client beside it; ``said`` reads what the stream wants to say now."""

    def __init__(self, limits: Limits | None = None, stream: DeltaStream | None = None) -> None:
        self.stream = stream or DeltaStream(limits or Limits())
        self.client = Client()
        self.now = 0.0
        self.open: list[bytes] = []

    def ask(self, type_url: str, *names: str, drop: tuple[str, ...] = ()) -> list[object]:
        self.client.wants.setdefault(type_url, set()).update(names or ("*",))
        request = Request(type_url=type_url, node="n", subscribe=names, unsubscribe=drop)
        return list(self.stream.receive(request, self.now))

    def offer(self, *by_type: tuple[str, list[Resource]], demand: Demand = NO_DEMAND) -> list[object]:
        return list(self.stream.offer(resources(*by_type), demand, self.now))

    def said(self) -> list[Said]:
        out = self.stream.take(self.now)
        self.open += out
        return [read(data) for data in out]

    def answer(self) -> list[object]:
        """The client takes and answers all that is on its way."""
        events: list[object] = []
        while self.open:
            events += self.stream.receive(self.client.take(self.open.pop(0)), self.now)
        return events

    def rest(self) -> list[Said]:
        """Talk until nobody has anything to say; gives all that was said."""
        all_said: list[Said] = []
        while said := self.said():
            all_said += said
            self.answer()
        return all_said


def read(data: bytes) -> Said:
    response = discovery.DeltaDiscoveryResponse.FromString(data)
    return (response.type_url, *named(response))


def of(type_url: str, *names: str, version: str = "") -> tuple[str, list[Resource]]:
    return type_url, [resource(type_url, name, (name + version).encode()) for name in names]
