"""What is delivered to the place where policy is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.envoy.opened import opened
from weft.envoy import api, extensions
from weft.envoy.extensions import Guarded
from weft.envoy.filters.rbac import Gate
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from weft.model.trust import Action, AuthPolicy, Guard

if TYPE_CHECKING:
    from weft.xds.protocol import Resource

DENY = AuthPolicy(source="AuthorizationPolicy/shop/no", action=Action.DENY)
ALLOW = AuthPolicy(source="AuthorizationPolicy/shop/yes", action=Action.ALLOW)


def chain(resource: Resource) -> filter_chain.FilterChainConfig:
    found = opened(core.TypedExtensionConfig, resource)
    assert found.name == resource.name
    return api.unpack_as(filter_chain.FilterChainConfig, found.typed_config)


def test_a_guard_that_asks_nothing_holds_no_filter() -> None:
    made = extensions.guarded(Guarded("inbound|80", Gate(Guard())))
    assert made.name == "inbound|80/policy"
    assert made.source == ""
    assert not chain(made).HasField("default_filter_chain")


def test_filters_stand_in_the_order_in_which_they_are_asked() -> None:
    made = extensions.guarded(Guarded("inbound|80", Gate(Guard(policies=(ALLOW,), default_deny=True))))
    assert [item.name for item in chain(made).default_filter_chain.filters] == ["envoy.filters.http.rbac.allow"]
    assert made.source == ALLOW.source


def test_what_envoy_would_refuse_is_replaced_by_a_closed_door() -> None:
    made = extensions.closed(Guarded("inbound|80", Gate(Guard(policies=(DENY,)))))
    assert [item.name for item in chain(made).default_filter_chain.filters] == ["envoy.filters.http.rbac.deny"]
