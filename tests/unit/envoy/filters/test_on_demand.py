"""The on-demand filter."""

from __future__ import annotations

from weft.envoy import api
from weft.envoy.filters import on_demand
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.extensions.filters.http.on_demand import v3 as message


def test_it_is_there_where_names_are_asked_for_and_does_not_wait_for_ever() -> None:
    made = on_demand.filter_(Place(Side.OUTBOUND))
    assert made is not None
    config = api.unpack_as(message.OnDemand, made.typed_config)
    assert config.odcds.timeout.seconds == 2
    assert on_demand.filter_(Place(Side.INBOUND)) is None
