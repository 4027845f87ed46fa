"""The host proxy's listeners and clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.envoy import api, relay
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.extensions.filters.network.tcp_proxy import v3 as tcp_proxy
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.validation import Validator
from weft.model.service import Address

if TYPE_CHECKING:
    from weft.xds.protocol import Resource

SNI = "8080.a.shop.anna.h.weft"


def listener_of(resource: Resource) -> listener.Listener:
    made = api.unpack_as(listener.Listener, discovery.Resource.FromString(resource.wire).resource)
    assert list(Validator().violations(made)) == []
    return made


def cluster_of(resource: Resource) -> cluster.Cluster:
    made = api.unpack_as(cluster.Cluster, discovery.Resource.FromString(resource.wire).resource)
    assert list(Validator().violations(made)) == []
    return made


def passed_on(chain: listener.FilterChain) -> str:
    return api.unpack_as(tcp_proxy.TcpProxy, chain.filters[-1].typed_config).cluster


def test_the_outer_listener_is_a_constant_that_makes_the_clusters_name_of_the_sni() -> None:
    made = listener_of(relay.outer(Address(ip="10.0.0.1", port=15008)))
    [chain] = made.filter_chains
    assert "relay|%REQUESTED_SERVER_NAME%" in str(api.to_json(made))
    assert passed_on(chain) == "blackhole", "what names nothing leads nowhere"
    assert made.listener_filters_timeout.seconds == 2
    assert [option.name for option in made.socket_options] == [18]


def test_the_inner_listener_finds_the_host_by_the_end_of_the_name() -> None:
    made = listener_of(relay.inner(relay.Inside(Address(path="/r/relay.sock"), ("bert.h.weft", "cleo.h.weft"))))
    found = {tuple(chain.filter_chain_match.server_names): passed_on(chain) for chain in made.filter_chains}
    assert found == {
        ("*.bert.h.weft",): "relay-host|bert.h.weft",
        ("*.cleo.h.weft",): "relay-host|cleo.h.weft",
    }
    assert passed_on(made.default_filter_chain) == "blackhole"
    assert made.address.pipe.mode == 0o600


def test_a_hosts_own_sockets_and_other_hosts_can_not_be_confused_by_any_sni() -> None:
    local = cluster_of(relay.cluster(relay.Way(SNI, Address(path="/r/in.sock"))))
    remote = cluster_of(relay.cluster(relay.Way("bert.h.weft", Address(ip="10.0.0.2", port=15008), remote=True)))
    assert local.name == f"relay|{SNI}"
    assert not remote.name.startswith("relay|")
    assert not local.health_checks
    [look] = remote.health_checks
    assert look.unhealthy_interval.ToMilliseconds() < look.interval.ToMilliseconds(), "one that is back is soon seen"
    assert remote.close_connections_on_host_health_failure
    assert remote.common_lb_config.healthy_panic_threshold.value == 0
    assert [option.name for option in remote.upstream_bind_config.socket_options] == [18]


def test_the_way_to_the_door_is_static_and_private() -> None:
    made = relay.door_for_captured(Address(path="/r/door.sock"))
    assert made.address.pipe.mode == 0o600
    assert not made.listener_filters
    assert passed_on(made.filter_chains[0]) == relay.to_door(Address(ip="10.0.0.1", port=15012)).name
