"""What Istio's sidecars would be given, written by hand from its documentation, for comparison in the same run.

Source: istio.io, "Debugging Envoy and istiod" and the proxy-config dumps in it; the security and mesh config references.
Kept: the order of filters, their settings, retry policy, TLS, certificate header, listener filters, circuit breakers, the
inclusion list of statistics. Istio's own filters are not in a stock Envoy; stock ones do the same in their place:

- ``istio.metadata_exchange``: ``header_mutation`` adds its two headers, ``header_to_metadata`` reads and removes them;
- ``istio.stats``: the stats access logger with Istio's metrics and every one of its labels;
- ``istio.alpn``: the names that it would choose stand in the cluster.

The access log on disk is off, as in Istio's default profile, and so is tracing. ``original_dst`` finds nothing to restore.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, Any]

DOMAIN: Final = "cluster.local"
CALLER: Final = f"spiffe://{DOMAIN}/ns/default/sa/reviews"
CALLEE: Final = f"spiffe://{DOMAIN}/ns/default/sa/ratings"
ADDED: Final = ("x-envoy-peer-metadata-id", "x-envoy-peer-metadata")
"""The headers by which two sidecars tell each other who they are; the second is about 700 characters."""

_LABELS: Final = {
    **{f"source_{name}": "reviews" for name in ("app", "canonical_service")},
    "source_workload": "reviews-v1",
    "source_workload_namespace": "default",
    "source_principal": "%DOWNSTREAM_PEER_URI_SAN%",
    "source_version": "v1",
    "source_canonical_revision": "v1",
    "source_cluster": "Kubernetes",
    **{f"destination_{name}": "ratings" for name in ("app", "canonical_service", "service_name")},
    "destination_workload": "ratings-v1",
    "destination_workload_namespace": "default",
    "destination_principal": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "destination_version": "v1",
    "destination_canonical_revision": "v1",
    "destination_service": f"ratings.default.svc.{DOMAIN}",
    "destination_service_namespace": "default",
    "destination_cluster": "Kubernetes",
    "request_protocol": "http",
    "response_code": "%RESPONSE_CODE%",
    "grpc_response_status": "%GRPC_STATUS_NUMBER%",
    "response_flags": "%RESPONSE_FLAGS%",
    "connection_security_policy": "mutual_tls",
}


def _typed(name: str, kind: str, **fields: Any) -> Json:  # noqa: ANN401 - JSON
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **fields}}


def _stats(reporter: str) -> Json:
    tags = [{"name": name, "value_format": value} for name, value in {"reporter": reporter, **_LABELS}.items()]
    histograms = (
        ("istio_request_duration_milliseconds", "Milliseconds", "%DURATION%"),
        ("istio_request_bytes", "Bytes", "%BYTES_RECEIVED%"),
        ("istio_response_bytes", "Bytes", "%BYTES_SENT%"),
    )
    return _typed(
        "envoy.access_loggers.stats",
        "access_loggers.stats.v3.Config",
        stat_prefix="istiocustom",
        counters=[{"stat": {"name": "istio_requests_total", "tags": tags}, "value_fixed": 1}],
        histograms=[
            {"stat": {"name": name, "tags": tags}, "unit": unit, "value_format": value}
            for name, unit, value in histograms
        ],
    )


def _exchange(says: str, hears: str) -> list[Json]:
    """The place of ``istio.metadata_exchange``: adds our headers to one direction, and takes the peer's off the other."""
    values = ("sidecar~10.1.2.3~reviews-v1-545db77b95-jkgv2.default~default", base64.b64encode(b"x" * 520).decode())
    added = [
        {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
        for key, value in zip(ADDED, values, strict=True)
    ]
    kept = [
        {
            "header": key,
            "on_header_present": {"metadata_namespace": "istio.peer", "key": key, "type": "STRING"},
            "remove": True,
        }
        for key in ADDED
    ]
    mutation = "filters.http.header_mutation.v3.HeaderMutation"
    return [
        _typed("envoy.filters.http.header_mutation", mutation, mutations={f"{says}_mutations": added}),
        _typed(
            "envoy.filters.http.header_to_metadata",
            "filters.http.header_to_metadata.v3.Config",
            **{f"{hears}_rules": kept},
        ),
    ]


def _rbac(requests: bool) -> Json:
    """An AuthorizationPolicy that allows one principal, and with ``requests`` one method and path of it."""
    asked = [{"header": {"name": ":method", "string_match": {"exact": "GET"}}}, {"url_path": {"path": {"prefix": "/"}}}]
    one_of = [{"or_rules": {"rules": [each]}} for each in asked]
    permission = {"and_rules": {"rules": one_of}} if requests else {"any": True}
    who = {"or_ids": {"ids": [{"authenticated": {"principal_name": {"exact": CALLER}}}]}}
    policy = {"permissions": [permission], "principals": [{"and_ids": {"ids": [who]}}]}
    return _typed(
        "envoy.filters.http.rbac",
        "filters.http.rbac.v3.RBAC",
        shadow_rules_stat_prefix="istio_dry_run_allow_",
        rules={"action": "ALLOW", "policies": {"ns[default]-policy[ratings]-rule[0]": policy}},
    )


def _common() -> list[Json]:
    return [
        _typed(
            "envoy.filters.http.grpc_stats",
            "filters.http.grpc_stats.v3.FilterConfig",
            emit_filter_state=True,
            stats_for_all_methods=False,
        ),
        _typed("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault"),
        _typed("envoy.filters.http.cors", "filters.http.cors.v3.Cors"),
        _typed("envoy.filters.http.router", "filters.http.router.v3.Router"),
    ]


def _manager(prefix: str, filters: list[Json], action: Json, **fields: Any) -> Json:  # noqa: ANN401 - JSON
    route = {
        "match": {"prefix": "/"},
        "name": "default",
        "decorator": {"operation": f"ratings.default.svc.{DOMAIN}:8080/*"},
        "route": action,
    }
    host = {"name": "ratings", "domains": ["*"], "routes": [route], "include_request_attempt_count": True}
    return _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=prefix,
        http_filters=filters,
        route_config={"name": "8080", "validate_clusters": False, "virtual_hosts": [host]},
        use_remote_address=False,
        normalize_path=True,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        stream_idle_timeout="0s",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        request_id_extension={
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "use_request_id_for_trace_sampling": True,
            }
        },
        **fields,
    )


