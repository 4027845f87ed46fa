"""What stands behind each service, as the compiled mesh knows it."""

from __future__ import annotations

import msgspec

from tests.support.control import SHOP, records, workload
from weft.control.pipeline import Pipeline
from weft.control.services import services_of
from weft.model.service import HostReport, State
from weft.sources.records import World
from weft.web.engine import EndpointCount, ServicePortShown, ServiceShown

MESH = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: shop, namespace: default}
spec:
  services:
    cart: {port: 8080, command: run}
  external:
    bank: {hostnames: [api.bank.example], ports: [{port: 443, name: https, protocol: https}], endpoints: ["192.0.2.1:443"]}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [192.0.2.7]}
- {addresses: [192.0.2.8], conditions: {ready: false, serving: true, terminating: true}}
"""


def shown(text: str, *states: State) -> dict[str, ServiceShown]:
    workloads = tuple(workload(f"reviews-{number}", state=state) for number, state in enumerate(states))
    hosts = (HostReport(host="laptop", workloads=workloads),) if workloads else ()
    world = World(records=records(text), hosts=hosts, synced=True, revision=1)
    return {each.name: each for each in services_of(Pipeline().compile(world).mesh)}


def test_services_of_every_origin_are_there_with_what_declares_them() -> None:
    found = shown(f"{SHOP}---{MESH}")
    assert {name: each.source for name, each in found.items()} == {
        "bank": "Mesh/default/shop/external/bank",
        "cart": "Mesh/default/shop/services/cart",
        "cart-v1": "Mesh/default/shop/services/cart/versions/v1",
        "reviews": "Service/default/reviews",
        "web": "Service/default/web",
    }
    assert found["cart"].ports == (ServicePortShown(8080, "http", "http", "raw", "nothing asks about requests"),)
    assert found["cart"].address.startswith("24")
    assert (found["bank"].hosts, found["bank"].external) == (("api.bank.example",), ("192.0.2.1:443",))


def test_a_workload_counts_and_is_ready_while_it_takes_new_calls() -> None:
    found = shown(SHOP, State.SERVING, State.DRAINING, State.STARTING, State.FAILING)
    assert found["reviews"].endpoints == EndpointCount(ready=1, total=4)
    assert found["web"].endpoints == EndpointCount(ready=0, total=0)


def test_addresses_of_slices_count_as_workloads_do() -> None:
    assert shown(f"{SHOP}---{SLICE}")["web"].endpoints == EndpointCount(ready=1, total=2)


def test_namespaces_come_in_order() -> None:
    other = SHOP.replace("namespace: default", "namespace: a")
    world = World(records=records(f"{SHOP}---{other}"), hosts=(), synced=True, revision=1)
    names = [(each.namespace, each.name) for each in services_of(Pipeline().compile(world).mesh)]
    assert names == sorted(names)
    assert len(names) == 4
    assert msgspec.json.encode(services_of(Pipeline().compile(world).mesh)[0])
