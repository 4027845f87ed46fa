"""What is asked at the place that ``filters.policy`` keeps: one resource per listener, delivered apart from it (ECDS).

All of it is one resource, Envoy's filter that holds a chain of filters: a change of tokens and rules holds from one request
to the next as a whole, and what nothing asks for costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.envoy import api, common
from weft.envoy.filters import jwt_authn, policy, rbac
from weft.envoy.filters.rbac import Gate
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from weft.names import extension

if TYPE_CHECKING:
    from weft.xds.protocol import Resource


class Guarded(msgspec.Struct, frozen=True, cache_hash=True):
    """One listener's policy."""

    listener: str
    gate: Gate


def guarded(key: Guarded) -> Resource:
    """Tokens first, then whoever else is asked, then the rules. Source: Istio's order."""
    return _resource(key, [*jwt_authn.chain(key.gate.guard), *rbac.http(key.gate)])


def closed(key: Guarded) -> Resource:
    """Instead of what Envoy would refuse: nothing passes."""
    return _resource(key, [rbac.everybody_denied()])


def _resource(key: Guarded, filters: list[core.TypedExtensionConfig]) -> Resource:
    name = extension(key.listener, policy.NAME)
    config = filter_chain.FilterChainConfig()
    if filters:
        config.default_filter_chain.filters.extend(filters)
    made = core.TypedExtensionConfig(name=name, typed_config=api.pack(config))
    guard = key.gate.guard
    asked = [each.source for each in guard.issuers] + [each.source for each in guard.policies]
    return common.resource(name, made, asked[0] if asked else "")
