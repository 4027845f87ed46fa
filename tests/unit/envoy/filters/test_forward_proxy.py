"""The forward proxy."""

from __future__ import annotations

from weft.envoy import api, clusters
from weft.envoy.filters import forward_proxy
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.extensions.filters.http.dynamic_forward_proxy import v3 as message


def test_it_shares_its_cache_with_the_cluster() -> None:
    made = forward_proxy.filter_(Place(Side.EGRESS, looks_up=True))
    assert made is not None
    assert api.unpack_as(message.FilterConfig, made.typed_config).dns_cache_config == clusters.forward_cache()
    assert forward_proxy.filter_(Place(Side.EGRESS)) is None
