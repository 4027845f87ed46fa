"""Inbound: the listener for calls to one port of the workload, from other proxies to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.envoy import api, common, connections, matches
from weft.envoy.filters.place import Place, Side
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.names import inbound_cluster, inbound_listener

if TYPE_CHECKING:
    from weft.model.service import WorkloadPort
    from weft.xds.protocol import Resource


def inbound(port: WorkloadPort) -> Resource:
    """One listener per port, on a socket that only this user may open."""
    name = inbound_listener(port.number)
    if port.protocol.is_http:
        key = connections.Http(name=name, place=Place(Side.INBOUND), routes=name)
        chain = connections.http(key, _routes(port.number))
    else:
        chain = connections.tcp(name, inbound_cluster(port.number))
    made = listener.Listener(
        name=name,
        stat_prefix="inbound",
        address=common.address(port.listen, common.SOCKET_MODE),
        per_connection_buffer_limit_bytes=api.uint32(common.BUFFER_LIMIT_BYTES),
        traffic_direction=core.TrafficDirection.INBOUND,
        enable_reuse_port=api.boolean(False),
        filter_chains=[listener.FilterChain(filters=[chain])],
    )
    return common.resource(name, made, "")


def _routes(port: int) -> route.RouteConfiguration:
    """Everything to the application, for as long as it takes. One retry, of what surely never reached it: it may have
    closed an idle connection in the moment in which that was used again.
    """
    forward = route.RouteAction(
        cluster=inbound_cluster(port),
        timeout=api.duration(0),
        retry_policy=route.RetryPolicy(retry_on="reset-before-request,refused-stream", num_retries=api.uint32(1)),
    )
    return route.RouteConfiguration(
        name=inbound_listener(port),
        virtual_hosts=[
            route.VirtualHost(
                name=inbound_listener(port),
                domains=["*"],
                routes=[route.Route(name=inbound_listener(port), match=matches.everything(), route=forward)],
            )
        ],
    )
