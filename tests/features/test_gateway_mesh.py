"""HTTPRoutes whose parents are Services: what the Gateway API's mesh conformance asks for, in our words."""

from __future__ import annotations

from tests.support.compiled import (
    accepted,
    backends,
    codes,
    compiled,
    host,
    paths,
    resolved,
    route,
    rules,
    seen,
    service,
    to_service,
    workload,
)

ECHO = service("echo") + service("echo-v1") + service("echo-v2")
PARENT = "parentRefs: [{group: '', kind: Service, name: echo}]"


def test_traffic_is_split_by_weight() -> None:
    split = "rules: [{backendRefs: [{name: echo-v1, port: 80, weight: 90}, {name: echo-v2, port: 80, weight: 10}]}]"
    made = compiled(ECHO, route("split", f"{{{PARENT}, {split}}}"))
    (rule,) = rules(made, "echo")
    assert backends(rule) == [("echo-v1.default", 90), ("echo-v2.default", 10)]
    assert rule.source == "HTTPRoute/default/split/rules/0"
    assert accepted(made, "split") == ("True", "Accepted")
    assert resolved(made, "split") == ("True", "ResolvedRefs")
    assert made.problems == ()


def test_a_view_holds_the_rules_and_every_cluster_of_them() -> None:
    split = "rules: [{backendRefs: [{name: echo-v1, port: 80}, {name: echo-v2, port: 80, weight: 0}]}]"
    made = compiled(ECHO, route("split", f"{{{PARENT}, {split}}}"), workloads=(workload("web"),))
    found = seen(made, "web", "echo.default")
    assert backends(host(found, "echo.default").rules[0]) == [("echo-v1.default", 1), ("echo-v2.default", 0)]
    assert [each.name for each in found.upstreams] == ["outbound|80||echo-v1.default.svc.cluster.local"]


def test_a_service_without_routes_is_itself() -> None:
    made = compiled(ECHO, workloads=(workload("web"),))
    (rule,) = host(seen(made, "web", "echo"), "echo").rules
    assert (rule.source, backends(rule)) == ("Service/default/echo", [("echo.default", 1)])


def test_header_matches_come_before_the_rest_of_the_same_path() -> None:
    spec = f"""{{{PARENT}, rules: [
      {{backendRefs: [{{name: echo-v1, port: 80}}]}},
      {{matches: [{{headers: [{{name: User, value: test}}]}}], backendRefs: [{{name: echo-v2, port: 80}}]}}]}}"""
    first, second = rules(compiled(ECHO, route("ab", spec)), "echo")
    assert first.matches[0].headers[0].name == "user"
    assert (backends(first), backends(second)) == ([("echo-v2.default", 1)], [("echo-v1.default", 1)])


def test_a_consumer_route_holds_for_its_own_namespace_only() -> None:
    spec = (
        "{parentRefs: [{group: '', kind: Service, name: echo, namespace: default}],"
        " rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: a.example}}]}]}"
    )
    made = compiled(
        ECHO,
        route("mine", spec, "shop"),
        workloads=(workload("web", namespace="shop"), workload("other")),
    )
    inside = host(seen(made, "web", "echo.default", namespace="shop"), "echo.default")
    outside = host(seen(made, "other", "echo"), "echo")
    assert [rule.source for rule in inside.rules] == ["HTTPRoute/shop/mine/rules/0"]
    assert [rule.source for rule in outside.rules] == ["Service/default/echo"]


def test_a_consumer_route_replaces_the_producers_there() -> None:
    consumer = (
        "{parentRefs: [{group: '', kind: Service, name: echo,"
        " namespace: default}], rules: [{backendRefs: [{name: own, port: 80}]}]}"
    )
    made = compiled(
        ECHO,
        service("own", "shop"),
        route("producer", f"{{{PARENT}, rules: [{to_service('echo-v1')}]}}"),
        route("consumer", consumer, "shop"),
    )
    assert backends(rules(made, "echo", caller="shop")[0]) == [("own.shop", 1)]
    assert backends(rules(made, "echo")[0]) == [("echo-v1.default", 1)]


