"""The values of the delta xDS protocol.

Source: Envoy's xDS protocol page, "Incremental xDS". A resource is serialised once, wrapped in its
``envoy.service.discovery.v3.Resource`` message, and those bytes are shared by every stream that sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

CLUSTER: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES: Final = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
VIRTUAL_HOST: Final = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
EXTENSION: Final = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

SEND_ORDER: Final = (CLUSTER, ENDPOINTS, LISTENER, EXTENSION, ROUTES, VIRTUAL_HOST)
"""Make before break: additions and changes in this order, removals in the opposite one."""

WILDCARD_TYPES: Final = frozenset({CLUSTER, LISTENER})
"""The types whose first, empty subscription means everything. Source: xDS protocol page, resource hints."""

ABSENT: Final = "absent"
"""The version of the answer that a virtual host does not exist (see ``wire.encode_absent``)."""

METHOD: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


class Resource(msgspec.Struct, frozen=True):
    """One named resource. ``version`` is a content hash; ``wire`` is the serialised discovery ``Resource`` message.

    ``source`` names the user's object, so that a refusal can be shown where it belongs.
    """

    name: str
    version: str
    wire: bytes
    source: str = ""


class ResourceSet(msgspec.Struct, frozen=True):
    """All resources that one proxy shall have, by type URL and name. Equal inputs return the same Resource objects."""

    types: Mapping[str, Mapping[str, Resource]]

    def of(self, type_url: str) -> Mapping[str, Resource]:
        return self.types.get(type_url, _NOTHING)


_NOTHING: Final[Mapping[str, Resource]] = MappingProxyType({})
EMPTY: Final = ResourceSet(types=MappingProxyType({}))


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says in one ``DeltaDiscoveryRequest``. ``error`` is None unless it is a NACK.

    ``node`` is the node id; only the first request on a stream is sure to carry it. ``initial`` is what the client
    holds from an earlier stream: name to version.
    """

    type_url: str
    node: str = ""
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial: Mapping[str, str] = MappingProxyType({})
    nonce: str = ""
    error: str | None = None
    unread: int = 0
    """Names beyond the bound that were not even read."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one resource that a proxy rejected (NACK). It is not sent again until its version changes.

    ``version`` is empty when the removal of the resource was rejected. ``source`` names the user's object, ``detail``
    is what the proxy said, ``at`` the stream's clock in seconds.
    """

    node: str
    type_url: str
    name: str
    version: str
    source: str
    detail: str
    at: float


class Acknowledged(msgspec.Struct, frozen=True):
    """The client took a response of this type (ACK), so many additions and removals."""

    type_url: str
    added: int
    removed: int


class Rejected(msgspec.Struct, frozen=True):
    """The client rejected a response of this type (NACK). Refusals follow when the bad resources are found."""

    type_url: str
    detail: str


class DemandChanged(msgspec.Struct, frozen=True):
    """The names that the client asks for on demand are others than before; ``DeltaStream.demand`` has them."""


class Withheld(msgspec.Struct, frozen=True):
    """The mass-removal guard holds back ``count`` removals out of ``held`` until an operator confirms them."""

    type_url: str
    count: int
    held: int


class NamesRefused(msgspec.Struct, frozen=True):
    """So many names over the limits were answered as not existing, or not at all (``Limits.names``), and are not remembered."""

    type_url: str
    count: int


Event = Acknowledged | Rejected | Refusal | DemandChanged | Withheld | NamesRefused


class StreamRejectedError(Exception):
    """The client broke the protocol or a limit so that its stream must be closed; the text says how."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may ask for, and how long it is waited for.

    The values are chosen so that a proxy whose application calls ten thousand hosts works, and a hostile client costs
    a few megabytes: names times their length, types, and one un-ACKed response of ``batch_bytes`` per type.
    """

    names: int = 10_000
    """Names subscribed per type; more are answered as not existing, at most so many at a time. Of one request twice as many are
    read: nobody waits for those beyond, for who waits for a name asks for it alone.
    """
    name_bytes: int = 512
    types: int = 16
    request_bytes: int = 4 * 1024 * 1024
    """A reconnecting proxy lists all names and versions that it has in one request: 10,000 of 190 characters, each twice."""
    small_bytes: int = 64 * 1024
    """A larger request waits for its turn (``turns``): a name that is asked for on demand never comes in one."""
    large_requests: int = 16
    """Of one stream. A client lists what it has once for each type, when it comes."""
    waiting_bytes: int = 16 * 1024 * 1024
    """Of all large requests that wait."""
    batch_bytes: int = 1024 * 1024
    """A response is closed when it is this large; the rest follows after its ACK. One larger resource goes alone."""
    nacks: int = 40
    nack_window_seconds: float = 10.0
    """At most ``nacks`` rejections of one type per window; then that type is not sent until the window has moved on."""
    patience_seconds: float = 5.0
    """How long a type waits for the ACK of earlier types before it is sent regardless."""
    introduction_seconds: float = 1.0
    """Nothing is removed so long after a client said what it holds: what it asks for, it says one type after the other."""
    guard_minimum: int = 10
    guard_share: float = 0.5
    """More than ``guard_minimum`` removals and more than this share of a type at once need an operator's word."""
