"""The door: the Envoy on port 15012 by which other hosts reach control. It ends mutual TLS, checks, and passes xDS and API on
to sockets of control's own.

Its configuration never changes while it runs, so nothing that the mesh does can lock control out of it or let a stranger in;
only its certificate and the bundles are exchanged, in files that control writes and Envoy watches. It asks nobody to be let
in without a certificate but joining hosts, probes, and people with a token; what each may do is decided behind it, by the
URI that it alone writes into ``x-forwarded-client-cert``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from weft.envoy import access_log, api, clusters, common, tls
from weft.envoy.bootstrap import bare, keepalive
from weft.envoy.connections import HCM, HEADERS_TIMEOUT
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap_
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.rbac import v3 as rbac_
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.http.rbac import v3 as rbac_filter
from weft.envoy.protos.envoy.extensions.filters.http.router import v3 as router
from weft.envoy.protos.envoy.extensions.filters.network.connection_limit import v3 as limit
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls_
from weft.envoy.protos.envoy.extensions.upstreams.http import v3 as http
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.model.service import Address
from weft.names import BUNDLES, CONTROL_NAME, SVID

NAME: Final = "door"
XDS: Final = "door-xds"
API: Final = "door-api"
STRANGERS: Final = "door-strangers"
GRPC_PREFIX: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
JOIN_PATH: Final = "/weft/v1/join"
OPEN_PATHS: Final = (JOIN_PATH, "/livez", "/readyz")
"""What is asked without a certificate."""

MAX_CONNECTIONS: Final = 4_096
MAX_STREAMS: Final = 100
HANDSHAKE: Final = 5_000
"""Milliseconds for a TLS handshake."""
STRANGER_SECONDS: Final = 10
"""How long an answer to a stranger may take."""
MAX_STRANGERS: Final = 128
"""Requests for the open paths that reach control at a time: whoever sends them slowly holds up no host and no token."""
STRANGER_CONNECTIONS: Final = 1_024
"""Of all connections, those without a certificate at a time: the rest is kept for hosts."""
STRANGER_IDLE: Final = 15_000
"""Milliseconds that a connection without a certificate may stay without a request."""
MAX_API: Final = 1_800
"""Connections to control's API. It answers 2,000, strangers' included; more wait here until one is free."""
MAX_HEADERS_KB: Final = 32


class DoorInput(msgspec.Struct, frozen=True, kw_only=True):
    """``listen`` is the host's address, ``secrets`` the directory of ``svid.json`` and ``bundles.json``, the rest are sockets."""

    node: str
    listen: Address
    admin: str
    secrets: str
    xds: str
    api: str


def bootstrap(key: DoorInput) -> bytes:
    """The whole configuration of the door, as JSON."""
    made = bare(key.node, key.admin, MAX_CONNECTIONS)
    made.static_resources.CopyFrom(
        bootstrap_.Bootstrap.StaticResources(
            listeners=[_listener(key)],
            clusters=[_behind(XDS, key.xds, http2=True), _api(key.api), _strangers(key.api)],
        )
    )
    return msgspec.json.format(msgspec.json.encode(api.to_json(made), order="deterministic"), indent=1)


def _listener(key: DoorInput) -> listener.Listener:
    """Two chains, because Envoy's SPIFFE validator demands a certificate of everybody (measured on 1.40.0, whatever
    ``require_client_certificate`` says). Who has one says so by the name that it asks for; on the other chain none is asked
    for, so that nobody there can have an identity.
    """
    return listener.Listener(
        name=NAME,
        stat_prefix=NAME,
        address=common.address(key.listen),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        enable_reuse_port=api.boolean(False),
        listener_filters=[tls.inspector()],
        listener_filters_timeout=api.duration(HANDSHAKE),
        filter_chains=[_chain(key.secrets, known=True)],
        default_filter_chain=_chain(key.secrets, known=False),
    )


def _chain(directory: str, *, known: bool) -> listener.FilterChain:
    return listener.FilterChain(
        name="identity" if known else "strangers",
        filter_chain_match=listener.FilterChainMatch(server_names=[CONTROL_NAME]) if known else None,
        filters=[
            *([] if known else [_few()]),
            listener.Filter(name=HCM, typed_config=api.pack(_manager(known=known))),
        ],
        transport_socket=_tls(directory, known=known),
        transport_socket_connect_timeout=api.duration(HANDSHAKE),
    )


