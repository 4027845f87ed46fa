"""What happens on an accepted connection: requests are understood, or bytes are passed on.

The hardening is the same everywhere and stands here once; the facts behind it are promises D1, D2, D5 and E20-E25.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import access_log, api, common, matches, tls
from weft.envoy.clusters import EGRESS, TUNNEL_METADATA
from weft.envoy.filters import router
from weft.envoy.filters.chain import http_filters
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.accesslog import v3 as accesslog
from weft.envoy.protos.envoy.config.common.mutation_rules import v3 as mutation
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.extensions.filters.common.set_filter_state import v3 as filter_state
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.extensions.filters.network.set_filter_state import v3 as set_filter_state
from weft.envoy.protos.envoy.extensions.filters.network.tcp_proxy import v3 as tcp_proxy
from weft.envoy.protos.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early
from weft.envoy.twins import twins
from weft.names import BLACKHOLE, TCP_PREFIX, UNANSWERED

if TYPE_CHECKING:
    from weft.envoy.protos.envoy.config.route import v3 as route

HCM: Final = "envoy.filters.network.http_connection_manager"
TCP_PROXY: Final = "envoy.filters.network.tcp_proxy"
HEADERS_TIMEOUT: Final = 3_500
"""Milliseconds for the headers of a request to arrive whole. Envoy has no limit, and slowloris lives on that. The connection
lives a second longer, so that the answer (408) is read before it closes: promise D2 says 5 s.
"""
UNESCAPE: Final = hcm.HttpConnectionManager.PathWithEscapedSlashesAction.UNESCAPE_AND_FORWARD
"""``%2F`` is a slash to whoever decides about a request: at the edge and before the application."""
_AUTO: Final = hcm.HttpConnectionManager.CodecType.AUTO
_HTTP2: Final = hcm.HttpConnectionManager.CodecType.HTTP2
TUNNELLED: Final = "weft"
"""The target of a CONNECT between two of our proxies. It says nothing: the callee's listener is for one port."""
EARLY_BYTES: Final = 65_536
"""What a guarded connection may send while its upstream connection is being made."""
NO_ANSWER: Final = ("UF", "UC", "UR", "OM")
"""The application refused the connection, ended it, or reset the stream; or this proxy has no memory left to ask it."""
KEEP: Final = hcm.HttpConnectionManager.PathWithEscapedSlashesAction.KEEP_UNCHANGED
EDGE_IDLE: Final = 300_000
CLUSTER_TIMEOUT: Final = 2_000
IDLE_CONNECTION: Final = 3_600_000
ABSENT: Final = "weft: nothing in the mesh has the name %REQ(:AUTHORITY):256%\n"
ENVOYS: Final = "x-envoy-"
"""How the names begin of what only proxies say to one another; whoever calls does not say it, at an edge or anywhere else."""
FORWARDED: Final = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "forwarded")
"""What a caller from outside could say to be taken for somebody else. Our edge is the first proxy that may say it."""


class Wire(enum.Enum):
    """What a connection manager's bytes came in: ``PLAIN``, in mutual TLS whatever it is (``RAW``), or HTTP/2 (``HTTP``)."""

    PLAIN = "plain"
    RAW = "raw"
    HTTP = "http"


class Http(msgspec.Struct, frozen=True, cache_hash=True):
    """``name`` is the listener's; ``routes`` the name of its route configuration; ``stats`` the prefix of its figures,
    where it is not the side's.
    """

    name: str
    place: Place
    routes: str
    wire: Wire = Wire.PLAIN
    stats: str = ""


def http(key: Http, inline: route.RouteConfiguration | None = None) -> listener.Filter:
    """A connection manager with its routes inline, or asked for by name."""
    side = key.place.side
    rds = None if inline else hcm.Rds(config_source=common.ads(), route_config_name=key.routes)
    made = hcm.HttpConnectionManager(
        stat_prefix=key.stats or side.value,
        codec_type=_HTTP2 if key.wire is Wire.HTTP else _AUTO,
        rds=rds,
        route_config=inline,
        http_filters=http_filters(key.place),
        access_log=access_log.requests(key.name, guarded=bool(key.place.guarded)),
        http_protocol_options=core.Http1ProtocolOptions(accept_http_10=True, default_host_for_http_10="http10.invalid"),
        common_http_protocol_options=core.HttpProtocolOptions(idle_timeout=api.duration(IDLE_CONNECTION)),
        http2_protocol_options=_http2(key),
        server_header_transformation=hcm.HttpConnectionManager.PASS_THROUGH,
        request_headers_timeout=api.duration(HEADERS_TIMEOUT),
        stream_idle_timeout=api.duration(EDGE_IDLE if side is Side.EDGE else 0),
        use_remote_address=api.boolean(side is Side.EDGE),
        skip_xff_append=side is not Side.EDGE,
        internal_address_config=_nobody(),
        generate_request_id=api.boolean(True),
        normalize_path=api.boolean(True),
        merge_slashes=True,
        path_with_escaped_slashes_action=UNESCAPE if side in (Side.EDGE, Side.INBOUND) else KEEP,
        strip_any_host_port=side is Side.EDGE,
        strip_trailing_host_dot=True,
        upgrade_configs=_upgrades(key.place),
    )
    if key.place.guarded:
        # Whoever was let in is not asked again, however long a WebSocket lasts.
        made.common_http_protocol_options.max_stream_duration.CopyFrom(api.duration(tls.OPAQUE_AFTER))
    if key.wire is not Wire.PLAIN:
        _known_peer(made)
    made.early_header_mutation_extensions.append(_without(side))
    if side.asks:
        made.local_reply_config.CopyFrom(_absent())
    if side is Side.INBOUND:
        made.local_reply_config.CopyFrom(_unanswered())
    return listener.Filter(name=HCM, typed_config=api.pack(made))


