"""HTTPRoute: matches, rules, parents, limits."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, refused
from weft.api.httproute import HTTPRoute

HEAD = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec:\n"


def route(spec: str) -> HTTPRoute:
    found = accepted(HEAD + f"  {spec}\n")
    assert isinstance(found, HTTPRoute)
    return found


def problems(spec: str) -> list[tuple[str, str]]:
    return brief(refused(HEAD + f"  {spec}\n"))


def rule(text: str) -> list[tuple[str, str]]:
    return problems(f"rules: [{{{text}}}]")


def match(text: str) -> list[tuple[str, str]]:
    return [(code, field.removeprefix("spec.rules[0].matches[0].")) for code, field in rule(f"matches: [{{{text}}}]")]


def test_a_route_without_rules_or_matches_takes_every_request() -> None:
    for spec in ("parentRefs: []", "rules: [{}]", "rules: [{matches: []}]", "rules: [{matches: [{}]}]"):
        (only,) = route(spec).spec.rules
        (found,) = only.matches
        assert (found.path.type, found.path.value, found.method) == ("PathPrefix", "/", None)


def test_a_parent_is_a_gateway_unless_it_says_otherwise() -> None:
    (ref,) = route("parentRefs: [{name: edge}]").spec.parent_refs
    assert (ref.group, ref.kind) == ("gateway.networking.k8s.io", "Gateway")


def test_the_older_version_has_the_same_fields() -> None:
    accepted(HEAD.replace("/v1\n", "/v1beta1\n") + "  rules: []\n")


@pytest.mark.parametrize(
    "value", ["a", "//", "/a/./b", "/a/../b", "/a/..", "/.", "/a%2Fb", "/a#b", "/a?b", "/a b", "/%zz", ""]
)
@pytest.mark.parametrize("kind", ["Exact", "PathPrefix"])
def test_a_path_that_no_request_has_is_refused(kind: str, value: str) -> None:
    assert match(f"path: {{type: {kind}, value: '{value}'}}") == [("WFT-1105", "path.value")]


def test_a_path_of_every_allowed_character_passes() -> None:
    accepted(HEAD + '  rules: [{matches: [{path: {value: "/aZ0-._~!$&\'()*+,;=:@%41/"}}]}]\n')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path: {type: RegularExpression, value: '(?=a)'}", ("WFT-1107", "path.value")),
        ("headers: [{name: a, type: RegularExpression, value: '['}]", ("WFT-1107", "headers[0].value")),
        ("queryParams: [{name: a, type: RegularExpression, value: '['}]", ("WFT-1107", "queryParams[0].value")),
        ("headers: [{name: a, value: x}, {name: A, value: y}]", ("WFT-1105", "headers[1].name")),
        ("queryParams: [{name: a, value: x}, {name: a, value: y}]", ("WFT-1105", "queryParams[1].name")),
        ("queryParams: [{name: a, value: ''}]", ("WFT-1105", "queryParams[0].value")),
        ("method: PURGE", ("WFT-1105", "method")),
        ("path: {value: /" + "a" * 1024 + "}", ("WFT-1105", "path.value")),
    ],
)
def test_a_match_that_cannot_hold_is_refused(text: str, problem: tuple[str, str]) -> None:
    assert match(text) == [problem]


def test_query_parameters_differ_by_case() -> None:
    route("rules: [{matches: [{queryParams: [{name: a, value: x}, {name: A, value: y}]}]}]")


PREFIX = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}"
REDIRECT = "{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}"
R = "spec.rules[0]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: a, port: 1}]",
            f"{R}.backendRefs",
        ),
        (f"matches: [{{path: {{type: Exact, value: /a}}}}], filters: [{PREFIX}]", f"{R}.filters[0].urlRewrite.path"),
        (f"matches: [{{}}, {{method: GET}}], filters: [{REDIRECT}]", f"{R}.filters[0].requestRedirect.path"),
        (
            f"matches: [{{path: {{type: Exact, value: /a}}}}], backendRefs: [{{name: a, port: 1, filters: [{PREFIX}]}}]",
            f"{R}.backendRefs[0].filters[0].urlRewrite.path",
        ),
        ("timeouts: {request: 1s, backendRequest: 2s}", f"{R}.timeouts.backendRequest"),
        ("timeouts: {request: 5}", f"{R}.timeouts.request"),
        ("backendRefs: [{name: a, port: 1, weight: 1000001}]", f"{R}.backendRefs[0].weight"),
        ("retry: {codes: [200]}", f"{R}.retry.codes[0]"),
        ("retry: {attempts: -1}", f"{R}.retry.attempts"),
        ("sessionPersistence: {sessionName: a}", f"{R}.sessionPersistence"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(text: str, problem: str) -> None:
    assert [field for _, field in rule(text)] == [problem]


def test_timeouts_of_zero_mean_no_limit() -> None:
    route("rules: [{timeouts: {request: 0s, backendRequest: 2s}}]")
    route("rules: [{timeouts: {request: 2s, backendRequest: 0s}}]")


def test_a_prefix_may_be_replaced_where_one_prefix_is_matched() -> None:
    route(f"rules: [{{filters: [{PREFIX}]}}]")
    route(f"rules: [{{matches: [{{path: {{value: /a}}}}], filters: [{REDIRECT}]}}]")


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("rules: [{name: a}, {name: a}]", ("WFT-1105", "spec.rules[1].name")),
        ("hostnames: [10.0.0.1]", ("WFT-1106", "spec.hostnames[0]")),
        ("hostnames: [Example.com]", ("WFT-1106", "spec.hostnames[0]")),
        ("useDefaultGateways: All", ("WFT-1108", "spec.useDefaultGateways")),
        ("parentRefs: [{name: a}, {name: a}]", ("WFT-1105", "spec.parentRefs[1]")),
        ("parentRefs: [{name: a}, {name: a, port: 1}]", ("WFT-1105", "spec.parentRefs[1]")),
        ("parentRefs: [{name: a, port: 1}, {name: a, port: 1}]", ("WFT-1105", "spec.parentRefs[1]")),
        ("parentRefs: [{name: a, port: 1}, {name: a}]", ("WFT-1105", "spec.parentRefs[1]")),
    ],
)
def test_a_route_that_contradicts_itself_is_refused(spec: str, problem: tuple[str, str]) -> None:
    assert problems(spec) == [problem]


def test_parents_that_are_told_apart_pass() -> None:
    refs = (
        "{name: a, port: 1}",
        "{name: a, sectionName: b}",
        "{name: a, namespace: b}",
        "{kind: Service, group: '', name: a}",
    )
    found = route(f"parentRefs: [{', '.join(refs)}]")
    assert len(found.spec.parent_refs) == 4


def test_the_limits_of_the_specification_hold() -> None:
    some = "{method: GET}, " * 64
    assert problems(f"rules: [{{matches: [{some}]}}, {{matches: [{some}]}}, {{}}]") == [("WFT-1105", "spec.rules")]
    assert problems(f"rules: [{'{}, ' * 17}]") == [("WFT-1105", "spec.rules")]
    assert problems(f"hostnames: [{', '.join(f'a{n}' for n in range(17))}]") == [("WFT-1105", "spec.hostnames")]
