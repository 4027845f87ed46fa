"""The HTTP filters of a chain. Their order is data: one tuple, and to add a filter is one file and one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.envoy.filters import cors, forward_proxy, on_demand, policy, router

if TYPE_CHECKING:
    from weft.envoy.filters.place import Place
    from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

ORDER: Final = (on_demand.filter_, cors.filter_, policy.filter_, forward_proxy.filter_, router.filter_)
"""Routes must be known before anything reads them; CORS answers preflights, which carry no token, before policy refuses them;
the forward proxy needs the final Host; the router is last.
"""


def http_filters(place: Place) -> list[hcm.HttpFilter]:
    """Those filters that have something to do at ``place``, in order."""
    return [made for make in ORDER if (made := make(place))]
