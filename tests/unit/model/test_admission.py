from __future__ import annotations

import pytest

from weft.model.admission import refusal
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind

WEB = "spiffe://local/ns/shop/sa/web"
SOURCE = "AuthorizationPolicy/shop/pay"


def _exact(*values: str) -> tuple[Text, ...]:
    return tuple(Text(TextKind.EXACT, value) for value in values)


def _principal(*values: str) -> Question:
    return Question(Attribute.PRINCIPAL, _exact(*values))


def _policy(action: Action, *questions: Question, dry_run: bool = False) -> AuthPolicy:
    rule = AuthRule(f"{SOURCE}/rules/0", sources=(questions,) if questions else ())
    return AuthPolicy(SOURCE, action, (rule,), dry_run=dry_run)


def _said(*policies: AuthPolicy, default_deny: bool = False) -> str:
    return refusal(((8080, Guard(policies=policies, default_deny=default_deny)),), WEB)


def test_who_is_denied_by_name_is_told_the_rule() -> None:
    assert _said(_policy(Action.DENY, _principal("local/ns/shop/sa/web"))) == f"{SOURCE}/rules/0 denies it"
    assert _said(_policy(Action.DENY, _principal(WEB))) == f"{SOURCE}/rules/0 denies it"
    assert _said(_policy(Action.DENY, _principal("local/ns/shop/sa/other"))) == ""


def test_who_no_rule_allows_is_told_the_policy() -> None:
    assert _said(_policy(Action.ALLOW, _principal("local/ns/shop/sa/cart"))) == f"no rule of {SOURCE} allows it"
    assert _said(_policy(Action.ALLOW, _principal("local/ns/shop/sa/web"))) == ""


def test_an_allow_policy_without_rules_allows_nobody() -> None:
    assert _said(AuthPolicy(SOURCE, Action.ALLOW)) == f"no rule of {SOURCE} allows it"


def test_a_mesh_that_denies_by_default_says_so() -> None:
    assert "denies by default" in _said(default_deny=True)
    assert _said(_policy(Action.ALLOW, _principal(WEB)), default_deny=True) == ""
    assert _said() == ""


@pytest.mark.parametrize("attribute", [Attribute.METHOD, Attribute.PATH, Attribute.IP_BLOCK, Attribute.CLAIM])
def test_what_the_call_decides_is_not_said_beforehand(attribute: Attribute) -> None:
    open_question = Question(attribute, _exact("x"))
    assert _said(_policy(Action.DENY, _principal(WEB), open_question)) == ""
    assert _said(_policy(Action.ALLOW, _principal(WEB), open_question)) == ""


def test_a_part_that_surely_fails_settles_an_open_question() -> None:
    open_question = Question(Attribute.METHOD, _exact("GET"))
    other = _principal("local/ns/shop/sa/cart")
    assert _said(_policy(Action.ALLOW, other, open_question)) == f"no rule of {SOURCE} allows it"


def test_a_policy_that_is_tried_out_and_one_that_others_decide_refuse_nobody() -> None:
    assert _said(_policy(Action.DENY, _principal(WEB), dry_run=True)) == ""
    assert _said(_policy(Action.CUSTOM, _principal(WEB))) == ""


def test_one_workload_that_may_take_the_call_is_enough() -> None:
    closed = Guard(policies=(AuthPolicy(SOURCE, Action.ALLOW),))
    assert refusal(((8080, closed), (8080, Guard())), WEB) == ""
    assert refusal(((8080, closed), (8080, closed)), WEB) != ""
    assert refusal((), WEB) == ""


def test_namespaces_service_accounts_and_ports_are_known_beforehand() -> None:
    for question in (
        Question(Attribute.NAMESPACE, _exact("shop")),
        Question(Attribute.SERVICE_ACCOUNT, _exact("shop/web")),
        Question(Attribute.TRUST_DOMAIN, _exact("local")),
        Question(Attribute.PORT, _exact("8080")),
        Question(Attribute.NAMESPACE, (Text(TextKind.PREFIX, "sh"),)),
        Question(Attribute.NAMESPACE, (Text(TextKind.SUFFIX, "op"),)),
        Question(Attribute.NAMESPACE, (Text(TextKind.PRESENT),), _exact("elsewhere")),
    ):
        assert _said(_policy(Action.DENY, question)) != "", question


def test_an_identity_that_is_no_workloads_has_no_namespace_to_know() -> None:
    guard = Guard(policies=(_policy(Action.DENY, Question(Attribute.NAMESPACE, _exact("shop"))),))
    assert refusal(((80, guard),), "spiffe://local/weft/host/a") == ""


def test_a_rule_holds_when_one_of_its_operations_does() -> None:
    ports = tuple((Question(Attribute.PORT, _exact(port)),) for port in ("1", "8080"))
    rule = AuthRule(f"{SOURCE}/rules/0", operations=ports)
    assert _said(AuthPolicy(SOURCE, Action.DENY, (rule,))) != ""
    assert _said(AuthPolicy(SOURCE, Action.DENY, (AuthRule("x", operations=ports[:1]),))) == ""
