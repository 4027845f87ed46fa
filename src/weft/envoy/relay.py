"""The host proxy's way between hosts: TLS is passed on unread, by the name that the caller's proxy asks for (SNI).

``relay`` takes connections from other hosts. It is a constant: the name makes the cluster's name, so that a workload that
comes or goes changes a cluster and drains nobody. A name without a cluster is closed at once. ``relay-inside`` takes those of
this host's captured namespaces, which have no network; the end of the name is the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import access_log, api, clusters, common
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.extensions.filters.common.set_filter_state import v3 as filter_state
from weft.envoy.protos.envoy.extensions.filters.listener.tls_inspector import v3 as tls_inspector
from weft.envoy.protos.envoy.extensions.filters.network.set_filter_state import v3 as set_filter_state
from weft.envoy.protos.envoy.extensions.filters.network.tcp_proxy import v3 as tcp_proxy
from weft.model.service import Address
from weft.names import BLACKHOLE

if TYPE_CHECKING:
    from weft.envoy.protos.envoy.config.cluster import v3 as cluster_
    from weft.xds.protocol import Resource

RELAY: Final = "relay"
INSIDE: Final = "relay-inside"
DOOR: Final = "door"
LOCAL_PREFIX: Final = "relay|"
REMOTE_PREFIX: Final = "relay-host|"
"""Not a beginning of what a caller's SNI could make of ``LOCAL_PREFIX``: nobody can ask one host for another."""

GREETING: Final = 2_000
"""Milliseconds in which a connection must have said whom it wants (TLS ClientHello)."""
IDLE: Final = 3_600_000
UNANSWERED: Final = 5_000
"""Milliseconds after which a connection to another host is given up when nothing that was sent is acknowledged: a host that
is gone without a word is noticed by this, and the caller may try another.
"""
CONNECT: Final = 2_000
LOOK: Final = 1_000
"""Milliseconds between looks at another host, and for each. After two in vain it is not tried any more, after one good one it
is again.
"""
LOOK_AGAIN: Final = 250
"""Milliseconds between looks at one that is away: when it is back, control soon sends callers there."""


class Way(msgspec.Struct, frozen=True, cache_hash=True):
    """One place that connections are passed on to. ``name`` is a whole SNI, or a host's end of all its names."""

    name: str
    address: Address
    remote: bool = False


class Inside(msgspec.Struct, frozen=True, cache_hash=True):
    """``hosts`` are the ends of the names of every other host."""

    listen: Address
    hosts: tuple[str, ...]


def cluster(key: Way) -> Resource:
    """Where one name leads."""
    name = (REMOTE_PREFIX if key.remote else LOCAL_PREFIX) + key.name
    made = clusters.fixed(name, key.address, CONNECT if key.remote else 1_000)
    if key.remote and not key.address.path:
        made.upstream_bind_config.CopyFrom(core.BindConfig(socket_options=[*unanswered()]))
        made.health_checks.append(_looked_at())
        made.close_connections_on_host_health_failure = True
        made.common_lb_config.healthy_panic_threshold.SetInParent()
    return common.resource(name, made, "")


def _looked_at() -> core.HealthCheck:
    """Whether the other host proxy's kernel takes connections: while it does not, those to it end at once instead of in time,
    so that callers go elsewhere one by one.
    """
    made = core.HealthCheck(
        timeout=api.duration(LOOK),
        interval=api.duration(LOOK),
        no_traffic_interval=api.duration(LOOK),
        unhealthy_interval=api.duration(LOOK_AGAIN),
        healthy_threshold=api.uint32(1),
        unhealthy_threshold=api.uint32(2),
    )
    made.tcp_health_check.SetInParent()
    return made


def unanswered() -> tuple[core.SocketOption, ...]:
    """TCP_USER_TIMEOUT, by its numbers on Linux."""
    option = core.SocketOption(
        description="TCP_USER_TIMEOUT", level=6, name=18, int_value=UNANSWERED, state=core.SocketOption.STATE_PREBIND
    )
    return (option,)


def outer(listen: Address) -> Resource:
    """The listener for other hosts."""
    where = filter_state.FilterStateValue(
        object_key="envoy.tcp_proxy.cluster",
        format_string=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string=f"{LOCAL_PREFIX}%REQUESTED_SERVER_NAME%")
        ),
    )
    chosen = listener.Filter(
        name="envoy.filters.network.set_filter_state",
        typed_config=api.pack(set_filter_state.Config(on_new_connection=[where])),
    )
    made = _listener(RELAY, listen)
    made.socket_options.extend(unanswered())
    made.filter_chains.append(listener.FilterChain(name=RELAY, filters=[chosen, _passed_on(RELAY, BLACKHOLE)]))
    return common.resource(RELAY, made, "")


def inner(key: Inside) -> Resource:
    """The listener for captured namespaces of this host."""
    made = _listener(INSIDE, key.listen)
    for host in key.hosts:
        made.filter_chains.append(
            listener.FilterChain(
                name=host,
                filter_chain_match=listener.FilterChainMatch(server_names=[f"*.{host}"]),
                filters=[_passed_on(INSIDE, REMOTE_PREFIX + host)],
            )
        )
    made.default_filter_chain.CopyFrom(
        listener.FilterChain(name="nowhere", filters=[_passed_on(INSIDE, BLACKHOLE)]),
    )
    return common.resource(INSIDE, made, "")


def door_for_captured(listen: Address) -> listener.Listener:
    """Static in the host proxy's bootstrap: the way of captured namespaces to control's door, which no configuration from there
    is needed for.
    """
    made = _listener(DOOR, listen)
    del made.listener_filters[:]
    made.filter_chains.append(listener.FilterChain(name=DOOR, filters=[_passed_on(DOOR, DOOR)]))
    return made


def to_door(door: Address) -> cluster_.Cluster:
    """The door itself, behind ``door_for_captured``."""
    return clusters.fixed(DOOR, door, CONNECT)


def _listener(name: str, listen: Address) -> listener.Listener:
    inspector = listener.ListenerFilter(
        name="envoy.filters.listener.tls_inspector", typed_config=api.pack(tls_inspector.TlsInspector())
    )
    return listener.Listener(
        name=name,
        stat_prefix=name,
        address=common.address(listen, common.SOCKET_MODE if listen.path else 0),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        enable_reuse_port=api.boolean(False),
        listener_filters=[inspector],
        listener_filters_timeout=api.duration(GREETING),
    )


def _passed_on(name: str, cluster_name: str) -> listener.Filter:
    made = tcp_proxy.TcpProxy(
        stat_prefix=name,
        cluster=cluster_name,
        idle_timeout=api.duration(IDLE),
        max_connect_attempts=api.uint32(1),
        access_log=access_log.relayed(name),
    )
    return listener.Filter(name="envoy.filters.network.tcp_proxy", typed_config=api.pack(made))
