"""The bootstrap: all that an Envoy is told before it asks. The agent writes it to a file.

Source of the fallback's design: docs/decisions/0021-fallback-by-priority.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

from weft.envoy import api, common, relay, tls
from weft.envoy.check import REGEX_PROGRAM_SIZE
from weft.envoy.clusters import SYSTEM_ROOTS
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap_
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint
from weft.envoy.protos.envoy.config.metrics import v3 as metrics
from weft.envoy.protos.envoy.config.overload import v3 as overload
from weft.envoy.protos.envoy.extensions.bootstrap.internal_listener import v3 as internal_listener
from weft.envoy.protos.envoy.extensions.resource_monitors.downstream_connections import v3 as connection_monitor
from weft.envoy.protos.envoy.extensions.resource_monitors.fixed_heap import v3 as heap_monitor
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls_
from weft.envoy.protos.envoy.extensions.upstreams.http import v3 as http
from weft.envoy.protos.envoy.type import v3 as envoy_type
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.model.service import Address
from weft.names import AGENT_CLUSTER, BLACKHOLE, CONTROL_CLUSTER, CONTROL_NAME
from weft.values import Bytes

KEEPALIVE: Final = 5_000
KEEPALIVE_TIMEOUT: Final = 3_000
"""Milliseconds. A control plane that hangs is noticed within the sum of both (promise A4: 10 s)."""

AT_ONCE: Final = 8
"""Requests. With one, callers that share a pooled connection pay a turn of the loop each: a third more CPU time at 8 of them,
half as much again at 32 (docs/decisions/0099-eight-requests-at-once.md).
"""

STATS: Final = (
    "upstream_cx_active|upstream_cx_total|upstream_cx_connect_fail|upstream_cx_overflow|upstream_cx_[rt]x_bytes_total",
    "upstream_rq_total|upstream_rq_active|upstream_rq_[0-9]xx|upstream_rq_timeout|upstream_rq_retry[a-z_]*",
    "upstream_rq_pending_overflow|upstream_rq_time|membership_(total|healthy)|outlier_detection.ejections_active",
    "ssl\\.(connection_error|handshake|fail_[a-z_]*)",
    "update_(success|rejected|failure)|warming_clusters|active_clusters",
)
"""The figures of a cluster that weft shows; the other hundred would take most of a cluster's memory."""


class BootstrapInput(msgspec.Struct, frozen=True, kw_only=True):
    """``node`` is the xDS node id, the sockets are paths; ``secrets`` is the agent's, empty where there is none. ``roots`` is
    the file of the machine's certificate authorities, empty when it has none; calls to external services over TLS are then
    refused. ``heap`` 0: no limit.
    """

    node: str
    admin: str
    control: str
    fallback: str
    secrets: str = ""
    roots: str = ""
    door: Address = Address()
    """Where control's door is reached; empty where control is on this host (``control`` is its socket then)."""
    control_id: str = ""
    """The SPIFFE ID that must be behind the door."""
    pass_on: str = ""
    """The host proxy's only: a socket by which captured namespaces reach the door, needing no configuration from there."""
    max_connections: int = 8_192
    heap: Bytes = Bytes(0)


def bootstrap(key: BootstrapInput) -> bytes:
    """The bootstrap as JSON."""
    made = bare(key.node, key.admin, key.max_connections, key.heap)
    made.dynamic_resources.CopyFrom(
        bootstrap_.Bootstrap.DynamicResources(ads_config=_ads(), cds_config=common.ads(), lds_config=common.ads())
    )
    passing = key.pass_on and key.door.ip
    made.static_resources.CopyFrom(
        bootstrap_.Bootstrap.StaticResources(
            clusters=[
                _control(key),
                *([_agent(key.secrets)] if key.secrets else ()),
                _blackhole(),
                *([relay.to_door(key.door)] if passing else ()),
            ],
            secrets=[_roots(key.roots)] if key.roots else [],
            listeners=[relay.door_for_captured(Address(path=key.pass_on))] if passing else [],
        )
    )
    made.bootstrap_extensions.append(_internal_listeners())
    return msgspec.json.format(msgspec.json.encode(api.to_json(made), order="deterministic"), indent=1)


def bare(node: str, admin: str, max_connections: int, heap: int = 0) -> bootstrap_.Bootstrap:
    """What every Envoy of ours has, whatever it is for: a private admin socket, limits, and few figures."""
    return bootstrap_.Bootstrap(
        node=core.Node(id=node, cluster="weft"),
        admin=bootstrap_.Admin(address=common.address(Address(path=admin), common.SOCKET_MODE)),
        layered_runtime=bootstrap_.LayeredRuntime(layers=[_runtime()]),
        overload_manager=_overload(max_connections, heap),
        stats_config=_stats(),
        stats_flush_interval=api.duration(10_000),
    )


