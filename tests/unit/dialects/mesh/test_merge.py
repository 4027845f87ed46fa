from __future__ import annotations

from tests.support.compiled import codes, compiled, service
from weft.dialects.mesh.merge import version_service
from weft.model.mesh import OutboundTraffic
from weft.model.service import ExternalAddress, Protocol
from weft.names import ServiceKey


def mesh(name: str, spec: str, created: str = "") -> str:
    stamp = f", creationTimestamp: '{created}'" if created else ""
    return f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: {name}{stamp}}}\nspec: {spec}\n---\n"


def key(name: str) -> ServiceKey:
    return ServiceKey("default", name)


def test_a_service_and_each_of_its_versions_are_services() -> None:
    made = compiled(mesh("m", "{services: {reviews: {port: 9080, command: x, versions: {v1: {}, v1.2: {}}}}}"))
    assert sorted(found.name for found in made.mesh.services) == ["reviews", "reviews-v1", "reviews-v1-2"]
    assert made.mesh.services[key("reviews")].selector == (("app", "reviews"),)
    assert made.mesh.services[key("reviews-v1-2")].selector == (("app", "reviews"), ("version", "v1.2"))
    assert version_service("reviews", "v1.2") == "reviews-v1-2"


def test_versions_of_one_service_may_stand_in_two_documents() -> None:
    one = mesh("one", "{services: {a: {port: 80, command: x, versions: {v1: {}}}}}")
    two = mesh("two", "{services: {a: {port: 80, command: y, versions: {v2: {}}}}}")
    made = compiled(one, two)
    assert [process.name for process in made.mesh.placements.processes] == ["a-v1-0", "a-v2-0"]
    assert made.problems == ()


def test_what_two_documents_say_the_older_says() -> None:
    young = mesh(
        "a",
        "{outboundTraffic: registryOnly, services: {a: {port: 81, command: young}},"
        " external: {o: {hostnames: [y.com], ports: [{port: 1}]}}}",
        "2022-01-01T00:00:00Z",
    )
    old = mesh(
        "b",
        "{outboundTraffic: allowAny, services: {a: {port: 80, command: old}},"
        " external: {o: {hostnames: [x.com], ports: [{port: 1}]}}}",
        "2021-01-01T00:00:00Z",
    )
    made = compiled(young, old)
    assert made.mesh.services[key("a")].ports[0].number == 80
    assert [process.command for process in made.mesh.placements.processes] == [("old",)]
    assert made.mesh.outbound_traffic is OutboundTraffic.ALLOW_ANY
    assert sorted((problem.code, problem.field) for problem in made.problems) == [
        ("WFT-1215", "spec.external.o"),
        ("WFT-1215", "spec.outboundTraffic"),
        ("WFT-1215", "spec.services.a"),
        ("WFT-1215", "spec.services.a.versions.v1"),
    ]


def test_a_service_object_wins_over_a_mesh_and_a_written_service_over_a_version() -> None:
    made = compiled(service("a"), mesh("m", "{services: {a: {port: 9080, command: x}, a-v1: {port: 1, command: y}}}"))
    assert made.mesh.services[key("a")].source == "Service/default/a"
    assert made.mesh.services[key("a-v1")].ports[0].number == 1
    assert codes(made) == ["WFT-1211"]


def test_an_external_service_leads_to_its_hosts_or_its_endpoints() -> None:
    spec = """{external: {
      api: {hostnames: [api.example.com, '*.example.org'], tls: originate,
        endpoints: ['10.0.0.1:8443'], ports: [{port: 80, protocol: http}]},
      db: {hostnames: [db.example.com], ports: [{port: 5432}, {port: 443, protocol: https}]}}}"""
    made = compiled(mesh("m", spec))
    api, db = made.mesh.services[key("api")], made.mesh.services[key("db")]
    assert (api.external, api.originate_tls, api.ports[0].target) == ((ExternalAddress("10.0.0.1", 8443),), True, 443)
    assert db.external == (ExternalAddress("db.example.com", 5432), ExternalAddress("db.example.com", 443))
    assert [port.protocol for port in db.ports] == [Protocol.TCP, Protocol.TLS]
    assert set(made.mesh.external_hosts) == {"api.example.com", "*.example.org", "db.example.com"}
