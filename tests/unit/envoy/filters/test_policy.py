"""The place where policy is asked."""

from __future__ import annotations

from weft.envoy.filters import policy
from weft.envoy.filters.place import Place, Side


def test_nothing_is_asked_where_nothing_guards() -> None:
    assert policy.filter_(Place(Side.OUTBOUND)) is None


def test_what_is_asked_is_delivered_apart_from_the_listener_and_has_no_default() -> None:
    made = policy.filter_(Place(Side.INBOUND, guarded="inbound|80"))
    assert made is not None
    assert made.name == "inbound|80/policy"
    assert made.config_discovery.config_source.HasField("ads")
    assert not made.config_discovery.HasField("default_config")
    assert not made.is_optional
    assert not made.config_discovery.apply_default_config_without_warming
