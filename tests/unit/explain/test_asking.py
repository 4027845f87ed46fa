from __future__ import annotations

from typing import Any

import msgspec
import pytest

from weft.explain.asking import holds, matches, template
from weft.explain.call import Call
from weft.model.trust import Attribute, Question, Text, TextKind

SHOP = "spiffe://local/ns/shop/sa/cart"
CALL = Call(
    caller=SHOP,
    port=8080,
    method="GET",
    path="/api/v1/items?x=1",
    host="Pay.Shop:8080",
    headers=(("X-Team", "red"), ("x-team", "blue, green")),
    tokens=({"iss": "https://i", "sub": "ann", "aud": ["a", "b"], "azp": "app", "realm": {"roles": ["ops"]}},),
    source_ip="10.1.2.3",
    destination_ip="240.0.0.9",
    sni="pay.example.com",
)


def text(value: str) -> Text:
    """As users write it."""
    if value == "*":
        return Text(TextKind.PRESENT)
    if "{" in value:
        return Text(TextKind.TEMPLATE, value)
    if value.endswith("*"):
        return Text(TextKind.PREFIX, value[:-1])
    return Text(TextKind.SUFFIX, value[1:]) if value.startswith("*") else Text(TextKind.EXACT, value)


def asked(attribute: Attribute, value: str, *, refuses: bool = False, name: str = "", **changes: Any) -> bool:  # noqa: ANN401
    question = Question(attribute, (text(value),), (), name)
    call = msgspec.structs.replace(CALL, **changes)
    found = holds(question, call, "local", refuses=refuses)
    none = Question(attribute, (), (text(value),), name)
    assert holds(none, call, "local", refuses=not refuses) is not found, "a negation is the opposite"
    return found


@pytest.mark.parametrize(
    ("attribute", "value", "name"),
    [
        (Attribute.PRINCIPAL, "local/ns/shop/sa/cart", ""),
        (Attribute.PRINCIPAL, SHOP, ""),
        (Attribute.PRINCIPAL, "local/ns/shop/*", ""),
        (Attribute.PRINCIPAL, "*/sa/cart", ""),
        (Attribute.PRINCIPAL, "*", ""),
        (Attribute.NAMESPACE, "shop", ""),
        (Attribute.NAMESPACE, "sh*", ""),
        (Attribute.NAMESPACE, "*op", ""),
        (Attribute.NAMESPACE, "*", ""),
        (Attribute.SERVICE_ACCOUNT, "shop/cart", ""),
        (Attribute.TRUST_DOMAIN, "local", ""),
        (Attribute.TRUST_DOMAIN, "*cal", ""),
        (Attribute.IP_BLOCK, "10.0.0.0/8", ""),
        (Attribute.IP_BLOCK, "10.1.2.3", ""),
        (Attribute.REMOTE_IP_BLOCK, "10.1.2.0/24", ""),
        (Attribute.DESTINATION_IP, "240.0.0.0/4", ""),
        (Attribute.PORT, "8080", ""),
        (Attribute.SNI, "*.example.com", ""),
        (Attribute.METHOD, "GET", ""),
        (Attribute.METHOD, "G*", ""),
        (Attribute.PATH, "/api/*", ""),
        (Attribute.PATH, "*/items", ""),
        (Attribute.PATH, "/api/v1/items", ""),
        (Attribute.PATH, "/api/{*}/items", ""),
        (Attribute.HOST, "pay.shop", ""),
        (Attribute.HOST, "PAY.*", ""),
        (Attribute.HOST, "*.shop", ""),
        (Attribute.HOST, "pay.shop:8080", ""),
        (Attribute.HOST, "*", ""),
        (Attribute.HEADER, "red,blue, green", "x-team"),
        (Attribute.HEADER, "red*", "x-team"),
        (Attribute.HEADER, "*", "x-team"),
        (Attribute.REQUEST_PRINCIPAL, "https://i/ann", ""),
        (Attribute.REQUEST_PRINCIPAL, "https://i/*", ""),
        (Attribute.REQUEST_PRINCIPAL, "*/ann", ""),
        (Attribute.REQUEST_PRINCIPAL, "*", ""),
        (Attribute.AUDIENCE, "b", ""),
        (Attribute.PRESENTER, "app", ""),
        (Attribute.CLAIM, "ops", "realm\0roles"),
        (Attribute.CLAIM, "a*", "sub"),
    ],
)
def test_what_a_rule_names_is_found(attribute: Attribute, value: str, name: str) -> None:
    assert asked(attribute, value, name=name)
    assert asked(attribute, value, name=name, refuses=True)


