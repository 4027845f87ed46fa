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

SEND_ORDER: Final = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, VIRTUAL_HOST)
"""Make before break: additions and changes in this order, removals in the opposite one."""


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
