from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weft.explain.authz import decide
from weft.explain.call import Call, Stage, Verdict
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Provider,
    Question,
    Text,
    TextKind,
    TlsMode,
    TokenIssuer,
    Trust,
)

if TYPE_CHECKING:
    from weft.explain.call import Decision

CART = "spiffe://local/ns/shop/sa/cart"
OPS = "spiffe://local/ns/ops/sa/ops"
TRUST = Trust(federated=("partner",))
PROVIDER = Provider(name="opa", cluster="c", grpc=True)


def is_(attribute: Attribute, *values: str) -> Question:
    return Question(attribute, tuple(Text(TextKind.EXACT, value) for value in values))


def rule(policy: str, *sources: Question, to: tuple[Question, ...] = (), when: tuple[Question, ...] = ()) -> AuthRule:
    return AuthRule(
        f"AuthorizationPolicy/shop/{policy}/rules/0", (sources,) if sources else (), (to,) if to else (), when
    )


def policy(action: Action, name: str, *rules: AuthRule, dry_run: bool = False) -> AuthPolicy:
    provider = PROVIDER if action is Action.CUSTOM else None
    return AuthPolicy(f"AuthorizationPolicy/shop/{name}", action, rules, dry_run, provider)


def from_cart(action: Action, name: str = "p", *, dry_run: bool = False) -> AuthPolicy:
    return policy(action, name, rule(name, is_(Attribute.NAMESPACE, "shop")), dry_run=dry_run)


def guard(*policies: AuthPolicy, mode: TlsMode = TlsMode.PERMISSIVE, default_deny: bool = False) -> Guard:
    return Guard(mode=mode, mode_source="PeerAuthentication/shop/pay", policies=policies, default_deny=default_deny)


def asked(found: Guard, caller: str = CART, *, authorizer: bool | None = None, http: bool = True) -> Decision:
    return decide(found, Call(caller=caller, port=80, authorizer=authorizer, http=http), TRUST)


def test_without_policies_everybody_may_call_unless_the_mesh_denies() -> None:
    assert asked(guard()).allowed
    assert asked(guard(), "").allowed
    denied = asked(guard(default_deny=True))
    assert (denied.verdict, denied.steps[-1].stage) == (Verdict.DENIED, Stage.DEFAULT)


def test_an_allow_policy_closes_the_port_for_everybody_else() -> None:
    found = guard(from_cart(Action.ALLOW))
    assert asked(found).source == "AuthorizationPolicy/shop/p/rules/0"
    assert asked(found).allowed
    denied = asked(found, OPS)
    assert (denied.allowed, denied.source) == (False, "AuthorizationPolicy/shop/p")
    assert not asked(found, "").allowed


def test_several_allow_policies_are_named_together_when_none_of_them_holds() -> None:
    denied = asked(guard(from_cart(Action.ALLOW), policy(Action.ALLOW, "q")), OPS)
    assert (denied.allowed, denied.source) == (False, "")


def test_an_allow_policy_without_rules_allows_nothing() -> None:
    assert not asked(guard(policy(Action.ALLOW, "none"))).allowed


def test_several_allow_policies_that_do_not_hold_are_named_up_to_three() -> None:
    made = [policy(Action.ALLOW, name) for name in "abcde"]
    assert f"({made[0].source}, {made[1].source}), and no rule" in asked(guard(*made[:2])).reason
    assert f"{made[2].source} and 2 more)" in asked(guard(*made)).reason
    assert "(" not in asked(guard(made[0])).reason


def test_deny_comes_before_allow() -> None:
    found = guard(policy(Action.ALLOW, "all", rule("all")), from_cart(Action.DENY, "no"))
    denied = asked(found)
    assert (denied.allowed, denied.source) == (False, "AuthorizationPolicy/shop/no/rules/0")
    assert asked(found, OPS).allowed


def test_audit_decides_nothing_and_is_shown() -> None:
    found = asked(guard(from_cart(Action.AUDIT)))
    assert found.allowed
    assert [step.stage for step in found.steps] == [Stage.TLS, Stage.AUDIT, Stage.DEFAULT]


def test_an_authorizer_decides_what_is_neither_denied_nor_unasked() -> None:
    found = guard(from_cart(Action.CUSTOM, "ask"))
    assert asked(found).verdict is Verdict.UNKNOWN
    assert asked(found).source == "AuthorizationPolicy/shop/ask/rules/0"
    assert asked(found, authorizer=True).allowed
    assert asked(found, authorizer=False).verdict is Verdict.DENIED
    assert asked(found, OPS).allowed
    both = guard(from_cart(Action.CUSTOM, "ask"), from_cart(Action.DENY, "no"))
    assert asked(both).source == "AuthorizationPolicy/shop/no/rules/0"
    assert asked(both, authorizer=True).verdict is Verdict.DENIED


def test_about_a_connection_only_an_authorizer_that_speaks_grpc_can_be_asked() -> None:
    assert asked(guard(from_cart(Action.CUSTOM)), http=False).verdict is Verdict.UNKNOWN
    web = Provider(name="web", cluster="c", grpc=False)
    made = AuthPolicy("AuthorizationPolicy/shop/p", Action.CUSTOM, (rule("p"),), provider=web)
    assert asked(guard(made), http=False).verdict is Verdict.DENIED
    lost = AuthPolicy("AuthorizationPolicy/shop/p", Action.CUSTOM, (rule("p"),))
    assert asked(guard(lost)).verdict is Verdict.DENIED


