"""Where policies hold, and what they ask at one port."""

from __future__ import annotations

import pytest

from weft.dialects.policies import Scope, Subject, SubjectPort, at, at_port, for_connections, placed, scoped, text
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Question, Text, TextKind
from weft.values import Ref

WEB = Subject(
    namespace="shop",
    labels=(("app", "web"), ("version", "v1")),
    account="shop/web",
    ports=(SubjectPort(6379, "tcp", False), SubjectPort(8080, "http", True)),
)
EDGE = Subject(namespace="shop", labels=(("app", "web"),), gateway="shop/edge", gateway_class="weft")


def ask(attribute: Attribute, *values: str, none: tuple[str, ...] = ()) -> Question:
    return Question(attribute, tuple(text(value) for value in values), tuple(text(value) for value in none))


WHO = ask(Attribute.PRINCIPAL, "a")
PATH = ask(Attribute.PATH, "/a")
METHOD = ask(Attribute.METHOD, "GET")


def policy(action: Action, *rules: AuthRule) -> AuthPolicy:
    return AuthPolicy("AuthorizationPolicy/shop/p", action, rules)


@pytest.mark.parametrize(
    ("scope", "web", "edge"),
    [
        (Scope(), True, True),
        (Scope(namespace="shop"), True, True),
        (Scope(namespace="other"), False, False),
        (Scope(labels=(("app", "web"),)), True, True),
        (Scope(labels=(("app", "web"), ("version", "v1"))), True, False),
        (Scope(labels=(("app", "pay"),)), False, False),
        (Scope(account="shop/web"), True, False),
        (Scope(account="shop/pay"), False, False),
        (Scope(namespace="shop", ports=(8080,)), True, False),
        (Scope(gateway="shop/edge"), False, True),
        (Scope(gateway="shop/other"), False, False),
        (Scope(gateway_class="weft"), False, True),
        (Scope(gateway_class="other"), False, False),
    ],
)
def test_a_scope_holds_for_workloads_and_gateways(scope: Scope, web: bool, edge: bool) -> None:
    assert (scoped(scope, WEB), scoped(scope, EDGE)) == (web, edge)


def test_a_scope_may_take_in_some_ports_by_number_or_name() -> None:
    tcp, http = WEB.ports
    assert at((Scope(ports=(8080,)),), WEB, http)
    assert not at((Scope(ports=(8080,)),), WEB, tcp)
    assert at((Scope(ports=("tcp",)),), WEB, tcp)
    assert at((Scope(ports=(8080,)), Scope(ports=(6379,))), WEB, tcp)
    assert not at((Scope(ports=(8080,)), Scope(namespace="other", ports=(6379,))), WEB, tcp)
    assert at((Scope(gateway="shop/edge"),), EDGE, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("*", Text(TextKind.PRESENT)),
        ("a*", Text(TextKind.PREFIX, "a")),
        ("*a", Text(TextKind.SUFFIX, "a")),
        ("a", Text(TextKind.EXACT, "a")),
        ("a*b", Text(TextKind.EXACT, "a*b")),
        ("**", Text(TextKind.SUFFIX, "*")),
    ],
)
def test_stars_at_the_ends(value: str, expected: Text) -> None:
    assert text(value) == expected


def test_an_allow_rule_about_requests_never_holds_for_connections() -> None:
    plain = AuthRule("r/0", ((WHO,),))
    asking = AuthRule("r/1", ((WHO,),), ((PATH,), (ask(Attribute.PORT, "80"),)))
    found, lost = for_connections(policy(Action.ALLOW, plain, asking))
    assert found == policy(Action.ALLOW, plain)
    assert lost == ("r/1",)
    nobody, lost = for_connections(policy(Action.ALLOW, asking))
    assert (nobody, lost) == (policy(Action.ALLOW), ("r/1",))


@pytest.mark.parametrize("action", [Action.DENY, Action.AUDIT, Action.CUSTOM])
def test_of_other_rules_what_asks_about_requests_is_left_out(action: Action) -> None:
    rule = AuthRule(
        "r/0", ((WHO, ask(Attribute.REQUEST_PRINCIPAL, "*")),), ((PATH, ask(Attribute.PORT, "80")),), (METHOD, WHO)
    )
    found, lost = for_connections(policy(action, rule))
    assert found == policy(action, AuthRule("r/0", ((WHO,),), ((ask(Attribute.PORT, "80"),),), (WHO,)))
    assert lost == ("r/0",)


def test_an_alternative_of_which_nothing_is_left_holds_always() -> None:
    found, _ = for_connections(policy(Action.DENY, AuthRule("r/0", ((WHO,),), ((PATH,), (ask(Attribute.PORT, "80"),)))))
    assert found is not None
    assert found.rules == (AuthRule("r/0", ((WHO,),)),)


def test_a_policy_about_connections_stays_the_same_object() -> None:
    made = policy(Action.DENY, AuthRule("r/0", ((WHO,),)))
    assert for_connections(made) == (made, ())
    assert for_connections(made)[0] is made
    assert at_port(made, 80) is made


def test_questions_about_ports_are_answered() -> None:
    rule = AuthRule("r/0", (), ((PATH, ask(Attribute.PORT, "80", "81")), (METHOD, ask(Attribute.PORT, none=("80",)))))
    made = policy(Action.ALLOW, rule)
    assert at_port(made, 80) == policy(Action.ALLOW, AuthRule("r/0", (), ((PATH,),)))
    assert at_port(made, 81) == policy(Action.ALLOW, AuthRule("r/0", (), ((PATH,), (METHOD,))))
    assert at_port(made, 90) == policy(Action.ALLOW, AuthRule("r/0", (), ((METHOD,),)))


def test_a_rule_for_other_ports_goes_and_an_allow_policy_then_lets_nobody_in() -> None:
    rule = AuthRule("r/0", ((WHO,),), ((ask(Attribute.PORT, "80"),),))
    when = AuthRule("r/1", ((WHO,),), (), (ask(Attribute.PORT, "80"),))
    assert at_port(policy(Action.ALLOW, rule, when), 81) == policy(Action.ALLOW)
    assert at_port(policy(Action.DENY, rule, when), 81) is None
    only = policy(Action.DENY, AuthRule("r/0", ((WHO,),)), AuthRule("r/1", ((WHO,),)))
    assert at_port(policy(Action.DENY, rule, when), 80) == only


def test_a_placed_policy_knows_what_is_left_of_it() -> None:
    ref = Ref("security.istio.io", "AuthorizationPolicy", "shop", "p")
    rule = AuthRule("r/0", (), ((PATH, ask(Attribute.PORT, "80")),))
    found = placed(ref, (Scope(),), policy(Action.DENY, rule))
    assert (found.asks_port, found.lost) == (True, ("r/0",))
    assert not placed(ref, (Scope(),), policy(Action.DENY)).asks_port
    assert placed(ref, (Scope(),), policy(Action.DENY)).connection is None
    assert placed(ref, (Scope(),), policy(Action.ALLOW)).connection == policy(Action.ALLOW)
