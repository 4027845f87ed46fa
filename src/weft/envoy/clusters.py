"""Clusters: one upstream group from one ``Upstream``, without its endpoints.

Sizes: a cluster takes 20-60 kB in Envoy and 280 microseconds of its main thread per update.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, common, tls
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint
from weft.envoy.protos.envoy.extensions.clusters.dynamic_forward_proxy import v3 as forward_cluster
from weft.envoy.protos.envoy.extensions.common.dynamic_forward_proxy import v3 as forward
from weft.envoy.protos.envoy.extensions.transport_sockets.internal_upstream import v3 as internal_upstream
from weft.envoy.protos.envoy.extensions.transport_sockets.raw_buffer import v3 as raw_buffer
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls_
from weft.envoy.protos.envoy.extensions.upstreams.http import v3 as http
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.envoy.protos.envoy.type.metadata import v3 as metadata
from weft.envoy.protos.envoy.type.v3 import Percent
from weft.model.service import Address, Protocol
from weft.model.trust import Shape
from weft.model.view import Upstream
from weft.names import (
    ALPN_HTTP,
    ALPN_RAW,
    ALPN_TUNNEL,
    PASSTHROUGH,
    inbound_cluster,
    inbound_http1_cluster,
    tunnel_cluster,
)

if TYPE_CHECKING:
    from weft.envoy.protos.google import protobuf as wkt
    from weft.model.policy import CircuitBreaker, OutlierDetection
    from weft.model.service import ExternalAddress, WorkloadPort
    from weft.model.trust import Peers
    from weft.xds.protocol import Resource

SYSTEM_ROOTS: Final = "weft-system-roots"
"""The bootstrap's static secret with the machine's certificate authorities, for TLS to the outside."""

EGRESS: Final = "egress"
TUNNEL: Final = "tunnel"
HBONE: Final = "hbone"
"""The listener inside Envoy that makes a connection a stream of a pooled tunnel."""
TUNNEL_METADATA: Final = "weft.tunnel"
ALPN: Final = {Shape.RAW: ALPN_RAW, Shape.HTTP: ALPN_HTTP}
FORWARD_CACHE: Final = "weft-passthrough"
EDGE_REQUESTS: Final = 200
"""On one connection from an edge. Envoy cuts a connection after 250 requests that were reset early; a callee must not take an
edge for the stranger behind it and cut what is also the others'."""
APPLICATION_CONNECT: Final = 5_000
"""Milliseconds. A queue of new connections that is full drops some, and the kernel tries those again after 1 s and after 3."""
APPLICATION_IDLE: Final = 4_000
"""Milliseconds. Below Node's keep-alive of 5 s: an application must not close a connection just as we use it."""


class Outbound(msgspec.Struct, frozen=True, cache_hash=True):
    """The input of one outbound cluster. ``edge``: behind a gateway, where the caller's HTTP version says nothing."""

    upstream: Upstream
    edge: bool = False


def outbound(key: Outbound) -> Resource:
    """The cluster of one port (and subset) of a service, inside the mesh or outside."""
    upstream = key.upstream
    shape = upstream.shape
    if shape is Shape.TUNNEL:
        return _to_tunnel(upstream)
    made = _balanced(upstream.name, upstream)
    if upstream.protocol.is_http:
        made.typed_extension_protocol_options[common.HTTP_OPTIONS].CopyFrom(
            _options(upstream.protocol, key.edge, shape)
        )
    if upstream.tunnel:
        _tunnel(made, upstream)
    elif upstream.dns:
        _external(made, upstream)
    else:
        made.type = cluster.Cluster.EDS
        made.eds_cluster_config.CopyFrom(cluster.Cluster.EdsClusterConfig(eds_config=common.ads()))
        if shape is not Shape.PLAIN:
            _secure(made, upstream.peers, ALPN[shape])
    return common.resource(upstream.name, made, upstream.source)


def _balanced(name: str, upstream: Upstream) -> cluster.Cluster:
    made = cluster.Cluster(
        name=name,
        connect_timeout=api.duration(upstream.policy.connect_timeout),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        lb_policy=cluster.Cluster.LEAST_REQUEST,
        outlier_detection=_outlier(upstream.policy.outlier),
        circuit_breakers=_breaker(upstream.policy.breaker),
        metadata=common.provenance(upstream.source),
    )
    if upstream.peers.epoch:
        # Other bytes make another cluster: new connections, while those of the one before finish what they carry.
        made.metadata.filter_metadata[common.METADATA].update({"epoch": upstream.peers.epoch})
    return made


