"""Endpoints: one ClusterLoadAssignment from one ``Assignment``, grouped by locality."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from weft.envoy import api, common
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint

if TYPE_CHECKING:
    from weft.model.service import Endpoint, Locality
    from weft.model.view import Assignment
    from weft.xds.protocol import Resource


def assignment(key: Assignment) -> Resource:
    """Every endpoint with its weight. One that drains gets no new request, but keeps those it has."""
    localities = [
        endpoint.LocalityLbEndpoints(locality=_locality(where), lb_endpoints=[_endpoint(item) for item in members])
        for where, members in groupby(sorted(sorted(key.endpoints), key=_where), key=_where)
    ]
    made = endpoint.ClusterLoadAssignment(cluster_name=key.name, endpoints=localities)
    return common.resource(key.name, made, key.source)


def _where(item: Endpoint) -> Locality:
    return item.locality


def _locality(value: Locality) -> core.Locality | None:
    if not (value.region or value.zone or value.subzone):
        return None
    return core.Locality(region=value.region, zone=value.zone, sub_zone=value.subzone)


def _endpoint(item: Endpoint) -> endpoint.LbEndpoint:
    return endpoint.LbEndpoint(
        endpoint=endpoint.Endpoint(address=common.address(item.address)),
        health_status=core.HealthStatus.DRAINING if item.draining else core.HealthStatus.UNKNOWN,
        load_balancing_weight=api.uint32(max(item.weight, 1)),
        metadata=core.Metadata(filter_metadata={common.METADATA: api.struct({"workload": item.workload})})
        if item.workload
        else None,
    )
