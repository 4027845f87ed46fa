from __future__ import annotations

import pytest

from tests.support.compiled import codes, compiled, service
from weft.names import ServiceKey

OLD = "2021-01-01T00:00:00Z"
YOUNG = "2022-01-01T00:00:00Z"


def external(namespace: str, *hosts: str, created: str = OLD) -> str:
    return f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: m-{namespace}, namespace: {namespace}, creationTimestamp: '{created}'}}
spec: {{external: {{out: {{hostnames: {list(hosts)}, ports: [{{port: 80, protocol: http}}]}}}}}}
---
"""


@pytest.mark.parametrize(
    "host", ["pay", "pay.shop.svc", "pay.shop.svc.cluster.local", "*.shop.svc.cluster.local", "*.com"]
)
def test_names_of_the_mesh_and_top_level_domains_are_nobodys(host: str) -> None:
    made = compiled(external("evil", host))
    assert dict(made.mesh.external_hosts) == {}
    assert codes(made) == ["WFT-1214"]


def test_a_name_in_a_namespace_that_somebody_has_is_refused_whether_the_service_exists_or_not() -> None:
    made = compiled(service("front", "shop", created=OLD), external("evil", "pay.shop", "front.shop", created=YOUNG))
    assert dict(made.mesh.external_hosts) == {}
    assert codes(made) == ["WFT-1214", "WFT-1214"]


def test_a_domain_of_two_labels_is_a_name_like_any_other() -> None:
    made = compiled(external("shop", "example.com"))
    assert dict(made.mesh.external_hosts) == {"example.com": ServiceKey("shop", "out")}
    assert codes(made) == []


def test_a_service_that_spells_an_older_external_host_is_not_made() -> None:
    made = compiled(external("shop", "example.com", created=OLD), service("example", "com", created=YOUNG))
    assert ServiceKey("com", "example") not in made.mesh.services
    assert dict(made.mesh.external_hosts) == {"example.com": ServiceKey("shop", "out")}
    assert codes(made) == ["WFT-1214"]


def test_a_host_under_an_older_wildcard_of_another_namespace_is_refused_and_of_the_same_is_not() -> None:
    made = compiled(
        external("shop", "*.example.com", created=OLD),
        external("evil", "api.example.com", "*.db.example.com", created=YOUNG),
    )
    assert dict(made.mesh.external_hosts) == {"*.example.com": ServiceKey("shop", "out")}
    assert codes(made) == ["WFT-1214", "WFT-1214"]
    both = compiled(external("shop", "*.example.com", "api.example.com"))
    assert (len(both.mesh.external_hosts), codes(both)) == (2, [])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "8.8.8.8", "2606:4700::1111"]
)
def test_an_address_that_no_cluster_gives_is_no_service_s(address: str) -> None:
    made = compiled(service("pay", "evil", extra=f'  clusterIP: "{address}"'))
    assert address not in made.mesh.addresses
    assert codes(made) == ["WFT-1213"]


def test_the_virtual_address_of_another_service_is_not_given_away() -> None:
    victim = compiled(service("pay", "shop")).mesh.services[ServiceKey("shop", "pay")].virtual_address
    made = compiled(
        service("pay", "shop", created=YOUNG), service("pay", "evil", created=OLD, extra=f"  clusterIP: {victim}")
    )
    assert made.mesh.addresses[victim] == ServiceKey("shop", "pay")
    assert codes(made) == ["WFT-1213"]
