"""Our own kind: short forms, defaults, and what cannot work."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, decoded, refused
from weft.api.mesh import Mesh, MeshService
from weft.errors import Severity

HEAD = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n"
S = "spec.services.a"
X = "spec.external.p"


def mesh(spec: str) -> Mesh:
    found = accepted(HEAD + f"  {spec}\n")
    assert isinstance(found, Mesh)
    return found


def service(text: str) -> MeshService:
    return dict(mesh(f"services: {{a: {text}}}").spec.services)["a"]


def problems(spec: str) -> list[tuple[str, str]]:
    return brief(refused(HEAD + f"  {spec}\n"))


def test_a_port_alone_is_one_http_port_named_after_its_protocol() -> None:
    (port,) = service("{port: 9080}").all_ports
    assert (port.port, port.target, port.name, port.protocol) == (9080, 9080, "http", "http")
    (port,) = service("{port: 6379, protocol: tcp}").all_ports
    assert (port.name, port.protocol) == ("tcp", "tcp")


def test_ports_may_lead_to_other_numbers() -> None:
    first, second = service(
        "{ports: [{name: http, port: 80, targetPort: 9080}, {name: grpc, port: 90, protocol: grpc}]}"
    ).all_ports
    assert (first.target, second.target, second.protocol) == (9080, 90, "grpc")


def test_a_command_is_a_list_or_split_as_a_shell_does() -> None:
    assert service("{command: [python, a b.py]}").command == ("python", "a b.py")
    assert service("""{command: 'python "a b.py" -x'}""").command == ("python", "a b.py", "-x")


def test_a_service_that_runs_has_a_version() -> None:
    assert [name for name, _ in service("{command: a}").all_versions] == ["v1"]
    assert [name for name, _ in service("{command: a, versions: {v2: {}, v1: {}}}").all_versions] == ["v1", "v2"]
    assert service("{port: 80}").all_versions == ()


def test_whole_numbers_in_the_environment_become_text() -> None:
    assert service("{env: {PORT: 9080, NAME: x, EMPTY: ''}}").env == (("EMPTY", ""), ("NAME", "x"), ("PORT", "9080"))


@pytest.mark.parametrize(
    ("text", "kind"), [("{}", "tcp"), ("{tcp: true}", "tcp"), ("{http: /x}", "http"), ("{grpc: true}", "grpc")]
)
def test_health_is_checked_in_one_way(text: str, kind: str) -> None:
    assert service(f"{{port: 80, health: {text}}}").health.kind == kind


def test_a_health_check_names_a_port_by_name_or_by_the_applications_number() -> None:
    for port in ("http", "9080"):
        service(f"{{ports: [{{name: http, port: 80, targetPort: 9080}}], health: {{port: {port}}}}}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{port: 80, ports: [{port: 80}]}", ("WFT-1105", f"{S}.port")),
        ("{protocol: tcp}", ("WFT-1105", f"{S}.protocol")),
        ("{port: 80, protocol: udp}", ("WFT-1105", f"{S}.protocol")),
        ("{ports: [{port: 80, name: x}, {port: 80, name: y}]}", ("WFT-1105", f"{S}.ports[1].port")),
        ("{ports: [{port: 80, name: x}, {port: 81, name: x}]}", ("WFT-1105", f"{S}.ports[1].name")),
        ("{ports: [{port: 80, name: x}, {port: 81}]}", ("WFT-1104", f"{S}.ports[1].name")),
        ("{command: 'a \"b'}", ("WFT-1306", f"{S}.command")),
        ("{command: []}", ("WFT-1105", f"{S}.command")),
        ("{command: ''}", ("WFT-1105", f"{S}.command")),
        ("{command: [a, 1]}", ("WFT-1103", f"{S}.command")),
        ("{command: 5}", ("WFT-1103", f"{S}.command")),
        ("{env: {A: 1.10}}", ("WFT-1103", f"{S}.env")),
        ("{env: {A: true}}", ("WFT-1103", f"{S}.env")),
        ("{env: {A: [x]}}", ("WFT-1103", f"{S}.env.A")),
        ("{env: {A-B: x}}", ("WFT-1106", f"{S}.env")),
        ('{env: {A: "a\\0"}}', ("WFT-1105", f"{S}.env")),
        ("{env: [A=b]}", ("WFT-1103", f"{S}.env")),
        ("{replicas: 101}", ("WFT-1105", f"{S}.replicas")),
        ("{replicas: -1}", ("WFT-1105", f"{S}.replicas")),
        ("{needs: [b, b]}", ("WFT-1105", f"{S}.needs[1]")),
        ("{needs: [a]}", ("WFT-1307", f"{S}.needs[0]")),
        ("{capture: magic}", ("WFT-1105", f"{S}.capture")),
        ("{port: 80, health: {http: /, tcp: true}}", ("WFT-1105", f"{S}.health.tcp")),
        ("{port: 80, health: {http: x}}", ("WFT-1105", f"{S}.health.http")),
        ("{port: 80, health: {intervalSeconds: 0}}", ("WFT-1105", f"{S}.health.intervalSeconds")),
        ("{port: 80, health: {intervalSeconds: '1'}}", ("WFT-1103", f"{S}.health.intervalSeconds")),
        ("{port: 80, health: {port: 81}}", ("WFT-1302", f"{S}.health.port")),
        ("{health: {http: /}}", ("WFT-1302", f"{S}.health")),
        ("{port: 80, protocol: tcp, expose: {port: 80}}", ("WFT-1303", f"{S}.expose")),
        ("{expose: {port: 80}}", ("WFT-1303", f"{S}.expose")),
        ("{versions: {v1: {}}}", ("WFT-1301", f"{S}.versions.v1")),
        ("{command: a, versions: {V1: {}}}", ("WFT-1106", f"{S}.versions.V1")),
        ("{serviceAccount: A}", ("WFT-1106", f"{S}.serviceAccount")),
        ("{directory: ''}", ("WFT-1105", f"{S}.directory")),
    ],
)
def test_a_service_that_cannot_work_is_one_problem_at_its_field(text: str, problem: tuple[str, str]) -> None:
    assert problems(f"services: {{a: {text}}}") == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{ports: [{port: 1}]}", ("WFT-1104", f"{X}.hostnames")),
        ("{hostnames: [a.b]}", ("WFT-1104", f"{X}.ports")),
        ("{hostnames: [a.b, a.b], ports: [{port: 1}]}", ("WFT-1105", f"{X}.hostnames[1]")),
        ("{hostnames: [a.b], ports: [{port: 1}, {port: 1}]}", ("WFT-1105", f"{X}.ports[1].port")),
        ("{hostnames: [a.b], ports: [{port: 1}], endpoints: [a]}", ("WFT-1105", f"{X}.endpoints[0]")),
        ("{hostnames: [a.b], ports: [{port: 1}], endpoints: ['a:70000']}", ("WFT-1105", f"{X}.endpoints[0]")),
        (
            "{hostnames: [a.b], ports: [{port: 1, protocol: https}], tls: originate}",
            ("WFT-1304", f"{X}.ports[0].protocol"),
        ),
        ("{hostnames: ['*.b'], ports: [{port: 1, protocol: http}], tls: originate}", ("WFT-1304", f"{X}.hostnames[0]")),
        ("{hostnames: [a.b], ports: [{port: 1}], tls: yes}", ("WFT-1105", f"{X}.tls")),
    ],
)
def test_an_external_service_that_cannot_be_reached_is_refused(text: str, problem: tuple[str, str]) -> None:
    assert problems(f"external: {{p: {text}}}") == [problem]


def test_an_external_service_passes_in_each_of_its_forms() -> None:
    mesh("external: {p: {hostnames: ['*.b'], ports: [{port: 1}], endpoints: ['10.0.0.1:1', '[::1]:2', 'a.b:3']}}")
    mesh("external: {p: {hostnames: [a.b], ports: [{port: 80, protocol: grpc}], tls: originate}}")


def test_names_of_services_are_checked_all_at_once() -> None:
    found = problems("services: {A: {port: 80}, 1a: {port: x}, ok: {}}")
    assert found == [
        ("WFT-1106", "spec.services.A"),
        ("WFT-1106", "spec.services.1a"),
        ("WFT-1103", "spec.services.1a.port"),
    ]


def test_one_name_is_not_inside_and_outside() -> None:
    found = problems("services: {p: {port: 80}}\n  external: {p: {hostnames: [a.b], ports: [{port: 1}]}}")
    assert found == [("WFT-1305", "spec.external.p")]


def test_two_services_are_not_exposed_at_one_place() -> None:
    def both(first: str, second: str) -> str:
        return f"services: {{a: {{port: 80, expose: {{{first}}}}}, b: {{port: 80, expose: {{{second}}}}}}}"

    assert problems(both("port: 1", "port: 1, path: /")) == [("WFT-1303", "spec.services.b.expose")]
    for second in ("port: 2", "port: 1, path: /b", "port: 1, hostname: b.example.com"):
        mesh(both("port: 1", second))


def test_a_needed_name_that_looks_misspelt_is_a_warning() -> None:
    found = decoded(HEAD + "  services: {reviews: {needs: [ratngs, elsewhere, ratings.shop]}, ratings: {}}\n")
    assert found.object is not None
    (problem,) = found.problems
    assert (problem.code, problem.severity) == ("WFT-1308", Severity.WARNING)
    assert problem.field == "spec.services.reviews.needs[0]"
    assert problem.remedy.startswith("Write ratings")


def test_what_an_uncaptured_service_needs_is_said_to_lead_nowhere() -> None:
    found = decoded(HEAD + "  services: {report: {capture: none, needs: [ratings]}, ratings: {capture: none}}\n")
    assert found.object is not None, "it runs, and can be called"
    (problem,) = found.problems
    assert (problem.code, problem.severity) == ("WFT-1250", Severity.WARNING)
    assert problem.field == "spec.services.report.needs"
    assert problem.remedy.startswith("Choose capture ports")


def test_defaults_of_the_mesh_are_the_strict_ones() -> None:
    spec = mesh("services: {}").spec
    assert (spec.outbound_traffic, spec.include, spec.defaults.env) == ("registryOnly", (), ())
    assert service("{}").capture == "auto"
    assert service("{}").replicas == 1


def test_hosts_are_names_that_a_host_can_have_each_once() -> None:
    made = service("{command: a, hosts: [Anna.lan, bert-2], versions: {v1: {hosts: [bert-2]}, v2: {}}}")
    assert made.hosts == ("Anna.lan", "bert-2")
    assert [each.hosts for _, each in made.versions] == [("bert-2",), None]
    assert problems("services: {a: {command: x, hosts: [a b]}}") == [("WFT-1106", f"{S}.hosts[0]")]
    assert problems("services: {a: {command: x, hosts: [b, b]}}") == [("WFT-1105", f"{S}.hosts[1]")]
    assert problems("services: {a: {command: x, hosts: []}}")
