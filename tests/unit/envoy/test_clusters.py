"""Clusters from upstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.envoy.opened import opened
from weft.envoy import api, clusters, common
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.extensions.transport_sockets.internal_upstream import v3 as internal_upstream
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.protos.envoy.extensions.upstreams.http import v3 as http
from weft.model.policy import CircuitBreaker, OutlierDetection, ServicePolicy
from weft.model.service import Address, ExternalAddress, Protocol, WorkloadPort
from weft.model.trust import Peers, Shape
from weft.model.view import Upstream
from weft.values import Milliseconds

if TYPE_CHECKING:
    from weft.envoy.protos.envoy.config.core import v3 as core


def made(upstream: Upstream, *, edge: bool = False) -> cluster.Cluster:
    return opened(cluster.Cluster, clusters.outbound(clusters.Outbound(upstream, edge)))


def options(message: cluster.Cluster) -> http.HttpProtocolOptions:
    return api.unpack_as(http.HttpProtocolOptions, message.typed_extension_protocol_options[common.HTTP_OPTIONS])


def test_a_service_of_the_mesh_has_its_endpoints_elsewhere_and_its_policy_here() -> None:
    policy = ServicePolicy(
        connect_timeout=Milliseconds(1_500),
        outlier=OutlierDetection(consecutive_errors=3, max_ejection_percent=40),
        breaker=CircuitBreaker(max_requests=7, retry_budget_percent=25, min_retry_concurrency=2),
    )
    message = made(Upstream(name="c", protocol=Protocol.TCP, source="Service/a/b", policy=policy))
    assert message.type == cluster.Cluster.EDS
    assert message.eds_cluster_config.eds_config.HasField("ads")
    assert message.connect_timeout.nanos == 500_000_000
    assert message.outlier_detection.consecutive_5xx.value == 3
    assert message.outlier_detection.max_ejection_percent.value == 40
    threshold = message.circuit_breakers.thresholds[0]
    assert (threshold.max_requests.value, threshold.retry_budget.budget_percent.value) == (7, 25)
    assert message.metadata.filter_metadata["weft"].fields["source"].string_value == "Service/a/b"
    assert not message.typed_extension_protocol_options


@pytest.mark.parametrize(
    ("protocol", "edge", "config"),
    [
        (Protocol.HTTP, False, "use_downstream_protocol_config"),
        (Protocol.HTTP, True, "explicit_http_config"),
        (Protocol.GRPC, False, "explicit_http_config"),
    ],
)
def test_the_http_version_is_the_ports_or_the_callers(protocol: Protocol, edge: bool, config: str) -> None:
    found = options(made(Upstream(name="c", protocol=protocol, source=""), edge=edge))
    assert found.WhichOneof("upstream_protocol_options") == config
    if config == "explicit_http_config":
        is_2 = found.explicit_http_config.HasField("http2_protocol_options")
        assert is_2 is protocol.is_http2


@pytest.mark.parametrize("shape", [Shape.RAW, Shape.HTTP])
@pytest.mark.parametrize("edge", [True, False])
def test_an_edge_replaces_a_pooled_connection_before_its_callee_would_cut_it(shape: Shape, edge: bool) -> None:
    peers = Peers(("spiffe://local/a",), shape)
    found = options(made(Upstream(name="c", protocol=Protocol.HTTP, source="", peers=peers), edge=edge))
    most = found.common_http_protocol_options.max_requests_per_connection.value
    assert most == (200 if edge and shape is Shape.HTTP else 0)


def test_tls_to_the_outside_is_verified_against_the_name_and_the_machines_authorities() -> None:
    where = (ExternalAddress("api.example", 443),)
    message = made(Upstream(name="c", protocol=Protocol.HTTP, source="", dns=where, tls_name="api.example"))
    assert message.type == cluster.Cluster.STRICT_DNS
    context = api.unpack_as(tls.UpstreamTlsContext, message.transport_socket.typed_config)
    validation = context.common_tls_context.combined_validation_context
    assert context.sni == "api.example"
    assert validation.validation_context_sds_secret_config.name == clusters.SYSTEM_ROOTS
    [name] = validation.default_validation_context.match_typed_subject_alt_names
    assert name.matcher.exact == "api.example"


def test_addresses_are_not_looked_up() -> None:
    message = made(Upstream(name="c", protocol=Protocol.TCP, source="", dns=(ExternalAddress("192.0.2.1", 1),)))
    assert message.type == cluster.Cluster.STATIC


def test_a_tunnel_carries_everything_to_each_of_its_targets() -> None:
    where = (ExternalAddress("db.example", 5432), ExternalAddress("192.0.2.1", 5432))
    for protocol in (Protocol.TCP, Protocol.HTTP):
        message = made(Upstream(name="c", protocol=protocol, source="", dns=where, tunnel="/run/egress"))
        targets = []
        for endpoint in message.load_assignment.endpoints[0].lb_endpoints:
            assert endpoint.endpoint.address.envoy_internal_address.server_listener_name == clusters.TUNNEL
            data = endpoint.metadata.filter_metadata[clusters.TUNNEL_METADATA]
            targets.append(data.fields["target"].string_value)
        assert targets == ["db.example:5432", "192.0.2.1:5432"]
        assert inside(message).transport_socket.name == "envoy.transport_sockets.raw_buffer"


def test_tls_goes_through_the_tunnel_to_the_service_itself() -> None:
    where = (ExternalAddress("api.example", 443),)
    tunnelled = Upstream(
        name="c", protocol=Protocol.HTTP, source="", dns=where, tls_name="api.example", tunnel="/run/egress"
    )
    context = api.unpack_as(tls.UpstreamTlsContext, inside(made(tunnelled)).transport_socket.typed_config)
    assert context.sni == "api.example"


def test_http_to_a_wildcard_that_was_not_called_by_a_name_is_handed_over() -> None:
    message = made(Upstream(name="c", protocol=Protocol.HTTP, source="", tunnel="/run/egress"))
    assert message.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe.path == "/run/egress"


def inside(message: cluster.Cluster) -> internal_upstream.InternalUpstreamTransport:
    return api.unpack_as(internal_upstream.InternalUpstreamTransport, message.transport_socket.typed_config)


def test_the_application_is_reached_where_it_listens_and_idle_connections_end_before_it_ends_them() -> None:
    port = WorkloadPort(
        number=80,
        name="http",
        protocol=Protocol.HTTP,
        listen=Address(path="/in"),
        application=Address(ip="127.0.0.1", port=8080),
    )
    message = opened(cluster.Cluster, clusters.inbound(port))
    assert message.name == "inbound|80||"
    where = message.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (where.address, where.port_value) == ("127.0.0.1", 8080)
    assert options(message).common_http_protocol_options.idle_timeout.seconds == 4


def test_a_connection_may_take_as_long_as_a_busy_machine_needs_for_it() -> None:
    """A SYN that a full queue dropped comes again after 1 s and after 3; a proxy without a core agrees on TLS late."""
    address = Address(ip="127.0.0.1", port=8080)
    application = opened(cluster.Cluster, clusters.inbound(WorkloadPort(80, "http", Protocol.HTTP, address, address)))
    callee = made(Upstream(name="c", protocol=Protocol.HTTP, source="", peers=Peers(("spiffe://local/a",), Shape.RAW)))
    assert (application.connect_timeout.seconds, callee.connect_timeout.seconds) == (5, 5)


def test_a_name_that_does_not_exist_is_a_cluster_without_endpoints() -> None:
    message = opened(cluster.Cluster, clusters.empty("tcp|240.0.0.1:1"))
    assert (message.name, message.type, message.HasField("load_assignment")) == (
        "tcp|240.0.0.1:1",
        cluster.Cluster.STATIC,
        False,
    )


def test_passing_through_goes_by_the_egress_proxy_or_by_dns() -> None:
    by_egress = opened(cluster.Cluster, clusters.passthrough(Address(path="/run/egress")))
    assert by_egress.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe.path == "/run/egress"
    by_dns = opened(cluster.Cluster, clusters.passthrough(Address()))
    assert by_dns.cluster_type.name == "envoy.clusters.dynamic_forward_proxy"
    assert by_dns.lb_policy == cluster.Cluster.CLUSTER_PROVIDED
    assert clusters.forward_cache().max_hosts.value == 1_024


def test_tunnels_share_one_connection_to_the_egress_proxy() -> None:
    message = opened(cluster.Cluster, clusters.egress(Address(path="/run/egress")))
    assert options(message).explicit_http_config.HasField("http2_protocol_options")


ID = "spiffe://local/ns/default/sa/web"


def reached(protocol: Protocol, peers: Peers) -> cluster.Cluster:
    return opened(cluster.Cluster, clusters.outbound(clusters.Outbound(Upstream("c", protocol, "s", peers=peers))))


def alpn(socket: core.TransportSocket) -> list[str]:
    context = api.unpack_as(tls.UpstreamTlsContext, socket.typed_config)
    return list(context.common_tls_context.alpn_protocols)


def test_a_cluster_follows_its_peers_shape() -> None:
    raw, pooled = reached(Protocol.HTTP, Peers((ID,), Shape.RAW)), reached(Protocol.HTTP, Peers((ID,), Shape.HTTP))
    assert (alpn(raw.transport_socket), alpn(pooled.transport_socket)) == (["weft-raw"], ["weft-http"])
    assert options(raw).HasField("use_downstream_protocol_config")
    assert options(raw).common_http_protocol_options.idle_timeout.seconds == 4, "the connection reaches the application"
    http2 = options(pooled).explicit_http_config.http2_protocol_options
    assert (http2.HasField("enable_huffman_encoding"), http2.enable_huffman_encoding.value) == (True, False)
    assert not reached(Protocol.HTTP, Peers()).HasField("transport_socket")


def test_another_epoch_is_another_cluster() -> None:
    assert reached(Protocol.HTTP, Peers((ID,), Shape.RAW, epoch="1")) != reached(
        Protocol.HTTP, Peers((ID,), Shape.RAW, epoch="2")
    )


def test_where_some_have_no_proxy_each_endpoint_has_its_own_way() -> None:
    secured, plain = reached(Protocol.HTTP, Peers((ID,), Shape.RAW, mixed=True)).transport_socket_matches
    assert (secured.match.fields["mtls"].string_value, alpn(secured.transport_socket)) == ("yes", ["weft-raw"])
    assert (dict(plain.match.fields), plain.transport_socket.name) == ({}, "envoy.transport_sockets.raw_buffer")


def test_opaque_tcp_goes_through_a_listener_inside_to_a_cluster_of_tunnels() -> None:
    upstream = Upstream("c", Protocol.TCP, "s", peers=Peers((ID,), Shape.TUNNEL))
    outer = reached(Protocol.TCP, upstream.peers)
    (end,) = outer.load_assignment.endpoints[0].lb_endpoints
    assert end.endpoint.address.envoy_internal_address.server_listener_name == "hbone"
    assert end.metadata.filter_metadata["weft.tunnel"].fields["cluster"].string_value == "tunnel|c"
    inner = opened(cluster.Cluster, clusters.pool(upstream))
    assert (inner.name, alpn(inner.transport_socket)) == ("tunnel|c", ["weft-tunnel"])
    assert options(inner).explicit_http_config.HasField("http2_protocol_options")


def test_the_application_behind_pooled_requests_hears_http_1() -> None:
    port = WorkloadPort(80, "http", Protocol.HTTP, Address(path="/in"), Address(ip="127.0.0.1", port=80))
    message = opened(cluster.Cluster, clusters.inbound_http1(port))
    assert message.name == "inbound|80|http1|"
    assert options(message).explicit_http_config.HasField("http_protocol_options")