class Tcp(msgspec.Struct, frozen=True, cache_hash=True):
    """``name`` is the listener's. ``life``: milliseconds after which a connection is closed, 0 for never. ``guarded``: filters
    in front decide on the first bytes, and the upstream hears nothing before (else its greeting would pass them). ``tunnel``:
    as a CONNECT stream of the cluster.
    """

    name: str
    cluster: str
    stats: str = "tcp"
    life: int = 0
    guarded: bool = False
    tunnel: bool = False


def tcp(key: Tcp) -> listener.Filter:
    """Every connection to one cluster."""
    made = tcp_proxy.TcpProxy(
        stat_prefix=key.stats,
        cluster=key.cluster,
        access_log=access_log.connections(key.name),
        max_downstream_connection_duration=api.duration(key.life) if key.life else None,
    )
    if key.tunnel:
        made.tunneling_config.CopyFrom(tcp_proxy.TcpProxy.TunnelingConfig(hostname=TUNNELLED))
    if key.guarded:
        made.upstream_connect_mode = tcp_proxy.UpstreamConnectMode.ON_DOWNSTREAM_DATA
        made.max_early_data_bytes.CopyFrom(api.uint32(EARLY_BYTES))
    return listener.Filter(name=TCP_PROXY, typed_config=api.pack(made))


