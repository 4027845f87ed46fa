"""What a rule may hold: filters, time-outs, retries, mirrors, references; one test for each promise."""

from __future__ import annotations

from tests.support.compiled import (
    accepted,
    backends,
    codes,
    compiled,
    resolved,
    route,
    rules,
    service,
    status,
    to_service,
)
from weft.model.route import Cors, HeaderEdit, PathRewrite, Redirect, Rewrite, Rule

ECHO = service("echo") + service("echo-v1") + service("echo-v2")


def made_rule(rule: str) -> Rule:
    made = compiled(ECHO, route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{rule}]}}"))
    assert made.problems == ()
    (found,) = rules(made, "echo")
    return found


def filtered(text: str) -> Rule:
    return made_rule(f"{{filters: [{text}], backendRefs: [{{name: echo-v1, port: 80}}]}}")


def test_headers_are_changed_on_the_way_in_and_out() -> None:
    found = filtered(
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A,"
        " value: b}], add: [{name: C, value: d}], remove: [E]}},"
        "{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [F]}}"
    )
    assert found.request_headers == HeaderEdit(set=(("A", "b"),), add=(("C", "d"),), remove=("E",))
    assert found.response_headers == HeaderEdit(remove=("F",))


def test_a_backend_changes_headers_of_its_own_share() -> None:
    found = made_rule(
        "{backendRefs: [{name: echo-v1, port: 80, filters: [{type: RequestHeaderModifier,"
        " requestHeaderModifier: {set: [{name: V, value: one}]}}]},"
        "{name: echo-v2, port: 80}]}"
    )
    assert [backend.request_headers.set for backend in found.backends] == [(("V", "one"),), ()]


def test_a_redirect_says_host_status_and_path() -> None:
    found = made_rule(
        "{filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org, statusCode: 301,"
        " path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}], matches: [{path: {value: /old}}]}"
    )
    assert found.redirect == Redirect(301, host="example.org", path=PathRewrite("/new", replace_prefix=True))


def test_the_scheme_of_a_redirect_gives_its_port() -> None:
    found = made_rule("{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}")
    assert found.redirect == Redirect(302, scheme="https", port=443)


def test_a_rewrite_says_host_and_path() -> None:
    found = filtered(
        "{type: URLRewrite, urlRewrite: {hostname: one.example, path: {type: ReplaceFullPath, replaceFullPath: /one}}}"
    )
    assert found.rewrite == Rewrite("one.example", PathRewrite("/one"))


def test_mirrors_copy_all_some_percent_or_a_fraction() -> None:
    ref = "backendRef: {name: echo-v2, port: 80}"
    found = filtered(
        f"{{type: RequestMirror, requestMirror: {{{ref}}}}},"
        f"{{type: RequestMirror, requestMirror: {{{ref}, percent: 42}}}},"
        f"{{type: RequestMirror, requestMirror: {{{ref}, fraction: {{numerator: 1, denominator: 3}}}}}},"
        f"{{type: RequestMirror, requestMirror: {{{ref}, percent: 0}}}}"
    )
    assert [(mirror.numerator, mirror.denominator) for mirror in found.mirrors] == [(100, 100), (42, 100), (1, 3)]
    assert found.mirrors[0].cluster.host == "echo-v2.default.svc.cluster.local"


def test_a_mirror_to_nowhere_is_told_and_left_out() -> None:
    text = (
        "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: gone,"
        " port: 80}}}], backendRefs: [{name: echo-v1, port: 80}]}"
    )
    made = compiled(ECHO, route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{text}]}}"))
    assert resolved(made, "r") == ("False", "BackendNotFound")
    assert made.problems[0].field == "spec.rules[0].filters[0].requestMirror.backendRef.name"
    assert rules(made, "echo")[0].mirrors == ()


def test_cors_is_carried_over() -> None:
    found = filtered(
        "{type: CORS, cors: {allowOrigins: ['https://*.example.com'], allowMethods: [GET], allowCredentials: true, maxAge: 60}}"
    )
    assert found.cors == Cors(("https://*.example.com",), ("GET",), (), (), allow_credentials=True, max_age_seconds=60)


def test_timeouts_are_milliseconds_and_zero_is_none() -> None:
    found = made_rule("{timeouts: {request: 1m30s, backendRequest: 500ms}, backendRefs: [{name: echo-v1, port: 80}]}")
    assert (found.request_timeout, found.backend_timeout) == (90_000, 500)
    assert made_rule("{timeouts: {request: 0s}, backendRefs: [{name: echo-v1, port: 80}]}").request_timeout == 0
    assert made_rule(to_service("echo-v1")).request_timeout is None


def test_retries_say_how_often_for_what_and_how_fast() -> None:
    found = made_rule(
        "{retry: {codes: [504, 500], attempts: 3, backoff: 100ms}, backendRefs: [{name: echo-v1, port: 80}]}"
    )
    assert (found.retry.attempts, found.retry.codes, found.retry.backoff) == (3, (500, 504), 100)
    assert made_rule("{retry: {attempts: 0}, backendRefs: [{name: echo-v1, port: 80}]}").retry.attempts == 0
    plain = made_rule(to_service("echo-v1")).retry
    written = made_rule("{retry: {}, backendRefs: [{name: echo-v1, port: 80}]}").retry
    assert (written.attempts, written.codes) == (plain.attempts, plain.codes)


