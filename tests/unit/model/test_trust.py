import pytest

from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Peers,
    Question,
    Shape,
    Text,
    TextKind,
    TokenIssuer,
    for_strangers,
    without_why,
)

BOB = Text(TextKind.EXACT, "local/ns/shop/sa/bob")


def _guard(test: Question, action: Action = Action.ALLOW) -> Guard:
    rule = AuthRule("AuthorizationPolicy/shop/pay/rules/0", sources=((test,),))
    return Guard(policies=(AuthPolicy("AuthorizationPolicy/shop/pay", action, (rule,)),))


@pytest.mark.parametrize("attribute", [Attribute.PRINCIPAL, Attribute.NAMESPACE, Attribute.PORT, Attribute.IP_BLOCK])
def test_rules_about_connections_need_no_http(attribute: Attribute) -> None:
    assert not _guard(Question(attribute, (BOB,))).needs_http


@pytest.mark.parametrize("attribute", [Attribute.METHOD, Attribute.PATH, Attribute.HEADER, Attribute.REQUEST_PRINCIPAL])
def test_rules_about_requests_need_http_and_say_so_by_name(attribute: Attribute) -> None:
    guard = _guard(Question(attribute, none_of=(BOB,)))
    assert guard.needs_http
    assert guard.why_http == "AuthorizationPolicy/shop/pay/rules/0"


def test_an_external_authorizer_and_a_token_issuer_need_http() -> None:
    assert Guard(policies=(AuthPolicy("AuthorizationPolicy/shop/ext", Action.CUSTOM),)).why_http.endswith("/ext")
    issuer = TokenIssuer(source="RequestAuthentication/shop/jwt", issuer="https://issuer.example")
    assert Guard(issuers=(issuer,)).why_http == "RequestAuthentication/shop/jwt"


def test_an_empty_guard_needs_nothing() -> None:
    assert not Guard().needs_http
    assert Guard(identity_header=True).needs_http


def test_a_rule_lists_the_tests_of_all_its_parts() -> None:
    tests = tuple(Question(attribute, (BOB,)) for attribute in (Attribute.PRINCIPAL, Attribute.PATH, Attribute.SNI))
    rule = AuthRule("x", sources=((tests[0],),), operations=((tests[1],),), conditions=(tests[2],))
    assert rule.questions == tests


def test_callers_that_strangers_drive_pool_what_is_understood_as_requests() -> None:
    raw = Peers(("a",), Shape.RAW, epoch="1", why="w", choosy=((80, Guard()),), speaks_http=True)
    assert for_strangers(raw) == Peers(("a",), Shape.HTTP, epoch="1")
    assert without_why(raw) == Peers(("a",), Shape.RAW, epoch="1")


@pytest.mark.parametrize("peers", [Peers(shape=shape) for shape in Shape] + [Peers(shape=Shape.RAW, mixed=True)])
def test_what_does_not_say_that_it_speaks_http_is_reached_by_all_alike(peers: Peers) -> None:
    assert for_strangers(peers) == without_why(peers) == peers
