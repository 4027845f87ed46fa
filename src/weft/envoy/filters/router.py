"""Router: the last filter of every chain, which sends the request on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.envoy import api
from weft.envoy.protos.envoy.extensions.filters.http.router import v3 as router
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

if TYPE_CHECKING:
    from weft.envoy.filters.place import Place

NAME: Final = "envoy.filters.http.router"


def filter_(_place: Place) -> hcm.HttpFilter | None:
    return made()


def made() -> hcm.HttpFilter:
    """``x-envoy-*`` headers on responses would tell callers how we are built; only our logs need what they say."""
    return hcm.HttpFilter(name=NAME, typed_config=api.pack(router.Router(suppress_envoy_headers=True)))