def _to_tunnel(upstream: Upstream) -> Resource:
    """Opaque TCP on its way into a pooled tunnel: through the listener ``HBONE`` inside this Envoy, which asks the cluster
    that its endpoint names for a CONNECT.
    """
    inner = tunnel_cluster(upstream.name)
    made = _balanced(upstream.name, upstream)
    made.type = cluster.Cluster.STATIC
    inside = core.EnvoyInternalAddress(server_listener_name=HBONE, endpoint_id=inner)
    made.load_assignment.CopyFrom(_static(upstream.name, [core.Address(envoy_internal_address=inside)]))
    target = core.Metadata(filter_metadata={TUNNEL_METADATA: api.struct({"cluster": inner})})
    made.load_assignment.endpoints[0].lb_endpoints[0].metadata.CopyFrom(target)
    made.transport_socket.CopyFrom(
        _inside(_socket("envoy.transport_sockets.raw_buffer", api.pack(raw_buffer.RawBuffer())))
    )
    return common.resource(upstream.name, made, upstream.source)


def pool(upstream: Upstream) -> Resource:
    """The pooled tunnels themselves: mutual TLS and HTTP/2 to the callee's proxies, one CONNECT for each connection."""
    name = tunnel_cluster(upstream.name)
    made = _balanced(name, upstream)
    made.type = cluster.Cluster.EDS
    made.eds_cluster_config.CopyFrom(cluster.Cluster.EdsClusterConfig(eds_config=common.ads()))
    made.typed_extension_protocol_options[common.HTTP_OPTIONS].CopyFrom(_options(Protocol.HTTP2, False, Shape.TUNNEL))
    _secure(made, upstream.peers, ALPN_TUNNEL)
    return common.resource(name, made, upstream.source)


def _secure(made: cluster.Cluster, peers: Peers, alpn: str) -> None:
    """Mutual TLS; where some endpoints have no proxy, only to those whose metadata says that they have one."""
    socket = tls.upstream(peers.identities, alpn)
    if not peers.mixed:
        made.transport_socket.CopyFrom(socket)
        return
    plain = _socket("envoy.transport_sockets.raw_buffer", api.pack(raw_buffer.RawBuffer()))
    match = cluster.Cluster.TransportSocketMatch
    made.transport_socket_matches.extend(
        [
            match(name="mtls", match=api.struct({common.MTLS: "yes"}), transport_socket=socket),
            match(name="plain", match=api.struct({}), transport_socket=plain),
        ]
    )


def inbound(port: WorkloadPort) -> Resource:
    """The cluster of the application itself, at one of its ports."""
    return _application(port, inbound_cluster(port.number), edge=False)


def inbound_http1(port: WorkloadPort) -> Resource:
    """The same in HTTP/1.1, for requests that came pooled in HTTP/2."""
    return _application(port, inbound_http1_cluster(port.number), edge=True)


def _application(port: WorkloadPort, name: str, *, edge: bool) -> Resource:
    made = cluster.Cluster(
        name=name,
        type=cluster.Cluster.STATIC,
        connect_timeout=api.duration(APPLICATION_CONNECT),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        load_assignment=_static(name, [common.address(port.application)]),
        circuit_breakers=_unlimited(),
    )
    if port.protocol.is_http:
        options = _http(port.protocol, edge=edge)
        options.common_http_protocol_options.idle_timeout.CopyFrom(api.duration(APPLICATION_IDLE))
        made.typed_extension_protocol_options[common.HTTP_OPTIONS].CopyFrom(api.pack(options))
    return common.resource(name, made, "")


def empty(name: str) -> Resource:
    """What is answered for a name that does not exist: connections to it fail at once instead of waiting."""
    made = cluster.Cluster(name=name, type=cluster.Cluster.STATIC, connect_timeout=api.duration(1_000))
    return common.resource(name, made, "")


def fixed(name: str, where: Address, connect_milliseconds: int) -> cluster.Cluster:
    """A cluster of one address that somebody else has put a limit before."""
    return cluster.Cluster(
        name=name,
        type=cluster.Cluster.STATIC,
        connect_timeout=api.duration(connect_milliseconds),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        load_assignment=_static(name, [common.address(where)]),
        circuit_breakers=_unlimited(),
    )


