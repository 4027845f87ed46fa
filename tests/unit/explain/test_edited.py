from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weft.explain.authz import decide
from weft.explain.call import Call, Verdict
from weft.explain.edited import heard, plainly, set_by_proxies
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
    TokenIssuer,
    Trust,
)

if TYPE_CHECKING:
    from weft.values import Pairs

CART = "spiffe://local/ns/shop/sa/cart"
ISSUER = TokenIssuer(
    source="RequestAuthentication/shop/r/jwtRules/0",
    issuer="https://i",
    payload_header="x-payload",
    claim_headers=(("x-user", "sub"),),
)


def policy(action: Action, *names: str, text: Text = Text(TextKind.EXACT, "a"), dry_run: bool = False) -> AuthPolicy:  # noqa: B008 - frozen
    """A rule for each header: it says this."""
    source = f"AuthorizationPolicy/shop/{action.name.lower()}"
    rules = tuple(
        AuthRule(f"{source}/rules/{index}", conditions=(Question(Attribute.HEADER, (text,), (), name),))
        for index, name in enumerate(names)
    )
    provider = Provider(name="authz", cluster="", grpc=True) if action is Action.CUSTOM else None
    return AuthPolicy(source, action, rules, dry_run=dry_run, provider=provider)


def verdict(*policies: AuthPolicy, headers: Pairs = (), edge: bool = False, caller: str = "") -> Verdict:
    call = Call(port=80, edge=edge, caller=caller, headers=headers)
    return decide(Guard(policies=policies, issuers=(ISSUER,)), call, Trust()).verdict


def test_what_is_for_proxies_alone_is_not_heard_of_anybody() -> None:
    call = Call(port=80, headers=(("X-Envoy-Internal", "a"), ("x_envoy_internal", "a"), ("x-a", "b")))
    assert heard(call).headers == (("x_envoy_internal", "a"), ("x-a", "b"))


def test_a_rule_about_what_is_for_proxies_alone_never_holds() -> None:
    for name in ("x-envoy-internal", "X-Envoy-Internal"):
        assert verdict(policy(Action.DENY, "x-envoy-internal"), headers=((name, "a"),)) is Verdict.ALLOWED
        assert verdict(policy(Action.DENY, "x_envoy_internal"), headers=((name, "a"),)) is Verdict.ALLOWED
    assert verdict(policy(Action.DENY, "x-envoy-internal"), headers=(("x_envoy_internal", "a"),)) is Verdict.DENIED


def test_who_called_is_heard_of_no_caller_by_any_spelling() -> None:
    assert heard(Call(port=80, headers=(("X-Forwarded-Client_Cert", "URI=a"),))).headers == ()


def test_an_edge_alone_removes_what_strangers_say_of_themselves() -> None:
    said = (("X-Real-IP", "1.1.1.1"), ("x_forwarded_for", "1.1.1.1"), ("forwarded", "for=1.1.1.1"))
    assert heard(Call(port=80, edge=True, headers=said)).headers == ()
    assert heard(Call(port=80, headers=said)).headers == said


def test_a_call_that_loses_nothing_is_the_same_one() -> None:
    call = Call(port=80, headers=(("x-a", "b"),))
    assert heard(call) is call


def test_what_a_token_says_in_a_header_only_the_proxy_knows() -> None:
    assert set_by_proxies(Guard(issuers=(ISSUER,)), Call(port=80)) >= {"x-user", "x-payload"}


def test_what_a_caller_said_of_a_request_before_a_workload_is_known() -> None:
    assert "x-request-id" in set_by_proxies(Guard(), Call(port=80))
    assert "x-request-id" not in set_by_proxies(Guard(), Call(port=80, headers=(("X-Request-Id", "a"),)))
    assert "x-request-id" in set_by_proxies(Guard(), Call(port=80, edge=True, headers=(("X-Request-Id", "a"),)))


def test_only_who_has_an_identity_is_named_to_the_application() -> None:
    assert "x-forwarded-client-cert" in set_by_proxies(Guard(), Call(port=80, caller=CART))
    assert "x-forwarded-client-cert" not in set_by_proxies(Guard(), Call(port=80))


def test_names_are_compared_as_applications_read_them() -> None:
    assert plainly("X_Forwarded-For") == "x-forwarded-for"


@pytest.mark.parametrize("action", [Action.ALLOW, Action.DENY, Action.CUSTOM])
def test_a_rule_about_what_proxies_set_is_not_decided(action: Action) -> None:
    decision = decide(Guard(policies=(policy(action, "x-forwarded-for"),)), Call(port=80, edge=True), Trust())
    assert decision.verdict is Verdict.UNKNOWN
    assert decision.source == f"AuthorizationPolicy/shop/{action.name.lower()}/rules/0"
    assert "x-forwarded-for" in decision.reason


@pytest.mark.parametrize("action", [Action.ALLOW, Action.DENY])
def test_a_forged_header_of_a_token_decides_nothing(action: Action) -> None:
    for name in ("x-user", "x_user"):
        assert verdict(policy(action, "x-user"), headers=((name, "a"),)) is Verdict.UNKNOWN


def test_a_doubt_hides_neither_a_rule_that_lets_in_nor_one_that_refuses() -> None:
    said = (("x-a", "a"),)
    assert verdict(policy(Action.ALLOW, "x-user", "x-a"), headers=said) is Verdict.ALLOWED
    assert verdict(policy(Action.DENY, "x-user", "x-a"), headers=said) is Verdict.DENIED
    assert verdict(policy(Action.DENY, "x-user"), policy(Action.ALLOW, "x-a")) is Verdict.DENIED
    assert verdict(policy(Action.DENY, "x-user"), policy(Action.ALLOW, "x-a"), headers=said) is Verdict.UNKNOWN


def test_what_an_edge_removes_is_not_there() -> None:
    said = (("x-real-ip", "a"),)
    assert verdict(policy(Action.ALLOW, "x-real-ip"), headers=said, edge=True) is Verdict.DENIED
    assert verdict(policy(Action.ALLOW, "x-real-ip"), headers=said) is Verdict.ALLOWED


@pytest.mark.parametrize("action", [Action.ALLOW, Action.DENY])
def test_a_doubt_about_a_rule_in_dry_run_decides_nothing(action: Action) -> None:
    assert verdict(policy(action, "x-user", dry_run=True)) is Verdict.ALLOWED
    closed = policy(Action.ALLOW, "x-a")
    assert verdict(closed, policy(action, "x-user", dry_run=True)) is Verdict.DENIED


def test_a_connection_has_no_headers_to_doubt() -> None:
    call = Call(port=80, http=False, caller=CART)
    found = decide(Guard(policies=(policy(Action.ALLOW, "x-forwarded-client-cert"),)), call, Trust())
    assert found.verdict is Verdict.DENIED
