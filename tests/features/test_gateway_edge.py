"""Gateways, their listeners and the routes attached to them: what the Gateway API's conformance asks for, in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.compiled import (
    accepted,
    backends,
    codes,
    compiled,
    condition,
    edge,
    edge_rules,
    gateway,
    paths,
    route,
    seen,
    service,
    status,
    to_service,
)
from weft.model.mesh import GatewaySpec
from weft.model.status import ListenerStatus, render

if TYPE_CHECKING:
    from weft.dialects.values import Compiled

V1, V2, V3 = "infra-v1", "infra-v2", "infra-v3"
SERVICES = service(V1) + service(V2) + service(V3)
HTTP = "{name: http, port: 80, protocol: HTTP}"
SAME = gateway("same", f"[{HTTP}]")


def attached(name: str, rest: str, parent: str = "{name: same}") -> str:
    return route(name, f"{{parentRefs: [{parent}], {rest}}}")


def rule(service_name: str, match: str = "") -> str:
    found = f"matches: [{match}], " if match else ""
    return f"{{{found}backendRefs: [{{name: {service_name}, port: 80}}]}}"


def listeners(made: Compiled, name: str) -> dict[str, ListenerStatus]:
    return {each.name: each for each in status(made, "Gateway", name).listeners}


def test_a_simple_route_serves_every_host() -> None:
    made = compiled(SERVICES, SAME, attached("simple", f"rules: [{rule(V1)}]"))
    assert backends(edge_rules(made, "same")[0]) == [(f"{V1}.default", 1)]
    assert accepted(made, "simple") == ("True", "Accepted")
    assert listeners(made, "same")["http"].attached_routes == 1
    assert made.mesh.placements.gateways == (GatewaySpec("default", "same", (80,)),)


def test_a_view_of_the_edge_holds_the_ports_that_were_bound() -> None:
    two = gateway("same", f"[{HTTP}, {{name: other, port: 8080, protocol: HTTP}}]")
    made = compiled(SERVICES, two, attached("simple", f"rules: [{rule(V1)}]"), workloads=(edge("same", 8080),))
    found = seen(made, "same", placement="gateway")
    assert [each.port.number for each in found.edge] == [8080]
    assert [each.name for each in found.upstreams] == [f"outbound|80||{V1}.default.svc.cluster.local"]


def test_exact_paths_win_over_prefixes_and_longer_prefixes_over_shorter() -> None:
    matches = [
        rule(V1, "{path: {value: /match}}"),
        rule(V2, "{path: {value: /match/prefix}}"),
        rule(V3, "{path: {type: Exact, value: /match/exact}}"),
        rule(V1, "{path: {type: RegularExpression, value: '/match/[0-9]+'}}"),
    ]
    made = compiled(SERVICES, SAME, attached("order", f"rules: [{', '.join(matches)}]"))
    assert paths(edge_rules(made, "same")) == ["/match/exact", "/match/[0-9]+", "/match/prefix", "/match"]


def test_methods_headers_and_query_parameters_decide_between_equal_paths() -> None:
    matches = [
        rule(V1, "{path: {value: /p}}"),
        rule(V1, "{path: {value: /p}, queryParams: [{name: q, value: a}]}"),
        rule(V1, "{path: {value: /p}, headers: [{name: h, value: a}]}"),
        rule(V1, "{path: {value: /p}, headers: [{name: h, value: a}, {name: i, value: b}]}"),
        rule(V1, "{path: {value: /p}, method: PATCH}"),
    ]
    made = compiled(SERVICES, SAME, attached("order", f"rules: [{', '.join(matches)}]"))
    order = [int(each.source.rpartition("/")[2]) for each in edge_rules(made, "same")]
    assert order == [4, 3, 2, 1, 0]


def test_hostnames_of_route_and_listener_are_intersected() -> None:
    text = """[{name: very, hostname: very.specific.com, port: 80, protocol: HTTP},
      {name: wild, hostname: '*.wildcard.io', port: 80, protocol: HTTP},
      {name: any, hostname: '*.anotherwildcard.io', port: 80, protocol: HTTP}]"""
    made = compiled(
        SERVICES,
        gateway("hosts", text),
        attached("specific", f"hostnames: [non.matching.com, '*.specific.com'], rules: [{rule(V1)}]", "{name: hosts}"),
        attached("wildcard", f"hostnames: [foo.wildcard.io, wildcard.io], rules: [{rule(V2)}]", "{name: hosts}"),
        attached("nothing", f"hostnames: [wildcard.io], rules: [{rule(V3)}]", "{name: hosts}"),
    )
    domains = [each.domain for each in made.mesh.gateways["default", "hosts"].ports[0].hosts]
    assert domains == ["very.specific.com", "foo.wildcard.io", "*.anotherwildcard.io", "*.wildcard.io"]
    assert backends(edge_rules(made, "hosts", "very.specific.com")[0]) == [(f"{V1}.default", 1)]
    assert edge_rules(made, "hosts", "*.wildcard.io") == ()
    assert accepted(made, "nothing") == ("False", "NoMatchingListenerHostname")
    assert codes(made) == ["WFT-1223"]
    assert {name: each.attached_routes for name, each in listeners(made, "hosts").items()} == {
        "very": 1,
        "wild": 1,
        "any": 0,
    }


def test_a_host_belongs_to_its_most_specific_listener_alone() -> None:
    text = """[{name: empty, port: 80, protocol: HTTP},
      {name: wild, hostname: '*.example.com', port: 80, protocol: HTTP},
      {name: exact, hostname: foo.example.com, port: 80, protocol: HTTP}]"""
    made = compiled(
        SERVICES,
        gateway("isolated", text),
        attached(
            "wide",
            f"hostnames: [foo.example.com, bar.example.com], rules: [{rule(V1)}]",
            "{name: isolated, sectionName: wild}",
        ),
        attached("narrow", f"rules: [{rule(V2, '{path: {value: /n}}')}]", "{name: isolated, sectionName: exact}"),
    )
    assert backends(edge_rules(made, "isolated", "bar.example.com")[0]) == [(f"{V1}.default", 1)]
    assert paths(edge_rules(made, "isolated", "foo.example.com")) == ["/n"]
    assert edge_rules(made, "isolated", "*") == ()


def test_rules_of_a_covering_hostname_follow_those_of_the_narrower_one() -> None:
    made = compiled(
        SERVICES,
        SAME,
        attached("wide", f"hostnames: ['*.example.com'], rules: [{rule(V1, '{path: {value: /longer/path}}')}]"),
        attached("narrow", f"hostnames: [a.example.com], rules: [{rule(V2, '{path: {value: /a}}')}]"),
    )
    assert paths(edge_rules(made, "same", "a.example.com")) == ["/a", "/longer/path"]
    assert paths(edge_rules(made, "same", "*.example.com")) == ["/longer/path"]


def test_parent_refs_choose_listeners_by_name_and_port() -> None:
    two = gateway("same", "[{name: one, port: 80, protocol: HTTP}, {name: two, port: 8080, protocol: HTTP}]")
    made = compiled(
        SERVICES,
        two,
        attached("by-port", f"rules: [{rule(V1)}]", "{name: same, port: 8080}"),
        attached("wrong-name", "rules: []", "{name: same, sectionName: three}"),
        attached("wrong-port", "rules: []", "{name: same, port: 81}"),
        attached("mixed", "rules: []", "{name: same, sectionName: one, port: 8080}"),
    )
    assert edge_rules(made, "same", port=80) == ()
    assert len(edge_rules(made, "same", port=8080)) == 1
    for name in ("wrong-name", "wrong-port", "mixed"):
        assert accepted(made, name) == ("False", "NoMatchingParent")
    assert codes(made) == ["WFT-1217"] * 3


def test_a_listener_takes_its_own_namespace_unless_it_says_otherwise() -> None:
    parent = "{name: same, namespace: default}"
    far = route("far", f"{{parentRefs: [{parent}]}}", "team")
    made = compiled(SAME, far)
    assert accepted(made, "far") == ("False", "NotAllowedByListeners")
    assert codes(made) == ["WFT-1222"]
    open_ = gateway("same", "[{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]")
    assert accepted(compiled(open_, far), "far") == ("True", "Accepted")


def test_a_selector_reads_the_labels_of_namespaces() -> None:
    selector = "{matchLabels: {team: red}, matchExpressions: [{key: stage, operator: In, values: [test, live]}]}"
    chosen = gateway(
        "same",
        f"[{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: {{from: Selector, selector: {selector}}}}}}}]",
    )
    labelled = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {team: red, stage: %s}}\n---\n"
    far = route("far", "{parentRefs: [{name: same, namespace: default}]}", "team")
    assert accepted(compiled(chosen, far, labelled % "live"), "far") == ("True", "Accepted")
    assert accepted(compiled(chosen, far, labelled % "dev"), "far") == ("False", "NotAllowedByListeners")
    assert accepted(compiled(chosen, far), "far") == ("False", "NotAllowedByListeners")


def test_kinds_that_a_listener_allows_are_those_that_we_know() -> None:
    text = """[{name: none, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: Invalid}]}},
      {name: some, port: 81, protocol: HTTP, allowedRoutes: {kinds: [{kind: Invalid}, {kind: HTTPRoute}]}}]"""
    made = compiled(gateway("kinds", text), attached("r", "rules: []", "{name: kinds, sectionName: none}"))
    found = listeners(made, "kinds")
    assert found["none"].supported_kinds == ()
    assert found["some"].supported_kinds == (("gateway.networking.k8s.io", "HTTPRoute"),)
    assert condition(found["none"].conditions, "ResolvedRefs") == ("False", "InvalidRouteKinds")
    assert condition(found["some"].conditions, "ResolvedRefs") == ("False", "InvalidRouteKinds")
    assert accepted(made, "r") == ("False", "NotAllowedByListeners")


def test_listeners_that_need_certificates_are_refused_and_the_others_work() -> None:
    text = (
        "[{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: other}]}}, "
        + HTTP
        + "]"
    )
    made = compiled(gateway("mixed", text))
    found = listeners(made, "mixed")
    assert condition(found["https"].conditions, "Accepted") == ("False", "UnsupportedProtocol")
    assert condition(found["https"].conditions, "ResolvedRefs") == ("False", "RefNotPermitted")
    assert condition(found["https"].conditions, "Programmed") == ("False", "Invalid")
    assert condition(found["http"].conditions, "Programmed") == ("Unknown", "Pending")
    assert condition(status(made, "Gateway", "mixed").conditions, "Accepted") == ("True", "ListenersNotValid")
    assert [port.number for port in made.mesh.gateways["default", "mixed"].ports] == [80]
    assert sorted(codes(made)) == ["WFT-1205", "WFT-1219"]


def test_a_gateway_without_a_usable_listener_is_not_accepted() -> None:
    made = compiled(gateway("tcp", "[{name: tcp, port: 9000, protocol: TCP}]"))
    assert condition(status(made, "Gateway", "tcp").conditions, "Accepted") == ("False", "ListenersNotValid")
    assert made.mesh.placements.gateways == ()


def test_a_gateway_of_another_class_is_left_alone() -> None:
    made = compiled(gateway("theirs", f"[{HTTP}]", class_name="istio"), attached("r", "rules: []", "{name: theirs}"))
    assert made.statuses == ()
    assert codes(made) == ["WFT-1218"]
    assert ("default", "theirs") not in made.mesh.gateways


CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: %s, generation: 3}
spec: {controllerName: %s}
---
"""