def passthrough(egress: Address) -> Resource:
    """Where calls to unknown names go with ``outboundTraffic: allowAny``: the egress proxy at ``egress``, or, for an
    empty address, straight to what DNS says the name is.
    """
    made = cluster.Cluster(
        name=PASSTHROUGH,
        connect_timeout=api.duration(5_000),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        circuit_breakers=_unlimited(),
    )
    made.typed_extension_protocol_options[common.HTTP_OPTIONS].CopyFrom(api.pack(_http(Protocol.HTTP, edge=False)))
    if egress.path or egress.ip:
        made.type = cluster.Cluster.STATIC
        made.load_assignment.CopyFrom(_static(PASSTHROUGH, [common.address(egress)]))
    else:
        made.lb_policy = cluster.Cluster.CLUSTER_PROVIDED
        made.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
        made.cluster_type.typed_config.CopyFrom(
            api.pack(
                forward_cluster.ClusterConfig(dns_cache_config=forward_cache(), allow_insecure_cluster_options=True)
            )
        )
    return common.resource(PASSTHROUGH, made, "")


def forward_cache() -> forward.DnsCacheConfig:
    """The cache of names that ``passthrough`` looked up: bounded, and equal in the cluster and in the filter."""
    return forward.DnsCacheConfig(
        name=FORWARD_CACHE,
        dns_lookup_family=cluster.Cluster.V4_PREFERRED,
        max_hosts=api.uint32(1_024),
        host_ttl=api.duration(300_000),
    )


@lru_cache
def _options(protocol: Protocol, edge: bool, shape: Shape = Shape.PLAIN) -> wkt.Any:
    """The packed form of the few that there are; most of the time of a cluster went into making it anew."""
    if shape in (Shape.HTTP, Shape.TUNNEL):
        explicit = http.HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=common.http2(lean=True))
        made = http.HttpProtocolOptions(explicit_http_config=explicit)
    else:
        made = _http(protocol, edge=edge)
    if edge and shape is Shape.HTTP:
        made.common_http_protocol_options.max_requests_per_connection.CopyFrom(api.uint32(EDGE_REQUESTS))
    if shape is not Shape.PLAIN:
        made.common_http_protocol_options.max_connection_duration.CopyFrom(api.duration(tls.REPLACED_AFTER))
    if shape is Shape.RAW:
        made.common_http_protocol_options.idle_timeout.CopyFrom(api.duration(APPLICATION_IDLE))
    return api.pack(made)


def _http(protocol: Protocol, *, edge: bool) -> http.HttpProtocolOptions:
    """A port that says HTTP/2 gets it; a plain HTTP port gets what its caller speaks, or HTTP/1.1 behind an edge."""
    version_1, version_2 = core.Http1ProtocolOptions(), common.http2()
    made = http.HttpProtocolOptions
    if protocol.is_http2:
        return made(explicit_http_config=made.ExplicitHttpConfig(http2_protocol_options=version_2))
    if edge:
        return made(explicit_http_config=made.ExplicitHttpConfig(http_protocol_options=version_1))
    return made(
        use_downstream_protocol_config=made.UseDownstreamHttpConfig(
            http_protocol_options=version_1, http2_protocol_options=version_2
        )
    )


@lru_cache
def _outlier(policy: OutlierDetection) -> cluster.OutlierDetection:
    return cluster.OutlierDetection(
        consecutive_5xx=api.uint32(policy.consecutive_errors),
        interval=api.duration(policy.interval),
        base_ejection_time=api.duration(policy.base_ejection),
        max_ejection_percent=api.uint32(policy.max_ejection_percent),
        enforcing_success_rate=api.uint32(0),
    )


@lru_cache
def _breaker(policy: CircuitBreaker) -> cluster.CircuitBreakers:
    thresholds = cluster.CircuitBreakers.Thresholds
    return cluster.CircuitBreakers(
        thresholds=[
            thresholds(
                max_connections=api.uint32(policy.max_connections),
                max_pending_requests=api.uint32(policy.max_pending),
                max_requests=api.uint32(policy.max_requests),
                retry_budget=thresholds.RetryBudget(
                    budget_percent=Percent(value=policy.retry_budget_percent),
                    min_retry_concurrency=api.uint32(policy.min_retry_concurrency),
                ),
            )
        ]
    )


def _unlimited() -> cluster.CircuitBreakers:
    """No limit of its own: whoever called has one already, and the process's connection limit stands before both."""
    most = api.uint32(4_294_967_295)
    thresholds = cluster.CircuitBreakers.Thresholds(
        max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most
    )
    return cluster.CircuitBreakers(thresholds=[thresholds])


def _static(name: str, addresses: list[core.Address]) -> endpoint.ClusterLoadAssignment:
    endpoints = [endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=item)) for item in addresses]
    return endpoint.ClusterLoadAssignment(
        cluster_name=name, endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=endpoints)]
    )


