"""Kubernetes' own kinds: what passes, what has no effect, what is refused."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, decoded, refused
from weft.api.core import EndpointSlice, Service
from weft.errors import Severity

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: reviews, namespace: shop}\nspec: "
SLICE = (
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
    "metadata: {name: a, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n"
)

FROM_A_CLUSTER = """
apiVersion: v1
kind: Service
metadata:
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}
  creationTimestamp: "2026-11-20T14:00:00Z"
  finalizers: [service.kubernetes.io/load-balancer-cleanup]
  managedFields: [{manager: kubectl}]
  name: reviews
  namespace: shop
  ownerReferences: [{kind: App}]
  resourceVersion: "12345"
  uid: 2f9a
spec:
  allocateLoadBalancerNodePorts: true
  clusterIP: 10.96.0.12
  clusterIPs: [10.96.0.12]
  externalTrafficPolicy: Cluster
  internalTrafficPolicy: Cluster
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports: [{port: 80, protocol: TCP, targetPort: 80}]
  selector: {app: reviews}
  sessionAffinity: None
  type: LoadBalancer
status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}
"""


def service(spec: str) -> Service:
    found = accepted(SERVICE + spec)
    assert isinstance(found, Service)
    return found


def test_a_service_printed_by_a_cluster_passes_without_a_word() -> None:
    found = accepted(FROM_A_CLUSTER)
    assert isinstance(found, Service)
    assert found.metadata.creation_timestamp == "2026-11-20T14:00:00Z"
    assert found.spec.ports[0].target_port == 80


def test_a_target_port_is_a_number_or_a_name() -> None:
    assert service("{ports: [{port: 80, targetPort: http}]}").spec.ports[0].target_port == "http"
    assert service("{ports: [{port: 80}]}").spec.ports[0].target_port is None


def test_headless_and_external_services_need_no_port() -> None:
    assert service("{clusterIP: None}").spec.is_headless
    assert service("{type: ExternalName, externalName: example.com}").spec.external_name == "example.com"


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("{}", ("WFT-1104", "spec.ports")),
        ("{type: ExternalName}", ("WFT-1104", "spec.externalName")),
        ("{type: ExternalName, externalName: 10.0.0.1}", ("WFT-1106", "spec.externalName")),
        ("{ports: [{port: 80}, {port: 81, name: a}]}", ("WFT-1104", "spec.ports[0].name")),
        ("{ports: [{port: 80, name: a}, {port: 81, name: a}]}", ("WFT-1105", "spec.ports[1].name")),
        ("{ports: [{port: 80, name: a}, {port: 80, name: b}]}", ("WFT-1105", "spec.ports[1].port")),
        ("{ports: [{port: 0}]}", ("WFT-1105", "spec.ports[0].port")),
        ("{ports: [{port: 80, targetPort: 70000}]}", ("WFT-1105", "spec.ports[0].targetPort")),
        ("{ports: [{port: 80, targetPort: [1]}]}", ("WFT-1103", "spec.ports[0].targetPort")),
        ("{ports: [{port: 80, protocol: SCTP}]}", ("WFT-1108", "spec.ports[0].protocol")),
        ("{ports: [{port: 80, protocol: tcp}]}", ("WFT-1105", "spec.ports[0].protocol")),
        ("{ports: [{port: 80}], sessionAffinity: ClientIP}", ("WFT-1108", "spec.sessionAffinity")),
        ("{ports: [{port: 80}], clusterIP: here}", ("WFT-1105", "spec.clusterIP")),
        ("{ports: [{port: 80}], selector: [a]}", ("WFT-1103", "spec.selector")),
    ],
)
def test_a_service_that_cannot_work_is_refused(spec: str, problem: tuple[str, str]) -> None:
    assert brief(refused(SERVICE + spec)) == [problem]


@pytest.mark.parametrize("kind", ["Service", "Namespace"])
def test_a_name_that_is_part_of_a_dns_name_has_no_dot(kind: str) -> None:
    text = f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a.b}}\nspec: {{}}"
    assert ("WFT-1106", "metadata.name") in brief(refused(text))


def test_a_port_of_a_service_may_have_a_long_name() -> None:
    assert service("{ports: [{port: 80, name: http-metrics-of-the-reviews}]}").spec.ports[0].name


def test_the_same_number_may_serve_tcp_and_udp() -> None:
    assert len(service("{ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}]}").spec.ports) == 2


def test_what_only_a_cluster_has_is_a_warning_for_each_field() -> None:
    spec = """
  type: LoadBalancer
  ports: [{port: 80, nodePort: 30080}]
  externalIPs: [1.2.3.4]
  loadBalancerIP: 1.2.3.4
  loadBalancerClass: x
  loadBalancerSourceRanges: [10.0.0.0/8]
  allocateLoadBalancerNodePorts: false
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  healthCheckNodePort: 30000
  publishNotReadyAddresses: true
  trafficDistribution: PreferClose
"""
    found = decoded(SERVICE + spec)
    assert found.object is not None
    assert {problem.severity for problem in found.problems} == {Severity.WARNING}
    assert {problem.code for problem in found.problems} == {"WFT-1111"}
    lines = [line.strip().partition(":")[0] for line in spec.splitlines()[3:]]
    assert [problem.field.rpartition(".")[2] for problem in found.problems] == ["nodePort", *lines]


def test_an_endpoint_slice_holds_addresses_of_its_family() -> None:
    found = accepted(SLICE + "ports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}]")
    assert isinstance(found, EndpointSlice)
    assert found.endpoints[0].conditions.ready is False
    assert found.endpoints[0].conditions.serving is None
    assert found.ports[0].name == ""


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("endpoints: [{addresses: ['::1']}]", ("WFT-1105", "endpoints[0].addresses[0]")),
        ("endpoints: [{addresses: [example.com]}]", ("WFT-1105", "endpoints[0].addresses[0]")),
        ("endpoints: [{addresses: []}]", ("WFT-1105", "endpoints[0].addresses")),
        ("endpoints: [{}]", ("WFT-1104", "endpoints[0].addresses")),
        ("ports: [{name: a, port: 1}, {name: a, port: 2}]", ("WFT-1105", "ports[1].name")),
        ("ports: [{name: A}]", ("WFT-1106", "ports[0].name")),
    ],
)
def test_a_slice_that_cannot_work_is_refused(rest: str, problem: tuple[str, str]) -> None:
    assert brief(refused(SLICE + rest)) == [problem]


def test_names_instead_of_addresses_are_refused() -> None:
    assert brief(refused(SLICE.replace("IPv4", "FQDN"))) == [("WFT-1108", "addressType")]


def test_a_slice_of_no_service_is_a_warning() -> None:
    found = decoded(SLICE.replace("kubernetes.io/service-name", "app"))
    assert found.object is not None
    assert brief(found.problems) == [("WFT-1111", "metadata.labels")]


def test_accounts_and_namespaces_pass_with_what_a_cluster_adds() -> None:
    accepted(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nsecrets: [{name: b}]\nautomountServiceAccountToken: false"
    )
    accepted(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nspec: {finalizers: [kubernetes]}\nstatus: {phase: Active}"
    )