def test_a_class_is_ours_by_its_controller_name() -> None:
    mine = compiled(CLASS % ("own", "weft.dev/gateway-controller"), gateway("g", f"[{HTTP}]", class_name="own"))
    assert ("default", "g") in mine.mesh.gateways
    assert condition(status(mine, "GatewayClass", "own").conditions, "Accepted") == ("True", "Accepted")
    assert status(mine, "GatewayClass", "own").generation == 3
    taken = compiled(CLASS % ("weft", "example.com/other"), gateway("g", f"[{HTTP}]"))
    assert taken.mesh.gateways == {}
    assert codes(taken) == ["WFT-1218"]


def test_a_gateway_that_asks_for_addresses_is_refused() -> None:
    text = gateway("g", f"[{HTTP}], addresses: [{{value: 10.0.0.1}}]")
    made = compiled(text)
    assert condition(status(made, "Gateway", "g").conditions, "Accepted") == ("False", "UnsupportedAddress")
    assert codes(made) == ["WFT-1221"]
    assert made.mesh.placements.gateways == ()
    two = gateway("g", f"[{HTTP}], addresses: [{{type: weft.dev/host, value: a}}, {{type: weft.dev/host, value: b}}]")
    assert codes(compiled(two)) == codes(compiled(gateway("g", f"[{HTTP}], addresses: [{{type: weft.dev/host}}]")))
    assert codes(compiled(two)) == ["WFT-1221"]


