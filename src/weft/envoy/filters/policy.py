"""Policy: the place in a chain where tokens, authorizers and rules are asked, whatever there is to ask.

The listener only says where; what is asked there is a resource of its own (``weft.envoy.extensions``), so that a changed
policy holds for the next request on every connection and no listener drains. There is no default: until the resource is
there, nothing passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.envoy import api, common
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.names import extension

if TYPE_CHECKING:
    from weft.envoy.filters.place import Place

NAME: Final = "policy"


def filter_(place: Place) -> hcm.HttpFilter | None:
    """Wherever calls arrive that a guard may refuse."""
    if not place.guarded:
        return None
    source = core.ExtensionConfigSource(
        config_source=common.ads(), type_urls=[api.type_url(filter_chain.FilterChainConfig)]
    )
    return hcm.HttpFilter(name=extension(place.guarded, NAME), config_discovery=source)