def test_only_who_writes_of_retries_has_broken_and_slow_attempts_repeated() -> None:
    assert "reset" in made_rule("{retry: {}, backendRefs: [{name: echo-v1, port: 80}]}").retry.conditions
    assert "reset" not in made_rule(to_service("echo-v1")).retry.conditions


def test_a_prefix_loses_its_trailing_slash_and_a_match_all_its_parts() -> None:
    found = made_rule(
        "{matches: [{path: {value: /a/}, method: GET, queryParams: [{name: Q, value: x}],"
        " headers: [{name: H, type: RegularExpression, value: 'a+'}]}], backendRefs: [{name: echo-v1, port: 80}]}"
    )
    (match,) = found.matches
    assert (match.path.value, match.method, match.query[0].name, match.headers[0].match.value) == (
        "/a",
        "GET",
        "Q",
        "a+",
    )


def test_a_rule_without_backends_answers_an_error() -> None:
    assert made_rule("{matches: [{path: {value: /none}}]}").backends == ()


def test_an_unknown_extension_is_never_skipped() -> None:
    text = (
        "{filters: [{type: ExtensionRef, extensionRef: {group: example.com,"
        " kind: Auth, name: a}}], backendRefs: [{name: echo-v1, port: 80}]}"
    )
    made = compiled(ECHO, route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{text}]}}"))
    assert backends(rules(made, "echo")[0]) == [("-", 1)]
    assert resolved(made, "r") == ("False", "InvalidKind")
    assert codes(made) == ["WFT-1209"]


def test_a_filter_that_a_backend_cannot_have_breaks_its_share_only() -> None:
    text = (
        "{backendRefs: [{name: echo-v1, port: 80, filters: [{type: URLRewrite, urlRewrite: {hostname: a.example}}]},"
        " {name: echo-v2, port: 80}]}"
    )
    made = compiled(ECHO, route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{text}]}}"))
    assert backends(rules(made, "echo")[0]) == [("-", 1), ("echo-v2.default", 1)]
    conditions = status(made, "HTTPRoute", "r").parents[0].conditions
    assert [each.reason for each in conditions if each.type == "PartiallyInvalid"] == ["UnsupportedValue"]
    assert accepted(made, "r") == ("True", "Accepted")


def test_a_backend_of_an_unknown_kind_gets_its_share_as_errors() -> None:
    text = "{backendRefs: [{group: example.com, kind: Bucket, name: a}, {name: echo-v2, port: 80}]}"
    made = compiled(ECHO, route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{text}]}}"))
    assert backends(rules(made, "echo")[0]) == [("-", 1), ("echo-v2.default", 1)]
    assert resolved(made, "r") == ("False", "InvalidKind")


def test_a_missing_backend_is_told_with_its_place_and_near_names() -> None:
    text = route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{to_service('echo-v3')}]}}")
    made = compiled(ECHO, text)
    assert resolved(made, "r") == ("False", "BackendNotFound")
    (problem,) = made.problems
    assert (problem.code, problem.field) == ("WFT-1203", "spec.rules[0].backendRefs[0].name")
    assert "echo-v1" in problem.message
    assert (problem.origin.source, problem.origin.line) == ("/shop/1.yaml", 5)


def test_a_missing_port_is_told_with_the_known_ones() -> None:
    made = compiled(
        ECHO,
        route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{to_service('echo', 81)}]}}"),
    )
    assert made.problems[0].message == "Service default/echo has no port 81; it has 80 (http)"
    assert resolved(made, "r") == ("False", "BackendNotFound")


GRANT = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: open, namespace: backends}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: %s}]
  to: [{group: '', kind: %s%s}]
---
"""


def across(*grants: str) -> tuple[str, str]:
    text = (
        "{parentRefs: [{group: '', kind: Service, name: echo}],"
        " rules: [{backendRefs: [{name: far, namespace: backends, port: 80}]}]}"
    )
    made = compiled(ECHO, service("far", "backends"), route("r", text), *grants)
    assert (codes(made) == []) == (resolved(made, "r")[0] == "True")
    return resolved(made, "r")


def test_another_namespace_needs_a_grant_that_fits() -> None:
    assert across() == ("False", "RefNotPermitted")
    assert across(GRANT % ("default", "Service", "")) == ("True", "ResolvedRefs")
    assert across(GRANT % ("default", "Service", ", name: far")) == ("True", "ResolvedRefs")
    assert across(GRANT % ("default", "Service", ", name: near")) == ("False", "RefNotPermitted")
    assert across(GRANT % ("other", "Service", "")) == ("False", "RefNotPermitted")
    assert across(GRANT % ("default", "Secret", "")) == ("False", "RefNotPermitted")
    assert across((GRANT % ("default", "Service", "")).replace("namespace: backends", "namespace: default")) == (
        "False",
        "RefNotPermitted",
    )
