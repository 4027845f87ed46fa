"""Forward proxy: with ``outboundTraffic: allowAny``, the address of an unknown name is looked up in DNS.

The filter acts only on requests whose route leads to the passthrough cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.envoy import api, clusters
from weft.envoy.protos.envoy.extensions.filters.http.dynamic_forward_proxy import v3 as forward_proxy
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

if TYPE_CHECKING:
    from weft.envoy.filters.place import Place

NAME: Final = "envoy.filters.http.dynamic_forward_proxy"


def filter_(place: Place) -> hcm.HttpFilter | None:
    if not place.looks_up:
        return None
    config = forward_proxy.FilterConfig(dns_cache_config=clusters.forward_cache())
    return hcm.HttpFilter(name=NAME, typed_config=api.pack(config))