def test_a_gateway_that_names_a_host_is_placed_there() -> None:
    made = compiled(gateway("g", f"[{HTTP}], addresses: [{{type: weft.dev/host, value: bert}}]"))
    assert made.problems == ()
    assert condition(status(made, "Gateway", "g").conditions, "Accepted") == ("True", "Accepted")
    (placed,) = made.mesh.placements.gateways
    assert (placed.name, placed.host, made.mesh.gateways["default", "g"].host) == ("g", "bert", "bert")


def test_a_route_to_a_gateway_that_nobody_declared_is_told() -> None:
    made = compiled(SAME, attached("lost", "rules: []", "{name: elsewhere}"))
    assert accepted(made, "lost") == ("False", "NoMatchingParent")
    assert (made.problems[0].code, made.problems[0].remedy) == ("WFT-1210", "Use one of default/same")


def test_one_route_at_two_gateways_has_a_status_for_each() -> None:
    both = route("both", f"{{parentRefs: [{{name: same}}, {{name: other}}], rules: [{to_service(V1)}]}}")
    made = compiled(SERVICES, SAME, gateway("other", f"[{HTTP}]"), both)
    assert [accepted(made, "both", parent) for parent in (0, 1)] == [("True", "Accepted")] * 2
    assert edge_rules(made, "same") == edge_rules(made, "other")