def tunnel_end(name: str, routes: route.RouteConfiguration) -> listener.Filter:
    """The callee's end of pooled tunnels: HTTP/2 that holds nothing but CONNECT, each stream one connection."""
    made = hcm.HttpConnectionManager(
        stat_prefix="tunnel",
        codec_type=_HTTP2,
        route_config=routes,
        http_filters=[router.made()],
        access_log=access_log.requests(name),
        common_http_protocol_options=core.HttpProtocolOptions(
            idle_timeout=api.duration(IDLE_CONNECTION),
            max_connection_duration=api.duration(tls.DRAINED_AFTER),
            max_stream_duration=api.duration(tls.OPAQUE_AFTER),
        ),
        http2_protocol_options=common.http2(lean=True),
        request_headers_timeout=api.duration(HEADERS_TIMEOUT),
        stream_idle_timeout=api.duration(0),
        internal_address_config=_nobody(),
        generate_request_id=api.boolean(False),
        upgrade_configs=[hcm.HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT")],
    )
    return listener.Filter(name=HCM, typed_config=api.pack(made))


def tunnel() -> listener.Filter:
    """Every connection through a CONNECT at the egress proxy, to the target that the endpoint's metadata names."""
    through = tcp_proxy.TcpProxy.TunnelingConfig(hostname=f"%DYNAMIC_METADATA({TUNNEL_METADATA}:target)%")
    made = tcp_proxy.TcpProxy(stat_prefix="tcp", cluster=EGRESS, tunneling_config=through)
    return listener.Filter(name=TCP_PROXY, typed_config=api.pack(made))


def pooled() -> list[listener.Filter]:
    """Every connection as a CONNECT stream of the cluster that the endpoint's metadata names; that may still be on its way."""
    proxy = tcp_proxy.TcpProxy(
        stat_prefix="pooled",
        cluster=BLACKHOLE,
        tunneling_config=tcp_proxy.TcpProxy.TunnelingConfig(hostname=TUNNELLED),
        on_demand=tcp_proxy.TcpProxy.OnDemand(odcds_config=common.ads(), timeout=api.duration(CLUSTER_TIMEOUT)),
    )
    return [
        _to_cluster(f"%DYNAMIC_METADATA({TUNNEL_METADATA}:cluster)%"),
        listener.Filter(name=TCP_PROXY, typed_config=api.pack(proxy)),
    ]


def _to_cluster(text: str) -> listener.Filter:
    """The cluster of the TCP proxy behind it, chosen when a connection begins."""
    where = filter_state.FilterStateValue(
        object_key="envoy.tcp_proxy.cluster",
        format_string=core.SubstitutionFormatString(text_format_source=core.DataSource(inline_string=text)),
    )
    return listener.Filter(
        name="envoy.filters.network.set_filter_state",
        typed_config=api.pack(set_filter_state.Config(on_new_connection=[where])),
    )


def tcp_by_address(name: str) -> list[listener.Filter]:
    """Every connection to the cluster ``tcp|<address>:<port>`` of where it was going, asked for on demand."""
    proxy = tcp_proxy.TcpProxy(
        stat_prefix="tcp",
        cluster=BLACKHOLE,
        access_log=access_log.connections(name),
        on_demand=tcp_proxy.TcpProxy.OnDemand(odcds_config=common.ads(), timeout=api.duration(CLUSTER_TIMEOUT)),
    )
    return [
        _to_cluster(f"{TCP_PREFIX}%DOWNSTREAM_LOCAL_ADDRESS%"),
        listener.Filter(name=TCP_PROXY, typed_config=api.pack(proxy)),
    ]


def _http2(key: Http) -> core.Http2ProtocolOptions:
    """Limits of HTTP/2; at an edge, where strangers call, few streams per connection. CONNECT carries WebSockets."""
    made = common.http2(lean=key.wire is Wire.HTTP)
    made.max_concurrent_streams.CopyFrom(api.uint32(100 if key.place.side is Side.EDGE else 1_000))
    return made


def _known_peer(made: hcm.HttpConnectionManager) -> None:
    """Behind mutual TLS: the application may hear who called, from us alone; and no connection lives for ever."""
    made.forward_client_cert_details = hcm.HttpConnectionManager.SANITIZE_SET
    made.set_current_client_cert_details.CopyFrom(hcm.HttpConnectionManager.SetCurrentClientCertDetails(uri=True))
    made.common_http_protocol_options.max_connection_duration.CopyFrom(api.duration(tls.DRAINED_AFTER))


def _upgrades(place: Place) -> list[hcm.HttpConnectionManager.UpgradeConfig]:
    upgrade = hcm.HttpConnectionManager.UpgradeConfig
    tunnel = [upgrade(upgrade_type="CONNECT")] if place.tunnels else []
    return [upgrade(upgrade_type="websocket"), *tunnel]


@lru_cache
def _nobody() -> hcm.HttpConnectionManager.InternalAddressConfig:
    """Who is internal by address: of an empty list Envoy makes all private networks, and an address may be what a caller wrote
    into ``x-forwarded-for``. Whoever is internal keeps his ``x-request-id``, and applications are told (``x-envoy-internal``).
    """
    nowhere = core.CidrRange(address_prefix="255.255.255.255", prefix_len=api.uint32(32))
    return hcm.HttpConnectionManager.InternalAddressConfig(cidr_ranges=[nowhere])


@lru_cache
def _without(side: Side) -> core.TypedExtensionConfig:
    """Before anything reads the request. Who called by which certificate (XFCC) is set or removed by Envoy itself; what an
    application may take for that, and for what an edge says, nobody says at all.
    """
    ours = mutation.HeaderMutation.RemoveOnMatch(key_matcher=matches.prefix(ENVOYS))
    mutations = [mutation.HeaderMutation(remove_on_match=ours)]
    mutations += [mutation.HeaderMutation(remove=name) for name in _NOT_SAID.get(side, ())]
    return core.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=api.pack(early.HeaderMutation(mutations=mutations)),
    )


_NOT_SAID: Final = MappingProxyType(
    {
        Side.EDGE: tuple(each for name in FORWARDED for each in (name, *twins(name))),
        Side.INBOUND: twins("x-forwarded-client-cert"),
    }
)


@lru_cache
def _unanswered() -> hcm.LocalReplyConfig:
    """What this proxy answers because its application gave no answer says so: the caller's proxy may ask another endpoint."""
    silent = accesslog.AccessLogFilter(response_flag_filter=accesslog.ResponseFlagFilter(flags=NO_ANSWER))
    said = core.HeaderValueOption(
        header=core.HeaderValue(key=UNANSWERED, value="%RESPONSE_FLAGS%"),
        append_action=core.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return hcm.LocalReplyConfig(mappers=[hcm.ResponseMapper(filter=silent, headers_to_add=[said])])


def _absent() -> hcm.LocalReplyConfig:
    """The answer to a name that was found to be absent: no virtual host is there to give it."""
    missing = accesslog.AccessLogFilter(response_flag_filter=accesslog.ResponseFlagFilter(flags=["NR"]))
    text = core.SubstitutionFormatString(text_format_source=core.DataSource(inline_string=ABSENT))
    return hcm.LocalReplyConfig(
        mappers=[hcm.ResponseMapper(filter=missing, status_code=api.uint32(502), body_format_override=text)]
    )
