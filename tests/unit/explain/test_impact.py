from __future__ import annotations

from tests.support.guarded import CART, PAY, SOURCE, mesh, policy
from weft.explain.impact import Closed, closed
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind, TlsMode

OPEN = mesh()


def after(guard: Guard) -> tuple[Closed, ...]:
    return closed(OPEN, mesh(("pay-v1-0", guard), ("pay-v1-1", guard)))


def test_the_first_allow_policy_shuts_everybody_else_out() -> None:
    first, second = after(Guard(policies=(policy(Action.ALLOW, CART),)))
    assert (first.workload, first.port, first.services, first.source) == (
        "default/pay-v1-0",
        8080,
        ("pay.default",),
        SOURCE,
    )
    assert first.callers == ("default/pay-v1-0", "default/pay-v1-1")
    assert second.workload == "default/pay-v1-1"


def test_who_is_still_named_is_not_shut_out_whatever_the_rest_of_the_rule_says() -> None:
    identity = Question(Attribute.NAMESPACE, (Text(TextKind.EXACT, "default"),))
    method = Question(Attribute.METHOD, (Text(TextKind.EXACT, "GET"),))
    rule = AuthRule(f"{SOURCE}/rules/0", ((identity, method),), ((method,),), (method,))
    assert after(Guard(policies=(AuthPolicy(SOURCE, Action.ALLOW, (rule,)),))) == ()
    nobody = AuthRule(f"{SOURCE}/rules/0", conditions=(Question(Attribute.NAMESPACE, (Text(TextKind.EXACT, "x"),)),))
    assert after(Guard(policies=(AuthPolicy(SOURCE, Action.ALLOW, (nobody,)),)))


def test_what_is_tried_out_or_denies_by_name_shuts_nobody_else_out() -> None:
    assert after(Guard(policies=(policy(Action.ALLOW, CART, dry_run=True),))) == ()
    assert after(Guard(policies=(policy(Action.DENY, CART),))) == ()


def test_a_mesh_that_denies_by_default_shuts_all_out() -> None:
    found = after(Guard(default_deny=True))
    assert {each.source for each in found} == {"Mesh"}
    assert found[0].callers == ("default/cart-v1-0", "default/pay-v1-0", "default/pay-v1-1")


def test_strict_shuts_plaintext_out() -> None:
    found = after(Guard(mode=TlsMode.STRICT, mode_source="PeerAuthentication/default/strict"))
    assert [(each.source, each.callers) for each in found] == [("PeerAuthentication/default/strict", ())] * 2


def test_what_was_shut_before_and_what_is_opened_is_no_news() -> None:
    guard = Guard(policies=(policy(Action.ALLOW, CART),))
    before = mesh(("pay-v1-0", guard), ("pay-v1-1", guard))
    assert closed(before, before) == ()
    assert closed(before, OPEN) == ()
    wider = Guard(policies=(policy(Action.ALLOW, CART, PAY),))
    assert closed(before, mesh(("pay-v1-0", wider), ("pay-v1-1", wider))) == ()