def keepalive() -> core.KeepaliveSettings:
    """Pings, so that a peer that is gone without a word is noticed."""
    return core.KeepaliveSettings(interval=api.duration(KEEPALIVE), timeout=api.duration(KEEPALIVE_TIMEOUT))


def _ads() -> core.ApiConfigSource:
    retry = core.RetryPolicy(
        retry_back_off=core.BackoffStrategy(base_interval=api.duration(200), max_interval=api.duration(1_000))
    )
    stream = core.GrpcService(envoy_grpc=core.GrpcService.EnvoyGrpc(cluster_name=CONTROL_CLUSTER, retry_policy=retry))
    return core.ApiConfigSource(
        api_type=core.ApiConfigSource.DELTA_GRPC,
        transport_api_version=core.ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[stream],
    )


def _control(key: BootstrapInput) -> cluster.Cluster:
    """The control plane, and behind it the agent, which answers only while the control plane is away."""
    version_2 = core.Http2ProtocolOptions(connection_keepalive=keepalive())
    options = http.HttpProtocolOptions(
        explicit_http_config=http.HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=version_2)
    )
    made = cluster.Cluster(
        name=CONTROL_CLUSTER,
        type=cluster.Cluster.STATIC,
        connect_timeout=api.duration(1_000),
        health_checks=[_over_there() if key.control_id else _here()],
        common_lb_config=cluster.Cluster.CommonLbConfig(healthy_panic_threshold=envoy_type.Percent(value=0)),
        close_connections_on_host_health_failure=True,
        typed_extension_protocol_options={common.HTTP_OPTIONS: api.pack(options)},
    )
    first = key.door if key.control_id else Address(path=key.control)
    ends = [_end(first, 0), _socket(key.fallback, 1)]
    if key.control_id:
        _through_door(made, ends, key.control_id)
    made.load_assignment.CopyFrom(endpoint.ClusterLoadAssignment(cluster_name=CONTROL_CLUSTER, endpoints=ends))
    return made


def _through_door(made: cluster.Cluster, ends: list[endpoint.LocalityLbEndpoints], control_id: str) -> None:
    """TLS with this proxy's own SVID to the door, and none to the agent's fallback, which is not asked for its health: it is
    there only while it is needed.
    """
    match = cluster.Cluster.TransportSocketMatch(name="door", transport_socket=tls.upstream((control_id,), "h2"))
    match.match.update({"door": True})
    made.transport_socket_matches.append(match)
    ends[0].lb_endpoints[0].endpoint.hostname = CONTROL_NAME  # the SNI
    ends[0].lb_endpoints[0].metadata.filter_metadata["envoy.transport_socket_match"].update({"door": True})
    ends[1].lb_endpoints[0].endpoint.health_check_config.disable_active_health_check = True


def _here() -> core.HealthCheck:
    made = _check(500)
    made.tcp_health_check.SetInParent()
    return made


def _over_there() -> core.HealthCheck:
    """A connection to the door says nothing of control behind it, so that is asked, on one connection that stays."""
    made = _check(1_000)
    made.http_health_check.CopyFrom(
        core.HealthCheck.HttpHealthCheck(
            host=CONTROL_CLUSTER, path="/readyz", codec_client_type=envoy_type.CodecClientType.HTTP2
        )
    )
    return made


def _check(milliseconds: int) -> core.HealthCheck:
    return core.HealthCheck(
        timeout=api.duration(milliseconds),
        interval=api.duration(milliseconds),
        no_traffic_interval=api.duration(milliseconds),
        healthy_threshold=api.uint32(1),
        unhealthy_threshold=api.uint32(1),
    )


def _agent(path: str) -> cluster.Cluster:
    """The agent, which brings this proxy its key, its SVID and the bundles. Without it the proxy goes on with those it has."""
    version_2 = core.Http2ProtocolOptions(connection_keepalive=keepalive())
    options = http.HttpProtocolOptions(
        explicit_http_config=http.HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=version_2)
    )
    return cluster.Cluster(
        name=AGENT_CLUSTER,
        type=cluster.Cluster.STATIC,
        connect_timeout=api.duration(1_000),
        typed_extension_protocol_options={common.HTTP_OPTIONS: api.pack(options)},
        load_assignment=endpoint.ClusterLoadAssignment(cluster_name=AGENT_CLUSTER, endpoints=[_socket(path, 0)]),
    )


