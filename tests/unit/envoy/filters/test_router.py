"""The router."""

from __future__ import annotations

from weft.envoy import api
from weft.envoy.filters import router
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.extensions.filters.http.router import v3 as message


def test_it_tells_callers_nothing_about_envoy() -> None:
    made = router.filter_(Place(Side.EDGE))
    assert made is not None
    assert api.unpack_as(message.Router, made.typed_config).suppress_envoy_headers