def test_matching_across_routes_keeps_hosts_apart() -> None:
    made = compiled(
        SERVICES,
        SAME,
        attached("one", f"hostnames: [example.com, example.net], rules: [{rule(V1)}]"),
        attached("two", f"hostnames: [example.com], rules: [{rule(V2, '{path: {value: /v2}}')}]"),
    )
    assert paths(edge_rules(made, "same", "example.com")) == ["/v2", "/"]
    assert paths(edge_rules(made, "same", "example.net")) == ["/"]


def test_a_status_is_rendered_as_kubernetes_spells_it() -> None:
    made = compiled(SERVICES, SAME, attached("simple", f"rules: [{rule(V1)}]"))
    shown = render(status(made, "HTTPRoute", "simple"), "2026-01-01T00:00:00Z")
    assert shown["parents"][0]["parentRef"] == {"name": "same"}
    assert shown["parents"][0]["controllerName"] == "weft.dev/gateway-controller"
    assert shown["parents"][0]["conditions"][0] == {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    listener = render(status(made, "Gateway", "same"), "now")["listeners"][0]
    assert (listener["name"], listener["attachedRoutes"]) == ("http", 1)
    assert listener["supportedKinds"] == [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]


MESH = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  services:
    web: {port: 9080, command: web, expose: {port: 8080}}
    api: {port: 9080, command: api, expose: {port: 8080, path: /api}, versions: {v1: {}, v2: {}}}
---
"""


def test_what_a_mesh_exposes_is_an_edge_with_the_services_own_routes() -> None:
    split = route(
        "split",
        "{parentRefs: [{group: '', kind: Service, name: api}],"
        " rules: [{backendRefs: [{name: api-v1, port: 9080}, {name: api-v2, port: 9080}]}]}",
    )
    made = compiled(MESH, split)
    found = edge_rules(made, "exposed", port=8080)
    assert [(each.source, each.matches[0].path.value) for each in found] == [
        ("HTTPRoute/default/split/rules/0", "/api"),
        ("Mesh/default/shop/services/web", "/"),
    ]
    assert made.mesh.placements.gateways == (GatewaySpec("default", "exposed", (8080,)),)


def test_a_gateway_called_exposed_wins_and_is_told() -> None:
    made = compiled(MESH, gateway("exposed", f"[{HTTP}]"))
    assert codes(made) == ["WFT-1224"]
    assert [port.number for port in made.mesh.gateways["default", "exposed"].ports] == [80]