@pytest.mark.parametrize(
    ("attribute", "value", "name"),
    [
        (Attribute.PRINCIPAL, "local/ns/shop/sa/car", ""),
        (Attribute.PRINCIPAL, "other/*", ""),
        (Attribute.NAMESPACE, "sho", ""),
        (Attribute.SERVICE_ACCOUNT, "cart/shop", ""),
        (Attribute.TRUST_DOMAIN, "loc", ""),
        (Attribute.IP_BLOCK, "11.0.0.0/8", ""),
        (Attribute.PORT, "80", ""),
        (Attribute.SNI, "example.com", ""),
        (Attribute.METHOD, "get", ""),
        (Attribute.PATH, "/api", ""),
        (Attribute.PATH, "/API/*", ""),
        (Attribute.PATH, "/{*}/items", ""),
        (Attribute.HOST, "pay.shop:80", ""),
        (Attribute.HOST, "shop", ""),
        (Attribute.HEADER, "yellow", "x-team"),
        (Attribute.HEADER, "red", "x-other"),
        (Attribute.REQUEST_PRINCIPAL, "https://i/bob", ""),
        (Attribute.AUDIENCE, "c", ""),
        (Attribute.CLAIM, "dev", "realm\0roles"),
        (Attribute.CLAIM, "ops", "realm\0roles\0deeper"),
        (Attribute.CLAIM, "ops", "realm"),
    ],
)
def test_what_a_rule_does_not_name_is_not_found(attribute: Attribute, value: str, name: str) -> None:
    assert not asked(attribute, value, name=name)
    assert not asked(attribute, value, name=name, refuses=True)


@pytest.mark.parametrize(
    "caller",
    ["", "spiffe://local", "spiffe:///ns/shop/sa/cart", "http://local/ns/shop/sa/cart", "local/ns/shop/sa/cart"],
)
def test_who_has_no_identity_is_nobody(caller: str) -> None:
    for attribute in (Attribute.PRINCIPAL, Attribute.NAMESPACE):
        for refuses in (False, True):
            assert not asked(attribute, "*", caller=caller, refuses=refuses)
    assert not asked(Attribute.SERVICE_ACCOUNT, "shop/cart", caller=caller, refuses=True)


def test_a_namespace_of_another_trust_domain_counts_only_against_the_caller() -> None:
    other = "spiffe://other/ns/shop/sa/cart"
    assert not asked(Attribute.NAMESPACE, "shop", caller=other)
    assert asked(Attribute.NAMESPACE, "shop", caller=other, refuses=True)
    assert not asked(Attribute.SERVICE_ACCOUNT, "shop/cart", caller=other)
    assert asked(Attribute.SERVICE_ACCOUNT, "shop/cart", caller=other, refuses=True)
    for strange in ("spiffe://local/ns/shop/sa/", "spiffe://local/x/ns/shop/sa/cart", "spiffe://local/ns/shop/x"):
        assert not asked(Attribute.NAMESPACE, "shop", caller=strange)
        assert asked(Attribute.NAMESPACE, "shop", caller=strange, refuses=True)
    for strange in ("spiffe://local/ns/shop", "spiffe://local/a/b/c/d"):
        assert not asked(Attribute.NAMESPACE, "*", caller=strange, refuses=True)


@pytest.mark.parametrize("values", [("blue", "red"), ("red,blue",), ("x", " red\t"), ("red ,x",)])
def test_one_of_several_values_of_a_header_counts_only_against_the_caller(values: tuple[str, ...]) -> None:
    headers = tuple(("X-Team", value) for value in values)
    assert asked(Attribute.HEADER, "red", name="x-team", headers=headers, refuses=True)
    assert not asked(Attribute.HEADER, "red", name="x-team", headers=headers)


def test_a_header_of_a_name_that_is_the_same_to_applications_counts_only_against_the_caller() -> None:
    twin = (("X_Team", "red"),)
    assert asked(Attribute.HEADER, "red", name="x-team", headers=twin, refuses=True)
    assert not asked(Attribute.HEADER, "red", name="x-team", headers=twin)
    both = (("x-team", "red"), *twin)
    assert asked(Attribute.HEADER, "red", name="x-team", headers=both, refuses=True)
    assert not asked(Attribute.HEADER, "red", name="x-team", headers=both)


def test_blanks_around_a_header_are_not_its_value() -> None:
    assert asked(Attribute.HEADER, "red*", name="x-team", headers=(("x-team", " red\t"),))


def test_a_value_with_commas_is_found_among_others() -> None:
    headers = (("x", "a"), ("x", "b, c"), ("x", "d"))
    assert asked(Attribute.HEADER, "b, c", name="x", headers=headers, refuses=True)
    assert asked(Attribute.HEADER, "c,d", name="x", headers=headers, refuses=True)
    assert not asked(Attribute.HEADER, "a,c", name="x", headers=headers, refuses=True)
    assert not asked(Attribute.HEADER, "*", name="x", headers=(("x", ""),))
    assert asked(Attribute.HEADER, "*", name="x", headers=(("x", ""),), refuses=True)
    assert not asked(Attribute.HEADER, "*", name="x", headers=(("y", "a"),), refuses=True)


@pytest.mark.parametrize(
    ("host", "wide", "narrow"),
    [
        ("pay.shop", True, True),
        ("PAY.SHOP.", True, True),
        ("pay.shop:1", True, True),
        ("pay.shop.:1", True, True),
        ("pay.shop:x", True, False),
        ("pay.shop:", True, False),
        ("me@pay.shop", True, False),
        ("a@b@pay.shop:1", True, False),
        ("pay.shop..", False, False),
        ("xpay.shop", False, False),
        ("pay.shop.evil", False, False),
    ],
)
def test_a_doubtful_host_counts_only_against_the_caller(host: str, wide: bool, narrow: bool) -> None:
    assert asked(Attribute.HOST, "pay.shop", host=host, refuses=True) is wide
    assert asked(Attribute.HOST, "pay.shop", host=host) is narrow


