"""The addresses of a Gateway are those that its edge proxy has bound."""

from __future__ import annotations

import msgspec

from tests.support.control import records
from weft.control.gateways import addresses, located
from weft.control.pipeline import Pipeline
from weft.model.service import Address, HostReport, Placement, Workload
from weft.model.status import Status
from weft.sources.records import World
from weft.values import Ref

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  gatewayClassName: weft
  listeners:
  - {name: web, port: 80, protocol: HTTP}
  - {name: more, port: 9000, protocol: HTTP}
"""
REF = Ref("gateway.networking.k8s.io", "Gateway", "default", "edge")
EDGE = Workload(
    namespace="default",
    name="edge",
    host="here",
    placement=Placement.GATEWAY,
    gateway_ports=((80, Address(ip="127.0.0.1", port=8080)), (9000, Address(ip="127.0.0.1", port=9001))),
)


def status(*edges: Workload) -> Status:
    hosts = (HostReport(host="here", workloads=edges),) if edges else ()
    compiled = Pipeline().compile(World(records=records(GATEWAY), hosts=hosts, synced=True, revision=1))
    return located({each.ref: each for each in compiled.statuses}, compiled.mesh)[REF]


def programmed(found: Status) -> tuple[str, str]:
    (condition,) = [each for each in found.conditions if each.type == "Programmed"]
    return condition.reason, condition.message


def test_each_address_is_there_once_and_each_port_as_a_url() -> None:
    found = status(EDGE)
    assert found.addresses == (
        ("IPAddress", "127.0.0.1"),
        ("weft.dev/url", "http://127.0.0.1:8080"),
        ("weft.dev/url", "http://127.0.0.1:9001"),
    )
    assert programmed(found)[0] == "Pending"


def test_without_its_edge_proxy_a_gateway_has_no_address() -> None:
    assert status().addresses == ()
    assert addresses(msgspec.structs.replace(EDGE, gateway_ports=())) == ()


def test_a_port_that_could_not_be_bound_is_said() -> None:
    found = status(msgspec.structs.replace(EDGE, gateway_ports=EDGE.gateway_ports[:1]))
    assert programmed(found) == ("AddressNotUsable", "no port could be bound on this machine for 9000")
    assert len(found.addresses) == 2


def test_other_statuses_stay_as_they_are() -> None:
    other = Status(Ref("", "Service", "default", "a"))
    mesh = Pipeline().compile(World(synced=True)).mesh
    assert located({other.ref: other}, mesh) == {other.ref: other}