def _socket(path: str, priority: int) -> endpoint.LocalityLbEndpoints:
    return _end(Address(path=path), priority)


def _end(address: Address, priority: int) -> endpoint.LocalityLbEndpoints:
    where = endpoint.Endpoint(address=common.address(address))
    return endpoint.LocalityLbEndpoints(priority=priority, lb_endpoints=[endpoint.LbEndpoint(endpoint=where)])


def _blackhole() -> cluster.Cluster:
    """Where nothing is: what is routed here fails at once."""
    return cluster.Cluster(name=BLACKHOLE, type=cluster.Cluster.STATIC, connect_timeout=api.duration(1_000))


def _roots(path: str) -> tls_.Secret:
    context = tls_.CertificateValidationContext(trusted_ca=core.DataSource(filename=path))
    return tls_.Secret(name=SYSTEM_ROOTS, validation_context=context)


def _internal_listeners() -> core.TypedExtensionConfig:
    """What lets a listener inside Envoy exist: the tunnel to the egress proxy."""
    return core.TypedExtensionConfig(
        name="envoy.bootstrap.internal_listener", typed_config=api.pack(internal_listener.InternalListener())
    )


def _runtime() -> bootstrap_.RuntimeLayer:
    """Policies see a header that came several times as one, its values joined by commas: what is asked of each line by itself
    can never say that all of them must match (``weft.envoy.questions``).

    Of what one connection brings at once, ``AT_ONCE`` requests are begun; the next follow a turn of the loop later. Most requests
    that are reset in the same breath are then never begun, and cost nobody behind this proxy anything (promise D1).

    The end of a connection to a listener inside Envoy is an end and not a reset: as a reset it threw away what had come just
    before it, and that is every answer of a server that closes behind it (``tests/envoy/test_mtls_tunnel.py``).
    """
    values = {
        "re2.max_program_size.error_level": REGEX_PROGRAM_SIZE,
        "envoy.reloadable_features.rbac_match_headers_individually": False,
        "http.max_requests_per_io_cycle": AT_ONCE,
        "envoy.reloadable_features.enable_send_rst_on_user_space_socket": False,
    }
    return bootstrap_.RuntimeLayer(name="weft", static_layer=api.struct(values))


def _overload(max_connections: int, heap_bytes: int) -> overload.OverloadManager:
    """A connection more than the limit is refused, and memory near its limit is given back before requests are."""
    count = connection_monitor.DownstreamConnectionsConfig(max_active_downstream_connections=max_connections)
    monitors = [
        overload.ResourceMonitor(
            name="envoy.resource_monitors.global_downstream_max_connections", typed_config=api.pack(count)
        )
    ]
    actions = []
    if heap_bytes:
        heap = heap_monitor.FixedHeapConfig(max_heap_size_bytes=heap_bytes)
        monitors.append(
            overload.ResourceMonitor(name="envoy.resource_monitors.fixed_heap", typed_config=api.pack(heap))
        )
        actions = [
            _action("envoy.overload_actions.shrink_heap", 0.90),
            _action("envoy.overload_actions.stop_accepting_requests", 0.98),
        ]
    return overload.OverloadManager(refresh_interval=api.duration(250), resource_monitors=monitors, actions=actions)


def _action(name: str, threshold: float) -> overload.OverloadAction:
    trigger = overload.Trigger(
        name="envoy.resource_monitors.fixed_heap", threshold=overload.ThresholdTrigger(value=threshold)
    )
    return overload.OverloadAction(name=name, triggers=[trigger])


def _stats() -> metrics.StatsConfig:
    """Everything about the process and its listeners; of each cluster only ``STATS``."""
    wanted = [matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=rf"cluster\..*\.({item})")) for item in STATS]
    others = matcher.StringMatcher(
        safe_regex=matcher.RegexMatcher(
            regex=r"(server|listener_manager|cluster_manager|control_plane|overload|sds)\..*"
        )
    )
    sides = matcher.StringMatcher(
        safe_regex=matcher.RegexMatcher(
            regex=r"(http|tcp|listener)\..*(downstream|ssl\.(curves|versions|connection_error|fail)).*"
        )
    )
    decided = matcher.StringMatcher(
        safe_regex=matcher.RegexMatcher(regex=r"(http\..*\.(rbac|jwt_authn|ext_authz)|policy|ext_authz)\..*")
    )
    patterns = matcher.ListStringMatcher(patterns=[others, sides, decided, *wanted])
    return metrics.StatsConfig(stats_matcher=metrics.StatsMatcher(inclusion_list=patterns))
