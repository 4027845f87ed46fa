from __future__ import annotations

import pytest

from tests.support.compiled import codes, compiled
from weft.model.mesh import Attest, HealthCheck
from weft.model.service import Capture, Protocol

MESH = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: m, namespace: shop}
spec:
  defaults: {env: {A: "1", B: "1", C: "1"}, directory: apps}
  services:
    web:
      ports: [{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 81, protocol: grpc}]
      command: python web.py
      env: {B: "2", C: "2"}
      needs: [api, out.example.com, gone]
      health: {http: /ready, port: http, interval_seconds: 2}
      capture: proxy
      versions:
        v1: {}
        v2.0: {command: [python, two.py], env: {C: "3"}, directory: /abs, replicas: 2}
    api: {port: 9080, command: api, replicas: 0}
  external:
    out: {hostnames: [out.example.com], ports: [{port: 443, protocol: https}]}
""".replace("interval_seconds", "intervalSeconds")


def test_each_replica_of_each_version_is_a_process() -> None:
    made = compiled(MESH)
    assert [process.name for process in made.mesh.placements.processes] == ["web-v1-0", "web-v2-0-0", "web-v2-0-1"]


def test_a_process_takes_what_its_version_its_service_and_the_defaults_say() -> None:
    one, two, _ = compiled(MESH).mesh.placements.processes
    assert (one.command, two.command) == (("python", "web.py"), ("python", "two.py"))
    assert one.environment == (("A", "1"), ("B", "2"), ("C", "2"))
    assert dict(two.environment)["C"] == "3"
    assert (one.directory, two.directory) == ("/shop/apps", "/abs")
    assert (one.service_account, one.capture, one.namespace) == ("web", Capture.PROXY, "shop")
    assert [(port.number, port.name, port.protocol) for port in one.ports] == [
        (8080, "http", Protocol.HTTP),
        (81, "grpc", Protocol.GRPC),
    ]
    assert one.health == HealthCheck("http", "/ready", "http", 2.0, 1.0)
    assert dict(one.labels) == {
        "app": "web",
        "version": "v1",
        "app.kubernetes.io/name": "web",
        "app.kubernetes.io/version": "v1",
    }
    assert one.source == "Mesh/shop/m/services/web/versions/v1"


def test_what_it_needs_is_bound_and_what_nobody_has_is_told_once() -> None:
    made = compiled(MESH)
    assert made.mesh.placements.processes[0].bound == (
        ("api", 9080, Protocol.HTTP),
        ("out.example.com", 443, Protocol.TLS),
    )
    assert codes(made) == ["WFT-1216"]
    assert made.problems[0].field == "spec.services.web.needs[2]"


def test_replicas_are_spread_over_the_listed_hosts_in_turn() -> None:
    text = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: m}
spec:
  services:
    web:
      command: web
      hosts: [anna, bert]
      versions: {v1: {replicas: 3}, v2: {hosts: [cleo]}}
    api: {command: api}
"""
    placed = {process.name: process.host for process in compiled(text).mesh.placements.processes}
    assert placed == {"api-v1-0": "", "web-v1-0": "anna", "web-v1-1": "bert", "web-v1-2": "anna", "web-v2-0": "cleo"}


def test_a_user_and_selectors_reach_the_agent_also_for_what_something_else_runs() -> None:
    text = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: m, namespace: shop}
spec:
  services:
    pay: {port: 80, command: pay, user: payments, attest: {exe: /opt/pay}}
    ledger: {port: 7000, attest: {uid: 990, cgroup: /system.slice/ledger.service}}
"""
    ledger, pay = compiled(text).mesh.placements.processes
    assert (pay.user, pay.attest) == ("payments", Attest(exe="/opt/pay"))
    assert (ledger.name, ledger.command) == ("ledger-v1-0", ())
    assert ledger.attest == Attest(uid="990", cgroup="/system.slice/ledger.service")


@pytest.mark.parametrize(
    "services",
    [
        (
            "pay: {port: 80, command: x, serviceAccount: bank, versions: {v1-0: {replicas: 2}}}, "
            "pay-v1: {port: 80, command: y, serviceAccount: guest, versions: {'0': {replicas: 1}}}"
        ),
        "pay: {port: 80, command: x, versions: {v1-0: {}, v1.0: {}}}",
    ],
)
def test_no_process_gets_the_identity_of_another_by_a_name_that_two_versions_make(services: str) -> None:
    made = compiled(
        f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: m}}\nspec: {{services: {{{services}}}}}\n"
    )
    found = made.mesh.placements.processes
    assert len({(each.namespace, each.name) for each in found}) == len(found)
    assert len({each.service_account for each in found}) == 1
    assert codes(made) == ["WFT-1243"]


GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {gatewayClassName: weft, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""


def services(namespace: str, text: str) -> str:
    head = f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: m, namespace: {namespace}}}\n"
    return f"{head}spec: {{services: {text}}}\n"


@pytest.mark.parametrize(
    ("namespace", "text", "field", "owner"),
    [
        (
            "shop",
            "{thief: {port: 80, command: x, serviceAccount: edge-weft}}",
            "spec.services.thief.serviceAccount",
            "Gateway shop/edge",
        ),
        ("shop", "{edge-weft: {port: 80, command: x}}", "spec.services.edge-weft", "Gateway shop/edge"),
        ("weft-system", "{host-proxy-a: {port: 80, command: x}}", "spec.services.host-proxy-a", "a host"),
        (
            "bank",
            "{web: {port: 80, command: x, expose: {port: 81}}, exposed-weft: {command: x}}",
            "spec.services.exposed-weft",
            "Gateway bank/exposed",
        ),
    ],
)
def test_no_process_has_the_service_account_of_a_gateways_or_a_hosts_own_proxy(
    namespace: str, text: str, field: str, owner: str
) -> None:
    made = compiled(services(namespace, text), GATEWAY)
    (problem,) = [each for each in made.problems if each.code == "WFT-1244"]
    assert (problem.field, owner in problem.message) == (field, True)
    assert problem.origin.line
    assert [process.name for process in made.mesh.placements.processes if process.service != "web"] == []


def test_the_account_of_a_gateway_of_another_namespace_is_free() -> None:
    made = compiled(services("bank", "{edge-weft: {port: 80, command: x}}"), GATEWAY)
    assert "WFT-1244" not in codes(made)
    assert [process.service_account for process in made.mesh.placements.processes] == ["edge-weft"]