def test_parent_port_and_section_choose_the_service_port() -> None:
    two = """
apiVersion: v1
kind: Service
metadata: {name: two}
spec: {selector: {app: two}, ports: [{name: http, port: 80}, {name: http-alt, port: 8080}, {name: tcp, port: 9000}]}
---
"""
    by_port = route(
        "by-port",
        "{parentRefs: [{group: '', kind: Service, name: two, port: 8080}], rules: [{backendRefs: [{name: two, port: 80}]}]}",
    )
    made = compiled(two, by_port)
    assert rules(made, "two", 80) == ()
    assert len(rules(made, "two", 8080)) == 1
    named = route(
        "named",
        "{parentRefs: [{group: '', kind: Service, name: two, sectionName: http}],"
        " rules: [{backendRefs: [{name: two, port: 8080}]}]}",
    )
    made = compiled(two, named)
    assert len(rules(made, "two", 80)) == 1
    assert rules(made, "two", 8080) == ()
    every = compiled(
        two,
        route(
            "all",
            "{parentRefs: [{group: '', kind: Service, name: two}], rules: [{backendRefs: [{name: two, port: 80}]}]}",
        ),
    )
    assert {port for _, port in every.mesh.routes} == {80, 8080}


def test_a_parent_without_that_port_attaches_nothing() -> None:
    made = compiled(ECHO, route("wrong", "{parentRefs: [{group: '', kind: Service, name: echo, port: 81}]}"))
    assert accepted(made, "wrong") == ("False", "NoMatchingParent")
    (problem,) = made.problems
    assert (problem.code, problem.field) == ("WFT-1204", "spec.parentRefs[0].port")
    assert "it has 80 (http)" in problem.message


def test_a_parent_that_does_not_exist_is_a_problem_with_near_names() -> None:
    made = compiled(ECHO, route("wrong", "{parentRefs: [{group: '', kind: Service, name: ecko}]}"))
    assert accepted(made, "wrong") == ("False", "NoMatchingParent")
    assert "near: echo" in made.problems[0].message


def test_a_parent_of_another_kind_is_a_problem_without_a_status() -> None:
    made = compiled(route("odd", "{parentRefs: [{group: example.com, kind: Bucket, name: a}]}"))
    assert codes(made) == ["WFT-1208"]
    assert made.statuses == ()


def test_a_route_without_parents_and_hostnames_in_the_mesh_are_warned_about() -> None:
    made = compiled(
        ECHO,
        route("alone", "{}"),
        route("hosts", f"{{{PARENT}, hostnames: [a.example.com], rules: [{to_service('echo')}]}}"),
    )
    assert sorted(codes(made)) == ["WFT-1201", "WFT-1202"]


def test_matches_of_several_routes_are_put_in_one_order() -> None:
    first = route(
        "z-old",
        f"{{{PARENT}, rules: [{{matches: [{{path: {{value: /a}}}}], backendRefs: [{{name: echo-v1, port: 80}}]}}]}}",
        created="2020-01-01T00:00:00Z",
    )
    second = route(
        "a-new",
        f"{{{PARENT}, rules: [{{matches: [{{path: {{value: /a}}}},"
        f" {{path: {{value: /a/b}}}}], backendRefs: [{{name: echo-v2, port: 80}}]}}]}}",
        created="2021-01-01T00:00:00Z",
    )
    found = rules(compiled(ECHO, first, second), "echo")
    assert paths(found) == ["/a/b", "/a", "/a"]
    assert [rule.source.split("/")[2] for rule in found] == ["a-new", "z-old", "a-new"]


def test_routes_of_equal_age_go_by_name() -> None:
    one = route("b", f"{{{PARENT}, rules: [{to_service('echo-v1')}]}}")
    two = route("a", f"{{{PARENT}, rules: [{to_service('echo-v2')}]}}")
    assert [rule.source.split("/")[2] for rule in rules(compiled(ECHO, one, two), "echo")] == ["a", "b"]


def test_the_observed_generation_is_the_objects() -> None:
    made = compiled(ECHO, route("split", f"{{{PARENT}, rules: [{to_service('echo')}]}}", generation=7))
    assert made.statuses[0].generation == 7


def test_a_tcp_service_cannot_be_a_backend() -> None:
    redis = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: redis}\nspec: {selector: {a: b},"
        " ports: [{name: redis, port: 6379}]}\n---\n"
    )
    made = compiled(ECHO, redis, route("odd", f"{{{PARENT}, rules: [{to_service('redis', 6379)}]}}"))
    assert resolved(made, "odd") == ("False", "UnsupportedProtocol")
    assert codes(made) == ["WFT-1207"]
    assert backends(rules(made, "echo")[0]) == [("-", 1)]
