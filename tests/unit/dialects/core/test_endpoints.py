from __future__ import annotations

from tests.support.compiled import compiled, service, workload
from weft.dialects.core.endpoints import BUCKETS, bucket
from weft.model.service import Address, Locality, Placement
from weft.names import ServiceKey

ECHO = (ServiceKey("default", "echo"), 80)
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo-%s, labels: {%s}}
addressType: IPv4
ports: [{name: http, port: 9090}, {name: other, port: 1}]
endpoints:
- {addresses: [10.0.0.3], zone: z1}
- {addresses: [10.0.0.2], conditions: {ready: true}}
- {addresses: [10.0.0.4], conditions: {ready: false}}
- {addresses: [10.0.0.5], conditions: {ready: false, serving: true, terminating: true}}
---
"""
LABEL = "kubernetes.io/service-name: echo"


def test_slices_give_ready_and_draining_addresses() -> None:
    found = compiled(service("echo"), SLICE % ("1", LABEL)).mesh.endpoints[ECHO]
    assert [(str(each.address), each.draining) for each in found] == [
        ("10.0.0.2:9090", False),
        ("10.0.0.3:9090", False),
        ("10.0.0.5:9090", True),
    ]
    assert found[1].locality == Locality(zone="z1")


def test_a_slice_without_its_service_gives_nothing() -> None:
    assert dict(compiled(service("echo"), SLICE % ("1", "a: b")).mesh.endpoints) == {}
    assert dict(compiled(service("other"), SLICE % ("1", LABEL)).mesh.endpoints) == {}


def test_an_address_in_two_slices_is_there_once() -> None:
    found = compiled(service("echo"), SLICE % ("1", LABEL), SLICE % ("2", LABEL)).mesh.endpoints[ECHO]
    assert len(found) == 3


def test_slices_and_workloads_add_up() -> None:
    made = compiled(service("echo"), SLICE % ("1", LABEL), workloads=(workload("echo"),))
    assert len(made.mesh.endpoints[ECHO]) == 4


def test_a_workload_needs_every_label_and_the_namespace() -> None:
    text = service("echo").replace("{app: echo}", "{app: echo, tier: web}")
    whole = workload("a", labels={"app": "echo", "tier": "web", "more": "x"})
    partly = workload("b", labels={"app": "echo"})
    elsewhere = workload("c", labels={"app": "echo", "tier": "web"}, namespace="far")
    found = compiled(text, workloads=(whole, partly, elsewhere)).mesh.endpoints[ECHO]
    assert [each.workload for each in found] == ["default/a"]


def test_a_service_without_a_selector_selects_nothing() -> None:
    text = service("echo").replace("selector: {app: echo}", "selector: {}")
    assert dict(compiled(text, workloads=(workload("echo"),)).mesh.endpoints) == {}


def test_a_target_may_be_the_name_of_a_workloads_port() -> None:
    named = service("echo").replace("targetPort: 8080", "targetPort: http")
    assert len(compiled(named, workloads=(workload("echo"),)).mesh.endpoints[ECHO]) == 1
    wrong = service("echo").replace("targetPort: 8080", "targetPort: 8081")
    assert dict(compiled(wrong, workloads=(workload("echo"),)).mesh.endpoints) == {}


def test_a_slice_gives_no_udp_port_to_a_tcp_service() -> None:
    text = (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        "metadata: {name: echo-1, labels: {kubernetes.io/service-name: echo}}\naddressType: IPv4\n"
        "ports: [{name: http, port: 8080, protocol: TCP}]\nendpoints: [{addresses: [10.0.0.1]}]\n"
    )
    assert len(compiled(service("echo"), text).mesh.endpoints[ECHO]) == 1
    assert dict(compiled(service("echo"), text.replace("protocol: TCP", "protocol: UDP")).mesh.endpoints) == {}


def test_edge_proxies_are_no_endpoints() -> None:
    proxy = workload("echo", placement=Placement.GATEWAY)
    assert dict(compiled(service("echo"), workloads=(proxy,)).mesh.endpoints) == {}


def test_an_endpoint_is_where_the_workloads_proxy_listens() -> None:
    (found,) = compiled(service("echo"), workloads=(workload("echo"),)).mesh.endpoints[ECHO]
    assert (found.address, found.weight) == (Address(path="/run/echo"), 1)


def test_buckets_are_the_same_in_every_process() -> None:
    assert bucket(ServiceKey("default", "reviews")) == 15
    assert all(0 <= bucket(ServiceKey("n", f"s{number}")) < BUCKETS for number in range(200))