def test_what_is_tried_out_is_shown_and_decides_nothing() -> None:
    denied = asked(guard(from_cart(Action.DENY, dry_run=True)))
    assert denied.allowed
    assert [(step.outcome, step.dry_run) for step in denied.steps] == [
        ("passed", False),
        ("denied", True),
        ("allowed", False),
    ]
    closed = asked(guard(from_cart(Action.ALLOW, dry_run=True)), OPS)
    assert closed.allowed
    assert (closed.steps[1].outcome, closed.steps[1].dry_run) == ("denied", True)
    opened = asked(guard(from_cart(Action.ALLOW, dry_run=True)))
    assert (opened.steps[1].outcome, opened.steps[1].source) == ("allowed", "AuthorizationPolicy/shop/p/rules/0")
    custom = asked(guard(from_cart(Action.CUSTOM, dry_run=True)))
    assert custom.allowed


def test_what_is_tried_out_does_not_hide_what_is_real() -> None:
    found = guard(from_cart(Action.DENY, "try", dry_run=True), from_cart(Action.DENY, "real"))
    assert asked(found).source == "AuthorizationPolicy/shop/real/rules/0"


def test_strict_refuses_who_has_no_identity() -> None:
    denied = asked(guard(mode=TlsMode.STRICT), "")
    assert (denied.allowed, denied.source, denied.steps[0].stage) == (False, "PeerAuthentication/shop/pay", Stage.TLS)
    assert asked(guard(mode=TlsMode.STRICT)).allowed


def test_where_tls_is_off_nobody_has_an_identity() -> None:
    found = guard(from_cart(Action.ALLOW), mode=TlsMode.DISABLE)
    assert not asked(found).allowed


@pytest.mark.parametrize("caller", ["spiffe://stranger/ns/shop/sa/cart", "spiffe://", "https://local/ns/shop/sa/cart"])
def test_an_unknown_trust_domain_is_refused_whatever_the_mode(caller: str) -> None:
    assert asked(guard(), caller).steps[-1].stage is Stage.DOMAIN
    assert not asked(guard(), caller).allowed


def test_a_federated_trust_domain_is_known() -> None:
    assert asked(guard(), "spiffe://partner/ns/a/sa/b").allowed


def test_who_is_banned_is_denied_before_any_policy() -> None:
    found = decide(guard(from_cart(Action.ALLOW)), Call(caller=CART, port=80), Trust(banned=(CART,)))
    assert (found.allowed, found.steps[-1].stage) == (False, Stage.BAN)


def test_a_token_that_is_refused_refuses_the_request_and_none_is_none() -> None:
    found = Guard(issuers=(TokenIssuer(source="RequestAuthentication/shop/jwt", issuer="https://i"),))
    bad = decide(found, Call(caller=CART, port=80, jwt_problem="it has expired"), TRUST)
    assert (bad.allowed, bad.reason, bad.source) == (False, "it has expired", "RequestAuthentication/shop/jwt")
    assert decide(found, Call(caller=CART, port=80), TRUST).allowed
    good = decide(found, Call(caller=CART, port=80, tokens=({"iss": "https://i"},)), TRUST)
    assert (good.allowed, good.steps[1].stage) == (True, Stage.TOKEN)
    assert decide(found, Call(caller=CART, port=80, jwt_problem="x", http=False), TRUST).allowed


@pytest.mark.parametrize(
    ("action", "allowed"),
    [(Action.DENY, False), (Action.ALLOW, False)],
)
def test_on_a_connection_a_rule_about_requests_refuses_more_and_allows_nothing(action: Action, allowed: bool) -> None:
    found = guard(
        policy(action, "get", rule("get", is_(Attribute.NAMESPACE, "shop"), to=(is_(Attribute.METHOD, "GET"),)))
    )
    assert asked(found, http=False).allowed is allowed
    assert asked(found, OPS, http=False).allowed is (action is Action.DENY)


def test_on_a_connection_what_an_allow_rule_says_without_requests_still_holds() -> None:
    made = AuthRule("r", ((is_(Attribute.REQUEST_PRINCIPAL, "x"),), (is_(Attribute.NAMESPACE, "shop"),)))
    assert asked(guard(policy(Action.ALLOW, "p", made)), http=False).allowed


def test_all_parts_of_a_rule_must_hold() -> None:
    made = rule(
        "p",
        is_(Attribute.NAMESPACE, "shop"),
        to=(is_(Attribute.METHOD, "GET"), is_(Attribute.PATH, "/a")),
        when=(is_(Attribute.PORT, "80"),),
    )
    found = guard(policy(Action.ALLOW, "p", made))
    assert decide(found, Call(caller=CART, port=80, path="/a"), TRUST).allowed
    for call in (
        Call(caller=OPS, port=80, path="/a"),
        Call(caller=CART, port=80, path="/b"),
        Call(caller=CART, port=80, path="/a", method="POST"),
        Call(caller=CART, port=81, path="/a"),
    ):
        assert not decide(found, call, TRUST).allowed
