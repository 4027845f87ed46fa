"""Endpoints: one ClusterLoadAssignment from one ``Assignment``, grouped by locality."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from weft.envoy import api, common
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint
from weft.names import tunnel_cluster

if TYPE_CHECKING:
    from weft.model.service import Endpoint, Locality
    from weft.model.view import Assignment
    from weft.xds.protocol import Resource


def assignment(key: Assignment) -> Resource:
    """Every endpoint with its weight. One that drains is left out: Envoy then closes its idle connections at once and lets the
    others end (measured; of one that is there and unhealthy it keeps them for as long as it likes). While nothing but what
    drains is there, that still answers.
    """
    staying = [item for item in key.endpoints if not item.draining]
    localities = [
        endpoint.LocalityLbEndpoints(locality=_locality(where), lb_endpoints=[_endpoint(item) for item in members])
        for where, members in groupby(sorted(sorted(staying or key.endpoints), key=_where), key=_where)
    ]
    made = endpoint.ClusterLoadAssignment(cluster_name=key.name, endpoints=localities)
    return common.resource(key.name, made, key.source)


def tunnelled(key: Assignment) -> Resource:
    """The same for the pooled tunnels behind a cluster of opaque TCP."""
    return assignment(msgspec.structs.replace(key, name=tunnel_cluster(key.name)))


def _where(item: Endpoint) -> Locality:
    return item.locality


def _locality(value: Locality) -> core.Locality | None:
    if not (value.region or value.zone or value.subzone):
        return None
    return core.Locality(region=value.region, zone=value.zone, sub_zone=value.subzone)


def _endpoint(item: Endpoint) -> endpoint.LbEndpoint:
    return endpoint.LbEndpoint(
        endpoint=endpoint.Endpoint(address=common.address(item.address), hostname=item.name),
        health_status=core.HealthStatus.DRAINING if item.draining else core.HealthStatus.UNKNOWN,
        load_balancing_weight=api.uint32(max(item.weight, 1)),
        metadata=_metadata(item),
    )


def _metadata(item: Endpoint) -> core.Metadata | None:
    """Which workload it is, and whether it has a proxy, by which Envoy chooses the transport socket."""
    made = {common.METADATA: api.struct({"workload": item.workload})} if item.workload else {}
    if item.name:
        made["envoy.transport_socket_match"] = api.struct({common.MTLS: "yes"})
    return core.Metadata(filter_metadata=made) if made else None
