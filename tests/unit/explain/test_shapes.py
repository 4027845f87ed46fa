"""Shapes read from what an Envoy runs."""

from __future__ import annotations

import pytest

from weft.envoy import api, clusters, inbound
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.explain import shapes
from weft.model.service import Address, Protocol, WorkloadPort
from weft.model.trust import Guard, Peers, Shape, TlsMode
from weft.model.view import Upstream


@pytest.mark.parametrize(
    ("peers", "said"),
    [
        (Peers(), ""),
        (Peers(("spiffe://local/ns/a/sa/b",), Shape.RAW), "mtls raw"),
        (Peers(("spiffe://local/ns/a/sa/b",), Shape.HTTP), "mtls http"),
        (Peers(("spiffe://local/ns/a/sa/b",), Shape.RAW, mixed=True), "mtls raw, else plain"),
    ],
)
def test_a_cluster_says_its_shape(peers: Peers, said: str) -> None:
    made = clusters.outbound(clusters.Outbound(Upstream("c", Protocol.HTTP, "", peers=peers)))
    assert shapes.of_cluster(shown(cluster.Cluster, made.wire)) == said


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        (None, ""),
        (Guard(mode=TlsMode.STRICT), "mtls http, mtls raw (bytes), mtls tunnel"),
        (Guard(identity_header=True), "mtls http, mtls raw, plain"),
    ],
)
def test_a_listener_says_what_it_takes(guard: Guard | None, said: str) -> None:
    port = WorkloadPort(80, "http", Protocol.HTTP, Address(path="/in"), Address(ip="127.0.0.1", port=80))
    made = inbound.inbound(inbound.Inbound(port, guard))
    assert shapes.of_listener(shown(listener.Listener, made.wire)) == said


def shown(cls: type[cluster.Cluster] | type[listener.Listener], wire: bytes) -> shapes.Json:
    return api.to_json(api.unpack_as(cls, discovery.Resource.FromString(wire).resource))
