from __future__ import annotations

from tests.support.delta import resource, resources
from weft.xds.protocol import CLUSTER, EMPTY, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SEND_ORDER, VIRTUAL_HOST


def test_clusters_come_first_and_virtual_hosts_last() -> None:
    assert SEND_ORDER == (CLUSTER, ENDPOINTS, LISTENER, EXTENSION, ROUTES, VIRTUAL_HOST)


def test_a_type_without_resources_is_empty() -> None:
    assert dict(EMPTY.of(CLUSTER)) == {}
    one = resource(CLUSTER, "a")
    assert dict(resources((CLUSTER, [one])).of(CLUSTER)) == {"a": one}
