"""Connection managers and TCP proxies."""

from __future__ import annotations

import pytest

from weft.envoy import api, connections
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.extensions.filters.network.tcp_proxy import v3 as tcp_proxy


def manager(side: Side, *, tunnels: bool = False) -> hcm.HttpConnectionManager:
    made = connections.http(connections.Http(name="l", place=Place(side, tunnels), routes="r"))
    return api.unpack_as(hcm.HttpConnectionManager, made.typed_config)


@pytest.mark.parametrize("side", list(Side))
def test_the_hardening_is_the_same_on_every_side(side: Side) -> None:
    made = manager(side)
    assert made.request_headers_timeout.ToMilliseconds() == connections.HEADERS_TIMEOUT
    assert made.normalize_path.value
    assert made.merge_slashes
    assert made.strip_trailing_host_dot
    (nobody,) = made.internal_address_config.cidr_ranges
    assert (nobody.address_prefix, nobody.prefix_len.value) == ("255.255.255.255", 32)
    assert made.server_header_transformation == hcm.HttpConnectionManager.PASS_THROUGH
    assert made.access_log


def test_only_the_edge_speaks_for_callers_and_forgets_the_port() -> None:
    for side in Side:
        made = manager(side)
        edge = side is Side.EDGE
        assert made.use_remote_address.value is edge
        assert made.skip_xff_append is not edge
        assert made.strip_any_host_port is edge
        (early,) = made.early_header_mutation_extensions
        assert b"x-envoy-" in early.typed_config.value
        assert (b"x-real-ip" in early.typed_config.value) is edge
        assert (b"x_real_ip" in early.typed_config.value) is edge
        assert (b"x_forwarded_client_cert" in early.typed_config.value) is (side is Side.INBOUND)
        assert b"x-forwarded-client-cert" not in early.typed_config.value
        assert (made.stream_idle_timeout.seconds > 0) is edge


def test_who_was_let_in_stays_for_a_day_at_most() -> None:
    for guarded, most in (("inbound|80", 86_400), ("", 0)):
        key = connections.Http(name="l", place=Place(Side.INBOUND, guarded=guarded), routes="r")
        made = api.unpack_as(hcm.HttpConnectionManager, connections.http(key).typed_config)
        assert made.common_http_protocol_options.max_stream_duration.seconds == most


def test_whoever_decides_sees_escaped_slashes_as_slashes() -> None:
    unescaping = {side for side in Side if manager(side).path_with_escaped_slashes_action == connections.UNESCAPE}
    assert unescaping == {Side.EDGE, Side.INBOUND}


def test_websockets_pass_everywhere_and_connect_where_it_is_understood() -> None:
    assert [item.upgrade_type for item in manager(Side.INBOUND).upgrade_configs] == ["websocket"]
    assert [item.upgrade_type for item in manager(Side.EGRESS, tunnels=True).upgrade_configs] == [
        "websocket",
        "CONNECT",
    ]


def test_routes_are_inline_or_asked_for() -> None:
    assert manager(Side.OUTBOUND).rds.route_config_name == "r"
    key = connections.Http(name="l", place=Place(Side.INBOUND), routes="r")
    made = connections.http(key, route.RouteConfiguration(name="inline"))
    assert api.unpack_as(hcm.HttpConnectionManager, made.typed_config).route_config.name == "inline"


def test_a_found_absence_is_explained_where_names_are_asked_for() -> None:
    assert manager(Side.OUTBOUND).local_reply_config.mappers[0].status_code.value == 502
    assert not manager(Side.EDGE).HasField("local_reply_config")


def test_tcp_goes_to_a_cluster_by_name_by_address_or_through_the_tunnel() -> None:
    fixed = api.unpack_as(tcp_proxy.TcpProxy, connections.tcp(connections.Tcp("l", "c")).typed_config)
    assert fixed.cluster == "c"
    state, proxy = connections.tcp_by_address("l")
    assert b"tcp|%DOWNSTREAM_LOCAL_ADDRESS%" in state.typed_config.value
    assert api.unpack_as(tcp_proxy.TcpProxy, proxy.typed_config).HasField("on_demand")
    tunnel = api.unpack_as(tcp_proxy.TcpProxy, connections.tunnel().typed_config)
    assert tunnel.tunneling_config.hostname == "%DYNAMIC_METADATA(weft.tunnel:target)%"