def _tls(kind: str, alpn: Sequence[str], who: Json, **fields: Any) -> Json:  # noqa: ANN401 - JSON
    matched = {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": who}]}
    common = {
        "alpn_protocols": alpn,
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [{"name": "default"}],
        "combined_validation_context": {
            "default_validation_context": matched,
            "validation_context_sds_secret_config": {"name": "ROOTCA"},
        },
    }
    kind = f"transport_sockets.tls.v3.{kind}"
    return _typed("envoy.transport_sockets.tls", kind, common_tls_context=common, **fields)


def _calls(alpn: Sequence[str]) -> Json:
    sni = f"outbound_.8080_._.ratings.default.svc.{DOMAIN}"
    return _tls("UpstreamTlsContext", alpn, {"exact": CALLEE}, sni=sni)


def _called(alpn: Sequence[str]) -> Json:
    who = {"prefix": f"spiffe://{DOMAIN}/"}
    return _tls("DownstreamTlsContext", alpn, who, require_client_certificate=True)


def _cluster(name: str, address: Json, **fields: Any) -> Json:  # noqa: ANN401 - JSON
    most = 4_294_967_295
    names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {
        "name": name,
        "connect_timeout": "10s",
        "circuit_breakers": {"thresholds": [{**dict.fromkeys(names, most), "track_remaining": True}]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        **fields,
    }


def _as_called() -> Json:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    same: Json = {"http_protocol_options": {}, "http2_protocol_options": {}}
    return {options: {"@type": f"type.googleapis.com/{options}", "use_downstream_protocol_config": same}}


def _bootstrap(listener: Json, cluster: Json, secrets: list[Json], admin: str) -> str:
    counted = ("reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "istio", "component")
    return msgspec.json.encode(
        {
            "admin": {"address": {"pipe": {"path": admin}}},
            "stats_config": {
                "use_all_default_tags": False,
                "stats_matcher": {"inclusion_list": {"patterns": [{"prefix": each} for each in counted]}},
            },
            "static_resources": {"listeners": [listener], "clusters": [cluster], "secrets": secrets},
        }
    ).decode()


def http_caller(listen: Json, to: Json, secrets: list[Json], admin: str) -> str:
    """The caller's sidecar for HTTP/1.1."""
    again = {
        "num_retries": 2,
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "retriable_status_codes": [503],
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [
            _typed("previous", "retry.host.previous_hosts.v3.PreviousHostsPredicate"),
        ],
    }
    action = {"cluster": "out", "timeout": "0s", "max_grpc_timeout": "0s", "retry_policy": again}
    filters = [*_exchange("request", "response"), *_common()]
    manager = _manager("outbound_0.0.0.0_8080", filters, action, access_log=[_stats("source")])
    cluster = _cluster(
        "out",
        to,
        lb_policy="LEAST_REQUEST",
        typed_extension_protocol_options=_as_called(),
        transport_socket=_calls(["istio-http/1.1", "istio", "http/1.1"]),
    )
    return _bootstrap(
        {"name": "out", "address": listen, "filter_chains": [{"filters": [manager]}]}, cluster, secrets, admin
    )


def _inbound(listen: Json, chain: Json) -> Json:
    looking = (
        ("original_dst", "OriginalDst"),
        ("tls_inspector", "TlsInspector"),
        ("http_inspector", "HttpInspector"),
    )
    return {
        "name": "virtualInbound",
        "address": listen,
        "listener_filters": [
            _typed(f"envoy.filters.listener.{name}", f"filters.listener.{name}.v3.{kind}") for name, kind in looking
        ],
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": True,
        "filter_chains": [chain],
    }


def http_callee(listen: Json, to: Json, secrets: list[Json], admin: str, *, requests: bool) -> str:
    """The callee's sidecar for HTTP/1.1, with a policy about identity or (``requests``) about requests, too."""
    action = {
        "cluster": "in",
        "timeout": "0s",
        "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
    }
    manager = _manager(
        "inbound_0.0.0.0_8080",
        [*_exchange("response", "request"), _rbac(requests), *_common()],
        action,
        access_log=[_stats("destination")],
        forward_client_cert_details="APPEND_FORWARD",
        set_current_client_cert_details={"subject": True, "dns": True, "uri": True},
        server_name="istio-envoy",
    )
    ours = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
    chain = {
        "filter_chain_match": {"transport_protocol": "tls", "application_protocols": ours},
        "transport_socket": _called(["h2", "http/1.1"]),
        "filters": [manager],
    }
    cluster = _cluster("in", to, typed_extension_protocol_options=_as_called())
    return _bootstrap(_inbound(listen, chain), cluster, secrets, admin)


def _tcp(cluster: str) -> Json:
    kind = "filters.network.tcp_proxy.v3.TcpProxy"
    return _typed("envoy.filters.network.tcp_proxy", kind, stat_prefix=cluster, cluster=cluster)


def tcp_caller(listen: Json, to: Json, secrets: list[Json], admin: str) -> str:
    """The caller's sidecar for opaque TCP: every connection is a mutual TLS connection of its own."""
    cluster = _cluster("out", to, transport_socket=_calls(["istio-peer-exchange", "istio"]))
    return _bootstrap(
        {"name": "out", "address": listen, "filter_chains": [{"filters": [_tcp("out")]}]}, cluster, secrets, admin
    )


def tcp_callee(listen: Json, to: Json, secrets: list[Json], admin: str) -> str:
    """The callee's sidecar for opaque TCP, with a policy about identity."""
    who = {"authenticated": {"principal_name": {"exact": CALLER}}}
    lock = _typed(
        "envoy.filters.network.rbac",
        "filters.network.rbac.v3.RBAC",
        stat_prefix="tcp.",
        rules={"action": "ALLOW", "policies": {"one": {"permissions": [{"any": True}], "principals": [who]}}},
    )
    chain = {
        "filter_chain_match": {"transport_protocol": "tls"},
        "transport_socket": _called(["istio-peer-exchange", "h2", "http/1.1"]),
        "filters": [lock, _tcp("in")],
    }
    return _bootstrap(_inbound(listen, chain), _cluster("in", to), secrets, admin)