def _external(made: cluster.Cluster, upstream: Upstream) -> None:
    """A service outside the mesh, reached by its own addresses, looked up when they are names."""
    made.type = cluster.Cluster.STATIC if all(map(_is_ip, upstream.dns)) else cluster.Cluster.STRICT_DNS
    made.dns_lookup_family = cluster.Cluster.V4_PREFERRED
    made.respect_dns_ttl = made.type == cluster.Cluster.STRICT_DNS
    addresses = [common.address(Address(ip=item.host, port=item.port)) for item in upstream.dns]
    made.load_assignment.CopyFrom(_static(upstream.name, addresses))
    if upstream.tls_name:
        made.transport_socket.CopyFrom(_originate(upstream.tls_name, http2=upstream.protocol.is_http2))


def _is_ip(item: ExternalAddress) -> bool:
    try:
        ipaddress.ip_address(item.host)
    except ValueError:
        return False
    return True


def _originate(server_name: str, *, http2: bool) -> core.TransportSocket:
    """TLS to the outside: the certificate must come from the machine's authorities and carry ``server_name``."""
    name = tls_.SubjectAltNameMatcher(
        san_type=tls_.SubjectAltNameMatcher.SanType.DNS, matcher=matcher.StringMatcher(exact=server_name)
    )
    context = tls_.UpstreamTlsContext(
        sni=server_name,
        common_tls_context=tls_.CommonTlsContext(
            alpn_protocols=["h2"] if http2 else ["http/1.1"],
            combined_validation_context=tls_.CommonTlsContext.CombinedCertificateValidationContext(
                default_validation_context=tls_.CertificateValidationContext(match_typed_subject_alt_names=[name]),
                validation_context_sds_secret_config=tls_.SdsSecretConfig(name=SYSTEM_ROOTS),
            ),
        ),
    )
    return _socket("envoy.transport_sockets.tls", api.pack(context))


def _tunnel(made: cluster.Cluster, upstream: Upstream) -> None:
    """An external service from a namespace without a network: through the listener ``TUNNEL`` inside this Envoy, which
    learns the target from the endpoint and asks the egress proxy for a CONNECT to it. What a route wrote into the Host
    header does not decide where a call goes, and TLS is this proxy's own.

    A wildcard that nobody called by a name has no target; HTTP to it is handed to the egress proxy as it is.
    """
    made.type = cluster.Cluster.STATIC
    if not upstream.dns:
        made.load_assignment.CopyFrom(_static(upstream.name, [common.address(Address(path=upstream.tunnel))]))
        return
    inside = [
        core.EnvoyInternalAddress(server_listener_name=TUNNEL, endpoint_id=f"{item.host}:{item.port}")
        for item in upstream.dns
    ]
    made.load_assignment.CopyFrom(
        _static(upstream.name, [core.Address(envoy_internal_address=address) for address in inside])
    )
    for endpoint_, address in zip(made.load_assignment.endpoints[0].lb_endpoints, inside, strict=True):
        target = api.struct({"target": address.endpoint_id})
        endpoint_.metadata.CopyFrom(core.Metadata(filter_metadata={TUNNEL_METADATA: target}))
    plain = _socket("envoy.transport_sockets.raw_buffer", api.pack(raw_buffer.RawBuffer()))
    over_tls = _originate(upstream.tls_name, http2=upstream.protocol.is_http2) if upstream.tls_name else None
    made.transport_socket.CopyFrom(_inside(over_tls or plain))


def _inside(socket: core.TransportSocket) -> core.TransportSocket:
    """To a listener inside this Envoy, which sees the endpoint's metadata."""
    carried = internal_upstream.InternalUpstreamTransport.MetadataValueSource(
        kind=metadata.MetadataKind(host=metadata.MetadataKind.Host()), name=TUNNEL_METADATA
    )
    config = internal_upstream.InternalUpstreamTransport(passthrough_metadata=[carried], transport_socket=socket)
    return _socket("envoy.transport_sockets.internal_upstream", api.pack(config))


def egress(where: Address) -> Resource:
    """The egress proxy itself, for CONNECT; over HTTP/2, so that all tunnels share one connection."""
    made = cluster.Cluster(
        name=EGRESS,
        type=cluster.Cluster.STATIC,
        connect_timeout=api.duration(1_000),
        load_assignment=_static(EGRESS, [common.address(where)]),
        circuit_breakers=_unlimited(),
    )
    made.typed_extension_protocol_options[common.HTTP_OPTIONS].CopyFrom(api.pack(_http(Protocol.HTTP2, edge=False)))
    return common.resource(EGRESS, made, "")


def _socket(name: str, config: wkt.Any) -> core.TransportSocket:
    return core.TransportSocket(name=name, typed_config=config)