@pytest.mark.parametrize(
    ("value", "port", "holds"),
    [
        ("pay.shop:80", 80, True),
        ("pay.shop:80", 8080, False),
        ("pay.shop:*", 8080, True),
        ("pay.shop:80*", 8080, True),
        ("pay.shop:9*", 8080, False),
        ("*.shop:80", 80, True),
        ("*:80", 80, True),
        ("*:80", 81, False),
        ("pay.shop", 81, True),
        ("pay.*", 81, True),
        ("pay.shop:x", 80, False),
    ],
)
def test_at_a_gateway_the_port_of_a_host_is_the_listeners(value: str, port: int, holds: bool) -> None:
    for refuses in (True, False):
        assert asked(Attribute.HOST, value, refuses=refuses, edge=True, host="Pay.Shop", port=port) is holds


@pytest.mark.parametrize(("value", "holds"), [("[::1]:80", True), ("[::1]", True), ("[:*", True), ("[::1]:81", False)])
def test_an_address_as_a_host_at_a_gateway(value: str, holds: bool) -> None:
    assert asked(Attribute.HOST, value, edge=True, host="[::1]", port=80) is holds


def test_the_address_of_the_client_is_the_forwarded_one_where_there_is_one() -> None:
    assert asked(Attribute.REMOTE_IP_BLOCK, "192.0.2.0/24", remote_ip="192.0.2.7")
    assert not asked(Attribute.IP_BLOCK, "192.0.2.0/24", remote_ip="192.0.2.7")
    assert asked(Attribute.IP_BLOCK, "2001:db8::/32", source_ip="2001:db8::1")
    assert not asked(Attribute.IP_BLOCK, "0.0.0.0/0", source_ip="2001:db8::1")
    assert not asked(Attribute.IP_BLOCK, "0.0.0.0/0", source_ip="")


def test_a_token_without_a_subject_is_no_request_principal() -> None:
    for claims in ({"iss": "https://i"}, {"iss": "https://i", "sub": ""}, {"sub": "ann"}, {"iss": 1, "sub": "ann"}):
        assert not asked(Attribute.REQUEST_PRINCIPAL, "*", tokens=(claims,), refuses=True)
    assert not asked(Attribute.CLAIM, "*", name="n", tokens=({"n": 7},))


def test_a_scope_is_a_list_of_words() -> None:
    tokens = ({"scope": "read write", "other": "read write"},)
    assert asked(Attribute.CLAIM, "read", name="scope", tokens=tokens)
    assert not asked(Attribute.CLAIM, "read write", name="scope", tokens=tokens)
    assert not asked(Attribute.CLAIM, "read", name="other", tokens=tokens)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/a:b", "/a%3ab"),
        ("/caf%C3%A9", "/caf%c3%a9"),
        ("/a|b", "/a%7Cb"),
        ("/a;*", "/a%3bx"),
        ("/x[y/{*}", "/x%5By/z"),
    ],
)
def test_another_spelling_of_a_path_counts_only_against_the_caller(rule: str, path: str) -> None:
    assert asked(Attribute.PATH, rule, path=path, refuses=True)
    assert not asked(Attribute.PATH, rule, path=path)


def test_a_template_allows_letters_of_paths_alone() -> None:
    assert asked(Attribute.PATH, "/x/{*}", path="/x/a[b", refuses=True)
    assert not asked(Attribute.PATH, "/x/{*}", path="/x/a[b")
    assert asked(Attribute.PATH, "/x/{*}", path="/x/a|b")


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("/a/{*}", "/a/b", True),
        ("/a/{*}", "/a/b/c", False),
        ("/a/{*}", "/a/", False),
        ("/a/{**}", "/a/", True),
        ("/a/{**}", "/a/b/c", True),
        ("/a/{**}", "/a", False),
        ("/a/{*}/c/{**}", "/a/b/c/d/e", True),
        ("/{**}/c", "/a/b/c", True),
        ("/{**}/c", "/c", False),
        ("/{*}/{*}", "/a/b", True),
        ("/a", "/a", True),
        ("/a", "/ab", False),
    ],
)
def test_templates_stand_for_segments(pattern: str, path: str, found: bool) -> None:
    assert template(pattern, path) is found


def test_nothing_is_no_value() -> None:
    assert not matches(Text(TextKind.PRESENT), "")
    assert matches(Text(TextKind.PREFIX, ""), "")


def test_an_expression_of_smi_is_compared_with_the_whole_value() -> None:
    expression = Text(TextKind.REGEX, "(?:/api/v[0-9]+).*")
    assert matches(expression, "/api/v1/items")
    assert not matches(expression, "/x/api/v1")
    assert not matches(Text(TextKind.REGEX, "Prom.*"), "curl Prometheus")
