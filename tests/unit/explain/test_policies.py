"""Rules that others make pointless, and questions about tokens that nobody checks."""

from __future__ import annotations

import pytest

from tests.support.compiled import compiled, gateway
from tests.support.policies import both, istio, policy
from weft.explain.policies import covers, of_policies, shown
from weft.model.trust import Attribute, AuthRule, Question, Text, TextKind

TOKENS = istio("RequestAuthentication", "t", "{jwtRules: [{issuer: 'https://a.example'}]}")
ASK = "{rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}"
P = "AuthorizationPolicy/default/p/rules"


def said(*texts: str) -> list[tuple[str, str]]:
    made = compiled(*texts, workloads=(both("echo"), both("web")))
    return [(each.code, each.source) for each in of_policies(made.http_guards)]


def rules(action: str, *found: str, more: str = "") -> str:
    return f"{{{more}action: {action}, rules: [{', '.join(found)}]}}"


def to(text: str) -> str:
    return f"{{to: [{{operation: {{{text}}}}}]}}"


@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_a_rule_that_another_of_its_action_contains_changes_nothing(action: str) -> None:
    assert said(policy("p", rules(action, "{}", to("methods: [GET]")))) == [("WFT-1240", f"{P}/1")]
    assert said(policy("p", rules(action, to("paths: [/a/b]"), to("paths: ['/a*']")))) == [("WFT-1240", f"{P}/0")]
    assert said(policy("p", rules(action, to("paths: [/a]"), to("methods: [GET]")))) == []


def test_of_two_rules_that_say_the_same_the_first_stays() -> None:
    assert said(policy("p", rules("ALLOW", to("methods: [GET]"), to("methods: [GET]")))) == [("WFT-1240", f"{P}/1")]


def test_a_rule_of_another_policy_counts_where_both_hold() -> None:
    narrow = policy("p", rules("ALLOW", to("methods: [GET]")))
    assert said(narrow, policy("q", rules("ALLOW", "{}"))) == [("WFT-1240", f"{P}/0")]
    elsewhere = policy("q", rules("ALLOW", "{}", more="selector: {matchLabels: {app: echo}}, "))
    assert said(narrow, elsewhere) == []


def test_an_allow_rule_that_a_denial_contains_lets_nobody_in() -> None:
    denied = policy("q", rules("DENY", to("paths: ['/admin*']")))
    assert said(policy("p", rules("ALLOW", to("paths: [/admin/x], methods: [GET]"))), denied) == [
        ("WFT-1241", f"{P}/0")
    ]
    assert said(policy("p", rules("ALLOW", to("paths: ['/a*']"))), denied) == []


def test_what_is_only_tried_out_takes_nothing_from_others() -> None:
    tried = policy("q", rules("DENY", "{}"), more=", annotations: {istio.io/dry-run: 'true'}")
    assert said(policy("p", rules("ALLOW", to("methods: [GET]"))), tried) == []


def test_connections_are_no_reason_to_call_a_rule_pointless() -> None:
    assert said(policy("p", rules("DENY", to("methods: [GET]"), to("methods: [POST]")))) == []


def test_tokens_that_nobody_checks() -> None:
    assert said(policy("p", ASK)) == [("WFT-1239", f"{P}/0")]
    assert said(policy("p", ASK), TOKENS) == []
    some = TOKENS.replace("{jwtRules", "{selector: {matchLabels: {app: echo}}, jwtRules")
    assert said(policy("p", ASK), some) == []
    assert said(policy("p", "{rules: [{when: [{key: 'request.auth.claims[a]', values: [b]}]}]}")) == [
        ("WFT-1239", f"{P}/0")
    ]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("https://a.example/bob", []),
        ("https://a.example/*", []),
        ("*/bob", []),
        ("https*", []),
        ("*", []),
        ("https://b.example/*", ["b.example"]),
        ("https://a.example/x/bob", ["https://a.example/x"]),
        ("bob", ["(none)"]),
    ],
)
def test_an_issuer_whose_tokens_nobody_checks(value: str, found: list[str]) -> None:
    asked = policy("p", f"{{rules: [{{from: [{{source: {{requestPrincipals: ['{value}']}}}}]}}]}}")
    made = compiled(TOKENS, asked, workloads=(both("echo"),))
    problems = of_policies(made.http_guards)
    assert [each.code for each in problems] == ["WFT-1257"] * len(found)
    assert all(name in each.message for name, each in zip(found, problems, strict=True))


def test_a_gateway_is_looked_at_too() -> None:
    target = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]"
    text = policy("p", ASK.replace("{rules", f"{{{target}, rules", 1))
    assert said(gateway("edge", "[{name: a, port: 80, protocol: HTTP}]"), text) == [("WFT-1239", f"{P}/0")]


def texts(*values: tuple[TextKind, str]) -> tuple[Text, ...]:
    return tuple(Text(kind, value) for kind, value in values)


EXACT, PREFIX, SUFFIX, PRESENT = TextKind.EXACT, TextKind.PREFIX, TextKind.SUFFIX, TextKind.PRESENT


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ((PRESENT, ""), (EXACT, "a"), True),
        ((PRESENT, ""), (TextKind.REGEX, "a"), True),
        ((PREFIX, "a"), (EXACT, "ab"), True),
        ((PREFIX, "a"), (PREFIX, "ab"), True),
        ((PREFIX, "ab"), (PREFIX, "a"), False),
        ((PREFIX, "a"), (SUFFIX, "a"), False),
        ((SUFFIX, "b"), (EXACT, "ab"), True),
        ((SUFFIX, "b"), (SUFFIX, "ab"), True),
        ((SUFFIX, "b"), (PREFIX, "b"), False),
        ((EXACT, "a"), (EXACT, "a"), True),
        ((EXACT, "a"), (EXACT, "b"), False),
        ((EXACT, "a"), (PRESENT, ""), False),
        ((TextKind.TEMPLATE, "/{*}"), (EXACT, "/a"), False),
    ],
)
def test_a_value_contains_another(wide: tuple[TextKind, str], narrow: tuple[TextKind, str], covered: bool) -> None:
    outer = AuthRule("a", ((Question(Attribute.PATH, texts(wide)),),))
    inner = AuthRule("b", ((Question(Attribute.PATH, texts(narrow)),),))
    assert covers(outer, inner) is covered


def test_negations_turn_round() -> None:
    def without(*values: tuple[TextKind, str]) -> AuthRule:
        return AuthRule("a", (), (), (Question(Attribute.HEADER, (), texts(*values), "x"),))

    assert covers(without((EXACT, "a")), without((PREFIX, "a")))
    assert not covers(without((PREFIX, "a")), without((EXACT, "a")))
    assert not covers(without((EXACT, "a")), AuthRule("b"))
    other = AuthRule("b", (), (), (Question(Attribute.HEADER, (), texts((EXACT, "a")), "y"),))
    assert not covers(without((EXACT, "a")), other)


def test_alternatives_are_contained_one_by_one() -> None:
    def either(*values: str) -> AuthRule:
        return AuthRule("a", tuple((Question(Attribute.NAMESPACE, texts((EXACT, value))),) for value in values))

    assert covers(either("a", "b", "c"), either("b", "a"))
    assert not covers(either("a"), either("a", "b"))
    assert not covers(either("a"), AuthRule("b"))
    assert covers(AuthRule("b"), either("a"))


def test_rules_are_named_as_people_say() -> None:
    assert shown(f"{P}/3") == "rule 3 of AuthorizationPolicy/default/p"
    assert shown("identityHeader") == "identityHeader"