def _few() -> listener.Filter:
    """Strangers may open so many connections at a time. More are closed, before their handshake costs anything."""
    few = limit.ConnectionLimit(stat_prefix=STRANGERS, max_connections=api.uint64(STRANGER_CONNECTIONS))
    return listener.Filter(name="envoy.filters.network.connection_limit", typed_config=api.pack(few))


def _tls(directory: str, *, known: bool) -> core.TransportSocket:
    context = tls_.DownstreamTlsContext(
        common_tls_context=tls_.CommonTlsContext(
            tls_params=tls_.TlsParameters(
                tls_minimum_protocol_version=tls_.TlsParameters.TLSv1_3,
                tls_maximum_protocol_version=tls_.TlsParameters.TLSv1_3,
                ecdh_curves=tls.CURVES,
            ),
            tls_certificate_sds_secret_configs=[_file(SVID, directory, "svid.json")],
            validation_context_sds_secret_config=_file(BUNDLES, directory, "bundles.json") if known else None,
            alpn_protocols=["h2", "http/1.1"],
        ),
        require_client_certificate=api.boolean(known),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return core.TransportSocket(name=tls.TLS, typed_config=api.pack(context))


def _file(name: str, directory: str, file: str) -> tls_.SdsSecretConfig:
    source = core.PathConfigSource(path=f"{directory}/{file}", watched_directory=core.WatchedDirectory(path=directory))
    return tls_.SdsSecretConfig(
        name=name, sds_config=core.ConfigSource(path_config_source=source, resource_api_version=core.ApiVersion.V3)
    )


def _manager(*, known: bool) -> hcm.HttpConnectionManager:
    # With the chain, which control checks again: a connection outlives its certificate and the authority that signed it.
    details = hcm.HttpConnectionManager.SetCurrentClientCertDetails(uri=True, chain=True)
    return hcm.HttpConnectionManager(
        stat_prefix=NAME,
        route_config=_routes(),
        http_filters=[_lock(known=known), _router()],
        access_log=access_log.requests(NAME),
        common_http_protocol_options=core.HttpProtocolOptions(
            idle_timeout=api.duration(600_000 if known else STRANGER_IDLE),
            max_connection_duration=api.duration(tls.DRAINED_AFTER),
            max_headers_count=api.uint32(100),
            headers_with_underscores_action=core.HttpProtocolOptions.REJECT_REQUEST,
        ),
        http2_protocol_options=core.Http2ProtocolOptions(
            max_concurrent_streams=api.uint32(MAX_STREAMS),
            initial_stream_window_size=api.uint32(common.BUFFER_LIMIT_BYTES),
            initial_connection_window_size=api.uint32(1_048_576),
            connection_keepalive=keepalive(),
        ),
        max_request_headers_kb=api.uint32(MAX_HEADERS_KB),
        request_headers_timeout=api.duration(HEADERS_TIMEOUT),
        stream_idle_timeout=api.duration(0),
        delayed_close_timeout=api.duration(1_000),
        use_remote_address=api.boolean(True),
        skip_xff_append=True,
        server_header_transformation=hcm.HttpConnectionManager.PASS_THROUGH,
        forward_client_cert_details=hcm.HttpConnectionManager.SANITIZE_SET,
        set_current_client_cert_details=details,
        normalize_path=api.boolean(True),
        merge_slashes=True,
        path_with_escaped_slashes_action=hcm.HttpConnectionManager.REJECT_REQUEST,
        internal_address_config=hcm.HttpConnectionManager.InternalAddressConfig(),
    )


def _routes() -> route.RouteConfiguration:
    """Watches go on for ever; what strangers may ask is bounded in time."""
    stream = route.Route(
        name=XDS,
        match=route.RouteMatch(prefix=GRPC_PREFIX),
        route=route.RouteAction(cluster=XDS, timeout=api.duration(0), idle_timeout=api.duration(0)),
    )
    strangers = [
        route.Route(
            name=path,
            match=route.RouteMatch(path=path),
            route=route.RouteAction(cluster=STRANGERS, timeout=api.duration(STRANGER_SECONDS * 1_000)),
        )
        for path in OPEN_PATHS
    ]
    everything = route.Route(
        name=API,
        match=route.RouteMatch(prefix="/"),
        route=route.RouteAction(cluster=API, timeout=api.duration(0), idle_timeout=api.duration(0)),
    )
    host = route.VirtualHost(name=NAME, domains=["*"], routes=[stream, *strangers, everything])
    return route.RouteConfiguration(name=NAME, virtual_hosts=[host])


def _lock(*, known: bool) -> hcm.HttpFilter:
    """Whoever has no SPIFFE ID gets no further than the open paths, or shows a token. Who may do what is decided behind."""
    paths = [
        rbac_.Permission(url_path=matcher.PathMatcher(path=matcher.StringMatcher(exact=path))) for path in OPEN_PATHS
    ]
    policies = {"open": rbac_.Policy(permissions=paths, principals=[rbac_.Principal(any=True)])}
    if known:
        identity = rbac_.Principal.Authenticated(principal_name=matcher.StringMatcher(prefix="spiffe://"))
        policies["identity"] = rbac_.Policy(
            permissions=[rbac_.Permission(any=True)], principals=[rbac_.Principal(authenticated=identity)]
        )
    else:
        bearer = route.HeaderMatcher(
            name="authorization", string_match=matcher.StringMatcher(prefix="bearer ", ignore_case=True)
        )
        stream = matcher.PathMatcher(path=matcher.StringMatcher(prefix=GRPC_PREFIX))
        policies["token"] = rbac_.Policy(
            permissions=[rbac_.Permission(not_rule=rbac_.Permission(url_path=stream))],
            principals=[rbac_.Principal(header=bearer)],
        )
    rules = rbac_.RBAC(action=rbac_.RBAC.ALLOW, policies=policies)
    return hcm.HttpFilter(name="envoy.filters.http.rbac", typed_config=api.pack(rbac_filter.RBAC(rules=rules)))


def _router() -> hcm.HttpFilter:
    return hcm.HttpFilter(
        name="envoy.filters.http.router", typed_config=api.pack(router.Router(suppress_envoy_headers=True))
    )


def _behind(name: str, path: str, *, http2: bool) -> cluster.Cluster:
    made = clusters.fixed(name, Address(path=path), 1_000)
    options = http.HttpProtocolOptions.ExplicitHttpConfig(
        http2_protocol_options=core.Http2ProtocolOptions(connection_keepalive=keepalive()) if http2 else None,
        http_protocol_options=None if http2 else core.Http1ProtocolOptions(),
    )
    made.typed_extension_protocol_options[common.HTTP_OPTIONS].CopyFrom(
        api.pack(http.HttpProtocolOptions(explicit_http_config=options))
    )
    return made


def _api(path: str) -> cluster.Cluster:
    made = _behind(API, path, http2=False)
    made.circuit_breakers.thresholds[0].max_connections.CopyFrom(api.uint32(MAX_API))
    return made


def _strangers(path: str) -> cluster.Cluster:
    made = _behind(STRANGERS, path, http2=False)
    most = api.uint32(MAX_STRANGERS)
    made.circuit_breakers.CopyFrom(
        cluster.CircuitBreakers(
            thresholds=[
                cluster.CircuitBreakers.Thresholds(max_connections=most, max_pending_requests=most, max_requests=most)
            ]
        )
    )
    return made


def svid_file(chain: str, key: str) -> bytes:
    """``svid.json``: the door's certificate (PEM, leaf first) and its key (PEM)."""
    certificate = tls_.TlsCertificate(
        certificate_chain=core.DataSource(inline_string=chain), private_key=core.DataSource(inline_string=key)
    )
    return _discovery(tls_.Secret(name=SVID, tls_certificate=certificate))


def bundles_file(trust_domain: str, roots: str) -> bytes:
    """``bundles.json``: our own trust domain's CA certificates (PEM). Other trust domains have no business at this door."""
    if "-----BEGIN CERTIFICATE-----" not in roots:
        raise ValueError("a bundle without a certificate would let everybody in")
    domain = tls_.SPIFFECertValidatorConfig.TrustDomain(
        name=trust_domain, trust_bundle=core.DataSource(inline_string=roots)
    )
    validator = core.TypedExtensionConfig(
        name="envoy.tls.cert_validator.spiffe",
        typed_config=api.pack(tls_.SPIFFECertValidatorConfig(trust_domains=[domain])),
    )
    context = tls_.CertificateValidationContext(custom_validator_config=validator)
    return _discovery(tls_.Secret(name=BUNDLES, validation_context=context))


def _discovery(secret: tls_.Secret) -> bytes:
    made = discovery.DiscoveryResponse(resources=[api.pack(secret)])
    return msgspec.json.encode(api.to_json(made), order="deterministic")
