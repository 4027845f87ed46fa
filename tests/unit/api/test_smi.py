"""The Service Mesh Interface, in both forms of its documents."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, refused
from weft.api.smi import HTTPRouteGroup, TCPRoute, TrafficTarget

TARGET = "apiVersion: access.smi-spec.io/v1alpha{0}\nkind: TrafficTarget\nmetadata: {{name: a}}\n{1}\n"
GROUP = "apiVersion: specs.smi-spec.io/v1alpha{0}\nkind: HTTPRouteGroup\nmetadata: {{name: a}}\n{1}\n"
PARTS = "destination: {{name: a{0}}}, sources: [{{kind: ServiceAccount, name: b}}]"


def target(text: str, version: int = 3) -> TrafficTarget:
    found = accepted(TARGET.format(version, text))
    assert isinstance(found, TrafficTarget)
    return found


def group(text: str) -> HTTPRouteGroup:
    found = accepted(GROUP.format(4, text))
    assert isinstance(found, HTTPRouteGroup)
    return found


def test_the_first_version_has_its_fields_at_the_top() -> None:
    old = target(
        "destination: {kind: ServiceAccount, name: a, port: 80}\nsources: [{kind: ServiceAccount, name: b}]\n"
        "specs: [{kind: HTTPRouteGroup, name: c, matches: [d]}]",
        1,
    )
    new = target(f"spec: {{{PARTS.format(', port: 80')}, rules: [{{kind: HTTPRouteGroup, name: c, matches: [d]}}]}}")
    assert old.target == new.target
    assert (old.rules_field, new.rules_field) == ("specs", "spec.rules")


def test_a_target_names_a_destination_a_source_and_a_rule() -> None:
    assert brief(refused(TARGET.format(1, ""))) == [("WFT-1104", "spec")] * 3
    assert brief(refused(TARGET.format(3, f"spec: {{{PARTS.format('')}}}"))) == [("WFT-1104", "spec.rules")]
    assert brief(refused(TARGET.format(3, f"spec: {{{PARTS.format('')}, rules: []}}"))) == [("WFT-1105", "spec.rules")]
    both = f"spec: {{{PARTS.format('')}, rules: [{{kind: TCPRoute, name: a}}]}}\nsources: [{{name: x}}]"
    assert brief(refused(TARGET.format(3, both))) == [("WFT-1105", "sources")]


def test_other_kinds_of_identities_and_rules_are_refused() -> None:
    spec = f"spec: {{{PARTS.format('')}, rules: [{{kind: UDPRoute, name: a}}]}}"
    assert brief(refused(TARGET.format(3, spec))) == [("WFT-1105", "spec.rules[0].kind")]
    spec = "spec: {destination: {kind: User, name: a}, sources: [{name: b}], rules: [{kind: TCPRoute, name: a, matches: [b]}]}"
    assert brief(refused(TARGET.format(3, spec))) == [
        ("WFT-1105", "spec.destination.kind"),
        ("WFT-1105", "spec.rules[0].matches"),
    ]


def test_headers_are_a_mapping_or_a_list_of_mappings() -> None:
    for text in ("{a: x, B: 'y.*'}", "[{a: x}, {B: 'y.*'}]"):
        (match,) = group(f"spec: {{matches: [{{name: m, headers: {text}}}]}}").all_matches
        assert match.headers == (("B", "y.*"), ("a", "x"))


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{name: m, headers: [{a: x}, {a: y}]}", "WFT-1105", "headers"),
        ("{name: m, headers: [x]}", "WFT-1103", "headers"),
        ("{name: m, headers: {a: '('}}", "WFT-1107", "headers.a"),
        ("{name: m, headers: {'a b': x}}", "WFT-1106", 'headers["a b"]'),
        ("{name: m, pathRegex: '('}", "WFT-1107", "pathRegex"),
        ("{name: m, methods: [get]}", "WFT-1105", "methods[0]"),
        ("{pathRegex: a}", "WFT-1104", "name"),
    ],
)
def test_a_match_is_checked(text: str, code: str, field: str) -> None:
    assert brief(refused(GROUP.format(3, f"spec: {{matches: [{text}]}}"))) == [(code, f"spec.matches[0].{field}")]


def test_a_group_has_matches_once_in_one_place() -> None:
    assert group("matches: [{name: m}]").all_matches == group("spec: {matches: [{name: m}]}").all_matches
    assert brief(refused(GROUP.format(1, ""))) == [("WFT-1104", "spec")]
    assert brief(refused(GROUP.format(1, "matches: [{name: m}, {name: m}]"))) == [("WFT-1105", "matches[1].name")]
    found = brief(refused(GROUP.format(1, "spec: {matches: [{name: m}, {name: m}]}")))
    assert found == [("WFT-1105", "spec.matches[1].name")]


def test_a_tcp_route_without_anything_stands_for_every_port() -> None:
    found = accepted("apiVersion: specs.smi-spec.io/v1alpha1\nkind: TCPRoute\nmetadata: {name: a}\n")
    assert isinstance(found, TCPRoute)
    assert found.spec.matches.ports == ()


def test_udp_is_refused_with_the_reason() -> None:
    (problem,) = refused("apiVersion: specs.smi-spec.io/v1alpha4\nkind: UDPRoute\nmetadata: {name: a}\n")
    assert (problem.code, problem.field) == ("WFT-1108", "kind")
    assert "no identity" in problem.message
