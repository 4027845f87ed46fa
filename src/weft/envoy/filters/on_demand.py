"""On demand: a request to a name that the proxy does not hold yet waits while the proxy asks for it.

Virtual hosts are asked for by Host header, clusters by name. A cluster normally arrives ahead of its virtual host;
asking for it is the net below, for the moment in which a route is already there and its cluster still warms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.envoy import api, common
from weft.envoy.protos.envoy.extensions.filters.http.on_demand import v3 as on_demand
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

if TYPE_CHECKING:
    from weft.envoy.filters.place import Place

NAME: Final = "envoy.filters.http.on_demand"
TIMEOUT: Final = 2_000
"""Milliseconds that a request waits for a cluster. An answer takes 3; only a hung control plane takes longer."""


def filter_(place: Place) -> hcm.HttpFilter | None:
    """First in its chain: no other filter may see a request before its route is known."""
    if not place.side.asks:
        return None
    clusters = on_demand.OnDemandCds(source=common.ads(), timeout=api.duration(TIMEOUT))
    return hcm.HttpFilter(name=NAME, typed_config=api.pack(on_demand.OnDemand(odcds=clusters)))
